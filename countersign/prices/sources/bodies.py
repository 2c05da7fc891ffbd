"""Bodies: the bytes of a file or a reply → rows of text cells with a header, or a JSON document.

Belongs here: unpacking within limits, telling CSV, JSON, NDJSON and Parquet apart by their content, replies that are
no data. Does not belong here: which column is which (``shapes``), what a cell says (``cells``).

JSON is read by the standard library, not by orjson: it hands out numbers as they are written, so that ``1e999`` is
quoted in a rejection, and shows keys that stand twice, of which orjson keeps the last one without a word.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from countersign.errors import EmptyReplyError, SourceError
from countersign.prices.sources.cells import as_text

if TYPE_CHECKING:
    import pyarrow as pa

MAX_UNPACKED: Final = 2 << 30
"""Bytes of all files of one reply, once unpacked."""
MAX_JSON: Final = 24 << 20
"""Bytes of one JSON document, which has to be read whole."""
MAX_JSON_VALUES: Final = 1_500_000
"""Values of one JSON document: a short one takes thirty times its own bytes."""
MAX_PARQUET: Final = 64 << 20
"""Bytes of a Parquet file that is packed again, which has to be unpacked whole."""
MAX_TEXT: Final = 16 << 20
"""Bytes of one text column in one row group of a Parquet file: a few texts, each many times, take little."""
MAX_COLUMNS: Final = 10_000
MAX_HEADER: Final = 1 << 20
"""Bytes of the header lines."""
MAX_ROW: Final = 2 << 20
"""Bytes of one row of a CSV."""
_MAX_DIRECTORY: Final = 4 << 20
"""Bytes of a zip file's table of contents."""

_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")
_LIMITED: Final = re.compile(r"(?i)limit|frequency|\brate\b|quota|per (day|minute|second)|too many|exceeded")
_LOCKED: Final = re.compile(r"(?i)key|token|author|entitle|premium|plan\b|subscri|permission|forbidden")
_KEYS: Final = re.compile(
    r"((?i:key|token|secret|password|signature|bearer)\b\W*(?:(?i:is|as|of)\b\W*|[:=]\W*))(?=\S*[\dA-Z])[^\s,;]+"
    r"|(?<=://)[^/\s@]*@|\?[^\s\"'<>]+"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z])\w{12,}|\b[A-Z]{12,}\b|\b(?=[a-z]*[A-Z])(?=[A-Z]*[a-z])[A-Za-z]{16,}\b"
)
"""What the words of a reply may hold of a key: what follows its name, a URL's user and query, what looks like one."""


@dataclass(frozen=True)
class Grid:
    """Rows of text cells. ``batches`` reads the columns at the places that it is given, piece by piece."""

    header: Sequence[str]
    batches: Callable[[Sequence[int]], Iterator[dict[int, pa.Array]]]
    levels: tuple[Sequence[str], Sequence[str]] | None = None
    """Field and symbol of each column, where the header has these in two lines."""


class Budget:
    """The bytes that one reply may still unpack to: counted as they come, whatever a header says of them."""

    def __init__(self, limit: int = MAX_UNPACKED) -> None:
        self._left = limit
        self._limit = limit

    def take(self, count: int, uri: str) -> None:
        """Raise ``SourceError`` where nothing is left."""
        self._left -= count
        if self._left < 0:
            raise SourceError(
                f"{uri}: expected at most {self._limit >> 20:,} MB in one reply once unpacked, found more. Deliver "
                "fewer sessions or symbols, or Parquet, then run again"
            )


class _Stream(io.RawIOBase):
    """``head``, then the rest of ``file``; ``count`` is told of how many bytes that was."""

    def __init__(self, head: bytes, file: Any, count: Callable[[int], None] | None = None) -> None:
        self._head = memoryview(head)
        self._file, self._count = file, count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            data: Any = self._head[: len(buffer)]
            self._head = self._head[len(data) :]
        else:
            data = self._file.read(len(buffer))
            if self._count:
                self._count(len(data))
        buffer[: len(data)] = data
        return len(data)


