"""Log: ``requests.jsonl``, a line a request: when, what route, how it went. No payload, no token, no address.

Belongs here: buffering, rotation. Does not belong here: reading it back (``monitoring.requests``). Nothing here waits
for the disk but ``flush``, and what the disk does not take is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from countersign.monitoring.requests import FILES, LOG

MAX_BYTES: Final = 32 * 2**20
"""Of one file; ``FILES`` older ones are kept beside it."""
MAX_BUFFERED: Final = 50_000
"""Lines that wait for the disk: some seconds at full load."""


class RequestLog:
    """``requests.jsonl`` in ``folder``. ``clock`` gives the time in UTC."""

    def __init__(self, folder: Path, clock: Callable[[], datetime], max_bytes: int = MAX_BYTES) -> None:
        self.path = folder / LOG
        self.dropped = 0
        self._clock = clock
        self._max_bytes = max_bytes
        self._lines: list[bytes] = []

    def add(self, route: str, status: int, seconds: float, rows: int, model: str) -> None:
        """Note a request that was answered. ``route`` is a route of the application, never what was asked for."""
        if len(self._lines) >= MAX_BUFFERED:
            self.dropped += 1
            return
        at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")[:23]
        # Every part is a number or one of our own words, so that nothing has to be escaped.
        self._lines.append(
            b'{"at":"%bZ","route":"%b","status":%d,"ms":%.3f,"rows":%d,"model":"%b"}\n'
            % (at.encode(), route.encode(), status, seconds * 1000, rows, model[:12].encode())
        )

    def flush(self) -> None:
        """Put what waits on disk. Raises nothing: a full disk stops no answer."""
        # Never exchanged: a request that is being noted may have it in hand.
        lines = self._lines[:]
        del self._lines[: len(lines)]
        if not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"".join(lines))
                size = file.tell()
            if size >= self._max_bytes:
                self._rotate()
        except OSError:
            self.dropped += len(lines)

    def _rotate(self) -> None:
        for number in range(FILES - 1, 0, -1):
            older = self.path.with_name(f"{LOG}.{number}")
            if older.exists():
                older.replace(self.path.with_name(f"{LOG}.{number + 1}"))
        self.path.replace(self.path.with_name(f"{LOG}.1"))
