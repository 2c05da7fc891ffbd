"""Measure: variants timed side by side, and the table that shows them.

Belongs here: interleaved timing, running a process to its end, printing. Does not belong here: what is measured.

Machines are shared and noisy, so a number means little alone: variants take turns, and their ratio is what to read.
Whatever else the machine does can only make a run slower, so ratios and aims go by the fastest run of each (as the
documentation of Python's ``timeit`` advises); the median and the slowest stand beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

ROOT: Final = Path(__file__).parent.parent
"""The checkout."""

Variants = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Timing:
    """Seconds of one variant, a number a round."""

    seconds: tuple[float, ...]

    @property
    def fastest(self) -> float:
        return min(self.seconds)

    def ratio(self, base: Timing) -> float:
        """This over ``base``."""
        return self.fastest / base.fastest


def interleaved(variants: Variants, rounds: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time each variant once a round, in turn, after ``warm_up`` rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(-warm_up, rounds):
        for name, work in variants.items():
            started = time.perf_counter()
            work()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


def run_process(command: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Run ``command`` in ``folder`` to its end. A failure ends the benchmark, with all that the process printed."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nexit code {done.returncode}: {' '.join(map(str, command))}")


def tool(name: str) -> Path:
    """A command of the environment that runs this."""
    return Path(sys.executable).parent / name


def show(timings: Mapping[str, Timing], base: str, title: str) -> None:
    """Print one table: the fastest, median and slowest run of each variant, and its ratio to the variant ``base``."""
    width = max(len(title), *(len(name) for name in timings))
    print(f"\n  {title:<{width}}  {'fastest':>9} {'median':>9} {'slowest':>9}   ratio to {base}")
    for name, timing in timings.items():
        shown = " ".join(_seconds(s) for s in (timing.fastest, median(timing.seconds), max(timing.seconds)))
        print(f"  {name:<{width}}  {shown}   {_number(timing.ratio(timings[base]))}")


def aim(what: str, found: float, limit: float, unit: str = "") -> None:
    """Print what was aimed at, and whether it was met."""
    print(f"  aim: {what}: {'met' if found < limit else 'MISSED'} ({_number(found)}{unit}, aim below {limit:g}{unit})")


def _seconds(value: float) -> str:
    return f"{value:>7.2f} s" if value >= 1 else f"{value * 1e3:>6.1f} ms"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"
