"""Journal: an append-only record, such as that of all that happens to models.

Belongs here: reading, appending, the hash chain. Does not belong here: what the lines mean (``gate.state``,
``monitoring.alerts``), who may add one.

Each line is canonical JSON with the SHA-256 of the rest of itself and that of the line before, so that a changed,
removed or reordered line is found. A last line that was cut short (a crash while it was written) never happened; one
that lacks nothing but its newline did. What the file alone cannot show is that whole lines are missing at its end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from countersign.errors import JournalError
from countersign.storage.codec import json_bytes
from countersign.storage.files import locked, reached, sync_folder

GENESIS: Final = "0" * 64
"""What the first line has for the hash of the line before."""

Event = tuple[str, dict[str, Any]]
"""What is to be added: the event's name, and the line's other fields."""

_TAIL: Final = 65_536


class Journal:
    """``journal.jsonl`` at ``path``, a local file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All lines, verified. Raises ``JournalError`` with the number of the first line that is wrong."""
        return self._read()[0]

    def append(self, event: str, at: datetime, after: str | None = None, **fields: Any) -> dict[str, Any]:
        """Add one line, on disk before this returns. ``at`` is time-zone-aware.

        ``after`` is the ``head`` that the decision to append was made on. Raises ``JournalError`` where another line
        has come since.
        """

        def decide(lines: Sequence[dict[str, Any]]) -> list[Event]:
            if after is not None and after != head(lines):
                raise JournalError(
                    f"{self.path}: expected line {after[:12]} to be the last one, found {head(lines)[:12]}: another "
                    "process has written to it. Nothing was added; run it again"
                )
            return [(event, fields)]

        return self.extend(decide, at)[0]

    def extend(self, decide: Callable[[list[dict[str, Any]]], Sequence[Event]], at: datetime) -> list[dict[str, Any]]:
        """Add what ``decide`` says of the lines that are there, none or several, while no other process can write.

        Returns the lines that were added, on disk. A crash leaves the first ones of them, each whole.
        """
        with locked(self.path.with_suffix(".lock")):
            lines, size, ended = self._read()
            added: list[dict[str, Any]] = []
            for event, fields in decide(lines):
                entry = _sealed(
                    {
                        "event": event,
                        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
                        "previous": head([*lines[-1:], *added[-1:]]),
                        **fields,
                    }
                )
                added.append(entry)
            if added:
                with self.path.open("ab") as file:
                    file.truncate(size)
                    file.write((b"" if ended else b"\n") + b"".join(json_bytes(entry) + b"\n" for entry in added))
                    file.flush()
                    reached(f"journal: {added[-1]['event']} written")
                    os.fsync(file.fileno())
                sync_folder(self.path.parent)
            return added

    def last(self) -> dict[str, Any] | None:
        """The newest line alone, at the same cost however many there are; what comes before it is not verified."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            for line in reversed(file.read().split(b"\n")):
                if entry := _entry(line):
                    return entry
        # A longer line than that, or a broken file, which then says where.
        return next(reversed(self.read()), None)

    def _read(self) -> tuple[list[dict[str, Any]], int, bool]:
        """The lines, the bytes that they take, and whether the last one has its newline."""
        data = self.path.read_bytes() if self.path.exists() else b""
        *whole, torn = data.split(b"\n")
        if _entry(torn):
            whole, torn = [*whole, torn], b""
        lines: list[dict[str, Any]] = []
        for number, line in enumerate(whole, start=1):
            entry = _entry(line)
            if entry is None or entry["previous"] != head(lines):
                raise JournalError(
                    f"{self.path}, line {number}: expected a line that carries its own hash and that of the line "
                    "before; it was changed, removed or reordered. Restore the file from a backup: until then "
                    "nothing that rests on it is used"
                )
            lines.append(entry)
        size = len(data) - len(torn)
        return lines, size, not lines or data[size - 1 : size] == b"\n"


def head(lines: Sequence[dict[str, Any]]) -> str:
    """The hash of the last line."""
    return lines[-1]["sha256"] if lines else GENESIS


def _sealed(entry: dict[str, Any]) -> dict[str, Any]:
    """``entry`` with the hash of all else that it says."""
    rest = {key: value for key, value in entry.items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(json_bytes(rest)).hexdigest()}


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says, or None where it is not, byte for byte, a line as ``append`` writes it."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    sound = isinstance(entry, dict) and "previous" in entry and json_bytes(_sealed(entry)) == line
    return entry if sound else None
