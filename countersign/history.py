"""History: which model scored a date, who approved it and on what evidence; and the journal told as a table.

Belongs here: what ``countersign history`` answers, from the journal, the prediction log and the scores alone. Does not
belong here: whether the record is sound (``gate.audit``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from countersign.errors import SessionError
from countersign.gate.state import BOOTSTRAP, Deployment, Line, State, state_of
from countersign.prices.quarantine import EVENT
from countersign.project import Project
from countersign.steps.gate import evidence_path
from countersign.tables import SCORES

_WORDS: Final = 70
"""Characters of the last column of a table that is to be short."""


def life(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Each line of the journal, in order: number, time, event, what it is on, who, and why."""
    return [
        {
            "line": number,
            "at": line["at"],
            "event": line["event"],
            "on": line.get("request") or line.get("session") or (line.get("model") or "")[:12],
            "by": line.get("signer") or line.get("asked_by") or line.get("by") or "",
            "what": _WHAT.get(line["event"], _other)(line),
            "sha256": line["sha256"],
        }
        for number, line in enumerate(lines, start=1)
    ]


def life_text(found: Sequence[Mapping[str, Any]], *, short: bool = False) -> str:
    """``life`` as a table, a line a row; where it is to be ``short``, for a screen, long words are cut."""
    if not found:
        return "The journal is empty: no model was ever in service."
    widths = {name: max(len(str(one[name])) for one in found) for name in ("event", "on", "by")}
    rows = []
    for one in found:
        what = " ".join(one["what"].split())
        what = textwrap.shorten(what, _WORDS, placeholder=" …") if short else what
        cells = "  ".join(f"{one[name]:<{width}}" for name, width in widths.items())
        rows.append(f"{one['line']:>4}  {one['at'][:16].replace('T', ' ')}  {cells}  {what}".rstrip())
    return "\n".join(rows)


def _other(line: Line) -> str:
    del line
    return ""


_WHAT: Final[dict[str, Callable[[Line], str]]] = {
    EVENT: lambda line: f"{line['symbol']} ({line['rule']}): {line['reason']}",
    "schema_accepted": lambda line: "; ".join([line["reason"], *line.get("changed", [])]),
    "deployed": lambda line: (
        f"{line['model'][:12]}: "
        + ("the first model, without a signature" if line["decision"] == BOOTSTRAP else line["why"])
    ),
    "retrain_requested": lambda line: f"{line['cause']}: {line['reason']}",
    "retrain_blocked": lambda line: line["reason"],
    "sign_off_requested": lambda line: f"{line['model'][:12]} asks to replace {(line['champion'] or 'none')[:12]}",
    "signed": lambda line: (
        line["decision"]
        + (", break-glass" if line["break_glass"] else "")
        + (f": {line['reason']}" if line["reason"] else "")
    ),
    "superseded": lambda line: f"by {line['successor']}",
    "condition_broken": lambda line: line["sentence"],
    "refused": lambda line: f"{line['what']}: {line['cause']}",
}


def session_history(project: Project, session: str) -> dict[str, Any]:
    """Who answers for the scores of ``session``: as they were said first, and as they are now where that differs.

    Raises ``SessionError`` where it was never scored; as reading does where a record is damaged.
    """
    state = state_of(project.journal.read())
    said = project.predictions.first(session)
    latest: dict[str, Any] | None = None
    if project.store.has("scores", session):
        stored = project.store.read_table("scores", session, SCORES, ("symbol",)).stored
        latest = {
            "scores": stored.sha256,
            **_model(state, stored.inputs["model"], decision=stored.inputs.get("decision")),
        }
    if said is None and latest is None:
        raise SessionError(
            f"expected a session that was scored, found no score of {session}. Run it first: countersign run --session "
            f"{session}"
        )
    first = None
    if said:
        # The scores name the decision; where they were made again since, the time has to tell.
        same = latest if latest and latest["scores"] == said.scores else _model(state, said.model, at=said.at)
        first = {**same, "scores": said.scores, "at": said.at.isoformat()}
    return {"session": session, "first": first, "latest": latest}


def _model(state: State, model: str, *, at: datetime | None = None, decision: str | None = None) -> dict[str, Any]:
    """The deployment by which ``model`` was in service ``at`` that time, or by ``decision``, and what led to it."""
    found = [
        d
        for d in state.deployments
        if d.model == model and (at is None or d.at <= at) and (decision is None or d.decision == decision)
    ]
    if not found:
        return {"model": model, "deployed": None}
    deployment = found[-1]
    return {"model": model, "deployed": _deployed(state, deployment)}


def _deployed(state: State, deployment: Deployment) -> dict[str, Any]:
    # A model that came back rests on the last approval before.
    name = state.origin(deployment).request
    request = state.request(name) if name else None
    retrain = next((one for one in state.retrains if request and one.id == request.retrain), None)
    return {
        "at": deployment.at.isoformat(),
        "decision": deployment.decision,
        "why": deployment.why or "the first model, without a signature",
        "request": request.id if request else None,
        "asked_because": retrain.reason if retrain else None,
        "evidence": evidence_path(request) + ".json" if request else None,
        "conditions": list(deployment.conditions),
        "approved_by": [
            {"signer": one.signer, "key": one.key, "at": one.at.isoformat(), "break_glass": one.break_glass}
            for one in (request.approvals if request else ())
        ],
        "ratified_by": request.ratified_by if request else None,
    }


def session_text(found: Mapping[str, Any]) -> str:
    """``session_history`` in words."""
    first, latest = found["first"], found["latest"]
    lines = [f"Session       {found['session']}"]
    if first:
        lines += [f"Said first    {_minute(first['at'])}, scores {first['scores'][:12]}", *_model_text(first)]
    if latest and (first is None or latest["scores"] != first["scores"]):
        lines += [f"As they are   scores {latest['scores'][:12]}", *_model_text(latest)]
    return "\n".join(lines)


def _model_text(one: Mapping[str, Any]) -> list[str]:
    deployed = one["deployed"]
    lines = [f"  by model    {one['model']}"]
    if deployed is None:
        return [*lines, "  deployed    never, says the journal: see countersign verify"]
    lines.append(f"  deployed    {_minute(deployed['at'])}: {deployed['why']}")
    for approval in deployed["approved_by"]:
        extra = ", break-glass" if approval["break_glass"] else ""
        lines.append(f"  approved    {_minute(approval['at'])} by {approval['signer']} ({approval['key']}){extra}")
    if deployed["ratified_by"]:
        lines.append(f"  ratified    by {deployed['ratified_by']}")
    lines += [f"  unless      {condition}" for condition in deployed["conditions"]]
    if deployed["asked_because"]:
        lines.append(f"  retrained   because {deployed['asked_because']}")
    if deployed["evidence"]:
        lines.append(f"  evidence    {deployed['evidence']}")
    return lines


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"
