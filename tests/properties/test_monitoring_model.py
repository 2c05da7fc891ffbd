"""Properties that hold for each reading of the model and of business, whatever was forecast and whatever came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.model.measures import qlike_losses, volatility_errors
from countersign.monitoring.brier import brier_reading, rolling_brier
from countersign.monitoring.business import approval_counts, bad_counts, rate_readings, rolling_rate
from countersign.monitoring.calibration import calibration_readings, rolling_calibration
from countersign.monitoring.discrimination import auc_reading, rolling_auc
from countersign.monitoring.errors import error_readings, rolling_losses, session_losses
from countersign.monitoring.reading import Reading

WINDOW = 4

steady = settings(deadline=None, max_examples=60, derandomize=True)


@dataclass(frozen=True)
class History:
    """What was forecast and what came: matrices (sessions, symbols)."""

    bad_week: np.ndarray
    probability: np.ndarray
    baseline_probability: np.ndarray
    approved: np.ndarray
    variance: np.ndarray
    model_variance: np.ndarray
    baseline_variance: np.ndarray

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> History:
        return History(**{name: change(values) for name, values in vars(self).items()})


def _errors(losses: Callable[[np.ndarray, np.ndarray], np.ndarray], h: History) -> tuple[Reading, ...]:
    sums = session_losses(h.variance, h.model_variance, h.baseline_variance, losses)
    rolled = rolling_losses(sums, window=WINDOW, validation_model=0.3, validation_baseline=0.4)
    return error_readings("loss", rolled, max_rise=0.2, max_loss_rise=1.0, in_a_row=2)


def _auc(h: History) -> tuple[Reading, ...]:
    rolled = rolling_auc(h.bad_week, h.probability, window=WINDOW)
    return (auc_reading(rolled, validation=0.8, max_drop=0.05, min_auc=0.5, standard_errors=2.0, min_each=1),)


def _calibration(h: History) -> tuple[Reading, ...]:
    rolled = rolling_calibration(h.bad_week, h.probability, window=WINDOW, level=0.99, symbol_correlation=0.3)
    return calibration_readings(rolled, min_each=1)


def _brier(h: History) -> tuple[Reading, ...]:
    rolled = rolling_brier(h.bad_week, h.probability, h.baseline_probability, window=WINDOW)
    return (brier_reading(rolled, max_excess=0.05, min_each=1),)


def _business(h: History) -> tuple[Reading, ...]:
    found: list[Reading] = []
    for name, counts in (("approval", approval_counts(h.approved)), ("bad", bad_counts(h.approved, h.bad_week))):
        rolled = rolling_rate(counts, window=WINDOW, quarter=3)
        found += rate_readings(
            name,
            rolled,
            validation_rate=0.5,
            validation_rows=1000,
            min_change_points=5,
            min_z=2,
            min_rows=1,
            design_effect=2,
        )
    return tuple(found)


# Each with the matrices that it reads.
MEASURES: dict[str, tuple[Callable[[History], tuple[Reading, ...]], tuple[str, ...]]] = {
    "qlike": (lambda h: _errors(qlike_losses, h), ("variance", "model_variance", "baseline_variance")),
    "volatility_mae": (lambda h: _errors(volatility_errors, h), ("variance", "model_variance", "baseline_variance")),
    "auc": (_auc, ("bad_week", "probability")),
    "calibration": (_calibration, ("bad_week", "probability")),
    "brier": (_brier, ("bad_week", "probability", "baseline_probability")),
    "business": (_business, ("bad_week", "approved")),
}


def history(sessions: int, symbols: int, seed: int, missing: float = 0.0) -> History:
    """Forecasts with skill, and outcomes of which a share is ``missing``, as if they had not matured."""
    rng = np.random.default_rng(seed)
    probability, baseline = rng.uniform(0.02, 0.98, (2, sessions, symbols))
    bad = (rng.random((sessions, symbols)) < probability).astype(float)
    variance, model, rival = rng.lognormal(-8, 1, (3, sessions, symbols))
    unknown = rng.random((sessions, symbols)) < missing
    bad[unknown] = variance[unknown] = np.nan
    return History(bad, probability, baseline, (probability < 0.5).astype(float), variance, model, rival)


seeds = st.integers(0, 10_000)
hostile = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 0.5, 1e308, -1e308, 5e-324])


def same(found: tuple[Reading, ...], expected: tuple[Reading, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.measure, one.status, one.observations) == (other.measure, other.status, other.observations)
        numbers, expect = ((r.value, r.threshold, r.reference) for r in (one, other))
        np.testing.assert_allclose(numbers, expect, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@steady
@given(seed=seeds, symbols=st.integers(1, 6), missing=st.sampled_from([0.0, 0.3]), data=st.data())
def test_the_order_of_the_symbols_changes_nothing(
    name: str, seed: int, symbols: int, missing: float, data: st.DataObject
) -> None:
    read, _ = MEASURES[name]
    found = history(9, symbols, seed, missing)
    order = data.draw(st.permutations(range(symbols)))
    same(read(found.map(lambda m: m[:, order])), read(found))


@pytest.mark.parametrize("name", MEASURES)
@steady
@given(seed=seeds, symbols=st.integers(1, 6), before=st.integers(1, 12), gone=st.booleans())
def test_what_lies_before_the_window_or_beside_it_changes_not_one_bit(
    name: str, seed: int, symbols: int, before: int, gone: bool
) -> None:
    """The daily run reads a few sessions, a replay all of them: one code path, one value."""
    read, _ = MEASURES[name]
    # Enough for every window, and the streak or the quarter before it.
    day, past = history(WINDOW + 3, symbols, seed), history(before, symbols, seed + 1).map(lambda m: m * 1e3)
    longer = History(**{n: np.vstack([vars(past)[n], vars(day)[n]]) for n in vars(day)})
    if gone:
        column = np.where(np.arange(before + WINDOW + 3) < before, 0.5, np.nan)[:, None]
        longer = longer.map(lambda m: np.hstack([column, m]))
    # NaN equals NaN in words.
    assert repr(read(longer)) == repr(read(day))


@pytest.mark.parametrize("name", MEASURES)
@steady
@given(data=st.data())
def test_hostile_numbers_raise_nothing_and_a_pass_has_a_value(name: str, data: st.DataObject) -> None:
    read, _ = MEASURES[name]
    sessions, symbols = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 3))
    cells = st.lists(hostile, min_size=sessions * symbols, max_size=sessions * symbols)
    found = history(sessions, symbols, 1).map(lambda m: np.array(data.draw(cells)).reshape(sessions, symbols))
    for reading in read(found):
        assert reading.sentence
        assert reading.status != "pass" or np.isfinite(reading.value)
        assert np.isfinite(reading.value) or reading.status == "insufficient"


@pytest.mark.parametrize(
    ("name", "matrix"), [(name, matrix) for name, (_, read) in MEASURES.items() for matrix in read]
)
@pytest.mark.parametrize("broken", [np.inf, -np.inf, -1.0])
@steady
@given(seed=seeds, symbol=st.integers(0, 3), back=st.integers(0, WINDOW - 1))
def test_one_impossible_number_in_the_window_is_never_a_pass(
    name: str, matrix: str, broken: float, seed: int, symbol: int, back: int
) -> None:
    read, _ = MEASURES[name]
    found = history(9, 4, seed)
    values = vars(found)[matrix].copy()
    values[-1 - back, symbol] = broken
    readings = read(replace(found, **{matrix: values}))
    # The approval rate does not read outcomes.
    judged = [r for r in readings if not (matrix == "bad_week" and r.measure.startswith("approval"))]
    assert "pass" not in {r.status for r in judged}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (WINDOW - 1, 5)])
def test_nothing_or_too_little_is_insufficient(name: str, shape: tuple[int, int]) -> None:
    read, _ = MEASURES[name]
    assert {r.status for r in read(history(*shape, seed=2))} == {"insufficient"}


@pytest.mark.parametrize("name", MEASURES)
def test_outcomes_that_never_matured_are_insufficient(name: str) -> None:
    read, _ = MEASURES[name]
    readings = read(history(20, 4, seed=3, missing=1.0))
    assert {r.status for r in readings if not r.measure.startswith("approval")} == {"insufficient"}


@pytest.mark.parametrize("name", MEASURES)
def test_a_day_on_which_nothing_matured_is_insufficient_however_good_the_days_before(name: str) -> None:
    read, _ = MEASURES[name]
    found = history(20, 4, seed=3)
    found.bad_week[-1] = found.variance[-1] = np.nan
    readings = read(found)
    assert {r.status for r in readings if not r.measure.startswith("approval")} == {"insufficient"}


@pytest.mark.parametrize("name", ["auc", "brier"])
@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_class_is_insufficient(name: str, outcome: float) -> None:
    read, _ = MEASURES[name]
    found = history(20, 4, seed=4)
    assert {r.status for r in read(replace(found, bad_week=np.full((20, 4), outcome)))} == {"insufficient"}


@steady
@given(seed=seeds, outlier=st.sampled_from([1e2, 1e6, 1e12, 1e100]))
def test_one_huge_variance_is_seen_in_the_absolute_loss_and_not_blamed_on_the_model(seed: int, outlier: float) -> None:
    """A wrong bar hits the model and the baseline alike, where both forecast alike."""
    found = history(9, 4, seed)
    found = replace(found, baseline_variance=found.model_variance)
    found.variance[-2:, 0] = outlier
    sums = session_losses(found.variance, found.model_variance, found.baseline_variance, qlike_losses)
    rolled = rolling_losses(sums, window=WINDOW, validation_model=0.3, validation_baseline=0.3)
    relative, absolute = error_readings("qlike", rolled, max_rise=0.2, max_loss_rise=1.0, in_a_row=2)
    assert relative.value == pytest.approx(1.0)
    assert (relative.status, absolute.status) == ("pass", "fail")
    assert "the market got harder" in absolute.sentence
