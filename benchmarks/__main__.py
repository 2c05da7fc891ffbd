"""Benchmarks: ``python -m benchmarks`` answers every question, ``python -m benchmarks NAME`` one of them.

Belongs here: the list of questions. Does not belong here: how each is measured, one module a question.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

QUESTIONS: Final = ("session", "compute", "history", "range", "read", "cli", "psi", "drift", "quality", "serving")
"""Modules of this package, in the order in which they run: each has ``QUESTION`` and ``run()``."""


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code. An aim that is missed is printed, and is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", help=f"questions to answer: {', '.join(QUESTIONS)}; all where left out")
    parser.add_argument("--list", action="store_true", help="list the questions")
    options = parser.parse_args(argv)
    unknown = [name for name in options.name if name not in QUESTIONS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    chosen = {name: importlib.import_module(f"benchmarks.{name}") for name in options.name or QUESTIONS}
    if options.list:
        for name, module in chosen.items():
            print(f"{name:<8}  {module.QUESTION}")
        return 0
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f}), "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("dagster", "pandas", "numpy"))
    )
    for name, module in chosen.items():
        started = time.perf_counter()
        print(f"\n{name}: {module.QUESTION}", flush=True)
        module.run()
        print(f"  ({time.perf_counter() - started:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
