"""Reports: what people read. Group ``reports``."""

import dagster as dg

from assets.model import model
from assets.monitoring import drift, metrics, outcomes
from assets.partitions import SINGLE_RUN
from assets.results import Events, check_spec, record
from assets.scoring import scores
from countersign import checks
from countersign.steps import reports as steps
from countersign.version import code_version
from resources import ClockResource, ProjectResource


@dg.asset(
    group_name="reports",
    owners=["team:risk"],
    kinds={"text"},
    code_version=code_version(),
    deps=[scores, outcomes, drift, metrics, "prices_clean", model],
    backfill_policy=SINGLE_RUN,
    check_specs=[check_spec("report", checks.report_complete, blocking=False)],
)
def report(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """The session in plain text: scores, data, what matured, the model's standing, what needs a person.

    If it fails: an artifact that it reads is missing or altered; the message says which, and how to make it. A
    person's words go into `commentary/<session>.md` and are included when the report is materialized again.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.report_sessions(opened, sessions))
