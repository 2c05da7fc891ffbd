"""Drift: effect, significance and persistence together are drift; less is never an alarm and never green."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, false_discovery_control

from countersign.errors import ModelError
from countersign.model.reference import reference_bins
from countersign.monitoring.drift import DriftReference, drift_readings, measure_drift
from countersign.monitoring.reading import Reading

WINDOW = 63
SHIPPED: dict[str, Any] = {"psi": 0.2, "significance": 0.001, "sessions_in_a_row": 3, "window_sessions": WINDOW}


def frozen(**subjects: np.ndarray) -> DriftReference:
    """A reference of values (sessions, symbols) by subject."""
    bins = {
        name: reference_bins(values.ravel(), np.repeat(np.arange(len(values)), values.shape[1]))
        for name, values in subjects.items()
    }
    return DriftReference.from_dict({"features": bins, "scores": {}, "targets": {}})


def counts(reference: DriftReference, *values: np.ndarray) -> np.ndarray:
    """Counts of values (sessions, symbols), in the order of the reference's subjects."""
    return np.stack(
        [
            reference.count(name, v.ravel(), np.repeat(np.arange(len(v)), v.shape[1]), len(v))
            for name, v in zip(reference.subjects, values, strict=True)
        ]
    )


def last(reference: DriftReference, *values: np.ndarray, **thresholds: Any) -> tuple[Reading, ...]:
    return drift_readings(measure_drift(counts(reference, *values), reference, **(SHIPPED | thresholds)))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20080902)


@pytest.fixture
def training(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(1000, 8))


def slow_verdicts(found: np.ndarray, reference: DriftReference, window: int, needed: int) -> list[list[int]]:
    """Sessions in a row with effect and significance, by subject and session, one number at a time."""
    subjects, sessions, width = found.shape
    streaks = [[0] * sessions for _ in range(subjects)]
    for t in range(sessions):
        tested, index, p = [], {}, []
        for s in range(subjects):
            before = [int(c) for c in reference.counts[s]]
            after = [int(found[s, max(0, t - window + 1) : t + 1, b].sum()) for b in range(width)]
            n, m = sum(before), sum(after)
            if m < 120 and sum(c > 0 for c in before[:-1]) > 5:
                before, after = (
                    [sum(c[:-1][i : i + 2]) for i in range(0, width - 1, 2)] + [c[-1]] for c in (before, after)
                )
            pairs = [(e, a) for e, a in zip(before, after, strict=True) if e or a]
            bins = len(pairs)
            if m == 0 or bins < 2 or chi2.isf(0.01, bins - 1) * (1 / n + 1 / m) > 0.2:
                continue
            share = [((e + 0.5) / (n + bins / 2), (a + 0.5) / (m + bins / 2)) for e, a in pairs]
            index[s] = sum((a - e) * math.log(a / e) for e, a in share)
            tested.append(s)
            p.append(chi2.sf(index[s] / (reference.design_effect[s] * (1 / n + 1 / m)), bins - 1))
        adjusted = dict(zip(tested, false_discovery_control(p), strict=True)) if p else {}
        for s in tested:
            if index[s] > 0.2 and adjusted[s] < 0.001:
                streaks[s][t] = min(needed, streaks[s][t - 1] + 1 if t else 1)
    return streaks


def test_verdicts_are_those_of_one_number_at_a_time(rng: np.random.Generator) -> None:
    """Subjects that stay, that shift, that go missing and have few bins; sessions with few rows and with none."""
    reference = frozen(
        stays=rng.normal(size=(400, 5)),
        shifts=rng.normal(size=(400, 5)),
        missing=rng.normal(size=(400, 5)),
        few=rng.integers(0, 3, size=(400, 5)).astype(float),
        slow=np.repeat(rng.normal(size=(40, 5)), 10, axis=0),
    )
    stays, shifts, missing, slow = (rng.normal(size=(160, 5)) for _ in range(4))
    shifts[40:] += 1
    missing[70:100, :3] = np.nan
    few = rng.integers(0, 3, size=(160, 5)).astype(float)
    few[60:] = np.minimum(few[60:], 1)
    found = counts(reference, stays, shifts, missing, few, slow + 0.7)
    found[:, 120:150] = 0
    found[:, 10:20] = 0
    drift = measure_drift(found, reference, **(SHIPPED | {"window_sessions": 30}))
    assert drift.in_a_row.tolist() == slow_verdicts(found, reference, 30, 3)
    by_subject = dict(zip(drift.subjects, [bool(row.any()) for row in drift.drifted], strict=True))
    assert by_subject == {"stays": False, "shifts": True, "missing": True, "few": True, "slow": False}


def test_the_daily_run_says_to_the_last_bit_what_the_replay_says(
    rng: np.random.Generator, training: np.ndarray
) -> None:
    reference = frozen(a=training, b=training**2)
    values = rng.normal(size=(300, 8)) + np.linspace(0, 1, 300)[:, None]
    found = counts(reference, values, values**2)
    replay = measure_drift(found, reference, **SHIPPED)
    assert 0 < replay.drifted.sum() < replay.drifted.size
    for session in range(WINDOW + 2, 300, 5):
        read = found[:, session - WINDOW - 1 : session + 1]  # 63 sessions and the two before, for three in a row
        daily = measure_drift(read, reference, **SHIPPED)
        for name in ("rows", "bins", "index", "p", "judged", "in_a_row", "drifted"):
            np.testing.assert_array_equal(getattr(daily, name)[:, -1], getattr(replay, name)[:, session], name)


