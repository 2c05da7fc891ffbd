"""Replay: what monitoring would have said in every session of a history, and how often it would have alarmed.

Belongs here: the verdicts of many sessions by the functions of the daily run, alarms, the table of them under halved
and doubled thresholds. Does not belong here: reading prices and training models (``steps.replay``), any measure.

History has no runs and no arrivals, so the measures of ``NOT_REPLAYED`` have no verdict; the table says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from countersign.model.evaluation import Forecasts
from countersign.model.measures import auc_score, qlike_losses, volatility_errors
from countersign.model.targets import HORIZON
from countersign.monitoring.brier import brier_verdicts, rolling_brier
from countersign.monitoring.business import (
    COMPARISONS,
    approval_counts,
    bad_counts,
    rate_change,
    rate_verdicts,
    rolling_rate,
)
from countersign.monitoring.calibration import MEASURES as CALIBRATION_MEASURES
from countersign.monitoring.calibration import calibration_verdicts, rolling_calibration
from countersign.monitoring.completeness import Arrivals, completeness_verdicts
from countersign.monitoring.contract import schema_changes
from countersign.monitoring.discrimination import auc_verdicts, rolling_auc
from countersign.monitoring.drift import Drift
from countersign.monitoring.errors import breaches, rolling_losses, session_losses

if TYPE_CHECKING:
    from countersign.tables import Column
    from countersign.thresholds import BusinessThresholds, DataThresholds, ModelThresholds, Thresholds

Verdicts = dict[str, np.ndarray]
""" "pass", "fail" or "insufficient" of each session, by measure."""

GAP: Final = 5
"""Sessions: two stretches that are closer are one alarm, as nobody would call the second a new one."""

DRIFT_VARIED: Final = ("drift.psi", "drift.significance")
"""The thresholds of every measure of drift that are varied."""

VARIED: Final[Mapping[str, tuple[str, ...]]] = {
    "schema": (),
    "null_share": ("data.max_null_share",),
    "column_null_share": ("data.max_column_null_share",),
    "rejected_share": ("data.max_rejected_share",),
    "rows": ("data.max_drop",),
    "symbols": ("data.max_drop",),
    "qlike_rise": ("model.error_rise",),
    "qlike": ("model.loss_rise",),
    "volatility_mae_rise": ("model.error_rise",),
    "volatility_mae": ("model.loss_rise",),
    "auc": ("model.max_auc_drop", "model.auc_standard_errors"),
    **dict.fromkeys(CALIBRATION_MEASURES, ("model.calibration_level",)),
    "brier": ("model.max_brier_excess",),
    **{f"approval_rate_vs_{o}": ("business.min_approval_change_points", "business.min_z") for o in COMPARISONS},
    **{f"bad_rate_vs_{o}": ("business.min_bad_change_points", "business.min_z") for o in COMPARISONS},
}
"""The thresholds of each measure that are halved and doubled, one at a time. Those in the same place of all measures
are varied together, so a measure must not depend on another's that stands in the place of its own."""

VARIATIONS: Final = tuple((place, factor) for place in (0, 1) for factor in (0.5, 2.0))
"""Which of a measure's thresholds is multiplied by what; all measures at once."""

BREAKS: Final[Mapping[str, str]] = {
    "2008-09-15": "Lehman Brothers filed for bankruptcy",
    "2010-05-06": "the flash crash: US shares fell by a twentieth within minutes",
    "2011-08-05": "S&P took away the AAA of the United States, after the close",
}
"""Days on which the market is known to have broken, and what happened: dated facts, not found in the prices.

Sources: the filing (US Bankruptcy Court, Southern District of New York, 08-13555); CFTC and SEC, Findings regarding the
market events of May 6, 2010; Standard & Poor's, Research update: United States of America long-term rating lowered."""

ANSWER: Final = 126
"""Sessions after a break within which an alarm counts as its answer: half a year. The slowest measures need 66 to see
nothing but what came after it: a window of 60, a horizon of 5, three in a row."""

Delay = int | Literal["none", "too early", "not judged"]
"""Sessions from a break to the first alarm: 0 is the break's own session, below 0 it had begun before and lasted.

"none" within ``ANSWER`` sessions; "too early" where the replay ends before they are over; "not judged" where each of
them was insufficient."""

NOT_REPLAYED: Final = {
    "staleness_minutes": "only a live session has an arrival",
    "arrival_minutes": "only a live session has an arrival",
    "run_seconds_p95": "there were no runs",
    "run_failures": "there were no runs",
    "request_ms_p95": "there was no server",
    "request_failures": "there was no server",
}
"""Measures that history says nothing of, and why."""


