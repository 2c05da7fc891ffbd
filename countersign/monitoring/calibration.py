"""Calibration: do bad weeks come as often as the model says.

Belongs here: calibration errors of the rolling window, how large they are when the model is right, the verdict. Does
not belong here: bins and expected calibration error of given rows (``countersign.model.measures``).

A calibration error of a perfect model is above zero, more so with few rows, so no constant can judge it. It is judged
by what the same probabilities give when outcomes are drawn from them. Independent draws would make errors look rarer
than they are, since outcomes come in clusters. Assumed of the draws, and nothing else: each day has a shock to every
symbol, shocks of one day have a given correlation, those of different days none; the outcome of a session is decided
by the mean shock of the ``HORIZON`` days after it. So symbols of one session, and sessions whose horizons overlap,
fail together, and every row is bad with exactly its own probability. Persistence beyond the horizon is not assumed:
where bad weeks outlast it without the probabilities saying so, that is what calibration means to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from countersign.model.measures import (
    CALIBRATION_BINS,
    CalibrationBins,
    calibration_bins,
    equal_mass_edges,
    expected_calibration_loss,
)
from countersign.model.targets import HORIZON
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import Window, known_rows, last, last_status, matured_sessions, why_unknown, windows

REPLICATIONS: Final = 500
"""Draws of all outcomes of a window. The level of its 99 % point is then known to ± 0.4 %."""

_SAID: Final = {
    "calibration_error": "the calibration error",
    "ece": "the expected calibration error",
    "ece_equal_width": "the expected calibration error on bins of equal width",
}
MEASURES: Final = tuple(_SAID)
"""Debiased L2 on bins of equal mass; expected calibration error on bins of equal mass, and of equal width."""

_SEED: Final = 20190923
_NUMBERS_AT_ONCE: Final = 2**24
"""Drawn numbers held at a time: 64 MiB."""


@dataclass(frozen=True)
class RollingCalibration:
    """Of the window seen from each session, NaN where it cannot be taken; ``MEASURES`` along the first axis.

    ``value`` (3, sessions) are the errors, ``limit`` the point that a model which is right exceeds with 1 - level.
    ``bad`` and ``fine`` (sessions,): the larger of what came and what the probabilities sum up to.
    """

    value: np.ndarray
    limit: np.ndarray
    bad: np.ndarray
    fine: np.ndarray
    rows: np.ndarray
    matured: np.ndarray
    window: int
    level: float


def equal_width_edges(bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Inner edges of bins of equal width between 0 and 1."""
    return np.arange(1, bins) / bins


