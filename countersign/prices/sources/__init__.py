"""Sources: where bars come from, one module a kind.

Belongs here: reading bars as the source says them. Does not belong here: judging them (``clean``), keeping them
(``artifacts``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from countersign.config import SourceConfig


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
    config: SourceConfig, home: Path, zone: str, rename: Mapping[str, str] = MappingProxyType({})
) -> PriceSource:
    """The source that ``source`` of ``config/pipeline.yaml`` asks for. ``zone`` is the exchange's time zone,
    ``rename`` what the data contract renames besides.

    Raises ``ConfigError`` where it cannot be made. What it needs is imported here: nobody pays for another's library.
    """
    from countersign.config import FileSourceConfig, OwnSourceConfig

    match config:
        case FileSourceConfig():
            from countersign.prices.sources.files import FileSource

            return FileSource(
                config.path,
                home,
                zone=zone,
                profile=config.profile,
                symbol=config.symbol,
                rename={**rename, **config.rename},
                max_bars=config.max_bars,
            )
        case OwnSourceConfig():
            from countersign.prices.sources.own import OwnSource

            return OwnSource(config.object, config.options, home, zone)
