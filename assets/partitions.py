"""Partitions: one for each session of the exchange, and one for each week.

Belongs here: turning a calendar into Dagster's partitions. Does not belong here: the calendar.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from countersign.features import LOOKBACK
from countersign.model.targets import HORIZON
from countersign.sessions import SessionCalendar

# Both parameters are beta in Dagster 1.13. Until they are general, each command would print a warning for each asset.
warnings.filterwarnings(
    "ignore", message="Parameter `(backfill_policy|allow_nonexistent_upstream_partitions)`", category=dg.BetaWarning
)

SINGLE_RUN: Final = dg.BackfillPolicy.single_run()
"""A range of sessions is one run: each asset takes them all at once."""

LOOKBACK_MAPPING: Final = dg.TimeWindowPartitionMapping(
    start_offset=1 - LOOKBACK, allow_nonexistent_upstream_partitions=True
)
"""A session's features read the sessions before it, too; the oldest of them lie in the bulk history."""

MATURED_MAPPING: Final = dg.TimeWindowPartitionMapping(
    start_offset=-HORIZON, allow_nonexistent_upstream_partitions=True
)
"""A session's report tells how the scores of the session a horizon before came out."""

QUARTER_MAPPING: Final = dg.TimeWindowPartitionMapping(start_offset=-13, allow_nonexistent_upstream_partitions=True)
"""A week's review reads the sessions of the week and of the quarter up to its last: 63 sessions, 13 weeks and more."""


def session_partitions(
    calendar: SessionCalendar, first: str, last: str | None, without: Collection[str] = ()
) -> dg.TimeWindowPartitionsDefinition:
    """A partition for each session from ``first`` to ``last`` (no end where None) but ``without``, key ``YYYY-MM-DD``.

    Each is there from midnight of its own day.

    A daily cron without the days that are no sessions. Weekdays that never are one become a cron of their own, so
    that an exchange's holidays, not a quarter of all days, make the list.
    """
    zone = ZoneInfo(calendar.timezone)
    closed = [*calendar.closed_days(first, str(calendar.dates[-1])), *map(date.fromisoformat, sorted(without))]
    open_weekdays = {d.isoweekday() % 7 for d in calendar.dates.tolist()}
    never = set(range(7)) - open_weekdays
    return dg.TimeWindowPartitionsDefinition(
        start=datetime.combine(datetime.fromisoformat(first).date(), time(), zone),
        fmt="%Y-%m-%d",
        cron_schedule="0 0 * * *",
        timezone=calendar.timezone,
        end=datetime.combine(datetime.fromisoformat(last).date() + timedelta(days=1), time(), zone) if last else None,
        end_offset=1,
        exclusions=[
            *(f"0 0 * * {weekday}" for weekday in sorted(never)),
            *(datetime.combine(d, time(), zone) for d in closed if d.isoweekday() % 7 not in never),
        ]
        or None,
    )


def week_partitions(calendar: SessionCalendar, first: str, last: str | None) -> dg.TimeWindowPartitionsDefinition:
    """A partition for each week from that of the session ``first`` to that of ``last`` (no end where None).

    The key is the week's Monday, ``YYYY-MM-DD``. Each is there from its own Monday, so that it can be reviewed as soon
    as its last session has closed; the step refuses one that has not ended.
    """
    zone = ZoneInfo(calendar.timezone)

    def monday(day: str, weeks: int = 0) -> datetime:
        found = date.fromisoformat(day)
        return datetime.combine(found - timedelta(days=found.weekday()) + timedelta(weeks=weeks), time(), zone)

    return dg.TimeWindowPartitionsDefinition(
        start=monday(first),
        fmt="%Y-%m-%d",
        cron_schedule="0 0 * * 1",
        timezone=calendar.timezone,
        end=monday(last, weeks=1) if last else None,
        end_offset=1,
    )
