"""Clean: raw bars → typed, ordered bars with one return each; and the rows that were set aside, each with its reason.

Belongs here: applying the rules and what becomes of a row, the day's variance. Does not belong here: the rules
(``rules``), verdicts on a whole session (``checks``), features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.prices import rules
from countersign.prices.rules import PRICE_LIMITS, SYMBOL_LENGTH, Rows, Series, total_return
from countersign.quality import ON_BARS, ON_ROWS, RELEASABLE, Quality
from countersign.storage.codec import json_bytes
from countersign.tables import PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED, conform, empty_table

if TYPE_CHECKING:
    import pandas as pd

_PRICES: Final = ("open", "high", "low", "close")
_QUOTED: Final = (*_PRICES, "adj_close", "volume")
_EXAMPLES: Final = 10

BEFORE_COLUMNS: Final = ("date", "symbol", *_PRICES, "log_return")
"""The columns of ``prices_clean`` that the bars of a session are judged by."""

LEVEL_RULES: Final = frozenset({"unit_change", "split_like"})
"""Rules by which the close itself is in doubt, and so the return of the session after."""

_WORDS: Final = {
    "symbol": f"the row names no symbol of at most {SYMBOL_LENGTH} printable characters",
    "session": "the date is no session of the exchange",
    "readable": "a cell is no finite number",
    "complete": "open, high, low, close or adjusted close is missing, and others have it",
    "positive": "a price is zero, negative or beyond {:g} … {:g}".format(*PRICE_LIMITS),
    "range": "high is not the highest or low not the lowest of the four prices",
    "volume": "the volume is negative",
    "duplicate": "the row repeats an earlier one",
    "conflict": "rows of one symbol and session contradict each other: all are refused",
    "wick": "a high, low or open lies too far from the other prices for a trade",
    "unit_change": "the price steps from the close before as from one unit to another",
    "split_like": "the open jumps as in a split, and the adjusted close knows of none",
    "hole": "the symbol comes back after a hole: it may have been given to another company",
    "stale": "the prices are those of the sessions before",
    "jump": "a large return",
    "zero_volume": "nothing was traded",
    "adjustment_step": "the adjusted close moves against the close neither as in a dividend nor as in a split",
}


@dataclass(frozen=True)
class Before:
    """What is known of the sessions before: their ``bars`` (``BEFORE_COLUMNS``), None where there is nothing.

    ``doubtful`` are symbols whose row of the session before was set aside by a rule of ``LEVEL_RULES``.
    """

    bars: pd.DataFrame | None = None
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finding:
    """What one rule found: how many rows (or symbols), examples of them; or why it could not be judged."""

    count: int = 0
    examples: tuple[Mapping[str, str], ...] = ()
    unknown: str = ""


@dataclass(frozen=True)
class Judged:
    """``verdict`` numbers the rule of ``ON_ROWS`` that sets a row aside, -1 for a bar; ``log_return`` is its return.

    ``noticed`` are the rows that break a rule and are kept; ``away`` the share of sessions that a symbol missed.
    ``unknown`` says of a rule why it could not be judged; ``released`` are rows that a person let through.
    """

    verdict: np.ndarray
    log_return: np.ndarray
    noticed: Mapping[str, np.ndarray]
    away: Mapping[str, float]
    unknown: Mapping[str, str]
    released: np.ndarray


@dataclass(frozen=True)
class Cleaned:
    """Each raw row is in one: ``bars`` (table ``PRICES_CLEAN``) or ``rejected`` (table ``PRICES_REJECTED``).

    ``findings`` has one for each rule of ``ON_BARS``; ``released`` the digests of rows that a person let through.
    """

    bars: pd.DataFrame
    rejected: pd.DataFrame
    findings: Mapping[str, Finding]
    released: frozenset[str]


def clean_bars(
    raw: pd.DataFrame,
    sessions: np.ndarray,
    quality: Quality,
    before: Before = Before(),
    released: frozenset[str] = frozenset(),
) -> Cleaned:
    """Apply every rule to every row of ``raw`` (table ``PRICES_RAW``); the first that it breaks is named.

    ``sessions`` are the exchange's (datetime64[D], ascending). Identical rows are kept once; rows that contradict each
    other are all set aside. ``released`` are digests (``row_digests``) of rows that a person let through.
    """
    import pandas as pd

    judged = judge(raw, sessions, quality, before, released)
    aside = np.flatnonzero(judged.verdict >= 0)
    rejected = empty_table(PRICES_REJECTED)
    if len(aside):
        names = [ON_ROWS[number] for number in judged.verdict[aside]]
        quotes = quoted(raw, aside)
        rejected = pd.DataFrame(
            {
                "row": aside,
                "date": raw["date"].iloc[aside].astype(str).to_numpy(),
                "symbol": raw["symbol"].to_numpy()[aside],
                "rule": names,
                "reason": [f"{_WORDS[name]}: {quote}" for name, quote in zip(names, quotes, strict=True)],
                "sha256": row_digests(raw, aside),
            }
        )
    rejected = conform(rejected, PRICES_REJECTED)
    bars = _finish(raw[judged.verdict < 0], judged.log_return[judged.verdict < 0])
    let_through = frozenset(row_digests(raw, judged.released))
    return Cleaned(bars, rejected, _findings(raw, judged, rejected, bars, quality), let_through)


def doubtful_symbols(rejected: pd.DataFrame) -> frozenset[str]:
    """Of a session's ``prices_rejected``: see ``Before``."""
    return frozenset(rejected["symbol"][rejected["rule"].isin(list(LEVEL_RULES))])


