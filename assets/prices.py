"""Prices: from the source to cleaned bars. Group ``prices``."""

import dagster as dg

from assets.partitions import SINGLE_RUN
from assets.results import RETRY_TRANSPORT, Events, check_spec, column_schema, record
from countersign import checks
from countersign.quality import ON_BARS, RULES
from countersign.steps import prices as steps
from countersign.tables import PRICES_CLEAN, PRICES_RAW
from countersign.version import code_version
from resources import ClockResource, ProjectResource

_GROUP = "prices"
_OWNERS = ["team:data"]


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"parquet"},
    code_version=code_version(),
    retry_policy=RETRY_TRANSPORT,
    metadata=column_schema(PRICES_CLEAN),
    check_specs=[
        check_spec("price_history", checks.rejected_share, blocking=True),
        check_spec("price_history", checks.history_complete, blocking=True),
        check_spec("price_history", checks.restated, blocking=False),
    ],
)
def price_history(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Every session before the first daily one, loaded in bulk and cleaned like a daily session. Trains the model.

    If it fails: the message names the rows, dates or symbols that the source lacks. Correct the source, or
    `history.start`, `first_session` and `symbols` in `config/pipeline.yaml`; then run `bootstrap_job` again.
    """
    yield from record(context, project, clock, lambda opened, now: [steps.load_history(opened, now)])


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json"},
    code_version=code_version(),
    backfill_policy=SINGLE_RUN,
    retry_policy=RETRY_TRANSPORT,
    metadata=column_schema(PRICES_RAW),
    check_specs=[
        check_spec("prices_raw", checks.schema, blocking=True),
        check_spec("prices_raw", checks.bars_arrived, blocking=True),
        check_spec("prices_raw", checks.dates, blocking=True),
        check_spec("prices_raw", checks.off_calendar, blocking=True),
        check_spec("prices_raw", checks.previous_close_known, blocking=False),
        check_spec("prices_raw", checks.restated, blocking=False),
    ],
)
def prices_raw(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """What the source says of the session, with the closes of the session before from the same reply.

    If it fails: the session has not closed, or the source has not delivered it. Nothing was written; run the
    session again when the source has it.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.ingest_sessions(opened, sessions, now))


@dg.asset(
    group_name=_GROUP,
    owners=_OWNERS,
    kinds={"json"},
    code_version=code_version(),
    deps=[prices_raw],
    backfill_policy=SINGLE_RUN,
    metadata=column_schema(PRICES_CLEAN),
    check_specs=[
        check_spec("prices_clean", checks.rejected_share, blocking=True),
        check_spec("prices_clean", checks.symbols_complete, blocking=True),
        check_spec("prices_clean", checks.bars_moved, blocking=True),
        # A rule that refuses stops the step itself.
        *(dg.AssetCheckSpec(name, asset="prices_clean", description=RULES[name], blocking=False) for name in ON_BARS),
    ],
)
def prices_clean(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource) -> Events:
    """Typed, ordered bars with one total return each; rows that break a rule lie in `prices_rejected.json`.

    If it fails: too many rows were rejected, or too many symbols are missing. The failed check shows examples with
    their reasons. Correct the source, then run the session again from `prices_raw`; or let through what is right, with
    `countersign quarantine release`.
    """
    sessions = context.partition_keys
    yield from record(context, project, clock, lambda opened, now: steps.clean_sessions(opened, sessions))