@dataclass(frozen=True)
class Validation:
    """What a model is held against: the same numbers, of walk-forward forecasts, as ``evaluation`` of ``model.json``.

    ``losses`` are the model's and the baseline's mean loss by name.
    """

    losses: Mapping[str, tuple[float, float]]
    auc: float
    approval_rate: float
    bad_rate: float
    rows: int

    @classmethod
    def of(cls, forecasts: Forecasts, before: int, min_sessions: int) -> Self | None:
        """Of the forecasts whose outcomes were known before session number ``before`` of the panel.

        None where they are of fewer than ``min_sessions`` sessions.
        """
        f = forecasts
        known = f.first + f.session + HORIZON < before
        if len(np.unique(f.session[known])) < max(min_sessions, 1):
            return None
        approved, bad = f.approved[known], f.bad_week[known]
        return cls(
            losses={
                name: (
                    float(loss(f.variance, f.model_variance)[known].mean()),
                    float(loss(f.variance, f.baseline_variance)[known].mean()),
                )
                for name, loss in _LOSSES.items()
            },
            auc=auc_score(bad, f.probability[known]),
            approval_rate=float(approved.mean()),
            bad_rate=float(bad[approved].mean()) if approved.any() else float("nan"),
            rows=int(known.sum()),
        )


_LOSSES: Final[Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "qlike": qlike_losses,
    "volatility_mae": volatility_errors,
}


@dataclass(frozen=True)
class Period:
    """Sessions ``first`` … ``end`` - 1, judged against one ``validation``; None where there is too little for one."""

    first: int
    end: int
    validation: Validation | None


@dataclass(frozen=True)
class Outcomes:
    """Forecasts and what came of them as matrices (sessions, symbols), NaN where there is none.

    A row is the session in which the outcome matured; that of ``decided`` the one that was scored.
    """

    variance: np.ndarray
    model_variance: np.ndarray
    baseline_variance: np.ndarray
    bad_week: np.ndarray
    probability: np.ndarray
    baseline_probability: np.ndarray
    approved: np.ndarray
    decided: np.ndarray

    @classmethod
    def of(cls, forecasts: Forecasts, sessions: int, symbols: int) -> Self:
        """Of ``forecasts``, in matrices of the panel's size."""
        f = forecasts

        def spread(values: np.ndarray, later: int = HORIZON) -> np.ndarray:
            matrix = np.full((sessions, symbols), np.nan)
            matrix[f.first + f.session + later, f.symbol] = values
            return matrix

        return cls(
            variance=spread(f.variance),
            model_variance=spread(f.model_variance),
            baseline_variance=spread(f.baseline_variance),
            bad_week=spread(f.bad_week),
            probability=spread(f.probability),
            baseline_probability=spread(f.baseline_probability),
            approved=spread(f.approved),
            decided=spread(f.approved, later=0),
        )


def varied(thresholds: Thresholds) -> list[Thresholds]:
    """``thresholds`` as they are, then under each of ``VARIATIONS``.

    Of a level, 0.99 say, the part above it is varied: twice 1 % are 2 %.
    """
    found = [thresholds]
    for place, factor in VARIATIONS:
        changed: dict[str, dict[str, float]] = {}
        for name in {names[place] for names in (DRIFT_VARIED, *VARIED.values()) if len(names) > place}:
            section, key = name.split(".")
            value = _value(thresholds, name)
            scaled = 1 - factor * (1 - value) if key == "calibration_level" else factor * value
            changed.setdefault(section, {})[key] = scaled
        sections = {name: getattr(thresholds, name).model_copy(update=keys) for name, keys in changed.items()}
        found.append(thresholds.model_copy(update=sections))
    return found


def data_verdicts(arrivals: Arrivals, contract: Sequence[Column], limits: DataThresholds) -> Verdicts:
    """Every measure of what arrived; ``schema`` by the rule of ``schema_reading``."""
    changes = schema_changes(arrivals, contract)
    return {
        "schema": _judged(np.isnan(changes), changes > 0),
        **completeness_verdicts(
            arrivals,
            max_null_share=limits.max_null_share,
            max_column_null_share=limits.max_column_null_share,
            max_rejected_share=limits.max_rejected_share,
            max_drop=limits.max_drop,
            window=limits.window_sessions,
        ),
    }


