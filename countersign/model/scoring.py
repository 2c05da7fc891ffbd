"""Scoring: a fitted model as plain numbers, and the forecasts that follow from them with numpy alone.

Belongs here: the fitted model and the one function that scores, for the daily run, walk-forward evaluation and any
server. Does not belong here: fitting (``training``), files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from countersign.errors import ModelError
from countersign.features import EWMA_DECAY, FEATURES, MIN_HISTORY, VARIANCE_FLOOR


@dataclass(frozen=True)
class FittedModel:
    """Every number that scoring needs, on raw features: scaling is folded into the coefficients.

    ``low`` and ``high`` (features,) bound what training saw; ``clip`` bounds the log ratio of variance to EWMA;
    ``cutoff`` is the probability from which a symbol is held.
    """

    features: tuple[str, ...]
    volatility_coefficients: np.ndarray
    volatility_intercept: float
    clip: tuple[float, float]
    bad_week_coefficients: np.ndarray
    bad_week_intercept: float
    baseline_coefficient: float
    baseline_intercept: float
    low: np.ndarray
    high: np.ndarray
    cutoff: float

    def as_dict(self) -> dict[str, Any]:
        """The ``model`` section of ``model.json``."""
        return {
            "features": list(self.features),
            "volatility": {
                "coefficients": dict(zip(self.features, self.volatility_coefficients.tolist(), strict=True)),
                "intercept": self.volatility_intercept,
                "clip": list(self.clip),
                "baseline": {"ewma_decay": EWMA_DECAY},
            },
            "bad_week": {
                "coefficients": dict(zip(self.features, self.bad_week_coefficients.tolist(), strict=True)),
                "intercept": self.bad_week_intercept,
                "cutoff": self.cutoff,
                "baseline": {"log_ewma_variance": self.baseline_coefficient, "intercept": self.baseline_intercept},
            },
            "training_range": {
                name: [low, high]
                for name, low, high in zip(self.features, self.low.tolist(), self.high.tolist(), strict=True)
            },
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> FittedModel:
        """Read the ``model`` section. Raises ``ModelError`` where it was made for other features, or is not finite."""
        names = tuple(found["features"])
        volatility, bad_week = found["volatility"], found["bad_week"]
        decay = volatility["baseline"]["ewma_decay"]
        if names != tuple(FEATURES) or decay != EWMA_DECAY:
            raise ModelError(
                f"expected a model of the features {', '.join(FEATURES)} with decay {EWMA_DECAY}; found one of "
                f"{', '.join(names)} with decay {decay}. It was trained by another version of Countersign: train again"
            )
        bounds = np.array([found["training_range"][name] for name in names], dtype=float)
        model = cls(
            features=names,
            volatility_coefficients=np.array([volatility["coefficients"][n] for n in names], dtype=float),
            volatility_intercept=volatility["intercept"],
            clip=(volatility["clip"][0], volatility["clip"][1]),
            bad_week_coefficients=np.array([bad_week["coefficients"][n] for n in names], dtype=float),
            bad_week_intercept=bad_week["intercept"],
            baseline_coefficient=bad_week["baseline"]["log_ewma_variance"],
            baseline_intercept=bad_week["baseline"]["intercept"],
            low=bounds[:, 0],
            high=bounds[:, 1],
            cutoff=bad_week["cutoff"],
        )
        model.require_finite()
        return model

    def require_finite(self) -> None:
        """Raise ``ModelError`` where any number is NaN or infinite."""
        numbers = np.concatenate(
            [
                self.volatility_coefficients,
                self.bad_week_coefficients,
                self.low,
                self.high,
                np.array([self.volatility_intercept, *self.clip, self.bad_week_intercept, self.cutoff]),
                np.array([self.baseline_coefficient, self.baseline_intercept]),
            ]
        ).astype(float)
        if not np.isfinite(numbers).all():
            raise ModelError(f"expected {numbers.size} finite numbers in the model, found NaN or infinity: train again")


@dataclass(frozen=True)
class Scores:
    """Scores of n rows, each array of shape (n,). ``reason`` is empty where both heads used the model."""

    variance: np.ndarray
    baseline_variance: np.ndarray
    probability: np.ndarray
    baseline_probability: np.ndarray
    approved: np.ndarray
    by_model: np.ndarray
    reason: np.ndarray


def score(
    model: FittedModel,
    features: np.ndarray,
    ewma_variance: np.ndarray,
    market_variance: np.ndarray,
    history: np.ndarray,
) -> Scores:
    """Score n rows: ``features`` (features, n), the others (n,).

    Both heads fall back to the baseline, and say why, for a symbol with a short history, for a feature that cannot
    be computed, and for one outside the range that training saw. A symbol without a finite variance of its own takes
    the market's. Nothing is dropped, and every forecast is finite.

    Raises ``ModelError`` where not even the market has a variance.
    """
    own = np.where(np.isfinite(ewma_variance), ewma_variance, market_variance)
    if not np.isfinite(own).all():
        raise ModelError("expected a variance for at least one symbol of the session, found none: load its history")
    own = np.maximum(own, VARIANCE_FLOOR)
    baseline_probability = _sigmoid(model.baseline_intercept + model.baseline_coefficient * np.log(own))

    short = history < MIN_HISTORY
    unknown = np.isnan(features)
    with np.errstate(invalid="ignore"):
        outside = (features < model.low[:, None]) | (features > model.high[:, None])
    by_model = ~(short | unknown.any(axis=0) | outside.any(axis=0))

    usable = np.where(by_model, features, 0.0)
    log_ratio = linear(model.volatility_coefficients, model.volatility_intercept, usable)
    variance = np.where(by_model, own * np.exp(np.clip(log_ratio, *model.clip)), own)
    probability = _sigmoid(linear(model.bad_week_coefficients, model.bad_week_intercept, usable))
    probability = np.where(by_model, probability, baseline_probability)

    reason = np.full(len(by_model), "", dtype=object)
    for row in np.flatnonzero(~by_model):
        reason[row] = _reason(model, short[row], int(history[row]), unknown[:, row], outside[:, row])
    return Scores(variance, own, probability, baseline_probability, probability < model.cutoff, by_model, reason)


def linear(coefficients: np.ndarray, intercept: float, features: np.ndarray) -> np.ndarray:
    """``intercept + coefficients · features`` for (features, n), added in order.

    Not a matrix product: BLAS adds in another order for other shapes, and a row scored alone must equal, to the last
    bit, the same row scored among five thousand.
    """
    products = coefficients[:, None] * features
    if features.shape[1] < _FEW:
        # The same additions in the same order, in one call: a tenth of the time for a row, ten times it for thousands.
        terms = np.concatenate([np.full((1, features.shape[1]), intercept), products])
        return np.add.accumulate(terms, axis=0)[-1]
    total = np.full(features.shape[1], intercept)
    for values in products:
        total += values
    return total


_FEW: Final = 64
"""Rows below which the calls cost more than the arithmetic."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))


def _reason(model: FittedModel, short: bool, history: int, unknown: np.ndarray, outside: np.ndarray) -> str:
    names = np.array(model.features)
    if short:
        return f"short history: {history} of {MIN_HISTORY} sessions"
    if unknown.any():
        return f"cannot be computed: {', '.join(names[unknown])}"
    return f"outside the training range: {', '.join(names[outside])}"
