"""Contract: the frozen schema, what a delivery is compared with, and how a difference is told."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from countersign.contract import Contract, load_contract, schema_hash
from countersign.errors import ConfigError
from countersign.monitoring.completeness import Arrivals, arrived_cells, count_cells
from countersign.monitoring.contract import schema_changes, schema_reading
from countersign.monitoring.reading import Reading
from countersign.prices.ingest import session_bars
from countersign.prices.sources.files import FileSource
from countersign.project import open_project
from countersign.tables import SOURCE_COLUMNS

SESSION = "2008-09-15"
LINES = ["date,symbol,open,high,low,close,adj_close,volume"] + [
    f"{day},{symbol},10,12,9,11,5.5,1000" for day in ("2008-09-12", SESSION) for symbol in ("AAPL", "IBM")
]


@pytest.fixture(scope="module")
def contract(root: Path) -> Contract:
    return load_contract(root)


@pytest.fixture
def delivered(tmp_path: Path) -> Callable[[pd.DataFrame], Arrivals]:
    """What arrives for the session from a CSV file with these cells, through the source and ingest."""

    def read(cells: pd.DataFrame) -> Arrivals:
        cells.to_csv(tmp_path / "prices.csv", index=False)
        reply = FileSource("prices.csv", tmp_path).read("2008-09-12", SESSION)
        sessions = np.array(["2008-09-12", SESSION], dtype="datetime64[D]")
        return arrivals(session_bars(reply, SESSION, sessions, None, "prices.csv"))

    return read


def arrivals(raw: pd.DataFrame) -> Arrivals:
    """Counts of one session's raw bars."""
    filled, unreadable = (
        count_cells(np.zeros(len(raw), dtype=int), cells, 1) for cells in arrived_cells(raw, SOURCE_COLUMNS)
    )
    rows = np.array([len(raw)])
    return Arrivals(SOURCE_COLUMNS, rows, rows, np.zeros_like(rows), filled, unreadable)


@pytest.fixture
def cells() -> pd.DataFrame:
    """A delivery as text, that fits the contract."""
    head, *rows = (line.split(",") for line in LINES)
    return pd.DataFrame(rows, columns=head)


def judged(found: Arrivals, contract: Contract) -> Reading:
    return schema_reading(found, contract.schema_columns)


# --- the frozen file


def test_the_shipped_contract_freezes_the_columns_that_a_source_is_asked_for(contract: Contract) -> None:
    frozen = [(c.name, c.kind, c.nullable, c.unit) for c in contract.schema_columns]
    assert frozen == [(c.name, c.kind, c.nullable, c.unit) for c in SOURCE_COLUMNS]


def test_the_schema_hash_can_be_had_with_any_tool(contract: Contract) -> None:
    text = (
        '[["adj_close","number",true],["close","number",true],["date","date",false],["high","number",true],'
        '["low","number",true],["open","number",true],["symbol","string",false],["volume","number",true]]'
    )
    assert contract.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_schema_hash_is_over_name_type_and_nullability_and_nothing_else() -> None:
    frozen, (first, *rest) = schema_hash(SOURCE_COLUMNS), SOURCE_COLUMNS
    assert schema_hash(reversed(SOURCE_COLUMNS)) == frozen
    assert schema_hash([replace(first, unit="days", description="other words"), *rest]) == frozen
    others = [
        replace(first, name="day"),
        replace(first, kind="string"),
        replace(first, nullable=True),
    ]
    assert len({frozen, schema_hash(rest), *(schema_hash([other, *rest]) for other in others)}) == 5


def refusal(root: Path, home: Path, change: Callable[[dict[str, Any]], object]) -> str:
    shutil.copytree(root / "config", home / "config")
    path = home / "config" / "contracts" / "prices.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_contract(home)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_columns_that_were_changed_without_their_hash_are_refused_with_the_hash_they_have(
    root: Path, tmp_path: Path
) -> None:
    said = refusal(root, tmp_path, lambda found: found["columns"].pop("volume"))
    assert schema_hash(c for c in SOURCE_COLUMNS if c.name != "volume") in said
    assert "Restore the columns, or write this hash" in said


def test_a_column_that_lacks_a_term_or_has_an_unknown_one_is_refused(root: Path, tmp_path: Path) -> None:
    said = refusal(root, tmp_path / "lacks", lambda found: found["columns"]["open"].pop("unit"))
    assert "expected type, nullable, unit of each column" in said
    said = refusal(root, tmp_path / "unknown", lambda found: found["columns"]["open"].update(dtype="float64"))
    assert "'dtype': 'float64'" in said
    said = refusal(root, tmp_path / "type", lambda found: found["columns"]["open"].update(type="float64"))
    assert "columns.open.type: " in said
    assert "(value 'float64')" in said


