"""Measures: published numbers, and what a person may conclude from each of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from countersign.model.measures import (
    auc_score,
    auc_scores,
    block_counts,
    brier_losses,
    calibration_loss,
    interval,
    qlike_losses,
    resampled_sums,
    scaled_error,
    volatility_errors,
)


def test_auc_is_the_published_one() -> None:
    """The example in scikit-learn's documentation of ``roc_auc_score``."""
    assert auc_score(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])) == 0.75


@pytest.mark.parametrize("outcome", [[0, 0, 0], [1, 1, 1], []])
def test_with_one_outcome_only_there_is_no_auc_rather_than_a_good_one(outcome: list[int]) -> None:
    assert np.isnan(auc_score(np.array(outcome), np.linspace(0.1, 0.9, len(outcome))))


def test_when_all_scores_are_equal_auc_says_that_nothing_was_told_apart() -> None:
    assert auc_score(np.array([0, 1, 0, 1, 1]), np.full(5, 0.3)) == 0.5


def test_auc_under_weights_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    outcome, score = rng.integers(0, 2, 300), rng.integers(0, 20, 300) / 20
    weights = rng.uniform(0.1, 3, (4, 300))
    expected = [roc_auc_score(outcome, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(auc_scores(outcome, score, weights, np.arange(300)), expected, rtol=1e-12)


def test_auc_of_many_replications_is_that_of_each_with_its_sessions_repeated() -> None:
    rng = np.random.default_rng(2)
    session = np.repeat(np.arange(100), 1000)
    outcome, score = rng.integers(0, 2, len(session)), rng.integers(0, 50, len(session)) / 50
    # So many that they are not all held at once.
    counts = block_counts(100, block=10, replications=90, seed=1)
    found = auc_scores(outcome, score, counts, session)
    for replication in (0, 41, 42, 89):
        rows = np.repeat(np.arange(len(session)), counts[replication, session])
        assert found[replication] == pytest.approx(auc_score(outcome[rows], score[rows]), rel=1e-12)


def test_resampled_sums_are_those_of_the_repeated_rows() -> None:
    session, losses = np.array([0, 0, 1, 3]), np.array([1.0, 2.0, 4.0, 8.0])
    found = resampled_sums(losses, np.array([[1, 1, 1, 1], [0, 3, 5, 1], [4, 0, 0, 0]]), session)
    assert found.tolist() == [15.0, 20.0, 12.0]


def test_a_replication_that_drew_no_bad_week_has_no_auc_and_leaves_the_others_alone() -> None:
    outcome, score = np.array([1, 0, 0]), np.array([0.9, 0.2, 0.95])
    found = auc_scores(outcome, score, np.array([[0, 1, 2], [1, 1, 1]]), np.arange(3))
    assert np.isnan(found[0])
    assert found[1] == 0.5


@pytest.mark.parametrize(
    ("probability", "outcome", "bins", "expected"),
    [
        ([0.1, 0.1, 0.1, 0.1, 0.7], [0, 1, 0, 0, 1], 2, 0.18),
        ([0.1, 0.7, 0.5, 0.9], [0, 1, 0, 1], 2, 0.25),
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 2, 0.40),
        ([0.1, 0.7, 0.5, 0.9], [0, 1, 1, 1], 2, 0.20),
        ([0.1, 0.7, 0.5, 0.9], [0, 1, 1, 1], 4, 0.25),
    ],
)
def test_calibration_error_on_bins_of_equal_mass_is_the_published_one(
    probability: list[float], outcome: list[int], bins: int, expected: float
) -> None:
    """The unit tests of ``verified_calibration`` (Kumar, Liang & Ma, Verified Uncertainty Calibration, 2019)."""
    assert calibration_loss(np.array(outcome), np.array(probability), bins) == pytest.approx(expected)


def test_equal_probabilities_share_a_bin_so_that_the_order_of_rows_cannot_change_the_calibration_error() -> None:
    """As ``verified_calibration`` bins: its edges are values of the probability, never places in a sorted list."""
    probability = np.full(8, 0.5)
    for outcome in ([1, 1, 1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0, 1, 0]):
        assert calibration_loss(np.array(outcome), probability, bins=2) == pytest.approx(0.0)


def test_more_bins_than_rows_is_one_row_a_bin() -> None:
    assert calibration_loss(np.array([0, 1]), np.array([0.2, 0.6]), bins=10) == pytest.approx(0.3)


def test_without_rows_there_is_no_calibration_error_rather_than_none_found() -> None:
    assert np.isnan(calibration_loss(np.array([]), np.array([])))


@pytest.mark.parametrize(
    ("outcome", "probability", "expected"),
    [
        (np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.8, 0.3]), 0.0375),
        (np.repeat([1, 0], [1000, 500]), np.repeat([0.95, 1.0], [1000, 500]), 0.335),
    ],
    ids=["scikit-learn", "Murphy"],
)
def test_brier_loss_is_the_published_one(outcome: np.ndarray, probability: np.ndarray, expected: float) -> None:
    """scikit-learn's example of ``brier_score_loss``; and reliability .335 - resolution .2222 + uncertainty .2222 of
    Murphy, A New Vector Partition of the Probability Score, Journal of Applied Meteorology 12 (1973)."""
    found = float(brier_losses(outcome, probability).mean())
    assert found == pytest.approx(expected)
    assert found == pytest.approx(brier_score_loss(outcome, probability))


