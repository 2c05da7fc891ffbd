"""Features: what the model sees of each symbol, as of a session.

Belongs here: the one function that turns a panel of returns, variances and volumes into features, for training
and for daily scoring alike, and the windowed sums that it is made of. Does not belong here: reading files, prices,
labels, models.

Every feature is free of the price level: it comes from returns, ranges and volume relative to its own median.
A feature of session D reads the last ``LOOKBACK`` sessions and nothing else, and is computed by the same
floating-point operations whatever lies before them: windows are built by doubling (a window of 2k sessions is two
windows of k), never by a running total. So one day computed alone equals, to the last bit, the same day computed
in thirteen years of training, and the cost is logarithmic in the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from countersign.prices.panel import Panel

LOOKBACK: Final = 63
"""Sessions (a quarter) that features of D read: D and the 62 before it."""

MIN_HISTORY: Final = 60
"""Sessions with a return, of the last ``LOOKBACK``, below which a symbol counts as short history [60, 63]."""

VARIANCE_FLOOR: Final = 1e-8
"""Smallest daily variance, (0.01 %)²: keeps the logarithm of a flat bar finite."""

EWMA_DECAY: Final = 0.94
"""Decay a session of the EWMA variance, the baseline (J.P. Morgan/Reuters, RiskMetrics Technical Document, 1996)."""

MARKET_BOUND: Final = 10.0
"""Most that a symbol's variance counts for in the market's, in units of the median symbol's."""

EMA_FAST: Final = 12
EMA_SLOW: Final = 26
"""Spans, in sessions, of the moving averages whose difference is the trend feature (the usual MACD pair)."""

