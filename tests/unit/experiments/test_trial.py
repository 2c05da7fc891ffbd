"""Trials: every variant on the same rows and folds, none of which knows what it is scored on."""

from __future__ import annotations

import numpy as np
import pytest

from countersign.config import ModelConfig
from countersign.errors import ConfigError, ModelError
from countersign.experiments.plan import Experiment, Variant
from countersign.experiments.trial import Trials, run_trials
from countersign.features import FEATURES
from countersign.model.evaluation import walk_forward_from
from countersign.model.training import TrainingRows, fit, training_rows
from countersign.prices.panel import Panel

CONFIG = ModelConfig(min_training_sessions=252, fold_sessions=126, bootstrap_replications=100)
OFF = ("return_1", "return_5", "skew_63")
EXPERIMENT = Experiment(
    question="Which?",
    decide_by="qlike",
    variants=(
        Variant(name="ridge", ridge_penalty=300),
        Variant(name="off", features_off=OFF),
        Variant(name="window", window_sessions=150),
        Variant(name="cutoff", cutoff=0.5),
        Variant(name="far", horizon_sessions=12),
    ),
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Four symbols whose variance comes in waves; one of them ends early."""
    rng = np.random.default_rng(11)
    volatility = 0.02 * np.exp(0.5 * np.sin(np.arange(700) / 30)[:, None] + rng.normal(0, 0.2, (700, 4)))
    log_return = volatility * rng.normal(size=(700, 4))
    variance = volatility**2 * rng.gamma(5, 0.2, (700, 4))
    log_return[650:, 3] = variance[650:, 3] = np.nan
    return Panel.from_arrays(log_return, variance=variance, volume=rng.gamma(5, 1e6, (700, 4)))


@pytest.fixture(scope="module")
def trials(panel: Panel) -> Trials:
    return run_trials({"mine": EXPERIMENT}, panel, CONFIG)


def rows_of(panel: Panel, horizon: int) -> TrainingRows:
    """The rows whose outcome of 12 sessions, the longest horizon, is known, with the outcomes of ``horizon``."""
    return training_rows(panel, horizon).take(training_rows(panel, 12).matured)


def test_a_variants_measures_are_those_of_its_settings_on_the_shared_rows_purged_by_the_longest_horizon(
    panel: Panel, trials: Trials
) -> None:
    settings = {
        "as configured": (CONFIG, 5),
        "ridge": (CONFIG.model_copy(update={"ridge_penalty": 300.0}), 5),
        "off": (CONFIG.model_copy(update={"features_off": OFF}), 5),
        "window": (CONFIG.model_copy(update={"window_sessions": 150}), 5),
        "cutoff": (CONFIG.model_copy(update={"cutoff": 0.5}), 5),
        "far": (CONFIG, 12),
    }
    assert [trial.name for trial in trials.tried] == list(settings)
    configured: dict[str, float] = {}
    for trial in trials.tried:
        config, horizon = settings[trial.name]
        f = walk_forward_from(rows_of(panel, horizon), config, first=252, fold_sessions=126, purge=12)
        ratio = f.variance / f.model_variance
        values = {
            "qlike": np.mean(ratio - np.log(ratio) - 1),
            "brier_loss": np.mean((f.probability - f.bad_week) ** 2),
            "approval_rate": np.mean(f.probability < config.cutoff),
        }
        configured = configured or values
        for name, value in values.items():
            found = trial.measures[name]
            assert found.candidate == pytest.approx(value, rel=1e-12), (trial.name, name)
            if horizon == 5:
                assert found.over_champion.value == pytest.approx(value - configured[name], abs=1e-12)
        if horizon == 5:
            assert trial.gains["qlike"].sum() / trials.rows.sum() == pytest.approx(
                configured["qlike"] - values["qlike"], abs=1e-12
            )
        assert len(f.session) == trials.rows.sum()
    assert trials.purge == 12


def test_variants_of_one_horizon_share_their_baseline_and_another_horizon_has_its_own(trials: Trials) -> None:
    baselines = {trial.name: trial.measures["brier_loss"].baseline for trial in trials.tried}
    own = baselines.pop("far")
    assert len(set(baselines.values())) == 1
    assert own not in baselines.values()
    assert [trial.name for trial in trials.tried if not trial.comparable] == ["far"]


def test_a_variant_that_moves_no_forecast_differs_by_exactly_nothing_in_its_losses(trials: Trials) -> None:
    cutoff = next(trial for trial in trials.tried if trial.name == "cutoff")
    for loss in ("qlike", "brier_loss"):
        over = cutoff.measures[loss].over_champion
        assert (over.value, over.low, over.high) == (0, 0, 0)
    assert cutoff.measures["approval_rate"].candidate > trials.configured.measures["approval_rate"].candidate


def test_the_numbers_are_the_same_in_several_processes_and_progress_is_told(panel: Panel, trials: Trials) -> None:
    told: list[float] = []
    again = run_trials({"mine": EXPERIMENT}, panel, CONFIG, 2, told.append)
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    for one, other in zip(trials.tried, again.tried, strict=True):
        assert one.name == other.name
        # As text, in which NaN is equal to itself.
        assert repr(one.measures) == repr(other.measures)
        assert all(np.array_equal(one.gains[loss], other.gains[loss]) for loss in one.gains)


def test_a_fold_has_learned_from_no_outcome_that_reaches_into_it_whatever_the_horizon(panel: Panel) -> None:
    """Purged by 12, outcomes of rows from 12 sessions before the fold on may be anything; those before it count."""
    rows = rows_of(panel, 12)

    def first_fold(unknown_from: int) -> np.ndarray:
        bad = np.where(rows.session >= unknown_from, 1 - rows.bad_week, rows.bad_week)
        changed = TrainingRows(**{**vars(rows), "bad_week": bad})
        f = walk_forward_from(changed, CONFIG, first=252, fold_sessions=126, purge=12)
        return f.probability[f.session < 126]

    assert np.array_equal(first_fold(9999), first_fold(252 - 12))
    assert not np.array_equal(first_fold(9999), first_fold(252 - 13))


def test_a_feature_that_is_off_weighs_nothing_and_the_others_are_those_of_a_regression_without_it(panel: Panel) -> None:
    rows = training_rows(panel)
    model = fit(rows, CONFIG.model_copy(update={"features_off": OFF}))
    learned = rows.take(rows.learnable)
    on = [name not in OFF for name in FEATURES]
    x = learned.features[on].T
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = np.log(learned.variance) - learned.features[0]
    by_hand = np.linalg.solve(x.T @ x + CONFIG.ridge_penalty * np.eye(sum(on)), x.T @ (y - y.mean()))
    spread = learned.features.std(axis=1)
    assert (model.volatility_coefficients * spread)[on] == pytest.approx(by_hand, abs=1e-9)
    weights = np.stack([model.volatility_coefficients, model.bad_week_coefficients])
    assert (weights[:, ~np.array(on)] == 0).all()
    assert (weights[:, on] != 0).all()


def test_a_window_forgets_what_lies_before_it_and_nothing_else(panel: Panel) -> None:
    rows, config = training_rows(panel), CONFIG.model_copy(update={"window_sessions": 200})
    newest = int(rows.session[rows.learnable].max())
    assert fit(rows, config).as_dict() == fit(rows.take(rows.session > newest - 200), CONFIG).as_dict()
    assert fit(rows, config).as_dict() != fit(rows.take(rows.session > newest - 199), CONFIG).as_dict()


def test_a_horizon_longer_than_the_bootstraps_blocks_is_refused(panel: Panel) -> None:
    with pytest.raises(
        ConfigError, match=r"horizon_sessions: expected at most 10, .*bootstrap_block_sessions, found 12"
    ):
        run_trials({"mine": EXPERIMENT}, panel, CONFIG.model_copy(update={"bootstrap_block_sessions": 10}))


def test_too_few_sessions_are_refused_with_what_to_do(panel: Panel) -> None:
    with pytest.raises(ModelError, match=r"expected at least 48 sessions with known outcomes .* found 36"):
        run_trials({"mine": EXPERIMENT}, panel.rows(slice(0, 300)), CONFIG)
