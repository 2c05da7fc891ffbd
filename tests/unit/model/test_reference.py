"""Reference: every value of training is in exactly one bin, by the rule that drift will count with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification

from countersign.model.reference import reference_bins

numbers = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(0, 3).map(float), st.just(np.nan)), max_size=60)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(found=numbers, bins=st.integers(1, 12))
def test_every_value_is_counted_once_in_the_bin_that_its_edges_say(found: list[float], bins: int) -> None:
    made = reference_bins(np.array(found, dtype=float), bins)
    bounds = [-np.inf, *made["edges"], np.inf]
    known = [x for x in found if x == x]
    assert made["counts"] == [sum(a < x <= b for x in known) for a, b in pairwise(bounds)]
    assert made["missing"] == len(found) - len(known)
    assert sum(made["counts"]) + made["missing"] == len(found)
    assert made["edges"] == sorted(set(made["edges"]))
    assert len(made["counts"]) <= bins


def test_distinct_values_fall_into_bins_of_equal_mass() -> None:
    assert reference_bins(np.random.default_rng(1).permutation(1000).astype(float), bins=10)["counts"] == [100] * 10


def test_a_value_that_repeats_makes_one_bin_not_several() -> None:
    made = reference_bins(np.array([0.0] * 70 + [1.0, 2.0, 3.0] * 10), bins=10)
    assert made["edges"].count(0.0) == 1
    assert made["counts"][0] == 70


def test_a_constant_is_one_edge_with_everything_at_or_below_it() -> None:
    assert reference_bins(np.full(5, 2.5)) == {"edges": [2.5], "counts": [5, 0], "missing": 0}


@pytest.mark.parametrize("count", [0, 4])
def test_with_nothing_known_there_is_one_empty_bin_and_all_are_missing(count: int) -> None:
    assert reference_bins(np.full(count, np.nan)) == {"edges": [], "counts": [0], "missing": count}


def stability_index(reference: np.ndarray, found: np.ndarray) -> float:
    """Population stability index over the bins of ``reference``; an empty bin counts as a share of 1e-4."""
    made = reference_bins(reference)
    shares = np.array(made["counts"]) / len(reference)
    bounds = np.array([-np.inf, *made["edges"], np.inf])
    others = np.array([np.mean((found > low) & (found <= high)) for low, high in pairwise(bounds)])
    expected, actual = (np.where(share == 0, 1e-4, share) for share in (shares, others))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def test_edges_and_counts_give_the_published_stability_indices() -> None:
    """The unit tests of ``probatus`` and ``feature_engine``: quantile bins of the first half against the second."""
    x, _ = make_classification(
        n_samples=1000, n_features=6, n_redundant=2, n_clusters_per_class=1, weights=[0.5], class_sep=2, random_state=1
    )
    assert [stability_index(column[:500], column[500:]) for column in x.T] == pytest.approx(
        [
            0.043828484052281,
            0.040929870747665395,
            0.04330418495156895,
            0.03773286532548153,
            0.05047388515663041,
            0.014717735595712466,
        ],
        abs=1e-12,
    )


def test_a_distribution_that_left_its_reference_altogether_has_the_published_stability_index() -> None:
    """0 … 499 against 500 … 999, a unit test of ``feature_engine``."""
    assert stability_index(np.arange(500.0), np.arange(500.0, 1000.0)) == pytest.approx(8.283089355027482, abs=1e-12)


def test_an_edge_belongs_to_the_bin_below_it() -> None:
    made = reference_bins(np.array([1.0, 2.0, 3.0]), bins=2)
    assert made == {"edges": [2.0], "counts": [2, 1], "missing": 0}
