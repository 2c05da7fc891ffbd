"""Status: where a project stands, from its artifacts and journal alone.

Belongs here: what ``countersign status`` answers. Does not belong here: Dagster's runs.
"""

from __future__ import annotations

import textwrap
from datetime import datetime
from typing import Any

from countersign.errors import CountersignError
from countersign.gate.state import state_of
from countersign.monitoring.alerts import alerts
from countersign.project import Project
from countersign.report import WIDTH, needs_a_person
from countersign.steps.complete import outdated_sessions
from countersign.steps.gate import standing
from countersign.steps.service import in_service
from countersign.words import counted, listed


def project_status(project: Project, now: datetime) -> dict[str, Any]:
    """The champion, the last session in the store and the last one that closed, and what needs a person."""
    needs: list[str] = []
    state = state_of(project.journal.read())
    current = state.last_deployment
    model: dict[str, Any] | None = None
    if current:
        model = {"sha256": current.model, "deployed_at": current.at.isoformat(), "decision": current.decision}
        try:
            model["training"] = {
                key: in_service(project).document["training"][key]
                for key in ("first_session", "last_session", "rows", "code_version")
            }
            if project.store.digest("model", None, "json") != current.model:
                needs.append("model.json is not the model in service. Restore it: copy it from models/<its digest>/")
        except CountersignError as error:
            needs.append(str(error))
    else:
        needs.append("No model is in service. Make one: dagster job execute -m definitions -j bootstrap_job")
    scored = [s for s in project.store.partitions() if project.store.has("report", s, "txt")]
    last: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    if scored:
        try:
            _, table = project.store.read_columns("scores", scored[-1], ("decision",))
            decisions = table["decision"]
            last = {"session": scored[-1], "symbols": len(decisions), "held": decisions.count("hold")}
            checks = _checks(project, scored[-1])
            needs += needs_a_person(project.store.read_text("report", scored[-1])[0])
        except CountersignError as error:
            needs.append(str(error))
    # What a decision has changed since that report, too.
    needs += [need for need in standing(state).needs if need not in needs]
    lasting = []
    try:
        lasting = [alert for alert in alerts(project.alerts.read()) if alert.ended_at is None]
    except CountersignError as error:
        needs.append(str(error))
    closed = project.calendar.last_closed(now)
    if project.config.source.live and closed and (not scored or scored[-1] < closed):
        needs.append(f"Session {closed} has closed and has no report. Run it: countersign run --session {closed}")
    outdated = outdated_sessions(project)
    if outdated:
        needs.append(
            f"{counted(len(outdated), 'session')} ({listed(outdated)}) made from prices, rules or releases that have "
            f"changed since. Run again: countersign run --from {outdated[0]} --to {outdated[-1]}"
        )
    return {
        "home": str(project.home),
        "artifacts": project.store.root,
        "model": model,
        "sessions": len(scored),
        "last_session": last,
        "checks": checks,
        "last_closed_session": closed,
        "outdated_sessions": outdated,
        "alerts": [
            {"id": a.id, "severity": a.severity, "since": a.first_session, "sentence": a.sentence} for a in lasting
        ],
        "needs_a_person": needs,
    }


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
    else:
        lines.append("Model         none in service")
    if model and "training" in model:
        training = model["training"]
        lines.append(
            f"              trained on {training['first_session']} … {training['last_session']}, "
            f"{training['rows']} rows"
        )
    lines.append(f"Sessions      {found['sessions']} with a report")
    if last:
        lines.append(f"Last session  {last['session']}: {last['symbols']} symbols scored, {last['held']} held")
    checks = found["checks"]
    if checks:
        words = f"{checks['pass']} pass, {checks['fail']} fail, {checks['insufficient']} without enough evidence"
        words += f"; failing: {', '.join(checks['failing'])}" if checks["failing"] else ""
        lines += textwrap.wrap(
            words, WIDTH, initial_indent="Checks        ", subsequent_indent=" " * 14, break_on_hyphens=False
        )
    lines.append(f"Closed        {found['last_closed_session']}, the newest session of the exchange")
    lines += ["", "Needs a person" if found["needs_a_person"] else "Nothing needs a person."]
    for need in found["needs_a_person"]:
        lines += textwrap.wrap(need, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    found_alerts = found["alerts"]
    lines += ["", "Alerts that are open" if found_alerts else "No alert is open."]
    for alert in found_alerts:
        text = f"{alert['severity']} since {alert['since']}: {alert['sentence']} [{alert['id']}]"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)
