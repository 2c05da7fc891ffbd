"""Steps of the group ``model``: training the first model, and evaluating on the source."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from countersign import checks
from countersign.errors import GateError, SourceError
from countersign.gate.state import state_of
from countersign.model.document import train_model
from countersign.model.evaluation import Evaluation, evaluate, evaluation_preview, walk_forward
from countersign.model.registry import deploy_first
from countersign.model.training import training_rows
from countersign.prices import ingest
from countersign.prices.clean import clean_bars
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.quality import load_quality
from countersign.steps.gate import gate_state, put_into_service
from countersign.steps.made import Made, Numbers
from countersign.steps.prices import HISTORY, released_in
from countersign.steps.schema import agreed
from countersign.storage.artifacts import Stored
from countersign.storage.journal import Event
from countersign.tables import PRICES_CLEAN
from countersign.version import code_version


def model_in_service(project: Project, now: datetime) -> Made:
    """``model``: the first one where there is none and nobody is being asked; else what a decision made due."""
    state = gate_state(project)
    asks = state.open_request is not None and now < state.open_request.expires
    anew = not state.deployments and not asks
    return train_first_model(project, now) if anew or not state.requests else put_into_service(project, now)


def train_first_model(project: Project, now: datetime) -> Made:
    """Train on the history, evaluate walk-forward, and put it into service where there is none yet.

    With ``gate.bootstrap: manual`` it waits for a signature instead, as it does once people were asked.
    """
    history = project.store.read_table(HISTORY, None, PRICES_CLEAN, PANEL_COLUMNS, form="parquet")
    days = np.unique(history.frame["date"].to_numpy().astype("datetime64[D]"))
    panel = Panel.from_bars(history.frame, days)
    body, evaluation = train_model(panel, project.config.model, code_version())
    verdicts = (
        checks.beats_baseline("volatility_beats_baseline", evaluation.measure("qlike")),
        checks.beats_baseline("bad_week_beats_baseline", evaluation.measure("auc")),
    )
    inputs = {HISTORY: history.stored.sha256}
    state = gate_state(project)
    if not state.deployments and (project.config.gate.bootstrap == "manual" or state.requests):
        stored, standing = _request_first(project, body, inputs, now), "waits for a signature (countersign review)"
    else:
        stored, new = deploy_first(project.store, project.journal, body, inputs, now)
        standing = "newly deployed without a signature (bootstrap)" if new else "unchanged"
    numbers: Numbers = {
        "rows": body["training"]["rows"],
        "first_session": body["training"]["first_session"],
        "last_session": body["training"]["last_session"],
        "code_version": code_version(),
        "history": history.stored.sha256,
        "in_service": standing,
        "parameters": project.config.model.model_dump(),
        **{f"{m.name}_{who}": getattr(m, who) for m in evaluation.table for who in ("model", "baseline", "naive")},
        **{f"{m.name}_lead_{end}": getattr(m, f"lead_{end}") for m in evaluation.table for end in ("low", "high")},
        "approval_rate": evaluation.approval_rate,
        "bad_rate_approved": evaluation.bad_rate_approved,
        "bad_rate_held": evaluation.bad_rate_held,
    }
    return Made(None, stored, verdicts, numbers, evaluation_preview(evaluation))


def _request_first(project: Project, body: dict[str, Any], inputs: dict[str, str], now: datetime) -> Stored:
    """Ask for a signature on the first model; its evaluation is the evidence, as there is no other to compare with."""
    stored = project.store.write_addressed("models", "model", body, inputs)
    evidence = project.store.write_addressed(
        f"models/{stored.sha256}/evidence",
        "evidence",
        {"evaluation": body["evaluation"], "training": body["training"]},
        {"candidate": stored.sha256},
    )
    gate = project.config.gate

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        state, waits = state_of(lines), state_of(lines).open_request
        if state.deployments or (waits and now < waits.expires):
            raise GateError("expected no first model yet, found one that came from another process. Look again")
        fields = {
            "request": f"r{len(state.requests) + 1}",
            "retrain": "",
            "model": stored.sha256,
            "evidence": evidence.sha256,
            "champion": None,
            "asked_by": None,
            "quorum": gate.quorum,
            "expires": (now.replace(microsecond=0) + timedelta(days=gate.expiry_days)).isoformat(),
            "nonce": secrets.token_hex(16),
        }
        late: list[Event] = [("expired", {"request": waits.id})] if waits else []
        return [*late, ("sign_off_requested", fields)]

    project.journal.extend(decide, now)
    return stored


def evaluate_source(
    project: Project,
    first: str | None,
    last: str | None,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Walk-forward measures on what the source has from ``first`` to ``last``; stores nothing, changes no model.

    None stands for the start of the history, and for the last session that has closed.
    """
    panel, config = source_panel(project, "the evaluation", first, last, now), project.config.model
    return evaluate(walk_forward(training_rows(panel), config, progress), panel.sessions, config)


def source_panel(project: Project, purpose: str, first: str | None, last: str | None, now: datetime) -> Panel:
    """What the source has from ``first`` to ``last``, cleaned; None as in ``evaluate_source``. Stores nothing."""
    dates, config = project.calendar.dates, project.config
    ingest.require_known(config.symbols, project.source.symbols(), project.source.uri)
    first = first or config.history.start.isoformat()
    last = last or project.calendar.last_closed(now) or first
    reply, _ = agreed(project, purpose, first, last)
    reply = ingest.of_symbols(reply, config.symbols)
    if reply.empty:
        raise SourceError(f"{project.source.uri}: expected bars of {first} … {last}, found none; name other sessions")
    bars = clean_bars(
        ingest.with_previous(reply, dates), dates, load_quality(project.home), released=released_in(project)
    ).bars
    return Panel.from_bars(bars, np.unique(bars["date"].to_numpy().astype("datetime64[D]")))
