"""Brier: Murphy's published parts, and the verdict beside the baseline."""

from __future__ import annotations

import numpy as np
import pytest

from countersign.model.measures import calibration_bins, equal_mass_edges
from countersign.monitoring.brier import RollingBrier, brier_parts, brier_reading, rolling_brier
from countersign.monitoring.reading import Reading


def read(rolled: RollingBrier) -> Reading:
    return brier_reading(rolled, max_excess=0.05, min_each=10)


def scored(sessions: int, seed: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of five symbols, and outcomes that come as often as they say."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.05, 0.6, (sessions, 5))
    return (rng.random(probability.shape) < probability).astype(float), probability


def test_the_parts_are_the_published_ones_and_sum_up_to_the_loss() -> None:
    """Murphy (1973): 1000 × (.95, bad) and 500 × (1, fine): .335 = .335 - .2222 + .2222."""
    probability, outcome = np.repeat([0.95, 1.0], [1000, 500]), np.repeat([1.0, 0.0], [1000, 500])
    parts = brier_parts(calibration_bins(outcome, probability, equal_mass_edges(probability)))
    assert (parts.reliability, parts.resolution, parts.uncertainty) == pytest.approx((0.335, 2 / 9, 2 / 9))
    rolled = rolling_brier(outcome[:, None], probability[:, None], probability[:, None], window=1500)
    assert rolled.loss[-1] == pytest.approx(0.335)


def test_the_loss_of_a_window_is_the_published_one() -> None:
    """scikit-learn's example of ``brier_score_loss``."""
    outcome, probability = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.1, 0.9], [0.8, 0.3]])
    assert rolling_brier(outcome, probability, probability, window=2).loss[-1] == pytest.approx(0.0375)


def test_the_parts_of_every_window_make_its_loss_but_for_what_differs_within_bins() -> None:
    bad, probability = scored(80)
    # Tenths: all rows of a bin have one probability, so that nothing is left over.
    probability = np.round(probability, 1)
    rolled = rolling_brier(bad, probability, probability, window=40)
    for session in range(39, 80):
        rows = slice(session - 39, session + 1)
        assert rolled.loss[session] == pytest.approx(((probability[rows] - bad[rows]) ** 2).mean())
        parts = rolled.reliability[session] - rolled.resolution[session] + rolled.uncertainty[session]
        assert rolled.loss[session] == pytest.approx(parts)


@pytest.mark.parametrize(("noise", "status"), [(0.0, "pass"), (0.05, "pass"), (0.35, "fail")])
def test_a_model_fails_where_its_loss_is_over_the_baselines_on_the_same_rows(noise: float, status: str) -> None:
    bad, probability = scored(250)
    model = np.clip(probability + np.random.default_rng(14).normal(0, noise, probability.shape), 0, 1)
    reading = read(rolling_brier(bad, model, probability, window=250))
    assert reading.status == status
    assert (reading.value > reading.reference) == (noise > 0)
    assert reading.reference == pytest.approx(((probability - bad) ** 2).mean())
    assert reading.threshold == pytest.approx(1.05 * reading.reference)
    assert "reliability" in reading.sentence
    assert reading.observations == 1250


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_with_one_outcome_only_the_loss_is_not_judged(outcome: float) -> None:
    _, probability = scored(30)
    reading = read(rolling_brier(np.full((30, 5), outcome), probability, probability, window=30))
    assert reading.status == "insufficient"
    assert "at least 10 of each needed" in reading.sentence


def test_without_the_baseline_on_the_same_rows_the_loss_is_shown_and_not_judged() -> None:
    bad, probability = scored(60)
    baseline = probability.copy()
    baseline[40, 2] = np.nan
    reading = read(rolling_brier(bad, probability, baseline, window=60))
    assert reading.status == "insufficient"
    assert "baseline's on the same rows is not known" in reading.sentence


def test_too_few_matured_sessions_are_insufficient_and_say_how_many_there_are() -> None:
    bad, probability = scored(20)
    reading = read(rolling_brier(bad, probability, probability, window=60))
    assert reading.status == "insufficient"
    assert "20 of 60 sessions have matured" in reading.sentence