def judge(
    raw: pd.DataFrame,
    sessions: np.ndarray,
    quality: Quality,
    before: Before = Before(),
    released: frozenset[str] = frozenset(),
) -> Judged:
    """What ``clean_bars`` does with each row of ``raw``, without making tables of it."""
    import pandas as pd

    past = before.bars
    number, names = rules.symbol_names(raw["symbol"] if past is None else pd.concat([past["symbol"], raw["symbol"]]))
    own = len(number) - len(raw)
    rows = Rows.of(raw, number[own:], sessions)
    key = rows.key
    state = _Verdicts(raw, quality, key, released)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        state.add("symbol", rows.symbol < 0)
        state.add("session", rows.place < 0)
        state.add("readable", raw["unreadable"].notna().to_numpy())
        state.add("complete", rules.incomplete(rows))
        state.add("positive", rules.unlike_a_price(rows))
        state.add("range", rules.out_of_order(rows, quality.range.tolerance))
        state.add("volume", rows.volume < 0)
        valid = np.flatnonzero(key >= 0) if (key < 0).any() else np.arange(len(key))
        order = valid[rules.ordered(rows.symbol[valid], rows.place[valid], len(sessions))]
        repeated, conflicting = rules.repetitions(raw, key, order)
        state.add("duplicate", repeated)
        state.add("conflict", conflicting)
        step, limit = rules.adjustment_step(rows), quality.wick.max_log
        state.add("wick", rules.long_wick(rows, limit) | rules.stray_open(rows, step, limit))

        log_return = total_return(rows.close, rows.adj_close, rows.prev_close, rows.prev_adj_close)
        if before.doubtful:
            doubtful = [i for i, name in enumerate(names) if name in before.doubtful]
            log_return[np.isin(rows.symbol, doubtful)] = np.nan
        log_return = _level(state, rows, log_return, step, quality)

        series = _series(rows, past, number[:own], sessions, order, log_return).where(state.verdict < 0)
        state.add("hole", series.of_rows(rules.holes(series, quality.hole.sessions, state.is_released), len(raw)))
        series = series.where(state.verdict < 0)
        state.add("stale", series.of_rows(rules.stale(series, quality.stale.sessions), len(raw)))
        series = series.where(state.verdict < 0)

        state.notice("jump", series.of_rows(rules.jumps(series, quality.jump), len(raw)))
        state.notice("zero_volume", rows.volume == 0)
        state.notice("adjustment_step", rules.odd_adjustment(step, log_return, quality.adjustment_step))
    return Judged(
        state.verdict,
        log_return,
        {name: np.flatnonzero(mask & (state.verdict < 0)) for name, mask in state.noticed.items()},
        {str(names[symbol]): share for symbol, share in rules.missing_shares(series).items()},
        _unknown(rows, step, log_return, series, quality),
        np.array(sorted(state.let_through), dtype=int),
    )


class _Verdicts:
    """The first rule that sets each row aside, rule by rule in the order of ``ON_ROWS``; rows of which only to tell."""

    def __init__(self, raw: pd.DataFrame, quality: Quality, key: np.ndarray, released: frozenset[str]) -> None:
        self._raw, self._quality, self._key, self._released = raw, quality, key, released
        self.verdict = np.full(len(raw), -1, dtype=np.int8)
        self.noticed: dict[str, np.ndarray] = {}
        self.let_through: set[int] = set()

    def sets_aside(self, name: str) -> bool:
        return self._quality.rule(name).severity in ("refuse", "quarantine")

    def add(self, name: str, broken: np.ndarray) -> None:
        """Rows that break the rule ``name``, but for those that a person let through."""
        if not self.sets_aside(name):
            self.notice(name, broken)
            return
        found = np.flatnonzero(broken & (self.verdict < 0))
        if self._released and name in RELEASABLE:
            found = found[~self._let(found, once=name == "conflict")]
        self.verdict[found] = ON_ROWS.index(name)

    def notice(self, name: str, broken: np.ndarray) -> None:
        """Rows that are kept and told of."""
        if self._quality.rule(name).severity == "warn":
            self.noticed[name] = broken

    def is_released(self, row: int) -> bool:
        """Whether a person let the row through."""
        return bool(self._released) and bool(self._let(np.array([row]))[0])

    def _let(self, found: np.ndarray, once: bool = False) -> np.ndarray:
        """Which of the rows ``found`` were let through; ``once``: not where several of a symbol and session were."""
        free = np.array([digest in self._released for digest in row_digests(self._raw, found)], dtype=bool)
        if once:
            keys, counts = np.unique(self._key[found[free]], return_counts=True)
            free &= ~np.isin(self._key[found], keys[counts > 1])
        self.let_through.update(found[free].tolist())
        return free


