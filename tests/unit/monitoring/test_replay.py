"""Replay: in every session the verdict of the daily run, and alarms counted as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countersign.model.measures import qlike_losses, volatility_errors
from countersign.monitoring.brier import brier_reading, rolling_brier
from countersign.monitoring.business import approval_counts, bad_counts, rate_readings, rolling_rate
from countersign.monitoring.calibration import calibration_readings, rolling_calibration
from countersign.monitoring.completeness import Arrivals, completeness_readings
from countersign.monitoring.contract import schema_reading
from countersign.monitoring.discrimination import auc_reading, rolling_auc
from countersign.monitoring.drift import DriftReference, drift_readings, measure_drift
from countersign.monitoring.errors import error_readings, rolling_losses, session_losses
from countersign.monitoring.reading import Reading
from countersign.monitoring.replay import (
    Delay,
    Outcomes,
    Period,
    Validation,
    Verdicts,
    alarms,
    business_verdicts,
    data_verdicts,
    delay,
    drift_verdicts,
    model_verdicts,
    replay_dict,
    replay_table,
    replay_text,
    varied,
)
from countersign.tables import Column
from countersign.thresholds import Thresholds, load_thresholds

SESSIONS = 130


@pytest.fixture(scope="module")
def thresholds(root: Path) -> Thresholds:
    """The shipped ones with windows of a month and a level that every third window exceeds: all verdicts occur."""
    found, _ = load_thresholds(root)
    return found.model_copy(
        update={
            "data": found.data.model_copy(update={"window_sessions": 25}),
            "model": found.model.model_copy(
                update={"window_sessions": 21, "calibration_level": 0.7, "min_each": 5, "error_rise": 0.05}
            ),
            "business": found.business.model_copy(update={"quarter_sessions": 30, "design_effect": 2.0}),
        }
    )


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Four symbols whose forecasts stop saying anything after session 70; two sessions without outcomes."""
    rng = np.random.default_rng(7)
    shape = (SESSIONS, 4)
    risk = np.exp(rng.normal(size=shape))
    variance = 1e-4 * risk * np.exp(0.3 * rng.normal(size=shape))
    told = np.where(np.arange(SESSIONS)[:, None] < 70, risk, np.exp(rng.normal(size=shape)))
    probability = told / (3 + told)
    bad = (rng.random(shape) < risk / (3 + risk)).astype(float)
    bad[[40, 41]] = variance[[40, 41]] = np.nan
    approved = (probability < np.where(np.arange(SESSIONS)[:, None] < 90, 0.2, 0.5)).astype(float)
    baseline = np.full(shape, 1.5e-4)
    return Outcomes(variance, 1e-4 * told, baseline, bad, probability, np.full(shape, 0.3), approved, approved)


VALIDATIONS = (
    Validation({"qlike": (0.1, 0.4), "volatility_mae": (0.002, 0.004)}, 0.75, 0.4, 0.1, 60),
    Validation({"qlike": (0.2, 0.4), "volatility_mae": (0.003, 0.004)}, 0.65, 0.5, 0.2, 3000),
)
PERIODS = (Period(0, 30, None), Period(30, 80, VALIDATIONS[0]), Period(80, SESSIONS, VALIDATIONS[1]))


def validation_at(session: int) -> Validation:
    """Those of the period, or of no use at all."""
    nothing = Validation(dict.fromkeys(("qlike", "volatility_mae"), (np.nan, np.nan)), np.nan, np.nan, np.nan, 0)
    return next(p.validation or nothing for p in PERIODS if p.first <= session < p.end)


def require_same(verdicts: Verdicts, readings: dict[int, tuple[Reading, ...]], *, occurring: set[str]) -> None:
    """Each session's readings have the verdicts of the replay, which are not all alike."""
    assert readings
    for session, found in readings.items():
        assert {r.measure: r.status for r in found} == {m: str(v[session]) for m, v in verdicts.items()}, session
    assert set(np.concatenate(list(verdicts.values())).tolist()) == occurring


