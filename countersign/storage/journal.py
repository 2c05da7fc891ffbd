"""Journal: the append-only record of all that happens to models, and the state that follows from it.

Belongs here: reading, appending, the hash chain, and ``champion`` as a pure function of the lines. Does not belong
here: who decides, and the models' bytes (``artifacts``).

Each line is canonical JSON with the SHA-256 of the line before, so that a changed, removed or reordered line is
found. A last line without its end (a crash while it was written) never happened.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from countersign.errors import JournalError
from countersign.storage.codec import json_bytes
from countersign.storage.files import locked, reached

GENESIS: Final = "0" * 64
"""What the first line has for the hash of the line before."""


@dataclass(frozen=True)
class Champion:
    """The model in service: its digest, since when (UTC), and on whose word."""

    sha256: str
    deployed_at: str
    decision: str


class Journal:
    """``journal.jsonl`` at ``path``, a local file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All lines, verified. Raises ``JournalError`` with the number of the first line that is wrong."""
        lines, _ = self._read()
        return lines

    def append(self, event: str, at: datetime, **fields: Any) -> dict[str, Any]:
        """Add one line, on disk before this returns. ``at`` is time-zone-aware."""
        with locked(self.path.with_suffix(".lock")):
            lines, size = self._read()
            entry = {
                "event": event,
                "at": at.astimezone(UTC).isoformat(timespec="seconds"),
                "previous": _hash(lines[-1]) if lines else GENESIS,
                **fields,
            }
            with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                file.truncate(size)
                file.seek(size)
                file.write(json_bytes(entry) + b"\n")
                file.flush()
                reached(f"journal: {event} written")
                os.fsync(file.fileno())
            return entry

    def _read(self) -> tuple[list[dict[str, Any]], int]:
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        lines: list[dict[str, Any]] = []
        previous = GENESIS
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = orjson.loads(line)
                sound = json_bytes(entry) == line and entry["previous"] == previous
            except (orjson.JSONDecodeError, KeyError, TypeError):
                sound = False
            if not sound:
                raise JournalError(
                    f"{self.path}, line {number}: expected a line that carries the hash of the line before; it was "
                    "changed, removed or reordered. No model is used until the file is restored from a backup"
                )
            lines.append(entry)
            previous = hashlib.sha256(line).hexdigest()
        return lines, len(whole)


def _hash(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json_bytes(entry)).hexdigest()


def champion(lines: Sequence[dict[str, Any]]) -> Champion | None:
    """The model in service according to the journal, or None before the first was deployed."""
    for entry in reversed(lines):
        if entry["event"] == "deployed":
            return Champion(entry["model"], entry["at"], entry["decision"])
    return None
