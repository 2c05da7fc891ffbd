"""Cells: text → what it says. Dates, symbols and numbers of any source, by one set of rules.

Belongs here: which day a date is, how a symbol is written, which text is a number. Does not belong here: which column
is which (``shapes``), whether a bar is plausible (``clean``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

from countersign.errors import DateOrderError, NumbersError, SourceError
from countersign.tables import SOURCE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DateOrder = Literal["auto", "day_first", "month_first"]
"""What comes first in 01/02/2019, and in that with points or dashes. ``auto``: dates with points are read day first,
as nearly everybody writes them; the others are refused.
"""
Decimal = Literal["", ".", ","]
"""What begins the decimals of a number whose thousands may be set apart. Empty: a point, and nothing is set apart, so
that 1,234 is no number: it may be either.
"""

NUMBERS: Final = tuple(c.name for c in SOURCE_COLUMNS if c.kind == "number")

MAX_BARS: Final = 1_500_000
"""Bars in one reply, which take about 400 MB while it is read, the libraries included."""

MAX_SYMBOLS: Final = 200_000
"""Different symbols in one reply."""

MAX_UNREADABLE: Final = 100_000
"""Rows of one reply with a cell that is no number, from which on the reply is no table of bars."""

_MISSING: Final = ("", "nan", "null", "none", "na", "n/a", "#n/a", "#n/a n/a", "\\n", ".", "-", "--")
"""Spellings of a missing number, in lower case."""
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_APART: Final = " '\u2019\u00a0\u202f"
"""Besides the comma or the point that begins no decimals, what sets thousands apart."""
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(Z|UTC|[+-]\d\d:?\d\d))?)?", re.ASCII
)
_EPOCH: Final = re.compile(r"\d{8,19}", re.ASCII)
_PER_SECOND: Final = {
    **dict.fromkeys((9, 10), 1),
    **dict.fromkeys((11, 12, 13), 1_000),
    **dict.fromkeys((15, 16), 1_000_000),
    **dict.fromkeys((17, 18, 19), 1_000_000_000),
}
"""By the digits of an epoch: from 1973 on, each unit has lengths of its own."""
_DIGITS: Final = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:\d{3})?)?)?", re.ASCII)
"""YYYYMMDDHH, with minutes, seconds and their thousandths."""
_YEAR_LAST: Final = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?:[T ]\d{1,2}:\d\d(?::\d\d)?(?: ?[AP]M)?)?", re.ASCII | re.IGNORECASE
)
_LONGEST_CELL: Final = 256
"""Characters that are kept of a text which a Parquet file has once and may repeat in a million rows."""
_LONGEST_SYMBOL: Final = 64
"""Characters that are kept of a symbol; cleaning rejects those of more than 24 anyway."""


def normal_symbol(spelled: str) -> str:
    """The one form of a symbol: trimmed, in capitals, ``/``, ``-`` and ``_`` as a point, without ``.US`` at its end.

    >>> [normal_symbol(s) for s in (" aapl.us", "BRK-B", "brk_b.US", "BRK/B", "VOD.L")]
    ['AAPL', 'BRK.B', 'BRK.B', 'BRK.B', 'VOD.L']
    """
    name = spelled.strip().upper().translate(str.maketrans("/-_", "..."))
    name = re.sub(r"(?<=.)(\s*\.US)+$", "", name, flags=re.DOTALL).strip()
    return name if len(name) <= _LONGEST_SYMBOL else name[: _LONGEST_SYMBOL - 1] + "…"


def day(text: str, zone: ZoneInfo, order: DateOrder = "auto") -> str | None:
    """The exchange's day of a date, with or without a time, or of an epoch; None where it is neither.

    A moment is converted to ``zone``, the exchange's, before its day is taken, but for midnight UTC: that is how a
    plain day is written where a time is asked for.

    >>> new_york = ZoneInfo("America/New_York")
    >>> [day(t, new_york) for t in ("2005-02-10T00:00:00.000Z", "200502101600", "1108011600000", "10/02/2005")]
    ['2005-02-10', '2005-02-10', '2005-02-10', None]
    >>> day("10.02.2005", new_york), day("10/02/2005", new_york, "month_first")
    ('2005-02-10', '2005-10-02')
    """
    try:
        if _EPOCH.fullmatch(text):
            if len(text) == 8:
                return date.fromisoformat(text).isoformat()
            if written := _DIGITS.fullmatch(text):
                # Of ten digits, the epochs that look like one begin in 2030.
                year, month, day_of, *times = (part or "00" for part in written.groups())
                moment = datetime.fromisoformat(f"{year}-{month}-{day_of}T{':'.join(times)}")
                return moment.date().isoformat() if len(text) > 10 else None
            per_second = _PER_SECOND.get(len(text))
            return _day_of(datetime.fromtimestamp(int(text) // per_second, UTC), zone) if per_second else None
        if written := _YEAR_LAST.fullmatch(text):
            first, mark, second, year = written.groups()
            if order == "auto" and mark != ".":
                return None
            month, day_of = (first, second) if order == "month_first" else (second, first)
            return date(int(year), int(month), int(day_of)).isoformat()
        match = _ISO.fullmatch(text)
        if match is None:
            return None
        if match[2] is None:
            return date.fromisoformat(match[1]).isoformat()
        return _day_of(datetime.fromisoformat(text.replace(" UTC", "Z").replace("UTC", "Z")), zone)
    except (ValueError, OverflowError):
        return None


def _day_of(moment: datetime, zone: ZoneInfo) -> str:
    is_label = not moment.utcoffset() and (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return (moment if is_label else moment.astimezone(zone)).date().isoformat()


def days(
    dates: pa.Array, symbols: pa.Array | None, zone: ZoneInfo, uri: str, order: DateOrder | None = None
) -> pa.Array:
    """The day of each of ``dates``. Raises ``SourceError`` where one has none, with its symbol where that is known, and
    where some have their year last and others do not; ``DateOrderError`` where ``order`` has to say which day it is.

    ``order`` is None where no setting can say it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.dictionary_encode(pc.utf8_trim_whitespace(dates))
    spelled = texts.dictionary.to_pylist()
    found = pa.array([day(text, zone, order or "auto") for text in spelled], pa.string()).take(texts.indices)
    if found.null_count:
        row = pc.index(pc.is_null(found), True).as_py()
        text = texts[row].as_py()
        doubt, kind, act = "", SourceError, "Correct the file"
        if order in (None, "auto") and _YEAR_LAST.fullmatch(text) and "." not in text:
            doubt = ", of which day and month cannot be told apart,"
            if order:
                kind, act = (
                    DateOrderError,
                    "Write which comes first, day_first or month_first, as source.dates in config/pipeline.yaml",
                )
        if _DIGITS.fullmatch(text):
            doubt = ", which begins like a year and may be YYYYMMDDHH… or an epoch,"
        symbol = f" (symbol {symbols[row].as_py()[:40]!r})" if symbols is not None else ""
        raise kind(
            f"{uri}: expected dates as YYYY-MM-DD (or that with a time, YYYYMMDD, YYYYMMDDHHMM, DD.MM.YYYY, an epoch), "
            f"found {text[:40]!r}{doubt}{symbol} and {found.null_count - 1} more like it. {act}, then run again: "
            "nothing was read, since a bar without a date belongs to no session"
        )
    last = [_YEAR_LAST.fullmatch(text) is not None for text in spelled]
    if any(last) and not all(last):
        # Half of a column in another form is what a spreadsheet leaves of dates that it took for days of other months.
        one, other = spelled[last.index(True)], spelled[last.index(False)]
        raise SourceError(
            f"{uri}: expected dates in one form, found {one!r} and {other[:40]!r}. Correct the file, then run again: "
            "nothing was read"
        )
    return found


