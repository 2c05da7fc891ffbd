"""Sources: where bars come from, one module a kind.

Belongs here: reading bars as the source says them. Does not belong here: judging them (``clean``), keeping them
(``artifacts``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


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
