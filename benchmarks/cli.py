"""Command line: how soon ``countersign`` answers, as a whole process."""

from __future__ import annotations

import sys
from typing import Final

from benchmarks.measure import ROOT, aim, interleaved, run_process, show, tool
from benchmarks.projects import bundled_project, make_sessions, temporary_folder

QUESTION: Final = "How soon does the command line answer?"
ROUNDS: Final = 9


def run() -> None:
    """Time ``--help``, ``status`` and ``show`` against an empty interpreter and the import of Dagster."""
    with temporary_folder() as folder:
        project = bundled_project(folder / "project")
        make_sessions(project, project.calendar.between(project.first_session, "2008-09-30"))
        home, command = str(project.home), tool("countersign")
        timings = interleaved(
            {
                "python -c pass": lambda: run_process([sys.executable, "-c", "pass"], ROOT),
                "import dagster": lambda: run_process([sys.executable, "-c", "import dagster"], ROOT),
                "import pandas": lambda: run_process([sys.executable, "-c", "import pandas"], ROOT),
                "countersign --help": lambda: run_process([command, "--help"], ROOT, COUNTERSIGN_HOME=home),
                "countersign status": lambda: run_process([command, "status"], ROOT, COUNTERSIGN_HOME=home),
                "countersign show": lambda: run_process([command, "show"], ROOT, COUNTERSIGN_HOME=home),
            },
            ROUNDS,
        )
    show(timings, "python -c pass", "whole process")
    for name in ("countersign --help", "countersign status", "countersign show"):
        aim(name, timings[name].fastest, 0.5, " s")
