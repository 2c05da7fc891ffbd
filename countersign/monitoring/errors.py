"""Errors: how much the model's forecasts of volatility err, beside the baseline's on the very same rows.

Belongs here: rolling losses, their rise since validation, and whether the market or the model changed. Does not
belong here: the losses of single rows (``countersign.model.measures``).

Two readings a loss, since each is blind where the other sees. The loss *relative to the baseline's* does not take a
hard market for a worse model, for both err more then. But wrong bars can blow up the baseline's loss and make the
ratio look good, so the *absolute* loss is watched too, against the model's own loss in validation, with the
baseline's rise beside it. As rise of the model = rise of the baseline × rise of the ratio, every rise is told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from countersign.checks import Status
from countersign.model.measures import window_sums
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import last, matured_sessions, why_unknown

Cause = Literal["the model got worse", "the market got harder", "neither the model got worse nor the market harder"]


@dataclass(frozen=True)
class SessionLosses:
    """Sums over the matured rows of each session, and their number: arrays of shape (sessions,)."""

    model: np.ndarray
    baseline: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class RollingLosses:
    """Mean losses over the window seen from each session, NaN where it is not complete: shape (sessions,).

    ``rise`` is the ratio model / baseline over the same ratio in validation, ``model_rise`` and ``baseline_rise`` are
    each loss over its own in validation: 1 is as in validation. ``matured`` counts the sessions of the window.
    """

    model: np.ndarray
    baseline: np.ndarray
    rise: np.ndarray
    model_rise: np.ndarray
    baseline_rise: np.ndarray
    rows: np.ndarray
    matured: np.ndarray
    window: int
    validation_model: float


def session_losses(
    variance: np.ndarray,
    model: np.ndarray,
    baseline: np.ndarray,
    losses: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> SessionLosses:
    """``losses`` (``qlike_losses``, ``volatility_errors``) of variance forecasts, matrices (sessions, symbols).

    A row counts where the outcome has matured and something was forecast. A forecast that is missing beside the
    other, or impossible, makes its session's sums NaN: it is never left out in silence.
    """
    session, symbol = np.nonzero(~np.isnan(variance) & ~(np.isnan(model) & np.isnan(baseline)))

    def sums(forecast: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            loss = _finite(losses(variance[session, symbol], forecast[session, symbol]))
        return np.bincount(session, loss, minlength=len(variance))

    return SessionLosses(sums(model), sums(baseline), np.bincount(session, minlength=len(variance)))


def rolling_losses(
    losses: SessionLosses, *, window: int, validation_model: float, validation_baseline: float
) -> RollingLosses:
    """Mean losses over the last ``window`` matured sessions and their rise since validation.

    The validation's are ``evaluation.table[loss]`` of ``model.json``; where they are not positive numbers, no rise
    is known.
    """
    some = losses.rows > 0
    model, baseline, rows = (np.full(len(some), np.nan) for _ in range(3))
    with np.errstate(all="ignore"):
        for found, sums in ((model, losses.model), (baseline, losses.baseline), (rows, losses.rows)):
            found[some] = window_sums(sums[some], window)
        model, baseline = _finite(model / rows), _finite(baseline / rows)
        model_rise, baseline_rise = _finite(model / validation_model), _finite(baseline / validation_baseline)
        rise = _finite(model_rise / baseline_rise)
    if not (0 < validation_model < np.inf and 0 < validation_baseline < np.inf):
        model_rise, baseline_rise, rise = (np.full(len(some), np.nan) for _ in range(3))
    matured = matured_sessions(some[:, None], window)
    return RollingLosses(
        model, baseline, rise, model_rise, baseline_rise, np.nan_to_num(rows), matured, window, validation_model
    )


def breaches(rolled: RollingLosses, rise: np.ndarray, *, max_rise: float, in_a_row: int) -> np.ndarray:
    """1.0 where ``rise`` (one of ``rolled``) was over 1 + ``max_rise`` in the last ``in_a_row`` matured sessions.

    0.0 where one of them was not; NaN where that cannot be known.

    >>> losses = SessionLosses(np.array([1.0, 1.0, 3.0, 3.0]), np.ones(4), np.ones(4))
    >>> rolled = rolling_losses(losses, window=1, validation_model=1.0, validation_baseline=1.0)
    >>> breaches(rolled, rolled.rise, max_rise=0.2, in_a_row=2).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    some = rolled.matured > 0
    known = np.where(np.isnan(rise), np.nan, rise > 1 + max_rise)
    over = known[some]
    # One that is known not to be over settles it, whatever the others are.
    under = window_sums(np.r_[np.zeros(in_a_row - 1), over == 0], in_a_row)[in_a_row - 1 :] > 0
    found = known.copy()
    found[some] = np.where(under, 0.0, window_sums(over, in_a_row) / in_a_row)
    return np.where(np.isnan(known), np.nan, found)


