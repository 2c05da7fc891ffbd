"""Quarantine: rows that a person let through, as the journal has them.

Belongs here: what a release is. Does not belong here: recording one (``steps.quarantine``), applying it (``clean``).
A release is an act of a person on data, not on a model: it needs no signature, and stays on record for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

EVENT: Final = "quarantine_released"


@dataclass(frozen=True)
class Release:
    """One row let through. It holds for the row with the digest ``bar``: for these very values, and no others."""

    session: str
    symbol: str
    rule: str
    bar: str
    by: str
    reason: str


def releases(lines: Sequence[Mapping[str, Any]]) -> list[Release]:
    """The releases among the journal's lines, in order."""
    return [
        Release(**{name: line[name] for name in Release.__dataclass_fields__})
        for line in lines
        if line["event"] == EVENT
    ]
