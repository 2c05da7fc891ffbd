"""Requests: how the server's own requests went, from ``requests.jsonl``. Does not belong here: the verdict on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import orjson

LOG: Final = "requests.jsonl"
FILES: Final = 3
"""Older files, ``requests.jsonl.1`` the newest of them."""
WINDOW: Final = timedelta(hours=24)
"""That requests of a session are looked at, up to its scores."""


@dataclass(frozen=True)
class Requests:
    """Requests that were answered: how long each took, in milliseconds (n,), and how many of them failed (5xx)."""

    milliseconds: np.ndarray
    failed: int


def recent_requests(folder: Path, until: datetime) -> Requests:
    """The requests of the ``WINDOW`` up to ``until``, none where no server ran. A line that is none is left out."""
    first, last = (_text(moment) for moment in (until - WINDOW, until))
    took, failed = list[float](), 0
    for line in _lines(folder):
        try:
            found = orjson.loads(line)
            at, status, ms = found["at"], found["status"], float(found["ms"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            # The last line of a server that was killed.
            continue
        if first < at <= last:
            took.append(ms)
            failed += status >= 500
    return Requests(np.array(took), failed)


def _lines(folder: Path) -> Iterator[bytes]:
    for name in (*(f"{LOG}.{number}" for number in range(FILES, 0, -1)), LOG):
        try:
            with (folder / name).open("rb") as file:
                yield from file
        except FileNotFoundError:
            continue


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"
