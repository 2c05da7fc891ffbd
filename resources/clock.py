"""The clock: the only place from which assets and schedules learn the time."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg


class ClockResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic in a value that we do not hand out
    """Now, or a fixed moment for tests and replays."""

    fixed: str | None = None
    """ISO 8601 with an offset, such as ``2008-09-15T21:00:00+00:00``."""

    def now(self) -> datetime:
        """The time, aware of its zone."""
        return datetime.fromisoformat(self.fixed) if self.fixed else datetime.now(UTC)
