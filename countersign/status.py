"""Status: where a project stands, from its artifacts and journal alone.

Belongs here: what ``countersign status`` answers. Does not belong here: Dagster's runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from countersign.errors import CountersignError
from countersign.model.registry import BOOTSTRAP, load_champion
from countersign.project import Project
from countersign.storage.journal import champion
from countersign.tables import SCORES


def project_status(project: Project, now: datetime) -> dict[str, Any]:
    """The champion, the last session in the store and the last one that closed, and what needs a person."""
    needs: list[str] = []
    current = champion(project.journal.read())
    model: dict[str, Any] | None = None
    if current:
        model = {"sha256": current.sha256, "deployed_at": current.deployed_at, "decision": current.decision}
        try:
            model["training"] = {
                key: load_champion(project.store, project.journal).document["training"][key]
                for key in ("first_session", "last_session", "rows", "code_version")
            }
        except CountersignError as error:
            needs.append(str(error))
        if current.decision == BOOTSTRAP:
            needs.append("The model in service was deployed as the first one, without a signature.")
    else:
        needs.append("No model is in service. Make one: dagster job execute -m definitions -j bootstrap_job")
    scored = [s for s in project.store.partitions() if project.store.has("report", s, "txt")]
    last: dict[str, Any] | None = None
    if scored:
        try:
            table = project.store.read_table("scores", scored[-1], SCORES, ("decision",)).frame
            held = int((table["decision"] == "hold").sum())
            last = {"session": scored[-1], "symbols": len(table), "held": held}
        except CountersignError as error:
            needs.append(str(error))
    closed = project.calendar.last_closed(now)
    if project.config.source.live and closed and (not scored or scored[-1] < closed):
        needs.append(f"Session {closed} has closed and has no report. Run it: make run SESSION={closed}")
    return {
        "home": str(project.home),
        "artifacts": project.store.root,
        "model": model,
        "sessions": len(scored),
        "last_session": last,
        "last_closed_session": closed,
        "needs_a_person": needs,
    }


def status_text(found: dict[str, Any]) -> str:
    """``project_status`` in words."""
    model, last = found["model"], found["last_session"]
    lines = [f"Project       {found['home']}", f"Artifacts     {found['artifacts']}"]
    if model:
        lines.append(
            f"Model         {model['sha256'][:12]}, in service since {model['deployed_at']} ({model['decision']})"
        )
    else:
        lines.append("Model         none in service")
    if model and "training" in model:
        training = model["training"]
        lines.append(
            f"              trained on {training['first_session']} … {training['last_session']}, "
            f"{training['rows']} rows, by {training['code_version']}"
        )
    lines.append(f"Sessions      {found['sessions']} with a report")
    if last:
        lines.append(f"Last session  {last['session']}: {last['symbols']} symbols scored, {last['held']} held")
    lines.append("")
    lines.append("Needs a person" if found["needs_a_person"] else "Nothing needs a person.")
    lines += [f"  - {line}" for line in found["needs_a_person"]]
    return "\n".join(lines)
