"""Calibration: published numbers, and how often a model that is right is called wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from countersign.model.measures import calibration_bins, equal_mass_edges, expected_calibration_loss
from countersign.monitoring.calibration import (
    MEASURES,
    RollingCalibration,
    calibration_readings,
    calibration_verdicts,
    debiased_calibration_loss,
    equal_width_edges,
    rolling_calibration,
)


def rolled(
    bad: np.ndarray, probability: np.ndarray, window: int = 100, level: float = 0.99, correlation: float = 0.3
) -> RollingCalibration:
    return rolling_calibration(bad, probability, window=window, level=level, symbol_correlation=correlation)


def statuses(found: RollingCalibration) -> list[str]:
    return [r.status for r in calibration_readings(found, min_each=5)]


def clustered(probability: np.ndarray, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Outcomes with exactly these probabilities: symbols share shocks, and each outcome looks five days ahead."""
    sessions, symbols = probability.shape
    market, own = rng.normal(size=(sessions + 4, 1)), rng.normal(size=(sessions + 4, symbols))
    daily = np.sqrt(correlation) * market + np.sqrt(1 - correlation) * own
    mean = np.array([daily[s : s + 5].sum(axis=0) for s in range(sessions)]) / np.sqrt(5)
    return (mean < ndtri(probability)).astype(float)


def some_probabilities(sessions: int, rng: np.random.Generator, symbols: int = 5) -> np.ndarray:
    return rng.beta(1.5, 6, size=(sessions, symbols))


def test_bins_of_equal_width_give_the_published_errors() -> None:
    """torchmetrics, tests of ``binary_calibration_error``: two bins, L1 0.29, L2 0.2918, maximum 0.3167."""
    probability, outcome = np.array([0.25, 0.25, 0.55, 0.75, 0.75]), np.array([0, 0, 1, 1, 1])
    found = calibration_bins(outcome, probability, equal_width_edges(2))
    gaps = np.abs(found.bad - found.expected) / found.rows
    assert expected_calibration_loss(found) == pytest.approx(0.29)
    assert np.sqrt((found.rows * gaps**2).sum() / 5) == pytest.approx(0.2918, abs=5e-5)
    assert gaps.max() == pytest.approx(0.3167, abs=5e-5)


def test_the_debiased_error_is_what_its_definition_gives_by_hand() -> None:
    """Two bins of four rows: gaps 0.4 and 0.1; noise 0.25·0.75/3 = 0.0625 in both; (0.16 + 0.01)/2 - 0.0625."""
    probability = np.array([0.65] * 4 + [0.85] * 4)
    outcome = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    found = calibration_bins(outcome, probability, equal_mass_edges(probability, 2))
    assert debiased_calibration_loss(found) == pytest.approx(np.sqrt(0.0225))


def test_of_a_model_that_is_right_the_debiased_square_averages_zero_and_the_plain_error_does_not() -> None:
    """What the debiasing is for (Kumar, Liang & Ma 2019): seen on 4000 draws of one bin each."""
    rng = np.random.default_rng(7)
    bad = rng.binomial(40, 0.3, size=4000)
    share = bad / 40
    plain, noise = (share - 0.3) ** 2, share * (1 - share) / 39
    # An independent statement of the estimator, whose mean is 0 within its standard error.
    assert abs((plain - noise).mean()) < 3 * (plain - noise).std() / np.sqrt(4000)
    assert plain.mean() > 0.004
    for count in (12, 20, 4):
        outcome = np.repeat([1, 0], [count, 40 - count])
        found = debiased_calibration_loss(calibration_bins(outcome, np.full(40, 0.3), np.array([])))
        square = (count / 40 - 0.3) ** 2 - count / 40 * (1 - count / 40) / 39
        assert found == pytest.approx(np.sqrt(max(square, 0)))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7])
def test_a_model_that_is_right_is_called_wrong_about_as_often_as_the_level_says(correlation: float) -> None:
    """Outcomes come in clusters; the limits know it. At the 90 % point a tenth of 200 windows of their own may fail."""
    rng = np.random.default_rng(8)
    probability = some_probabilities(60, rng)
    failed = []
    for _ in range(200):
        found = rolled(
            clustered(probability, correlation, rng), probability, window=60, level=0.9, correlation=correlation
        )
        failed.append(calibration_verdicts(found, min_each=5)[:, -1] == "fail")
    # Three standard errors of a share of 0.1 of 200.
    np.testing.assert_allclose(np.mean(failed, axis=0), 0.1, atol=3 * np.sqrt(0.09 / 200))


def test_clusters_widen_the_limit() -> None:
    rng = np.random.default_rng(9)
    probability = some_probabilities(100, rng)
    bad = clustered(probability, 0.3, rng)
    alone, together = (rolled(bad, probability, correlation=c).limit[:, -1] for c in (0.0, 0.8))
    assert (together > 1.3 * alone).all()


@pytest.mark.parametrize("seed", range(10, 16))
def test_probabilities_that_are_three_times_too_high_fail_by_every_measure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = some_probabilities(250, rng)
    found = rolled(clustered(probability / 3, 0.3, rng), probability, window=250)
    readings = calibration_readings(found, min_each=5)
    assert [r.measure for r in readings] == list(MEASURES)
    assert statuses(found) == ["fail"] * 3
    assert all("more than the 99% point" in r.sentence and r.observations == 1250 for r in readings)
    assert all(r.value > r.threshold for r in readings)


def test_a_session_is_judged_alike_in_the_daily_run_and_in_a_replay_to_the_last_bit() -> None:
    rng = np.random.default_rng(11)
    probability = some_probabilities(160, rng, symbols=6)
    bad = clustered(probability, 0.3, rng)
    # One symbol had gone before the last window began, so that the day has fewer symbols than the replay.
    bad[59:, 2] = probability[59:, 2] = np.nan
    bad[130], kept = np.nan, [0, 1, 3, 4, 5]
    replay = rolled(bad, probability)
    daily = rolled(bad[-101:, kept], probability[-101:, kept])
    assert replay.value[:, -1].tolist() == daily.value[:, -1].tolist()
    assert replay.limit[:, -1].tolist() == daily.limit[:, -1].tolist()
    assert np.isnan(replay.value[:, 130]).all()


def test_bad_weeks_that_nothing_foresaw_fail_rather_than_being_too_few_to_judge() -> None:
    probability = np.full((100, 5), 1e-4)
    bad = np.zeros((100, 5))
    bad[40:50] = 1.0
    assert statuses(rolled(bad, probability)) == ["fail"] * 3


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_outcome_only_fails_where_the_other_was_foreseen_too(outcome: float) -> None:
    assert statuses(rolled(np.full((100, 5), outcome), np.full((100, 5), 0.5))) == ["fail"] * 3


@pytest.mark.parametrize("constant", [0.0, 1e-4, 1 - 1e-4])
def test_where_hardly_anything_came_or_was_foreseen_there_is_no_evidence(constant: float) -> None:
    probability = np.full((100, 5), constant)
    found = rolled(np.round(probability), probability)
    assert statuses(found) == ["insufficient"] * 3


def test_too_few_matured_sessions_are_insufficient_and_say_how_many_there_are() -> None:
    rng = np.random.default_rng(12)
    probability = some_probabilities(99, rng)
    readings = calibration_readings(rolled(clustered(probability, 0.3, rng), probability), min_each=5)
    assert all(r.status == "insufficient" and "99 of 100 sessions have matured" in r.sentence for r in readings)
