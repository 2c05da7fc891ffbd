"""Where people are told of alerts, and the heartbeat: URLs from the environment, since they hold secrets."""

from __future__ import annotations

from functools import partial

import dagster as dg

from countersign.delivery import DEADLINE_SECONDS, Channel, channels, ping, within


class AlertResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic in a value that we do not hand out
    """Both are empty where nobody is told."""

    urls: str = ""
    """Apprise URLs, separated by commas or white space."""
    heartbeat: str = ""
    """URL that is asked for after each good daily run."""

    def channels(self) -> list[Channel]:
        """A channel for each URL."""
        return channels(self.urls)

    def ping(self) -> bool:
        """Ask for the heartbeat URL; False where there is none. Raises ``DeliveryError``."""
        if not self.heartbeat:
            return False
        (error,) = within(DEADLINE_SECONDS, [partial(ping, self.heartbeat)])
        if error:
            raise error
        return True
