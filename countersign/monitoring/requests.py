"""Requests: how the server's own requests went, from ``requests.jsonl``. Does not belong here: the verdict on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from countersign.monitoring.latency import Runs

LOG: Final = "requests.jsonl"
FILES: Final = 3
"""Older files, ``requests.jsonl.1`` the newest of them."""
WINDOW: Final = timedelta(hours=24)
"""That requests of a session are looked at, up to its scores."""
NEWEST: Final = 100_000
"""Requests that are looked at, at most: more make no bound narrower that anybody would notice."""
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes that are asked by machines and say nothing of a user's wait."""

_STAMP: Final = slice(7, 31)
"""Where a line has its time."""


def recent_requests(folder: Path, until: datetime) -> Runs:
    """The newest requests of the ``WINDOW`` up to ``until``: how long each took, in milliseconds, and how many failed.

    None where no server ran. A request that was wrong (4xx) is no fault of the system and counts as neither; a line
    that is none is left out.
    """
    first, last = (_text(moment).encode() for moment in (until - WINDOW, until))
    newest = deque((line for line in _lines(folder) if first < line[_STAMP] <= last), NEWEST)
    took, failed = list[float](), 0
    for line in newest:
        try:
            found = orjson.loads(line)
            route, status, ms = found["route"], int(found["status"]), float(found["ms"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            # The last line of a server that was killed.
            continue
        if route in PROBES:
            continue
        failed += status >= 500
        if status < 400:
            took.append(ms)
    return Runs(np.array(took, dtype=float), failed)


def _lines(folder: Path) -> Iterator[bytes]:
    for name in (*(f"{LOG}.{number}" for number in range(FILES, 0, -1)), LOG):
        try:
            with (folder / name).open("rb") as file:
                yield from file
        except FileNotFoundError:
            continue


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"
