"""Monitoring: what came of earlier scores, and whether data, model and business are as they should be."""

import functools
from datetime import datetime

import dagster as dg

from assets.model import model
from assets.partitions import LOOKBACK_MAPPING, MATURED_MAPPING, SINGLE_RUN
from assets.results import Events, check_spec, column_schema, record
from assets.runs import DAILY_JOB, recent_runs
from assets.scoring import features, scores
from countersign import checks
from countersign.monitoring.latency import Runs
from countersign.steps import metrics as metric_steps
from countersign.steps import monitoring as steps
from countersign.tables import DRIFT, METRICS, OUTCOMES
from countersign.version import code_version
from resources import ClockResource, ProjectResource

_GROUP = "monitoring"
_OWNERS = ["team:risk"]


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json"},
    code_version=code_version(),
    deps=[
        dg.AssetDep(scores, partition_mapping=MATURED_MAPPING),
        dg.AssetDep("prices_clean", partition_mapping=MATURED_MAPPING),
    ],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(OUTCOMES),
    check_specs=[check_spec("outcomes", checks.outcomes_known, blocking=False)],
)
def outcomes(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """What came of the scores whose five sessions ended with this one, by what the prediction log says was said first.

    If it fails: sessions in between are not in the store; the message names them and the command that makes them.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.outcome_sessions(opened, sessions))


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json", "numpy"},
    code_version=code_version(),
    deps=[
        dg.AssetDep(features, partition_mapping=LOOKBACK_MAPPING),
        dg.AssetDep(outcomes, partition_mapping=LOOKBACK_MAPPING),
        "price_history",
        model,
    ],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(DRIFT),
    check_specs=[
        dg.AssetCheckSpec(
            "drift",
            asset="drift",
            description="No feature, score or target has moved from the training data, beyond chance and for days.",
        ),
        dg.AssetCheckSpec(
            "psi",
            asset="drift",
            description="No index is over the threshold. A warning by itself: slow features pass it without drift.",
        ),
    ],
)
def drift(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Population stability index of each feature, score and target of the last quarter against the training data.

    If it fails: `config/thresholds.yaml` is missing or wrong, or sessions of the quarter are not in the store; the
    message says which. A failed check is no failure of the run: the model may have aged. One with the `status`
    `insufficient` is no finding either: there is too little evidence to judge.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.drift_sessions(opened, sessions))


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json", "numpy"},
    code_version=code_version(),
    deps=[
        dg.AssetDep(scores, partition_mapping=LOOKBACK_MAPPING),
        dg.AssetDep(outcomes, partition_mapping=LOOKBACK_MAPPING),
        dg.AssetDep("prices_clean", partition_mapping=LOOKBACK_MAPPING),
        "prices_raw",
        model,
    ],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(METRICS),
    check_specs=[
        dg.AssetCheckSpec(measure, asset="metrics", description=f"{meaning}.")
        for measure, meaning in {**metric_steps.MEASURES, **metric_steps.GATE_MEASURES}.items()
    ],
)
def metrics(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Every measure of data, model, system and business with its value, its threshold and one sentence.

    If it fails: `config/thresholds.yaml` or `config/contracts/prices.yaml` is missing or wrong, or a session that a
    measure looks back at is not in the store; the message says which. A failed check warns and stops nothing.

    A check with the `status` `insufficient` is no finding: there is too little evidence to judge, as in a project's
    first weeks. Dagster shows it as failed, since it is no pass.
    """
    sessions = context.partition_keys

    @functools.cache
    def runs(until: datetime | None) -> Runs:
        return recent_runs(context.instance, DAILY_JOB, until)

    yield from record(
        context, project, clock, lambda opened, now: metric_steps.metric_sessions(opened, sessions, runs, now)
    )