def test_qlike_of_a_forecast_that_is_off_by_a_factor_e_is_what_the_formula_gives_by_hand() -> None:
    """σ²/f = e: e - ln e - 1 = e - 2. σ²/f = 1/e: 1/e + 1 - 1 = 1/e."""
    found = qlike_losses(np.array([math.e, 1.0]), np.array([1.0, math.e]))
    assert found == pytest.approx([math.e - 2, 1 / math.e])


@pytest.mark.parametrize("factor", [1.05, 1.5, 4.0])
def test_qlike_punishes_a_variance_forecast_too_low_more_than_one_too_high(factor: float) -> None:
    """The asymmetry that Patton (2011) shows: missing a risk costs more than seeing one."""
    low, high = qlike_losses(np.array([1.0, 1.0]), np.array([1 / factor, factor]))
    assert low > high > 0


def test_the_error_scaled_by_the_naive_forecasts_is_the_published_one() -> None:
    """sktime, ``mean_absolute_scaled_error``; the naive forecast of the training series repeats its last value."""
    train = np.array([5, 0.5, 4, 6, 3, 5, 2])
    errors = np.abs(np.array([3, -0.5, 2, 7, 2]) - np.array([2.5, 0.0, 2, 8, 1.25]))
    assert scaled_error(errors, np.abs(np.diff(train))) == pytest.approx(0.18333333333333335, rel=1e-15)
    assert np.isnan(scaled_error(errors, np.zeros(3))), "a perfect reference is no scale"


def test_the_error_of_volatility_is_in_the_unit_of_volatility() -> None:
    assert volatility_errors(np.array([4e-4, 1e-4]), np.array([1e-4, 4e-4])) == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize(("sessions", "block"), [(1, 5), (20, 5), (23, 5), (23, 40), (250, 21)])
def test_each_replication_draws_as_many_sessions_as_there_are(sessions: int, block: int) -> None:
    counts = block_counts(sessions, block=block, replications=30, seed=7)
    assert counts.shape == (30, sessions)
    assert (counts >= 0).all()
    assert counts.sum(axis=1).tolist() == [sessions] * 30


def test_neighbouring_sessions_are_drawn_as_a_block_that_wraps_around_at_the_end() -> None:
    sessions, block = 40, 10
    counts = block_counts(sessions, block=block, replications=200, seed=11)
    # Four blocks of ten begin anywhere: each start and each end is one step of the counts, and there are no others.
    steps = np.abs(np.diff(np.c_[counts, counts[:, :1]], axis=1)).sum(axis=1)
    assert (steps <= 2 * sessions / block).all()
    assert steps.max() > 0
    # Every session has the same chance, the first and the last one too.
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.35)


def test_a_block_as_long_as_the_history_draws_each_session_once() -> None:
    assert (block_counts(12, block=12, replications=20, seed=1) == 1).all()


def test_the_same_seed_draws_the_same_weights_and_another_seed_others() -> None:
    one, again, other = (block_counts(60, block=5, replications=10, seed=s) for s in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_without_sessions_there_is_nothing_to_draw() -> None:
    assert block_counts(0, block=5, replications=4, seed=1).shape == (4, 0)


def test_the_interval_holds_the_middle_95_percent_and_takes_no_notice_of_what_is_no_number() -> None:
    values = np.r_[np.arange(101.0), np.nan, np.nan]
    assert interval(values) == pytest.approx((2.5, 97.5))
    assert interval(values, level=0.5) == pytest.approx((25.0, 75.0))


def test_an_interval_of_nothing_known_is_unknown() -> None:
    assert np.isnan(interval(np.full(3, np.nan))).all()