FEATURES: Final[dict[str, str]] = {
    "log_ewma_variance": "log of the EWMA of daily variance, the baseline's forecast (log of squared return)",
    "log_variance_1": "log of the last session's variance over the EWMA",
    "log_variance_5": "log of mean daily variance over 5 sessions, over the EWMA",
    "log_variance_21": "log of mean daily variance over 21 sessions, over the EWMA",
    "log_variance_63": "log of mean daily variance over 63 sessions, over the EWMA",
    "log_market_variance": "log of the EWMA variance averaged over all symbols, over the symbol's own",
    "return_1": "log return of the last session, in units of EWMA daily volatility",
    "return_5": "log return over 5 sessions, in units of EWMA volatility over as many",
    "return_21": "log return over 21 sessions, in units of EWMA volatility over as many",
    "downside_share_21": "share of squared returns over 21 sessions that fell on losing sessions [0, 1]",
    "drawdown_63": "log distance from the highest close of the last 63 sessions (≤ 0), in units of EWMA volatility",
    "log_volume_ratio": "log of volume over its own median of 63 sessions, 0 where no volume is known",
    "ema_cross_12_26": "log price's 12-session EMA less its 26-session EMA, in units of EWMA volatility",
    "skew_63": "skewness of daily returns over 63 sessions",
}
"""Name and meaning of each feature, in the order of the model's coefficients. All are dimensionless."""


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of a panel.

    ``values`` has shape (features, sessions, symbols), NaN where a feature cannot be computed;
    ``ewma_variance`` (sessions, symbols) is the baseline's variance a day, NaN without any variance so far;
    ``market_variance`` (sessions,) is its mean over symbols, each at most ``MARKET_BOUND`` times the median;
    ``history`` (sessions, symbols) counts the sessions with a return among the last ``LOOKBACK``.
    """

    values: np.ndarray
    ewma_variance: np.ndarray
    market_variance: np.ndarray
    history: np.ndarray


def compute_features(panel: Panel) -> FeatureMatrix:
    """Features of every session and symbol of ``panel``; sessions run along the first axis, oldest first.

    Symbols are worked on in blocks that fit the processor's cache; a symbol's numbers do not depend on its block.

    >>> rng = np.random.default_rng(0)
    >>> returns = rng.normal(0, 0.01, (63, 2))
    >>> panel = Panel.from_arrays(returns, variance=returns**2, volume=np.full((63, 2), 1e6))
    >>> features = compute_features(panel)
    >>> features.values.shape
    (14, 63, 2)
    >>> features.history[-1].tolist()
    [63, 63]
    """
    from bottleneck import nanmedian

    sessions, symbols = panel.log_return.shape
    values = np.empty((len(FEATURES), sessions, symbols))
    ewma_variance = np.empty((sessions, symbols))
    history = np.empty((sessions, symbols), dtype=np.int64)
    block = max(1, _CACHED_ELEMENTS // max(sessions, 1))
    for start in range(0, symbols, block):
        part = slice(start, start + block)
        _symbol_features(panel, part, values[:, :, part], ewma_variance[:, part], history[:, part])

    known = np.where(panel.present, ewma_variance, np.nan)
    # Bounded, so that one symbol's bad price does not move the whole market out of the range that training saw.
    bounded = np.fmin(known, MARKET_BOUND * nanmedian(known, axis=1)[:, None])
    bounded[np.isnan(known)] = np.nan
    # fsum is exact, so the market's number does not depend on the order or the number of columns.
    count = (~np.isnan(bounded)).sum(axis=1)
    total = np.array([math.fsum(row) for row in np.nan_to_num(bounded).tolist()])
    market_variance = np.divide(total, count, out=np.full(sessions, np.nan), where=count > 0)
    index = list(FEATURES).index("log_market_variance")
    values[index] = np.log(_floored(market_variance))[:, None] - values[0]
    return FeatureMatrix(values, ewma_variance, market_variance, history)


_CACHED_ELEMENTS: Final = 2**15
"""Elements of one work array (256 KiB of float64): a dozen of them stay in a second-level cache."""


def _symbol_features(
    panel: Panel, part: slice, values: np.ndarray, ewma_variance: np.ndarray, history: np.ndarray
) -> None:
    """Fill the features that need a symbol's own numbers only, for one block of symbols."""
    log_return = np.ascontiguousarray(panel.log_return[:, part])
    variance = np.ascontiguousarray(panel.variance[:, part])
    volume = panel.volume[:, part]
    has_return = ~np.isnan(log_return)
    has_variance = ~np.isnan(variance)
    r = np.where(has_return, log_return, 0.0)
    v = np.where(has_variance, variance, 0.0)
    squared = r * r

    # The three sums below share their windows, so each is built once for all lengths.
    returns = windowed(r, (5, 21, LOOKBACK), np.add)
    second = windowed(squared, (21, LOOKBACK), np.add)
    variances = windowed(v, (5, 21, LOOKBACK), np.add)
    if has_variance.all():
        observed = {k: np.minimum(np.arange(1, len(v) + 1), k)[:, None].astype(float) for k in (5, 21, LOOKBACK)}
        weights = decayed_sum(np.ones((len(v), 1)), EWMA_DECAY, LOOKBACK)
    else:
        observed = windowed(has_variance.astype(float), (5, 21, LOOKBACK), np.add)
        weights = decayed_sum(has_variance.astype(float), EWMA_DECAY, LOOKBACK)
    if has_return.all():
        counted = np.broadcast_to(np.minimum(np.arange(1, len(r) + 1), LOOKBACK)[:, None], r.shape).astype(float)
    else:
        counted = windowed(has_return.astype(float), (LOOKBACK,), np.add)[LOOKBACK]

    with np.errstate(divide="ignore", invalid="ignore"):
        ewma = decayed_sum(v, EWMA_DECAY, LOOKBACK) / weights
        floor = _floored(ewma)
        log_ewma = np.log(floor)
        volatility = np.sqrt(floor)
        third = windowed(squared * r, (LOOKBACK,), np.add)[LOOKBACK]
        mean = returns[LOOKBACK] / counted
        spread = second[LOOKBACK] / counted - mean * mean
        skew = (third / counted - 3 * mean * (second[LOOKBACK] / counted) + 2 * mean**3) / spread**1.5

        ewma_variance[...] = ewma
        history[...] = counted
        values[0] = log_ewma
        values[1] = np.where(has_variance, np.log(_floored(variance)) - log_ewma, np.nan)
        for row, k in ((2, 5), (3, 21), (4, LOOKBACK)):
            values[row] = np.log(_floored(variances[k] / observed[k])) - log_ewma
        values[6] = np.where(has_return, r / volatility, np.nan)
        values[7] = returns[5] / (volatility * np.sqrt(5.0))
        values[8] = returns[21] / (volatility * np.sqrt(21.0))
        downside = windowed(np.minimum(r, 0.0) ** 2, (21,), np.add)[21]
        values[9] = np.where(second[21] > 0, downside / second[21], 0.5)
        values[10] = drawdown(r, LOOKBACK) / volatility
        median = _moving_median(volume)
        values[11] = np.log(volume / median)
        values[12] = ema_cross(r, EMA_FAST, EMA_SLOW, LOOKBACK) / volatility
        values[13] = np.where(spread > VARIANCE_FLOOR, skew, 0.0)
    # A ratio of nothing traded is unknown, not extreme; a source that has no volumes at all says nothing unusual.
    values[11][~np.isfinite(values[11])] = np.nan
    values[11][np.isnan(median)] = 0.0


