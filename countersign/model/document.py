"""Document: everything that ``model.json`` says.

Belongs here: putting a fitted model, its evaluation, its reference and its training data on record. Does not belong
here: storing or deploying it (``registry``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from countersign.config import ModelConfig
from countersign.features import FEATURES, LOOKBACK
from countersign.model.evaluation import Evaluation, evaluate, walk_forward
from countersign.model.reference import reference_bins
from countersign.model.scoring import FittedModel, score
from countersign.model.targets import BAD_SESSION, HORIZON
from countersign.model.training import TrainingRows, fit, learned_rows, training_rows
from countersign.prices.panel import Panel


def train_model(
    panel: Panel, config: ModelConfig, code: str, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], Evaluation]:
    """Train on all of ``panel``, evaluate walk-forward on the same sessions: the body of ``model.json``.

    ``progress`` is called as by ``walk_forward``. Same panel, settings and code → the same body. Raises ``ModelError``
    where there is too little to learn from.
    """
    rows = training_rows(panel)
    model = fit(rows, config)
    evaluation = evaluate(walk_forward(rows, config, progress), panel.sessions, config)
    learned = learned_rows(rows, config)
    body = {
        "model": model.as_dict(),
        "training": {
            "first_session": str(panel.sessions[0]),
            "last_session": str(panel.sessions[-1]),
            "symbols": list(panel.symbols),
            "rows": len(learned),
            "horizon_sessions": HORIZON,
            "lookback_sessions": LOOKBACK,
            "bad_session_return": BAD_SESSION,
            "parameters": config.model_dump(),
            "code_version": code,
        },
        "evaluation": evaluation.as_dict(),
        "reference": reference_of(model, learned),
    }
    return body, evaluation


def reference_of(model: FittedModel, rows: TrainingRows) -> dict[str, Any]:
    scores = score(model, rows.features, rows.ewma_variance, rows.market_variance, rows.history)
    return {
        "features": {
            name: reference_bins(values, rows.session) for name, values in zip(FEATURES, rows.features, strict=True)
        },
        "scores": {
            "volatility_forecast": reference_bins(np.sqrt(scores.variance), rows.session),
            "bad_week_probability": reference_bins(scores.probability, rows.session),
        },
        "targets": {
            "volatility": reference_bins(np.sqrt(rows.variance), rows.session),
            "bad_week": reference_bins(rows.bad_week, rows.session),
            "bad_week_share": float(rows.bad_week.mean()),
        },
    }
