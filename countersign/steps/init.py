"""Steps of a new project folder: settings guessed from a user's own prices, and written.

Belongs here: reading a sample, writing ``config/``. Does not belong here: the guesses (``countersign.guesses``).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.contract import Contract, SchemaMapping, contract_text, load_contract, schema_hash
from countersign.errors import ConfigError, DateOrderError, NumbersError, SchemaError, SourceError
from countersign.guesses import (
    Guess,
    adjustment_guess,
    calendar_guess,
    compared_calendars,
    fit_well,
    in_yaml,
    span_guesses,
    symbols_guess,
)
from countersign.prices.schema import TEXT, arrived_in, differences
from countersign.prices.sources.cells import MAX_UNREADABLE, DateOrder, Decimal
from countersign.prices.sources.files import FileSource
from countersign.prices.sources.shapes import PROFILE_NAMES
from countersign.project import open_project
from countersign.sessions import SessionCalendar, calendar_codes, load_calendar, read_sessions
from countersign.storage.codec import json_bytes
from countersign.storage.files import write_atomically
from countersign.tables import SOURCE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SHIPPED: Final = Path(__file__).parents[2] / "config"
"""The settings of the checkout, whose comments a new folder's have, too."""
_COPIED: Final = ("quality.yaml", "thresholds.yaml", "dagster.yaml")


@dataclass(frozen=True)
class Started:
    """A new project folder: what was found, and the settings that were guessed from it, in the order of the file."""

    bars: int
    first: str
    last: str
    columns: tuple[str, ...]
    lacking: tuple[str, ...]
    further: tuple[str, ...]
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Layout:
    """How the files are read: the supplier's ``profile``, columns of other names → ours, what comes first in dates and
    what begins decimals. These two are found out where nobody says them.
    """

    profile: str = "auto"
    rename: Mapping[str, str] = field(default_factory=dict)
    dates: DateOrder = "auto"
    decimal: Decimal = ""
    found: Mapping[str, str] = field(default_factory=dict)
    """Why, of what was found out."""

    def guesses(self) -> Iterator[Guess]:
        """The settings that it comes to."""
        if self.profile != "auto":
            yield Guess("source.profile", self.profile, "as you said")
        if self.rename:
            yield Guess("source.rename", json_bytes(dict(self.rename)).decode(), "as you said")
        if self.dates != "auto":
            yield Guess("source.dates", self.dates, self.found.get("dates", "as you said"))
        if self.decimal:
            yield Guess("source.decimal", in_yaml(self.decimal), self.found.get("decimal", "as you said"))


AS_FOUND: Final = Layout()
_SIGNS: Final[tuple[Decimal, ...]] = (",", ".")


def init_project(
    home: Path,
    prices: str,
    now: datetime,
    calendar: str | None = None,
    adjustment: str | None = None,
    layout: Layout = AS_FOUND,
) -> Started:
    """Write ``config/`` of the folder ``home`` for the files at ``prices``, which are read by ``layout``.

    ``calendar`` and ``adjustment`` are taken where they are given, and guessed where they are not. Nothing is written
    but the whole: raises ``ConfigError`` where there are settings already or none can be guessed, and ``SourceError``
    for files that are no bars.
    """
    if (home / "config").exists():
        raise ConfigError(f"expected a new folder, found settings in {home / 'config'}. Name another, or edit these")
    path = prices if "://" in prices else str(Path(prices).resolve())
    _require_columns(layout)
    if "://" not in prices and not glob(path):  # noqa: PTH207  # the pattern may be absolute
        raise ConfigError(f"--prices: expected a file, folder or glob of bars, found nothing at {path}. Name another")
    layout = _written(path, home, layout)
    bars = _bars(path, home, "UTC", layout)
    if calendar:
        on_calendar = Guess("calendar", calendar, "as you said")
    else:
        fits = compared_calendars(_days(bars), calendar_codes(), read_sessions)
        if not fit_well(fits, len(_days(bars))):
            # A midnight east of Greenwich is still the day before there.
            bars = _bars(path, home, "Pacific/Auckland", layout)
            fits = compared_calendars(_days(bars), calendar_codes(), read_sessions)
        on_calendar = calendar_guess(fits, len(_days(bars)))
    exchange = _calendar(on_calendar.value, bars["date"].min(), now)
    # Moments are dated where the exchange is, which is known by now alone.
    bars = _bars(path, home, exchange.timezone, layout)
    arrived = arrived_in(bars)
    days = np.intersect1d(_days(bars), exchange.dates)
    symbols = symbols_guess(bars)
    given = Guess("source.adjustment", adjustment, "as you said") if adjustment else None
    local = Path(path)
    shown = str(local.relative_to(home.resolve())) if local.is_relative_to(home.resolve()) else path
    guesses = (
        Guess("source.path", in_yaml(shown), "as you said"),
        *layout.guesses(),
        given or adjustment_guess(bars, arrived),
        on_calendar,
        symbols,
        *span_guesses(exchange.dates, days, bars["symbol"].nunique()),
    )
    contract = _contract(arrived.columns, arrived.further)
    if texts := [one.column for one in differences(contract, arrived, bars) if one.arrived == TEXT]:
        raise SourceError(
            f"{path}: expected numbers in {', '.join(texts)}, found text alone, such as "
            f"{bars['unreadable'].dropna().iloc[0]}. Correct the file, or say what begins the decimals: --decimal"
        )
    _write(home, guesses, contract, now.date())
    return Started(
        len(bars),
        bars["date"].min(),
        bars["date"].max(),
        tuple(contract.columns),
        tuple(name for name in load_contract(SHIPPED.parent).columns if name not in contract.columns),
        tuple(sorted(arrived.further)),
        guesses,
    )


