"""Terminal: what a command is given besides its arguments, and what several print with.

Belongs here: the project folder, the clock and the places of keys, as ``cli`` found them. Does not belong here: finding
them, commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from countersign.project import Project


@dataclass(frozen=True)
class Terminal:
    """``clock`` gives the time in UTC. ``key`` is the key that the environment names, ``keys`` where a person's lie."""

    home: Path
    clock: Callable[[], datetime]
    key: Path | None
    keys: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where the source finds the secrets that its settings name."""

    def open_project(self) -> Project:
        from countersign.project import open_project

        return open_project(self.home, self.clock().date(), self.environment)


def as_text(value: Any) -> str:
    """``value`` as JSON, for a program to read."""
    from countersign.storage.codec import json_bytes

    return json_bytes(value).decode()


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, moved by the share that is done; nothing where that is no terminal."""
    with click.progressbar(length=1000, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        yield lambda share: bar.update(round(1000 * share) - bar.pos)
