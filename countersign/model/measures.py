"""Measures of forecasts: how good, and how sure we are of it.

Belongs here: pure functions of forecasts and outcomes. ``*_loss`` is to be small, ``*_score`` and AUC large. Does
not belong here: choosing rows, thresholds.

Each takes arrays of one length, without NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

CALIBRATION_BINS: Final = 10
"""Bins of equal mass for the calibration error."""

_WEIGHTS_AT_ONCE: Final = 2**22
"""Weights of resampled rows that are held at a time: 32 MiB."""


def auc_score(outcome: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a bad one scores above a good one, ties half. NaN for one class.

    >>> auc_score(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    rows = np.arange(len(score))
    return float(auc_scores(outcome, score, np.ones((1, len(score))), rows)[0])


def auc_scores(outcome: np.ndarray, score: np.ndarray, counts: np.ndarray, session: np.ndarray) -> np.ndarray:
    """``auc_score`` of each replication, in which ``counts`` (replications, sessions) says how often each session
    counts and ``session`` numbers the session of each row. Scores are sorted once, so that resampling is cheap.
    """
    if not len(score):
        return np.full(len(counts), np.nan)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    bad = outcome[order] > 0
    found = []
    # A few replications at a time: all of them at once would hold replications × rows numbers.
    for part in np.array_split(counts, -(-counts.shape[0] * len(score) // _WEIGHTS_AT_ONCE)):
        weights = part[:, session[order]].astype(float)
        bads = np.add.reduceat(np.where(bad, weights, 0.0), starts, axis=1)
        goods = np.add.reduceat(np.where(bad, 0.0, weights), starts, axis=1)
        below = np.cumsum(goods, axis=1) - goods
        pairs = bads.sum(axis=1) * goods.sum(axis=1)
        won = (bads * (below + 0.5 * goods)).sum(axis=1)
        found.append(np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.concatenate(found)


def brier_losses(outcome: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Squared error of each probability (Brier 1950); their mean is the Brier loss.

    >>> round(float(brier_losses(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3])).mean()), 4)
    0.0375
    """
    return (probability - outcome) ** 2


def qlike_losses(variance: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """QLIKE of each variance forecast: σ²/f - ln(σ²/f) - 1, zero where exact.

    Robust to noise in the measured variance: Patton, Volatility forecast comparison using imperfect volatility
    proxies, Journal of Econometrics 160 (2011).

    >>> qlike_losses(np.array([1.0]), np.array([1.0])).tolist()
    [0.0]
    """
    ratio = variance / forecast
    return ratio - np.log(ratio) - 1.0


def volatility_errors(variance: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Absolute error of each volatility (square root of variance), in log return a day; their mean is the MAE."""
    return np.abs(np.sqrt(variance) - np.sqrt(forecast))


def scaled_error(errors: np.ndarray, reference_errors: np.ndarray) -> float:
    """Mean of ``errors`` over the mean of ``reference_errors``: with a naive forecast's as the reference, the mean
    absolute scaled error (MASE; Hyndman & Koehler, Another look at measures of forecast accuracy, International
    Journal of Forecasting 22, 2006), under 1 where the forecast is better. NaN where the reference made no error.

    >>> round(scaled_error(np.array([0.5, 0.5, 0.0, 1.0, 0.75]), np.array([4.5, 3.5, 2.0, 3.0, 2.0, 3.0])), 6)
    0.183333
    """
    scale = reference_errors.mean()
    return float(errors.mean() / scale) if scale else float("nan")


@dataclass(frozen=True)
class CalibrationBins:
    """Rows put into bins by their probability: how many, how many were bad, and the sum of their probabilities.

    The last axis of each array is the bins; one before it may number sessions or replications.
    """

    rows: np.ndarray
    bad: np.ndarray
    expected: np.ndarray


def calibration_bins(outcome: np.ndarray, probability: np.ndarray, edges: np.ndarray) -> CalibrationBins:
    """Bins between ``edges``, each with its upper edge. Rows are added in order of probability, whatever theirs is."""
    order = np.argsort(probability, kind="stable")
    number, bins = np.searchsorted(edges, probability[order], side="left"), len(edges) + 1
    return CalibrationBins(
        rows=np.bincount(number, minlength=bins),
        bad=np.bincount(number, weights=outcome[order], minlength=bins),
        expected=np.bincount(number, weights=probability[order], minlength=bins),
    )


def equal_mass_edges(probability: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Inner edges of bins of equal mass: the sorted probabilities are split into parts as equal as can be, and the
    largest of each is its bin's upper edge. So equal probabilities share a bin, and the order of rows does not matter.

    >>> equal_mass_edges(np.array([0.4, 0.1, 0.3, 0.2]), bins=2).tolist()
    [0.2]
    """
    parts = np.array_split(np.sort(probability), min(bins, len(probability)))
    return np.unique([part[-1] for part in parts[:-1]])


def expected_calibration_loss(found: CalibrationBins) -> np.ndarray:
    """Expected calibration error: mean |share of bad - mean probability| of the bins, weighted by rows (Naeini,
    Cooper & Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015)."""
    return np.abs(found.bad - found.expected).sum(axis=-1) / found.rows.sum(axis=-1)


def calibration_loss(outcome: np.ndarray, probability: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error on bins of equal mass.

    >>> round(calibration_loss(np.array([0, 1, 0, 0, 1]), np.array([0.1, 0.1, 0.1, 0.1, 0.7]), 2), 2)
    0.18
    """
    if not len(probability):
        return float("nan")
    edges = equal_mass_edges(probability, bins)
    return float(expected_calibration_loss(calibration_bins(outcome, probability, edges)))


def window_sums(values: np.ndarray, window: int) -> np.ndarray:
    """The sum of each value and the ``window - 1`` before it along the first axis, NaN before there are so many.

    Added one by one in the order of sessions, so that a window has the same sum, to the last bit, whatever lies
    before or beside it: running totals and pairwise sums have not.

    >>> window_sums(np.array([1.0, 2.0, 4.0, 8.0]), 3).tolist()
    [nan, nan, 7.0, 14.0]
    """
    total = np.full(values.shape, np.nan)
    complete = len(values) - window + 1
    if complete > 0:
        total[window - 1 :] = 0.0
        for first in range(window):
            total[window - 1 :] += values[first : first + complete]
    return total


def block_counts(sessions: int, *, block: int, replications: int, seed: int) -> np.ndarray:
    """How often each of ``sessions`` sessions counts in each replication of a block bootstrap by date.

    Blocks of ``block`` consecutive sessions are drawn with replacement and wrap around at the end (circular block
    bootstrap, Politis & Romano 1992), so that symbols of one day, and neighbouring days whose horizons overlap, stay
    together. Shape (replications, sessions).
    """
    rng = np.random.default_rng(seed)
    blocks = -(-sessions // block)
    starts = rng.integers(0, max(sessions, 1), size=(replications, blocks))
    days = (starts[:, :, None] + np.arange(block)).reshape(replications, -1)[:, :sessions] % max(sessions, 1)
    return np.stack([np.bincount(row, minlength=sessions) for row in days])


def resampled_sums(losses: np.ndarray, counts: np.ndarray, session: np.ndarray) -> np.ndarray:
    """The sum of ``losses`` in each replication; ``counts`` and ``session`` as in ``auc_scores``.

    >>> resampled_sums(np.array([1.0, 2.0, 4.0]), np.array([[1, 1], [0, 2]]), np.array([0, 0, 1])).tolist()
    [7.0, 8.0]
    """
    return counts @ np.bincount(session, weights=losses, minlength=counts.shape[1])


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Central interval of resampled values, NaN where none is a number."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
