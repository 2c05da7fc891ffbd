"""Delivery: to the outside world, over well-kept libraries: messages, the heartbeat, metrics.

Belongs here: channels and receivers, and their errors without the secrets that their URLs hold. Does not belong here:
what is said (``monitoring``), when (``sensors``).
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from countersign.errors import DeliveryError
from countersign.monitoring.alerts import Urgency

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

TIMEOUT_SECONDS: Final = 10
"""Between two bytes of a receiver."""

DEADLINE_SECONDS: Final = 25
"""For all that one tick of a sensor sends: Dagster ends a tick after 60 s."""

_JOB: Final = "countersign"
"""The job by which a push gateway groups what it was given."""


@dataclass(frozen=True)
class Channel:
    """One URL that messages go to. ``name`` is its place in the list, its service and six digits of a hash of the URL,
    so that another URL in the same place is another channel. It holds no secret."""

    name: str
    _service: Any

    def send(self, title: str, text: str, urgency: Urgency = "warning") -> None:
        """Raises ``DeliveryError`` where the service did not take it, or the URL is none."""
        if self._service is None:
            raise DeliveryError(
                f"number {self.name} of COUNTERSIGN_ALERT_URLS: expected a URL that apprise knows, such as slack://… "
                "or mailto://…. Correct it in the environment of the daemon and the code server"
            )
        if not self._service.notify(body=text, title=title, notify_type=urgency):
            raise DeliveryError(
                f"number {self.name} of COUNTERSIGN_ALERT_URLS did not take the message: is the service up, is the URL "
                "still right? It is tried again"
            )


def channels(urls: str) -> list[Channel]:
    """A channel for each URL in ``urls``, which commas or white space separate."""
    if not urls.strip(" ,\n\t"):
        return []
    from apprise import Apprise
    from apprise.common import OverflowMode

    # Its messages may quote the URL.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    found = []
    listed = [url.strip(" ,") for url in re.split(r"[\s,;]+(?=[A-Za-z0-9]+://)", urls.strip(" ,\n\t"))]
    for number, url in enumerate(listed, start=1):
        service = Apprise.instantiate(url, suppress_exceptions=True)
        if service and "overflow=" not in url:
            # A long message goes in parts: cut off, or refused for ever, it would tell nobody.
            service.overflow_mode = OverflowMode.SPLIT
        kind = service.service_name if service else "unknown service"
        digest = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:6]
        found.append(Channel(f"{number} ({kind}, {digest})", service))
    return found


def within(seconds: float, calls: Sequence[Callable[[], None]]) -> list[DeliveryError | None]:
    """Make ``calls`` at once; the error of each, None where it went well. One that has not ended in time has failed.

    Timeouts of network libraries are between two bytes: a receiver that drips would hold a sensor for ever.
    """
    futures: list[Future[None]] = [Future() for _ in calls]

    def make(call: Callable[[], None], future: Future[None]) -> None:
        try:
            call()
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)

    for call, future in zip(calls, futures, strict=True):
        # Daemons: one that never ends must not keep the process from ending.
        threading.Thread(target=make, args=(call, future), daemon=True).start()
    wait(futures, timeout=seconds)
    errors: list[DeliveryError | None] = []
    for future in futures:
        error = future.exception() if future.done() else DeliveryError(f"no answer came within {seconds:g} s")
        if error is not None and not isinstance(error, DeliveryError):
            raise error
        errors.append(error)
    return errors


def ping(url: str) -> None:
    """Ask for ``url``, so that whoever watches it knows that all is well. Raises ``DeliveryError``."""
    import requests

    try:
        # A redirect, to a page that asks who we are, say, is no answer; the body is nothing to wait for.
        with requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True) as answer:
            status = answer.status_code
    except (requests.RequestException, ValueError) as error:
        # The URL is the secret by which these services know a sender, and the error quotes it.
        raise DeliveryError(_unheard(type(error).__name__)) from None
    if not 200 <= status < 300:
        raise DeliveryError(_unheard(f"status {status}"))


def _unheard(found: str) -> str:
    return (
        f"expected COUNTERSIGN_HEARTBEAT_URL to answer with a status of 200 to 299, found {found}: is the URL right, "
        "is it reached from here? It is asked for again in a minute"
    )


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
        push_to_gateway(gateway, job=_JOB, registry=registry(gauges), timeout=TIMEOUT_SECONDS)
    except (OSError, HTTPException, ValueError) as error:
        host = urlsplit(gateway).netloc
        raise DeliveryError(
            f"expected the push gateway at {host} (push.gateway in config/pipeline.yaml) to take the metrics, found: "
            f"{error}. They go there again with the next run"
        ) from error


def write_textfile(gauges: Iterable[Gauge], path: Path) -> None:
    """Write ``path``, whole or not at all, for the text-file collector of node_exporter. Raises ``DeliveryError``."""
    from prometheus_client import write_to_textfile

    try:
        write_to_textfile(str(path), registry(gauges))
    except OSError as error:
        raise DeliveryError(
            f"expected to write {path} (push.textfile in config/pipeline.yaml), found: {error.strerror}. Make the "
            "folder, and let the daemon's user write in it"
        ) from error


def registry(gauges: Iterable[Gauge]) -> CollectorRegistry:
    """``gauges`` as the library of Prometheus writes them."""
    from prometheus_client import CollectorRegistry
    from prometheus_client import Gauge as PrometheusGauge

    found = CollectorRegistry()
    for gauge in gauges:
        metric = PrometheusGauge(gauge.name, gauge.help, gauge.labels, registry=found)
        for values, number in gauge.samples:
            (metric.labels(*values) if values else metric).set(number)
    return found