def test_an_effect_beyond_chance_is_drift_in_its_third_session_and_insufficient_evidence_before(
    rng: np.random.Generator, training: np.ndarray
) -> None:
    reference = frozen(x=training)
    values = rng.normal(size=(120, 8))
    values[63:] += 2
    drift = measure_drift(counts(reference, values), reference, **SHIPPED)
    first = int(np.argmax(drift.in_a_row[0] > 0))
    assert [drift_readings(drift.until(n))[1].status for n in (WINDOW, first + 1, first + 2)] == [
        "pass",
        "insufficient",
        "insufficient",
    ]
    second = drift_readings(drift.until(first + 2))
    assert "only for 2 of 3 sessions" in second[1].sentence
    assert second[0].status == "pass"
    verdict, psi = drift_readings(drift.until(first + 3))
    assert (verdict.status, psi.status) == ("fail", "fail")
    assert verdict.value == 1
    assert verdict.sentence.endswith("drifted from the training data: x")


def test_a_panel_of_hundreds_of_symbols_that_starts_drifted_is_found_in_its_third_session(
    rng: np.random.Generator,
) -> None:
    reference = frozen(x=rng.normal(size=(250, 300)))
    drift = measure_drift(counts(reference, rng.normal(2, 1, size=(4, 300))), reference, **SHIPPED)
    assert drift.drifted.tolist() == [[False, False, True, True]]


def test_a_large_index_that_slow_values_have_without_drift_is_a_warning_and_no_alarm(rng: np.random.Generator) -> None:
    """Each level lasts a quarter, so that a window holds two of the forty that training saw."""
    level = np.repeat(rng.normal(size=40), WINDOW)[:, None] + rng.normal(scale=0.2, size=(40 * WINDOW, 8))
    verdict, psi = last(frozen(level=level), level[:WINDOW])
    assert psi.value > 1
    assert psi.status == "insufficient"
    assert "quarters without drift differ as much" in psi.sentence
    assert verdict.status == "pass"
    assert "1 with a PSI over 0.2" in verdict.sentence


def test_half_of_the_values_missing_is_drift(rng: np.random.Generator, training: np.ndarray) -> None:
    values = rng.normal(size=(WINDOW + 2, 8))
    values[:, ::2] = np.nan
    verdict, psi = last(frozen(x=training), values)
    assert (verdict.status, psi.status) == ("fail", "fail")


def test_one_wild_value_does_not_hide_a_shift(rng: np.random.Generator) -> None:
    """500 rows of N(0, 1) against 500 of N(1, 1): another library's index drops from 0.966 to 0.0057."""
    before, after = rng.normal(size=(500, 1)), rng.normal(1, 1, size=(500, 1))
    wild = after.copy()
    wild[7] = 1000
    reference = frozen(x=before)
    (_, without), (_, having) = (last(reference, values, window_sessions=500) for values in (after, wild))
    assert having.value > without.value / 2
    assert having.status == without.status == "fail"


@pytest.mark.parametrize(("rows", "status"), [(66, "insufficient"), (67, "fail")])
def test_a_window_too_small_for_an_index_of_0_2_to_mean_anything_is_insufficient_evidence(
    training: np.ndarray, rows: int, status: str
) -> None:
    """χ²₄ has its 1 % point at 13.277, and 13.277·(1/m + 1/8000) is at most 0.2 from m = 67 on."""
    assert last(frozen(x=training), np.full((rows + 2, 1), 9.0), window_sessions=rows)[1].status == status


def test_nothing_is_said_where_there_is_no_session_or_no_row(training: np.ndarray) -> None:
    for sessions in (0, 5):
        for reading in last(frozen(x=training), np.empty((sessions, 0))):
            assert reading.status == "insufficient"
            assert math.isnan(reading.value)


def test_subjects_that_cannot_be_judged_are_counted_and_do_not_hide_the_others(
    rng: np.random.Generator, training: np.ndarray
) -> None:
    reference = frozen(moved=training, constant=np.ones((1000, 8)), gone=training)
    verdict, moved, constant, gone = last(
        reference, rng.normal(3, 1, size=(70, 8)), np.ones((70, 8)), np.empty((70, 0))
    )
    assert (verdict.status, moved.status, constant.status, gone.status) == (
        "fail",
        "fail",
        "insufficient",
        "insufficient",
    )
    assert "2 could not be judged" in verdict.sentence


def test_the_values_of_training_counted_again_are_the_frozen_counts(training: np.ndarray) -> None:
    with_gaps = np.where(training > 2, np.nan, np.maximum(training, 0))  # NaN, and a value that repeats: fewer bins
    reference = frozen(whole=training, gaps=with_gaps)
    np.testing.assert_array_equal(counts(reference, training, with_gaps).sum(axis=1), reference.counts)


def test_a_reference_without_design_effects_is_refused_with_what_to_do() -> None:
    bins = {"edges": [0.0], "counts": [5, 5], "missing": 0}
    with pytest.raises(ModelError, match=r"design effect.*none of return_1.*train again"):
        DriftReference.from_dict({"features": {"return_1": bins}, "scores": {}, "targets": {"bad_week_share": 0.2}})
