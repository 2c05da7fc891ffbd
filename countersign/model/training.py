"""Training: a panel of history → the fitted model.

Belongs here: the rows that may be learned from, and fitting both heads and the baseline with scikit-learn. Does not
belong here: scoring (``scoring``), walk-forward evaluation (``evaluation``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.errors import ModelError
from countersign.features import FEATURES, MIN_HISTORY, compute_features
from countersign.model.scoring import FittedModel
from countersign.model.targets import HORIZON, observed_targets
from countersign.prices.panel import Panel

if TYPE_CHECKING:
    from countersign.config import ModelConfig


MIN_ROWS: Final = 20 * len(FEATURES)
"""Rows without which no model is fitted: twenty for each coefficient."""


@dataclass(frozen=True)
class TrainingRows:
    """One row per (session, symbol), sessions ascending.

    ``features`` (features, n); ``session`` (n,) numbers the row's session in the panel, ``symbol`` its column; the
    others are (n,). Rows without a matured target have NaN in ``variance`` and ``bad_week``.
    """

    features: np.ndarray
    ewma_variance: np.ndarray
    market_variance: np.ndarray
    history: np.ndarray
    naive_variance: np.ndarray
    variance: np.ndarray
    bad_week: np.ndarray
    session: np.ndarray
    symbol: np.ndarray

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: np.ndarray) -> TrainingRows:
        """The rows that a mask of shape (n,) selects."""
        return TrainingRows(
            self.features[:, rows],
            self.ewma_variance[rows],
            self.market_variance[rows],
            self.history[rows],
            self.naive_variance[rows],
            self.variance[rows],
            self.bad_week[rows],
            self.session[rows],
            self.symbol[rows],
        )

    @property
    def matured(self) -> np.ndarray:
        """Mask of rows whose outcome is known."""
        return ~np.isnan(self.variance)

    @property
    def learnable(self) -> np.ndarray:
        """Mask of rows to learn from: matured, enough history, every feature computed."""
        return self.matured & (self.history >= MIN_HISTORY) & ~np.isnan(self.features).any(axis=0)


def training_rows(panel: Panel, horizon: int = HORIZON) -> TrainingRows:
    """Features and targets of every bar of ``panel``, by the functions that score and judge each day."""
    features = compute_features(panel)
    targets = observed_targets(panel.log_return, panel.variance, horizon)
    session, symbol = np.nonzero(panel.present)
    # The forecast without a thought: the mean variance of the last month goes on (a log ratio to the EWMA).
    month = list(FEATURES).index("log_variance_21")
    naive = features.ewma_variance * np.exp(features.values[month])
    return TrainingRows(
        features.values[:, session, symbol],
        features.ewma_variance[session, symbol],
        features.market_variance[session],
        features.history[session, symbol],
        naive[session, symbol],
        targets.variance[session, symbol],
        targets.bad_week[session, symbol],
        session,
        symbol,
    )


def learned_rows(rows: TrainingRows, config: ModelConfig) -> TrainingRows:
    """What ``fit`` learns from: the learnable rows of the newest ``config.window_sessions`` sessions."""
    rows = rows.take(rows.learnable)
    if config.window_sessions == "all":
        return rows
    return rows.take(rows.session > rows.session.max(initial=-1) - config.window_sessions)


def fit(rows: TrainingRows, config: ModelConfig) -> FittedModel:
    """Fit both heads and the baseline on the learned rows.

    Volatility: ridge on log(target variance / EWMA), its level set so that the variance is right on average, clipped
    to the range of the training targets. Bad week: logistic regression; its baseline is the same on the EWMA alone.
    A feature that is off gets the coefficient 0; its range is kept all the same. Deterministic for the same rows.

    Raises ``ModelError`` where there are too few rows, or one class only.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    rows = learned_rows(rows, config)
    classes = np.unique(rows.bad_week)
    if len(rows) < MIN_ROWS or len(classes) < 2:
        raise ModelError(
            f"expected at least {MIN_ROWS} rows with {MIN_HISTORY} sessions of history and both outcomes to "
            f"train on; found {len(rows)} rows and {len(classes)} outcome(s). Load a longer history (history.start)"
        )
    mean = rows.features.mean(axis=1)
    spread = rows.features.std(axis=1)
    spread[spread == 0] = 1.0
    on = np.array([name not in config.features_off for name in FEATURES])
    # Row by row in memory, as rows that were taken lie: another layout is summed in another order.
    scaled = np.ascontiguousarray(((rows.features - mean[:, None]) / spread[:, None])[on].T)
    log_ratio = np.log(rows.variance) - rows.features[0]
    # One thread: sums in another order would train another model from the same rows.
    with threadpool_limits(limits=1):
        ridge = Ridge(alpha=config.ridge_penalty).fit(scaled, log_ratio)
        logistic = LogisticRegression(C=1 / config.logistic_penalty, max_iter=1000, tol=1e-8)
        logistic.fit(scaled, rows.bad_week)
        baseline = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(rows.features[:1].T, rows.bad_week)
    # The ridge fits the mean of a logarithm, whose exponential lies below the mean variance: put the level right on
    # the training rows (the smearing estimate of Duan, Journal of the American Statistical Association 78, 1983).
    level = float(np.log(np.exp(log_ratio - ridge.predict(scaled)).mean()))
    volatility, bad_week = np.zeros((2, len(FEATURES)))
    volatility[on], bad_week[on] = ridge.coef_ / spread[on], logistic.coef_[0] / spread[on]
    model = FittedModel(
        features=tuple(FEATURES),
        volatility_coefficients=volatility,
        volatility_intercept=float(ridge.intercept_ - volatility @ mean) + level,
        clip=(float(log_ratio.min()), float(log_ratio.max())),
        bad_week_coefficients=bad_week,
        bad_week_intercept=float(logistic.intercept_[0] - bad_week @ mean),
        baseline_coefficient=float(baseline.coef_[0, 0]),
        baseline_intercept=float(baseline.intercept_[0]),
        low=rows.features.min(axis=1),
        high=rows.features.max(axis=1),
        cutoff=config.cutoff,
    )
    model.require_finite()
    return model
