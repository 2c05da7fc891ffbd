"""Results: from what a step made to Dagster's events, and from its errors to a failure with one clear message.

Belongs here: the one mapper that every asset uses. Does not belong here: verdicts (``countersign.checks``), words on
single assets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg

from countersign.checks import CheckResult, RefusedError
from countersign.errors import CountersignError, JournalError, TransportError
from countersign.project import Project
from countersign.steps.alerts import note_checks
from countersign.steps.made import Made
from countersign.storage.codec import combined_digest
from countersign.tables import Column
from resources import ClockResource, ProjectResource

RETRY_TRANSPORT: Final = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.LINEAR)
"""After 5, 10 and 15 s. Every error but ``TransportError`` forbids it: bad data stays bad."""

_PATHS: Final = ("page", "evidence")
"""Metadata of an artifact that says where another file is."""

_TYPES: Final = {"date": "date", "string": "string", "number": "double", "integer": "bigint"}

Events = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]

Step = Callable[[Project, datetime], Iterable[Made]]
"""From an opened project and the time to what was stored."""


def column_schema(columns: Iterable[Column]) -> dict[str, Any]:
    """Definition metadata that shows a table's columns with types, units and meanings."""
    fields = [
        dg.TableColumn(
            c.name,
            _TYPES[c.kind],
            f"{c.description} [{c.unit}]" if c.unit else c.description,
            dg.TableColumnConstraints(nullable=c.nullable),
        )
        for c in columns
    ]
    return {"dagster/column_schema": dg.TableSchema(fields)}


def check_spec(
    asset: str, evaluator: Callable[..., CheckResult], *, blocking: bool, name: str | None = None
) -> dg.AssetCheckSpec:
    """Spec of a check that rides inside ``asset``'s own step, described by its evaluator's docstring."""
    return dg.AssetCheckSpec(
        name or evaluator.__name__, asset=asset, description=inspect.getdoc(evaluator), blocking=blocking
    )


def record(context: dg.AssetExecutionContext, project: ProjectResource, clock: ClockResource, step: Step) -> Events:
    """Run a step and record each artifact: metadata, verdicts, and its digest as the data version.

    A refused session is recorded as failed checks without a materialization. What was stored before an error is
    recorded all the same, since it is there.
    """
    asset, started = context.asset_key.to_user_string(), clock.now()
    sessions = context.partition_keys if context.assets_def.partitions_def else [None]
    if not sessions:
        first, last = context.partition_key_range
        raise dg.Failure(f"expected a range of sessions, found {first} … {last}: exchange them", allow_retries=False)
    done: list[Made] = []
    context.log.info(f"{asset}: started at {started.isoformat(timespec='seconds')}")
    try:
        opened = project.open(started)
        # Keeps what came before an error.
        done.extend(step(opened, started))
    except Exception as error:
        for one in done:
            _log_partition(context, one, started, clock.now())
        if done:
            _note(context, opened, asset, [(one.session, result) for one in done for result in one.checks], started)
        if isinstance(error, RefusedError):
            # A step takes sessions in order, so the refused one comes after those that were stored. Verdicts on an
            # input belong to the asset that made it: the message alone tells of them.
            own = {key.name for key in context.assets_def.check_keys}
            refused = [(sessions[len(done)], result) for result in error.results if result.name in own]
            _note(context, opened, asset, refused, started)
            yield from (check_result(asset, [verdict]) for verdict in refused)
        if isinstance(error, CountersignError):
            # Dagster's own words after the last attempt ("Exceeded max_retries") would hide the message.
            again = isinstance(error, TransportError) and context.retry_number < RETRY_TRANSPORT.max_retries
            # The message says it all; what lies behind it may quote a URL with its password.
            raise dg.Failure(str(error), allow_retries=again) from None
        raise dg.Failure(f"{asset}: {type(error).__name__}: {error}", allow_retries=False) from error

    ended = clock.now()
    # One line a run, not one a session: each costs a write to Dagster's event log.
    shown = f"{done[0].stored.location} … {done[-1].stored.location}, rows {sum(m.stored.rows for m in done)}"
    if len(done) == 1:
        shown = ", ".join([done[0].stored.location, *(f"{name} {value}" for name, value in done[0].numbers.items())])
    context.log.info(f"{asset}: ended at {ended.isoformat(timespec='seconds')}, stored {len(done)}: {shown}")
    several = len(done) > 1
    if several:
        for one in done:
            context.add_asset_metadata(_metadata(one, started, ended), partition_key=one.session)
    judged = [(one.session, result) for one in done for result in one.checks]
    _note(context, opened, asset, judged, ended)
    verdicts: dict[str, list[tuple[str | None, CheckResult]]] = {}
    for session, result in judged:
        verdicts.setdefault(result.name, []).append((session, result))
    yield dg.MaterializeResult(
        metadata={} if several else _metadata(done[0], started, ended),
        check_results=[check_result(asset, results) for results in verdicts.values()],
        data_version=dg.DataVersion(
            combined_digest([m.stored.sha256 for m in done]) if several else done[0].stored.sha256
        ),
    )
    if several:
        # Dagster gives all partitions of a run one data version. A second event a partition gives each its own, and
        # keeps the first one's record of code and inputs, by which Dagster tells what is out of date.
        first = context.instance.fetch_materializations(context.asset_key, limit=1).records[0].asset_materialization
        for one in done:
            _log_partition(context, one, started, ended, first.tags if first else None)