class Symbols:
    """The symbols of one reply in their one form; refuses a reply in which two of its symbols have the same."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._spelled: dict[str, str] = {}

    @property
    def names(self) -> set[str]:
        """Those that have been seen."""
        return set(self._spelled)

    def normal(self, spelled: str) -> str:
        """See ``normal_symbol``. Raises ``SourceError`` where another symbol of the reply has the same form."""
        spelled = spelled.strip()
        name = normal_symbol(spelled)
        if len(self._spelled) > MAX_SYMBOLS:
            raise SourceError(
                f"{self._uri}: expected at most {MAX_SYMBOLS:,} symbols in one reply, found more, such as "
                f"{name[:40]!r}. Check which column holds the symbol"
            )
        if self._spelled.setdefault(name, spelled) != spelled:
            raise SourceError(
                f"{self._uri}: expected one spelling of each symbol, found {self._spelled[name][:40]!r} and "
                f"{spelled[:40]!r}, which are both read as {name!r}. Correct the source, so that they are one symbol "
                "or two"
            )
        return name

    def column(self, spelled: pa.Array) -> pa.Array:
        """The same of a column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = pc.dictionary_encode(spelled)
        return pa.array([self.normal(text) for text in texts.dictionary.to_pylist()], pa.string()).take(texts.indices)


