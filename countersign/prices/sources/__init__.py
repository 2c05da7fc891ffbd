"""Sources: where bars come from, one module a kind.

Belongs here: reading bars as the source says them. Does not belong here: judging them (``clean``), keeping them
(``artifacts``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from countersign.config import SourceConfig
    from countersign.sessions import SessionCalendar


class PriceSource(Protocol):
    """One supplier of daily bars."""

    @property
    def uri(self) -> str:
        """What to write in logs and artifacts: no secrets."""
        ...

    def read(self, first: str, last: str) -> pd.DataFrame:
        """Bars of all symbols dated ``first`` … ``last`` (``YYYY-MM-DD``, both included), in one reply.

        Columns: those of ``tables.SOURCE_COLUMNS``, and ``unreadable`` with the cells that are no number. May be empty.
        Raises ``SourceError`` for a reply that is not bars, ``TransportError`` where the source cannot be reached.
        """
        ...

    def symbols(self) -> list[str]:
        """Every symbol that the source has any bar of, sorted."""
        ...


def open_source(
    config: SourceConfig,
    home: Path,
    calendar: SessionCalendar,
    symbols: Sequence[str],
    environment: Mapping[str, str],
    rename: Mapping[str, str] = MappingProxyType({}),
) -> PriceSource:
    """The source that ``source`` of ``config/pipeline.yaml`` asks for. ``symbols`` are the configured ones, ``rename``
    what the data contract renames besides.

    Raises ``ConfigError`` where it cannot be made. What it needs is imported here: nobody pays for another's library.
    """
    from countersign import config as kinds

    zone = calendar.timezone
    match config:
        case kinds.FileSourceConfig():
            from countersign.prices.sources.files import FileSource

            return FileSource(
                config.path,
                home,
                zone=zone,
                profile=config.profile,
                symbol=config.symbol,
                rename={**rename, **config.rename},
                max_bars=config.max_bars,
                dates=config.dates,
                decimal=config.decimal,
            )
        case kinds.HttpSourceConfig():
            from countersign.prices.sources.http import HttpSource

            named = config.model_copy(update={"rename": {**rename, **config.rename}})
            return HttpSource(named, zone=zone, symbols=symbols, sessions=calendar.between, environment=environment)
        case kinds.SqlSourceConfig():
            from countersign.prices.sources.sql import SqlSource

            asked = config.model_copy(update={"rename": {**rename, **config.rename}})
            return SqlSource(asked, home, zone=zone, environment=environment)
        case kinds.YahooSourceConfig():
            from countersign.prices.sources.yahoo import YahooSource

            return YahooSource(config, home, zone=zone, symbols=symbols)
        case kinds.OwnSourceConfig():
            from countersign.prices.sources.own import OwnSource

            return OwnSource(config.object, config.options, home, zone)
