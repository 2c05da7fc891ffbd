"""Predictions: the append-only log of what was said of each session, by which model, and when.

Belongs here: keeping and finding what was said first, which is what a model is held to. Does not belong here: what came
of it (``steps.monitoring``).

``scores`` of a session may be made again, after a restatement or by a later model; the log keeps the first ones. A
file a month, each chained as the journal is, so that a day's work does not grow with the years.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countersign.storage.journal import Journal

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Prediction:
    """What was said of ``session``, and when: the digests of the scores and the model, and the scores' columns."""

    session: str
    at: datetime
    scores: str
    model: str
    columns: Mapping[str, list[Any]]


class PredictionLog:
    """Monthly files below ``folder``, a local one as the journal's is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, session: str, scores: str, model: str, table: pd.DataFrame, at: datetime) -> None:
        """Put ``table``, whose digest is ``scores``, on record, unless the same was said before."""
        log = self._month(session)
        if any(line["session"] == session and line["scores"] == scores for line in log.read()):
            return
        columns = {
            name: [None if value != value else value for value in table[name].tolist()]
            for name in table.columns
            if name != "date"
        }
        log.append("scored", at, session=session, scores=scores, model=model, columns=columns)

    def first(self, session: str) -> Prediction | None:
        """What was said first of ``session``, or None. Raises ``JournalError`` where the record is broken."""
        return self.firsts([session]).get(session)

    def firsts(self, sessions: Iterable[str]) -> dict[str, Prediction]:
        """As ``first``, of each of ``sessions`` that was scored; the file of a month is read once."""
        wanted, found = set(sessions), dict[str, Prediction]()
        for month in sorted({session[:7] for session in wanted}):
            for line in self._month(month).read():
                session = line["session"]
                if session in wanted and session not in found:
                    at = datetime.fromisoformat(line["at"])
                    found[session] = Prediction(session, at, line["scores"], line["model"], line["columns"])
        return found

    def _month(self, session: str) -> Journal:
        return Journal(self._folder / f"{session[:7]}.jsonl")
