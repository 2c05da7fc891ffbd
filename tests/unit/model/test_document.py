"""Document: ``model.json`` says everything that was learned, from what, and how good it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from countersign.config import ModelConfig
from countersign.features import FEATURES
from countersign.model.document import train_model
from countersign.model.evaluation import Evaluation
from countersign.model.scoring import FittedModel, score
from countersign.model.training import TrainingRows, training_rows
from countersign.prices.panel import Panel
from countersign.storage.codec import json_bytes

CONFIG = ModelConfig(fold_sessions=252, bootstrap_replications=100)


@pytest.fixture(scope="module")
def history(bundled: Panel) -> Panel:
    """Five years, as a first bulk load would bring them: FB, not listed yet, is no part of them."""
    five_years = bundled.rows(slice(0, 1300))
    listed = np.flatnonzero(five_years.present.any(axis=0))
    return Panel(
        five_years.sessions,
        tuple(five_years.symbols[column] for column in listed),
        five_years.log_return[:, listed],
        five_years.variance[:, listed],
        five_years.volume[:, listed],
        five_years.present[:, listed],
    )


@pytest.fixture(scope="module")
def trained(history: Panel) -> tuple[dict[str, Any], Evaluation]:
    return train_model(history, CONFIG, "code 1")


@pytest.fixture(scope="module")
def body(trained: tuple[dict[str, Any], Evaluation]) -> dict[str, Any]:
    """The body as a reader of ``model.json`` finds it."""
    found: dict[str, Any] = orjson.loads(json_bytes(trained[0]))
    return found


@pytest.fixture(scope="module")
def learned(history: Panel) -> TrainingRows:
    rows = training_rows(history)
    return rows.take(rows.learnable)


TRAIN = """
import sys
from dataclasses import fields
import numpy as np
from countersign.config import ModelConfig
from countersign.model.document import train_model
from countersign.prices.panel import Panel
from countersign.storage.codec import json_bytes
with np.load(sys.argv[1]) as stored:
    found = {field.name: stored[field.name] for field in fields(Panel)}
panel = Panel(**found | {"symbols": tuple(found["symbols"].tolist())})
body, _ = train_model(panel, ModelConfig.model_validate_json(sys.argv[2]), "code 1")
sys.stdout.buffer.write(json_bytes(body))
"""


def test_the_same_panel_settings_and_code_give_the_same_bytes_in_another_process_with_other_threads(
    history: Panel, trained: tuple[dict[str, Any], Evaluation], tmp_path: Path
) -> None:
    arrays = {field.name: np.asarray(getattr(history, field.name)) for field in fields(Panel)}
    np.savez(tmp_path / "panel.npz", **arrays)  # type: ignore[arg-type]
    threads = {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "panel.npz"), CONFIG.model_dump_json()]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, check=True)
    assert done.stdout == json_bytes(trained[0])


@pytest.mark.parametrize(
    ("config", "code"),
    [(CONFIG, "code 2"), (CONFIG.model_copy(update={"ridge_penalty": 11.0}), "code 1")],
    ids=["other code", "another penalty"],
)
def test_other_code_or_settings_make_another_document(
    history: Panel, trained: tuple[dict[str, Any], Evaluation], config: ModelConfig, code: str
) -> None:
    assert json_bytes(train_model(history, config, code)[0]) != json_bytes(trained[0])


def test_it_says_what_the_model_was_trained_on(body: dict[str, Any], learned: TrainingRows) -> None:
    training = body["training"]
    assert (training["first_session"], training["last_session"]) == ("2000-03-01", "2005-05-03")
    assert training["symbols"] == ["AAPL", "GOOG", "IBM", "MSFT"]
    assert training["rows"] == len(learned)
    assert training["code_version"] == "code 1"
    assert training["parameters"]["fold_sessions"] == CONFIG.fold_sessions
    assert ModelConfig(**training["parameters"]) == CONFIG


def test_it_says_how_good_the_model_was_on_sessions_that_it_had_not_seen(
    body: dict[str, Any], trained: tuple[dict[str, Any], Evaluation]
) -> None:
    _, evaluation = trained
    assert body["evaluation"] == orjson.loads(json_bytes(evaluation.as_dict()))
    assert body["evaluation"]["first"] > body["training"]["first_session"]


def test_the_model_read_from_it_scores_and_every_learned_row_is_scored_by_the_model(
    body: dict[str, Any], learned: TrainingRows
) -> None:
    model = FittedModel.from_dict(body["model"])
    found = score(model, learned.features, learned.ewma_variance, learned.market_variance, learned.history)
    assert found.by_model.all()


def test_its_reference_counts_every_learned_row_of_every_feature_score_and_target(
    body: dict[str, Any], learned: TrainingRows
) -> None:
    reference = body["reference"]
    assert set(reference["features"]) == set(FEATURES)
    distributions = {
        **reference["features"],
        **reference["scores"],
        "volatility": reference["targets"]["volatility"],
    }
    for name, found in distributions.items():
        assert sum(found["counts"]) == len(learned), name
        assert found["missing"] == 0, name
        assert len(found["counts"]) == len(found["edges"]) + 1, name
    assert reference["targets"]["bad_week_share"] == pytest.approx(learned.bad_week.mean())


def test_half_of_the_learned_rows_lie_below_the_middle_edge_of_the_forecasts(
    body: dict[str, Any], learned: TrainingRows
) -> None:
    model = FittedModel.from_dict(body["model"])
    scores = score(model, learned.features, learned.ewma_variance, learned.market_variance, learned.history)
    found = body["reference"]["scores"]
    middle = found["volatility_forecast"]["edges"][4]
    assert np.mean(np.sqrt(scores.variance) <= middle) == pytest.approx(0.5, abs=0.001)
    middle = found["bad_week_probability"]["edges"][4]
    assert np.mean(scores.probability <= middle) == pytest.approx(0.5, abs=0.001)


def test_the_document_has_no_number_that_json_cannot_hold(body: dict[str, Any]) -> None:
    def nothing_missing(value: Any, place: str) -> None:
        assert value is not None, place
        if isinstance(value, dict):
            for key, inner in value.items():
                nothing_missing(inner, f"{place}.{key}")
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                nothing_missing(inner, f"{place}[{number}]")

    nothing_missing(body, "model.json")
