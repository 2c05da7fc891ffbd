"""Properties of completeness, whatever arrives."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.monitoring.completeness import (
    Arrivals,
    column_null_shares,
    completeness_readings,
    count_cells,
    null_shares,
    usual_counts,
)
from countersign.monitoring.contract import schema_reading
from countersign.monitoring.reading import Reading
from countersign.tables import SOURCE_COLUMNS

steady = settings(deadline=None, max_examples=100, derandomize=True)

counts = st.integers(-3, 12) | st.just(2**40)
sessions_of_counts = st.lists(st.tuples(*[counts] * 7), max_size=40)


def arrivals(found: list[tuple[int, ...]]) -> Arrivals:
    """Rows, symbols, rejected, and readable and unreadable cells of two columns, session by session."""
    table = np.array(found, dtype=np.int64).reshape(-1, 7)
    return Arrivals(SOURCE_COLUMNS[2:4], table[:, 0], table[:, 1], table[:, 2], table[:, 3:5], table[:, 5:])


def judged(found: Arrivals) -> dict[str, Reading]:
    readings = completeness_readings(
        found, max_null_share=0.2, max_column_null_share=0.3, max_rejected_share=0.1, max_drop=0.1, window=30
    )
    return {reading.measure: reading for reading in (*readings, schema_reading(found, SOURCE_COLUMNS[2:4]))}


@steady
@given(sessions_of_counts)
def test_whatever_is_counted_there_is_a_verdict_and_green_only_within_the_limits(found: list[tuple[int, ...]]) -> None:
    readings = judged(arrivals(found))
    assert set(readings) == {"null_share", "column_null_share", "rejected_share", "rows", "symbols", "schema"}
    for name, limit in (("null_share", 0.2), ("column_null_share", 0.3), ("rejected_share", 0.1)):
        assert readings[name].status != "pass" or 0 <= readings[name].value <= limit
    for reading in readings.values():
        assert reading.sentence
        assert reading.status != "pass" or math.isfinite(reading.value)
    if not found or found[-1][0] <= 0:
        assert "pass" not in {readings[name].status for name in ("null_share", "column_null_share", "schema")}


@steady
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), max_size=40))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, bool, bool]]) -> None:
    table = np.array(rows, dtype=int).reshape(-1, 3)
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    expected = count_cells(table[:, 0], table[:, 1:] > 0, 5)
    assert count_cells(table[order, 0], table[order, 1:] > 0, 5).tolist() == expected.tolist()


@steady
@given(st.lists(st.integers(0, 9), min_size=31, max_size=80), st.integers(1, 40))
def test_what_lies_before_the_window_does_not_matter(found: list[int], earlier: int) -> None:
    """The daily run reads a window, the replay everything: they say the same to the last bit."""
    now = np.array(found)
    assert usual_counts(np.r_[np.full(earlier, 999), now], 30)[-1] == usual_counts(now, 30)[-1]


@steady
@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_one_session_with_any_number_of_rows_does_not_move_what_is_usual(usual: int, outlier: int) -> None:
    found = usual_counts(np.array([usual] * 40 + [outlier] + [usual] * 5), 30)
    assert found[-1] == usual


@steady
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_the_overall_share_lies_between_those_of_the_columns(found: list[tuple[int, int]]) -> None:
    table = arrivals([(9, 9, 0, one, other, 0, 0) for one, other in found])
    overall, columns = null_shares(table), column_null_shares(table)
    assert ((columns.min(axis=1) <= overall + 1e-12) & (overall <= columns.max(axis=1) + 1e-12)).all()
