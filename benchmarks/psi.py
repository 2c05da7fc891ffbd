"""PSI: drift of 10 features, a million rows against 100,000, beside the libraries that are used for it.

Each library runs in an environment of its own under ``.cache/``, made on the first run from the package index; without
one it is left out, which is said. All have their tables in memory before the clock starts and take turns. Theirs are
timed from here: the pipe that tells them to start adds about 0.1 ms.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.environments import installed, last_line
from benchmarks.measure import ROOT, aim, interleaved, show
from benchmarks.projects import temporary_folder
from countersign.model.reference import reference_bins
from countersign.monitoring.drift import DriftReference, measure_drift

QUESTION: Final = "What does drift of 10 features cost, a million rows against 100,000, beside Evidently and NannyML?"
ROUNDS: Final = 5
_FEATURES: Final = 10
_ROWS: Final = {"reference": 1_000_000, "current": 100_000}
_ROWS_A_SESSION: Final = 2_000


def run() -> None:
    """Time ours and each rival's, with the reference's work and without it."""
    rng = np.random.default_rng(0)
    tables = {
        name: rng.normal(shift, 1, (_FEATURES, rows))
        for (name, rows), shift in zip(_ROWS.items(), (0, 0.1), strict=True)
    }
    frozen = reference(tables["reference"])
    variants: dict[str, Callable[[], object]] = {
        "ours, current": lambda: drift(frozen, tables["current"]),
        "ours, both": lambda: drift(reference(tables["reference"]), tables["current"]),
    }
    with temporary_folder() as folder, ExitStack() as running:
        for name, table in tables.items():
            np.save(folder / f"{name}.npy", table)
        for rival, works in (("evidently", ("both",)), ("nannyml", ("current", "both"))):
            try:
                ask = running.enter_context(started(rival, folder))
            except RuntimeError as error:
                print(f"  without {rival}: {error}")
                continue
            variants |= {f"{rival}, {work}": partial(ask, work) for work in works}
        timings = interleaved(variants, ROUNDS)
    show(timings, "ours, current", "current alone, or both tables")
    for theirs, ours, what in (
        ("evidently, both", "ours, current", "a day's drift, share of Evidently's time"),
        ("evidently, both", "ours, both", "both tables, share of Evidently's time"),
        ("nannyml, current", "ours, current", "a day's drift, share of NannyML's time"),
        ("nannyml, both", "ours, both", "both tables, share of NannyML's time"),
    ):
        if theirs in timings:
            times, share = timings[theirs].ratio(timings[ours]), 100 * timings[ours].ratio(timings[theirs])
            aim(f"{what} ({times:.0f} times as fast)", share, 2, " %")


def reference(values: np.ndarray) -> DriftReference:
    """What training freezes of (features, rows): edges, counts and design effects."""
    session = np.arange(values.shape[1]) // _ROWS_A_SESSION
    bins: dict[str, Any] = {f"x{row}": reference_bins(column, session) for row, column in enumerate(values)}
    return DriftReference.from_dict({"features": bins, "scores": {}, "targets": {}})


def drift(frozen: DriftReference, values: np.ndarray) -> float:
    """The daily work on (features, rows): counts by session, PSI, p values, verdict. The last PSI of the first one."""
    session = np.arange(values.shape[1]) // _ROWS_A_SESSION
    sessions = int(session[-1]) + 1
    counts = np.stack(
        [frozen.count(name, column, session, sessions) for name, column in zip(frozen.subjects, values, strict=True)]
    )
    found = measure_drift(counts, frozen, psi=0.2, significance=0.001, sessions_in_a_row=3, window_sessions=63)
    return float(found.index[0, -1])


@contextmanager
def started(rival: str, folder: Path) -> Iterator[Callable[[str], None]]:
    """A process of ``rival`` that has the tables of ``folder`` in memory: call it with the work to be done.

    Raises ``RuntimeError`` where the library cannot be installed or does not start.
    """
    python = installed(rival) / "python"
    errors = folder / f"{rival}.log"
    with (
        errors.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [python, ROOT / "benchmarks" / "rival.py", rival, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        asked, answers = process.stdin, process.stdout

        def wait(answer: str) -> None:
            if answers.readline().strip() != answer:
                raise RuntimeError(f"it stopped ({last_line(errors.read_text(encoding='utf-8'))})")

        def ask(work: str) -> None:
            print(work, file=asked, flush=True)
            wait("done")

        wait("ready")
        yield ask
