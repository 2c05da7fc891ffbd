"""Panel: bars of many symbols as wide matrices, sessions × symbols.

Belongs here: the change from a long table to matrices. Does not belong here: any calculation on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


PANEL_COLUMNS: Final = ("date", "symbol", "log_return", "daily_variance", "volume")
"""The columns of ``prices_clean`` that a panel is made from: all that features and targets ever read."""


@dataclass(frozen=True)
class Panel:
    """Cleaned bars as matrices of shape (sessions, symbols), NaN where a symbol has no such number.

    ``sessions`` are dates at the exchange (datetime64[D]), ascending; ``symbols`` are sorted;
    ``log_return`` is the total log return since the session before; ``variance`` the daily variance;
    ``volume`` in units traded; ``present`` says where there is a bar at all.
    """

    sessions: np.ndarray
    symbols: tuple[str, ...]
    log_return: np.ndarray
    variance: np.ndarray
    volume: np.ndarray
    present: np.ndarray

    @classmethod
    def from_bars(cls, bars: pd.DataFrame, sessions: np.ndarray) -> Self:
        """Spread ``bars`` (``prices_clean``: date, symbol, log_return, daily_variance, volume) over ``sessions``.

        Every bar's date must be one of ``sessions`` (datetime64[D], ascending), which may hold more: a session
        without any bar is a row of NaN.
        """
        symbols, column = np.unique(bars["symbol"].to_numpy(dtype=str), return_inverse=True)
        row = np.searchsorted(sessions, bars["date"].to_numpy().astype("datetime64[D]"))
        shape = (len(sessions), len(symbols))

        def spread(name: str) -> np.ndarray:
            matrix = np.full(shape, np.nan)
            matrix[row, column] = bars[name].to_numpy(dtype=float)
            return matrix

        present = np.zeros(shape, dtype=bool)
        present[row, column] = True
        return cls(
            sessions, tuple(symbols.tolist()), spread("log_return"), spread("daily_variance"), spread("volume"), present
        )

    @classmethod
    def from_arrays(
        cls, log_return: np.ndarray, *, variance: np.ndarray, volume: np.ndarray, symbols: Sequence[str] = ()
    ) -> Self:
        """A panel over made-up consecutive sessions, for simulations and benchmarks."""
        count, width = log_return.shape
        sessions = np.datetime64("2000-01-01", "D") + np.arange(count)
        names = tuple(symbols) or tuple(f"S{i:04d}" for i in range(width))
        return cls(sessions, names, log_return, variance, volume, ~np.isnan(variance))

    def rows(self, rows: slice) -> Panel:
        """Some sessions, all symbols."""
        return Panel(
            self.sessions[rows],
            self.symbols,
            self.log_return[rows],
            self.variance[rows],
            self.volume[rows],
            self.present[rows],
        )