def _floored(variance: np.ndarray) -> np.ndarray:
    return np.maximum(variance, VARIANCE_FLOOR)


def _moving_median(volume: np.ndarray) -> np.ndarray:
    from bottleneck import move_median

    rows = min(LOOKBACK, len(volume))
    return move_median(np.asarray(volume, dtype=float), rows, min_count=1, axis=0)


def windowed(x: np.ndarray, lengths: tuple[int, ...], combine: Callable[..., np.ndarray]) -> dict[int, np.ndarray]:
    """``combine`` over the last k rows of ``x``, for each k in ``lengths``; windows are shorter at the start.

    Rows before the first count as zero, so ``combine`` must treat zero as nothing to add.

    >>> windowed(np.array([[1.0], [2.0], [3.0], [4.0]]), (3,), np.add)[3].ravel().tolist()
    [1.0, 3.0, 6.0, 9.0]
    """
    power, size = x, 1
    result: dict[int, np.ndarray] = {}
    done = dict.fromkeys(lengths, 0)
    while True:
        for k in lengths:
            if k & size:
                # The window of k is the powers of two in k, the newest first.
                result[k] = combine(result[k], shifted(power, done[k])) if k in result else power
                done[k] += size
        if size * 2 > max(lengths):
            return result
        power = combine(power, shifted(power, size))
        size *= 2


def shifted(x: np.ndarray, rows: int) -> np.ndarray:
    """``x`` moved ``rows`` later in time, zero where nothing was known.

    >>> shifted(np.array([[1.0], [2.0], [3.0]]), 1).ravel().tolist()
    [0.0, 1.0, 2.0]
    """
    moved = np.zeros_like(x)
    if rows < len(x):
        moved[rows:] = x[: len(x) - rows]
    return moved


def decayed_sum(x: np.ndarray, decay: float, length: int) -> np.ndarray:
    """Sum over the last ``length`` rows of ``decay**age · x``, age 0 the newest.

    >>> decayed_sum(np.array([[1.0], [1.0], [1.0]]), 0.5, 2).ravel().tolist()
    [1.0, 1.5, 1.5]
    """
    power, size, done = x, 1, 0
    result: np.ndarray | None = None
    while True:
        if length & size:
            result = power if result is None else result + decay**done * shifted(power, done)
            done += size
        if size * 2 > length:
            break
        power = power + decay**size * shifted(power, size)
        size *= 2
    assert result is not None  # length ≥ 1 has a lowest bit
    return result


def drawdown(log_return: np.ndarray, length: int) -> np.ndarray:
    """Log distance of the last close from the highest close of the last ``length`` sessions (≤ 0).

    The distance is the smallest sum of the newest returns; two windows join as
    ``smallest = min(smallest_new, sum_new + smallest_old)``.

    >>> drawdown(np.array([[0.1], [-0.2], [0.05]]), 3).ravel().round(2).tolist()
    [0.0, -0.2, -0.15]
    """
    # The highest close lies among the window's ``length`` closes, so length - 1 returns lead down from it.
    steps = length - 1
    total, lowest, size, done = log_return, np.minimum(log_return, 0.0), 1, 0
    window_total = np.zeros_like(log_return)
    window_lowest = np.zeros_like(log_return)
    while True:
        if steps & size:
            window_lowest = np.minimum(window_lowest, window_total + shifted(lowest, done))
            window_total = window_total + shifted(total, done)
            done += size
        if size * 2 > steps:
            return window_lowest
        lowest = np.minimum(lowest, total + shifted(lowest, size))
        total = total + shifted(total, size)
        size *= 2


def ema_cross(log_return: np.ndarray, fast: int, slow: int, length: int) -> np.ndarray:
    """Log price's EMA of span ``fast`` less that of span ``slow``, from returns alone.

    With q = 1 - 2/(span + 1), an EMA of log prices lies Σ q**(i + 1) · r[t - i] below the last one, so that the
    level cancels in the difference: slow's sum less fast's. Cut off after ``length`` returns.

    >>> bool(ema_cross(np.full((63, 1), 0.01), 12, 26, 63)[-1, 0] > 0)
    True
    """
    q_fast, q_slow = 1 - 2 / (fast + 1), 1 - 2 / (slow + 1)
    return q_slow * decayed_sum(log_return, q_slow, length) - q_fast * decayed_sum(log_return, q_fast, length)