def scrub(text: str, length: int = 200) -> str:
    """The words of a reply on one printable line, cut short, without what may be a key.

    >>> scrub("We have detected your API key as AB12CD34 and our limit is 25 requests per day.")
    'We have detected your API key as … and our limit is 25 requests per day.'
    """
    words = "".join(letter if letter.isprintable() else "·" for letter in " ".join(text[: 8 * length].split()))
    return _KEYS.sub(lambda match: f"{match[1] or ''}…", words)[:length]


@contextmanager
def refusing(uri: str, words: Callable[[Exception], str] = str) -> Iterator[None]:
    """Turn what a library says of a broken file into a ``SourceError``; ``words`` leaves secrets out of it."""
    import pyarrow as pa

    try:
        yield
    except (
        pa.ArrowException,
        csv.Error,
        UnicodeError,
        gzip.BadGzipFile,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        # What zipfile and pyarrow say of sizes and places that cannot be.
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        said = scrub(words(error).rstrip("."))
        if "straddling" in said:
            said = f"a row is longer than {MAX_ROW >> 20} MB"
        if isinstance(error, UnicodeDecodeError):
            said += ". Save it as UTF-8 (iconv -f ISO-8859-1 -t UTF-8, where that is what it is)"
        raise SourceError(
            f"{uri}: expected a whole CSV or JSON file in UTF-8, or a Parquet file (gzip and zip of these, too): "
            f"{said}. Correct it or deliver it again, then run again"
        ) from error


def unpacked(file: Any, name: str, uri: str) -> Iterator[tuple[str, str, Any]]:
    """The file itself, or what is packed in it: name, URI and opened file of each. What a packed one holds is not
    unpacked a second time. No name in a zip is ever used as a path.
    """
    magic = file.read(4)
    if magic[:2] == _GZIP:
        yield name, uri, gzip.GzipFile(fileobj=io.BufferedReader(_Stream(magic, file)))
    elif magic in _ZIP:
        _require_small_directory(file, uri)
        with zipfile.ZipFile(file) as packed:
            members = [m for m in packed.infolist() if not m.filename.endswith("/") and not _is_hidden(m.filename)]
            if not members:
                raise SourceError(f"{uri}: expected a zip file with prices, found none in it. Deliver it again")
            for member in members:
                inside = member.filename.replace("\\", "/").rsplit("/", 1)[-1]
                if member.flag_bits & 1:
                    raise SourceError(f"{uri}: expected a zip file without a password. Deliver it unpacked or without")
                with packed.open(member) as opened:
                    yield inside, uri if len(members) == 1 else f"{uri}::{scrub(ascii(inside)[1:-1], 80)}", opened
    elif magic == _PARQUET:
        file.seek(0)
        yield name, uri, file
    else:
        # Not every file of fsspec can go back.
        yield name, uri, io.BufferedReader(_Stream(magic, file), 1 << 20)


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/") if part not in {".", ".."})


def _require_small_directory(file: Any, uri: str) -> None:
    """Refuse a zip whose table of contents alone would fill the memory, before it is read."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - 65_557, 0))
    tail = file.read()
    file.seek(0)
    place = tail.rfind(b"PK\x05\x06")
    if place >= 0 and len(tail) >= place + 16 and struct.unpack_from("<I", tail, place + 12)[0] > _MAX_DIRECTORY:
        raise SourceError(f"{uri}: expected a zip file of some files, found one of very many. Deliver it unpacked")


def read(file: Any, uri: str, budget: Budget) -> Grid | Any:
    """A ``Grid``, or what a JSON document says. Raises ``SourceError`` for a body that is no data, with its cause."""
    head = _read_fully(file, MAX_HEADER)
    budget.take(len(head), uri)
    if head[:4] == _PARQUET:
        return _parquet(file, head, uri, budget)
    if head[:2] == _GZIP or head[:4] in _ZIP:
        raise SourceError(f"{uri}: expected prices, found a packed file in a packed file. Deliver it packed once")
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise SourceError(f"{uri}: expected UTF-8, found UTF-16. Save it as UTF-8, then run again")
    head = head.removeprefix(b"\xef\xbb\xbf")
    start = head[:65_536].lstrip()
    if not start:
        raise EmptyReplyError(
            f"{uri}: expected a header line, found an empty file or line. Deliver it again, then run again: that "
            "nothing came does not say that a symbol was delisted"
        )
    if start[:1] in {b"{", b"["}:
        return _json(head + _read_fully(file, MAX_JSON + 1 - len(head)), uri, budget)
    if start[:1] == b"<" and start[:8].lower() != b"<ticker>":
        text = start[:8192].decode("utf-8", "replace")
        title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
        words = scrub(title[1] if title else re.sub(r"(?s)<[^>]*>", " ", text), 120)
        raise SourceError(
            f"{uri}: expected prices, found a web page: {words!r}. Open the address in a browser: the source may ask "
            "for a key, a login or patience. Then run again"
        )
    return _csv(head, file, uri, budget)


def _read_fully(file: Any, size: int) -> bytes:
    parts = []
    while size > 0 and (part := file.read(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _csv(head: bytes, file: Any, uri: str, budget: Budget) -> Grid:
    lines: list[list[str]] = []
    used, mark = 0, ","
    levels = False
    while len(lines) < (3 if levels else 1):
        line = _LINE.match(head, used)
        end = line.end() if line else len(head)
        if end == len(head) >= MAX_HEADER - 3 and not head.endswith((b"\n", b"\r")):
            raise SourceError(
                f"{uri}: expected header lines of at most {MAX_HEADER >> 20} MB, found more. Correct the file"
            )
        text = head[used:end].decode("utf-8")
        if not lines:
            mark = next((mark for mark in ",;\t|" if mark in text), ",")
        lines.append(next(csv.reader([text], delimiter=mark), []))
        used = end
        if len(lines) == 1:
            levels = _has_levels(lines[0], head[used : used + 16])
    header = lines[-1]
    if len(header) > MAX_COLUMNS:
        raise SourceError(f"{uri}: expected at most {MAX_COLUMNS:,} columns, found {len(header):,}. Deliver fewer")
    _refuse_words(head, header, uri)

    def batches(places: Sequence[int]) -> Iterator[dict[int, pa.Array]]:
        import pyarrow as pa
        from pyarrow import csv as pacsv

        stream = io.BufferedReader(_Stream(head[used:], file, lambda count: budget.take(count, uri)), 1 << 20)
        if not stream.peek(1):
            return
        names = [str(place) for place in range(len(header))]
        reader = pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names, block_size=MAX_ROW),
            convert_options=pacsv.ConvertOptions(
                include_columns=[names[place] for place in places],
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
            parse_options=pacsv.ParseOptions(delimiter=mark),
        )
        for batch in reader:
            yield dict(zip(places, batch.columns, strict=True))

    if not levels:
        return Grid(header, batches)
    if not len(lines[0]) == len(lines[1]) == len(header):
        raise SourceError(
            f"{uri}: expected three header lines of one length (Price, Ticker, Date), found "
            f"{', '.join(str(len(line)) for line in lines)} cells. Save the download again, then run again"
        )
    return Grid(header, batches, _levels(lines[0], lines[1]))


def _has_levels(first: Sequence[str], second: bytes) -> bool:
    """Whether these are the header lines of yfinance: the first two begin with Price and Ticker, in either order."""
    begins = {first[0].strip().lower() if first else "", second.split(b",")[0].decode("utf-8", "replace").lower()}
    return begins == {"price", "ticker"}


def _levels(first: Sequence[str], second: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The two levels as fields and symbols: yfinance has them in either order."""
    return (first, second) if any(name.strip().lower() == "close" for name in first) else (second, first)


def _refuse_words(head: bytes, header: Sequence[str], uri: str) -> None:
    """Refuse what vendors say in plain text where prices were expected."""
    text = head[:4096].decode("utf-8", "replace").strip()
    if len(header) > 2 or len(text.splitlines()) > 5:
        return
    if re.match(r"(?i)exceeded the daily hits limit", text):
        raise SourceError(f"{uri}: expected prices, found 'Exceeded the daily hits limit'. Wait a day, then run again")
    if re.match(r"(?i)no data\b", text):
        raise EmptyReplyError(
            f"{uri}: expected prices, found 'No data'. Check symbol and dates, then run again: that nothing came does "
            "not say that a symbol was delisted"
        )


def _parquet(file: Any, head: bytes, uri: str, budget: Budget) -> Grid:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(file, gzip.GzipFile | zipfile.ZipExtFile):
        # A packed file has no way back to its beginning but over all of it.
        data = head + _read_fully(file, MAX_PARQUET + 1 - len(head))
        if len(data) > MAX_PARQUET:
            raise SourceError(
                f"{uri}: expected at most {MAX_PARQUET >> 20} MB of packed Parquet, found more. Deliver it unpacked: "
                "Parquet is packed in itself"
            )
        file = io.BytesIO(data)
    file.seek(0)
    with _as_invalid():
        schema = pq.read_schema(file)
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
    file.seek(0)
    with _as_invalid():
        found = pq.ParquetFile(file, read_dictionary=texts)
    names = list(schema.names)
    if len(names) > MAX_COLUMNS:
        raise SourceError(f"{uri}: expected at most {MAX_COLUMNS:,} columns, found {len(names):,}. Deliver fewer")

    def batches(places: Sequence[int]) -> Iterator[dict[int, pa.Array]]:
        _require_small_columns(found, {names[place] for place in places}, uri, budget)
        with _as_invalid():
            for batch in found.iter_batches(columns=[names[place] for place in places]):
                yield {place: as_text(batch.column(names[place])) for place in places}

    # How pandas names the columns that yfinance has in two levels.
    pairs = [re.fullmatch(r"\('(.*)', '(.*)'\)", name) for name in names]
    if not 0 < len(names) - 1 == sum(pair is not None for pair in pairs):
        return Grid(names, batches)
    levels = [(pair[1], pair[2]) if pair else ("", "") for pair in pairs]
    header = ["" if pair else name for pair, name in zip(pairs, names, strict=True)]
    return Grid(header, batches, _levels([one for one, _ in levels], [two for _, two in levels]))


@contextmanager
def _as_invalid() -> Iterator[None]:
    """pyarrow says of a damaged Parquet file what others say of a faulty disk or network: a plain ``OSError``."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        if type(error) is not OSError or error.errno is not None:
            raise
        raise pa.ArrowInvalid(str(error)) from error


def _require_small_columns(file: Any, names: set[str], uri: str, budget: Budget) -> None:
    paths = [file.schema.column(place).path for place in range(len(file.schema))]
    places = [place for place, path in enumerate(paths) if path in names or path.split(".")[0] in names]
    for number in range(file.metadata.num_row_groups):
        # What is damaged in a column's metadata ends the process where it is looked at, and is an error where a reader
        # is made: one that reads no row.
        with _as_invalid():
            list(file.reader.iter_batches(0, [number], column_indices=places))
        for column in map(file.metadata.row_group(number).column, places):
            budget.take(column.total_uncompressed_size, uri)
            if column.physical_type.endswith("BYTE_ARRAY") and column.total_uncompressed_size > MAX_TEXT:
                raise SourceError(
                    f"{uri}: expected at most {MAX_TEXT >> 20} MB of text in one row group of a column, found "
                    f"{column.total_uncompressed_size >> 20:,} MB in {scrub(column.path_in_schema, 40)}. Write it with "
                    "smaller row groups"
                )


class _TwiceError(Exception):
    """A key that stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return found


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_float=str, parse_int=str, parse_constant=str)


