"""Completeness: counts of what arrived, by hand and against a slow count, and the verdict on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from countersign.monitoring import completeness
from countersign.monitoring.completeness import Arrivals, arrived_cells, completeness_readings, count_cells
from countersign.monitoring.reading import Reading
from countersign.tables import SOURCE_COLUMNS, Column

OPEN, CLOSE, VOLUME = (c for c in SOURCE_COLUMNS if c.name in {"open", "close", "volume"})
LIMITS: dict[str, Any] = {
    "max_null_share": 0.25,
    "max_column_null_share": 0.5,
    "max_rejected_share": 0.1,
    "max_drop": 0.1,
    "window": 63,
}


def arrivals(*filled: tuple[int, ...], rows: list[int], columns: tuple[Column, ...] = (OPEN, CLOSE)) -> Arrivals:
    """Deliveries with these readable cells a column; each row of another symbol, nothing rejected."""
    counts = np.array(rows)
    cells = np.array(filled, dtype=int).reshape(len(rows), len(columns))
    return Arrivals(columns, counts, counts, np.zeros_like(counts), cells, np.zeros_like(cells))


def whole(rows: list[int]) -> Arrivals:
    """Deliveries in which no cell is missing."""
    return arrivals(*((count, count) for count in rows), rows=rows)


def judged(found: Arrivals, **changes: Any) -> dict[str, Reading]:
    return {reading.measure: reading for reading in completeness_readings(found, **LIMITS | changes)}


def test_cells_are_counted_as_a_person_would() -> None:
    """Of close: two prices (one beside a cell that only looks like a note on it), one no number, one empty."""
    raw = pd.DataFrame(
        {
            "symbol": ["A", "B", "C", ""],
            "close": [1.0, np.nan, np.nan, 4.0],
            "adj_close": [1.0, np.nan, np.nan, np.nan],
            "unreadable": [None, "close='1,5' adj_close='x'", "adj_close='y'", "adj_close='1 close=2'"],
        }
    )
    columns = [Column(name, "number", "", "") for name in ("symbol", "close", "adj_close")]
    filled, unreadable = arrived_cells(raw, columns)
    assert filled.sum(axis=0).tolist() == [3, 2, 1]
    assert unreadable.sum(axis=0).tolist() == [0, 1, 3]


def test_counts_by_session_agree_with_a_slow_count() -> None:
    rng = np.random.default_rng(7)
    session, cells = rng.integers(0, 40, 300), rng.random((300, 3)) < 0.7
    slow = [[sum(cells[session == s, c]) for c in range(3)] for s in range(41)]
    assert count_cells(session, cells, 41).tolist() == slow


def test_shares_of_many_sessions_are_those_of_each_by_hand() -> None:
    found = arrivals((4, 4), (3, 4), (0, 2), (0, 0), rows=[4, 4, 4, 0])
    np.testing.assert_array_equal(completeness.null_shares(found), [0, 1 / 8, 6 / 8, np.nan])
    np.testing.assert_array_equal(
        completeness.column_null_shares(found), [[0, 0], [1 / 4, 0], [1, 2 / 4], [np.nan, np.nan]]
    )


def test_a_column_that_the_contract_does_not_ask_for_is_not_missing() -> None:
    found = arrivals((4, 0), rows=[4], columns=(OPEN, VOLUME))
    assert judged(found)["null_share"].status == "fail"
    assert judged(found.of([OPEN]))["null_share"].value == 0


def test_one_bad_column_fails_by_name_where_the_overall_share_is_still_small() -> None:
    columns = tuple(Column(name, "number", "", "") for name in "abcdefgh")
    found = judged(arrivals((10, 10, 10, 4, 10, 10, 10, 10), rows=[10], columns=columns))
    assert (found["null_share"].status, found["null_share"].value) == ("pass", 6 / 80)
    assert (found["column_null_share"].status, found["column_null_share"].value) == ("fail", 6 / 10)
    assert "d 60.0%" in found["column_null_share"].sentence


@pytest.mark.parametrize(("rejected", "status"), [(0, "pass"), (1, "pass"), (2, "fail"), (10, "fail")])
def test_rows_may_be_rejected_up_to_the_limit(rejected: int, status: str) -> None:
    found = whole([10])
    reading = judged(
        Arrivals(found.columns, found.rows, found.symbols, np.array([rejected]), found.filled, found.filled)
    )
    assert reading["rejected_share"].status == status
    assert reading["rejected_share"].value == rejected / 10


def test_usual_counts_agree_with_a_slow_median_of_the_sessions_before() -> None:
    counts = np.random.default_rng(3).integers(0, 9, 200)
    slow = [np.median(counts[max(i - 30, 0) : i]) if i >= completeness.MIN_SESSIONS else np.nan for i in range(200)]
    np.testing.assert_array_equal(completeness.usual_counts(counts, 30), slow)


@pytest.mark.parametrize(("today", "status"), [(100, "pass"), (90, "pass"), (89, "fail"), (0, "fail"), (200, "pass")])
def test_fewer_rows_than_usual_fail_and_more_do_not(today: int, status: str) -> None:
    reading = judged(whole([100] * 63 + [today]))["rows"]
    assert (reading.status, reading.value, reading.reference, reading.threshold) == (status, today, 100, 90)


def test_symbols_that_stay_away_are_seen_on_every_day_not_only_on_the_first() -> None:
    """A comparison with the session before would be green again on the second day."""
    found = [judged(whole([10] * 63 + [5] * days))["symbols"].status for days in range(1, 31)]
    assert found == ["fail"] * 30


def test_without_a_month_before_it_is_not_known_what_is_usual() -> None:
    few, enough = (judged(whole([4] * count))["rows"] for count in (21, 22))
    assert (few.status, enough.status) == ("insufficient", "pass")
    assert "there are 20" in few.sentence


def test_a_session_without_rows_is_not_complete() -> None:
    found = judged(arrivals(*[(4, 4)] * 30, (0, 0), rows=[4] * 30 + [0]))
    assert {name: reading.status for name, reading in found.items()} == {
        "null_share": "insufficient",
        "column_null_share": "insufficient",
        "rejected_share": "insufficient",
        "rows": "fail",
        "symbols": "fail",
    }


@pytest.mark.parametrize("found", [whole([]), arrivals((), rows=[4], columns=())], ids=["no session", "no column"])
def test_nothing_to_count_is_insufficient(found: Arrivals) -> None:
    reading = judged(found)["null_share"]
    assert (reading.status, math.isnan(reading.value)) == ("insufficient", True)


def test_counts_that_contradict_each_other_are_not_green() -> None:
    """More readable cells than rows: a share below zero is under every limit."""
    found = judged(arrivals((9, 9), rows=[4]))
    assert (found["null_share"].status, found["column_null_share"].status) == ("insufficient", "insufficient")
