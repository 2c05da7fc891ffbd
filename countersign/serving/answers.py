"""Answers: scores as JSON, each number checked to be finite before it is sent.

Belongs here: what an answer looks like, for its readers and for the API's description. Does not belong here: scoring.
A row says what is known: a field that has no value is left out, so that no answer has a null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field

from countersign.gate.state import Deployment
from countersign.serving.problems import Problem

if TYPE_CHECKING:
    import pandas as pd

    from countersign.model.scoring import Scores

By = Literal["model", "baseline"]
_NUMBERS: Final = ("volatility_forecast", "baseline_volatility", "bad_week_probability", "baseline_probability")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Prediction(_Answer):
    """One row."""

    symbol: str | None = Field(default=None, description="Absent where the request named none")
    session: str | None = Field(default=None, description="Absent where raw features were sent")
    volatility_forecast: float = Field(description="Daily volatility over the next 5 sessions")
    baseline_volatility: float = Field(description="The same from the EWMA alone")
    bad_week_probability: float = Field(description="That one of the next 5 sessions closes 3 % or more down")
    baseline_probability: float = Field(description="The same from the EWMA alone")
    decision: Literal["approve", "hold"]
    volatility_by: By = Field(description="baseline where the model must not be used")
    probability_by: By = Field(description="baseline where the model must not be used")
    fallback_reason: str | None = Field(default=None, description="Why the baseline was used; absent where it was not")
    model: str = Field(description="SHA-256 of the model that scored the row")


class Standing(_Answer):
    """A model, and what put it into service."""

    sha256: str
    decision: str = Field(description="The journal's line that decided it, or bootstrap")
    deployed_at: str


class Predictions(_Answer):
    """Rows in the order of the request, and each model that scored one of them."""

    models: list[Standing]
    predictions: list[Prediction]


class SessionScores(_Answer):
    """The stored scores of a session."""

    session: str
    scores: str = Field(description="SHA-256 of scores.json")
    models: list[Standing]
    predictions: list[Prediction]


@dataclass(frozen=True)
class Answer:
    """A body, the number of its rows, and the model that the request log names."""

    body: bytes
    rows: int
    model: str


def standing_of(deployment: Deployment) -> bytes:
    """The ``Standing`` of a deployment."""
    found = {"sha256": deployment.model, "decision": deployment.decision, "deployed_at": deployment.at.isoformat()}
    return orjson.dumps(found)


def predictions(models: Sequence[bytes], rows: Sequence[bytes]) -> bytes:
    """``Predictions`` of parts that are JSON already."""
    return b'{"models":[%s],"predictions":[%s]}' % (b",".join(models), b",".join(rows))


def table_rows(table: pd.DataFrame, model: str) -> dict[str, bytes]:
    """Rows of a table ``SCORES`` by symbol. Raises ``Problem`` where a number is not finite."""
    _require_finite(table[name].to_numpy(dtype=float) for name in _NUMBERS)
    days = table["date"].to_numpy().astype("datetime64[D]").astype(str).tolist()
    names = [*_NUMBERS, "decision", "volatility_by", "probability_by"]
    columns = [table[name].tolist() for name in names]
    reasons = table["fallback_reason"].tolist()
    found = {}
    for symbol, day, reason, *values in zip(table["symbol"].tolist(), days, reasons, *columns, strict=True):
        row = {"symbol": symbol, "session": day, **dict(zip(names, values, strict=True))}
        found[symbol] = _row(row, reason if isinstance(reason, str) else "", model)
    return found


def score_rows(scores: Scores, symbols: Sequence[str], model: str) -> list[bytes]:
    """Rows of ``scores`` that come from no artifact, in their order. Raises ``Problem`` where one is not finite."""
    volatility, baseline = np.sqrt(scores.variance), np.sqrt(scores.baseline_variance)
    numbers = (volatility, baseline, scores.probability, scores.baseline_probability)
    _require_finite(numbers)
    columns = [column.tolist() for column in (*numbers, scores.approved, scores.by_model, scores.reason)]
    found = []
    for symbol, *values, approved, by_model, reason in zip(symbols, *columns, strict=True):
        row: dict[str, Any] = {"symbol": symbol} if symbol else {}
        row |= dict(zip(_NUMBERS, values, strict=True))
        by = "model" if by_model else "baseline"
        row |= {"decision": "approve" if approved else "hold", "volatility_by": by, "probability_by": by}
        found.append(_row(row, reason, model))
    return found


def _row(found: dict[str, Any], reason: str, model: str) -> bytes:
    return orjson.dumps(found | ({"fallback_reason": reason} if reason else {}) | {"model": model})


def _require_finite(columns: Any) -> None:
    if not all(np.isfinite(column).all() for column in columns):
        raise Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "a forecast is not finite, and is not sent: the artifacts or the model are damaged (countersign verify)",
        )


def known(value: Any) -> Any:
    """``value`` without what is null or no finite number, at any depth."""
    if isinstance(value, Mapping):
        return {key: known(part) for key, part in value.items() if _is_known(part)}
    if isinstance(value, list | tuple):
        return [known(part) for part in value if _is_known(part)]
    return value


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
