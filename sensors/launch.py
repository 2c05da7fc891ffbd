"""Launch: runs from a shell, one after another, on the instance in ``DAGSTER_HOME``.

    python -m sensors.launch --from 2008-09-02 --to 2008-09-30
    python -m sensors.launch --session 2008-10-01

Bootstraps where no model is in service, then runs ``daily_job`` for each session that is not complete yet.
Belongs here: what ``make run`` does. Does not belong here: the work of a run (``assets``).
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

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
            f"{first} … {last}: weekends and holidays are no sessions, and earlier ones are history"
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
    # Dagster's console logger would print forty lines a session; the event log has them all the same.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    target = dg.build_reconstructable_job(
        "sensors.launch", "load_job", reconstructable_kwargs={"module": module, "job": job}
    )
    with dg.execute_job(target, instance=instance, tags=tags, run_config=quiet) as result:
        for event in result.all_events:
            if event.is_step_failure:
                failure = event.step_failure_data.user_failure_data
                why = failure.description if failure else event.step_failure_data.error_display_string
                say(f"{' of '.join([job, *tags.values()])} failed at {event.step_key}: {why}")
        return result.success


def load_job(module: str, job: str) -> dg.JobDefinition:
    """The job from the module's ``defs``; Dagster calls this in each process of a run."""
    definitions: dg.Definitions = importlib.import_module(module).defs
    return definitions.resolve_job_def(job)


def _summary(project: Project, session: str) -> str:
    text, _ = project.store.read_text("report", session)
    return text.splitlines()[2]


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2008-09-30, found {text!r}") from None


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sensors.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--session", type=_day, help="one session, YYYY-MM-DD")
    parser.add_argument("--from", type=_day, dest="first", help="first session")
    parser.add_argument("--to", type=_day, dest="last", help="last session")
    options = parser.parse_args(argv)
    first, last = options.session or options.first, options.session or options.last
    if not first or not last or (options.session and (options.first or options.last)):
        parser.error("name --session, or --from and --to")
    if first > last:
        parser.error(f"expected --from before --to, found {first} … {last}: exchange them")

    def say(line: str) -> None:
        print(line, flush=True)

    if not os.environ.get("DAGSTER_HOME"):
        parser.error("expected DAGSTER_HOME to name Dagster's folder, found it unset: use make run, which sets it")
    home = Path(os.environ.get("COUNTERSIGN_HOME") or Path.cwd()).resolve()
    try:
        now = datetime.now(UTC)
        project = open_project(home, now.date())
        if options.session:
            project.calendar.require_closed(options.session, now)
        with dg.DagsterInstance.get() as instance:
            if not launch(project, first, last, instance, "definitions", say):
                return 1
    except CountersignError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    done = project.calendar.between(first, last)[-1]
    text, stored = project.store.read_text("report", done)
    say(f"\n{text}")
    say(f"Report     {stored.location}")
    say(f"Artifacts  {project.store.root}")
    say(f"Next       make run SESSION={project.calendar.at(done, 1)}")
    say("           make ui               Dagster on http://127.0.0.1:3000, with these runs")
    say("           .venv/bin/countersign status")
    return 0


if __name__ == "__main__":
    sys.exit(main())
