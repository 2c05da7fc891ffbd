"""Range: a single run over a year of sessions, against a run for each.

The same range through the steps alone, without Dagster, says how much of the time is Countersign's own.
"""

from __future__ import annotations

from typing import Final

from benchmarks.measure import interleaved, show
from benchmarks.projects import bundled_project, dagster_home, make_sessions, materialize, temporary_folder

QUESTION: Final = "What does a session cost in a single run over 250 of them?"
ROUNDS: Final = 2
_SESSIONS: Final = 250


def run() -> None:
    """Time one range through Dagster and through the steps alone, and single sessions through Dagster."""
    with temporary_folder() as folder:
        project = bundled_project(folder / "project")
        sessions = project.calendar.between(project.first_session, "2009-12-31")[:_SESSIONS]
        home, year = project.home, f"{sessions[0]}...{sessions[-1]}"
        # An instance each, so that neither run looks through the other's events.
        range_home, single_home = dagster_home(folder / "range"), dagster_home(folder / "single")
        timings = interleaved(
            {
                "one run": lambda: materialize(home, range_home, "--partition-range", year),
                "steps alone": lambda: make_sessions(project, sessions),
                "one session": lambda: materialize(home, single_home, "--partition", sessions[-1]),
            },
            ROUNDS,
            warm_up=0,
        )
    show(timings, "one run", f"{_SESSIONS} sessions")
    one, steps, single = (timings[name] for name in ("one run", "steps alone", "one session"))
    print(
        f"  a session costs {one.fastest / _SESSIONS * 1e3:.0f} ms in the range, {single.fastest * 1e3:.0f} ms alone: "
        f"{single.ratio(one) * _SESSIONS:.0f} times as much"
    )
    print(f"  Countersign's own steps are {steps.ratio(one):.0%} of the range; the rest is Dagster and its event log")
