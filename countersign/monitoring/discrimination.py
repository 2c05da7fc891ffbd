"""Discrimination: does the model still tell bad weeks from fine ones.

Belongs here: AUC of the rolling window, its standard error, the verdict. Does not belong here: the AUC of given rows
(``countersign.model.measures``), whether probabilities are right in size (``calibration``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countersign.model.measures import auc_score
from countersign.model.targets import HORIZON
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import known_rows, last, last_status, matured_sessions, why_unknown, windows


@dataclass(frozen=True)
class RollingAuc:
    """AUC of the window seen from each session, NaN where it cannot be taken: arrays of shape (sessions,).

    ``error`` is its standard error; ``bad`` and ``fine`` count the window's rows by outcome.
    """

    auc: np.ndarray
    error: np.ndarray
    bad: np.ndarray
    fine: np.ndarray
    matured: np.ndarray
    window: int


def auc_errors(auc: np.ndarray, bad: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Standard error of an AUC of ``bad`` and ``fine`` independent rows; NaN without either.

    Hanley & McNeil, The meaning and use of the area under a receiver operating characteristic (ROC) curve, Radiology
    143 (1982), equation 1, with Q1 = A/(2 - A) and Q2 = 2A²/(1 + A).

    >>> auc_errors(np.array([0.5]), np.array([1]), np.array([1])).tolist()
    [0.5]
    """
    both, one = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = auc * (1 - auc) + (bad - 1) * (both - auc**2) + (fine - 1) * (one - auc**2)
        # Never below zero but for rounding, at an AUC of 1 or 0.
        return np.sqrt(np.maximum(variance, 0.0) / np.where((bad > 0) & (fine > 0), bad * fine, np.nan))


def rolling_auc(bad_week: np.ndarray, probability: np.ndarray, *, window: int) -> RollingAuc:
    """AUC over the last ``window`` matured sessions of matrices (sessions, symbols).

    The error is Hanley and McNeil's × √``HORIZON``: horizons of neighbouring sessions overlap, so that only every
    fifth outcome of a symbol is new. That symbols move together is left out.
    """
    sessions = len(bad_week)
    auc = np.full(sessions, np.nan)
    bad, fine = np.zeros(sessions, dtype=int), np.zeros(sessions, dtype=int)
    for found in windows(bad_week, probability, window):
        auc[found.session] = auc_score(found.outcome, found.probability)
        bad[found.session] = (found.outcome == 1).sum()
        fine[found.session] = (found.outcome == 0).sum()
    error = auc_errors(auc, bad, fine) * np.sqrt(HORIZON)
    return RollingAuc(auc, error, bad, fine, matured_sessions(known_rows(bad_week, probability), window), window)


def auc_verdicts(
    rolled: RollingAuc, *, validation: float, max_drop: float, min_auc: float, standard_errors: float, min_each: int
) -> np.ndarray:
    """ "pass", "fail" or "insufficient" of each session.

    Fails where the AUC is below ``auc_threshold`` by more than ``standard_errors``. Insufficient where the window has
    fewer than ``min_each`` rows of either outcome, or validation has no AUC.
    """
    few = np.minimum(rolled.bad, rolled.fine) < max(min_each, 1)
    upper = rolled.auc + standard_errors * rolled.error
    threshold = auc_threshold(validation, max_drop=max_drop, min_auc=min_auc)
    return np.select([few | np.isnan(upper) | np.isnan(threshold), upper < threshold], ["insufficient", "fail"], "pass")


def auc_threshold(validation: float, *, max_drop: float, min_auc: float) -> float:
    """The lowest AUC that is as good as validation's, allowing for ``max_drop``, and at least ``min_auc`` (0.5 is
    chance)."""
    return float(np.maximum(validation - max_drop, min_auc))


def auc_reading(
    rolled: RollingAuc, *, validation: float, max_drop: float, min_auc: float, standard_errors: float, min_each: int
) -> Reading:
    """``auc`` of the last session; thresholds as in ``auc_verdicts``."""
    verdicts = auc_verdicts(
        rolled,
        validation=validation,
        max_drop=max_drop,
        min_auc=min_auc,
        standard_errors=standard_errors,
        min_each=min_each,
    )
    auc, error = last(rolled.auc), last(rolled.error)
    bad, fine = (int(count[-1]) if len(count) else 0 for count in (rolled.bad, rolled.fine))
    threshold = auc_threshold(validation, max_drop=max_drop, min_auc=min_auc)
    status = last_status(verdicts)
    over = f"over the last {rolled.window} matured sessions"
    if np.isnan(auc) and not bad + fine:
        sentence = f"AUC {over} is not known: {why_unknown(rolled.matured, rolled.window)}"
    elif status == "insufficient" and not np.isnan(threshold):
        sentence = f"AUC {over} cannot be judged: {bad} bad and {fine} fine weeks, at least {min_each} of each needed"
    elif status == "insufficient":
        sentence = f"AUC {over} is {auc:.3f}, and cannot be judged: validation's is not known"
    else:
        verdict = "as good as" if auc >= threshold else "not surely below" if status == "pass" else "below"
        sentence = (
            f"AUC {over} is {auc:.3f} ± {error:.3f} on {bad} bad and {fine} fine weeks: {verdict} {threshold:.3f}, "
            f"which validation's {validation:.3f} allows"
        )
    return Reading("model", "auc", status, auc, sentence, threshold, validation, bad + fine)
