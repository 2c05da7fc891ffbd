"""Bars from Yahoo Finance, over yfinance, which is installed with ``countersign[yfinance]``.

Belongs here: asking the library, and what its errors mean. Does not belong here: what a cell says (``cells``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from countersign.errors import ConfigError, CountersignError, EmptyReplyError, SourceError, TransportError
from countersign.prices.sources.bodies import Grid, scrub
from countersign.prices.sources.cells import as_text, to_frame
from countersign.prices.sources.shapes import ARRIVED, Reading, Reply
from countersign.prices.sources.transport import within

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from countersign.config import YahooSourceConfig

_THREADS: Final = 4
_TIMEOUT: Final = 30
"""Seconds that a request may take."""
_SECONDS: Final = 120.0
"""For all symbols of one read."""


class YahooSource:
    """Bars of ``symbols``, spelled as ``config`` says. What the library keeps for itself lies in ``home``."""

    uri = "yfinance"
    """What to write in logs and artifacts."""

    def __init__(self, config: YahooSourceConfig, home: Path, *, zone: str, symbols: Sequence[str]) -> None:
        self._config, self._home, self._zone, self._symbols = config, home, zone, symbols

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``."""
        yfinance = self._library()
        found = within(_SECONDS, partial(self._read, yfinance, first, last))
        if found is None:
            raise TransportError(
                f"{self.uri}: expected the bars of {len(self._symbols)} symbols within {_SECONDS:g} s, found some "
                "missing. Nothing was read; ask for fewer sessions (a later history.start) or symbols, then run again"
            )
        return found

    def symbols(self) -> list[str]:
        """The configured ones: Yahoo cannot be asked for all that it has."""
        return sorted(self._symbols)

    def _library(self) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                import yfinance
                from yfinance.data import YfData
        except ImportError as error:
            raise ConfigError(
                f"source.kind: expected yfinance to be installed, found: {error}. pip install 'countersign[yfinance]', "
                "or choose another kind of source"
            ) from None
        # Time zones of symbols and cookies; else it keeps them in the user's home folder.
        yfinance.set_tz_cache_location(str(self._home / ".cache" / "yfinance"))
        yfinance.config.debug.hide_exceptions = False
        # It would hand out what it was told earlier in this process, though Yahoo has corrected it since.
        YfData.cache_get.cache_clear()
        return yfinance

    def _read(self, yfinance: Any, first: str, last: str) -> pd.DataFrame:
        reply = Reply(self.uri, Reading(self._zone, first=first, last=last))
        with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
            # yfinance 1.7.0 uses what pandas 4 will drop; until it has a release without such warnings.
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [pool.submit(self._history, yfinance, symbol, first, last) for symbol in self._symbols]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(wait=False, cancel_futures=True)
            failed = next((error for future in futures if future in done and (error := future.exception())), None)
        if failed is not None:
            raise failed
        found = dict(zip(self._symbols, (future.result() for future in futures), strict=True))
        grids = {symbol: _grid(one) for symbol, one in found.items() if not isinstance(one, EmptyReplyError)}
        silent = {symbol: one for symbol, one in found.items() if isinstance(one, EmptyReplyError)}
        if not grids:
            raise next(iter(silent.values()))
        tables = (table for symbol, grid in grids.items() for table in reply.rows(grid, symbol, self.uri))
        frame = to_frame(tables, self.uri)
        frame.attrs[ARRIVED] = replace(reply.arrived, silent=tuple(silent))
        return frame

    def _history(self, yfinance: Any, symbol: str, first: str, last: str) -> pd.DataFrame | EmptyReplyError:
        """Its quotes as yfinance has them: a bar a row, dated in the zone of the symbol's own exchange."""
        end = date.fromisoformat(last) + timedelta(days=1)
        try:
            ticker = yfinance.Ticker(self._config.spelling.get(symbol, symbol))
            # Without the adjustment of all prices, there is an adjusted close beside the quoted one.
            found = ticker.history(start=first, end=end.isoformat(), auto_adjust=False, actions=False, timeout=_TIMEOUT)
        except Exception as error:
            refusal = _refusal(error, symbol, self.uri)
            if isinstance(refusal, EmptyReplyError):
                return refusal
            raise refusal from None
        return _nothing(symbol, self.uri, "no rows") if found.empty else found


def _refusal(error: Exception, symbol: str, uri: str) -> CountersignError:
    from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

    if isinstance(error, YFTickerMissingError):
        # It, and Yahoo, speculate in the same breath.
        said = re.sub(r"(?i)[,;]? *(symbol )?(may be|possibly) delisted", "", str(error.rationale))
        return _nothing(symbol, uri, scrub(said, 120))
    if isinstance(error, YFRateLimitError):
        return TransportError(
            f"{uri}: expected bars of {symbol}, found that Yahoo limits our requests. Wait, or ask for fewer symbols, "
            "then run again"
        )
    words = f"{type(error).__name__}: {scrub(str(error), 120)}"
    if isinstance(error, OSError):
        # Those of curl and of requests are, too.
        return TransportError(
            f"{uri}: expected bars of {symbol}, found that Yahoo could not be reached: {words}. Check the connection, "
            "then run again"
        )
    return SourceError(
        f"{uri}: expected bars of {symbol}, found a reply that yfinance cannot read: {words}. Run again later; where "
        "it stays so, install a newer yfinance"
    )


def _nothing(symbol: str, uri: str, found: str) -> EmptyReplyError:
    return EmptyReplyError(
        f"{uri}: expected bars of {symbol}, found none ({found}). Check the symbol, its source.spelling and the dates, "
        "then run again: that nothing came does not say that it was delisted"
    )


def _grid(frame: pd.DataFrame) -> Grid:
    """A frame as rows of text cells. The day is the index's own: midnight in Tokyo is no day before in New York."""
    import pyarrow as pa

    index: Any = frame.index
    cells: dict[str, Any] = {"Date": index.strftime("%Y-%m-%d")} | {str(name): frame[name] for name in frame}
    names = list(cells)

    def batches(places: Sequence[int]) -> Iterator[dict[int, pa.Array]]:
        yield {place: as_text(pa.array(cells[names[place]], from_pandas=True)) for place in places}

    return Grid(names, batches)
