"""Steps of a retrain: what asks for one, the candidate, its evidence, and the request for a signature."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from countersign.checks import CheckResult
from countersign.errors import ArtifactError, GateError
from countersign.gate.signers import PRINCIPAL
from countersign.gate.state import Cause, Retrain, state_of
from countersign.gate.statement import MAX_REASON, is_text
from countersign.gate.trigger import Breach, RetrainDecision, decide_retrain
from countersign.model.acceptance import automatic_checks
from countersign.model.comparison import Comparison, compare
from countersign.model.document import train_model
from countersign.model.evaluation import walk_forward
from countersign.model.registry import InService, read_model
from countersign.model.training import training_rows
from countersign.monitoring.alerts import open_ids
from countersign.pages.candidate import candidate_page
from countersign.pages.page import page_html
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.steps.made import Made, Numbers
from countersign.steps.prices import HISTORY
from countersign.steps.service import in_service
from countersign.storage.codec import Header, combined_digest, encode_document
from countersign.storage.files import reached
from countersign.storage.journal import Event
from countersign.tables import DRIFT, METRICS, PRICES_CLEAN
from countersign.thresholds import load_thresholds
from countersign.version import code_version
from countersign.words import spanned

AUTOMATIC_CHECKS: Final = {
    "volatility_not_worse_than_baseline": "The candidate's volatility forecasts are not worse than the baseline's.",
    "bad_week_not_worse_than_baseline": "The candidate's bad-week probabilities are not worse than the baseline's.",
    "calibrated": "The candidate's probabilities are as right in size as chance allows.",
    "finite": "Every coefficient and every score of the candidate is finite.",
    "same_features": "The candidate sees the features that the champion and the pipeline have.",
    "deterministic_retrain": "A second training on the same rows makes the same bytes.",
}
"""What must not fail before anyone is asked to sign."""

_ERRORS: Final = ("qlike_rise", "volatility_mae_rise")
"""The measures whose failure says that the model, not the market, got worse."""


def ask_for_retrain(project: Project, now: datetime) -> RetrainDecision:
    """Read what monitoring found of the newest session, decide, and put a wish for a retrain on record.

    Raises ``ArtifactError`` where that session's drift or metrics are damaged.
    """
    now, cool_down = now.replace(microsecond=0), timedelta(days=project.config.gate.cool_down_days)
    drift, error = breaches(project, now)
    decision = decide_retrain(drift, error, state_of(project.journal.read()), cool_down, now)
    if decision.breach is None:
        return decision

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        nonlocal decision
        # Another daemon may have asked since: the journal decides, under its lock.
        decision = decide_retrain(drift, error, state_of(lines), cool_down, now)
        breach = decision.breach
        if breach is None:
            return []
        return [_retrain_line(breach.cause, breach.event, breach.sentence, None, breach.first, breach.last)]

    project.journal.extend(decide, now)
    return decision


def ask_as_person(project: Project, reason: str, asked_by: str, now: datetime) -> Retrain:
    """Put a person's wish for a retrain on record.

    Raises ``GateError`` without a reason, a name or a model, and while another retrain is still to come.
    """
    if not reason.strip() or not asked_by.strip():
        raise GateError(
            "expected a reason and who asks, found one of them empty: countersign retrain --reason … --by NAME, or "
            "reason and asked_by in the configuration of candidate"
        )
    # Whoever reaches the launchpad can write it, and a person reads it in a terminal before signing.
    if not is_text(reason) or not PRINCIPAL.fullmatch(asked_by.strip()):
        raise GateError(
            f"expected a reason of up to {MAX_REASON} printable characters, and a name as in allowed_signers, found "
            f"{reason[:80]!r} by {asked_by[:80]!r}"
        )

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        state = state_of(lines)
        if state.last_deployment is None:
            raise GateError("expected a model in service that could be replaced, found none: run bootstrap_job first")
        if one := state.open_retrain:
            # A second one would take the place of who asked first, who could then sign for it.
            by = one.asked_by or "monitoring"
            raise GateError(
                f"expected no retrain that is still to come, found the one that {by} asked for at "
                f"{one.at:%Y-%m-%d %H:%M} UTC ({one.reason}): its candidate will answer both. Launch retrain_job, or "
                "leave it to drift_sensor"
            )
        return [_retrain_line("person", "person", reason.strip(), asked_by.strip(), "", "")]

    (line,) = project.journal.extend(decide, now.replace(microsecond=0))
    return next(one for one in state_of(project.journal.read()).retrains if one.id == line["sha256"])


def _retrain_line(cause: Cause, breach: str, reason: str, asked_by: str | None, first: str, last: str) -> Event:
    return "retrain_requested", {
        "cause": cause,
        "breach": breach,
        "reason": reason,
        "asked_by": asked_by,
        "first": first,
        "last": last,
    }


def breaches(project: Project, now: datetime) -> tuple[Breach | None, Breach | None]:
    """Drift, and a risen error, as the newest session that was measured on the model in service has them."""
    session = next((s for s in reversed(project.daily_sessions(now)) if project.store.has("metrics", s)), None)
    champion = state_of(project.journal.read()).champion
    if session is None or champion is None:
        return None, None
    metrics = project.store.read_table("metrics", session, METRICS)
    drift = project.store.read_table("drift", session, DRIFT)
    thresholds, _ = load_thresholds(project.home)
    still = open_ids(project.alerts.last())
    found: list[Breach | None] = []
    for cause, table, key, window in (
        ("drift", drift, "subject", thresholds.drift.window_sessions),
        ("error", metrics, "measure", thresholds.model.window_sessions),
    ):
        frame = table.frame
        failed = frame[frame["status"] == "fail"]
        if cause == "error":
            failed = failed[failed["measure"].isin(_ERRORS)]
        # What was measured on another model says nothing of this one.
        if failed.empty or table.stored.inputs["model"] != champion.model:
            found.append(None)
            continue
        alert = "drift:drift@" if cause == "drift" else f"metrics:{failed[key].iloc[0]}@"
        lasts = next((a for a in sorted(still) if a.startswith(alert)), f"{alert}{session}")
        # A later model that ages while the alert lasts has a breach of its own.
        event = f"{lasts} on {champion.model[:12]}"
        first = project.calendar.lookback(session, window)[0]
        sentence = "; ".join(failed["sentence"])
        found.append(Breach("drift" if cause == "drift" else "error", event, first, session, sentence))
    return found[0], found[1]


def make_candidate(project: Project, reason: str, asked_by: str, now: datetime) -> Made:
    """``candidate``: train on all that is known, compare, and ask for a signature where nothing speaks against it.

    Answers the open wish for a retrain; where there is none, ``reason`` and ``asked_by`` make one. A candidate that
    fails an automatic check asks for nothing: that is on record, with what failed. Run again after a crash, it comes to
    the same candidate. Raises ``GateError`` where nobody asked.
    """
    now = now.replace(microsecond=0)
    retrain = state_of(project.journal.read()).open_retrain
    if retrain is None:
        if not reason and not asked_by:
            raise GateError(
                "expected someone to have asked for a retrain: monitoring does by itself; a person gives reason and "
                "asked_by in the configuration of candidate, or types: countersign retrain --reason … --by NAME"
            )
        retrain = ask_as_person(project, reason, asked_by, now)
    elif asked_by and asked_by.strip().casefold() != (retrain.asked_by or "").casefold():
        # Left out without a word, that person could sign for what they asked for.
        raise GateError(
            f"expected {asked_by.strip()} to ask while no other wish is open, found that of "
            f"{retrain.asked_by or 'monitoring'} since {retrain.at:%Y-%m-%d %H:%M} UTC: launch it without reason and "
            "asked_by to serve that one"
        )
    service = _compared_with(project)
    panel, inputs = known_bars(project, now)
    config, code = project.config.model, code_version()
    body, evaluation = train_model(panel, config, code)
    again, _ = train_model(panel, config, code)
    stored = project.store.write_addressed("models", "model", body, inputs)
    reached("retrain: candidate stored")
    candidate = read_model(project.store, stored.sha256)
    learned_to = service.document["training"]["last_session"]
    comparison = compare(
        panel,
        config,
        candidate=candidate.fitted,
        champion=service.model,
        champion_last_session=learned_to,
        trigger=(retrain.first, retrain.last) if retrain.first else None,
    )
    thresholds, thresholds_digest = load_thresholds(project.home)
    results = automatic_checks(
        comparison,
        evaluation,
        walk_forward(training_rows(panel), config),
        thresholds.model,
        candidate=candidate.fitted,
        champion=service.model,
        digest=stored.sha256,
        retrained_digest=encode_document(again, Header("model", None, inputs))[1],
    )
    digests = {
        "candidate": stored.sha256,
        "champion": service.champion.model,
        "data": combined_digest([inputs[name] for name in sorted(inputs)]),
        "config": hashlib.sha256((project.home / "config" / "pipeline.yaml").read_bytes()).hexdigest(),
        "thresholds": thresholds_digest,
    }
    found = {
        "retrain": {
            "cause": retrain.cause,
            "reason": retrain.reason,
            "asked_by": retrain.asked_by,
            "asked_at": retrain.at.isoformat(),
            "first": retrain.first,
            "last": retrain.last,
        },
        "comparison": comparison.as_dict(),
        "checks": [{"name": r.name, "status": r.status, "sentence": r.sentence} for r in results],
        "digests": digests,
        "code_version": code,
        "training": {key: body["training"][key] for key in ("first_session", "last_session", "rows", "symbols")},
    }
    folder = f"models/{stored.sha256}/evidence"
    evidence = project.store.write_addressed(folder, "evidence", found, digests)
    html = page_html(candidate_page(found, stored.sha256))
    page = project.store.write_text(
        f"{folder}/{evidence.sha256}/review", None, html, {"evidence": evidence.sha256}, "html"
    )
    reached("retrain: evidence stored")
    outcome = request_sign_off(project, retrain, stored.sha256, evidence.sha256, service.champion.model, results, now)
    numbers: Numbers = {
        "rows": body["training"]["rows"],
        "last_session": body["training"]["last_session"],
        "verdict": comparison.verdict,
        "outcome": outcome,
        "champion": service.champion.model,
        "evidence": evidence.location,
        "page": page.location,
        **_lead_numbers(comparison),
    }
    return Made(None, stored, results, numbers, "\n".join(f"- {sentence}" for sentence in comparison.sentences))


def _compared_with(project: Project) -> InService:
    """The last one put into service, though it may not be used: there has to be a way to another."""
    last = state_of(project.journal.read()).last_deployment
    if last is None:
        return in_service(project)
    model = read_model(project.store, last.model)
    return InService(model.fitted, model.document, last)


def _lead_numbers(comparison: Comparison) -> dict[str, float]:
    overall = comparison.stretch("overall")
    if overall is None:
        return {}
    return {
        f"{name}_{who}": getattr(measured, who)
        for name, measured in overall.measures.items()
        for who in ("candidate", "champion", "baseline")
    }


def request_sign_off(
    project: Project,
    retrain: Retrain,
    candidate: str,
    evidence: str,
    champion: str,
    results: Sequence[CheckResult],
    now: datetime,
) -> str:
    """Ask for a signature, or put on record why not; in words. A candidate that was asked for already stays so."""
    failed = "; ".join(result.sentence for result in results if result.refuses)
    if candidate in state_of(project.journal.read()).revoked:
        failed = "the retrain made a model that was revoked: nothing has been learned since"
    elif candidate == champion:
        failed = "the retrain made the model that is in service: nothing has been learned since"
    gate, said = project.config.gate, ""

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        nonlocal said
        state = state_of(lines)
        mine = next(one for one in state.retrains if one.id == retrain.id)
        if mine.answer is not None:
            said = f"answered already: {mine.answer}"
            return []
        if state.last_model != champion:
            raise GateError("the champion changed while the candidate was trained: run the retrain again")
        if failed:
            said = f"blocked: {failed}"
            return [
                ("retrain_blocked", {"retrain": retrain.id, "model": candidate, "evidence": evidence, "reason": said})
            ]
        name = f"r{len(state.requests) + 1}"
        said = f"{name} waits for a signature"
        events: list[Event] = [
            (
                "sign_off_requested",
                {
                    "request": name,
                    "retrain": retrain.id,
                    "model": candidate,
                    "evidence": evidence,
                    "champion": champion,
                    "asked_by": mine.asked_by,
                    "quorum": gate.quorum,
                    "expires": (now.replace(microsecond=0) + timedelta(days=gate.expiry_days)).isoformat(),
                },
            )
        ]
        if older := state.open_request:
            events.append(("superseded", {"request": older.id, "successor": name}))
        return events

    project.journal.extend(decide, now)
    return said


def known_bars(project: Project, now: datetime) -> tuple[Panel, dict[str, str]]:
    """The history and every daily session that is stored, as one panel; and the digest of each artifact.

    Raises ``ArtifactError`` where a daily session before the newest one is not there: a gap would be learned from.
    """
    store = project.store
    history = store.read_table(HISTORY, None, PRICES_CLEAN, PANEL_COLUMNS, form="parquet")
    sessions = project.daily_sessions(now)
    there = [session for session in sessions if store.has("prices_clean", session)]
    missing = [session for session in sessions if session not in set(there) and session < there[-1]] if there else []
    if missing:
        raise ArtifactError(
            f"expected prices_clean of every session up to {there[-1]}, found none of {spanned(missing)}: countersign "
            f"run --from {missing[0]} --to {there[-1]}, or name what the source will never deliver in missing_sessions"
        )
    tables = {session: store.read_table("prices_clean", session, PRICES_CLEAN, PANEL_COLUMNS) for session in there}
    bars = pd.concat([history.frame, *(table.frame for table in tables.values())])
    days = np.unique(bars["date"].to_numpy().astype("datetime64[D]"))
    inputs = {HISTORY: history.stored.sha256}
    if tables:
        inputs["prices_clean"] = combined_digest([table.stored.sha256 for table in tables.values()])
    return Panel.from_bars(bars, days), inputs
