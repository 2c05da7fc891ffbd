"""Bars from one CSV or Parquet file, plain or gzipped, local or behind an fsspec URL.

Belongs here: finding columns, filtering by date while reading, text to numbers. Does not belong here: rules.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from countersign.errors import SourceError, TransportError
from countersign.tables import SOURCE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_REQUIRED: Final = ("date", "symbol", "open", "high", "low", "close")
_NUMBERS: Final = tuple(c.name for c in SOURCE_COLUMNS if c.kind == "number")
_MISSING: Final = ("", "nan", "null", "none", "na", "n/a", ".", "-")
"""Spellings of a missing number, in lower case."""
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})([T ].*)?", re.ASCII)
_SECRET: Final = re.compile(r"(?<=://)[^/]*@|[?#].*?(?=::|$)")
"""What of a URL is not to be shown: user name and password, and the query (signed URLs), in each link of a chain."""


class FileSource:
    """Bars from the file at ``location``: a path (relative ones from ``folder``) or an fsspec URL."""

    def __init__(self, location: str, folder: Path) -> None:
        self._remote = "://" in location
        self._location = location if self._remote else str(folder / location)
        self._uri = _SECRET.sub("", location) if self._remote else location
        # Of a chain of URLs (simplecache::zip://a.csv::s3://…) the first that has a path names the file.
        named = [url for url in self._uri.split("::") if "://" in url] or [location]
        self._name = Path(named[0]).name.lower()

    @property
    def uri(self) -> str:
        """The location as configured, without a user name, password or query."""
        return self._uri

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``."""
        import pyarrow as pa

        parts = [_between(table, first, last) for table in self._tables(list(_NUMBERS))]
        return _readable(pa.concat_tables(parts).combine_chunks())

    def symbols(self) -> list[str]:
        """See ``PriceSource.symbols``."""
        import pyarrow.compute as pc

        found: set[str] = set()
        for table in self._tables([]):
            found.update(pc.unique(table["symbol"]).to_pylist())
        return sorted(found - {""})

    def _tables(self, numbers: list[str]) -> Iterator[pa.Table]:
        """The file in pieces, all columns as text, dates checked. At least one piece."""
        import pyarrow as pa

        read = self._parquet if ".parquet" in self._name else self._csv
        empty = True
        try:
            for table in read(numbers):
                empty = False
                yield self._with_days(table)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            raise SourceError(
                f"source.path: expected a file of prices, found none that can be opened at {self.uri} "
                f"({self._words(error)}); correct it in config/pipeline.yaml"
            ) from None
        except (pa.ArrowException, csv.Error, UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise SourceError(
                f"{self.uri}: expected a whole CSV file in UTF-8 (packed: .csv.gz) or a Parquet file: "
                f"{self._words(error)}. Correct it or deliver it again, then run again"
            ) from error
        except OSError as error:
            if self._remote:
                # Without the cause, whose words may hold the password.
                raise TransportError(f"{self.uri} could not be reached: {self._words(error)}") from None
            raise SourceError(
                f"{self.uri}: expected a readable file: {error}. Deliver it again, then run again"
            ) from error
        if empty:
            raise SourceError(f"{self.uri}: expected bars, found an empty file. Deliver it again, then run again")

    def _words(self, error: Exception) -> str:
        """An error's message without the parts of the location that are secret."""
        text = str(error).rstrip(".")
        for secret in _SECRET.findall(self._location) if self._remote else ():
            text = text.replace(secret, "")
        return text

    def _csv(self, numbers: list[str]) -> Iterator[pa.Table]:
        import pyarrow as pa
        from pyarrow import csv as pacsv

        with self._open() as opened:
            # Not every file of fsspec has a peek.
            file = io.BufferedReader(opened)
            names = self._columns(next(csv.reader([file.readline().decode("utf-8-sig")]), []))
            if not file.peek(1):
                return
            reader = pacsv.open_csv(
                file,
                read_options=pacsv.ReadOptions(column_names=names, block_size=1 << 22),
                convert_options=pacsv.ConvertOptions(
                    include_columns=_wanted(names, numbers),
                    column_types={name: pa.string() for name in names},
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _parquet(self, numbers: list[str]) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with self._open(decompress=False) as opened:
            file = pq.ParquetFile(opened)
            found = file.schema_arrow.names
            source = dict(zip(self._columns(found), found, strict=True))
            wanted = _wanted(list(source), numbers)
            for batch in file.iter_batches(columns=[source[name] for name in wanted]):
                yield pa.table({name: _as_text(batch[source[name]], pa, pc) for name in wanted})

    @contextmanager
    def _open(self, decompress: bool = True) -> Iterator[Any]:
        with ExitStack() as stack:
            if self._remote:
                import fsspec

                try:
                    remote = fsspec.open(self._location, "rb")
                except (ValueError, ImportError) as error:
                    raise SourceError(
                        f"source.path: expected a URL that fsspec can open, found {self.uri}: {self._words(error)}. "
                        "Correct it in config/pipeline.yaml, or install what is missing"
                    ) from None
                raw = stack.enter_context(remote)
            else:
                raw = stack.enter_context(Path(self._location).open("rb"))
            packed = decompress and self._name.endswith(".gz")
            yield stack.enter_context(gzip.open(raw)) if packed else raw

    def _columns(self, found: list[str]) -> list[str]:
        """The name here of each column of the file; refuses a file that lacks a required one or has one twice."""
        names = [name.strip().lower().replace(" ", "_") for name in found]
        if not any(names):
            raise SourceError(
                f"{self.uri}: expected a header line, found an empty file or line. Deliver it again, then run again"
            )
        wrong = [f"missing {name}" for name in _REQUIRED if name not in names]
        wrong += [f"{name} twice" for name in ("date", "symbol", *_NUMBERS) if names.count(name) > 1]
        if wrong:
            raise SourceError(
                f"{self.uri}: expected each of the columns {', '.join(_REQUIRED)} once; {', '.join(wrong)}, found "
                f"{', '.join(found)[:300]}. Correct the file's header line"
            )
        return names

    def _with_days(self, table: pa.Table) -> pa.Table:
        """``table`` with plain days as ``date`` and trimmed symbols; refuses a date that the calendar does not have."""
        import pyarrow as pa
        import pyarrow.compute as pc

        dates = pc.dictionary_encode(pc.utf8_trim_whitespace(table["date"])).combine_chunks()
        days = pa.array([_day(text) for text in dates.dictionary.to_pylist()], pa.string())
        days = days.take(dates.indices)
        symbols = pc.utf8_trim_whitespace(table["symbol"])
        if days.null_count:
            row = pc.index(pc.is_null(days), True).as_py()
            found, symbol = dates[row].as_py()[:40], symbols[row].as_py()
            raise SourceError(
                f"{self.uri}: expected dates as YYYY-MM-DD, found {found!r} (symbol {symbol!r}) and "
                f"{days.null_count - 1} more like it. Correct the file, then run again: nothing was read, since a bar "
                "without a date belongs to no session"
            )
        rest = [name for name in table.column_names if name not in {"date", "symbol"}]
        return pa.table({"date": days, "symbol": symbols, **{name: table[name] for name in rest}})


def _day(text: str) -> str | None:
    """The day of a date with or without a time, or None where there is no such day."""
    match = _DATE.fullmatch(text)
    try:
        return date.fromisoformat(match[1]).isoformat() if match else None
    except ValueError:
        return None


def _wanted(names: list[str], numbers: list[str]) -> list[str]:
    return [name for name in ("date", "symbol", *numbers) if name in names]


def _as_text(column: Any, pa: Any, pc: Any) -> Any:
    text = pc.strftime(column, format="%Y-%m-%d") if pa.types.is_temporal(column.type) else column.cast(pa.string())
    return pc.fill_null(text, "")


def _between(table: pa.Table, first: str, last: str) -> pa.Table:
    import pyarrow.compute as pc

    day = table["date"]
    return table.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))


def _readable(table: pa.Table) -> pd.DataFrame:
    """Text → numbers, to the last bit; what is no finite number becomes null and is quoted in ``unreadable``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    frame = table.select(["date", "symbol"]).to_pandas()
    notes = np.full(len(frame), "", dtype=object)
    for name in _NUMBERS:
        if name not in table.column_names:
            frame[name] = np.nan
            continue
        text = pc.utf8_trim_whitespace(table[name])
        number = pc.match_substring_regex(text, _NUMBER)
        values = np.array(pc.if_else(number, text, pa.scalar(None, pa.string())).cast(pa.float64()).to_pandas())
        missing = pc.is_in(pc.utf8_lower(text), pa.array(_MISSING)).to_numpy()
        bad = ~missing & ~np.isfinite(values)
        values[~np.isfinite(values)] = np.nan
        frame[name] = values
        for row in np.flatnonzero(bad):
            # Cut short: a cell of ten megabytes is quoted by its beginning.
            notes[row] += f"{name}={text[row].as_py()[:40]!r} "
    frame["unreadable"] = [note.strip() or None for note in notes]
    return frame[["date", "symbol", *_NUMBERS, "unreadable"]]
