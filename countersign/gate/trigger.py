"""Trigger: whether monitoring asks for a retrain, and why or why not.

Belongs here: the one decision of the drift sensor, as a pure function. Does not belong here: reading what monitoring
found (``steps.retrain``), training.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from countersign.gate.state import Cause, State


@dataclass(frozen=True)
class Breach:
    """What monitoring found of drift, or of the error, in the session ``last``.

    ``event`` names the breach for as long as it lasts: a breach that ended and came back is another. ``first`` is the
    first session of the stretch that was looked at.
    """

    cause: Cause
    event: str
    first: str
    last: str
    sentence: str


@dataclass(frozen=True)
class RetrainDecision:
    """``breach`` is None where no retrain is wanted; ``reason`` is a sentence for a person either way."""

    breach: Breach | None
    reason: str


def decide_retrain(
    drift: Breach | None, error: Breach | None, state: State, cool_down: timedelta, now: datetime
) -> RetrainDecision:
    """Whether to ask for a retrain: on drift, or on a rising error, once for each breach.

    Not while a retrain or a request is open, nor within ``cool_down`` of the last one or of a deployment, nor a second
    time for the same breach, whatever came of the first.
    """
    found = [breach for breach in (drift, error) if breach]
    if not found:
        return RetrainDecision(None, "no drift, and the error has not risen: the model stays")
    said = "; ".join(breach.sentence for breach in found)
    if state.last_deployment is None:
        return RetrainDecision(None, f"no model is in service that could have aged ({said})")
    if retrain := state.open_retrain:
        return RetrainDecision(None, f"the retrain asked for at {_minute(retrain.at)} is not finished yet ({said})")
    if request := state.open_request:
        return RetrainDecision(None, f"{request.id} waits for a signature since {_minute(request.at)} ({said})")
    fresh = [breach for breach in found if breach.event not in {retrain.event for retrain in state.retrains}]
    if not fresh:
        return RetrainDecision(
            None, f"this breach led to a retrain already; a person can ask for one: countersign retrain ({said})"
        )
    moments = [*(retrain.at for retrain in state.retrains), *(deployment.at for deployment in state.deployments[1:])]
    if moments and now - max(moments) < cool_down:
        return RetrainDecision(
            None, f"cooling down until {_minute(max(moments) + cool_down)} after the last retrain ({said})"
        )
    return RetrainDecision(fresh[0], said)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