def _note(
    context: dg.AssetExecutionContext,
    project: Project,
    asset: str,
    judged: Sequence[tuple[str | None, CheckResult]],
    now: datetime,
) -> None:
    """Put verdicts on record in ``alerts.jsonl``. A broken log stops no session; the alert sensor fails on it, too."""
    try:
        note_checks(project, asset, judged, now)
    except (JournalError, OSError) as error:
        context.log.error(f"{asset}: no alert could be put on record: {error}")


def check_result(asset: str, results: Sequence[tuple[str | None, CheckResult]]) -> dg.AssetCheckResult:
    """One verdict for Dagster: the worst over the sessions of a range. Insufficient evidence is never green."""
    order = ("pass", "insufficient", "fail")
    session, worst = max(results, key=lambda r: (order.index(r[1].status), r[1].refuses))
    sentence = worst.sentence
    if len(results) > 1:
        counts = {status: sum(r.status == status for _, r in results) for status in order}
        found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        sentence = f"{len(results)} sessions: {found}; {session}: {sentence}"
    of_session = {"session": session} if session else {}
    metadata: dict[str, Any] = {"status": worst.status, **of_session, **_finite(worst.numbers)}
    if worst.examples:
        metadata["examples"] = dg.TableMetadataValue(
            records=[dg.TableRecord(dict(row)) for row in worst.examples],
            schema=dg.TableSchema([dg.TableColumn(name) for name in worst.examples[0]]),
        )
    return dg.AssetCheckResult(
        passed=worst.status == "pass",
        asset_key=asset,
        check_name=worst.name,
        severity=dg.AssetCheckSeverity.ERROR if worst.refuses else dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata=metadata,
    )


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """NaN (a measure that could not be taken) as null: it would neither plot nor be JSON."""
    return {name: None if value != value else value for name, value in numbers.items()}


def _metadata(one: Made, started: datetime, ended: datetime) -> dict[str, Any]:
    preview = {"preview": dg.MetadataValue.md(one.preview)} if one.preview else {}
    page = {"page": dg.MetadataValue.path(one.page)} if one.page else {}
    rows = {"dagster/row_count": one.numbers["rows"]} if "rows" in one.numbers else {}
    return {
        **preview,
        **page,
        **rows,
        **_finite({k: v for k, v in one.numbers.items() if k != "rows"}),
        **{name: dg.MetadataValue.path(str(one.numbers[name])) for name in _PATHS if name in one.numbers},
        "dagster/uri": one.stored.location,
        "path": dg.MetadataValue.path(one.stored.location),
        "sha256": one.stored.sha256,
        "started_at": dg.MetadataValue.timestamp(started),
        "ended_at": dg.MetadataValue.timestamp(ended),
        "duration_seconds": (ended - started).total_seconds(),
    }


def _log_partition(
    context: dg.AssetExecutionContext,
    one: Made,
    started: datetime,
    ended: datetime,
    tags: Mapping[str, str] | None = None,
) -> None:
    digest = {"dagster/data_version": one.stored.sha256, "dagster/data_version_is_user_provided": "true"}
    context.log_event(
        dg.AssetMaterialization(
            context.asset_key,
            partition=one.session,
            metadata=_metadata(one, started, ended),
            tags={**(tags or {}), **digest},
        )
    )
