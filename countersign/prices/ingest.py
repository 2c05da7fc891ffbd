"""Ingest: one reply of the source → what is kept of it.

Belongs here: choosing a session's rows and finding each row's session before, in the same reply. Does not belong
here: reading (``sources``), judging (``clean``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from countersign.errors import SourceError
from countersign.prices.rules import PRICE_LIMITS
from countersign.words import listed

if TYPE_CHECKING:
    import pandas as pd


def with_previous(reply: pd.DataFrame, sessions: np.ndarray) -> pd.DataFrame:
    """``reply`` with ``prev_close`` and ``prev_adj_close``: the session before, as this same reply gave it.

    ``reply`` has the columns of ``PriceSource.read``, dates as text; ``sessions`` are datetime64[D], ascending.
    Both are null where the symbol has no bar on the session before, one whose closes are no prices, or several
    whose closes contradict each other. Taking them from one reply means that a later split or restatement never
    makes a false jump between two partitions.
    """
    day = reply["date"].to_numpy().astype("datetime64[D]")
    place = np.searchsorted(sessions, day)
    known = np.isin(day, sessions)
    numbered = reply.assign(place=np.where(known, place, -2))
    before = numbered.loc[known, ["symbol", "place", "close", "adj_close"]].drop_duplicates()
    before = before.drop_duplicates(["symbol", "place"], keep=False)
    adjusted = before["adj_close"].isna() | before["adj_close"].between(*PRICE_LIMITS)
    before = before[before["close"].between(*PRICE_LIMITS) & adjusted]
    before = before.assign(place=before["place"] + 1)
    before = before.rename(columns={"close": "prev_close", "adj_close": "prev_adj_close"})
    joined = numbered.merge(before, on=["symbol", "place"], how="left", validate="many_to_one")
    return joined.drop(columns="place")


def session_bars(
    reply: pd.DataFrame, session: str, sessions: np.ndarray, symbols: Sequence[str] | None, uri: str
) -> pd.DataFrame:
    """The rows of ``session`` (table ``PRICES_RAW``), of ``symbols`` where these are named, by date and symbol.

    Bars dated on days between the session before and this one belong to no session: they come along, so that cleaning
    rejects them with a reason. Raises ``SourceError`` where the reply has no bar of that session.
    """
    bars = with_previous(of_symbols(reply, symbols), sessions)
    previous = str(sessions[np.searchsorted(sessions, np.datetime64(session, "D")) - 1])
    bars = bars[(bars["date"] > previous) & (bars["date"] <= session)]
    if not (bars["date"] == session).any():
        raise SourceError(
            f"{uri}: expected bars of session {session}, found none"
            + (f" of the {len(symbols)} configured symbols" if symbols is not None else "")
            + f" (the reply has {len(reply)} rows"
            + (f", of {reply['date'].min()} … {reply['date'].max()}" if len(reply) else "")
            + "). Check that the source has delivered that session, then run it again"
        )
    return in_order(bars)


def in_order(bars: pd.DataFrame) -> pd.DataFrame:
    """``bars`` by date and symbol, whatever order their source gives them in."""
    # By all columns where a symbol has several rows: in which order a source gives these says nothing of them.
    by = ["date", "symbol", *bars.columns.drop(["date", "symbol"])]
    several = bars.duplicated(["date", "symbol"]).any()
    return bars.sort_values(by if several else by[:2], kind="stable").reset_index(drop=True)


def require_answers(silent: Sequence[str], symbols: Sequence[str], max_share: float, uri: str) -> None:
    """Raise ``SourceError`` where more than ``max_share`` of ``symbols``, asked for one by one, brought nothing."""
    if len(silent) > max_share * len(symbols):
        raise SourceError(
            f"{uri}: expected bars of {len(symbols)} symbols, found nothing of {len(silent)} ({', '.join(silent[:8])}"
            f"{' …' if len(silent) > 8 else ''}), more than symbols_complete.max_share of config/quality.yaml "
            f"({max_share:.0%}). Check these symbols and their source.spelling, then run again: that nothing came does "
            "not say that one was delisted"
        )


def require_symbols(today: Collection[str], before: Collection[str], session: str, max_share: float, uri: str) -> None:
    """Raise ``SourceError`` where more than ``max_share`` of the symbols that one reply has of the session ``before``
    bring nothing of ``session``: the delivery is not whole.
    """
    gone = sorted(set(before) - set(today))
    if len(gone) > max_share * len(before):
        raise SourceError(
            f"{uri}: expected bars of {session} of the {len(before)} symbols of the session before, found none of "
            f"{listed(gone)} ({len(gone) / len(before):.0%}; limit {max_share:.0%}, symbols_complete.max_share of "
            "config/quality.yaml). Check that the source has delivered all of it, then run it again: that nothing came "
            "does not say that one was delisted"
        )


def of_symbols(reply: pd.DataFrame, symbols: Sequence[str] | None) -> pd.DataFrame:
    """The rows of ``symbols``, or all of them where none are named."""
    return reply if symbols is None else reply[reply["symbol"].isin(list(symbols))]


def require_known(symbols: Sequence[str] | None, known: Sequence[str], uri: str) -> None:
    """Raise ``SourceError`` for a configured symbol that the source has never heard of."""
    from difflib import get_close_matches

    for symbol in symbols or ():
        if symbol not in known:
            near = get_close_matches(symbol.upper(), known, n=1, cutoff=0.5)
            has = f"it has {', '.join(known[:8])}{' …' if len(known) > 8 else ''}."
            hint = f"did you mean {near[0]}?" if near else has
            raise SourceError(f"symbols: {symbol!r} is not in {uri}; {hint} Correct the list in config/pipeline.yaml")
