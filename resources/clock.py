"""The clock: the only place from which assets and sensors learn the time.

No ``ConfigurableResource``: whoever launches a run could set those in its configuration, and by another time an ended
key or an expired decision would be good again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg


@dataclass(frozen=True)
class Clock:
    """Now, or the moment ``fixed`` (time-zone-aware), for tests."""

    fixed: datetime | None = None

    def now(self) -> datetime:
        """The time, aware of its zone."""
        return self.fixed or datetime.now(UTC)


ClockResource = dg.ResourceParam[Clock]
"""What assets and sensors ask for."""
