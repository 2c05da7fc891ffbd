"""Completeness: what arrived for each session, counted: missing cells, rows, symbols, rejected rows.

Belongs here: counts over many sessions at once and the verdict on each of them. Does not belong here: rules on
single rows (``prices.clean``), what stops a session (``checks``). A share is a count over a count: its source is its
definition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from countersign.checks import Status
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import last_status
from countersign.tables import Column
from countersign.words import counted

if TYPE_CHECKING:
    import pandas as pd

MIN_SESSIONS: Final = 21
"""Sessions before, without which a usual number of rows or symbols is not known: a month."""


@dataclass(frozen=True)
class Arrivals:
    """Counts (integers) of what arrived, one row a session, oldest first.

    ``rows``, ``symbols`` (with a clean bar) and ``rejected`` rows have shape (sessions,); ``filled`` (readable cells)
    and ``unreadable`` (cells that hold something else than they should) have shape (sessions, columns). A cell that is
    neither is empty; both kinds are missing values.
    """

    columns: tuple[Column, ...]
    rows: np.ndarray
    symbols: np.ndarray
    rejected: np.ndarray
    filled: np.ndarray
    unreadable: np.ndarray

    def of(self, columns: Sequence[Column]) -> Arrivals:
        """The same, of the columns that have the names of ``columns``: those that a contract asks for, say."""
        wanted = {column.name for column in columns}
        kept = [i for i, column in enumerate(self.columns) if column.name in wanted]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            filled=self.filled[:, kept],
            unreadable=self.unreadable[:, kept],
        )


def arrived_cells(raw: pd.DataFrame, columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """Which cells of ``raw`` (table ``PRICES_RAW``) are readable, and which unreadable: truth values, rows × columns.

    >>> import pandas as pd
    >>> raw = pd.DataFrame({"close": [1.0, None, None], "unreadable": [None, "close='x'", "adj_close='y'"]})
    >>> filled, unreadable = arrived_cells(raw, [Column("close", "number", "price", "")])
    >>> filled.ravel().tolist(), unreadable.ravel().tolist()
    ([True, False, False], [False, True, False])
    """
    names = [column.name for column in columns]
    filled = (raw[names].notna() & (raw[names] != "")).to_numpy()
    unreadable = np.zeros(filled.shape, dtype=bool)
    noted = np.flatnonzero(raw["unreadable"].notna())
    notes = raw["unreadable"].iloc[noted]
    for i, name in enumerate(names):
        unreadable[noted, i] = notes.str.contains(rf"(?:^|\s){name}=").to_numpy(dtype=bool)
    return filled, unreadable & ~filled


def count_cells(session: np.ndarray, cells: np.ndarray, sessions: int) -> np.ndarray:
    """How many of ``cells`` (truth values, rows × columns) hold, by session and column: (sessions, columns).

    ``session`` numbers the session of each row.

    >>> count_cells(np.array([0, 0, 1]), np.array([[True, False], [True, True], [False, False]]), 2).tolist()
    [[2, 1], [0, 0]]
    """
    counts = np.zeros((sessions, cells.shape[1]), dtype=np.int64)
    for i, column in enumerate(cells.T):
        counts[:, i] = np.bincount(session[column], minlength=sessions)
    return counts


def column_null_shares(arrivals: Arrivals) -> np.ndarray:
    """Share of the cells without a readable value, (sessions, columns); NaN for a session without rows."""
    rows = np.broadcast_to(arrivals.rows[:, None], arrivals.filled.shape)
    return _share(rows - arrivals.filled, rows)


def null_shares(arrivals: Arrivals) -> np.ndarray:
    """The same over all columns, (sessions,)."""
    cells = arrivals.rows * len(arrivals.columns)
    return _share(cells - arrivals.filled.sum(axis=1), cells)


def rejected_shares(arrivals: Arrivals) -> np.ndarray:
    """Share of the rows that broke a rule, (sessions,); NaN for a session without rows."""
    return _share(arrivals.rejected, arrivals.rows)


def usual_counts(counts: np.ndarray, window: int) -> np.ndarray:
    """Median of the ``window`` sessions before each, (sessions,); NaN where fewer than ``MIN_SESSIONS`` lie before.

    The median, so that neither a session that lacks half its rows nor one that came twice moves it.

    >>> usual_counts(np.array([4] * 21 + [9, 4]), 63)[-3:].tolist()
    [nan, 4.0, 4.0]
    """
    from bottleneck import nanmedian

    padded = np.concatenate([np.full(window, np.nan), counts])
    windows = sliding_window_view(padded, window)[: len(counts)]
    usual = np.full(len(counts), np.nan)
    usual[MIN_SESSIONS:] = nanmedian(windows[MIN_SESSIONS:], axis=1)
    return usual


def completeness_verdicts(
    arrivals: Arrivals,
    *,
    max_null_share: float,
    max_column_null_share: float,
    max_rejected_share: float,
    max_drop: float,
    window: int,
) -> dict[str, np.ndarray]:
    """ "pass", "fail" or "insufficient" of each session, (sessions,), by measure.

    Insufficient: a share of nothing, or of counts that contradict each other; a count without a usual one.
    """
    found = {}
    for measure, share, limit in (
        ("null_share", null_shares(arrivals), max_null_share),
        ("column_null_share", column_null_shares(arrivals).max(axis=1, initial=-np.inf), max_column_null_share),
        ("rejected_share", rejected_shares(arrivals), max_rejected_share),
    ):
        found[measure] = _judged(~((share >= 0) & (share <= 1)), share > limit)
    for measure, counts in (("rows", arrivals.rows), ("symbols", arrivals.symbols)):
        usual = usual_counts(counts, window)
        found[measure] = _judged(np.isnan(usual), counts < (1 - max_drop) * usual)
    return found


def _judged(unknown: np.ndarray, fails: np.ndarray) -> np.ndarray:
    return np.select([unknown, fails], ["insufficient", "fail"], "pass")


def completeness_readings(
    arrivals: Arrivals,
    *,
    max_null_share: float,
    max_column_null_share: float,
    max_rejected_share: float,
    max_drop: float,
    window: int,
) -> tuple[Reading, ...]:
    """The last session's null share overall and of its worst column, rejected share, rows and symbols, judged."""
    verdicts = completeness_verdicts(
        arrivals,
        max_null_share=max_null_share,
        max_column_null_share=max_column_null_share,
        max_rejected_share=max_rejected_share,
        max_drop=max_drop,
        window=window,
    )
    if not len(arrivals.rows):
        return tuple(_insufficient(measure, "there is no session to count") for measure in verdicts)
    status = {measure: last_status(judged) for measure, judged in verdicts.items()}
    rows = int(arrivals.rows[-1])
    return (
        _null_reading(status["null_share"], arrivals, rows, max_null_share),
        _column_reading(status["column_null_share"], arrivals, rows, max_column_null_share),
        _share_reading(
            "rejected_share",
            status["rejected_share"],
            float(rejected_shares(arrivals)[-1]),
            max_rejected_share,
            f"{arrivals.rejected[-1]} of {rows} rows rejected",
            rows,
        ),
        _count_reading("rows", status["rows"], arrivals.rows, max_drop, window),
        _count_reading("symbols", status["symbols"], arrivals.symbols, max_drop, window),
    )


