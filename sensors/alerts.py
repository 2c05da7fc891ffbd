"""Alert sensors: what is wrong with runs, sensors and sessions, telling people, and the signs of life of a good run.

Belongs here: reading Dagster's own records. Does not belong here: what opens or ends an alert
(``countersign.monitoring.alerts``); checks, which their own run puts on record (``assets.results``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

import dagster as dg

from countersign.monitoring.alerts import CHANNEL, WAITING, Verdict, day_of, gone, open_ids
from countersign.steps import alerts as steps
from countersign.steps.gate import waiting
from resources import AlertResource, ClockResource, ProjectResource
from sensors.jobs import daily_job

_KINDS: Final = ("run", "sensor", "schedule", CHANNEL, WAITING)
"""What can go away for good, and its alerts with it."""

_NEWEST_RUNS: Final = 100
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
    verdicts = [
        *steps.scored_in_time(opened, now),
        *waiting(opened, now),
        *run_verdicts(context.instance, {job.name for job in repository.get_all_jobs()}),
        *instigator_verdicts(
            context.instance,
            {sensor.name: sensor.minimum_interval_seconds or 30 for sensor in repository.sensor_defs},
            now,
            awake_since=_awake_since(context, now),
        ),
    ]
    there = [v.key for v in verdicts] + [f"{CHANNEL}:{channel.name}" for channel in channels]
    steps.note(opened, [*verdicts, *gone(opened.alerts.last(), _KINDS, there, day_of(now))], now)
    said = steps.deliver(opened, channels, now)
    still = len(open_ids(opened.alerts.last()))
    words = "; ".join(said) if said else "nothing new to tell"
    return dg.SkipReason(f"{still} {'alert is' if still == 1 else 'alerts are'} open (countersign status); {words}")


def run_verdicts(instance: dg.DagsterInstance, jobs: Collection[str]) -> list[Verdict]:
    """A fail for each of the newest runs of ``jobs`` that failed, until a later one succeeds for its sessions."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]), limit=_NEWEST_RUNS
    )
    found: dict[str, Verdict] = {}
    succeeded: dict[str, list[tuple[str, str]]] = {}
    for record in records:
        run = record.dagster_run
        if run.job_name not in jobs:
            continue
        first, last = _span(run.tags)
        if run.status == dg.DagsterRunStatus.SUCCESS:
            succeeded.setdefault(run.job_name, []).append((first, last))
            continue
        name = " of ".join(filter(None, [run.job_name, first if first == last else f"{first} … {last}"]))
        over = any(start <= first and last <= end for start, end in succeeded.get(run.job_name, []))
        verdict = Verdict(
            subject="run",
            measure=name,
            layer="system",
            status="pass" if over else "fail",
            severity="error",
            session=day_of(record.create_timestamp),
            sentence=f"{name} succeeded later" if over else f"{name} failed{_cause(instance, run.run_id)}",
        )
        # Newest first: that one speaks for its sessions.
        found.setdefault(name, verdict)
    return list(found.values())


def _span(tags: Mapping[str, str]) -> tuple[str, str]:
    """First and last session of a run, both empty where it has none."""
    one = tags.get("dagster/partition", "")
    return tags.get("dagster/asset_partition_range_start", one), tags.get("dagster/asset_partition_range_end", one)


def _cause(instance: dg.DagsterInstance, run_id: str) -> str:
    """Where and why a run failed, in the words of its first failed step."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        said = event.step_failure_data.user_failure_data
        return f" at {event.step_key}: {said.description if said else event.step_failure_data.error_display_string}"
    return " outside its steps: see the run in the Dagster UI"


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
    for state in instance.all_instigator_state():
        if not state.is_running or state.instigator_name == alert_sensor.name:
            continue
        name, kind = state.instigator_name, state.instigator_type.value.lower()
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=2)
        # One that is under way says nothing yet.
        last = next((tick for tick in ticks if tick.is_completed), None)
        problem = ""
        if last and last.error:
            problem = f"{kind} {name} failed: {last.error.message.strip().splitlines()[-1]}"
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
        "After each good daily run, wherever it was started: metrics go to push.gateway and push.textfile "
        "(config/pipeline.yaml), then COUNTERSIGN_HEARTBEAT_URL is asked for, so that its silence is noticed from "
        "outside."
    ),
)
def daily_run_sensor(
    context: dg.SensorEvaluationContext, project: ProjectResource, clock: ClockResource, alert_channels: AlertResource
) -> dg.SkipReason:
    """Sends metrics and the heartbeat. A receiver that fails is an alert; it fails no run."""
    # Dagster's run-status sensors see only runs that a daemon or the UI started, not those of a shell.
    succeeded = dg.RunsFilter(job_name=daily_job.name, statuses=[dg.DagsterRunStatus.SUCCESS])
    newest = context.instance.get_run_records(succeeded, limit=1)
    if not newest or newest[0].dagster_run.run_id == context.cursor:
        return dg.SkipReason("no good daily run since the last one")
    run, now = newest[0].dagster_run, clock.now()
    opened, (_, session) = project.open(now), _span(run.tags)
    said = steps.push_metrics(opened, now)
    if steps.session_completed(opened, session, now):
        said.append("heartbeat sent" if alert_channels.ping() else "no heartbeat: its URL is not set")
    else:
        said.append(f"no heartbeat: {session} is not the newest session, whole")
    # Only now: what failed before it is tried again with the next tick.
    context.update_cursor(run.run_id)
    return dg.SkipReason("; ".join(said))