def _level(state: _Verdicts, rows: Rows, log_return: np.ndarray, step: np.ndarray, quality: Quality) -> np.ndarray:
    """Judge the steps from the close before. The returns, unknown where the close before is in doubt."""
    unit = rules.unit_changed(log_return, quality.unit_change)
    split = ~np.isnan(log_return) & rules.split_without_adjustment(rows, step, quality.split_like)
    aside = (state.verdict < 0) & ((unit & state.sets_aside("unit_change")) | (split & state.sets_aside("split_like")))
    if not aside.any():
        state.add("unit_change", unit)
        state.add("split_like", split)
        return log_return
    # The step back from a price that is set aside is no fault of its own.
    back = aside & ~rules.every_other(aside, rows.key)
    state.add("unit_change", unit & ~back)
    state.add("split_like", split & ~back)
    wrong = aside & (state.verdict >= 0) & (rows.place < rows.sessions - 1)
    return np.where(np.isin(rows.key, rows.key[wrong] + 1), np.nan, log_return)


def _series(
    rows: Rows,
    past: pd.DataFrame | None,
    past_symbol: np.ndarray,
    sessions: np.ndarray,
    order: np.ndarray,
    log_return: np.ndarray,
) -> Series:
    """The ``rows`` of ``order`` (by symbol and session) behind the bars of ``past``."""
    symbol, place, row = rows.symbol, rows.place, order
    prices = tuple(getattr(rows, name) for name in _PRICES)
    if past is not None:
        before = len(past)
        symbol, place = np.append(past_symbol, symbol), np.append(rules.places(past["date"], sessions), place)
        prices = tuple(
            np.append(past[name].to_numpy(dtype=float), price) for name, price in zip(_PRICES, prices, strict=True)
        )
        log_return = np.append(past["log_return"].to_numpy(dtype=float), log_return)
        both = np.append(np.arange(before), order + before)
        order = both[rules.ordered(symbol[both], place[both], len(sessions))]
        row = np.where(order < before, -1, order - before)
    symbol, place = symbol[order], place[order]
    return Series(symbol, place, rules.ranks(place), row, order, prices, log_return)


def _unknown(rows: Rows, step: np.ndarray, log_return: np.ndarray, series: Series, quality: Quality) -> dict[str, str]:
    """Why a rule could not be judged: it is switched off, or there is nothing to judge by."""
    found = {name: "switched off in config/quality.yaml" for name in ON_BARS if quality.rule(name).severity == "off"}
    if np.isnan(step).all():
        found |= dict.fromkeys(("split_like", "adjustment_step"), "no adjusted closes of two sessions are known")
    if rows.closes_alone:
        found |= dict.fromkeys(("range", "wick", "split_like"), "the source gives closes alone")
    if np.isnan(rows.volume).all():
        found |= dict.fromkeys(("volume", "zero_volume"), "no volume is known")
    if np.isnan(log_return).all():
        found |= dict.fromkeys(("jump", "unit_change"), "no return is known")
    known = int(series.rank.max(initial=-1)) + 1
    for name, needed in (
        ("stale", quality.stale.sessions),
        ("hole", quality.hole.sessions + 2),
        ("missing_sessions", 2),
    ):
        if known < needed:
            found[name] = f"it takes {needed} sessions, {known} are known"
    return found


