"""Made: what every step yields, and the words that steps share. Does not belong here: any step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from countersign.checks import CheckResult
from countersign.storage.artifacts import Stored

Numbers = Mapping[str, float | int | str | dict[str, float | int]]


@dataclass(frozen=True)
class Made:
    """One artifact that a step stored: its session (None where it has none), verdicts, and numbers that describe it."""

    session: str | None
    stored: Stored
    checks: tuple[CheckResult, ...]
    numbers: Numbers = field(default_factory=dict)
    preview: str = ""
    """Markdown for a person who looks at the artifact in Dagster."""
    page: str = ""
    """Where the same lies as a page for a browser."""


def again(asset: str, session: str) -> str:
    """The command that makes an artifact, and all that follows from it, anew."""
    return (
        "Run it again: dagster asset materialize -m definitions "
        f"--select 'key:{asset}+ and tag:daily' --partition {session}"
    )