def _json(data: bytes, uri: str, budget: Budget) -> Any:
    """A JSON document, or NDJSON as a list; numbers as they are written."""
    budget.take(len(data), uri)
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if len(data) > MAX_JSON or values > MAX_JSON_VALUES:
        raise SourceError(
            f"{uri}: expected at most {MAX_JSON >> 20} MB and {MAX_JSON_VALUES:,} values in one JSON document, found "
            "more. Deliver it as CSV or Parquet, or in several files"
        )
    text = data.decode("utf-8")
    try:
        try:
            return _parsed(text)
        except json.JSONDecodeError as error:
            lines = [line for line in text.split("\n") if line.strip()]
            if error.msg != "Extra data" or len(lines) < 2:
                raise
            return [_parsed(line) for line in lines]
    except json.JSONDecodeError as error:
        cut = " It looks cut off" if error.pos >= len(text.rstrip()) - 1 or "Unterminated" in error.msg else ""
        raise SourceError(
            f"{uri}: expected whole JSON, found a fault at line {error.lineno}, column {error.colno} ({error.msg})."
            f"{cut or ' Correct it'}: deliver it again, then run again"
        ) from None
    except RecursionError:
        raise SourceError(f"{uri}: expected prices, found JSON nested too deep. Correct it, then run again") from None
    except _TwiceError as error:
        raise SourceError(
            f"{uri}: expected each key once in a JSON object, found {scrub(str(error), 40)!r} twice: which of its "
            "values holds cannot be told. Correct it, then run again"
        ) from None


