"""Quarter: the tables that pages look back at, each session read once however many quarters it is part of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from countersign.pages.quarter import QUARTER
from countersign.project import Project
from countersign.storage.artifacts import ArtifactStore, Table
from countersign.storage.codec import combined_digest
from countersign.tables import DRIFT, METRICS, OUTCOMES, PRICES_REJECTED, SCORES, Column

_SAID: Final = ("date", "symbol", "decision", "bad_week_probability", "volatility_forecast")

_TABLES: Final[Mapping[str, tuple[tuple[Column, ...], tuple[str, ...]]]] = {
    "metrics": (METRICS, tuple(c.name for c in METRICS)),
    "drift": (DRIFT, tuple(c.name for c in DRIFT)),
    "scores": (SCORES, _SAID),
    "outcomes": (OUTCOMES, (*_SAID, "scored", "came_volatility", "bad_week")),
    "prices_rejected": (PRICES_REJECTED, tuple(c.name for c in PRICES_REJECTED)),
}
"""The columns that pages show."""


@dataclass(frozen=True)
class Quarter:
    """Tables of ``sessions``, one below the other with the ``session`` of each row, and the digest of each."""

    sessions: Sequence[str]
    frames: Mapping[str, pd.DataFrame]
    digests: Mapping[str, str]
    judged_by: Mapping[str, str]
    """The digest of the thresholds, by session."""
    scored_from: Mapping[str, Mapping[str, str]]
    """What the scores were made from, by session: of which model, in service by which decision."""


def quarter_sessions(project: Project, session: str) -> list[str]:
    """The daily sessions of the quarter up to ``session``, whether they are in the store or not."""
    days = project.calendar.lookback(session, QUARTER)
    return [day for day in days if day >= project.first_session and day not in project.missing_sessions]


def is_measured(store: ArtifactStore, session: str) -> bool:
    """Whether every table that pages show is there."""
    return all(store.has(name, session) for name in _TABLES)


class QuarterReader:
    """Reads quarters that overlap: of a session that two of them share, the files are read once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._kept: dict[str, dict[str, Table]] = {}

    def read(self, sessions: Sequence[str]) -> Quarter:
        """The tables of ``sessions``. Raises ``ArtifactError`` where one is missing or damaged."""
        self._kept = {session: self._kept.get(session) or self._tables(session) for session in sessions}
        each = {name: [tables[name] for tables in self._kept.values()] for name in _TABLES}
        return Quarter(
            sessions=sessions,
            frames={
                name: pd.concat([table.frame for table in tables], ignore_index=True) if tables else pd.DataFrame()
                for name, tables in each.items()
            },
            digests={name: combined_digest([t.stored.sha256 for t in tables]) for name, tables in each.items()},
            judged_by={s: tables["metrics"].stored.inputs["thresholds"] for s, tables in self._kept.items()},
            scored_from={s: tables["scores"].stored.inputs for s, tables in self._kept.items()},
        )

    def _tables(self, session: str) -> dict[str, Table]:
        found = {}
        for name, (columns, names) in _TABLES.items():
            table = self._store.read_table(name, session, columns, names)
            found[name] = Table(table.stored, table.frame.assign(session=session))
        return found
