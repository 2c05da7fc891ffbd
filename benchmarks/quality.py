"""Quality: 1.25 million rows judged by every rule, beside pandera's lazy validation of what it can say of them.

pandera runs in an environment of its own under ``.cache/``, made on the first run from the package index; without one
it is left out, which is said. Both have the tables in memory before the clock starts and take turns. It is asked for
every rule on single rows, and that no symbol has two rows a session; it has none of those that look at other rows.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.measure import ROOT, aim, interleaved, show
from benchmarks.projects import random_bars, temporary_folder
from benchmarks.psi import started
from countersign.prices.clean import judge
from countersign.prices.ingest import with_previous
from countersign.quality import load_quality

QUESTION: Final = "What does it cost to judge 500 symbols × 2,500 sessions by every rule, beside pandera?"
ROUNDS: Final = 5
_SYMBOLS: Final = 500
_SESSIONS: Final = 2_500

_PEAK: Final = """
import re, sys
from pathlib import Path
import numpy as np, pandas as pd
from countersign.prices.clean import judge
from countersign.quality import load_quality
folder, quality = Path(sys.argv[1]), load_quality(Path(sys.argv[2]))
raw, sessions = pd.read_parquet(folder / "clean.parquet"), np.load(folder / "sessions.npy")
judge(raw.iloc[:1000], sessions, quality)
def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: reading the table had one of its own
judge(raw, sessions, quality)
print(kilobytes("VmHWM") - before)
"""
"""In a process of its own; Linux alone says what its peak was."""


def run() -> None:
    """Time both on a clean table and on one with a bad row in a thousand; measure what judging adds to the memory."""
    days = np.arange("2000-01-01", "2012-01-01", dtype="datetime64[D]")
    sessions, quality = days[np.is_busday(days)][:_SESSIONS], load_quality(ROOT)
    bars = random_bars(sessions, _SYMBOLS)
    bars = bars.assign(adj_close=bars["close"], date=pd.to_datetime(bars["date"]).dt.strftime("%Y-%m-%d"))
    clean = with_previous(bars, sessions)
    dirty = clean.assign(high=clean["high"].where(np.arange(len(clean)) % 1000 != 0, clean["low"] / 2))
    tables = {"clean": clean, "dirty": dirty}
    variants: dict[str, Callable[[], object]] = {
        f"ours, {name}": partial(judge, table, sessions, quality) for name, table in tables.items()
    }
    with temporary_folder() as folder, ExitStack() as running:
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet")
        np.save(folder / "sessions.npy", sessions)
        try:
            ask = running.enter_context(started("pandera", folder))
            variants |= {f"pandera, {name}": partial(ask, name) for name in tables}
        except RuntimeError as error:
            print(f"  without pandera: {error}")
        timings = interleaved(variants, ROUNDS)
        peak = subprocess.run(
            [sys.executable, "-c", _PEAK, folder, ROOT], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
        )
    show(timings, "ours, clean", f"{len(clean):,} rows")
    for name in tables if len(timings) > len(tables) else ():
        times = timings[f"pandera, {name}"].ratio(timings[f"ours, {name}"])
        aim(f"{name}: every rule, share of pandera's time ({times:.1f} times as fast)", 100 / times, 50, " %")
    aim("memory that judging adds", int(peak.stdout) / 1024, 400, " MB")