def records(rows: Iterable[Mapping[str, Any]], uri: str) -> Grid:
    """JSON objects as rows. Raises ``SourceError`` where they have too many keys."""
    rows = list(rows)
    header = list(dict.fromkeys(key for row in rows for key in row))
    if len(header) > MAX_COLUMNS:
        raise SourceError(f"{uri}: expected at most {MAX_COLUMNS:,} columns, found {len(header):,}. Deliver fewer")
    return _listed(header, len(rows), lambda place: (row.get(header[place]) for row in rows), uri)


def lists(header: Sequence[str], rows: Sequence[Sequence[Any]], uri: str) -> Grid:
    """JSON lists as rows."""
    odd = next((number for number, row in enumerate(rows) if len(row) != len(header)), None)
    if odd is not None:
        raise SourceError(
            f"{uri}: expected {len(header)} cells in each row, found {len(rows[odd])} in row {odd + 1}. Deliver it anew"
        )
    return _listed(header, len(rows), lambda place: (row[place] for row in rows), uri)


def _listed(header: Sequence[str], length: int, column: Callable[[int], Iterable[Any]], uri: str) -> Grid:
    def batches(places: Sequence[int]) -> Iterator[dict[int, pa.Array]]:
        import pyarrow as pa

        if length * len(places) > 4 * MAX_JSON_VALUES:
            raise SourceError(
                f"{uri}: expected the same keys in each JSON object, found {len(places):,} in {length:,} of them. "
                "Correct it, then run again"
            )
        if length:
            yield {place: pa.array([_cell(value) for value in column(place)], pa.string()) for place in places}

    return Grid(header, batches)