@pytest.mark.parametrize("later", [None, "2013-01-02", "2012-01-02"])
def test_factors_of_a_column_that_do_not_follow_each_other_are_refused(
    later: str | None, root: Path, tmp_path: Path
) -> None:
    factors = [{"by": "0.01", "since": "2013-01-02"}, {"by": "1"} | ({"since": later} if later else {})]
    said = refusal(root, tmp_path, lambda found: found.update(mapping={"factor": {"open": factors}}))
    assert "expected the factors of a column by ascending since" in said


def test_a_project_without_a_contract_is_told_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Copy config/contracts/prices\.yaml of the Countersign checkout there"):
        load_contract(tmp_path)


# --- what arrived


def test_the_bundled_prices_have_the_schema_of_the_contract(contract: Contract, empty_home: Path) -> None:
    project = open_project(empty_home, date(2013, 3, 4))
    reply = project.source.read("2008-09-12", SESSION)
    raw = session_bars(reply, SESSION, project.calendar.dates, project.config.symbols, project.source.uri)
    reading = judged(arrivals(raw), contract)
    assert (reading.status, reading.value, reading.observations) == ("pass", 0, 4)
    assert contract.sha256[:12] in reading.sentence


def test_a_day_with_and_a_day_without_missing_cells_have_one_schema(
    contract: Contract, cells: pd.DataFrame, delivered: Callable[[pd.DataFrame], Arrivals]
) -> None:
    cells.loc[2, "volume"] = ""
    assert judged(delivered(cells), contract).status == "pass"


def test_the_order_of_columns_and_another_spelling_of_the_header_are_no_other_schema(
    contract: Contract, cells: pd.DataFrame, delivered: Callable[[pd.DataFrame], Arrivals]
) -> None:
    other = cells[cells.columns[::-1]].rename(columns={"adj_close": "Adj Close", "open": "OPEN"})
    assert judged(delivered(other), contract).status == "pass"


def test_a_difference_is_told_column_by_column(
    contract: Contract, cells: pd.DataFrame, delivered: Callable[[pd.DataFrame], Arrivals]
) -> None:
    """A vendor drops one column and begins to write another with decimal commas."""
    reading = judged(delivered(cells.drop(columns="adj_close").assign(open="10,5")), contract)
    assert (reading.status, reading.value, reading.threshold) == ("fail", 2, 0)
    assert "adj_close is missing" in reading.sentence
    assert "open is string with missing cells, not number with missing cells" in reading.sentence
    assert contract.sha256[:12] in reading.sentence


def test_a_column_that_arrives_empty_is_missing_and_one_bad_cell_is_no_other_type(
    contract: Contract, cells: pd.DataFrame, delivered: Callable[[pd.DataFrame], Arrivals]
) -> None:
    cells.loc[2, "open"] = "n/c"
    reading = judged(delivered(cells.assign(volume="")), contract)
    assert reading.value == 1
    assert "volume is missing" in reading.sentence


def test_a_column_that_was_not_agreed_on_and_a_missing_cell_that_may_not_be_are_differences(
    cells: pd.DataFrame, delivered: Callable[[pd.DataFrame], Arrivals]
) -> None:
    strict = [replace(c, nullable=False) for c in SOURCE_COLUMNS if c.name != "volume"]
    cells.loc[2, "open"] = ""
    reading = schema_reading(delivered(cells), strict)
    assert reading.value == 2
    assert "open is number with missing cells, not number without missing cells" in reading.sentence
    assert "volume is new, number without missing cells" in reading.sentence


@pytest.mark.parametrize("sessions", [0, 1])
def test_no_row_has_no_schema(contract: Contract, sessions: int) -> None:
    none, cells = np.zeros(sessions, dtype=int), np.zeros((sessions, len(SOURCE_COLUMNS)), dtype=int)
    reading = judged(Arrivals(SOURCE_COLUMNS, none, none, none, cells, cells), contract)
    assert (reading.status, math.isnan(reading.value)) == ("insufficient", True)


def test_many_sessions_are_seen_as_each_alone(contract: Contract) -> None:
    rng = np.random.default_rng(11)
    filled = rng.choice([0, 3, 4], (50, 8), p=[0.1, 0.1, 0.8])
    unreadable = np.where(filled < 4, rng.integers(0, 2, (50, 8)), 0)
    rows = np.where(np.arange(50) % 10 == 3, 0, 4)
    filled[rows == 0] = unreadable[rows == 0] = 0
    found = Arrivals(SOURCE_COLUMNS, rows, rows, rows, filled, unreadable)
    each = (slice(i, i + 1) for i in range(50))
    alone = [
        judged(Arrivals(SOURCE_COLUMNS, rows[i], rows[i], rows[i], filled[i], unreadable[i]), contract) for i in each
    ]
    np.testing.assert_array_equal(schema_changes(found, contract.schema_columns), [reading.value for reading in alone])
    assert {reading.status for reading in alone} == {"pass", "fail", "insufficient"}
