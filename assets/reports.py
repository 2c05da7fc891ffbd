"""Reports: what people read. Group ``reports``."""

import dagster as dg

from assets.model import model
from assets.monitoring import drift, metrics, outcomes
from assets.partitions import LOOKBACK_MAPPING, QUARTER_MAPPING, SINGLE_RUN
from assets.results import RETRY_TRANSPORT, Events, check_spec, record
from assets.scoring import scores
from countersign import checks
from countersign.steps import reports as steps
from countersign.steps import weekly
from countersign.version import code_version
from resources import ClockResource, ProjectResource


@dg.asset(
    group_name="reports",
    owners=["team:risk"],
    kinds={"html", "text"},
    code_version=code_version(),
    deps=[
        *(
            dg.AssetDep(asset, partition_mapping=LOOKBACK_MAPPING)
            for asset in ("prices_clean", scores, outcomes, drift, metrics)
        ),
        model,
    ],
    backfill_policy=SINGLE_RUN,
    check_specs=[check_spec("report", checks.report_complete, blocking=False)],
)
def report(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """The session as a page and in plain text: scores, data, what matured, the model's standing, what needs a person.

    The page shows the course of the quarter as well, and needs no network: open the path `page` in a browser.

    If it fails: an artifact that it reads is missing or altered; the message says which, and how to make it. A
    person's words go into `commentary/<session>.md` and are included when the report is materialized again.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.report_sessions(opened, sessions))


@dg.asset(
    group_name="reports",
    owners=["team:risk"],
    kinds={"html", "text"},
    code_version=code_version(),
    deps=[
        *(
            dg.AssetDep(asset, partition_mapping=QUARTER_MAPPING)
            for asset in ("prices_clean", scores, outcomes, drift, metrics, report)
        ),
        model,
    ],
    retry_policy=RETRY_TRANSPORT,
    backfill_policy=SINGLE_RUN,
    check_specs=[
        check_spec("weekly_review", weekly.sessions_reviewed, blocking=False),
        check_spec("weekly_review", weekly.review_complete, blocking=False),
    ],
)
def weekly_review(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """The week and the quarter up to it, as an HTML page and a text, for people who may change a threshold.

    If it fails: the week has not ended or has no session, none of its sessions is in the store, or the source that
    thresholds are replayed on cannot be read; the message says which. A person's words go into
    `commentary/<week>.md` (`commentary/2008-W38.md`) and are included when the review is materialized again.
    """
    mondays = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: weekly.review_weeks(opened, mondays, now))
