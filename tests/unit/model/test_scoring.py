"""Scoring: the model where it may be used, the baseline and a reason where not, and a finite number always."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import ModelError
from countersign.features import FEATURES, MIN_HISTORY
from countersign.model.scoring import FittedModel, Scores, score
from countersign.model.training import TrainingRows
from countersign.prices.panel import Panel
from countersign.storage.codec import json_bytes

NAMES = list(FEATURES)
FLOOR = 1e-8
MARKET = 3e-4

anything = st.floats(allow_nan=True, allow_infinity=True)


def middle(model: FittedModel, count: int = 1) -> np.ndarray:
    """Features (features, count) in the midst of what training saw, on which no rule can fall back."""
    return np.repeat(((model.low + model.high) / 2)[:, None], count, axis=1)


def score_one(model: FittedModel, features: np.ndarray, ewma: float = 2e-4, history: int = 63) -> Scores:
    return score(model, features, np.array([ewma]), np.array([MARKET]), np.array([history]))


def score_rows(model: FittedModel, rows: TrainingRows) -> Scores:
    return score(model, rows.features, rows.ewma_variance, rows.market_variance, rows.history)


def through_json(model: FittedModel) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(json_bytes(model.as_dict()))
    return found


def test_a_model_that_was_written_and_read_again_has_the_same_numbers_to_the_last_bit(fitted: FittedModel) -> None:
    again = FittedModel.from_dict(through_json(fitted))
    for field in fields(FittedModel):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(fitted, field.name), field.name)


def test_a_row_scored_alone_equals_the_same_row_among_5000_to_the_last_bit(
    fitted: FittedModel, bundled_rows: TrainingRows
) -> None:
    # From the second session on, when the market has a variance.
    many = bundled_rows.take((bundled_rows.session > 0) & (np.arange(len(bundled_rows)) < 5003))
    assert len(many) == 5000
    together = score_rows(fitted, many)
    assert together.by_model.any()
    assert not together.by_model.all()
    for row in range(0, 5000, 7):
        alone = score_rows(fitted, many.take(np.arange(5000) == row))
        for field in fields(Scores):
            assert getattr(alone, field.name)[0] == getattr(together, field.name)[row], field.name


def test_the_forecasts_are_the_written_formula_of_the_coefficients(
    fitted: FittedModel, bundled_rows: TrainingRows
) -> None:
    rows = bundled_rows.take(bundled_rows.learnable)
    found = score_rows(fitted, rows)
    ratio = np.clip(fitted.volatility_intercept + fitted.volatility_coefficients @ rows.features, *fitted.clip)
    logit = fitted.bad_week_intercept + fitted.bad_week_coefficients @ rows.features
    assert found.by_model.all()
    np.testing.assert_allclose(found.variance, np.maximum(rows.ewma_variance, FLOOR) * np.exp(ratio), rtol=1e-9)
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-logit)), rtol=1e-9)


def test_a_symbol_is_held_from_the_cutoff_on_and_approved_below_it(fitted: FittedModel) -> None:
    probability = float(score_one(fitted, middle(fitted)).probability[0])
    above = math.nextafter(probability, 1.0)
    assert not score_one(replace(fitted, cutoff=probability), middle(fitted)).approved[0]
    assert score_one(replace(fitted, cutoff=above), middle(fitted)).approved[0]


def spoil(name: str, value: float) -> Callable[[FittedModel], np.ndarray]:
    def features(model: FittedModel) -> np.ndarray:
        found = middle(model)
        found[NAMES.index(name)] = value
        return found

    return features


def beyond(name: str, end: str) -> Callable[[FittedModel], np.ndarray]:
    def features(model: FittedModel) -> np.ndarray:
        place = NAMES.index(name)
        far = math.inf if end == "high" else -math.inf
        return spoil(name, math.nextafter(float(getattr(model, end)[place]), far))(model)

    return features


@pytest.mark.parametrize(
    ("features", "history", "reason"),
    [
        (middle, MIN_HISTORY - 1, "short history: 59 of 60 sessions"),
        (middle, 0, "short history: 0 of 60 sessions"),
        (spoil("skew_63", math.nan), 63, "cannot be computed: skew_63"),
        (spoil("log_volume_ratio", math.nan), 60, "cannot be computed: log_volume_ratio"),
        (beyond("return_5", "high"), 63, "outside the training range: return_5"),
        (beyond("return_5", "low"), 63, "outside the training range: return_5"),
        (spoil("drawdown_63", -math.inf), 63, "outside the training range: drawdown_63"),
        (spoil("log_variance_1", math.inf), 63, "outside the training range: log_variance_1"),
    ],
)
def test_where_the_model_must_not_be_used_the_baseline_is_and_the_reason_is_told(
    fitted: FittedModel, features: Callable[[FittedModel], np.ndarray], history: int, reason: str
) -> None:
    ewma = 2e-4
    found = score_one(fitted, features(fitted), ewma, history)
    logit = fitted.baseline_intercept + fitted.baseline_coefficient * math.log(ewma)
    assert not found.by_model[0]
    assert found.reason[0] == reason
    assert found.variance[0] == found.baseline_variance[0] == ewma
    assert found.probability[0] == found.baseline_probability[0] == pytest.approx(1 / (1 + math.exp(-logit)))


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("name", NAMES)
def test_what_training_saw_last_at_either_end_is_still_the_models(fitted: FittedModel, name: str, end: str) -> None:
    found = score_one(fitted, spoil(name, float(getattr(fitted, end)[NAMES.index(name)]))(fitted))
    assert found.by_model[0]
    assert found.reason[0] == ""


def test_a_new_listing_is_scored_by_the_baseline_until_it_has_60_returns(
    bundled: Panel, fitted: FittedModel, bundled_rows: TrainingRows
) -> None:
    goog = bundled_rows.take(bundled_rows.symbol == bundled.symbols.index("GOOG"))
    found = score_rows(fitted, goog)
    assert found.reason[:60].tolist() == [f"short history: {returns} of 60 sessions" for returns in range(60)]
    assert not found.by_model[:60].any()
    assert found.by_model[60]


def test_with_enough_history_and_all_features_known_the_model_speaks(fitted: FittedModel) -> None:
    found = score_one(fitted, middle(fitted), history=MIN_HISTORY)
    assert found.by_model[0]
    assert found.reason[0] == ""


def test_a_reason_names_every_feature_that_is_to_blame(fitted: FittedModel) -> None:
    features = middle(fitted)
    features[[NAMES.index("return_1"), NAMES.index("skew_63")]] = 1e9
    assert score_one(fitted, features).reason[0] == "outside the training range: return_1, skew_63"


@pytest.mark.parametrize("ewma", [math.nan, math.inf])
def test_a_symbol_without_a_variance_of_its_own_takes_the_markets(fitted: FittedModel, ewma: float) -> None:
    found = score_one(fitted, np.full((len(NAMES), 1), ewma), ewma, history=0)
    assert found.variance[0] == MARKET
    assert found.reason[0] == "short history: 0 of 60 sessions"
    assert 0 < found.probability[0] < 1


@pytest.mark.parametrize("ewma", [math.nan, math.inf])
def test_a_session_in_which_nothing_has_a_variance_is_refused(fitted: FittedModel, ewma: float) -> None:
    unknown = np.array([ewma])
    with pytest.raises(ModelError, match="at least one symbol"):
        score(fitted, middle(fitted), unknown, unknown, np.array([63]))


def test_one_symbol_that_falls_back_changes_nothing_for_the_others(fitted: FittedModel) -> None:
    features = middle(fitted, 3)
    features[0, 1] = math.nan
    found = score(fitted, features, np.full(3, 2e-4), np.full(3, MARKET), np.full(3, 63))
    assert found.by_model.tolist() == [True, False, True]
    assert found.variance[0] == found.variance[2] == score_one(fitted, middle(fitted)).variance[0]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(data=st.data(), ewma=anything, market=anything, history=st.integers(0, 63))
def test_nothing_is_dropped_and_every_forecast_is_finite_whatever_comes_in(
    fitted: FittedModel, data: st.DataObject, ewma: float, market: float, history: int
) -> None:
    features = middle(fitted)
    # The first feature is the logarithm of the same variance: no other pair of numbers ever arrives.
    features[0] = math.log(max(ewma, FLOOR)) if not math.isnan(ewma) else math.nan
    spoilt = data.draw(st.dictionaries(st.sampled_from(range(1, len(NAMES))), anything, max_size=3))
    for place, value in spoilt.items():
        features[place] = value
    if not (math.isfinite(ewma) or math.isfinite(market)):
        with pytest.raises(ModelError):
            score(fitted, features, np.array([ewma]), np.array([market]), np.array([history]))
        return
    found = score(fitted, features, np.array([ewma]), np.array([market]), np.array([history]))
    for forecast in (found.variance, found.baseline_variance):
        assert np.isfinite(forecast).all()
        assert (forecast > 0).all()
    for probability in (found.probability, found.baseline_probability):
        assert ((probability >= 0) & (probability <= 1)).all()
    assert found.by_model[0] == (found.reason[0] == "")


@settings(deadline=None, max_examples=100, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_forecast_never_leaves_the_range_of_ratios_that_training_saw(fitted: FittedModel, seed: int) -> None:
    drawn = np.random.default_rng(seed).uniform(fitted.low, fitted.high, (50, len(NAMES))).T
    ewma = np.exp(drawn[0])
    found = score(fitted, drawn, ewma, ewma, np.full(50, 63))
    assert found.by_model.all()
    ratio = np.log(found.variance / found.baseline_variance)
    assert (ratio >= fitted.clip[0] - 1e-9).all()
    assert (ratio <= fitted.clip[1] + 1e-9).all()


NUMBERS = [
    ("volatility", "coefficients", "return_1"),
    ("volatility", "intercept"),
    ("volatility", "clip", 1),
    ("bad_week", "coefficients", "skew_63"),
    ("bad_week", "intercept"),
    ("bad_week", "cutoff"),
    ("bad_week", "baseline", "log_ewma_variance"),
    ("bad_week", "baseline", "intercept"),
    ("training_range", "skew_63", 0),
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("place", NUMBERS, ids=lambda place: ".".join(map(str, place)))
def test_a_model_with_a_number_that_is_none_is_refused(
    fitted: FittedModel, place: tuple[str | int, ...], value: float | None
) -> None:
    found = through_json(fitted)
    section: Any = found
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with pytest.raises(ModelError, match="finite"):
        FittedModel.from_dict(found)


def test_a_model_of_other_features_is_refused_with_the_advice_to_train_again(fitted: FittedModel) -> None:
    found = through_json(fitted) | {"features": [*NAMES[:-1], "moon_phase"]}
    with pytest.raises(ModelError, match=r"moon_phase.*train again"):
        FittedModel.from_dict(found)


def test_a_model_of_the_same_features_in_another_order_is_refused(fitted: FittedModel) -> None:
    with pytest.raises(ModelError):
        FittedModel.from_dict(through_json(fitted) | {"features": NAMES[::-1]})


def test_a_model_of_another_decay_is_refused_since_its_features_mean_something_else(fitted: FittedModel) -> None:
    found = through_json(fitted)
    found["volatility"]["baseline"]["ewma_decay"] = 0.97
    with pytest.raises(ModelError, match=r"0\.97"):
        FittedModel.from_dict(found)