def test_data_verdicts_of_each_session_are_those_of_its_daily_run(thresholds: Thresholds) -> None:
    limits = thresholds.data
    columns = (Column("close", "number", "price", ""), Column("volume", "number", "shares", "", nullable=True))
    rows = np.full(60, 10)
    rows[[30, 35]] = 8, 0
    filled = np.repeat(rows[:, None], 2, axis=1)
    filled[40, 1], filled[45] = 0, 5
    rejected = np.where(np.arange(60) == 50, 2, 0)

    def arrivals(until: int) -> Arrivals:
        zero = np.zeros((until, 2), dtype=int)
        return Arrivals(columns, rows[:until], (rows - rejected)[:until], rejected[:until], filled[:until], zero)

    daily = {
        day: (
            schema_reading(arrivals(day + 1), columns),
            *completeness_readings(
                arrivals(day + 1),
                max_null_share=limits.max_null_share,
                max_column_null_share=limits.max_column_null_share,
                max_rejected_share=limits.max_rejected_share,
                max_drop=limits.max_drop,
                window=limits.window_sessions,
            ),
        )
        for day in range(60)
    }
    verdicts = data_verdicts(arrivals(60), columns, limits)
    require_same(verdicts, daily, occurring={"pass", "fail", "insufficient"})
    assert {m: np.flatnonzero(v == "fail").tolist() for m, v in verdicts.items()} == {
        "schema": [40, 45],
        "null_share": [40, 45],
        "column_null_share": [40, 45],
        "rejected_share": [50],
        "rows": [30, 35],
        "symbols": [30, 35, 50],
    }


def test_drift_verdicts_of_each_session_are_those_of_its_daily_run() -> None:
    rng = np.random.default_rng(3)
    counts = rng.multinomial(5, np.full(5, 0.2), size=(3, 200))
    counts[0, 100:] = rng.multinomial(5, [0.9, 0.1, 0, 0, 0], size=100)
    counts[2] = 0
    frozen = np.full((3, 6), 400)
    frozen[:, -1] = 0
    reference = DriftReference(("x", "y", "empty"), (np.arange(4.0),) * 3, frozen, np.array([2.0, 60.0, 1.0]))
    drift = measure_drift(
        np.concatenate([counts, np.zeros((3, 200, 1), dtype=int)], axis=-1),
        reference,
        psi=0.2,
        significance=0.001,
        sessions_in_a_row=3,
        window_sessions=63,
    )
    daily = {day: drift_readings(drift.until(day + 1)) for day in range(200)}
    verdicts = drift_verdicts(drift)
    require_same(verdicts, daily, occurring={"pass", "fail", "insufficient"})
    assert alarms(verdicts["drift"]) == alarms(verdicts["psi_x"]) != []


def test_model_verdicts_of_each_session_are_those_of_its_daily_run_against_its_own_validation(
    outcomes: Outcomes, thresholds: Thresholds
) -> None:
    limits, o = thresholds.model, outcomes
    window = limits.window_sessions

    def readings(session: int) -> tuple[Reading, ...]:
        # What the daily run reads: a window, and as many sessions before as a rise must last.
        days = slice(max(session - window - limits.sessions_in_a_row - 2, 0), session + 1)
        validation = validation_at(session)
        found: list[Reading] = []
        for name, loss in (("qlike", qlike_losses), ("volatility_mae", volatility_errors)):
            model, baseline = validation.losses[name]
            sums = session_losses(o.variance[days], o.model_variance[days], o.baseline_variance[days], loss)
            rolled = rolling_losses(sums, window=window, validation_model=model, validation_baseline=baseline)
            found += error_readings(
                name,
                rolled,
                max_rise=limits.error_rise,
                max_loss_rise=limits.loss_rise,
                in_a_row=limits.sessions_in_a_row,
            )
        bad, probability = o.bad_week[days], o.probability[days]
        return (
            *found,
            auc_reading(
                rolling_auc(bad, probability, window=window),
                validation=validation.auc,
                max_drop=limits.max_auc_drop,
                min_auc=limits.min_auc,
                standard_errors=limits.auc_standard_errors,
                min_each=limits.min_each,
            ),
            *calibration_readings(
                rolling_calibration(
                    bad,
                    probability,
                    window=window,
                    level=limits.calibration_level,
                    symbol_correlation=limits.symbol_correlation,
                ),
                min_each=limits.min_each,
            ),
            brier_reading(
                rolling_brier(bad, probability, o.baseline_probability[days], window=window),
                max_excess=limits.max_brier_excess,
                min_each=limits.min_each,
            ),
        )

    [verdicts] = model_verdicts(outcomes, PERIODS, [limits])
    daily = {session: readings(session) for session in (0, 22, 29, 30, 41, 60, 79, 80, 85, 100, SESSIONS - 1)}
    require_same(verdicts, daily, occurring={"pass", "fail", "insufficient"})


