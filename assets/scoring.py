"""Scoring: what the model sees of a session, and what it says. Group ``scoring``."""

import dagster as dg

from assets.model import model
from assets.partitions import LOOKBACK_MAPPING, SINGLE_RUN
from assets.results import Events, check_spec, column_schema, record
from countersign import checks
from countersign.steps import scoring as steps
from countersign.tables import FEATURE_TABLE, SCORES
from countersign.version import code_version
from resources import ClockResource, ProjectResource

_GROUP = "scoring"
_OWNERS = ["team:quant"]


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json", "numpy"},
    code_version=code_version(),
    deps=[dg.AssetDep("prices_clean", partition_mapping=LOOKBACK_MAPPING), "price_history"],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(FEATURE_TABLE),
    check_specs=[
        check_spec("features", checks.features_computed, blocking=True),
        check_spec("features", checks.history_sufficient, blocking=False),
    ],
)
def features(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Scale-free features of every symbol, from the last 63 sessions, by the function that training uses.

    If it fails: sessions before this one are not in the store. The message names them and the command that makes
    them.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.feature_sessions(opened, sessions))


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json", "numpy"},
    code_version=code_version(),
    deps=[features, model],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(SCORES),
    check_specs=[
        check_spec("scores", checks.scores_in_range, blocking=True),
        check_spec("scores", checks.model_used, blocking=False),
    ],
)
def scores(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Each symbol's volatility forecast, bad-week probability and decision for the next 5 sessions.

    If it fails: no model is in service (run `bootstrap_job`), or the model's file is not the one that was deployed
    (restore it from a backup; nothing is scored with another one).
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.score_sessions(opened, sessions, now))