def _days(bars: pd.DataFrame) -> np.ndarray:
    return np.unique(bars["date"].to_numpy(dtype="datetime64[D]"))


def _require_columns(layout: Layout) -> None:
    columns = [column.name for column in SOURCE_COLUMNS]
    if wrong := sorted(set(layout.rename.values()) - set(columns)):
        raise ConfigError(f"--rename: expected one of {', '.join(columns)} behind =, found {', '.join(wrong)}")
    if layout.profile not in PROFILE_NAMES and layout.profile != "auto":
        raise ConfigError(f"--profile: expected auto or one of {', '.join(PROFILE_NAMES)}, found {layout.profile}")


def _written(path: str, home: Path, layout: Layout) -> Layout:
    """``layout`` with what the files themselves show of how dates and numbers are written in them.

    Raises ``ConfigError`` where they can be read in two ways.
    """
    try:
        wrong = _unreadable(path, home, layout)
    except DateOrderError as error:
        orders: list[DateOrder] = ["day_first", "month_first"]
        fits = [one for one in (replace(layout, dates=order) for order in orders) if _is_read(path, home, one)]
        if not fits:
            raise
        if len(fits) > 1:
            raise ConfigError(f"{error}. Here: countersign init … --dates day_first, or month_first") from error
        layout = replace(fits[0], found={"dates": "with the other, some dates would be no days"})
        wrong = _unreadable(path, home, layout)
    if layout.decimal or not wrong:
        return layout
    left = {sign: _unreadable(path, home, replace(layout, decimal=sign)) for sign in _SIGNS}
    best = [sign for sign in _SIGNS if left[sign] == min(left.values()) < wrong]
    if len(best) > 1:
        raise ConfigError(
            f"{path}: expected numbers with decimals behind a point, found {wrong:,} rows with commas that may begin "
            "decimals or set thousands apart. Say which: countersign init … --decimal , or --decimal ."
        )
    if not best:
        return layout
    why = f"with it {left[best[0]]:,} rows have cells that are no numbers, without it {wrong:,}"
    return replace(layout, decimal=best[0], found={**layout.found, "decimal": why})


def _is_read(path: str, home: Path, layout: Layout) -> bool:
    try:
        _unreadable(path, home, layout)
    except SourceError:
        return False
    return True


def _unreadable(path: str, home: Path, layout: Layout) -> int:
    """Rows with cells that are no numbers."""
    try:
        return int(_bars(path, home, "UTC", layout)["unreadable"].notna().sum())
    except NumbersError:
        return MAX_UNREADABLE


def _bars(path: str, home: Path, zone: str, layout: Layout) -> pd.DataFrame:
    source = FileSource(
        path, home, zone=zone, profile=layout.profile, rename=layout.rename, dates=layout.dates, decimal=layout.decimal
    )
    try:
        return source.read("0001-01-01", "9999-12-31")
    except SchemaError as error:
        raise SourceError(
            f"{error}. Here: countersign init … --rename THEIRS=OURS for each, or --profile NAME"
        ) from error


def _calendar(code: str, first: str, now: datetime) -> SessionCalendar:
    with tempfile.TemporaryDirectory() as cache:
        begin, end = f"{int(first[:4]) - 1}-01-01", f"{now.year + 1}-12-31"
        return load_calendar(code, begin, end, Path(cache), where="behind --calendar")


def _contract(columns: frozenset[str], further: frozenset[str]) -> Contract:
    shipped = load_contract(SHIPPED.parent)
    terms = {name: one for name, one in shipped.columns.items() if name in columns}
    hashed = schema_hash(column for column in shipped.schema_columns if column.name in terms)
    return Contract(sha256=hashed, columns=terms, mapping=SchemaMapping(drop=tuple(sorted(further))))


def _write(home: Path, guesses: tuple[Guess, ...], contract: Contract, today: date) -> None:
    """``config/`` as a whole, once a project opens with it."""
    home.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=home, prefix=".init-"))
    try:
        config = made / "config"
        config.mkdir()
        for name in _COPIED:
            shutil.copyfile(SHIPPED / name, config / name)
        text = (SHIPPED / "contracts" / "prices.yaml").read_text(encoding="utf-8")
        write_atomically(config / "contracts" / "prices.yaml", contract_text(contract, text).encode())
        write_atomically(config / "pipeline.yaml", settings_text(guesses).encode())
        open_project(made, today)
        config.rename(home / "config")
    finally:
        shutil.rmtree(made)


def settings_text(guesses: tuple[Guess, ...]) -> str:
    """The shipped ``pipeline.yaml`` with the values of ``guesses``; a line whose value is empty is commented out."""
    text = (SHIPPED / "pipeline.yaml").read_text(encoding="utf-8")
    for guess in guesses:
        section, _, name = guess.setting.rpartition(".")
        start = text.index(f"\n{section}:\n") if section else 0
        line = re.compile(rf"^({'  ' if section else ''}){name}:( *)([^#\n]*?)( *)(#[^\n]*)?$", re.MULTILINE)
        found = line.search(text, start)
        if found is None:
            raise ConfigError(f"expected the setting {guess.setting} in {SHIPPED / 'pipeline.yaml'}, found none")
        value = f"{found[1]}{name}: {guess.value}" if guess.value else f"{found[1]}# {name}: []"
        if found[5]:
            value = f"{value.ljust(found.start(5) - found.start() - 1)} {found[5]}"
        text = text[: found.start()] + value + text[found.end() :]
    return text
