"""PSI: published indices, critical values and p values, to the last digits that were published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from sklearn.datasets import make_classification

from countersign.model.reference import reference_bins, session_counts
from countersign.monitoring.psi import (
    benjamini_hochberg,
    stability_critical_value,
    stability_index,
    stability_p_value,
    used_bins,
)

PUBLISHED_BEFORE = np.array([253, 302, 204, 134, 72, 26, 8])
PUBLISHED_AFTER = np.array([177, 262, 285, 158, 88, 25, 6])


def counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of ``values``, all of one session."""
    return session_counts(values, np.zeros(len(values), dtype=int), edges, 1)[0]


def test_the_published_example_has_its_index_p_value_and_critical_value() -> None:
    """Yurdakul and Naranjo, Journal of Risk Model Validation 14(4), 2020: 999 rows against 1,001 in 7 bins."""
    index = stability_index(PUBLISHED_BEFORE, PUBLISHED_AFTER, eps=1e-4)
    assert index == pytest.approx(0.06769298845159136, rel=1e-12)
    assert stability_p_value(index, 999, 1001, 7) == pytest.approx(7.202560326710907e-06, rel=1e-9)
    assert stability_critical_value(0.05, 999, 1001, 7) == pytest.approx(0.025183199670687623, rel=1e-9)


@pytest.mark.parametrize(
    ("alpha", "n", "m", "bins", "expected"),
    [
        (0.001, 500, 500, 10, 0.11150865948502628),
        (0.05, 1000, 1500, 32, 0.07497557213394188),
        (0.01, 777, 666, 42, 0.18111345503169146),
    ],
)
def test_critical_values_are_those_of_feature_engine(alpha: float, n: int, m: int, bins: int, expected: float) -> None:
    """``test_auto_threshold_calculation`` of ``feature_engine``."""
    assert stability_critical_value(alpha, n, m, bins) == pytest.approx(expected, rel=1e-12)


def halves() -> tuple[np.ndarray, np.ndarray]:
    x, _ = make_classification(
        n_samples=1000, n_features=6, n_redundant=2, n_clusters_per_class=1, weights=[0.5], class_sep=2, random_state=1
    )
    return x[:500].T, x[500:].T


def test_quantile_bins_of_a_made_up_classification_give_the_published_indices() -> None:
    """The unit tests of ``probatus`` and ``feature_engine``: the first half of the rows against the second."""
    found = []
    for before, after in zip(*halves(), strict=True):
        made = reference_bins(before, np.zeros(len(before), dtype=int))
        counts = np.array([*made["counts"], made["missing"]])
        found.append(float(stability_index(counts, counted(after, np.array(made["edges"])), eps=1e-4)))
    assert found == pytest.approx(
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


def test_bins_of_equal_width_give_the_published_indices() -> None:
    """The unit test of ``feature_engine``, same rows."""
    found = []
    for before, after in zip(*halves(), strict=True):
        edges = np.linspace(before.min(), before.max(), 11)[1:-1]
        found.append(float(stability_index(counted(before, edges), counted(after, edges), eps=1e-4)))
    assert found == pytest.approx(
        [
            0.014858665472468786,
            0.04514737836588022,
            0.03431479397506742,
            0.04298209189840294,
            0.02385796430263416,
            0.046809664317794444,
        ],
        abs=1e-12,
    )


def test_a_distribution_that_left_its_reference_altogether_has_the_published_index() -> None:
    """0 … 499 against 500 … 999, a unit test of ``feature_engine``."""
    made = reference_bins(np.arange(500.0), np.zeros(500, dtype=int))
    after = counted(np.arange(500.0, 1000.0), np.array(made["edges"]))
    index = stability_index(np.array([*made["counts"], 0]), after, eps=1e-4)
    assert index == pytest.approx(8.283089355027482, abs=1e-12)


@pytest.mark.parametrize(
    ("before", "after", "eps", "expected"),
    [
        pytest.param([7, 0], [0, 9], 1e-4, 18.41883867587797, id="all A against all B: feature_engine"),
        pytest.param([30, 40, 30], [20, 40, 40], 1e-4, 0.06931471805599453, id="three proportions: scouter"),
        pytest.param(PUBLISHED_BEFORE, PUBLISHED_AFTER, None, 0.067253652700494, id="Yurdakul's counts and a half"),
        pytest.param([50] * 10, [0] * 9 + [500], None, 6.156316139983861, id="everything in the last bin"),
        pytest.param([500, 500, 0], [450, 500, 50], None, 0.23566500442077598, id="a bin that was empty"),
    ],
)
def test_counts_have_the_index_that_another_implementation_gives(
    before: list[int], after: list[int], eps: float | None, expected: float
) -> None:
    assert stability_index(np.array(before), np.array(after), eps) == pytest.approx(expected, rel=1e-12)


def test_bins_that_are_empty_on_both_sides_change_nothing() -> None:
    before, after = (np.concatenate([counts, [0, 0]]) for counts in (PUBLISHED_BEFORE, PUBLISHED_AFTER))
    assert stability_index(before, after) == stability_index(PUBLISHED_BEFORE, PUBLISHED_AFTER)
    assert used_bins(before, after) == 7


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_without_rows_on_either_side_nothing_is_known(n: int, m: int) -> None:
    before, after = np.array([n, 0]), np.array([m, 0])
    assert np.isnan(stability_index(before, after))
    assert np.isnan(stability_index(before, after, eps=1e-4))
    assert np.isnan(stability_p_value(np.array(0.3), n, m, 2))
    assert np.isnan(stability_critical_value(0.01, n, m, 2))


def test_all_in_one_bin_is_no_test() -> None:
    assert np.isnan(stability_p_value(np.array(0.1), 50, 50, 1))
    assert np.isnan(stability_critical_value(0.01, 50, 50, 1))


def test_independent_rows_of_one_distribution_have_a_p_value_under_5_percent_in_5_percent_of_samples() -> None:
    rng = np.random.default_rng(5)
    before, after = (rng.multinomial(rows, [0.1] * 10, size=4000) for rows in (5000, 1000))
    p = stability_p_value(stability_index(before, after), 5000, 1000, 10)
    # Three standard errors of a share of 5 % in 4,000.
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 4000))


def test_rows_that_each_come_four_times_have_the_same_p_value_with_a_design_effect_of_four() -> None:
    index = np.array([0.05, 0.1, 0.4])
    four_times = stability_p_value(index, 4 * 1000, 4 * 300, 10, 4.0)
    np.testing.assert_allclose(four_times, stability_p_value(index, 1000, 300, 10), rtol=1e-12)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=20), unknown=st.sets(st.integers(0, 20)))
def test_p_values_are_adjusted_as_scipy_does_and_unknown_ones_are_no_test(p: list[float], unknown: set[int]) -> None:
    values = np.array([np.nan if i in unknown else x for i, x in enumerate(p)])
    known = ~np.isnan(values)
    found = benjamini_hochberg(values)
    assert np.isnan(found[~known]).all()
    if known.any():
        np.testing.assert_allclose(found[known], false_discovery_control(values[known]), rtol=1e-12)


def test_each_session_is_adjusted_over_its_own_subjects() -> None:
    p = np.random.default_rng(0).random((14, 40))
    p[3, ::2] = np.nan
    alone = np.stack([benjamini_hochberg(column) for column in p.T], axis=1)
    np.testing.assert_array_equal(benjamini_hochberg(p), alone)