def test_business_verdicts_of_each_session_are_those_of_its_daily_run_against_its_own_validation(
    outcomes: Outcomes, thresholds: Thresholds
) -> None:
    limits, o = thresholds.business, outcomes

    def readings(session: int) -> tuple[Reading, ...]:
        days = slice(0, session + 1)
        v = validation_at(session)
        found: list[Reading] = []
        for name, counts, rate, rows, points in (
            ("approval_rate", approval_counts(o.decided[days]), v.approval_rate, v.rows, 10),
            ("bad_rate", bad_counts(o.approved[days], o.bad_week[days]), v.bad_rate, v.rows * v.approval_rate, 5),
        ):
            found += rate_readings(
                name,
                rolling_rate(counts, window=limits.window_sessions, quarter=limits.quarter_sessions),
                validation_rate=rate,
                validation_rows=rows,
                min_change_points=points,
                min_z=limits.min_z,
                min_rows=limits.min_rows,
                design_effect=limits.design_effect,
            )
        return tuple(found)

    verdicts = business_verdicts(outcomes, PERIODS, limits)
    require_same(verdicts, {s: readings(s) for s in range(SESSIONS)}, occurring={"pass", "fail", "insufficient"})


def marked(text: str) -> np.ndarray:
    """``.`` passes, ``x`` fails, ``?`` is insufficient."""
    return np.array([{".": "pass", "x": "fail", "?": "insufficient"}[c] for c in text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("....", []),
        ("x", [(0, 0)]),
        ("x...x", [(0, 4)]),
        ("x....x", [(0, 0), (5, 5)]),
        ("xx?x......xxx", [(0, 3), (10, 12)]),
        ("x...x...x", [(0, 8)]),
    ],
)
def test_stretches_that_are_fewer_than_five_sessions_apart_are_one_alarm(
    text: str, expected: list[tuple[int, int]]
) -> None:
    assert alarms(marked(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("..|x", 0),
        ("x.....|...x.....x", 3),
        ("..xx|xx", -2),
        ("..x.|.x", -2),
        ("?|?" + "." * 200, "none"),
        ("x...|", "not judged"),
        ("x.....|...", "too early"),
        ("|" + "." * 126, "too early"),
        ("|" + "." * 127, "none"),
        ("." + "|" + "?" * 127 + "x", "not judged"),
        ("|" + "." * 126 + "x", 126),
        ("|" + "." * 127 + "x", "none"),
    ],
)
def test_a_break_is_answered_by_the_first_alarm_from_it_on_within_half_a_year(text: str, expected: Delay) -> None:
    """The break is the session after the ``|``; an alarm that had begun before it and lasted counts from below 0."""
    assert delay(marked(text.replace("|", "")), text.index("|")) == expected


def test_the_delay_after_each_known_break_is_told_under_every_threshold(thresholds: Thresholds) -> None:
    days = np.arange("2008-09-08", "2008-09-27", dtype="datetime64[D]")
    sessions = days[np.is_busday(days)]  # Lehman's Monday is the sixth of 15
    shipped, halved, doubled = marked("." * 8 + "x......"), marked("." * 4 + "xx" + "." * 9), marked("." * 15)
    table = replay_table(
        sessions, [{"auc": auc} for auc in (shipped, halved, doubled, halved, doubled)], thresholds, "ab" * 32
    )
    found: dict[str, Any] = replay_dict(table)
    [auc] = found["measures"]
    assert list(found["breaks"]) == ["2008-09-15"]
    assert auc["alarms"]["delays"] == {"2008-09-15": 3}
    assert [(t["halved"]["delays"], t["doubled"]["delays"]) for t in auc["thresholds"]] == [
        ({"2008-09-15": -1}, {"2008-09-15": "too early"})
    ] * 2
    text = replay_text(table)
    assert "2008-09-15  Lehman Brothers filed for bankruptcy" in text
    assert [line.split() for line in text.splitlines() if line.startswith("  auc")][-1] == ["auc", "3", "-1", "?"]
    assert max(map(len, text.splitlines())) < 80


