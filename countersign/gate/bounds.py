"""Bounds: whether what came of a model's forecasts breaks a condition of its approval.

Belongs here: each measure of ``conditions`` seen from the last session, and the verdict. Does not belong here: formulas
(``countersign.model.measures``, ``countersign.monitoring``), reading outcomes, and what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

import numpy as np

from countersign.gate.conditions import Condition
from countersign.model.measures import calibration_bins, equal_mass_edges, qlike_losses, volatility_errors
from countersign.monitoring.brier import rolling_brier
from countersign.monitoring.business import approval_counts, bad_counts, rolling_rate
from countersign.monitoring.calibration import debiased_calibration_loss
from countersign.monitoring.discrimination import rolling_auc
from countersign.monitoring.errors import rolling_losses, session_losses
from countersign.monitoring.windows import known_rows, last, windows

Status = Literal["holds", "broken", "insufficient"]

_OF_PROBABILITY: Final = {"auc", "brier", "brier_ratio", "calibration_error"}
"""Measures that are judged from bad weeks and fine ones."""


@dataclass(frozen=True)
class Outcomes:
    """What one model said and what came of it, by the first word in the prediction log: matrices (sessions, symbols).

    One row for each session that this model scored, in order, and none that another model did; NaN where there is no
    score or nothing has come of it yet. ``approved`` and ``bad_week`` are 1 or 0.
    """

    came_volatility: np.ndarray
    volatility_forecast: np.ndarray
    baseline_volatility: np.ndarray
    bad_week: np.ndarray
    bad_week_probability: np.ndarray
    baseline_probability: np.ndarray
    approved: np.ndarray


@dataclass(frozen=True)
class Judged:
    """A condition seen from the last session: ``value`` of its measure (NaN where not known) on ``rows`` rows."""

    condition: Condition
    status: Status
    value: float
    rows: int
    sentence: str


def judge(condition: Condition, outcomes: Outcomes, *, min_rows: int, min_each: int) -> Judged:
    """Whether ``outcomes`` break ``condition``, seen from their last session. A value on the bound itself holds.

    Insufficient, which is neither broken nor held: the window is not complete, nothing matured in the last session, the
    value is no number, there are fewer than ``min_rows`` rows (for a bad rate: approved ones), or, for AUC, Brier loss
    and calibration, fewer than ``min_each`` bad weeks or fine ones.
    """
    found = _measured(condition, outcomes)
    over = f"{condition.measure} over the last {condition.sessions} matured sessions"
    # Without the last bits, by which a mean of tenths misses the tenth that a person writes.
    value = round(found.value, 9) if math.isfinite(found.value) else math.nan
    if math.isnan(value):
        return Judged(condition, "insufficient", value, found.rows, f"{over} is not known: {found.why_unknown}")
    few = f"{over} is {value:.4g}, and cannot be judged: {found.rows} rows, at least {min_rows} needed"
    if found.rows < min_rows:
        return Judged(condition, "insufficient", value, found.rows, few)
    if found.bad is not None and min(found.bad, found.rows - found.bad) < min_each:
        few = (
            f"{over} is {value:.4g}, and cannot be judged: {found.bad} bad and {found.rows - found.bad} fine weeks, at "
            f"least {min_each} of each needed"
        )
        return Judged(condition, "insufficient", value, found.rows, few)
    broken = value < condition.bound if condition.side == "below" else value > condition.bound
    sentence = f"{over} is {value:.4g} on {found.rows} rows, {'' if broken else 'not '}{condition.side} the bound of "
    return Judged(condition, "broken" if broken else "holds", value, found.rows, f"{sentence}{condition.bound:g}")


def least_rows(condition: Condition, *, min_rows: int, min_each: int) -> int:
    """Rows below which ``judge`` says of ``condition`` nothing but that it is insufficient."""
    return max(min_rows, 2 * min_each) if condition.measure in _OF_PROBABILITY else min_rows


class _Measured(NamedTuple):
    value: float
    rows: int
    bad: int | None = None
    """Bad weeks among them, where the measure needs both kinds."""
    why_unknown: str = "the rows are all of one kind, or a forecast or an outcome is not a possible number"


def _measured(condition: Condition, outcomes: Outcomes) -> _Measured:
    """The measure seen from the last session, by the functions of the daily run."""
    name, window = condition.measure, condition.sessions
    if name in _OF_PROBABILITY:
        known = known_rows(outcomes.bad_week, outcomes.bad_week_probability)
    elif name in {"approval_rate", "bad_rate"}:
        known = known_rows(outcomes.bad_week, outcomes.approved)
    else:
        said = ~np.isnan(outcomes.volatility_forecast) | ~np.isnan(outcomes.baseline_volatility)
        known = said & ~np.isnan(outcomes.came_volatility)
    matured = np.flatnonzero(known.any(axis=1))
    if not len(matured) or matured[-1] != len(known) - 1:
        return _Measured(math.nan, 0, why_unknown="nothing matured in the last session")
    if len(matured) < window:
        return _Measured(math.nan, 0, why_unknown=f"{len(matured)} of {window} sessions have matured")
    within = matured[-window:]
    seen = Outcomes(**{f.name: getattr(outcomes, f.name)[within] for f in fields(Outcomes)})
    if name in _OF_PROBABILITY:
        return _of_probability(name, window, seen)
    if name in {"approval_rate", "bad_rate"}:
        return _rate(name, window, seen, known[within])
    return _of_volatility(name, window, seen)


def _of_probability(name: str, window: int, seen: Outcomes) -> _Measured:
    found = next(windows(seen.bad_week, seen.bad_week_probability, window), None)
    if found is None:
        return _Measured(math.nan, 0, 0)
    if name == "auc":
        value = last(rolling_auc(seen.bad_week, seen.bad_week_probability, window=window).auc)
    elif name == "calibration_error":
        edges = equal_mass_edges(found.probability)
        value = float(debiased_calibration_loss(calibration_bins(found.outcome, found.probability, edges)))
    else:
        rolled = rolling_brier(seen.bad_week, seen.bad_week_probability, seen.baseline_probability, window=window)
        value = _of(name, last(rolled.loss), last(rolled.baseline))
    return _Measured(value, len(found.outcome), int(found.outcome.sum()))


def _rate(name: str, window: int, seen: Outcomes, known: np.ndarray) -> _Measured:
    if name == "approval_rate":
        counts = approval_counts(np.where(known, seen.approved, np.nan))
    else:
        counts = bad_counts(seen.approved, seen.bad_week)
    rolled = rolling_rate(counts, window=window, quarter=1)
    return _Measured(last(rolled.rate), int(last(rolled.rows)))


def _of_volatility(name: str, window: int, seen: Outcomes) -> _Measured:
    losses = session_losses(
        seen.came_volatility**2,
        seen.volatility_forecast**2,
        seen.baseline_volatility**2,
        qlike_losses if name.startswith("qlike") else volatility_errors,
    )
    # The rise since validation is not asked for.
    rolled = rolling_losses(losses, window=window, validation_model=math.nan, validation_baseline=math.nan)
    return _Measured(_of(name, last(rolled.model), last(rolled.baseline)), int(last(rolled.rows)))


def _of(name: str, model: float, baseline: float) -> float:
    """The model's loss, or its ratio to the baseline's where ``name`` asks for that."""
    if not name.endswith("_ratio"):
        return model
    return model / baseline if baseline > 0 else math.nan
