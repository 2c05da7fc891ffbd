"""Bars from one CSV or Parquet file, plain or gzipped, local or behind an fsspec URL.

Belongs here: finding columns, filtering by date while reading, text to numbers. Does not belong here: rules.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

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
_DATE: Final = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"


class FileSource:
    """Bars from the file at ``location``: a path (relative ones from ``folder``) or an fsspec URL."""

    def __init__(self, location: str, folder: Path) -> None:
        self._shown = location
        self._remote = "://" in location
        self._location = location if self._remote else str(folder / location)

    @property
    def uri(self) -> str:
        """The location as configured, without a user name or password."""
        if not self._remote:
            return self._shown
        parts = urlsplit(self._shown)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

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
        return sorted(found)

    def _tables(self, numbers: list[str]) -> Iterator[pa.Table]:
        """The file in pieces, all columns as text. At least one piece, which may be empty."""
        import pyarrow as pa

        read = self._parquet if ".parquet" in Path(urlsplit(self._location).path).suffixes else self._csv
        empty = True
        try:
            for table in read(numbers):
                self._expect_dates(table)
                empty = False
                yield table
        except FileNotFoundError as error:
            raise SourceError(
                f"source.path: expected a file of prices, found none at {self.uri}; correct it in config/pipeline.yaml"
            ) from error
        except pa.ArrowInvalid as error:
            raise SourceError(f"{self.uri}: expected a readable CSV or Parquet file of bars: {error}") from error
        except (OSError, EOFError) as error:
            if self._remote:
                raise TransportError(f"{self.uri} could not be reached: {error}") from error
            raise SourceError(f"{self.uri}: the file cannot be read to its end: {error}") from error
        if empty:
            raise SourceError(
                f"{self.uri}: expected bars, found an empty file. Deliver the file again, then run the session again"
            )

    def _csv(self, numbers: list[str]) -> Iterator[pa.Table]:
        import pyarrow as pa
        from pyarrow import csv as pacsv

        with self._open() as file:
            header = file.readline()
            names = self._columns(next(csv.reader([header.decode("utf-8-sig")]), []))
            reader = (
                pacsv.open_csv(
                    _Rest(file),
                    read_options=pacsv.ReadOptions(column_names=list(names.values()), block_size=1 << 22),
                    convert_options=pacsv.ConvertOptions(
                        include_columns=_wanted(names, numbers),
                        column_types={name: pa.string() for name in names.values()},
                        strings_can_be_null=False,
                    ),
                )
                if file.peek(1)
                else ()
            )
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _parquet(self, numbers: list[str]) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with self._open(decompress=False) as opened:
            file = pq.ParquetFile(opened)
            names = self._columns(file.schema_arrow.names)
            source = {new: old for old, new in names.items()}
            for batch in file.iter_batches(columns=[source[n] for n in _wanted(names, numbers)]):
                table = pa.Table.from_batches([batch])
                yield pa.table({n: _as_text(table[source[n]], pa, pc) for n in _wanted(names, numbers)})

    @contextmanager
    def _open(self, decompress: bool = True) -> Iterator[Any]:
        import gzip

        with ExitStack() as stack:
            if self._remote:
                import fsspec

                raw = stack.enter_context(fsspec.open(self._location, "rb"))
            else:
                raw = stack.enter_context(Path(self._location).open("rb"))
            packed = decompress and self._location.split("?")[0].endswith(".gz")
            yield stack.enter_context(gzip.open(raw)) if packed else raw

    def _columns(self, found: list[str]) -> dict[str, str]:
        """Each column of the file → its name here; refuses a file that lacks a required one."""
        names = {name: name.strip().lower().replace(" ", "_") for name in found}
        missing = [name for name in _REQUIRED if name not in names.values()]
        if not any(name.strip() for name in found):
            raise SourceError(
                f"{self.uri}: expected a header line, found an empty file. Deliver the file again, then run again"
            )
        if missing:
            raise SourceError(
                f"{self.uri}: expected the columns {', '.join(_REQUIRED)}; missing {', '.join(missing)}, found "
                f"{', '.join(found)}. Correct the file's header line"
            )
        return names

    def _expect_dates(self, table: pa.Table) -> None:
        import pyarrow.compute as pc

        wrong = table.filter(pc.invert(pc.match_substring_regex(table["date"], _DATE)))
        if wrong.num_rows:
            row = wrong.slice(0, 1).to_pylist()[0]
            raise SourceError(
                f"{self.uri}: expected dates as YYYY-MM-DD, found {row['date']!r} (symbol {row['symbol']!r}) and "
                f"{wrong.num_rows - 1} more like it. Nothing was read: a bar without a date belongs to no session"
            )


class _Rest(io.RawIOBase):
    """The rest of an opened file, for a reader that must not see its header line."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(size))


def _wanted(names: dict[str, str], numbers: list[str]) -> list[str]:
    return [n for n in ("date", "symbol", *numbers) if n in names.values()]


def _as_text(column: Any, pa: Any, pc: Any) -> Any:
    if pa.types.is_temporal(column.type):
        return pc.strftime(column, format="%Y-%m-%d")
    return pc.fill_null(column.cast(pa.string()), "")


def _between(table: pa.Table, first: str, last: str) -> pa.Table:
    import pyarrow.compute as pc

    day = pc.utf8_slice_codeunits(table["date"], 0, 10)
    place = table.schema.get_field_index("date")
    table = table.set_column(place, "date", day)
    return table.filter(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)))


def _readable(table: pa.Table) -> pd.DataFrame:
    """Text → numbers, to the last bit; what is no finite number becomes null and is quoted in ``unreadable``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    frame = table.select(["date", "symbol"]).to_pandas()
    frame["symbol"] = frame["symbol"].str.strip()
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