@pytest.fixture
def table_inputs() -> tuple[np.ndarray, list[Verdicts]]:
    """Ten sessions over a new year; AUC fails in both years, never where a threshold is doubled."""
    sessions = np.array([*(f"2007-12-{d}" for d in (24, 26, 27, 28, 31)), *(f"2008-01-0{d}" for d in (2, 3, 4, 7, 8))])
    halved, shipped, doubled = marked("xxx.xxxxxx"), marked("x....x.xx."), marked("..........")
    verdicts: list[Verdicts] = [
        {"schema": marked("." * 10), "auc": auc, "brier": marked("?" * 10)}
        for auc in (shipped, halved, doubled, halved, doubled)
    ]
    return sessions.astype("datetime64[D]"), verdicts


def test_the_table_counts_alarms_by_the_year_in_which_they_began_and_under_other_thresholds(
    table_inputs: tuple[np.ndarray, list[Verdicts]], thresholds: Thresholds
) -> None:
    found: dict[str, Any] = replay_dict(replay_table(*table_inputs, thresholds, "ab" * 32))
    schema, auc, brier = found["measures"]
    assert (found["first"], found["last"], found["sessions"]) == ("2007-12-24", "2008-01-08", 10)
    assert auc["alarms"] == {
        "failing": 4,
        "stretches": (("2007-12-24", "2007-12-24"), ("2008-01-02", "2008-01-07")),
        "delays": {},
    }
    assert auc["longest"] == ("2008-01-02", "2008-01-07")
    assert auc["by_year"] == {"2007": 1, "2008": 1}
    assert [t["name"] for t in auc["thresholds"]] == ["model.max_auc_drop", "model.auc_standard_errors"]
    assert [(t["halved"]["failing"], t["doubled"]["failing"]) for t in auc["thresholds"]] == [(9, 0)] * 2
    assert (schema["judged"], schema["by_year"]) == (10, {"2007": 0, "2008": 0})
    assert (brier["judged"], brier["by_year"]) == (0, {"2007": None, "2008": None})


def test_the_text_says_what_was_never_judged_and_what_history_cannot_say_within_eighty_columns(
    table_inputs: tuple[np.ndarray, list[Verdicts]], thresholds: Thresholds
) -> None:
    text = replay_text(replay_table(*table_inputs, thresholds, "ab" * 32))
    assert "No alarm under any of these: schema" in text
    assert "Never judged: brier" in text
    assert "there were no runs: run_seconds_p95, run_failures" in text
    assert "there was no server: request_ms_p95" in text
    [row, *_] = [line.split() for line in text.splitlines() if line.startswith("  auc")]
    assert row == ["auc", "10", "2", "(4)", "1", "(9)", "0", "(0)"]
    assert max(map(len, text.splitlines())) < 80


def test_each_threshold_is_halved_and_doubled_alone_of_those_that_a_measure_depends_on(thresholds: Thresholds) -> None:
    shipped, halved, _, _, second_doubled = varied(thresholds)
    assert shipped == thresholds
    assert halved.drift == thresholds.drift.model_copy(update={"psi": 0.1})
    assert (halved.model.max_auc_drop, halved.model.auc_standard_errors) == (0.025, 2)
    assert halved.model.calibration_level == pytest.approx(0.85)
    assert second_doubled.business == thresholds.business.model_copy(update={"min_z": 6})
    assert second_doubled.drift == thresholds.drift.model_copy(update={"significance": 0.002})
