"""Launch: runs from a shell, one after another, on the instance in ``DAGSTER_HOME``.

    python -m sensors.launch --from 2008-09-02 --to 2008-09-30
    python -m sensors.launch --session 2008-10-01

Bootstraps where no model is in service, then runs ``daily_job`` for each session that is not complete yet.
Belongs here: what ``make run`` does. Does not belong here: the work of a run (``assets``).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from countersign.errors import CountersignError, SessionError
from countersign.project import Project, open_project
from countersign.steps.reports import session_is_done
from countersign.storage.journal import champion
from sensors.jobs import bootstrap_job, daily_job

Say = Callable[[str], None]


def launch(project: Project, first: str, last: str, instance: dg.DagsterInstance, module: str, say: Say) -> bool:
    """Run every session from ``first`` to ``last`` that is not complete; False where a run failed.

    ``module`` is the one that holds the definitions; ``say`` takes a progress line.
    Raises ``SessionError`` where there is no session in between.
    """
    sessions = project.calendar.between(max(first, project.first_session), last)
    if not sessions:
        raise SessionError(
            f"expected a session of {project.calendar.code} from {project.first_session} on, found none in "
            f"{first} … {last}: weekends and holidays are no sessions"
        )
    if champion(project.journal.read()) is None:
        say("bootstrap_job: load the history, train the first model, put it into service …")
        if not _run(bootstrap_job.name, {}, instance, module, say):
            return False
    done = [s for s in sessions if session_is_done(project, s)]
    if done:
        say(f"{len(done)} of {len(sessions)} sessions are complete already ({done[0]} … {done[-1]}): not run again")
    for number, session in enumerate(sessions, start=1):
        if session in done:
            continue
        started = time.perf_counter()
        if not _run(daily_job.name, {"dagster/partition": session}, instance, module, say):
            return False
        seconds = time.perf_counter() - started
        say(f"[{number:>3}/{len(sessions)}] {session}  {_summary(project, session)}  {seconds:.1f} s")
    return True


def _run(job: str, tags: dict[str, str], instance: dg.DagsterInstance, module: str, say: Say) -> bool:
    repository = ReconstructableRepository.for_module(module, "defs", working_directory=str(Path.cwd()))
    # Dagster's console logger would print forty lines a session; the event log has them all the same.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    target = repository.get_reconstructable_job(job)
    with dg.execute_job(target, instance=instance, tags=tags, run_config=quiet) as result:
        for event in result.all_events:
            if event.is_step_failure:
                error = event.step_failure_data.error_display_string
                say(f"{job} {tags.get('dagster/partition', '')} failed at {event.step_key}: {error.splitlines()[0]}")
        return result.success


def _summary(project: Project, session: str) -> str:
    text, _ = project.store.read_text("report", session)
    return text.splitlines()[2]


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sensors.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--session", help="one session, YYYY-MM-DD")
    parser.add_argument("--from", dest="first", help="first session")
    parser.add_argument("--to", dest="last", help="last session")
    options = parser.parse_args(argv)
    first, last = options.session or options.first, options.session or options.last
    if not first or not last:
        parser.error("name --session, or --from and --to")

    def say(line: str) -> None:
        print(line, flush=True)

    home = Path(os.environ.get("COUNTERSIGN_HOME") or Path.cwd()).resolve()
    try:
        project = open_project(home, datetime.now(UTC).date())
        if options.session:
            project.calendar.close(options.session)
        with dg.DagsterInstance.get() as instance:
            if not launch(project, first, last, instance, "definitions", say):
                return 1
    except CountersignError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    text, stored = project.store.read_text("report", project.calendar.between(first, last)[-1])
    say(f"\n{text.split(chr(10) + '-- artifact ')[0]}")
    say(f"Report     {stored.location}")
    say(f"Artifacts  {project.store.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