def _null_reading(status: Status, arrivals: Arrivals, rows: int, limit: float) -> Reading:
    cells = rows * len(arrivals.columns)
    said = f"{cells - arrivals.filled[-1].sum()} of {cells} cells missing"
    return _share_reading("null_share", status, float(null_shares(arrivals)[-1]), limit, said, cells)


def _column_reading(status: Status, arrivals: Arrivals, rows: int, limit: float) -> Reading:
    shares = column_null_shares(arrivals)[-1]
    worst = int(np.argmax(shares)) if len(shares) else 0
    over = [f"{arrivals.columns[i].name} {shares[i]:.1%}" for i in np.flatnonzero(shares > limit)]
    said = f"too many cells missing in {', '.join(over)}" if over else f"no cell missing in {len(shares)} columns"
    if not over and shares.any():
        said = f"most cells are missing in {arrivals.columns[worst].name}"
    share = float(shares[worst]) if len(shares) else math.nan
    return _share_reading("column_null_share", status, share, limit, said, rows)


def _share_reading(measure: str, status: Status, share: float, limit: float, said: str, observations: int) -> Reading:
    if math.isnan(share):
        return _insufficient(measure, "nothing arrived of which a share could be taken", limit)
    if status == "insufficient":
        return _insufficient(measure, f"{said}: these counts contradict each other", limit)
    return Reading(
        "data", measure, status, share, f"{said} ({share:.1%}; limit {limit:.1%})", limit, observations=observations
    )


def _count_reading(measure: str, status: Status, counts: np.ndarray, max_drop: float, window: int) -> Reading:
    count, usual = int(counts[-1]), float(usual_counts(counts, window)[-1])
    before = min(len(counts) - 1, window)
    found = counted(count, measure.removesuffix("s"))
    if status == "insufficient":
        sentence = (
            f"{found}; what is usual takes {MIN_SESSIONS} sessions before it to say, there "
            f"{'is' if before == 1 else 'are'} {before}"
        )
        return Reading("data", measure, status, count, sentence, observations=before)
    least = (1 - max_drop) * usual
    sentence = f"{found}; usual: {usual:g} (median of {before} sessions before), least: {least:g}"
    return Reading("data", measure, status, count, sentence, least, usual, before)


def _insufficient(measure: str, sentence: str, limit: float = math.nan) -> Reading:
    return Reading("data", measure, "insufficient", math.nan, sentence, limit)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part`` / ``whole``, NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
