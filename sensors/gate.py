"""Gate sensors: a retrain where monitoring asks for one, and what a decision or time has made due.

Belongs here: launching, once, what the journal says is to be done. Does not belong here: deciding it
(``countersign.gate``). Neither sensor keeps a cursor: each tick looks at the journal anew.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from assets.results import check_result
from countersign.errors import CountersignError, JournalError
from countersign.gate.rules import due
from countersign.project import Project
from countersign.steps.gate import cut_short, gate_state, ratified, signed_off, tend
from countersign.steps.retrain import ask_for_retrain
from resources import ClockResource, ProjectResource
from sensors.jobs import deploy_job, retrain_job

TAG: Final = "countersign/journal"
"""Run tag: the line of the journal that a run was launched for."""

_QUEUED: Final = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_STARTED: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_LONGEST_WAIT: Final = timedelta(hours=1)
_LONGEST_RETRAIN: Final = timedelta(hours=1)
_LONGEST_DEPLOYMENT: Final = timedelta(minutes=5)
"""After which a run that has not ended is taken for dead: Dagster finds out about a killed process much later."""


@dg.sensor(
    job=retrain_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Every minute: where the newest session's drift or error says that the model has aged, a retrain is asked for "
        "in the journal, once for each breach. It is launched, as is one that a person asked for "
        "(`countersign retrain`); one that fails is launched again. The candidate waits for a person's signature."
    ),
)
def drift_sensor(
    context: dg.SensorEvaluationContext, project: ProjectResource, clock: ClockResource
) -> dg.RunRequest | dg.SkipReason:
    """Asks for a retrain where monitoring says so, and launches what was asked for."""
    now = clock.now()
    opened = project.open(now)
    try:
        decision = ask_for_retrain(opened, now)
        retrain = gate_state(opened).open_retrain
    except CountersignError as error:
        return dg.SkipReason(f"nothing can be said of drift: {error}")
    if retrain is None:
        return dg.SkipReason(decision.reason)
    if wait := _wait(context.instance, retrain_job.name, retrain.id, _LONGEST_RETRAIN):
        return dg.SkipReason(f"{wait}; asked for because: {retrain.reason}")
    tags = {TAG: retrain.id, "countersign/cause": retrain.cause}
    return dg.RunRequest(run_key=None, tags=tags)


@dg.sensor(
    job=deploy_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Every half minute, what the journal makes due: a signed decision is deployed; a request that is over time "
        "expires; where one waits, people are reminded (through the alerts); a broken condition brings the earlier "
        "model back. The checks signed_off and ratified follow the journal."
    ),
)
def sign_off_sensor(
    context: dg.SensorEvaluationContext, project: ProjectResource, clock: ClockResource
) -> dg.SensorResult:
    """Launches the deployment of what is due; ``deploy_job`` verifies all of it again."""
    now = clock.now()
    opened = project.open(now)
    try:
        added = tend(opened, now)
        state = gate_state(opened)
    except JournalError as error:
        return dg.SensorResult(skip_reason=f"nothing is deployed: {error}. See: countersign verify")
    news = _news(context.instance, opened, now)
    found = next(iter(due(state, now, opened.config.gate.on_revoke)), None) or cut_short(opened, state)
    if found is None:
        waiting = state.open_request
        said = [*added, f"{waiting.id} waits for a signature" if waiting else "nothing waits for a decision"]
        return dg.SensorResult(skip_reason="; ".join(said), asset_events=news)
    if wait := _wait(context.instance, deploy_job.name, found.decision, _LONGEST_DEPLOYMENT):
        return dg.SensorResult(skip_reason="; ".join([*added, f"{wait}: {found.why}"]), asset_events=news)
    tags = {TAG: found.decision, **({"countersign/request": found.request} if found.request else {})}
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=None, tags=tags)], asset_events=news)


def _news(instance: dg.DagsterInstance, project: Project, now: datetime) -> list[dg.AssetCheckEvaluation]:
    """The gate's checks, where Dagster's pages show another state than the journal has: no run follows a rejection or
    an expiry, and anybody can report a check to them.
    """
    try:
        results = [("candidate", signed_off(project, now)), ("model", ratified(project))]
    except CountersignError:
        # The alert sensor says what is wrong; a signed decision does not wait for it.
        return []
    found = []
    for asset, result in results:
        said = check_result(asset, [(None, result)])
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset),
            check_name=result.name,
            passed=said.passed,
            metadata=said.metadata,
            severity=said.severity,
            description=said.description,
        )
        record = instance.get_latest_asset_check_evaluation_record(evaluation.asset_check_key)
        shown = record.evaluation if record else None
        if record is None:
            is_news = result.status != "insufficient"
        elif isinstance(shown, dg.AssetCheckEvaluation):
            is_news = _content(shown) != _content(evaluation)
        else:
            # A run means to evaluate it; one that has ended without doing so hides what was known.
            run = instance.get_run_by_id(record.run_id)
            age = datetime.now(UTC) - datetime.fromtimestamp(record.create_timestamp, UTC)
            is_news = run is None or run.is_finished or age > _LONGEST_DEPLOYMENT
        if is_news:
            found.append(evaluation)
    return found


def _content(evaluation: dg.AssetCheckEvaluation) -> tuple[object, ...]:
    """What a person sees of it."""
    return evaluation.passed, evaluation.severity, evaluation.description, dict(evaluation.metadata)


def _wait(instance: dg.DagsterInstance, job: str, line: str, longest: timedelta) -> str:
    """Why a run of ``job`` for ``line`` is not to be launched now: one is under way, or the last one is too fresh.

    Dagster's records only pace what the journal demands: without them it would be launched at once.
    """
    # By the clock that Dagster's records have; and whoever launched it, since a person's run has no tag.
    now = datetime.now(UTC)
    # One whose process was killed, before or after it began, is under way for ever in Dagster's records.
    begun = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=[*_QUEUED, *_STARTED]))
    if any(now - _start(record) < longest for record in begun):
        return f"a run of {job} is under way"
    ended = instance.get_run_records(dg.RunsFilter(job_name=job, tags={TAG: line}), limit=7)
    if not ended:
        return ""
    # 1, 2, 4 … minutes after the last one began; that the journal still asks says that it came to nothing.
    again = _start(ended[0]) + min(timedelta(minutes=2.0 ** (len(ended) - 1)), _LONGEST_WAIT)
    return f"{len(ended)} run(s) for it came to nothing, the next one is at {again:%H:%M:%S} UTC" if now < again else ""


def _start(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
