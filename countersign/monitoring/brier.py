"""Brier: the squared error of probabilities, and what it is made of.

Belongs here: Murphy's parts and the rolling Brier loss beside the baseline's. Does not belong here: the loss of single
rows and bins (``countersign.model.measures``), whether a calibration error is chance (``calibration``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countersign.model.measures import CalibrationBins, brier_losses, calibration_bins, equal_mass_edges
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import known_rows, last, last_status, matured_sessions, why_unknown, windows


@dataclass(frozen=True)
class BrierParts:
    """Brier = reliability - resolution + uncertainty, where all rows of a bin have the same probability.

    Where they have not, what they differ by within a bin remains (Stephenson, Coelho & Jolliffe, Two extra components
    in the Brier score decomposition, Weather and Forecasting 23, 2008); it is small on ten bins.
    """

    reliability: float
    resolution: float
    uncertainty: float


@dataclass(frozen=True)
class RollingBrier:
    """Of the window seen from each session, NaN where it cannot be taken: arrays of shape (sessions,).

    ``baseline`` is the baseline's loss on the same rows.
    """

    loss: np.ndarray
    baseline: np.ndarray
    reliability: np.ndarray
    resolution: np.ndarray
    uncertainty: np.ndarray
    bad: np.ndarray
    fine: np.ndarray
    matured: np.ndarray
    window: int


def brier_parts(found: CalibrationBins) -> BrierParts:
    """Reliability (small is good), resolution (large is good) and uncertainty (of the outcomes alone).

    Murphy, A New Vector Partition of the Probability Score, Journal of Applied Meteorology 12 (1973).
    """
    used = found.rows > 0
    rows, bad, expected = found.rows[used], found.bad[used], found.expected[used]
    share, base = bad / rows, bad.sum() / rows.sum()
    return BrierParts(
        reliability=float((rows * (expected / rows - share) ** 2).sum() / rows.sum()),
        resolution=float((rows * (share - base) ** 2).sum() / rows.sum()),
        uncertainty=float(base * (1 - base)),
    )


def rolling_brier(
    bad_week: np.ndarray, probability: np.ndarray, baseline_probability: np.ndarray, *, window: int
) -> RollingBrier:
    """Over the last ``window`` matured sessions of matrices (sessions, symbols), in ten bins of equal mass."""
    sessions = len(bad_week)
    loss, baseline, reliability, resolution, uncertainty = np.full((5, sessions), np.nan)
    bad, fine = np.zeros((2, sessions), dtype=int)
    known = known_rows(bad_week, probability)
    possible = np.where((baseline_probability >= 0) & (baseline_probability <= 1), baseline_probability, np.nan)
    for found in windows(bad_week, probability, window):
        at, outcome = found.session, found.outcome
        parts = brier_parts(calibration_bins(outcome, found.probability, equal_mass_edges(found.probability)))
        loss[at] = brier_losses(outcome, found.probability).mean()
        baseline[at] = brier_losses(outcome, possible[found.sessions][known[found.sessions]]).mean()
        reliability[at], resolution[at], uncertainty[at] = parts.reliability, parts.resolution, parts.uncertainty
        bad[at], fine[at] = (outcome == 1).sum(), (outcome == 0).sum()
    matured = matured_sessions(known, window)
    return RollingBrier(loss, baseline, reliability, resolution, uncertainty, bad, fine, matured, window)


def brier_verdicts(rolled: RollingBrier, *, max_excess: float, min_each: int) -> np.ndarray:
    """ "pass", "fail" or "insufficient" of each session: it fails where the loss is over 1 + ``max_excess`` times the
    baseline's. Insufficient with fewer than ``min_each`` (at least one) rows of either outcome.
    """
    few = np.minimum(rolled.bad, rolled.fine) < max(min_each, 1)
    unknown = ~np.isfinite(rolled.loss) | ~np.isfinite(rolled.baseline) | few
    return np.select([unknown, rolled.loss > (1 + max_excess) * rolled.baseline], ["insufficient", "fail"], "pass")


def brier_reading(rolled: RollingBrier, *, max_excess: float, min_each: int) -> Reading:
    """``brier`` of the last session; thresholds as in ``brier_verdicts``."""
    loss, baseline = last(rolled.loss), last(rolled.baseline)
    bad, fine = (int(count[-1]) if len(count) else 0 for count in (rolled.bad, rolled.fine))
    status = last_status(brier_verdicts(rolled, max_excess=max_excess, min_each=min_each))
    over = f"Brier loss over the last {rolled.window} matured sessions"
    limit = (1 + max_excess) * baseline
    if not bad + fine:
        sentence = f"{over} is not known: {why_unknown(rolled.matured, rolled.window)}"
    elif min(bad, fine) < max(min_each, 1):
        sentence = f"{over} cannot be judged: {bad} bad and {fine} fine weeks, at least {min_each} of each needed"
    elif status == "insufficient":
        sentence = f"{over} is {loss:.4f}, and cannot be judged: the baseline's on the same rows is not known"
    else:
        sentence = (
            f"{over} is {loss:.4f} on {bad + fine} scores against the baseline's {baseline:.4f} (limit {limit:.4f}): "
            f"reliability {last(rolled.reliability):.4f}, resolution {last(rolled.resolution):.4f}, uncertainty "
            f"{last(rolled.uncertainty):.4f}"
        )
    return Reading("model", "brier", status, loss, sentence, limit, baseline, bad + fine)