def debiased_calibration_loss(found: CalibrationBins) -> np.ndarray:
    """L2 calibration error without the part that noise adds: √ of the mean over bins, weighted by rows, of
    (share of bad - mean probability)² - share·(1 - share)/(rows - 1), and 0 where that is negative.

    Kumar, Liang & Ma, Verified Uncertainty Calibration, NeurIPS 2019, definition 5.1. A bin of one row adds nothing,
    since its noise cannot be told; NaN where no bin has more.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = found.bad / found.rows
        square = (share - found.expected / found.rows) ** 2 - share * (1 - share) / (found.rows - 1)
        known = found.rows > 1
        mean = np.where(known, found.rows * square, 0.0).sum(axis=-1) / np.asarray(found.rows.sum(axis=-1))
    return np.where(known.any(axis=-1), np.sqrt(np.maximum(mean, 0.0)), np.nan)


def rolling_calibration(
    bad_week: np.ndarray, probability: np.ndarray, *, window: int, level: float, symbol_correlation: float
) -> RollingCalibration:
    """Calibration over the last ``window`` matured sessions of matrices (sessions, symbols).

    ``level`` is 0.99 for the 99 % point, ``symbol_correlation`` (0 … 1) that of one day's shocks. The seed is fixed:
    the same window has the same limit.
    """
    known = known_rows(bad_week, probability)
    found = list(windows(bad_week, probability, window))
    bins = [_binned(w) for w in found]
    shape = (len(MEASURES), len(bad_week))
    value, limit = np.full(shape, np.nan), np.full(shape, np.nan)
    bad, fine = np.zeros(shape[1]), np.zeros(shape[1])
    rows = np.zeros(shape[1], dtype=int)
    for w, binned in zip(found, bins, strict=True):
        value[:, w.session] = binned.errors()
        came, expected = w.outcome.sum(), np.sort(w.probability).sum()
        rows[w.session] = len(w.outcome)
        bad[w.session] = max(came, expected)
        fine[w.session] = len(w.outcome) - min(came, expected)
    if found:
        drawn = _drawn_errors(np.where(known, probability, np.nan), found, bins, symbol_correlation)
        limit[:, [w.session for w in found]] = np.quantile(drawn, level, axis=0, method="higher")
    matured = matured_sessions(known, window)
    return RollingCalibration(value, limit, bad, fine, rows, matured, window, level)


def calibration_verdicts(rolled: RollingCalibration, *, min_each: float) -> np.ndarray:
    """ "pass", "fail" or "insufficient", shape (3, sessions): it fails above its limit.

    Insufficient where fewer than ``min_each`` bad weeks both came and were expected, or as few fine ones.
    """
    few = np.minimum(rolled.bad, rolled.fine) < min_each
    unknown = np.isnan(rolled.value) | np.isnan(rolled.limit) | few
    with np.errstate(invalid="ignore"):
        return np.select([unknown, rolled.value > rolled.limit], ["insufficient", "fail"], "pass")


def calibration_readings(rolled: RollingCalibration, *, min_each: float) -> tuple[Reading, ...]:
    """``MEASURES`` of the last session; thresholds as in ``calibration_verdicts``."""
    verdicts = calibration_verdicts(rolled, min_each=min_each)
    rows = int(rolled.rows[-1]) if len(rolled.rows) else 0
    over = f"over the last {rolled.window} matured sessions"
    readings = []
    for number, (measure, said) in enumerate(_SAID.items()):
        value, limit = last(rolled.value[number]), last(rolled.limit[number])
        status = last_status(verdicts[number])
        if not rows:
            sentence = f"{said} {over} is not known: {why_unknown(rolled.matured, rolled.window)}"
        elif status == "insufficient":
            sentence = (
                f"{said} {over} cannot be judged on {rows} scores: bad weeks or fine ones are fewer than "
                f"{min_each:g}, come and expected alike"
            )
        else:
            verdict = "more than" if status == "fail" else "within what"
            sentence = (
                f"{said} {over} is {value:.4f} on {rows} scores: {verdict} the {100 * rolled.level:g}% point "
                f"{limit:.4f} of outcomes drawn from the model's own probabilities"
                + (" allows" if status == "pass" else "")
            )
        readings.append(Reading("model", measure, status, value, sentence, limit, observations=rows))
    return tuple(readings)


@dataclass(frozen=True)
class _Bins:
    """A window in bins of equal mass and of equal width, and the edges of both."""

    edges: tuple[np.ndarray, np.ndarray]
    mass: CalibrationBins
    width: CalibrationBins

    def errors(self, bad: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """``MEASURES``, shape (3,); or (3, replications) of drawn counts of bad rows in the bins of both."""
        mass, width = self.mass, self.width
        if bad:
            mass, width = replace(mass, bad=bad[0]), replace(width, bad=bad[1])
        return np.stack(
            [debiased_calibration_loss(mass), expected_calibration_loss(mass), expected_calibration_loss(width)]
        )


def _binned(window: Window) -> _Bins:
    edges = equal_mass_edges(window.probability), equal_width_edges()
    return _Bins(edges, *(calibration_bins(window.outcome, window.probability, e) for e in edges))


def _drawn_errors(
    probability: np.ndarray, found: list[Window], bins: list[_Bins], symbol_correlation: float
) -> np.ndarray:
    """``MEASURES`` of each replication of each window, shape (replications, 3, windows).

    All windows share one set of draws, so that thirteen years cost no more random numbers than a day.
    """
    from scipy.special import ndtri

    # A row is bad where its shock is below this; one without a score never is.
    bounds = ndtri(np.where(np.isnan(probability), 0.0, probability)).astype(np.float32)
    scored = [np.flatnonzero(~np.isnan(probability[w.sessions]).all(axis=0)) for w in found]
    parts = []
    for shocks in _mean_shocks(max(map(len, scored)), len(found[0].sessions), symbol_correlation):
        drawn = np.empty((len(shocks), len(MEASURES), len(found)))
        for number, (w, symbols, binned) in enumerate(zip(found, scored, bins, strict=True)):
            bound = bounds[np.ix_(w.sessions, symbols)].T
            # Symbols in the order of their own scores, so that that of the columns does not matter.
            order = sorted(range(len(symbols)), key=lambda row: bound[row].tobytes())
            rows = probability[np.ix_(w.sessions, symbols[order])].T.ravel()
            bins_of_rows = [np.searchsorted(edges, rows, side="left") for edges in binned.edges]
            split = len(binned.edges[0]) + 1
            member = np.zeros((len(rows), split + len(binned.edges[1]) + 1), dtype=np.float32)
            member[np.arange(len(rows)), bins_of_rows[0]] = 1
            member[np.arange(len(rows)), split + bins_of_rows[1]] = 1
            bad = shocks[:, : len(symbols)].reshape(len(shocks), -1) < bound[order].ravel()
            # Whole numbers: exact in any order, as matrix products else are not.
            counts = (bad.astype(np.float32) @ member).astype(float)
            drawn[:, :, number] = binned.errors((counts[:, :split], counts[:, split:])).T
        parts.append(drawn)
    return np.concatenate(parts)


def _mean_shocks(symbols: int, sessions: int, correlation: float) -> Iterator[np.ndarray]:
    """Mean shock of the ``HORIZON`` days after each session, standard normal: (replications, symbols, sessions).

    Some replications at a time. Each symbol has random numbers of its own: how many symbols there are elsewhere
    changes nothing.
    """
    days = sessions + HORIZON - 1
    shared, alone = np.float32(np.sqrt(correlation)), np.float32(np.sqrt(1 - correlation))
    market, *own = (np.random.default_rng([_SEED, number]) for number in range(symbols + 1))
    at_once = max(1, min(REPLICATIONS, _NUMBERS_AT_ONCE // (symbols * days)))
    for first in range(0, REPLICATIONS, at_once):
        size = (min(at_once, REPLICATIONS - first), days)
        common = shared * market.standard_normal(size, dtype=np.float32)
        daily = np.stack([common + alone * r.standard_normal(size, dtype=np.float32) for r in own], axis=1)
        total = np.zeros((size[0], symbols, sessions), dtype=np.float32)
        for day in range(HORIZON):
            total += daily[:, :, day : day + sessions]
        yield total / np.float32(np.sqrt(HORIZON))
