"""The command that runs sessions through Dagster.

Belongs here: arguments, the process in which it happens. Does not belong here: Dagster, which is no part of the domain:
``sensors.launch`` is started, as ``make run`` does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from countersign.cli_terminal import Day, Terminal


@click.command()
@click.option("--session", type=Day(), help="One session.")
@click.option("--from", "first", type=Day(), help="First date. Default: first_session of config/pipeline.yaml.")
@click.option("--to", "last", type=Day(), help="Last date. Default: the newest session that has closed.")
@click.option("--again", is_flag=True, help="Run what is complete, too: the source is asked anew.")
@click.pass_obj
def run(terminal: Terminal, session: str | None, first: str | None, last: str | None, again: bool) -> None:
    """Run the daily job through Dagster: one session, or a range, one after another; what is complete is left alone.

    Without a model in service it loads the history and trains the first one. Prints the last session's report; a line
    a session goes to standard error. Exit code 1 where a run failed.

    Dagster's records go to DAGSTER_HOME, or to .dagster in the project folder.

    Example: countersign run --from 2008-09-02 --to 2008-09-05
    """
    if session and (first or last):
        raise click.UsageError("expected --session, or --from and --to; found both")
    given = {"--session": session, "--from": first, "--to": last}
    arguments = [part for name, day in given.items() if day for part in (name, day)] + ["--again"] * again
    # What can be said of the settings is said at once, before Dagster is loaded.
    terminal.open_project()
    raise SystemExit(launch(terminal.home, terminal.environment, *arguments))


def launch(home: Path, environment: Mapping[str, str], *arguments: str) -> int:
    """Runs of the project in ``home``, in a process of their own; its exit code."""
    dagster_home = Path(environment.get("DAGSTER_HOME") or home / ".dagster").resolve()
    settings, shipped = dagster_home / "dagster.yaml", home / "config" / "dagster.yaml"
    dagster_home.mkdir(parents=True, exist_ok=True)
    if not settings.exists() and shipped.exists():
        shutil.copyfile(shipped, settings)
    return subprocess.run(
        [sys.executable, "-m", "sensors.launch", *arguments],
        cwd=Path(__file__).parents[1],
        env={**environment, "COUNTERSIGN_HOME": str(home), "DAGSTER_HOME": str(dagster_home)},
        check=False,
    ).returncode
