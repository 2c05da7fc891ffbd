"""Restatements: what a source says of a session now that it said otherwise before.

Belongs here: the differences between two versions of ``prices_raw``, or of the history. Does not belong here: keeping
them (``steps``), the verdict (``checks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.tables import DATE, PRICES_RAW, RESTATEMENTS, SYMBOL, conform, empty_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_FIELDS: Final = tuple(c.name for c in PRICES_RAW if c.kind == "number")
_TEXT: Final = "unreadable"


def restated_values(old: pd.DataFrame, new: pd.DataFrame, version: str) -> pd.DataFrame:
    """Every cell that differs (table ``RESTATEMENTS``), by date, symbol and each column that both have.

    Of cells that are no numbers there is one line a row, ``unreadable``, without an old and a new number. ``version``
    is the digest of ``old``. A bar that is there in one version alone differs in every number that it has. Of several
    rows of one symbol and session, the first is compared with the first, and so on.
    """
    import pandas as pd

    sides = [_keyed(table) for table in (old, new)]
    before, after = sides[0].align(sides[1], join="outer", axis=0)
    parts = []
    for name in (name for name in (*_FIELDS, _TEXT) if name in before and name in after):
        if name == _TEXT:
            differ = before[name].fillna("").to_numpy() != after[name].fillna("").to_numpy()
            was = now = np.full(len(before), np.nan)
        else:
            was, now = before[name].to_numpy(dtype=float), after[name].to_numpy(dtype=float)
            differ = (was != now) & ~(np.isnan(was) & np.isnan(now))
        rows = np.flatnonzero(differ)
        keys = before.index[rows]
        parts.append(
            pd.DataFrame(
                {
                    "date": keys.get_level_values(0),
                    "symbol": keys.get_level_values(1),
                    "field": name,
                    "old": was[rows],
                    "new": now[rows],
                    "version": version,
                }
            )
        )
    found = pd.concat([part for part in parts if len(part)]) if any(map(len, parts)) else empty_table(RESTATEMENTS)
    return conform(found.sort_values(["date", "symbol"], kind="stable"), RESTATEMENTS)


def comparable(
    old: pd.DataFrame, new: pd.DataFrame, aside: Sequence[pd.DataFrame], symbols: Sequence[str] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bars of two histories (tables ``PRICES_CLEAN``) that differ though both could say the same.

    They are of days that both reach. What people or rules changed is no restatement: a symbol that was not asked for
    before, or no longer is (``symbols``, where there is a list), and a bar that either has set ``aside`` (tables
    ``PRICES_REJECTED``).
    """
    import pandas as pd

    columns = [DATE.name, SYMBOL.name, *(name for name in _FIELDS if name in old and name in new)]
    both = pd.concat([old[columns], new[columns]], keys=["old", "new"]).drop_duplicates(keep=False)
    first, last = max(old["date"].min(), new["date"].min()), min(old["date"].max(), new["date"].max())
    both = both[both["date"].between(first, last) & both["symbol"].isin(old["symbol"].unique())]
    if symbols is not None:
        both = both[both["symbol"].isin(symbols)]
    bars = pd.MultiIndex.from_arrays([both["date"].astype(str).str[:10], both["symbol"]])
    both = both[~bars.isin([bar for table in aside for bar in zip(table["date"], table["symbol"], strict=True)])]
    was = both.index.get_level_values(0) == "old"
    return both[was].droplevel(0), both[~was].droplevel(0)


def logged(log: pd.DataFrame, found: pd.DataFrame, version: str) -> pd.DataFrame:
    """``log`` with ``found`` behind it. What a run that did not come to its end logged of ``version`` is replaced."""
    import pandas as pd

    # Only the last entries can be unfinished: had they been finished, that version would no longer be the stored one.
    ends = np.flatnonzero(log["version"].to_numpy() != version)
    return conform(pd.concat([log.iloc[: ends[-1] + 1 if len(ends) else 0], found]), RESTATEMENTS)


def since_first(log: pd.DataFrame) -> pd.DataFrame:
    """One line for each cell of ``log``: what was said of it first, and last; none where these are the same."""
    cell = ["date", "symbol", "field"]
    last = log.drop_duplicates(cell, keep="last").set_index(cell)["new"]
    first = log.drop_duplicates(cell).set_index(cell)
    now = last.reindex(first.index)
    is_back = (first["old"] == now) | (first["old"].isna() & now.isna())
    return first.assign(new=now)[~is_back].reset_index()


def close_changes(found: pd.DataFrame) -> np.ndarray:
    """Relative change of each restated close, by row; infinite where it came or went, 0 for other columns."""
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.abs(found["new"].to_numpy(dtype=float) / found["old"].to_numpy(dtype=float) - 1)
    change[np.isnan(change)] = np.inf
    return np.where(found["field"].to_numpy() == "close", change, 0.0)


def change_in_words(changes: np.ndarray) -> str:
    """What ``close_changes`` come to.

    >>> change_in_words(np.array([0.0, 0.021]))
    'closes by up to 2.1%'
    """
    if not changes.any():
        return "no close among them"
    return "with bars that came or went" if np.isinf(changes).any() else f"closes by up to {changes.max():.1%}"


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    # A date as text, and as one that was read back, is the same day.
    day, symbol = table["date"].astype(str).str[:10], table["symbol"].fillna("").astype(str)
    number = table.groupby([day, symbol]).cumcount()
    return table.drop(columns=["date", "symbol"]).set_axis([day, symbol, number], axis=0)
