"""Training: the same panel gives the same model, which is what scikit-learn fits on the rows that may be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from countersign.config import ModelConfig
from countersign.errors import ModelError
from countersign.features import FEATURES, MIN_HISTORY
from countersign.model.scoring import FittedModel, score
from countersign.model.training import TrainingRows, fit, training_rows
from countersign.prices.panel import Panel
from countersign.storage.codec import json_bytes

NAMES = list(FEATURES)


def made_up_panel(sessions: int, symbols: int = 4, volatility: float = 0.02) -> Panel:
    rng = np.random.default_rng(sessions)
    log_return = rng.normal(0, volatility, (sessions, symbols))
    variance = volatility**2 * rng.chisquare(8, log_return.shape) / 8
    return Panel.from_arrays(log_return, variance=variance, volume=rng.lognormal(13, 0.4, log_return.shape))


def reordered(panel: Panel, order: list[int]) -> Panel:
    return Panel(
        panel.sessions,
        tuple(panel.symbols[i] for i in order),
        panel.log_return[:, order],
        panel.variance[:, order],
        panel.volume[:, order],
        panel.present[:, order],
    )


def learned(rows: TrainingRows) -> TrainingRows:
    return rows.take(rows.learnable)


def test_folded_coefficients_of_volatility_are_a_scikit_learn_pipelines(
    bundled_rows: TrainingRows, fitted: FittedModel
) -> None:
    rows = learned(bundled_rows)
    x, y = rows.features.T, np.log(rows.variance / rows.ewma_variance)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=ModelConfig().ridge_penalty)).fit(x, y)
    found = fitted.volatility_intercept + x @ fitted.volatility_coefficients
    np.testing.assert_allclose(
        fitted.volatility_coefficients, pipeline[1].coef_ / pipeline[0].scale_, rtol=1e-9, atol=1e-9
    )
    # The level is Duan's: the forecast ratio is right on average over the rows that were learned.
    smearing = np.log(np.mean(np.exp(y - pipeline.predict(x))))
    np.testing.assert_allclose(found, pipeline.predict(x) + smearing, rtol=0, atol=1e-9)
    assert fitted.clip == pytest.approx((y.min(), y.max()), abs=1e-12)


def test_folded_coefficients_of_a_bad_week_are_a_scikit_learn_pipelines(
    bundled_rows: TrainingRows, fitted: FittedModel
) -> None:
    rows = learned(bundled_rows)
    x = rows.features.T
    logistic = LogisticRegression(C=1 / ModelConfig().logistic_penalty, max_iter=1000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), logistic).fit(x, rows.bad_week)
    found = fitted.bad_week_intercept + x @ fitted.bad_week_coefficients
    np.testing.assert_allclose(
        fitted.bad_week_coefficients, logistic.coef_[0] / pipeline[0].scale_, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(found, pipeline.decision_function(x), rtol=0, atol=1e-8)


def test_the_baseline_is_an_unpenalised_logistic_model_of_the_ewma_alone(
    bundled_rows: TrainingRows, fitted: FittedModel
) -> None:
    rows = learned(bundled_rows)
    level = np.log(rows.ewma_variance)
    p = 1 / (1 + np.exp(-(fitted.baseline_intercept + fitted.baseline_coefficient * level)))
    # Where the likelihood is largest, its two derivatives are zero.
    assert abs(np.mean(p - rows.bad_week)) < 1e-6
    assert abs(np.mean((p - rows.bad_week) * level)) < 1e-5


def test_the_training_range_is_what_the_learned_rows_had(bundled_rows: TrainingRows, fitted: FittedModel) -> None:
    rows = learned(bundled_rows)
    np.testing.assert_array_equal(fitted.low, rows.features.min(axis=1))
    np.testing.assert_array_equal(fitted.high, rows.features.max(axis=1))


def test_the_volatility_forecast_is_right_on_average_where_it_learned(
    bundled_rows: TrainingRows, fitted: FittedModel
) -> None:
    rows = learned(bundled_rows)
    found = score(fitted, rows.features, rows.ewma_variance, rows.market_variance, rows.history)
    assert np.mean(rows.variance / found.variance) == pytest.approx(1.0, abs=0.01)


def test_training_twice_gives_the_same_bytes(bundled: Panel, fitted: FittedModel) -> None:
    assert json_bytes(fit(training_rows(bundled), ModelConfig()).as_dict()) == json_bytes(fitted.as_dict())


def test_the_order_of_the_symbols_does_not_matter(bundled: Panel, fitted: FittedModel) -> None:
    other = fit(training_rows(reordered(bundled, [3, 0, 4, 2, 1])), ModelConfig())
    for name in ("volatility_coefficients", "bad_week_coefficients", "low", "high", "clip"):
        np.testing.assert_allclose(getattr(other, name), getattr(fitted, name), rtol=1e-9, atol=1e-9, err_msg=name)
    for name in ("volatility_intercept", "bad_week_intercept", "baseline_coefficient", "baseline_intercept"):
        assert getattr(other, name) == pytest.approx(getattr(fitted, name), rel=1e-9, abs=1e-9)


def test_a_stronger_penalty_makes_smaller_coefficients(bundled_rows: TrainingRows, fitted: FittedModel) -> None:
    strict = fit(bundled_rows, ModelConfig(ridge_penalty=1e6, logistic_penalty=1e4))
    spread = learned(bundled_rows).features.std(axis=1)
    for name in ("volatility_coefficients", "bad_week_coefficients"):
        assert np.linalg.norm(getattr(strict, name) * spread) < np.linalg.norm(getattr(fitted, name) * spread) / 2


def test_the_cutoff_is_the_one_that_people_set(bundled_rows: TrainingRows) -> None:
    assert fit(bundled_rows, ModelConfig(cutoff=0.35)).cutoff == 0.35


def test_every_bar_is_one_row_with_its_session_and_symbol(bundled: Panel, bundled_rows: TrainingRows) -> None:
    assert len(bundled_rows) == bundled.present.sum()
    assert bundled.present[bundled_rows.session, bundled_rows.symbol].all()
    assert (np.diff(bundled_rows.session) >= 0).all()


def test_rows_without_a_matured_outcome_a_full_history_or_a_feature_are_not_learned_from(
    bundled: Panel, bundled_rows: TrainingRows
) -> None:
    rows = learned(bundled_rows)
    assert rows.session.max() == len(bundled.sessions) - 1 - 5
    assert rows.history.min() >= MIN_HISTORY
    assert np.isfinite(rows.features).all()
    listed = int(np.flatnonzero(bundled.present[:, bundled.symbols.index("GOOG")])[0])
    goog = rows.session[rows.symbol == bundled.symbols.index("GOOG")]
    assert goog.min() == listed + MIN_HISTORY


def test_too_short_a_history_is_refused_with_what_to_do(bundled: Panel) -> None:
    with pytest.raises(ModelError, match=r"expected at least 280 rows .* found \d+ rows.*history\.start"):
        fit(training_rows(bundled.rows(slice(-(63 + 40), None))), ModelConfig())


@pytest.mark.parametrize("loss", [-0.001, -0.05], ids=["nothing ever fell", "every week was bad"])
def test_a_history_with_one_outcome_only_is_refused(loss: float) -> None:
    panel = made_up_panel(400)
    moves = np.where(np.arange(400)[:, None] % 5 == 0, loss, np.abs(panel.log_return))
    one_class = Panel.from_arrays(moves, variance=panel.variance, volume=panel.volume)
    with pytest.raises(ModelError, match="1 outcome"):
        fit(training_rows(one_class), ModelConfig())


def test_without_any_bar_training_is_refused() -> None:
    nothing = np.full((100, 2), np.nan)
    with pytest.raises(ModelError, match="found 0 rows"):
        fit(training_rows(Panel.from_arrays(nothing, variance=nothing, volume=nothing)), ModelConfig())


def test_a_source_that_has_no_volumes_can_still_train_a_model_that_scores(bundled: Panel) -> None:
    """``volume`` is for a source that has it: a user without it must not be left with the baseline, or with nothing."""
    rows = training_rows(replace(bundled, volume=np.full_like(bundled.volume, np.nan)))
    model = fit(rows, ModelConfig())
    known = rows.take(rows.session > 0)
    found = score(model, known.features, known.ewma_variance, known.market_variance, known.history)
    assert found.by_model.mean() > 0.9


def test_a_feature_that_never_changes_is_no_obstacle(bundled: Panel) -> None:
    rows = training_rows(replace(bundled, volume=np.ones_like(bundled.volume)))
    model = fit(rows, ModelConfig())
    assert model.volatility_coefficients[NAMES.index("log_volume_ratio")] == 0.0
    assert np.isfinite(model.bad_week_coefficients).all()


def test_the_naive_forecast_is_the_mean_variance_of_the_last_month(bundled: Panel, bundled_rows: TrainingRows) -> None:
    for row in range(5000, 5200, 13):
        session, symbol = bundled_rows.session[row], bundled_rows.symbol[row]
        month = bundled.variance[session - 20 : session + 1, symbol]
        assert bundled_rows.naive_variance[row] == pytest.approx(month.mean(), rel=1e-9)
