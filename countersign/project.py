"""Project: one folder with a configuration and artifacts, opened.

Belongs here: building the plain objects that the configuration asks for. Does not belong here: what is done with
them (``steps``); the environment and the clock, which arrive as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from countersign.config import PipelineConfig, load_config
from countersign.contract import renamed
from countersign.errors import ConfigError, SessionError
from countersign.prices.sources import PriceSource, open_source
from countersign.sessions import SessionCalendar, load_calendar
from countersign.storage.artifacts import ArtifactStore
from countersign.storage.journal import Journal
from countersign.storage.predictions import PredictionLog


@dataclass(frozen=True)
class Project:
    """A project folder, ready for use. ``first_session`` is the first daily one; older sessions are history."""

    home: Path
    config: PipelineConfig
    calendar: SessionCalendar
    source: PriceSource
    store: ArtifactStore
    journal: Journal
    predictions: PredictionLog
    alerts: Journal
    environment: Mapping[str, str] = field(repr=False)
    """Where the source finds the secrets that its settings name."""

    @property
    def first_session(self) -> str:
        return self.config.first_session.isoformat()

    @property
    def last_session(self) -> str | None:
        last = self.config.last_session
        return last.isoformat() if last else None

    def daily_sessions(self, now: datetime) -> list[str]:
        """Every daily session there is so far: from the first to the last one, or to the newest that has closed."""
        last = min(filter(None, (self.calendar.last_closed(now), self.last_session)), default=self.first_session)
        return [s for s in self.calendar.between(self.first_session, last) if s not in self.missing_sessions]

    @property
    def missing_sessions(self) -> frozenset[str]:
        return frozenset(day.isoformat() for day in self.config.missing_sessions)

    @property
    def signers(self) -> Path:
        """Where it says who may sign."""
        return self.home / "config" / "allowed_signers"

    def commentary(self, session: str) -> Path:
        """Where a person's words on a session are looked for."""
        return self.home / "commentary" / f"{session}.md"


def open_project(home: Path, today: date, environment: Mapping[str, str] = MappingProxyType({})) -> Project:
    """Open the project in ``home``; its calendar reaches to the end of the year after ``today``.

    ``environment`` is where the source finds the secrets that its settings name.

    Raises ``ConfigError`` where the configuration cannot be used.
    """
    config = load_config(home)
    # A year more than the history, so that the session before its first one is known.
    first = (config.history.start - timedelta(days=365)).replace(day=1)
    calendar = load_calendar(
        config.calendar, first.isoformat(), f"{today.year + 1}-12-31", home / ".cache" / "calendars"
    )
    try:
        calendar.close(config.first_session.isoformat())
    except SessionError as error:
        raise ConfigError(f"first_session: {error}. Write one of them in config/pipeline.yaml") from error
    root = config.artifacts.root.removeprefix("file://")
    local = "://" not in root
    # Journals need locks and appending, so they stay on a local disk even where artifacts do not.
    records = home / root if local else home / "artifacts"
    return Project(
        home=home,
        config=config,
        calendar=calendar,
        source=open_source(config.source, home, calendar, config.symbols or (), environment, renamed(home)),
        store=ArtifactStore(str(home / root) if local else root, config.artifacts.format),
        journal=Journal(records / "journal.jsonl"),
        predictions=PredictionLog(records / "predictions"),
        alerts=Journal(records / "alerts.jsonl"),
        environment=environment,
    )
