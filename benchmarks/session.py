"""Session: what one session costs as a whole process, and how much of that is Dagster's own.

Beside it runs an empty twin: a generated module whose assets have the same names, partitions, dependencies and number
of checks, and do nothing. What the twin needs, any Dagster project needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import ROOT, aim, interleaved, run_process, show
from benchmarks.projects import bundled_project, dagster_home, make_sessions, materialize, temporary_folder

QUESTION: Final = "How long does one session take, from the shell to the report, beside Dagster's own import?"
ROUNDS: Final = 5
_BEHIND: Final = 63
"""Sessions already there, so that features read a whole window of session files."""


def run() -> None:
    """Time a session against the import of Dagster, the import of pandas and the empty twin."""
    with temporary_folder() as folder:
        project = bundled_project(folder / "project")
        sessions = project.calendar.between(project.first_session, "2008-12-31")[: _BEHIND + 1]
        make_sessions(project, sessions[:-1])
        (folder / "empty_twin.py").write_text(empty_twin(project.home), encoding="utf-8")
        ours, twins = dagster_home(folder / "dagster"), dagster_home(folder / "dagster_of_twin")

        partition = ("--partition", sessions[-1])
        timings = interleaved(
            {
                "import dagster": lambda: run_process([sys.executable, "-c", "import dagster"], ROOT),
                "import pandas": lambda: run_process([sys.executable, "-c", "import pandas"], ROOT),
                "empty twin": lambda: materialize(project.home, twins, *partition, module="empty_twin", folder=folder),
                "session": lambda: materialize(project.home, ours, *partition),
            },
            ROUNDS,
        )
    show(timings, "import dagster", f"whole process, {sessions[-1]}")
    session, twin, imported = timings["session"], timings["empty twin"], timings["import dagster"]
    print(f"  a session is {session.ratio(twin):.2f} × its empty twin, {session.fastest - twin.fastest:.2f} s more")
    aim("session over `import dagster`", session.ratio(imported), 3, " ×")
    if twin.ratio(imported) >= 3:
        print(f"  out of reach with this Dagster: even assets that do nothing take {twin.ratio(imported):.2f} ×")


def empty_twin(home: Path) -> str:
    """Source of a module with the daily assets of the project in ``home``, emptied."""
    import dagster as dg

    from definitions import build_definitions
    from sensors.jobs import DAILY_ASSETS

    graph = build_definitions(home).get_repository_def().asset_graph
    nodes = [graph.get(dg.AssetKey(name)) for name in DAILY_ASSETS]
    partitions = nodes[0].partitions_def
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
    exclusions = [
        repr(day) if isinstance(day, str) else f"datetime.fromtimestamp({day.timestamp!r}, zone)"
        for day in partitions.exclusions or ()
    ]
    lines = [
        "from datetime import datetime",
        "from zoneinfo import ZoneInfo",
        "import dagster as dg",
        f"zone = ZoneInfo({partitions.timezone!r})",
        "sessions = dg.TimeWindowPartitionsDefinition(",
        f"    start=datetime.fromtimestamp({partitions.start.timestamp()!r}, zone), fmt={partitions.fmt!r},",
        f"    cron_schedule={partitions.cron_schedule!r}, timezone={partitions.timezone!r},",
        f"    end_offset={partitions.end_offset}, exclusions=[{', '.join(exclusions)}],",
        ")",
    ]
    for node in nodes:
        parents = [key.to_user_string() for key in node.parent_keys if key.to_user_string() in DAILY_ASSETS]
        checks = sorted(key.name for key in node.check_keys)
        name = node.key.to_user_string()
        lines += [
            f"@dg.asset(deps={parents!r}, partitions_def=sessions, tags={{'daily': ''}},",
            f"    check_specs=[dg.AssetCheckSpec(name, asset={name!r}) for name in {checks!r}])",
            f"def {name}():",
            f"    checks = [dg.AssetCheckResult(passed=True, check_name=name) for name in {checks!r}]",
            "    return dg.MaterializeResult(check_results=checks)",
        ]
    lines.append(f"defs = dg.Definitions([{', '.join(DAILY_ASSETS)}], executor=dg.in_process_executor)")
    return "\n".join(lines) + "\n"
