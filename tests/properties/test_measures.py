"""Properties that hold for each measure whatever the forecasts and outcomes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from countersign.model import measures

Measure = Callable[[np.ndarray, np.ndarray], float]

steady = settings(deadline=None, max_examples=150, derandomize=True)

# Tenths repeat often, as a baseline's probabilities do; the others hardly ever.
probabilities = st.one_of(st.integers(0, 10).map(lambda tenth: tenth / 10), st.floats(0.0, 1.0, allow_subnormal=False))
forecasts = st.lists(st.tuples(st.integers(0, 1), probabilities), min_size=1, max_size=60)
variances = st.floats(1e-8, 1.0)
variance_forecasts = st.lists(st.tuples(variances, variances), min_size=1, max_size=40)

PROBABILITY_MEASURES: dict[str, Measure] = {
    "auc": measures.auc_score,
    "brier": lambda outcome, p: float(measures.brier_losses(outcome, p).mean()),
    # Two bins: few rows are enough to have equal probabilities on both sides of an edge.
    "calibration": lambda outcome, p: measures.calibration_loss(outcome, p, bins=2),
}
VARIANCE_MEASURES: dict[str, Measure] = {
    "qlike": lambda variance, f: float(measures.qlike_losses(variance, f).mean()),
    "volatility_mae": lambda variance, f: float(measures.volatility_errors(variance, f).mean()),
}


def arrays(rows: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    found = np.array(rows, dtype=float)
    return found[:, 0], found[:, 1]


@pytest.mark.parametrize("name", PROBABILITY_MEASURES)
@steady
@given(rows=forecasts, data=st.data())
def test_the_order_of_the_rows_does_not_change_a_measure_of_probabilities(
    name: str, rows: list[tuple[int, float]], data: st.DataObject
) -> None:
    measure = PROBABILITY_MEASURES[name]
    outcome, probability = arrays(rows)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    expected = measure(outcome, probability)
    assert measure(outcome[order], probability[order]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", VARIANCE_MEASURES)
@steady
@given(rows=variance_forecasts, data=st.data())
def test_the_order_of_the_rows_does_not_change_a_measure_of_variances(
    name: str, rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    measure = VARIANCE_MEASURES[name]
    variance, forecast = arrays(rows)
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    assert measure(variance[order], forecast[order]) == pytest.approx(measure(variance, forecast), abs=1e-12, rel=1e-9)


@pytest.mark.parametrize("name", PROBABILITY_MEASURES)
@steady
@given(rows=forecasts)
def test_a_measure_of_probabilities_lies_between_0_and_1_or_is_unknown(
    name: str, rows: list[tuple[int, float]]
) -> None:
    outcome, probability = arrays(rows)
    found = PROBABILITY_MEASURES[name](outcome, probability)
    assert 0 <= found <= 1 or (name == "auc" and len(set(outcome)) == 1)


@steady
@given(rows=forecasts)
def test_auc_is_scikit_learns_ties_included(rows: list[tuple[int, float]]) -> None:
    outcome, probability = arrays(rows)
    assume(0 < outcome.sum() < len(outcome))
    assert measures.auc_score(outcome, probability) == pytest.approx(roc_auc_score(outcome, probability), abs=1e-12)


@steady
@given(rows=forecasts, data=st.data())
def test_a_session_counts_as_often_as_a_replication_drew_it(rows: list[tuple[int, float]], data: st.DataObject) -> None:
    outcome, probability = arrays(rows)
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    repeated = measures.auc_score(np.repeat(outcome, weight), np.repeat(probability, weight))
    (found,) = measures.auc_scores(outcome, probability, weight[None, :], np.arange(len(rows)))
    assert found == pytest.approx(repeated, abs=1e-12, nan_ok=True)


@steady
@given(rows=forecasts)
def test_auc_of_the_opposite_outcomes_is_what_is_left_of_1(rows: list[tuple[int, float]]) -> None:
    outcome, probability = arrays(rows)
    assume(0 < outcome.sum() < len(outcome))
    opposite = measures.auc_score(1 - outcome, probability)
    assert measures.auc_score(outcome, probability) == pytest.approx(1 - opposite, abs=1e-12)


@steady
@given(rows=forecasts)
def test_a_forecast_that_knows_the_outcome_is_perfect_by_every_measure(rows: list[tuple[int, float]]) -> None:
    outcome, _ = arrays(rows)
    assume(0 < outcome.sum() < len(outcome))
    found = {name: measure(outcome, outcome) for name, measure in PROBABILITY_MEASURES.items()}
    assert found == {"auc": 1.0, "brier": 0.0, "calibration": 0.0}


@steady
@given(variance=variances, ratio=st.floats(1.001, 1000), above=st.booleans())
def test_qlike_is_zero_where_exact_and_positive_otherwise(variance: float, ratio: float, above: bool) -> None:
    truth = np.array([variance, variance])
    exact, wrong = measures.qlike_losses(truth, np.array([variance, variance * ratio if above else variance / ratio]))
    assert exact == 0.0
    assert wrong > 0.0


@steady
@given(rows=variance_forecasts, unit=st.floats(1e-3, 1e3))
def test_qlike_does_not_depend_on_the_unit_of_variance(rows: list[tuple[float, float]], unit: float) -> None:
    variance, forecast = arrays(rows)
    found = measures.qlike_losses(variance * unit, forecast * unit)
    np.testing.assert_allclose(found, measures.qlike_losses(variance, forecast), rtol=1e-9, atol=1e-12)


@steady
@given(
    sessions=st.integers(1, 50),
    block=st.integers(1, 30),
    replications=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_bootstrap_draws_as_many_days_as_there_are(sessions: int, block: int, replications: int, seed: int) -> None:
    counts = measures.block_counts(sessions, block=block, replications=replications, seed=seed)
    assert counts.min() >= 0
    assert counts.sum(axis=1).tolist() == [sessions] * replications


@steady
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), level=st.floats(0.1, 0.99))
def test_an_interval_is_in_order_and_inside_what_was_seen(values: list[float], level: float) -> None:
    low, high = measures.interval(np.array(values), level)
    assert min(values) <= low <= high <= max(values)
