"""Delivery: to the outside world, over well-kept libraries: messages, the heartbeat, metrics.

Belongs here: channels and receivers, and their errors without the secrets that their URLs hold. Does not belong here:
what is said (``monitoring``), when (``sensors``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from countersign.errors import DeliveryError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

TIMEOUT_SECONDS: Final = 10
"""Of one attempt to reach a receiver: a sensor has 60 for all of them."""

_ATTEMPTS: Final = 3
_JOB: Final = "countersign"
"""The job by which a push gateway groups what it was given."""


@dataclass(frozen=True)
class Channel:
    """One URL that messages go to. ``name`` is its place in the list and its service: it holds no secret."""

    name: str
    _service: Any

    def send(self, title: str, text: str) -> None:
        """Raises ``DeliveryError`` where the service did not take it, or the URL is none."""
        if self._service is None:
            raise DeliveryError(
                f"number {self.name} of COUNTERSIGN_ALERT_URLS: expected a URL that apprise knows, such as slack://… "
                "or mailto://…. Correct it in the environment of the daemon and the code server"
            )
        if not self._service.notify(body=text, title=title):
            raise DeliveryError(
                f"number {self.name} of COUNTERSIGN_ALERT_URLS did not take the message: is the service up, is the URL "
                "still right? The daemon's log has the service's answer; it is tried again"
            )


def channels(urls: str) -> list[Channel]:
    """A channel for each URL in ``urls``, which commas or white space separate."""
    if not urls.strip():
        return []
    from apprise import Apprise

    found = []
    for number, url in enumerate(re.split(r"[\s,]+(?=[a-z0-9]+s?://)", urls.strip()), start=1):
        # Without the exceptions of a plug-in, which may quote the URL.
        service = Apprise.instantiate(url, suppress_exceptions=True)
        name = str(service.service_name) if service else "unknown service"
        found.append(Channel(f"{number} ({name})", service))
    return found


def ping(url: str) -> None:
    """Ask for ``url``, so that whoever watches it knows that all is well. Raises ``DeliveryError``."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    again = Retry(_ATTEMPTS - 1, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        try:
            session.get(url, timeout=TIMEOUT_SECONDS).raise_for_status()
        except requests.RequestException as error:
            # The URL is the secret by which these services know a sender, and the error quotes it.
            status = getattr(error.response, "status_code", None)
            raise DeliveryError(
                "expected COUNTERSIGN_HEARTBEAT_URL to answer with a status below 400, found "
                f"{f'status {status}' if status else type(error).__name__}: is the URL right, is it reached from here?"
            ) from None


@dataclass(frozen=True)
class Gauge:
    """One metric in Prometheus' sense: ``samples`` are the labels' values, in the order of ``labels``, and a number."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]


def push(gauges: Iterable[Gauge], gateway: str) -> None:
    """Replace what the push gateway at the URL ``gateway`` has of us. Raises ``DeliveryError``."""
    from prometheus_client import push_to_gateway

    try:
        push_to_gateway(gateway, job=_JOB, registry=_registry(gauges), timeout=TIMEOUT_SECONDS)
    except OSError as error:
        host = urlsplit(gateway).netloc
        raise DeliveryError(
            f"expected the push gateway at {host} (push.gateway in config/pipeline.yaml) to take the metrics, found: "
            f"{error}. They go there again with the next run"
        ) from error


def write_textfile(gauges: Iterable[Gauge], path: Path) -> None:
    """Write ``path``, whole or not at all, for the text-file collector of node_exporter. Raises ``DeliveryError``."""
    from prometheus_client import write_to_textfile

    try:
        write_to_textfile(str(path), _registry(gauges))
    except OSError as error:
        raise DeliveryError(
            f"expected to write {path} (push.textfile in config/pipeline.yaml), found: {error.strerror}. Make the "
            "folder, and let the daemon's user write in it"
        ) from error


def _registry(gauges: Iterable[Gauge]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry
    from prometheus_client import Gauge as PrometheusGauge

    registry = CollectorRegistry()
    for gauge in gauges:
        metric = PrometheusGauge(gauge.name, gauge.help, gauge.labels, registry=registry)
        for values, number in gauge.samples:
            (metric.labels(*values) if values else metric).set(number)
    return registry
