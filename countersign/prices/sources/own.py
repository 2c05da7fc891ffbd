"""A source that a user writes: a class of theirs, and the rules of all sources around it.

Belongs here: finding the class, and reading its table as any other. Does not belong here: any source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from countersign.errors import ConfigError, CountersignError, SourceError
from countersign.prices.sources.cells import NUMBERS, Symbols, as_text, days, read_numbers, to_frame

if TYPE_CHECKING:
    import pandas as pd


class OwnSource:
    """The source ``path`` (``module:Class``, from ``home`` or installed), made with ``options``.

    Its class has ``uri``, ``read(first, last)`` and ``symbols()`` as ``PriceSource`` has them. A table without
    ``adj_close``, ``volume`` or ``unreadable`` is completed, and dates, symbols and numbers are read as those of a
    file are.
    """

    def __init__(self, path: str, options: Mapping[str, Any], home: Path, zone: str) -> None:
        if str(home) not in sys.path:
            # Behind all else, so that no file of the folder hides a package.
            sys.path.append(str(home))
        try:
            self._made = resolve_name(path)(options)
            self._uri = str(self._made.uri)
        except Exception as error:
            raise ConfigError(
                f"source.object: expected a class as module:Class that takes the options and has a uri, found {path!r}"
                f": {type(error).__name__}: {str(error)[:200]}. Put its module beside config/, or install it"
            ) from error
        self._zone = ZoneInfo(zone)

    @property
    def uri(self) -> str:
        """What the source calls itself."""
        return self._uri

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        frame = self._asked(lambda: self._made.read(first, last))
        missing = [n for n in ("date", "symbol", "close") if n not in getattr(frame, "columns", ())]
        if missing:
            raise SourceError(
                f"{self._uri}: expected a table with date, symbol, open, high, low and close, found none of "
                f"{', '.join(missing)} in a {type(frame).__name__}. Correct its read"
            )
        names = ["date", "symbol", *(n for n in NUMBERS if n in frame.columns)]
        try:
            table = pa.Table.from_pandas(frame[names], preserve_index=False).combine_chunks()
            cells = {n: as_text(table[n].combine_chunks()) for n in names}
        except pa.ArrowException as error:
            raise SourceError(
                f"{self._uri}: expected columns of one type each, found {error}. Correct its read"
            ) from error
        symbols = pc.utf8_trim_whitespace(cells["symbol"])
        date = days(cells["date"], symbols, self._zone, self._uri)
        kept = pc.and_(pc.greater_equal(date, first), pc.less_equal(date, last))
        read = pa.table(
            {
                "date": date,
                "symbol": Symbols(self._uri).column(symbols),
                **read_numbers({n: cells[n] for n in names[2:]}, len(date)),
            }
        )
        return to_frame([read.filter(kept)], self._uri)

    def symbols(self) -> list[str]:
        """See ``PriceSource.symbols``."""
        names = Symbols(self._uri)
        return sorted({names.normal(str(symbol)) for symbol in self._asked(lambda: list(self._made.symbols()))})

    def _asked(self, question: Callable[[], Any]) -> Any:
        """What the class answers; what goes wrong in it is told as its fault."""
        try:
            return question()
        except CountersignError:
            raise
        except Exception as error:
            raise SourceError(
                f"{self._uri}: expected bars, found an error in the source's own code: {type(error).__name__}: "
                f"{str(error)[:200]}. Correct it there, then run again"
            ) from error