def as_text(column: Any) -> pa.Array:
    """A typed column as text cells: numbers to the last bit, moments with their offset, missing as empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        # A text of megabytes may stand in each of a million rows, once in the file.
        texts = column.dictionary.cast(pa.string())
        texts.validate(full=True)
        # Marked, so that no number is read from the beginning of another.
        cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, _LONGEST_CELL), "…", "")
        text = pc.if_else(pc.greater(pc.utf8_length(texts), _LONGEST_CELL), cut, texts).take(column.indices)
    elif pa.types.is_timestamp(kind):
        text = pc.strftime(column, format="%Y-%m-%dT%H:%M:%S%z" if kind.tz else "%Y-%m-%d")
    else:
        text = pc.strftime(column, format="%Y-%m-%d") if pa.types.is_date(kind) else column.cast(pa.string())
    return pc.fill_null(text, "")


def read_numbers(columns: dict[str, pa.Array], length: int, decimal: Decimal = "") -> dict[str, pa.Array]:
    """Text → numbers, to the last bit; what is no finite number becomes null and is quoted in ``unreadable``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found: dict[str, pa.Array] = {}
    notes: dict[int, str] = {}
    for name, cells in columns.items():
        text = pc.utf8_trim_whitespace(cells)
        number = pc.match_substring_regex(text, _grouped(decimal) if decimal else _NUMBER)
        values = pc.if_else(number, text, pa.scalar(None, pa.string()))
        if decimal:
            values = pc.replace_substring_regex(values, f"[{_APART}{'.' if decimal == ',' else ','}]", "")
            values = pc.replace_substring(values, decimal, ".")
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
        found[name] = values
        if not values.null_count:
            continue
        bad = pc.and_not(pc.is_null(values), pc.is_in(pc.utf8_lower(text), pa.array(_MISSING)))
        rows = np.flatnonzero(bad.to_numpy(zero_copy_only=False))
        # Cut short: a cell of ten megabytes is quoted by its beginning.
        quoted = pc.utf8_slice_codeunits(text.take(pa.array(rows)), 0, 40).to_pylist()
        for row, cell in zip(rows.tolist(), quoted, strict=True):
            notes[row] = f"{notes[row]} {name}={cell!r}" if row in notes else f"{name}={cell!r}"
    quotes = pa.array([notes.get(row) for row in range(length)], pa.string()) if notes else None
    return found | {"unreadable": pa.nulls(length, pa.string()) if quotes is None else quotes}


def _grouped(decimal: str) -> str:
    """Numbers with ``decimal`` before their decimals, thousands set apart or not."""
    apart = f"[{_APART}{'.' if decimal == ',' else ','}]"
    return rf"^[+-]?(([1-9]\d{{0,2}}({apart}\d{{3}})+|\d+)([{decimal}]\d*)?|[{decimal}]\d+)([eE][+-]?\d+)?$"


def to_frame(tables: Iterable[pa.Table], uri: str, max_bars: int = MAX_BARS) -> pd.DataFrame:
    """Tables of days, symbols, numbers and ``unreadable`` → what ``PriceSource.read`` returns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("date", "symbol")),
            *((name, pa.float64()) for name in NUMBERS),
            ("unreadable", pa.string()),
        ]
    )
    parts: list[pa.Table] = [schema.empty_table()]
    bars = unreadable = 0
    for table in tables:
        bars += len(table)
        unreadable += len(table) - table["unreadable"].null_count
        if bars > max_bars:
            raise SourceError(
                f"{uri}: expected at most {max_bars:,} bars in one reply, found more. Ask for fewer sessions (a later "
                "history.start) or symbols, or raise source.max_bars: a million more take 250 MB"
            )
        if unreadable > MAX_UNREADABLE:
            first = pc.drop_null(table["unreadable"])[0].as_py()
            raise NumbersError(
                f"{uri}: expected numbers, found more than {MAX_UNREADABLE:,} rows with cells that are none, such as "
                f"{first}. Correct the source, or say how it is read (source.decimal, for one): docs/sources.md"
            )
        have = set(table.column_names)
        parts.append(
            pa.table([table[f.name] if f.name in have else pa.nulls(len(table), f.type) for f in schema], schema=schema)
        )
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas(self_destruct=True, split_blocks=True)
    return frame
