"""Clean: raw bars → typed, ordered bars with one return each; and the rows that were refused, each with its reason.

Belongs here: rules on single rows, duplicates, the return and the day's variance. Does not belong here: verdicts on
a whole session (``checks``), features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.tables import PRICES_CLEAN, PRICES_REJECTED, conform, empty_table

if TYPE_CHECKING:
    import pandas as pd

RANGE_TOLERANCE: Final = 1e-6
"""Relative slack of high ≥ open, close ≥ low: prices rounded by the source may miss it by a last digit."""

PRICE_LIMITS: Final = (1e-12, 1e12)
"""Smallest and largest price: what lies beyond is no price in any currency, and would overflow in a ratio."""

SYMBOL_LENGTH: Final = 24
"""Characters of the longest symbol; an option's has 21."""

_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Cleaned:
    """Each raw row is in one: ``bars`` (table ``PRICES_CLEAN``) or ``rejected`` (table ``PRICES_REJECTED``)."""

    bars: pd.DataFrame
    rejected: pd.DataFrame


def clean_bars(raw: pd.DataFrame, sessions: np.ndarray) -> Cleaned:
    """Apply every rule to every row of ``raw`` (table ``PRICES_RAW``); a row is refused by the first that it breaks.

    ``sessions`` are the exchange's (datetime64[D], ascending). A real crash is no error: no rule looks at the size
    of a return. Identical rows are kept once; rows that contradict each other are all refused.
    """
    import pandas as pd

    day = raw["date"].to_numpy().astype("datetime64[D]")
    o, h, low, c = (raw[name].to_numpy(dtype=float) for name in _PRICES)
    with np.errstate(invalid="ignore"):
        top, bottom = np.fmax(o, c) * (1 - RANGE_TOLERANCE), np.fmin(o, c) * (1 + RANGE_TOLERANCE)
        broken = (h < top) | (low > bottom) | (h < low)
        prices = np.stack([o, h, low, c, raw["adj_close"].to_numpy(dtype=float)])
        unlike = np.any((prices < PRICE_LIMITS[0]) | (prices > PRICE_LIMITS[1]), axis=0)
        negative = raw["volume"].to_numpy(dtype=float) < 0
    known = {s: 0 < len(s) <= SYMBOL_LENGTH and s.isprintable() for s in raw["symbol"].fillna("").unique()}
    named = raw["symbol"].fillna("").map(known).to_numpy(dtype=bool)
    values = [name for name in raw.columns if name not in {"date", "symbol"}]
    repeated = raw.duplicated(["date", "symbol", *values], keep="first").to_numpy()
    distinct = raw[~repeated].duplicated(["date", "symbol"], keep=False)
    conflicting = distinct.reindex(raw.index, fill_value=False).to_numpy()

    rules: tuple[tuple[str, np.ndarray, str], ...] = (
        ("symbol", ~named, f"the row names no symbol of at most {SYMBOL_LENGTH} printable characters"),
        ("session", ~np.isin(day, sessions), "the date is no session of the exchange"),
        ("readable", raw["unreadable"].notna().to_numpy(), "a cell is no finite number"),
        ("complete", np.isnan(prices[:4]).any(axis=0), "open, high, low or close is missing"),
        ("positive", unlike, "a price is zero, negative or beyond {:g} … {:g}".format(*PRICE_LIMITS)),
        ("range", broken, "high is not the highest or low not the lowest of the four prices"),
        ("volume", negative, "the volume is negative"),
        ("duplicate", repeated, "the row repeats an earlier one"),
        ("conflict", conflicting, "rows of one symbol and session contradict each other: all are refused"),
    )
    verdict = np.full(len(raw), -1)
    for number in reversed(range(len(rules))):
        verdict[rules[number][1]] = number
    refused = np.flatnonzero(verdict >= 0)
    rejected = empty_table(PRICES_REJECTED)
    if len(refused):
        rejected = pd.DataFrame(
            {
                "row": refused,
                "date": raw["date"].astype(str).to_numpy()[refused],
                "symbol": raw["symbol"].to_numpy()[refused],
                "rule": [rules[verdict[row]][0] for row in refused],
                "reason": [f"{rules[verdict[row]][2]}: {_quote(raw.iloc[row])}" for row in refused],
            }
        )
    return Cleaned(_finish(raw[verdict < 0]), conform(rejected, PRICES_REJECTED))


def _finish(kept: pd.DataFrame) -> pd.DataFrame:
    """Order by session and symbol; add the return and the variance."""
    bars = kept.sort_values(["date", "symbol"], kind="stable")
    bars = bars.assign(
        log_return=total_return(
            bars["close"].to_numpy(float),
            bars["adj_close"].to_numpy(float),
            bars["prev_close"].to_numpy(float),
            bars["prev_adj_close"].to_numpy(float),
        )
    )
    o, h, low, c = (bars[name].to_numpy(float) for name in _PRICES)
    return conform(
        bars.assign(daily_variance=daily_variance(o, h, low, c, bars["log_return"].to_numpy())), PRICES_CLEAN
    )


def total_return(close: np.ndarray, adj_close: np.ndarray, prev_close: np.ndarray, prev_adj: np.ndarray) -> np.ndarray:
    """Log return since the session before, splits and dividends included.

    From adjusted closes where both are there, from closes where the source has neither, NaN where it has one.

    >>> total_return(np.array([50.0]), np.array([25.0]), np.array([100.0]), np.array([25.0])).tolist()
    [0.0]
    """
    adjusted = ~np.isnan(adj_close) & ~np.isnan(prev_adj)
    neither = np.isnan(adj_close) & np.isnan(prev_adj)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(adjusted, adj_close / prev_adj, np.where(neither, close / prev_close, np.nan))
        return np.log(ratio)


def daily_variance(
    open_: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, log_return: np.ndarray
) -> np.ndarray:
    """Variance of one session in squared log return: overnight gap² + Garman-Klass; NaN without a return.

    The gap is what the total return leaves when the session's own move is taken out, so that a split or a dividend
    makes none. Garman & Klass, On the Estimation of Security Price Volatilities from Historical Data,
    Journal of Business 53 (1980): ½ ln(H/L)² - (2 ln 2 - 1) ln(C/O)².

    >>> one = np.array([1.0])
    >>> daily_variance(one, one, one, one, np.log(np.array([1.01]))).round(8).tolist()
    [9.901e-05]
    """
    move = np.log(close / open_)
    gap = log_return - move
    garman_klass = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * move**2
    # A range narrower than the move (prices off by a last digit) must not make a variance negative.
    return gap**2 + np.maximum(garman_klass, 0.0)


def _quote(row: pd.Series) -> str:
    """The row's numbers as a person would look them up, and its cells that are none."""
    cells = [f"{name} {row[name]:.12g}" for name in (*_PRICES, "adj_close", "volume") if row[name] == row[name]]
    return ", ".join([*cells, *([row["unreadable"]] if isinstance(row["unreadable"], str) else [])])