def drift_verdicts(drift: Drift) -> Verdicts:
    """``drift``, and each subject, by the rules of ``drift_readings``."""
    judged, drifted = drift.judged & (drift.rows > 0), drift.drifted
    effect = np.nan_to_num(drift.index) > drift.psi
    each = _judged(~drifted & (~judged | effect), drifted)
    return {
        "drift": _judged(drift.judged.sum(axis=0) == 0, (each == "fail").sum(axis=0) > 0),
        **{f"psi_{subject}": row for subject, row in zip(drift.subjects, each, strict=True)},
    }


def model_verdicts(outcomes: Outcomes, periods: Sequence[Period], each: Sequence[ModelThresholds]) -> list[Verdicts]:
    """Every measure of the model, under each of the thresholds, which have the same window.

    Those held against validation are held against that of the period, on the sessions before it, too: as the daily
    run does with the model that is in service.
    """
    o, window = outcomes, each[0].window_sessions
    auc = rolling_auc(o.bad_week, o.probability, window=window)
    brier = rolling_brier(o.bad_week, o.probability, o.baseline_probability, window=window)
    calibration = {
        key: rolling_calibration(o.bad_week, o.probability, window=window, level=key[0], symbol_correlation=key[1])
        for key in {(limits.calibration_level, limits.symbol_correlation) for limits in each}
    }
    losses = {
        name: session_losses(o.variance, o.model_variance, o.baseline_variance, loss) for name, loss in _LOSSES.items()
    }

    def against(validation: Validation, limits: ModelThresholds) -> Verdicts:
        found = {}
        for name, (model, baseline) in validation.losses.items():
            rolled = rolling_losses(losses[name], window=window, validation_model=model, validation_baseline=baseline)
            for measure, rise, limit in (
                (f"{name}_rise", rolled.rise, limits.error_rise),
                (name, rolled.model_rise, limits.loss_rise),
            ):
                breach = breaches(rolled, rise, max_rise=limit, in_a_row=limits.sessions_in_a_row)
                found[measure] = _judged(np.isnan(breach), breach > 0)
        found["auc"] = auc_verdicts(
            auc,
            validation=validation.auc,
            max_drop=limits.max_auc_drop,
            min_auc=limits.min_auc,
            standard_errors=limits.auc_standard_errors,
            min_each=limits.min_each,
        )
        return found

    held = [*(f"{name}{end}" for name in _LOSSES for end in ("_rise", "")), "auc"]
    found = []
    for limits in each:
        rolled = calibration[limits.calibration_level, limits.symbol_correlation]
        verdicts = calibration_verdicts(rolled, min_each=limits.min_each)
        found.append(
            {
                **_by_period(held, len(o.variance), periods, partial(against, limits=limits)),
                **dict(zip(CALIBRATION_MEASURES, verdicts, strict=True)),
                "brier": brier_verdicts(brier, max_excess=limits.max_brier_excess, min_each=limits.min_each),
            }
        )
    return found


def business_verdicts(outcomes: Outcomes, periods: Iterable[Period], limits: BusinessThresholds) -> Verdicts:
    """Both rates against the quarter before, and against the validation of the period."""
    points = {"approval_rate": limits.min_approval_change_points, "bad_rate": limits.min_bad_change_points}
    rolled = {
        measure: rolling_rate(counts, window=limits.window_sessions, quarter=limits.quarter_sessions)
        for measure, counts in (
            ("approval_rate", approval_counts(outcomes.decided)),
            ("bad_rate", bad_counts(outcomes.approved, outcomes.bad_week)),
        )
    }

    def verdicts(measure: str, against: str, rate: float = np.nan, rows: float = np.nan) -> np.ndarray:
        change = rate_change(
            rolled[measure],
            against,
            validation_rate=rate,
            validation_rows=rows,
            design_effect=limits.design_effect,
        )
        return rate_verdicts(change, min_change_points=points[measure], min_z=limits.min_z, min_rows=limits.min_rows)

    def against(validation: Validation) -> Verdicts:
        v = validation
        rates = (("approval_rate", v.approval_rate, v.rows), ("bad_rate", v.bad_rate, v.rows * v.approval_rate))
        return {f"{name}_vs_validation": verdicts(name, "validation", rate, rows) for name, rate, rows in rates}

    held = [f"{measure}_vs_validation" for measure in points]
    return {
        **_by_period(held, len(outcomes.decided), periods, against),
        **{f"{measure}_vs_quarter": verdicts(measure, "quarter") for measure in points},
    }


def _by_period(
    measures: Iterable[str], sessions: int, periods: Iterable[Period], against: Callable[[Validation], Verdicts]
) -> Verdicts:
    """The verdicts of each period against its own validation; insufficient where there is none."""
    found = {measure: np.full(sessions, "insufficient") for measure in measures}
    for period in periods:
        if period.validation:
            for measure, verdicts in against(period.validation).items():
                found[measure][period.first : period.end] = verdicts[period.first : period.end]
    return found


