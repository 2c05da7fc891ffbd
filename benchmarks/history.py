"""History: the same session with one year of sessions behind it, and with ten.

Both projects start with as long a bulk history and hold ``prices_clean`` of every daily session that follows it, up
to the last bundled session, which is the one measured.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import aim, interleaved, show
from benchmarks.projects import (
    BUNDLED_FIRST,
    BUNDLED_LAST,
    NOW,
    bundled_project,
    clean_tables,
    dagster_home,
    finish,
    make_sessions,
    materialize,
    temporary_folder,
)
from countersign.model.targets import HORIZON
from countersign.project import Project
from countersign.sessions import load_calendar
from countersign.steps import scoring
from countersign.tables import PRICES_CLEAN

QUESTION: Final = "Does a session cost more when ten years of sessions lie behind it instead of one?"
_BEHIND: Final = (250, 2_500)
_BULK: Final = 768
"""Sessions of bulk history before the first daily one: the most that the bundled prices leave to both."""
STEP_ROUNDS: Final = 21
PROCESS_ROUNDS: Final = 5


def run() -> None:
    """Time features and scores from artifacts, then the whole process, with either history."""
    with temporary_folder() as folder:
        projects = {f"{behind:,} sessions behind": project_with(folder / str(behind), behind) for behind in _BEHIND}
        short, long = projects
        steps = interleaved({name: partial(score_last, project) for name, project in projects.items()}, STEP_ROUNDS)
        dagster = dagster_home(folder / "dagster")
        processes = interleaved(
            {
                name: partial(materialize, project.home, dagster, "--partition", BUNDLED_LAST)
                for name, project in projects.items()
            },
            PROCESS_ROUNDS,
        )
    show(steps, short, "features and scores")
    aim("features and scores", steps[long].ratio(steps[short]), 1.1, " ×")
    show(processes, short, "whole process")
    aim("whole process", processes[long].ratio(processes[short]), 1.1, " ×")


def project_with(folder: Path, behind: int) -> Project:
    """The bundled project with ``prices_clean`` of ``behind`` daily sessions, and all of the last few and the last."""
    calendar = load_calendar("XNYS", BUNDLED_FIRST, BUNDLED_LAST, folder / ".cache" / "calendars")
    sessions = calendar.between(BUNDLED_FIRST, BUNDLED_LAST)
    daily = sessions[-behind - 1 :]
    settings = {
        "history": {"start": sessions[-len(daily) - _BULK]},
        "first_session": daily[0],
        "model": {"min_training_sessions": _BULK // 2},
    }
    project = bundled_project(folder, settings)
    bars = clean_tables(project.source.read(daily[0], daily[-1]), project.calendar.dates)
    for session, table in bars.items():
        project.store.write_table("prices_clean", session, table, PRICES_CLEAN, {})
    make_sessions(project, daily[-HORIZON - 1 :])
    return project


def score_last(project: Project) -> None:
    """Features and scores of the last session, from artifacts to artifacts."""
    finish(scoring.feature_sessions(project, [BUNDLED_LAST]), scoring.score_sessions(project, [BUNDLED_LAST], NOW))
