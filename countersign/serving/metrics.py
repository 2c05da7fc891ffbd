"""Metrics: what the server counts, and what monitoring says, in Prometheus' form.

Belongs here: names, labels, buckets. Does not belong here: what is counted (``front``), thresholds.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from countersign.delivery import Gauge, registry
from countersign.serving.log import RequestLog
from countersign.serving.watch import Watch

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "countersign_http_requests", "Requests that were answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "countersign_http_request_seconds",
            "From the last byte of a request to its answer.",
            ("route",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._rows = Counter("countersign_predictions", "Rows that were predicted.", registry=self._registry)
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def add(self, route: str, status: int, seconds: float, rows: int) -> None:
        """Count a request."""
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = self._requests.labels(route, str(status))
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        counter.inc()
        histogram.observe(seconds)
        if rows:
            self._rows.inc(rows)

    def text(self, watch: Watch, log: RequestLog) -> bytes:
        """All of it. What is not known has no sample, so that no alarm takes it for a number."""
        age, served, request = watch.age_seconds(), watch.served, watch.state.open_request
        own = [
            Gauge("countersign_ready", "1 where the champion is served.", (), [((), float(not watch.trouble))]),
            Gauge("countersign_pending_sign_offs", "Candidates that wait.", (), [((), float(request is not None))]),
            Gauge("countersign_request_log_dropped", "Lines that were not logged.", (), [((), float(log.dropped))]),
            Gauge(
                "countersign_model_age_seconds",
                "Since the served model was deployed.",
                (),
                [((), age)] if age is not None else [],
            ),
            Gauge(
                "countersign_model_info",
                "The served model.",
                ("model", "decision"),
                [((served.model, served.service.champion.decision), 1.0)] if served else [],
            ),
        ]
        said = [
            Gauge(gauge.name, gauge.help, gauge.labels, [(k, v) for k, v in gauge.samples if v == v])
            for gauge in watch.gauges
        ]
        return bytes(generate_latest(self._registry) + generate_latest(registry([*own, *said])))
