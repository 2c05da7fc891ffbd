"""Alert sensors: what is wrong with runs, sensors and sessions, telling people, and the signs of life of a good run.

Belongs here: reading Dagster's own records. Does not belong here: what opens or ends an alert
(``countersign.monitoring.alerts``); checks, which their own run puts on record (``assets.results``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg

from countersign.checks import Status
from countersign.errors import CountersignError
from countersign.monitoring.alerts import CHANNEL, WAITING, Verdict, day_of, gone, open_ids
from countersign.sessions import SessionCalendar
from countersign.steps import alerts as steps
from countersign.steps.gate import waiting
from resources import AlertResource, ClockResource, ProjectResource

_KINDS: Final = ("run", "sensor", "schedule", "session", "push", CHANNEL, WAITING)
"""What can go away for good, and its alerts with it."""

_ENDED: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_NEWEST_RUNS: Final = 300
"""Of each job; the alert of one that is older ends with it."""
_LONGEST_CAUSE: Final = 600
_SILENT_SECONDS: Final = 600
"""A sensor that is on and was not evaluated for so long, and ten times its interval, is silent."""


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Every minute: failed runs, failing or silent sensors, sessions that were not scored in time and candidates "
        "that wait for a signature go on record in alerts.jsonl, beside the checks that failed; people are told at the "
        "URLs in COUNTERSIGN_ALERT_URLS."
    ),
)
def alert_sensor(
    context: dg.SensorEvaluationContext, project: ProjectResource, clock: ClockResource, alert_channels: AlertResource
) -> dg.SkipReason:
    """Notes what is wrong and tells people; starts nothing."""
    now = clock.now()
    opened, channels = project.open(now), alert_channels.channels()
    repository = context.repository_def
    assert repository is not None, "a sensor of a code location has its repository"
    jobs = {
        job.name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        for job in repository.get_all_jobs()
    }
    intervals = {sensor.name: sensor.minimum_interval_seconds or 30 for sensor in repository.sensor_defs}
    verdicts: list[Verdict] = []
    # One that cannot be looked at, a broken journal say, is the worst of news: the others must not fall silent with it.
    looked_at: dict[str, Callable[[], Iterable[Verdict]]] = {
        "sessions": lambda: steps.scored_in_time(opened, now),
        "restatements": lambda: steps.restatements_over(opened, now),
        "sign-offs": lambda: waiting(opened, now),
        "runs": lambda: run_verdicts(context.instance, jobs, opened.calendar, now),
        "sensors": lambda: instigator_verdicts(
            context.instance, intervals, now, awake_since=_awake_since(context, now)
        ),
    }
    for name, look in looked_at.items():
        problem = ""
        try:
            verdicts += look()
        except CountersignError as error:
            problem = f"nothing can be said of {name}: {error}"
        sentence = problem or f"{name} can be looked at"
        status: Status = "fail" if problem else "pass"
        verdicts.append(Verdict("look", name, "system", status, "error", day_of(now), sentence))
    there = [
        *(verdict.key for verdict in verdicts),
        *(f"{CHANNEL}:{channel.name}" for channel in channels),
        *(f"push:{receiver}" for receiver, where in opened.config.push if where),
    ]
    steps.note(opened, [*verdicts, *gone(opened.alerts.last(), _KINDS, there, day_of(now))], now)
    said = steps.deliver(opened, channels, now)
    still = len(open_ids(opened.alerts.last()))
    words = "; ".join(said) if said else "nothing new to tell"
    return dg.SkipReason(f"{still} {'alert is' if still == 1 else 'alerts are'} open (countersign status); {words}")


def run_verdicts(
    instance: dg.DagsterInstance, jobs: Mapping[str, Collection[str]], calendar: SessionCalendar, now: datetime
) -> list[Verdict]:
    """A fail for each of the newest runs of ``jobs`` that failed or was cancelled, until it is over.

    It is over once later runs have succeeded for each of its sessions with the asset that failed, whatever their job:
    ``jobs`` has the assets of each.
    """
    found: dict[str, Verdict] = {}
    succeeded: dict[str, set[str]] = {}
    records = [
        record
        for job in jobs
        for record in instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_ENDED), limit=_NEWEST_RUNS)
    ]
    for record in sorted(
        records, key=lambda record: record.end_time or record.create_timestamp.timestamp(), reverse=True
    ):
        run = record.dagster_run
        first, last = _span(run.tags)
        sessions = set(calendar.between(first, last)) if first != last else {first}
        if run.status == dg.DagsterRunStatus.SUCCESS:
            chosen = (
                {key.to_user_string() for key in run.asset_selection} if run.asset_selection else jobs[run.job_name]
            )
            for asset in chosen:
                succeeded.setdefault(asset, set()).update(sessions)
            continue
        name = " of ".join(filter(None, [run.job_name, first if first == last else f"{first} … {last}"]))
        name = name.replace("__ASSET_JOB", "materialization by hand")
        asset, cause = _cause(instance, run)
        # Newest first: that one speaks for its sessions.
        if name in found:
            continue
        whole = [asset] if asset else sorted(jobs[run.job_name])
        over = all(sessions <= succeeded.get(one, set()) for one in whole)
        found[name] = Verdict(
            subject="run",
            measure=name,
            layer="system",
            status="pass" if over else "fail",
            severity="error",
            session=day_of(now if over else record.create_timestamp),
            sentence=f"{name} is made good by later runs" if over else f"{name} {cause}",
        )
    return list(found.values())


def _span(tags: Mapping[str, str]) -> tuple[str, str]:
    """First and last session of a run, both empty where it has none."""
    one = tags.get("dagster/partition", "")
    return tags.get("dagster/asset_partition_range_start", one), tags.get("dagster/asset_partition_range_end", one)


def _cause(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, str]:
    """Which asset a run failed at (empty outside its steps), and why, in the words of its first failed step."""
    if run.status == dg.DagsterRunStatus.CANCELED:
        return "", "was cancelled"
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        said = event.step_failure_data.user_failure_data
        why = (said and said.description) or event.step_failure_data.error_display_string
        line = next((line for line in str(why).splitlines() if line.strip()), "no message")
        return str(event.step_key), f"failed at {event.step_key}: {line.strip()[:_LONGEST_CAUSE]}"
    return "", "failed outside its steps: see the run in the Dagster UI"


def _awake_since(context: dg.SensorEvaluationContext, now: datetime) -> float | None:
    """Since when the daemon has run without a pause; None where this is its first tick after one."""
    last, started = context.last_tick_completion_time, context.last_sensor_start_time
    if last is None or now.timestamp() - last > _SILENT_SECONDS:
        return None
    return started or 0.0


def instigator_verdicts(
    instance: dg.DagsterInstance, intervals: Mapping[str, int], now: datetime, awake_since: float | None
) -> Iterator[Verdict]:
    """Whether each sensor and schedule that is on works: its last tick did not fail, and sensors are evaluated at all.

    ``intervals`` has each sensor's in seconds. ``awake_since`` is when the daemon began to run without a pause; None
    where it has just come back: no sensor is called silent then, since its turn comes.
    """
    newest: dict[tuple[str, str], Any] = {}
    for state in instance.all_instigator_state():
        if not state.is_running or state.instigator_name == alert_sensor.name:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
        # One that is under way says nothing yet.
        last = next((tick for tick in ticks if tick.is_completed), None)
        of = (state.instigator_type.value.lower(), state.instigator_name)
        # Another code location, of a shell that is long closed, may have left a state of the same name.
        known = newest.get(of)
        if of not in newest or (last and (known is None or last.timestamp > known.timestamp)):
            newest[of] = last
    for (kind, name), last in newest.items():
        problem = ""
        if last and last.error:
            problem = f"{kind} {name} failed: {_innermost(last.error)}"
        elif name in intervals and awake_since is not None:
            quiet = now.timestamp() - max(last.timestamp if last else 0.0, awake_since)
            if quiet > max(_SILENT_SECONDS, 10 * intervals[name]):
                problem = f"{kind} {name} is on and was not evaluated for {quiet / 60:.0f} minutes: is the daemon well?"
        yield Verdict(
            subject=kind,
            measure=name,
            layer="system",
            status="fail" if problem else "pass",
            severity="error",
            session=day_of(now),
            sentence=problem or f"{kind} {name} works",
        )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Once the newest session is whole, whoever ran it: metrics go to push.gateway and push.textfile "
        "(config/pipeline.yaml), then COUNTERSIGN_HEARTBEAT_URL is asked for, so that its silence is noticed from "
        "outside."
    ),
)
def daily_run_sensor(
    context: dg.SensorEvaluationContext, project: ProjectResource, clock: ClockResource, alert_channels: AlertResource
) -> dg.SkipReason:
    """Sends metrics and the heartbeat. A receiver that fails is an alert; it fails no run."""
    now = clock.now()
    opened = project.open(now)
    # Not by Dagster's runs, of which a shell or a page may have started any: by the session that they made.
    newest = steps.newest_whole(opened, now)
    if newest is None:
        return dg.SkipReason("no heartbeat: the newest session is not there yet, or not whole (countersign status)")
    session, report = newest
    # With a URL and without one are two: once it is set, the newest session is told of at once.
    done = f"{report} with heartbeat" if alert_channels.heartbeat else report
    if context.cursor == done:
        sent = "its heartbeat was sent" if alert_channels.heartbeat else "no heartbeat is sent: its URL is not set"
        return dg.SkipReason(f"{session} is whole, and {sent}")
    said = steps.push_metrics(opened, now)
    said.append("heartbeat sent" if alert_channels.ping() else "no heartbeat: its URL is not set")
    # Only now: what failed before it is tried again with the next tick.
    context.update_cursor(done)
    return dg.SkipReason("; ".join([f"{session} is whole", *said]))


def _innermost(error: Any) -> str:
    """What a tick failed of in the first place; Dagster wraps it."""
    while error.cause:
        error = error.cause
    return str(error.message).strip().splitlines()[-1][:_LONGEST_CAUSE]
