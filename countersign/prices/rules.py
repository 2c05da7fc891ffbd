"""Rules: what is wrong with bars, each a function of arrays to a truth value a row.

Belongs here: every rule that ``config/quality.yaml`` declares on rows, and what the rows are judged by. Does not belong
here: what becomes of a row (``clean``), verdicts on a session (``checks``), numbers (``quality``). A rule looks at its
own symbol alone, so that no row is set aside because of another symbol's; of the panel it knows only on which sessions
there is any bar, and whether the source has ranges and adjusted closes at all. The order of rows changes nothing. No
rule changes a price: matching a jump with a split's ratio calls real crashes splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.quality import AdjustmentStep, Jump, SplitLike, UnitChange

if TYPE_CHECKING:
    import pandas as pd

BEHIND: Final = 62
"""Sessions before its own that a bar is judged by: those that its features read, so that what makes a verdict old makes
the features old, too. A symbol without any bar in them is a new one, and nothing of the old is left in its features."""

PRICE_LIMITS: Final = (1e-12, 1e12)
"""Smallest and largest price: what lies beyond is no price in any currency, and would overflow in a ratio."""

SYMBOL_LENGTH: Final = 24
"""Characters of the longest symbol; an option's has 21."""

_NUMBERS: Final = ("open", "high", "low", "close", "adj_close", "volume", "prev_close", "prev_adj_close")

MIN_RETURNS: Final = 21
"""Returns before, without which a symbol's usual one is not known: a month."""


@dataclass(frozen=True)
class Rows:
    """Rows of bars as arrays of one length; NaN where a number is missing.

    ``symbol`` numbers the symbols, -1 for none; ``place`` the ``sessions`` of the exchange, -1 for a day that is none.
    """

    symbol: np.ndarray
    place: np.ndarray
    sessions: int
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    adj_close: np.ndarray
    volume: np.ndarray
    prev_close: np.ndarray
    prev_adj_close: np.ndarray

    @classmethod
    def of(cls, raw: pd.DataFrame, symbol: np.ndarray, sessions: np.ndarray) -> Rows:
        """The rows of ``raw`` (table ``PRICES_RAW``), whose symbols are numbered by ``symbol``."""
        return cls(
            symbol,
            places(raw["date"], sessions),
            len(sessions),
            **{name: raw[name].to_numpy(dtype=float) for name in _NUMBERS},
        )

    @cached_property
    def key(self) -> np.ndarray:
        """One number a symbol and session; ascending by symbol, then session. Negative where either is missing."""
        return np.where(
            (self.symbol < 0) | (self.place < 0), -1, self.symbol.astype(np.int64) * self.sessions + self.place
        )

    @property
    def closes_alone(self) -> bool:
        """Whether no row has an open, a high or a low: the source does not have them."""
        return bool(np.isnan(self.open).all() and np.isnan(self.high).all() and np.isnan(self.low).all())


def ordered(symbol: np.ndarray, place: np.ndarray, sessions: int) -> np.ndarray:
    """The order of bars by symbol and session."""
    if symbol.max(initial=0) < 2**16 and (place[1:] >= place[:-1]).all():
        # Sorted by session already, as sources mostly are: numpy sorts 16-bit numbers many times as fast.
        return np.argsort(symbol.astype(np.uint16), kind="stable")
    return np.argsort(symbol.astype(np.int64) * sessions + place, kind="stable")


def places(dates: pd.Series, sessions: np.ndarray) -> np.ndarray:
    """The place of each date among ``sessions`` (datetime64[D], ascending), -1 where it is none of them."""
    import pandas as pd

    # Each day is looked up once: a text has to be parsed for it.
    number, days = pd.factorize(dates)
    day = np.asarray(days, dtype="datetime64[D]")
    place = np.where(np.isin(day, sessions), np.searchsorted(sessions, day), -1)
    return np.append(place, -1)[number].astype(np.int32)


