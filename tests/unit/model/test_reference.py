"""Reference: every value of training is in one bin, by the rule that drift counts with; what its rows are worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.model.reference import DESIGN_LAGS, design_effect, reference_bins

numbers = st.lists(
    st.one_of(st.floats(allow_nan=False), st.integers(0, 3).map(float), st.sampled_from([np.nan, np.inf, -np.inf])),
    max_size=60,
)


def frozen(values: Sequence[float] | np.ndarray, bins: int = 10) -> dict[str, Any]:
    """The reference of ``values``, each of a session of its own."""
    return reference_bins(np.array(values, dtype=float), np.arange(len(values)), bins)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(found=numbers, bins=st.integers(1, 12))
def test_every_value_is_counted_once_in_the_bin_that_its_edges_say(found: list[float], bins: int) -> None:
    made = frozen(found, bins)
    known = [x for x in found if x == x]
    below = [0, *(sum(x <= edge for x in known) for edge in made["edges"]), len(known)]
    assert made["counts"] == [upper - lower for lower, upper in pairwise(below)]
    assert made["missing"] == len(found) - len(known)
    assert sum(made["counts"]) + made["missing"] == len(found)
    assert made["edges"] == sorted(set(made["edges"]))
    assert np.isfinite(made["edges"]).all()
    assert len(made["counts"]) <= bins


def test_distinct_values_fall_into_bins_of_equal_mass() -> None:
    assert frozen(np.random.default_rng(1).permutation(1000))["counts"] == [100] * 10


def test_a_value_that_repeats_makes_one_bin_not_several() -> None:
    made = frozen([0.0] * 70 + [1.0, 2.0, 3.0] * 10)
    assert made["edges"].count(0.0) == 1
    assert made["counts"][0] == 70


def test_a_constant_is_one_edge_with_everything_at_or_below_it() -> None:
    assert frozen([2.5] * 5) == {"edges": [2.5], "counts": [5, 0], "missing": 0, "design_effect": 1.0}


@pytest.mark.parametrize("count", [0, 4])
def test_with_nothing_known_there_is_one_empty_bin_and_all_are_missing(count: int) -> None:
    assert frozen([np.nan] * count) == {"edges": [], "counts": [0], "missing": count, "design_effect": 1.0}


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    made = frozen([1.0, 2.0, 3.0], bins=2)
    assert (made["edges"], made["counts"]) == ([2.0], [2, 1])


def slow_design_effect(counts: np.ndarray) -> float:
    """The same from autocovariances, lag by lag, and eigenvalues."""
    counts = counts[:, counts.any(axis=0)].astype(float)
    rows = counts.sum(axis=1, keepdims=True)
    share = counts.sum(axis=0) / rows.sum()
    excess = counts - share * rows
    variance = np.zeros((len(share), len(share)))
    for lag in range(min(DESIGN_LAGS + 1, len(counts))):
        products = [np.outer(excess[t], excess[t - lag]) for t in range(lag, len(counts))]
        at_lag = np.sum(products, axis=0) / len(counts)
        weight = 1 - lag / (DESIGN_LAGS + 1)
        variance += weight * (at_lag if lag == 0 else at_lag + at_lag.T)
    effects = np.linalg.eigvalsh(variance / rows.mean() / np.sqrt(np.outer(share, share)))
    return float((effects**2).sum() / effects.sum())


def test_the_design_effect_is_that_of_autocovariances_up_to_60_sessions_and_eigenvalues() -> None:
    rng = np.random.default_rng(2)
    level = np.convolve(rng.normal(size=400), np.ones(20), mode="valid")
    rows = rng.integers(0, 6, size=len(level))
    values = np.repeat(level, rows) + rng.normal(size=rows.sum())
    session = np.repeat(np.arange(len(level)), rows)
    made = reference_bins(values, session)
    bins = np.searchsorted(made["edges"], values)
    counts = np.array([np.bincount(bins[session == t], minlength=10) for t in range(session.min(), session.max() + 1)])
    assert made["design_effect"] == pytest.approx(slow_design_effect(counts), rel=1e-9)
    assert made["design_effect"] > 5


def test_symbols_that_all_say_the_same_are_worth_one() -> None:
    values = np.random.default_rng(3).normal(size=500)
    alone = frozen(values)["design_effect"]
    six = reference_bins(np.repeat(values, 6), np.repeat(np.arange(500), 6))["design_effect"]
    assert six == pytest.approx(6 * alone, rel=1e-12)


def test_a_value_that_stays_for_20_sessions_is_worth_what_a_window_of_61_sessions_holds_of_such_values() -> None:
    """Σ (1 - |l|/20)·(1 - |l|/61) over the lags at which values can be of one stay: 17.8."""
    values = np.repeat(np.random.default_rng(4).normal(size=10_000), 20)
    by_hand = sum((1 - abs(lag) / 20) * (1 - abs(lag) / 61) for lag in range(-19, 20))
    assert frozen(values)["design_effect"] == pytest.approx(by_hand, rel=0.03)


def test_independent_rows_are_worth_one_each() -> None:
    assert frozen(np.random.default_rng(5).normal(size=100_000))["design_effect"] == pytest.approx(1, abs=0.03)


def test_rows_are_never_worth_more_than_independent_ones() -> None:
    """Values that take turns say their share of bins more surely than independent ones; that is not relied upon."""
    assert frozen([0.0, 1.0, 2.0, 3.0] * 100)["design_effect"] == 1.0


def test_neither_the_order_of_rows_nor_the_number_of_the_first_session_changes_the_design_effect() -> None:
    rng = np.random.default_rng(6)
    values, session = rng.normal(size=300).cumsum(), np.sort(rng.integers(0, 100, size=300))
    order = rng.permutation(300)
    assert reference_bins(values[order], session[order] + 40) == reference_bins(values, session)


def test_sessions_without_rows_lie_between_those_that_have_some() -> None:
    counts = np.zeros((200, 3))
    counts[::2] = np.random.default_rng(7).multinomial(4, [0.2, 0.3, 0.5], size=100)
    assert design_effect(counts) == pytest.approx(max(1.0, slow_design_effect(counts)), rel=1e-9)