def _cell(value: Any) -> str:
    """A JSON value as a text cell: what is nested is quoted as it stands."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)[:80]


def refuse_error(document: Any, has_rows: bool, uri: str) -> None:
    """Refuse a JSON object that says an error, or says nothing, where prices were expected."""
    if not document:
        raise EmptyReplyError(
            f"{uri}: expected prices, found an empty reply ({json.dumps(document)}). Check symbol, dates and key, then "
            "run again: that nothing came does not say that a symbol was delisted"
        )
    if not isinstance(document, dict):
        return
    keys = ["quandl_error", "Error Message", "error", "errors"]
    keys += [] if has_rows else ["Note", "Information", "message", "detail"]
    status = str(document.get("status", ""))
    failed = status.upper() in {"ERROR", "NOT_AUTHORIZED", "AUTH_ERROR", "NOT_FOUND", "FORBIDDEN"}
    told = next((document[key] for key in keys if document.get(key)), None)
    if told is None and failed:
        told = document.get("message") or ""
    if told is None:
        holds_more = any(value and isinstance(value, dict | list) for value in document.values())
        if not has_rows and not holds_more and status.upper() in {"OK", "DELAYED", "SUCCESS"}:
            raise EmptyReplyError(
                f"{uri}: expected prices, found status {status} and no results. Check symbol and dates: "
                "that nothing came does not say that a symbol was delisted"
            )
        return
    words = scrub(f"{status + ': ' if failed else ''}{_told(told)}")
    act = "Check symbol, dates and key, then run again"
    if _LIMITED.search(words):
        act = "Its limit on requests is used up: wait, ask for less, or use a larger plan, then run again"
    elif _LOCKED.search(words):
        act = "Check the key, and what its plan includes, then run again"
    raise SourceError(f"{uri}: expected prices, found an error of the source: {words!r}. {act}")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ": ".join(str(value[key]) for key in ("code", "message") if key in value) or json.dumps(value)[:400]
    return value if isinstance(value, str) else json.dumps(value)[:400]