def symbol_names(symbols: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A number for each row's symbol, and the names. -1 where it is none of ``SYMBOL_LENGTH`` printable characters."""
    import pandas as pd

    number, names = pd.factorize(symbols)
    usable = np.array([0 < len(name) <= SYMBOL_LENGTH and name.isprintable() for name in names] + [False])
    return np.where(usable[number], number, -1).astype(np.int32), np.asarray(names, dtype=object)


# --- rows by themselves


def incomplete(rows: Rows) -> np.ndarray:
    """A price is missing. Open, high and low may be where no row has them, and so may the adjusted close."""
    missing, adjusted = np.isnan(rows.close), np.isnan(rows.adj_close)
    if not adjusted.all():
        missing |= adjusted
    return missing if rows.closes_alone else missing | np.isnan(rows.open) | np.isnan(rows.high) | np.isnan(rows.low)


def unlike_a_price(rows: Rows) -> np.ndarray:
    """A price is zero, negative, or beyond ``PRICE_LIMITS``."""
    low, high = PRICE_LIMITS
    found = np.zeros(len(rows.close), dtype=bool)
    for price in (rows.open, rows.high, rows.low, rows.close, rows.adj_close):
        found |= (price < low) | (price > high)
    return found


def out_of_order(rows: Rows, tolerance: float) -> np.ndarray:
    """High lies below open or close, or low above one, by more than ``tolerance``; or high below low."""
    top, bottom = np.fmax(rows.open, rows.close), np.fmin(rows.open, rows.close)
    return (rows.high < top * (1 - tolerance)) | (rows.low > bottom * (1 + tolerance)) | (rows.high < rows.low)


def long_wick(rows: Rows, max_log: float) -> np.ndarray:
    """Low or high lies further from open and close than ``max_log``, in logs."""
    # Compared as a ratio: two logarithms a row would take longer than all the rest.
    ratio = np.exp(max_log)
    return (np.minimum(rows.open, rows.close) > ratio * rows.low) | (
        rows.high > ratio * np.maximum(rows.open, rows.close)
    )


def stray_open(rows: Rows, step: np.ndarray, max_log: float) -> np.ndarray:
    """The open lies further than ``max_log`` from the close before and from its own close, on the same side of both.

    Such a bad tick is the day's high or low as well, so that no wick shows it. ``step`` (``adjustment_step``) takes out
    a split; it is 1 where it is not known.
    """
    ratio = np.exp(max_log)
    found = (rows.open > ratio * rows.close) | (rows.close > ratio * rows.open)
    if found.any():
        overnight = rows.open[found] * np.where(np.isnan(step[found]), 1.0, step[found]) / rows.prev_close[found]
        up = rows.open[found] > rows.close[found]
        found[found] = np.where(up, overnight > ratio, overnight < 1 / ratio)
    return found


def repetitions(raw: pd.DataFrame, key: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that repeat an earlier one; and those of one symbol and session (by ``key``) that contradict each other.

    ``order`` are the rows that have a key, in its order.
    """
    repeated, conflicting = np.zeros((2, len(key)), dtype=bool)
    keys = key[order]
    twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        several = np.flatnonzero(np.isin(key, twice))
        part = raw.iloc[several]
        again = part.duplicated(keep="first").to_numpy()
        repeated[several] = again
        conflicting[several[~again]] = part[~again].assign(key=key[several[~again]]).duplicated("key", keep=False)
    return repeated, conflicting


# --- a row beside the session before, as the same reply gave it


def total_return(close: np.ndarray, adj_close: np.ndarray, prev_close: np.ndarray, prev_adj: np.ndarray) -> np.ndarray:
    """Log return since the session before, splits and dividends included.

    From adjusted closes where both are there, from closes where the source has neither, NaN where it has one.

    >>> total_return(np.array([50.0]), np.array([25.0]), np.array([100.0]), np.array([25.0])).tolist()
    [0.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = adj_close / prev_adj
        if np.isnan(ratio).any():
            neither = np.isnan(adj_close) & np.isnan(prev_adj)
            ratio = np.where(neither, close / prev_close, ratio)
        return np.log(ratio)


def unit_changed(log_return: np.ndarray, rule: UnitChange) -> np.ndarray:
    """The return is a step by about one of ``rule.factors``, up or down."""
    found, size = np.zeros(len(log_return), dtype=bool), np.abs(log_return)
    for factor in rule.factors:
        found |= np.abs(size - np.log(factor)) <= rule.tolerance
    return found


def adjustment_step(rows: Rows) -> np.ndarray:
    """Adjusted over plain close, over the same of the session before; NaN where one of the four is not known."""
    return rows.adj_close / rows.close * (rows.prev_close / rows.prev_adj_close)


def split_without_adjustment(rows: Rows, step: np.ndarray, rule: SplitLike) -> np.ndarray:
    """The open jumps from the last close by 2, 3 … or one for so many, and the adjustment (``step``) does not change.

    Where a source has no adjusted closes, nothing can be said.
    """
    ratio, least = rows.open / rows.prev_close, 2 * np.exp(-rule.tolerance)
    found = (ratio > least) | (ratio < 1 / least)
    # The rest is asked of the few that jump at all.
    jump, few = np.abs(np.log(ratio[found])), step[found]
    nearest = np.clip(np.rint(np.exp(np.minimum(jump, 10.0))), 2, rule.largest)
    found[found] = (np.abs(jump - np.log(nearest)) <= rule.tolerance) & (np.abs(np.log(few)) <= rule.tolerance)
    return found


def odd_adjustment(step: np.ndarray, log_return: np.ndarray, rule: AdjustmentStep) -> np.ndarray:
    """The adjustment steps neither as a dividend makes it (up, by its share of the price) nor as a split does.

    In a split the close moves the other way, so that the return stays an ordinary one.
    """
    found = (step < 1 - rule.tolerance) | (step > 1 / (1 - rule.max_dividend))
    ordinary = np.abs(log_return[found]) < -np.log(1 - rule.max_dividend)
    found[found] = ~((np.abs(np.log(step[found])) > np.log(1.1)) & ordinary)
    return found


def every_other(candidates: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Of ``candidates`` on consecutive sessions of one symbol the first, third …: the step back is no fault of its own.

    A price that is wrong on one session makes two steps, there and back.
    """
    found = np.flatnonzero(candidates)
    found = found[np.argsort(key[found], kind="stable")]
    kept = candidates.copy()
    last, flagged = -2, False
    for row in found.tolist():
        flagged = not (flagged and key[row] == last + 1)
        kept[row], last = flagged, int(key[row])
    return kept


# --- a row beside the bars before it


@dataclass(frozen=True)
class Series:
    """Bars of all symbols, by symbol and session; those that are judged and the ones before them.

    ``row`` is the row's number among those judged, -1 for a bar of before. ``rank`` numbers the sessions on which any
    symbol has a bar: days that the source never delivered are nobody's hole. ``prices`` and ``log_return`` are in the
    order in which they came: bar number i has those at ``order[i]``, which most are never asked for.
    """

    symbol: np.ndarray
    place: np.ndarray
    rank: np.ndarray
    row: np.ndarray
    order: np.ndarray
    prices: tuple[np.ndarray, ...]
    log_return: np.ndarray

    @property
    def follows(self) -> np.ndarray:
        """Whether the bar before is of the same symbol."""
        return np.append(False, self.symbol[1:] == self.symbol[:-1])[: len(self.symbol)]

    def where(self, kept: np.ndarray) -> Series:
        """The bars of before, and of the rows those that are ``kept`` (a truth value a row)."""
        if kept.all():
            return self
        stays = kept[self.row] | (self.row < 0)
        named = {name: getattr(self, name)[stays] for name in ("symbol", "place", "row", "order")}
        return replace(self, **named, rank=ranks(named["place"]))

    def of_rows(self, found: np.ndarray, rows: int) -> np.ndarray:
        """``found``, a truth value a bar, as one for each of the ``rows`` that are judged."""
        spread = np.zeros(rows, dtype=bool)
        row = self.row[found]
        spread[row[row >= 0]] = True
        return spread


def ranks(place: np.ndarray) -> np.ndarray:
    """The number of each session among those that occur."""
    present = np.zeros(place.max(initial=-1) + 1, dtype=np.int32)
    present[place] = 1
    return (np.cumsum(present, dtype=np.int32) - 1)[place]


def holes(series: Series, limit: int, released: Callable[[int], bool]) -> np.ndarray:
    """Bars after a hole of more than ``limit`` sessions, until a person releases one (``released``, by row).

    Or until the bars before the hole are ``BEHIND`` sessions old: by then nothing of them is left in a feature.
    """
    found = np.zeros(len(series.place), dtype=bool)
    away = np.diff(series.rank, prepend=0) - 1
    near = np.diff(series.place, prepend=0) <= BEHIND
    end = 0
    for start in np.flatnonzero(series.follows & (away > limit) & near).tolist():
        if start < end or found[start - 1]:
            continue
        last, symbol = series.place[start - 1], series.symbol[start]
        end = start
        while end < len(found) and series.symbol[end] == symbol and series.place[end] - last <= BEHIND:
            if series.row[end] < 0 or released(int(series.row[end])):
                end += 1
                break
            found[end] = True
            end += 1
    return found


def stale(series: Series, sessions: int) -> np.ndarray:
    """Bars with the prices of the ``sessions`` - 1 before them."""
    same = series.follows
    *others, close = series.prices
    last = close[series.order]
    same[1:] &= last[1:] == last[:-1]
    # Few closes are those of the session before: only of these the other prices are looked at.
    few = np.flatnonzero(same)
    here, before = series.order[few], series.order[few - 1]
    for price in others:
        same[few] &= (price[here] == price[before]) | (np.isnan(price[here]) & np.isnan(price[before]))
    place = np.arange(len(same), dtype=np.int32)
    return place - np.maximum.accumulate(np.where(same, 0, place)) >= sessions - 1


def large_returns(log_return: np.ndarray, rule: Jump) -> np.ndarray:
    """Returns above ``rule.share``, of which alone ``jumps`` asks more."""
    return (log_return > np.log1p(rule.share)) | (log_return < np.log1p(-min(rule.share, 1 - 1e-9)))


def jumps(series: Series, rule: Jump) -> np.ndarray:
    """Returns above ``rule.share`` and ``rule.deviations`` of the symbol's own over the ``BEHIND`` sessions before."""
    found = np.zeros(len(series.row), dtype=bool)
    large = large_returns(series.log_return, rule)
    if not large.any():
        return found
    for place in np.flatnonzero(large[series.order] & (series.row >= 0)).tolist():
        before = slice(max(place - BEHIND, 0), place)
        own = (series.symbol[before] == series.symbol[place]) & (series.place[before] >= series.place[place] - BEHIND)
        usual = np.expm1(series.log_return[series.order[before][own]])
        usual = usual[~np.isnan(usual)]
        spread = float(np.median(np.abs(usual - np.median(usual)))) if len(usual) >= MIN_RETURNS else 0.0
        found[place] = abs(np.expm1(series.log_return[series.order[place]])) > rule.deviations * spread
    return found


def missing_shares(series: Series) -> dict[int, float]:
    """For each symbol that has a row the share of the sessions between its first and last bar on which it has none."""
    if not len(series.symbol):
        return {}
    first = np.flatnonzero(~series.follows)
    last = np.append(first[1:], len(series.symbol)) - 1
    sessions = series.rank[last] - series.rank[first] + 1
    shares = (sessions - (last - first + 1)) / sessions
    judged = series.row[last] >= 0
    return dict(zip(series.symbol[first[judged]].tolist(), shares[judged].tolist(), strict=True))