def _judged(unknown: np.ndarray, fails: np.ndarray) -> np.ndarray:
    return np.select([unknown, fails], ["insufficient", "fail"], "pass")


def alarms(verdicts: np.ndarray) -> list[tuple[int, int]]:
    """The first and last session of every maximal stretch that fails; stretches closer than ``GAP`` are one.

    >>> alarms(np.array(["fail", "pass", "fail", "pass", "pass", "pass", "pass", "fail"]))
    [(0, 2), (7, 7)]
    """
    fails = np.flatnonzero(verdicts == "fail")
    if not len(fails):
        return []
    begins = np.flatnonzero(np.diff(fails, prepend=fails[0] - GAP) >= GAP)
    ends = np.r_[begins[1:], len(fails)] - 1
    return list(zip(fails[begins].tolist(), fails[ends].tolist(), strict=True))


def delay(verdicts: np.ndarray, broke: int) -> Delay:
    """How long after session ``broke`` the first alarm was.

    >>> delay(np.array(["pass", "pass", "fail", "fail"]), 1), delay(np.array(["fail", "fail", "pass"]), 1)
    (1, -1)
    """
    answered = [first for first, last in alarms(verdicts) if last >= broke and first <= broke + ANSWER]
    if answered:
        return answered[0] - broke
    if (verdicts[broke : broke + ANSWER + 1] == "insufficient").all():
        return "not judged"
    return "none" if len(verdicts) > broke + ANSWER else "too early"


@dataclass(frozen=True)
class Alarms:
    """So many ``failing`` sessions in so many ``stretches``, from the first to the last session (``YYYY-MM-DD``).

    ``delays`` by the day of the break.
    """

    failing: int
    stretches: tuple[tuple[str, str], ...]
    delays: Mapping[str, Delay]


@dataclass(frozen=True)
class Varied:
    """The alarms of a measure where only the threshold ``name``, now ``value``, is halved or doubled."""

    name: str
    value: float
    halved: Alarms
    doubled: Alarms


@dataclass(frozen=True)
class MeasureReplay:
    """One measure over the sessions of a replay. ``judged`` counts the sessions in which it passed or failed.

    ``by_year`` counts the alarms by the year in which they began: None where no session of the year was judged.
    """

    measure: str
    judged: int
    alarms: Alarms
    longest: tuple[str, str] | None
    by_year: Mapping[str, int | None]
    thresholds: tuple[Varied, ...]


@dataclass(frozen=True)
class Replay:
    """The whole table. ``thresholds`` is the SHA-256 of the file that it was judged by.

    ``breaks`` are those of ``BREAKS`` that lie within its sessions.
    """

    first: str
    last: str
    sessions: int
    thresholds: str
    breaks: Mapping[str, str]
    measures: tuple[MeasureReplay, ...]


