"""Status: where a project stands, from its artifacts and journal alone.

Belongs here: what ``countersign status`` answers. Does not belong here: Dagster's runs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from countersign.errors import CountersignError
from countersign.gate.rules import due
from countersign.monitoring.alerts import alerts
from countersign.prices.quarantine import releases
from countersign.project import Project
from countersign.report import WIDTH, evaluation_needs, session_needs
from countersign.steps.complete import outdated_sessions
from countersign.steps.gate import gate_state, retrain_words, standing
from countersign.steps.service import in_service, learned_by_all
from countersign.thresholds import load_thresholds
from countersign.words import counted, listed, spanned

_OF_SESSIONS: Final = {
    "prices_raw",
    "prices_clean",
    "features",
    "scores",
    "outcomes",
    "drift",
    "metrics",
    "report",
}
"""What an alert is on where it began with a session; every other one began on a day."""

_RECENT: Final = 5
"""Newest sessions whose quarantine is told of: a week."""


def project_status(project: Project, now: datetime) -> dict[str, Any]:
    """The champion, the last session in the store and the last one that closed, and what needs a person."""
    needs: list[str] = []
    state = gate_state(project)
    current = state.champion
    order = state.revoked.get(state.last_model or "")
    model: dict[str, Any] | None = None
    of_model: list[str] = []
    if current:
        model = {
            "sha256": current.model,
            "deployed_at": current.at.isoformat(),
            "decision": current.decision,
            "conditions": list(current.conditions),
        }
    try:
        document = in_service(project).document
        if model:
            training = document["training"]
            model["training"] = {
                key: training[key] for key in ("first_session", "last_session", "rows", "code_version")
            }
            of_model = evaluation_needs(document["evaluation"], load_thresholds(project.home)[0].model.min_auc)
            if project.store.digest("model", None, "json") != model["sha256"]:
                needs.append("model.json is not the model in service. Restore it: copy it from models/<its digest>/")
    except CountersignError as error:
        needs.append(str(error))
    coming = due(state, now, project.config.gate.on_revoke)[:1]
    of_model += [
        f"{one.model[:12]} is to go into service: {one.why}. sign_off_sensor deploys it, or now: countersign deploy"
        for one in coming
    ]
    scored = [s for s in project.store.partitions() if project.store.has("report", s, "txt")]
    last: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    if scored:
        try:
            _, table = project.store.read_columns("scores", scored[-1], ("decision",))
            decisions = table["decision"]
            last = {"session": scored[-1], "symbols": len(decisions), "held": decisions.count("hold")}
            checks = _checks(project, scored[-1])
            needs += session_needs(project.store.read_text("report", scored[-1])[0])
        except CountersignError as error:
            needs.append(str(error))
    try:
        aside = _quarantined(project, scored[-_RECENT:])
    except CountersignError as error:
        aside = {}
        needs.append(str(error))
    # Of the models as they stand now, not as that report had them.
    needs += [*of_model, *standing(state, coming).needs]
    lasting = []
    try:
        lasting = [alert for alert in alerts(project.alerts.read()) if alert.ended_at is None]
    except CountersignError as error:
        needs.append(str(error))
    closed = project.calendar.last_closed(now)
    there = set(scored)
    unreported = [s for s in project.daily_sessions(now) if s not in there] if project.config.source.live else []
    if unreported:
        needs.append(
            f"There is no report of {spanned(unreported)}, which closed. Run: countersign run --from {unreported[0]}"
        )
    outdated = outdated_sessions(project)
    learned = learned_by_all(project) if outdated else ""
    kept, outdated = [s for s in outdated if s <= learned], [s for s in outdated if s > learned]
    if outdated:
        needs.append(
            f"{counted(len(outdated), 'session')} ({listed(outdated)}) made from prices, rules or releases that have "
            f"changed since. Run again: countersign run --from {outdated[0]} --to {outdated[-1]}"
        )
    return {
        "home": str(project.home),
        "artifacts": project.store.root,
        "model": model,
        "revoked": {"sha256": order.model, "signer": order.signer, "reason": order.reason} if order else None,
        "retrain": retrain_words(state),
        "sessions": len(scored),
        "last_session": last,
        "checks": checks,
        "live": project.config.source.live,
        "last_closed_session": closed,
        "outdated_sessions": outdated,
        "kept_sessions": kept,
        "quarantined": aside,
        "alerts": [
            {"id": a.id, "severity": a.severity, "since": a.first_session, "sentence": a.sentence} for a in lasting
        ],
        "needs_a_person": needs,
    }


def _quarantined(project: Project, sessions: Sequence[str]) -> dict[str, int]:
    """How many rows of each of ``sessions`` are set aside and not let through, but for copies, which need nobody."""
    released = {(one.session, one.bar) for one in releases(project.journal.read())}
    found = {}
    for session in sessions:
        _, table = project.store.read_columns("prices_rejected", session, ("rule", "sha256"))
        rows = zip(table["rule"], table["sha256"], strict=True)
        if left := sum(rule != "duplicate" and (session, bar) not in released for rule, bar in rows):
            found[session] = left
    return found


def _checks(project: Project, session: str) -> dict[str, Any]:
    """How monitoring judged ``session``: counts, and the name of each measure that failed."""
    _, metrics = project.store.read_columns("metrics", session, ("layer", "measure", "status"))
    _, drift = project.store.read_columns("drift", session, ("subject", "status"))
    names = [" ".join(pair) for pair in zip(metrics["layer"], metrics["measure"], strict=True)]
    names += [f"drift {subject}" for subject in drift["subject"]]
    status = [*metrics["status"], *drift["status"]]
    failing = [name for name, found in zip(names, status, strict=True) if found == "fail"]
    return {name: status.count(name) for name in ("pass", "fail", "insufficient")} | {"failing": failing}


def status_text(found: dict[str, Any]) -> str:
    """``project_status`` in words."""
    model, last = found["model"], found["last_session"]
    lines = [f"Project       {found['home']}", f"Artifacts     {found['artifacts']}"]
    if model:
        since = model["deployed_at"][:16].replace("T", " ")
        lines.append(f"Model         {model['sha256'][:12]}, in service since {since} UTC ({model['decision'][:12]})")
    elif revoked := found["revoked"]:
        lines += _row("Model", f"none in service: {revoked['signer']} revoked {revoked['sha256'][:12]}")
    else:
        lines.append("Model         none in service")
    if model and "training" in model:
        training = model["training"]
        lines.append(
            f"              trained on {training['first_session']} … {training['last_session']}, "
            f"{training['rows']} rows"
        )
    if model and model["conditions"]:
        lines += _row("Conditions", f"leaves service again once {'; or '.join(model['conditions'])}")
    if found["retrain"]:
        lines += _row("Retrain", found["retrain"])
    lines.append(f"Sessions      {found['sessions']} with a report")
    if kept := found["kept_sessions"]:
        lines += _row(
            "Kept",
            f"{counted(len(kept), 'session')} ({listed(kept)}) scored by a model that was revoked, from prices, rules "
            "or releases that have changed since. No model in force may score them again: it would look ahead. What "
            "was said of them stays",
        )
    if last:
        lines.append(f"Last session  {last['session']}: {last['symbols']} symbols scored, {last['held']} held")
    if aside := found["quarantined"]:
        lines += _row(
            "Quarantine",
            f"{counted(sum(aside.values()), 'row')} of {counted(len(aside), 'session')} ({listed(list(aside))}), of "
            f"the newest {_RECENT}: countersign quarantine list",
        )
    checks = found["checks"]
    if checks:
        words = f"{checks['pass']} pass, {checks['fail']} fail, {checks['insufficient']} without enough evidence"
        words += f"; failing: {', '.join(checks['failing'])}" if checks["failing"] else ""
        lines += _row("Checks", words)
    if found["live"]:
        lines.append(f"Closed        {found['last_closed_session']}, the newest session of the exchange")
    lines += ["", "Needs a person" if found["needs_a_person"] else "Nothing needs a person."]
    for need in found["needs_a_person"]:
        lines += textwrap.wrap(need, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    found_alerts = found["alerts"]
    lines += ["", "Alerts that are open" if found_alerts else "No alert is open."]
    for alert in found_alerts:
        subject = alert["id"].partition(":")[0]
        # What is wrong with runs, sensors and requests is of a day, whatever sessions they are on.
        since = f" since session {alert['since']}" if subject in _OF_SESSIONS else f" since {alert['since']} (UTC)"
        if subject == "session":
            # It is known by the newest session of when it opened; since when scores are missing its sentence says.
            since = ""
        text = f"{alert['severity']}{since}: {alert['sentence']} [{alert['id']}]"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def _row(name: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=f"{name:<14}", subsequent_indent=" " * 14, break_on_hyphens=False)
