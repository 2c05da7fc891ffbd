"""Shapes: how suppliers lay out bars, and from each of these to bars.

Belongs here: the profiles, recognising one, which column is which. Does not belong here: bytes (``bodies``), what a
cell says (``cells``), where a reply comes from (``files`` and its neighbours).

A profile is recognised by names that no other has. What none of them claims is read as rows of columns with the usual
names, or as one column a symbol; where that does not fit either, the error names the profiles.
"""

from __future__ import annotations

import functools
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

from countersign.errors import EmptyReplyError, SchemaError, SourceError
from countersign.prices.sources import bodies
from countersign.prices.sources.bodies import Budget, Grid
from countersign.prices.sources.cells import NUMBERS, DateOrder, Decimal, Symbols, days, read_numbers, to_frame

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Layout = Literal["rows", "wide", "levels"]


@dataclass(frozen=True)
class Profile:
    """One supplier's layout. Names are compared without case, spaces and punctuation where they are not met as such."""

    name: str
    columns: Mapping[str, tuple[str, ...]]
    """Of each column of ours, the names that it may have; the first that is there is it."""
    marks: frozenset[str] = frozenset()
    """Names of columns that only this profile has, in their plain form."""
    layout: Layout = "rows"
    """``rows``: one bar a row. ``wide``: one column a symbol. ``levels``: a column for each symbol and field."""
    rows: tuple[str, ...] = ()
    """In a JSON object, the keys down to the rows: objects, lists, or an object of objects by date."""
    header: tuple[str, ...] = ()
    """The keys down to the names of the columns, where rows are lists."""
    symbol: tuple[str, ...] = ()
    """The keys down to the symbol of all rows."""
    more: tuple[str, ...] = ()
    """The keys down to what is set where further pages follow."""


