"""A process that runs real steps and kills itself at a named point of a write; ``test_crash_points`` drives it.

It imports everything once and forks a child for each request, a line of JSON:
``{"home": folder, "job": name of a job below, "kill": n}``. The child is killed (SIGKILL) at the n-th point that it
reaches, or runs to its end where n is 0. The answer is ``{"exit": code, "points": names of the points reached}``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from countersign.errors import GateError
from countersign.model import registry
from countersign.monitoring.latency import no_runs
from countersign.project import Project, open_project
from countersign.steps import gate as gate_steps
from countersign.steps import retrain as retrain_steps
from countersign.steps.metrics import metric_sessions
from countersign.steps.model import train_first_model
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.steps.reports import report_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.storage import files, journal

NOW = datetime(2013, 3, 4, 12, 0, tzinfo=UTC)
SESSION = "2008-09-02"
MATURED = "2008-09-09"
"""The session at which what came of ``SESSION`` is known."""


def run_session(project: Project) -> None:
    list(ingest_sessions(project, [SESSION], NOW))
    list(clean_sessions(project, [SESSION]))
    list(feature_sessions(project, [SESSION]))
    list(score_sessions(project, [SESSION], NOW))
    list(outcome_sessions(project, [SESSION]))
    list(drift_sessions(project, [SESSION]))
    list(metric_sessions(project, [SESSION], no_runs, NOW))
    list(report_sessions(project, [SESSION]))


def run_week(project: Project) -> None:
    week = project.calendar.between(SESSION, MATURED)
    list(ingest_sessions(project, week, NOW))
    list(clean_sessions(project, week))
    list(feature_sessions(project, week))
    list(score_sessions(project, week, NOW))


def decide(project: Project) -> None:
    """Submit what lies in the folder, signed."""
    statement, signature = json.loads((project.home / "signed.json").read_text())
    gate_steps.submit(project, statement, signature, NOW)


def repeated(step: Callable[[], object], done: str) -> None:
    """A step that may have been done already, and then is refused in the words ``done``."""
    try:
        step()
    except GateError as error:
        if done not in str(error):
            raise


JOBS: dict[str, Callable[[Project], object]] = {
    "history": lambda project: load_history(project, NOW),
    "model": lambda project: train_first_model(project, NOW),
    "session": run_session,
    "week": run_week,
    "submit": lambda project: repeated(lambda: decide(project), "is on record already"),
    "retrain": lambda project: repeated(
        lambda: retrain_steps.make_candidate(project, "", "", NOW), "expected someone to have asked for a retrain"
    ),
    "deploy": lambda project: repeated(lambda: gate_steps.put_into_service(project, NOW), "was deployed"),
    "outcomes": lambda project: list(outcome_sessions(project, [MATURED])),
}


def run(home: Path, job: str, kill: int, pipe: int) -> None:
    """Run ``job``, writing the name of each point to ``pipe`` as it is reached."""
    count = 0

    def reached(point: str) -> None:
        nonlocal count
        count += 1
        os.write(pipe, f"{point}\n".encode())
        if count == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in (files, journal, registry, gate_steps, retrain_steps):
        vars(module)["reached"] = reached
    JOBS[job](open_project(home, date(2013, 3, 4)))


def answer(home: Path, job: str, kill: int) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            run(home, job, kill, writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        points = pipe.read().splitlines()
    return {"exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "points": points}


if __name__ == "__main__":
    # The steps import these where they use them; here they are to be there before the fork.
    for late in ("yaml", "pyarrow.csv", "pyarrow.parquet", "pyarrow.compute", "sklearn.linear_model", "threadpoolctl"):
        importlib.import_module(late)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(answer(Path(request["home"]), request["job"], request["kill"])), flush=True)
