"""Read: the window of sessions that features read, as JSON and as Parquet, and what writing one session costs.

Backs the advice on ``artifacts.format`` in ``config/pipeline.yaml``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.measure import interleaved, show
from benchmarks.projects import clean_tables, random_bars, temporary_folder
from countersign.features import LOOKBACK
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.storage.artifacts import ArtifactStore
from countersign.tables import PRICES_CLEAN

QUESTION: Final = "From how many symbols on does Parquet pay, against JSON?"
ROUNDS: Final = 7
_SYMBOLS: Final = (5, 100, 500, 1_000, 5_000)


def run() -> None:
    """Time reading 63 sessions, and writing one, in both formats."""
    for symbols in _SYMBOLS:
        with temporary_folder() as folder:
            sessions = np.datetime64("2008-01-01", "D") + np.arange(LOOKBACK)
            bars = clean_tables(random_bars(sessions, symbols), sessions)
            stores = {form: ArtifactStore(str(folder / form), form) for form in ("json", "parquet")}
            for store in stores.values():
                for session, table in bars.items():
                    store.write_table("prices_clean", session, table, PRICES_CLEAN, {})
            last = str(sessions[-1])
            reads = interleaved({n: partial(read_window, s, list(bars)) for n, s in stores.items()}, ROUNDS)
            writes = interleaved(
                {n: partial(s.write_table, "again", last, bars[last], PRICES_CLEAN, {}) for n, s in stores.items()},
                ROUNDS,
            )
            size = {name: Path(s.location("prices_clean", last, name)).stat().st_size for name, s in stores.items()}
        show(reads, "json", f"read {LOOKBACK} sessions of {symbols:,} symbols")
        show(writes, "json", f"write one session of {symbols:,} symbols")
        print(f"  size of one session: {size['json'] / 1e3:,.0f} kB json, {size['parquet'] / 1e3:,.0f} kB parquet")


def read_window(store: ArtifactStore, sessions: list[str]) -> Panel:
    """The panel that ``features`` of the last session reads."""
    import pandas as pd

    tables = [store.read_table("prices_clean", s, PRICES_CLEAN, PANEL_COLUMNS).frame for s in sessions]
    return Panel.from_bars(pd.concat(tables), np.array(sessions, dtype="datetime64[D]"))