def _findings(
    raw: pd.DataFrame, judged: Judged, rejected: pd.DataFrame, bars: pd.DataFrame, quality: Quality
) -> dict[str, Finding]:
    """What each rule of ``ON_BARS`` found."""
    counts, examples = dict.fromkeys(ON_BARS, 0), dict[str, list[Mapping[str, str]]]()
    # Nearly always there is nothing to show, and pandas takes its time over nothing.
    for name in rejected["rule"].unique().tolist() if len(rejected) else ():
        aside = rejected[rejected["rule"] == name]
        counts[name] = len(aside)
        rows = aside[["date", "symbol", "reason"]].head(_EXAMPLES).to_dict(orient="records")
        examples[name] = [{str(key): str(value) for key, value in row.items()} for row in rows]
    for name, noticed in judged.noticed.items():
        if len(noticed):
            counts[name] = len(noticed)
            shown = raw.iloc[noticed[:_EXAMPLES]]
            examples[name] = [
                {"date": str(day)[:10], "symbol": str(symbol), "reason": f"{_WORDS[name]}: {quote}"}
                for day, symbol, quote in zip(
                    shown["date"], shown["symbol"], quoted(raw, noticed[:_EXAMPLES], judged.log_return), strict=True
                )
            ]
    away = {s: share for s, share in sorted(judged.away.items()) if share > quality.missing_sessions.max_share}
    counts["missing_sessions"] = len(away)
    examples["missing_sessions"] = [{"symbol": s, "reason": f"{share:.1%} missing"} for s, share in away.items()]
    alone = bars["symbol"].to_numpy()[np.isnan(bars["open"].to_numpy(dtype=float))]
    counts["ranges_known"] = len(alone)
    examples["ranges_known"] = [{"symbol": str(s), "reason": "close alone"} for s in alone[:_EXAMPLES]]
    return {
        name: Finding(counts[name], tuple(examples.get(name, ())[:_EXAMPLES]), judged.unknown.get(name, ""))
        for name in ON_BARS
    }


def _finish(kept: pd.DataFrame, log_return: np.ndarray) -> pd.DataFrame:
    """Order by session and symbol; add the return and the variance."""
    bars = kept.assign(log_return=log_return).sort_values(["date", "symbol"], kind="stable")
    o, h, low, c, returns = (bars[name].to_numpy(float) for name in (*_PRICES, "log_return"))
    return conform(bars.assign(daily_variance=daily_variance(o, h, low, c, returns)), PRICES_CLEAN)


def daily_variance(
    open_: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, log_return: np.ndarray
) -> np.ndarray:
    """Variance of one session in squared log return: overnight gap² + Garman-Klass; NaN without a return.

    Where open, high and low are not known it is the squared return: as large on average, and far noisier. The gap is
    what the total return leaves when the session's own move is taken out, so that a split or a dividend makes none.
    Garman & Klass, On the Estimation of Security Price Volatilities from Historical Data, Journal of Business 53
    (1980): ½ ln(H/L)² - (2 ln 2 - 1) ln(C/O)².

    >>> one = np.array([1.0])
    >>> daily_variance(one, one, one, one, np.log(np.array([1.01]))).round(8).tolist()
    [9.901e-05]
    """
    move = np.log(close / open_)
    gap = log_return - move
    garman_klass = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * move**2
    # A range narrower than the move (prices off by a last digit) must not make a variance negative.
    return np.where(np.isnan(open_), log_return**2, gap**2 + np.maximum(garman_klass, 0.0))


def quoted(raw: pd.DataFrame, rows: Sequence[int] | np.ndarray, log_return: np.ndarray | None = None) -> list[str]:
    """Each row's numbers as a person would look them up, its cells that are none, and its return where asked for."""
    part = raw.iloc[np.asarray(rows, dtype=int)]
    columns = [part[name].tolist() for name in (*_QUOTED, "unreadable")]
    found = []
    for *values, note in zip(*columns, strict=True):
        cells = [f"{name} {value:.12g}" for name, value in zip(_QUOTED, values, strict=True) if value == value]
        found.append(", ".join([*cells, *([note] if isinstance(note, str) else [])]))
    if log_return is None:
        return found
    returns = np.expm1(log_return[np.asarray(rows, dtype=int)]).tolist()
    return [
        text if value != value else f"{text}, return {value:+.1%}" for text, value in zip(found, returns, strict=True)
    ]


def row_digests(raw: pd.DataFrame, rows: Sequence[int] | np.ndarray) -> list[str]:
    """The digest of all that each row says, by which a person releases it: these very values, and no others.

    The session before is no part of it: what the source corrects there makes this row no other.
    """
    if not len(rows):
        return []
    part = raw.iloc[np.asarray(rows, dtype=int)]
    columns = []
    for column in (column for column in PRICES_RAW if not column.name.startswith("prev_")):
        values = part[column.name]
        texts = column.kind in ("date", "string")
        columns.append(
            [str(v)[:10] if column.kind == "date" else v if isinstance(v, str) else None for v in values]
            if texts
            else values.tolist()
        )
    return [hashlib.sha256(json_bytes(row)).hexdigest() for row in zip(*columns, strict=True)]
