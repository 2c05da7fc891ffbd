"""Monitoring: what came of earlier scores, and whether data, model and business are as they should be."""

import dagster as dg

from assets.partitions import MATURED_MAPPING, SINGLE_RUN
from assets.results import Events, check_spec, column_schema, record
from countersign import checks
from countersign.steps import monitoring as steps
from countersign.tables import OUTCOMES
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
        dg.AssetDep("scores", partition_mapping=MATURED_MAPPING),
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