_USUAL: Final = {
    "date": ("date", "datetime", "timestamp", "trade_date", "day", "session", "time", "window_start", "dates", "datum"),
    "symbol": ("symbol", "ticker", "code"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "adj_close": ("adj_close", "adjclose", "adjusted_close", "closeadj"),
    "volume": ("volume", "vol"),
}
_TOGETHER: Final = (
    {"open": "px_open", "high": "px_high", "low": "px_low", "close": "px_last", "volume": "px_volume"},
    {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
)
"""Names that are those of columns where all four prices have them: O, H, L, C and V alone are listed companies."""
_INDEX: Final = re.compile(r"index_level_\d+")
_BAR_OF_MASSIVE: Final = frozenset("tohlc")
_FIELDS: Final = ("open", "high", "low", "close", "volume")
_BARS: Final = {"symbol": _USUAL["symbol"], **{name: (name,) for name in _FIELDS}}

PROFILES: Final = (
    Profile("long", _USUAL),
    Profile("per_symbol", {name: names for name, names in _USUAL.items() if name != "symbol"}),
    Profile("wide", {"date": _USUAL["date"]}, layout="wide"),
    Profile("yfinance", {"date": ("date", "datetime"), **_BARS, "adj_close": ("adj_close",)}, layout="levels"),
    Profile("yfinance_history", {"date": ("date", "datetime"), **_BARS}, frozenset({"dividends", "stock_splits"})),
    Profile(
        "stooq",
        {"date": ("date",), **_BARS, "volume": ("vol", "volume")},
        frozenset({"ticker", "per", "openint"}),
    ),
    Profile(
        "alpha_vantage",
        {
            "date": ("timestamp",),
            "symbol": _USUAL["symbol"],
            "open": ("1. open", "open"),
            "high": ("2. high", "high"),
            "low": ("3. low", "low"),
            "close": ("4. close", "close"),
            "adj_close": ("5. adjusted close", "adjusted_close"),
            "volume": ("6. volume", "5. volume", "volume"),
        },
        frozenset({"1_open", "4_close"}),
        rows=("Time Series (Daily)",),
        symbol=("Meta Data", "2. Symbol"),
    ),
    Profile(
        "tiingo",
        {"date": ("date",), **_BARS, "adj_close": ("adjClose",)},
        frozenset({"adjclose", "divcash", "splitfactor"}),
    ),
    Profile(
        "massive",
        {
            "date": ("t",),
            "symbol": ("T",),
            "open": ("o",),
            "high": ("h",),
            "low": ("l",),
            "close": ("c",),
            "volume": ("v",),
        },
        rows=("results",),
        symbol=("ticker",),
        more=("next_url",),
    ),
    Profile(
        "nasdaq_data_link",
        {
            "date": ("date",),
            **_BARS,
            "adj_close": ("adj_close", "closeadj"),
        },
        frozenset({"ex_dividend", "split_ratio"}),
        rows=("datatable", "data"),
        header=("datatable", "columns"),
        more=("meta", "next_cursor_id"),
    ),
    Profile(
        "eodhd",
        {"date": ("date",), **_BARS, "adj_close": ("adjusted_close",)},
        frozenset({"date", "adjusted_close"}),
    ),
)
PROFILE_NAMES: Final = tuple(profile.name for profile in PROFILES)
_BY_NAME: Final = {profile.name: profile for profile in PROFILES}
MAX_CELLS: Final = 50_000_000
"""Days times symbols of wide tables in one reply, whether they are asked for or not."""
_SLICE: Final = 1 << 18
"""Bars that are worked on at once."""
_TICKER: Final = re.compile(r"[\w^][\w.^=/-]{0,11}")
"""What the name of a column has to look like so that a table is taken as one column a symbol without being told."""
_PACKED: Final = re.compile(r"(?i)\.(csv|txt|json|jsonl|ndjson|parquet|pq|gz|gzip|zip)$")


ARRIVED: Final = "arrived"
"""Under which a frame's ``attrs`` have the columns that arrived."""


@dataclass(frozen=True)
class Arrived:
    """Columns of a reply: those of ours that were found, and what else the usual layouts do not have."""

    columns: frozenset[str]
    further: frozenset[str] = frozenset()
    newest: str = ""
    """The newest day of any row, asked for or not; empty where the source does not say."""
    silent: tuple[str, ...] = ()
    """Symbols that the source was asked for one by one, and had nothing of."""
    layouts: Mapping[frozenset[str], Set[str]] = field(default_factory=dict)
    """Columns of ours, and the days of the rows that came with these: one file may lack what another has."""

    def on(self, day: str) -> Arrived:
        """The same, with the columns of the rows of ``day``; of all where the source does not say, or has none."""
        found = [columns for columns, days in self.layouts.items() if day in days]
        return replace(self, columns=frozenset().union(*found)) if found else self

    def __deepcopy__(self, _: object) -> Arrived:
        # pandas copies a frame's attrs whenever it makes another frame of it; this is never changed.
        return self


@dataclass(frozen=True)
class Reading:
    """How to read a reply, and which part of it."""

    zone: str
    """The exchange's time zone, in which a moment's day is taken."""
    profile: str | None = "auto"
    """A profile's name, or ``auto`` to have it recognised; None where columns have names and no layout."""
    symbol: str = ""
    """The symbol of all rows of a body that names none; its file name where this is empty."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Names of columns → ours, before all profiles."""
    first: str = ""
    """First day that is kept."""
    last: str = "9999-12-31"
    """Last day that is kept."""
    numbers: tuple[str, ...] = NUMBERS
    """Columns that are read beside date and symbol."""
    dates: DateOrder | None = None
    """None where no setting says it."""
    decimal: Decimal = ""


@dataclass(frozen=True)
class _Plan:
    """Where each column of ours is found. ``groups``: symbol (empty where a column names it) and the places of its
    numbers; several where one row holds several symbols.
    """

    date: int
    symbol: int | None
    groups: tuple[tuple[str, Mapping[str, int]], ...]
    further: tuple[str, ...] = ()
    """Names of columns that no layout of a supplier explains and nothing reads, in plain form."""


def read_body(
    data: bytes, *, name: str, uri: str, zone: str, profile: str | None = None, symbol: str | None = None
) -> pd.DataFrame:
    """All bars of one whole reply: CSV, JSON, NDJSON or Parquet, gzip or zip of these, told apart by its content.

    ``name`` is the file's name, whose stem is the symbol where the reply names none and ``symbol`` is not given: pass
    an empty one where it is no symbol. ``zone`` is the exchange's. Columns as ``PriceSource.read`` has them. Pages
    that follow are not fetched: that is the caller's work.

    Raises ``SourceError`` for all that is not bars: error pages, error JSON, an empty or a truncated reply.
    """
    reply = Reply(uri, Reading(zone, profile or "auto", symbol or ""))
    return reply.mark(to_frame(reply.bars(io.BytesIO(data), name, uri), uri))


class Reply:
    """One reply, of one file or several: what is counted, and what has to agree, over all of them.

    ``layouts`` is where the columns of each day are kept, where several replies are read to one.
    """

    def __init__(self, uri: str, reading: Reading, layouts: dict[frozenset[str], set[str]] | None = None) -> None:
        self.symbols = Symbols(uri)
        self.is_cut = False
        """Whether every body so far says that further pages follow it."""
        self.more: tuple[str, str] | None = None
        """What the newest body says of the page that follows it: the key, and its value."""
        self._reading = reading
        self._zone = ZoneInfo(reading.zone)
        self._budget = Budget()
        self.bodies = 0
        """How many there were so far."""
        self._cells = 0
        self._columns = {"date", "symbol"}
        self._layouts = {} if layouts is None else layouts
        self._further: set[str] = set()
        self._newest = ""

    @property
    def arrived(self) -> Arrived:
        """The columns that were there, once the bars were read."""
        return Arrived(frozenset(self._columns), frozenset(self._further), self._newest, layouts=self._layouts)

    def mark(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame`` with what arrived in its ``attrs``."""
        frame.attrs[ARRIVED] = self.arrived
        return frame

    def bars(self, file: Any, name: str, uri: str) -> Iterator[pa.Table]:
        """The bars of one file, piece by piece: days, symbols, the numbers that are asked for, ``unreadable``."""
        with bodies.refusing(uri):
            for inner, place, opened in bodies.unpacked(file, name, uri):
                yield from self.rows(bodies.read(opened, place, self._budget), _stem(inner), place)

    def rows(self, body: Any, symbol: str, uri: str) -> Iterator[pa.Table]:
        """The bars of one body, a ``Grid`` or a JSON document; ``symbol`` is theirs where nothing else names one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = 0
        grid, plan, self.more = _planned(body, self._reading, symbol, uri)
        self.is_cut = self.more is not None and (self.is_cut or not self.bodies)
        self.bodies += 1
        columns = frozenset({"date", "symbol"}.union(*(cells for _, cells in plan.groups)))
        self._columns |= columns
        self._further.update(plan.further)
        named = [] if plan.symbol is None else [plan.symbol]
        places = sorted({plan.date, *named, *(n for _, cells in plan.groups for n in cells.values())})
        names = pa.array([self.symbols.normal(symbol) for symbol, _ in plan.groups if not named], pa.string())
        for batch in grid.batches(places):
            length = len(batch[plan.date])
            found += length
            self._count(length * len(plan.groups) if len(plan.groups) > 1 else 0, uri)
            kept = self._kept(batch, plan, uri)
            if kept:
                self._layouts.setdefault(columns, set()).update(pc.unique(kept[plan.date]).to_pylist())
            # A row of a wide table becomes as many bars as it has symbols.
            step = max(_SLICE // max(length, 1), 1)
            for start in range(0, len(plan.groups) if kept else 0, step):
                yield self._melted(kept, plan, start, start + step, names.slice(start, step))
        if not found:
            raise EmptyReplyError(
                f"{uri}: expected bars, found a header line and no rows, so an empty file. Deliver it again, then run "
                "again: that nothing came does not say that a symbol was delisted"
            )

    def _kept(self, batch: Mapping[int, pa.Array], plan: _Plan, uri: str) -> Mapping[int, pa.Array]:
        """The rows of the days that are asked for, dates as days and symbols trimmed; nothing where there are none."""
        import pyarrow.compute as pc

        ready = dict(batch)
        named = None
        if plan.symbol is not None:
            named = ready[plan.symbol] = pc.utf8_trim_whitespace(batch[plan.symbol])
        date = ready[plan.date] = days(batch[plan.date], named, self._zone, uri, self._reading.dates)
        self._newest = max(self._newest, pc.max(date).as_py() or "")
        kept = pc.and_(pc.greater_equal(date, self._reading.first), pc.less_equal(date, self._reading.last))
        if pc.all(kept, min_count=0).as_py():
            return ready
        if not pc.any(kept, min_count=0).as_py():
            return {}
        return {place: cells.filter(kept) for place, cells in ready.items()}

    def _count(self, cells: int, uri: str) -> None:
        self._cells += cells
        if self._cells > MAX_CELLS:
            raise SourceError(
                f"{uri}: expected at most {MAX_CELLS:,} cells in one reply of one column a symbol, found more. Deliver "
                "fewer sessions or symbols, or one bar a row"
            )

    def _melted(self, batch: Mapping[int, pa.Array], plan: _Plan, first: int, end: int, names: pa.Array) -> pa.Table:
        """One bar a row, of some groups of the plan; ``names`` are their symbols, where no column has these."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        date, groups = batch[plan.date], plan.groups[first:end]
        length = len(date)
        if plan.symbol is not None:
            symbol = self.symbols.column(batch[plan.symbol])
        else:
            symbol = names.take(pa.array(np.repeat(np.arange(len(names)), length)))
        blank = pa.array([""]).take(pa.array(np.zeros(length, dtype=np.int64)))
        columns = {
            name: pa.concat_arrays([batch[cells[name]] if name in cells else blank for _, cells in groups])
            for name in NUMBERS
            if any(name in cells for _, cells in groups)
        }
        date = pa.concat_arrays([date] * len(groups))
        numbers = read_numbers(columns, len(date), self._reading.decimal)
        table = pa.table({"date": date, "symbol": symbol, **numbers})
        if len(plan.groups) == 1:
            return table
        # A symbol that is not listed on a day has blank cells in its row: no bar, rather than one without numbers.
        there = functools.reduce(pc.or_, (pc.is_valid(cells) for cells in numbers.values()))
        return table.filter(there)


def _stem(name: str) -> str:
    """A file's name without folders and the usual endings: a symbol, where the file is named by it."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    while (shorter := _PACKED.sub("", name)) != name:
        name = shorter
    return name


def _planned(body: Any, reading: Reading, stem: str, uri: str) -> tuple[Grid, _Plan, tuple[str, str] | None]:
    """The rows of a body, where its columns are, and what it says of a further page."""
    named = _BY_NAME.get(reading.profile or "auto")
    symbol, more = reading.symbol, None
    if isinstance(body, Grid):
        grid = body
    else:
        holder = _holder(body, named, uri)
        grid = _grid(body, holder, uri)
        if holder is not None:
            named = named or holder
            # What the reply says of itself comes before what it was thought to be.
            own = _at(body, holder.symbol) if holder.symbol else None
            symbol = own if isinstance(own, str) and own.strip() else symbol
            following = _at(body, holder.more) if holder.more else None
            more = (holder.more[-1], str(following)) if following else None
    names = [plain(name) for name in grid.header]
    if grid.header and not grid.header[0].strip() and not set(names) & set(_USUAL["date"]):
        # How pandas writes an index without a name; where it is none of days, its cells are refused as dates.
        names[0] = "date"
    profile = named or _recognised(grid, names, reading.rename)
    return grid, _plan(grid, names, profile, named is not None, reading, symbol or stem, uri), more


def _holder(document: Any, named: Profile | None, uri: str) -> Profile | None:
    """The profile whose rows a JSON object has; None for a list of rows. Raises where it says an error instead."""
    candidates = [named] if named and named.rows else PROFILES
    holder = next((p for p in candidates if p.rows and _at(document, p.rows)), None)
    bodies.refuse_error(document, holder is not None, uri)
    if holder is None and not isinstance(document, list) and not _is_row(document):
        empty = any(p.rows and _at(document, p.rows) is not None for p in candidates)
        if empty:
            raise EmptyReplyError(
                f"{uri}: expected bars, found a reply without any. Check symbol and dates, then run again: that "
                "nothing came does not say that a symbol was delisted"
            )
        keys = bodies.scrub(", ".join(list(document)[:12]))
        raise SourceError(
            f"{uri}: expected prices as a list of JSON objects, or as {' or '.join(_paths())}; found an object with "
            f"the keys {keys}. Deliver one of these shapes"
        )
    return holder


def _is_row(document: Any) -> bool:
    """Whether a JSON object is itself a bar: NDJSON of one line."""
    if not isinstance(document, dict) or any(isinstance(value, dict | list) for value in document.values()):
        return False
    return bool({plain(key) for key in document} & set(_USUAL["date"])) or set(document) >= _BAR_OF_MASSIVE


def _paths() -> list[str]:
    return [f"{'.'.join(profile.rows)} ({profile.name})" for profile in PROFILES if profile.rows]


def _grid(document: Any, holder: Profile | None, uri: str) -> Grid:
    rows = _at(document, holder.rows) if holder else document
    if holder is None and isinstance(rows, dict):
        rows = [rows]
    elif isinstance(rows, dict):
        rows = [{"timestamp": day, **bar} if isinstance(bar, dict) else bar for day, bar in rows.items()]
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return bodies.records(rows, uri)
    header = _at(document, holder.header) if holder and holder.header else None
    if isinstance(rows, list) and isinstance(header, list) and all(isinstance(row, list) for row in rows):
        names = [str(column.get("name", "")) if isinstance(column, dict) else str(column) for column in header]
        return bodies.lists(names, rows, uri)
    raise SourceError(
        f"{uri}: expected rows as JSON objects, found something else in their place. Correct it, then run again"
    )


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def plain(name: str) -> str:
    """A column's name without case and punctuation: ``<TICKER>``, ``Adj. Close`` → ``ticker``, ``adj_close``.

    Letters and digits of any script stay, so that ``日付`` and ``Цена`` are names, too.
    """
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", name).lower()).strip("_")


def _recognised(grid: Grid, plain: Sequence[str], rename: Mapping[str, str]) -> Profile:
    if grid.levels:
        return _BY_NAME["yfinance"]
    if plain and not rename:
        if set(grid.header) >= _BAR_OF_MASSIVE:
            return _BY_NAME["massive"]
        marked = next((p for p in PROFILES if p.marks and p.marks <= set(plain)), None)
        if marked:
            return marked
        known = {name for names in _USUAL.values() for name in names} | {*_TOGETHER[0].values()}
        others = [name.strip() for name in grid.header[1:]]
        are_tickers = len(others) > 1 and all(_is_ticker(name) for name in others)
        are_fields = set(plain[1:]) <= {*_together(plain).values()}
        if plain[0] in _USUAL["date"] and are_tickers and not are_fields and not known & set(plain[1:]):
            return _BY_NAME["wide"]
    return _BY_NAME["long"]


def _is_ticker(name: str) -> bool:
    # Words of scripts without capitals are names of fields as likely as not.
    return bool(_TICKER.fullmatch(name)) and (name.isupper() or (name.isascii() and name == name.upper()))


def _together(names: Sequence[str]) -> Mapping[str, str]:
    """The one of ``_TOGETHER`` of which ``names`` have all prices."""
    return next((one for one in _TOGETHER if {one[price] for price in _FIELDS[:4]} <= set(names)), {})


def _plan(
    grid: Grid, names: Sequence[str], profile: Profile, is_named: bool, reading: Reading, symbol: str, uri: str
) -> _Plan:
    renamed = [(ours, plain(theirs)) for theirs, ours in reading.rename.items()]
    together = _together(names) if profile.name in ("long", "per_symbol") else {}

    def places(ours: str) -> list[int]:
        # What arrives under its old name is read as before.
        wanted = (*(theirs for name, theirs in renamed if name == ours), *profile.columns.get(ours, ()))
        for name in wanted:
            # A single letter means other things in capitals: t is the time, T the ticker.
            met = [n.strip() for n in grid.header] if len(name) == 1 else names
            found = [place for place, other in enumerate(met) if other == (name if len(name) == 1 else plain(name))]
            if found:
                return found
        return [place for place, name in enumerate(names) if name == together.get(ours)]

    if not any(names) and not grid.levels:
        raise SourceError(
            f"{uri}: expected a header line, found an empty file or line. Deliver it again, then run again"
        )
    found = {ours: places(ours) for ours in ("date", "symbol", *NUMBERS)}
    wrong = [f"{ours} twice" for ours, there in found.items() if len(there) > 1]
    if not found["date"]:
        wrong.append("missing date")
    if profile.layout == "rows":
        needed = ["open", "high", "low", "close"]
        # Closes alone are a source, too; half of a bar is a column that was lost.
        if not any(found[name] for name in needed[:3]):
            needed = ["close"] if found["close"] else needed
        wrong += [f"missing {name}" for name in needed if not found[name]]
        if not found["symbol"] and (not symbol or (is_named and profile.name == "long")):
            wrong.append("missing symbol")
    if wrong:
        profiles = PROFILE_NAMES if reading.profile else ()
        ours = {place: name for name, there in found.items() for place in there}
        known = tuple(ours.get(place, theirs) for place, theirs in enumerate(grid.header))
        raise SchemaError(_mismatch(uri, profile, is_named, wrong, grid.header, profiles), known)
    date = found["date"][0]
    if profile.layout == "wide":
        columns = [(name.strip(), place) for place, name in enumerate(grid.header) if place != date]
        groups: list[tuple[str, Mapping[str, int]]] = [(name, {"close": place}) for name, place in columns if name]
        _require_distinct([name for name, _ in groups], uri)
        return _Plan(date, None, tuple(groups))
    if profile.layout == "levels":
        return _Plan(date, None, _of_levels(grid, profile, date, uri))
    cells = {name: found[name][0] for name in reading.numbers if found[name]}
    used = {place for there in found.values() for place in there}
    usual = profile.name in ("long", "per_symbol")
    # An index that pandas wrote beside the columns is none.
    others = (name for place, name in enumerate(names) if name and place not in used and not _INDEX.fullmatch(name))
    further = tuple(others) if usual else ()
    if found["symbol"]:
        return _Plan(date, found["symbol"][0], (("", cells),), further)
    return _Plan(date, None, ((symbol, cells),), further)


def _of_levels(grid: Grid, profile: Profile, date: int, uri: str) -> tuple[tuple[str, Mapping[str, int]], ...]:
    """The columns of each symbol, where the header says field and symbol of each."""
    fields, symbols = grid.levels or ((), ())
    ours = {plain(name): column for column, names in profile.columns.items() for name in names}
    groups: dict[str, dict[str, int]] = {}
    for place, (name, symbol) in enumerate(zip(fields, symbols, strict=True)):
        column = ours.get(plain(name))
        if place == date or column is None:
            continue
        cells = groups.setdefault(symbol.strip(), {})
        if column in cells:
            raise SourceError(
                f"{uri}: expected each column of a symbol once, found {name} of {symbol} twice. Correct it"
            )
        cells[column] = place
    lacking = [f"{name} of {s}" for s, cells in groups.items() for name in _FIELDS if name not in cells]
    if lacking or not groups:
        raise SourceError(
            f"{uri}: expected open, high, low, close and volume of each symbol in the header lines, missing "
            f"{bodies.scrub(', '.join(lacking[:6]) or 'all')}. Save the download again, then run again"
        )
    return tuple(groups.items())


def _require_distinct(names: Sequence[str], uri: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{uri}: expected one column a symbol, found {bodies.scrub(twice, 40)!r} twice. Correct it")
    if not names:
        raise SourceError(f"{uri}: expected one column a symbol beside the date, found none. Deliver it again")


def _mismatch(
    uri: str, profile: Profile, is_named: bool, wrong: Sequence[str], header: Sequence[str], profiles: Sequence[str]
) -> str:
    """The message on a header that lacks columns, or has one twice."""
    what = f"of the profile {profile.name} " if is_named else ""
    needs = "date, symbol, open, high, low, close" if profile.layout == "rows" else "date"
    return (
        f"{uri}: expected each of the columns {needs} {what}once; {', '.join(wrong)}, found "
        f"{bodies.scrub(', '.join(header), 300)}. "
        + f"Correct {'the header line' if profiles else 'the query'}{',' if profiles else ' or'} name your columns in "
        + "source.rename"
        + (", the symbol in source.symbol" if profiles and "missing symbol" in wrong else "")
        + (
            f", or say in source.profile what it is: {', '.join(profiles)} (wide: a column a symbol)"
            if profiles
            else ""
        )
    )