def cause(rise: float, model_rise: float, baseline_rise: float, *, max_rise: float) -> Cause:
    """What a rise of the model's loss since validation says.

    The model got worse where its loss rose over 1 + ``max_rise`` relative to the baseline's. The market got harder
    where both rose alike: the model's loss is over 1 + ``max_rise``, and more of that is the baseline's rise than the
    ratio's.

    >>> cause(1.5, 1.5, 1.0, max_rise=0.2), cause(1.0, 1.5, 1.5, max_rise=0.2)
    ('the model got worse', 'the market got harder')
    """
    if rise > 1 + max_rise:
        return "the model got worse"
    if model_rise > 1 + max_rise and baseline_rise > rise:
        return "the market got harder"
    return "neither the model got worse nor the market harder"


_SAID: Final = {"qlike": "QLIKE", "volatility_mae": "the mean volatility error"}


def error_readings(
    loss: str, rolled: RollingLosses, *, max_rise: float, max_loss_rise: float, in_a_row: int
) -> tuple[Reading, Reading]:
    """Of the last session: ``<loss>_rise`` (relative to the baseline) and ``<loss>`` itself (absolute).

    Both fail where the rise was over its limit in ``in_a_row`` matured sessions. ``max_rise`` is of the ratio,
    ``max_loss_rise`` of the model's own loss, to be wide enough for hard markets: 1.0 is twice validation's.
    """
    rise, model_rise, baseline_rise = last(rolled.rise), last(rolled.model_rise), last(rolled.baseline_rise)
    model, baseline = last(rolled.model), last(rolled.baseline)
    rows = int(rolled.rows[-1]) if len(rolled.rows) else 0
    over = f"{_SAID.get(loss, loss)} over the last {rolled.window} matured sessions"
    if np.isnan(rise):
        why = f"{over} cannot be compared with validation: {_why_unknown(rolled)}"
        return (
            Reading("model", f"{loss}_rise", "insufficient", np.nan, why, 1 + max_rise, 1.0, rows),
            Reading("model", loss, "insufficient", np.nan, why, np.nan, baseline, rows),
        )
    why = cause(rise, model_rise, baseline_rise, max_rise=max_rise)
    status, streak = _judged(rolled, rolled.rise, max_rise, in_a_row, why)
    relative = Reading(
        "model",
        f"{loss}_rise",
        status,
        rise,
        f"{over} is {rise:.2f} times validation's relative to the baseline (limit {1 + max_rise:.2f}){streak}",
        1 + max_rise,
        1.0,
        rows,
    )
    status, streak = _judged(rolled, rolled.model_rise, max_loss_rise, in_a_row, why)
    absolute = Reading(
        "model",
        loss,
        status,
        model,
        f"{over} is {model:.4g}, {model_rise:.2f} times validation's (limit {1 + max_loss_rise:.2f}), the baseline's "
        f"{baseline:.4g}, {baseline_rise:.2f} times validation's{streak}",
        float(rolled.validation_model * (1 + max_loss_rise)),
        baseline,
        rows,
    )
    return relative, absolute


def _judged(rolled: RollingLosses, rise: np.ndarray, max_rise: float, in_a_row: int, why: Cause) -> tuple[Status, str]:
    """The verdict of the last session, and the end of its sentence."""
    breach = last(breaches(rolled, rise, max_rise=max_rise, in_a_row=in_a_row))
    if np.isnan(breach):
        return "insufficient", f", but the {in_a_row - 1} sessions before are not known"
    if breach:
        return "fail", f" in {in_a_row} sessions in a row: {why}"
    if rise[-1] > 1 + max_rise:
        return "pass", f", not yet in {in_a_row} sessions in a row"
    return "pass", f": {why}"


def _why_unknown(rolled: RollingLosses) -> str:
    if last(rolled.matured) == rolled.window and not np.isnan(last(rolled.model)):
        return "validation's loss, or the baseline's here, is not a positive number"
    return why_unknown(rolled.matured, rolled.window)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
