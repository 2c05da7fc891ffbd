"""Terminal: what a command is given besides its arguments, and what several print with.

Belongs here: the project folder, the clock and the places of keys, as ``cli`` found them. Does not belong here: finding
them, commands.
"""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from countersign.project import Project


_COMMAND: Final = re.compile(r"\b(countersign|make run|dagster asset) ")


@dataclass(frozen=True)
class Terminal:
    """``clock`` gives the time in UTC. ``key`` is the key that the environment names, ``keys`` where a person's lie."""

    home: Path
    """The project folder."""
    clock: Callable[[], datetime]
    key: Path | None
    keys: Path
    is_named: bool = False
    """Whether the folder was named by ``--home``, so that a command that is typed without it is on another project."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where the source finds the secrets that its settings name."""
    stopwatch: Callable[[], float] = lambda: math.nan
    """Seconds that only ever grow, to tell how long something took; not known unless ``cli`` says."""

    def open_project(self) -> Project:
        from countersign.project import open_project

        return open_project(self.home, self.clock().date(), self.environment)


def with_home(terminal: Terminal, text: str) -> str:
    """``text``, and where it names commands, how these are typed for a project that ``--home`` named."""
    if not terminal.is_named or not _COMMAND.search(text):
        return text
    return f"{text}\nTo type what is named here: export COUNTERSIGN_HOME={shlex.quote(str(terminal.home))}"


def as_text(value: Any) -> str:
    """``value`` as JSON, for a program to read."""
    from countersign.storage.codec import json_bytes

    return json_bytes(value).decode()


class Day(click.ParamType[str]):
    """A date, as ``YYYY-MM-DD``."""

    name = "date"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            self.fail(f"expected a date such as 2008-09-30, found {value!r}", param, ctx)


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, gone when the work is done: it pulses until it is told a share that is done.

    Nothing where standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda share: bar.update(task, total=1.0, completed=share)


class Pair(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``."""

    name = "pair"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        left, sign, right = str(value).partition("=")
        if not sign or not left.strip():
            self.fail(f"expected NAME=VALUE, found {value!r}", param, ctx)
        return left.strip(), right.strip()


def once(pairs: tuple[Any, ...], option: str) -> dict[str, Any]:
    """The pairs of an option that is given several times, each for another column."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise click.UsageError(f"expected each column once in {option}, found {', '.join(name for name, _ in pairs)}")
    return found
