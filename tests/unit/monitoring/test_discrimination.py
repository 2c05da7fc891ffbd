"""Discrimination: when a person is told that the model no longer tells bad weeks from fine ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from countersign.monitoring.discrimination import RollingAuc, auc_errors, auc_reading, rolling_auc
from countersign.monitoring.reading import Reading


def read(rolled: RollingAuc, validation: float = 0.78) -> Reading:
    return auc_reading(rolled, validation=validation, max_drop=0.05, min_auc=0.5, standard_errors=2.0, min_each=10)


def scored(skill: float, sessions: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of five symbols, a third of them bad, and scores that are higher by ``skill`` where bad."""
    rng = np.random.default_rng(seed)
    bad = (rng.random((sessions, 5)) < 1 / 3).astype(float)
    return bad, 1 / (1 + np.exp(-(rng.normal(size=bad.shape) + skill * bad)))


def test_the_auc_of_a_window_is_the_published_one() -> None:
    """scikit-learn's example of ``roc_auc_score``."""
    bad = np.array([[0.0, 0.0], [1.0, 1.0]])
    rolled = rolling_auc(bad, np.array([[0.1, 0.4], [0.35, 0.8]]), window=2)
    assert rolled.auc[1] == 0.75
    assert np.isnan(rolled.auc[0])


@pytest.mark.parametrize(("bad", "fine"), [(1, 1), (10, 10), (30, 500)])
def test_at_chance_the_standard_error_is_that_of_the_rank_sum_test(bad: int, fine: int) -> None:
    """Mann & Whitney (1947): the variance of U / (n·m) without a difference is (n + m + 1) / (12·n·m)."""
    found = auc_errors(np.array([0.5]), np.array([bad]), np.array([fine]))
    assert found[0] == pytest.approx(np.sqrt((bad + fine + 1) / (12 * bad * fine)))


def test_the_standard_error_is_what_hanley_and_mcneil_give_by_hand() -> None:
    """A = 0.8, 3 bad, 2 fine: Q1 = 2/3, Q2 = 32/45; (0.16 + 2·(2/3 - 0.64) + (32/45 - 0.64)) / 6 = 0.284444… / 6."""
    assert auc_errors(np.array([0.8]), np.array([3]), np.array([2]))[0] == pytest.approx(np.sqrt(0.28444444444 / 6))


def test_the_error_widens_by_the_overlap_of_the_horizons() -> None:
    bad, probability = scored(1.0, 20)
    rolled = rolling_auc(bad, probability, window=20)
    plain = auc_errors(rolled.auc[-1:], rolled.bad[-1:], rolled.fine[-1:])[0]
    assert rolled.error[-1] == pytest.approx(plain * np.sqrt(5))


def test_every_window_is_scikit_learns_of_its_matured_rows() -> None:
    bad, probability = scored(0.7, 60)
    rng = np.random.default_rng(6)
    bad[rng.random(bad.shape) < 0.2] = np.nan
    bad[30] = np.nan
    rolled = rolling_auc(bad, probability, window=25)
    matured = [s for s in range(60) if s != 30]
    assert np.isnan(rolled.auc[30])
    for end in range(25, 60):
        rows = matured[end - 25 : end]
        known = ~np.isnan(bad[rows])
        expected = roc_auc_score(bad[rows][known], probability[rows][known])
        assert rolled.auc[rows[-1]] == pytest.approx(expected, abs=1e-12)


def test_a_model_that_lost_its_skill_fails_and_one_that_kept_it_passes() -> None:
    kept, lost = (read(rolling_auc(*scored(skill, 250), window=250)) for skill in (1.2, 0.1))
    assert (kept.status, lost.status) == ("pass", "fail")
    assert "below 0.730, which validation's 0.780 allows" in lost.sentence
    assert lost.threshold == pytest.approx(0.73)
    assert (lost.reference, lost.observations) == (0.78, 1250)


def test_a_low_auc_of_few_weeks_is_not_surely_low() -> None:
    reading = read(rolling_auc(*scored(0.6, 12), window=12))
    assert reading.value < reading.threshold
    assert reading.status == "pass"
    assert "not surely below" in reading.sentence


def test_worse_than_chance_fails_even_where_validation_was_no_better() -> None:
    bad, probability = scored(1.2, 250)
    reading = read(rolling_auc(bad, 1 - probability, window=250), validation=0.5)
    assert (reading.status, reading.threshold) == ("fail", 0.5)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_with_one_outcome_only_there_is_no_evidence(outcome: float) -> None:
    _, probability = scored(1.0, 20)
    reading = read(rolling_auc(np.full((20, 5), outcome), probability, window=20))
    assert reading.status == "insufficient"
    assert np.isnan(reading.value)
    assert "at least 10 of each needed" in reading.sentence


def test_without_validation_the_auc_is_shown_and_not_judged() -> None:
    reading = read(rolling_auc(*scored(1.0, 50), window=50), validation=float("nan"))
    assert reading.status == "insufficient"
    assert "validation's is not known" in reading.sentence
    assert 0.5 < reading.value < 1


def test_too_few_matured_sessions_are_insufficient_and_say_how_many_there_are() -> None:
    reading = read(rolling_auc(*scored(1.0, 12), window=250))
    assert reading.status == "insufficient"
    assert "12 of 250 sessions have matured" in reading.sentence
