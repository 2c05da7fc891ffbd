"""Launch: runs from a shell, one after another, on the instance in ``DAGSTER_HOME``.

    python -m sensors.launch --from 2008-09-02 --to 2008-09-30
    python -m sensors.launch --session 2008-10-01

Bootstraps where no model is in service, then runs ``daily_job`` for each session that is not complete yet.
Belongs here: what ``make run`` does. Does not belong here: the work of a run (``assets``).
"""

import argparse
import importlib
import os
import shlex
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import dagster as dg

from countersign.errors import CountersignError, SessionError
from countersign.features import LOOKBACK
from countersign.gate.state import state_of
from countersign.project import Project, open_project
from countersign.steps.complete import missing_before, session_is_done
from countersign.steps.service import learned_by_all
from countersign.words import counted, spanned
from sensors.jobs import bootstrap_job, daily_job

LOCATION: Final = "countersign"
"""The code location's name in ``workspace.yaml``."""

Say = Callable[[str], None]


def launch(
    project: Project,
    first: str,
    last: str,
    now: datetime,
    instance: dg.DagsterInstance,
    module: str,
    say: Say,
    *,
    again: bool = False,
) -> bool:
    """Run every session from ``first`` to ``last`` that is closed and not complete; False where a run failed.

    What has a report that no model in force could make again is left as it is: a run could only fail.
    With ``again`` those that are complete, too: the source is asked anew. ``module`` is the one that holds the
    definitions; ``say`` takes a progress line.
    Raises ``SessionError`` where there is no session in between, and where sessions before them are missing: half of a
    run that cannot come to its end would be left.
    """
    daily = project.daily_sessions(now)
    sessions = [session for session in daily if first <= session <= last]
    if not sessions:
        raise SessionError(
            f"expected a session of {project.calendar.code} that has closed, from first_session "
            f"({project.first_session}) {'to ' + daily[-1] if daily else 'on'}; found none in {first} … {last}. Name "
            "others: make run FROM=… TO=…, or SESSION=…"
        )
    if missing := missing_before(project, sessions[0]):
        raise SessionError(
            f"expected the {LOOKBACK - 1} sessions before {sessions[0]}, which its features read, found no prices_clean"
            f" of {spanned(missing)}. Run them too: countersign run --from {missing[0]} --to {sessions[-1]}. What the"
            " source will never deliver, name in missing_sessions in config/pipeline.yaml"
        )
    if not state_of(project.journal.read()).deployments:
        say("bootstrap_job: load the history, train the first model, put it into service …")
        if not run_job(bootstrap_job.name, {}, instance, module, say):
            return False
    done = 0
    for number, session in enumerate(sessions, start=1):
        # Asked anew for each: what was just run again may be what this one was made from.
        if not again and session_is_done(project, session):
            done += 1
            continue
        if not again and project.store.has("report", session, "txt") and session <= learned_by_all(project):
            say(f"{session}  left as it was said: no model in force may score it again (see countersign status)")
            continue
        started = time.perf_counter()
        if not run_job(daily_job.name, {"dagster/partition": session}, instance, module, say):
            return False
        seconds = time.perf_counter() - started
        say(f"[{number:>3}/{len(sessions)}] {session}  {_summary(project, session)}  {seconds:.1f} s")
    if done:
        span = sessions[0] if len(sessions) == 1 else f"{sessions[0]} … {sessions[-1]}"
        say(
            f"{done} of {counted(len(sessions), 'session')} ({span}) complete already: not run again. To ask the "
            f"source anew: countersign run --again --from {sessions[0]} --to {sessions[-1]}"
        )
    return True


def run_job(job: str, tags: dict[str, str], instance: dg.DagsterInstance, module: str, say: Say) -> bool:
    """Run ``job`` of ``module`` to its end in this process; whether it succeeded. ``say`` is told of what failed."""
    # Dagster's console logger would print forty lines a session; the event log has them all the same.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    # The UI's overview and job pages list the runs of a code location by this tag, which only its daemon sets.
    shown = {".dagster/repository": f"__repository__@{LOCATION}"}
    target = dg.build_reconstructable_job(
        "sensors.launch", "load_job", reconstructable_kwargs={"module": module, "job": job}
    )
    with dg.execute_job(target, instance=instance, tags=tags | shown, run_config=quiet) as result:
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
    parser = argparse.ArgumentParser(
        prog="make run",
        usage="make run [FROM=DATE] [TO=DATE] [SESSION=DATE] [AGAIN=1]",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--session", type=_day, help="one session, YYYY-MM-DD")
    parser.add_argument("--from", type=_day, dest="first", help="first session")
    parser.add_argument("--to", type=_day, dest="last", help="last session")
    parser.add_argument("--again", action="store_true", help="what is complete, too: the source is asked anew")
    options = parser.parse_args(argv)
    if options.session and (options.first or options.last):
        parser.error("expected one SESSION, or FROM and TO; found both")

    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # Who reads has seen enough; all further lines go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if not os.environ.get("DAGSTER_HOME"):
        parser.error("expected DAGSTER_HOME to name Dagster's folder, found it unset: use make run, which sets it")
    home = Path(os.environ.get("COUNTERSIGN_HOME") or Path.cwd()).resolve()
    try:
        now = datetime.now(UTC)
        project = open_project(home, now.date())
        if options.session:
            project.calendar.require_closed(options.session, now)
        sessions = project.daily_sessions(now) or [project.first_session]
        first = options.session or options.first or sessions[0]
        last = options.session or options.last or sessions[-1]
        if first > last:
            raise SessionError(f"expected FROM before TO, found {first} … {last}: exchange them")
        with dg.DagsterInstance.get() as instance:
            if not launch(project, first, last, now, instance, "definitions", log, again=options.again):
                return 1
    except CountersignError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    done = [session for session in sessions if session <= last][-1]
    upcoming = [session for session in sessions if session > done][:1]
    text, stored = project.store.read_text("report", done)
    say(f"\n{text}")
    say(f"Report     {stored.location}")
    say(f"Artifacts  {project.store.root}")
    make, command = "make", ".venv/bin/countersign"
    if os.environ.get("COUNTERSIGN_HOME"):
        # Another folder than the checkout has to be named each time, wherever the next command is typed.
        folder, checkout = shlex.quote(str(home)), Path(__file__).parents[1]
        make = f"COUNTERSIGN_HOME={folder} make -C {shlex.quote(str(checkout))}"
        command = f"{shlex.quote(str(checkout / command))} --home {folder}"
    say(f"Next       {make} ui   # Dagster's pages with these runs")
    say(f"           {command} status")
    for session in upcoming:
        say(f"           {make} run SESSION={session}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