def replay_table(sessions: np.ndarray, verdicts: Sequence[Verdicts], thresholds: Thresholds, digest: str) -> Replay:
    """The alarms in ``sessions`` (datetime64[D]) by ``verdicts`` under each of ``varied(thresholds)``."""
    days, year_of = sessions.astype(str), sessions.astype("datetime64[Y]").astype(str)
    breaks = {day: what for day, what in BREAKS.items() if days[0] <= day <= days[-1]}
    broke = {day: int(np.searchsorted(sessions, np.datetime64(day))) for day in breaks}

    def dated(stretches: list[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
        return tuple((str(days[first]), str(days[last])) for first, last in stretches)

    found = []
    for measure, shipped in verdicts[0].items():
        known, stretches = shipped != "insufficient", alarms(shipped)
        began = year_of[[first for first, _ in stretches]].tolist()
        each = [
            Alarms(
                failing=int((v[measure] == "fail").sum()),
                stretches=dated(alarms(v[measure])),
                delays={day: delay(v[measure], session) for day, session in broke.items()},
            )
            for v in verdicts
        ]
        names = VARIED.get(measure, DRIFT_VARIED)
        found.append(
            MeasureReplay(
                measure=measure,
                judged=int(known.sum()),
                alarms=each[0],
                longest=next(iter(dated(sorted(stretches, key=lambda s: s[0] - s[1])[:1])), None),
                by_year={
                    str(year): began.count(year) if known[year_of == year].any() else None
                    for year in np.unique(year_of)
                },
                thresholds=tuple(
                    Varied(name, _value(thresholds, name), *each[1 + 2 * place : 3 + 2 * place])
                    for place, name in enumerate(names)
                ),
            )
        )
    return Replay(str(days[0]), str(days[-1]), len(days), digest, breaks, tuple(found))


_ByThreshold = dict[str, list[tuple[MeasureReplay, tuple[Alarms, ...]]]]
"""The measures that a threshold judges, with their alarms as it is, halved and doubled."""


def _value(thresholds: Thresholds, name: str) -> float:
    section, key = name.split(".")
    return float(getattr(getattr(thresholds, section), key))


def replay_dict(found: Replay) -> dict[str, Any]:
    """What ``countersign replay`` prints, as JSON."""
    from dataclasses import asdict

    return asdict(found) | {"not_replayed": NOT_REPLAYED}


def replay_text(found: Replay) -> str:
    """The same as tables, in 80 columns."""
    ever = [m for m in found.measures if any(a.stretches for a in _all_alarms(m))]
    lines = [
        f"Replayed {found.first} … {found.last}: {found.sessions} sessions (thresholds {found.thresholds[:12]})",
        "",
        "                              sessions     alarms (failing sessions), threshold",
        "measure                         judged       as it is       halved      doubled",
        "-" * 79,
    ]
    by_threshold: _ByThreshold = {}
    for m in ever:
        for t in m.thresholds:
            by_threshold.setdefault(f"{t.name} = {t.value:g}", []).append((m, (m.alarms, t.halved, t.doubled)))
        if not m.thresholds:
            by_threshold.setdefault("no number to vary", []).append((m, (m.alarms,)))
    for threshold, of in by_threshold.items():
        lines.append(threshold)
        for m, cells in of:
            counts = "".join(f"{f'{len(a.stretches)} ({a.failing})':>13}" for a in cells)
            lines.append(f"  {m.measure:<28} {m.judged:>7}  {counts}")
    others = [m for m in found.measures if m not in ever]
    for words, measures in (
        ("No alarm under any of these", [m.measure for m in others if m.judged]),
        ("Never judged", [m.measure for m in others if not m.judged]),
        *(
            (f"Not replayed, as {why}", [m for m in NOT_REPLAYED if NOT_REPLAYED[m] == why])
            for why in dict.fromkeys(NOT_REPLAYED.values())
        ),
    ):
        if measures:
            lines += ["", *textwrap.wrap(f"{words}: {', '.join(measures)}", 79, subsequent_indent="  ")]
    fired = [m for m in ever if m.alarms.stretches]
    if fired:
        years = list(fired[0].by_year)
        lines += [
            "",
            "Alarms by the year in which they began (-: no session could be judged)",
            f"{'':<27}" + "".join(f" {year[2:]:>2}" for year in years),
            *(f"{m.measure:<27}" + "".join(f" {_count(m.by_year[year]):>2}" for year in years) for m in fired),
            "",
            f"{'':<27}  {'first alarm':<23}  longest alarm",
        ]
        for m in fired:
            first, longest = (f"{begin} … {end}" for begin, end in (m.alarms.stretches[0], m.longest or ("", "")))
            lines.append(f"{m.measure:<27}  {first}  {longest}")
    if found.breaks:
        lines += ["", *_delay_lines(found.breaks, by_threshold)]
    return "\n".join(lines)


def _delay_lines(breaks: Mapping[str, str], by_threshold: _ByThreshold) -> list[str]:
    lines = [
        "Sessions from a break to the first alarm: as it is, halved, doubled",
        f"(below 0: begun before; .: none in {ANSWER}; ?: ends too early; -: not judged)",
        *(f"  {day}  {what}" for day, what in breaks.items()),
        "",
        f"{'':<30}" + "".join(f"{day:>16}" for day in breaks),
    ]
    for threshold, of in by_threshold.items():
        rows = [(m, cells) for m, cells in of if any(isinstance(d, int) for a in cells for d in a.delays.values())]
        if rows:
            lines.append(threshold)
        for m, cells in rows:
            shown = (" " + "".join(f"{_delay(a.delays[day]):>5}" for a in cells) for day in breaks)
            lines.append(f"  {m.measure:<28}" + "".join(f"{delays:<16}" for delays in shown).rstrip())
    return lines


def _delay(found: Delay) -> str:
    return {"none": ".", "too early": "?", "not judged": "-"}.get(str(found), str(found))


def _all_alarms(m: MeasureReplay) -> list[Alarms]:
    return [m.alarms, *(alarms for t in m.thresholds for alarms in (t.halved, t.doubled))]


def _count(count: int | None) -> str:
    return "-" if count is None else str(count)
