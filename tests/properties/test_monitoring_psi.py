"""Properties of the stability index and of the drift verdict, whatever the values are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.model.reference import reference_bins
from countersign.monitoring.drift import Drift, DriftReference, drift_readings, effect_reading, measure_drift
from countersign.monitoring.psi import stability_index

steady = settings(deadline=None, max_examples=150, derandomize=True)

numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-2, 2).map(float), st.sampled_from([1e300, np.nan])
)
values = st.lists(numbers, max_size=80).map(lambda found: np.array(found, dtype=float))
tables = st.integers(1, 8).flatmap(
    lambda bins: st.tuples(*[st.lists(st.integers(0, 300), min_size=bins, max_size=bins)] * 2)
)


def judged(reference: np.ndarray, current: np.ndarray, sessions: int = 3) -> Drift:
    """``current`` (rows of the first of ``sessions`` sessions) against ``reference``."""
    made = reference_bins(reference, np.arange(len(reference)) // 3)
    frozen = DriftReference.from_dict({"features": {"x": made}, "scores": {}, "targets": {}})
    counts = frozen.count("x", current, np.zeros(len(current), dtype=int), sessions)
    return measure_drift(counts[None], frozen, psi=0.2, significance=0.001, sessions_in_a_row=3, window_sessions=63)


@steady
@given(reference=values, current=values, data=st.data())
def test_the_order_of_the_rows_of_a_session_does_not_change_the_verdict(
    reference: np.ndarray, current: np.ndarray, data: st.DataObject
) -> None:
    order = np.array(data.draw(st.permutations(range(len(current)))), dtype=int)
    first, second = judged(reference, current), judged(reference, current[order])
    np.testing.assert_array_equal(first.index, second.index)
    np.testing.assert_array_equal(first.p, second.p)


@steady
@given(reference=values, current=values)
def test_whatever_the_values_are_there_is_a_reading_and_nothing_passes_unless_it_could_be_judged(
    reference: np.ndarray, current: np.ndarray
) -> None:
    found = judged(reference, current)
    verdict, psi = drift_readings(found)
    if psi.status == "pass":
        assert found.judged[0, -1]
        assert psi.value <= 0.2
    if psi.status == "fail":
        assert found.judged[0, -1]
        assert psi.value > 0.2
    if not found.judged[0, -1]:
        assert verdict.status == "insufficient"
    assert math.isnan(psi.value) == (not len(reference) or not len(current))
    # The effect by itself is a warning at once, and never an alarm.
    warned = effect_reading(found)
    assert warned.status == ("pass" if found.judged[0, -1] and psi.value <= 0.2 else "insufficient")


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        pytest.param(np.arange(500.0), np.array([]), id="no row now"),
        pytest.param(np.array([]), np.arange(500.0), id="no row in training"),
        pytest.param(np.arange(500.0), np.array([3.0]), id="one row"),
        pytest.param(np.arange(500.0), np.full(60, 1e9), id="too few rows, all of them far away"),
        pytest.param(np.full(500, 2.0), np.full(500, 2.0), id="constant"),
        pytest.param(np.full(500, np.nan), np.full(500, np.nan), id="all NaN"),
        pytest.param(np.full(500, np.inf), np.full(500, np.inf), id="all infinite"),
    ],
)
def test_where_nothing_can_be_judged_nothing_passes_and_nothing_fails(
    reference: np.ndarray, current: np.ndarray
) -> None:
    found = judged(reference, current)
    assert [reading.status for reading in (*drift_readings(found), effect_reading(found))] == ["insufficient"] * 3


@steady
@given(counts=tables, eps=st.sampled_from([None, 1e-4]))
def test_the_index_is_never_negative_and_the_same_from_either_side(
    counts: tuple[list[int], list[int]], eps: float | None
) -> None:
    before, after = map(np.array, counts)
    found = stability_index(before, after, eps)
    if before.sum() and after.sum():
        assert found >= 0
        assert found == pytest.approx(float(stability_index(after, before, eps)), rel=1e-12, abs=1e-12)


@steady
@given(counts=st.lists(st.integers(0, 300), min_size=1, max_size=8).filter(any))
def test_the_same_counts_are_no_distance_apart(counts: list[int]) -> None:
    assert stability_index(np.array(counts), np.array(counts)) == 0


@steady
@given(
    reference=st.lists(st.floats(-100, 100), min_size=50, max_size=200),
    current=st.lists(st.floats(-100, 100), min_size=50, max_size=200),
    outlier=st.sampled_from([1e3, 1e300, np.inf]),
)
def test_an_outlier_counts_as_one_row_in_the_last_bin_however_far_it_is(
    reference: list[float], current: list[float], outlier: float
) -> None:
    far, near = np.array(current), np.array(current)
    far[0], near[0] = outlier, 101.0
    before = np.array(reference)
    np.testing.assert_array_equal(judged(before, far).index, judged(before, near).index)


@steady
@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=8, max_size=8), min_size=1, max_size=5))
def test_many_at_once_are_each_what_they_are_alone(rows: list[list[int]]) -> None:
    before, after = np.array(rows).reshape(-1, 2, 4).transpose(1, 0, 2)
    alone = [stability_index(b, a) for b, a in zip(before, after, strict=True)]
    np.testing.assert_array_equal(stability_index(before, after), alone)
