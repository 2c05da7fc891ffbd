"""Steps that follow a model by what came of it: the conditions of an approval, and a candidate in the shadow.

Belongs here: reading what one model said and what came of it. Does not belong here: what a condition means
(``gate.bounds``), what follows from a broken one (``gate.rules``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd

from countersign.checks import CheckResult
from countersign.errors import ArtifactError
from countersign.gate.bounds import Judged, Outcomes, judge
from countersign.gate.conditions import parse_condition
from countersign.gate.state import Deployment, Request, State, state_of
from countersign.model.measures import brier_losses, qlike_losses
from countersign.model.targets import HORIZON
from countersign.project import Project
from countersign.storage.journal import Event
from countersign.tables import OUTCOMES, SCORES, matrices
from countersign.thresholds import load_thresholds

CHECK: Final = "conditions"
"""The check that says whether the conditions of the approval hold."""


def judged(project: Project, session: str, deployment: Deployment) -> list[Judged]:
    """Each condition of ``deployment``'s approval, seen from ``session``, by what came of this model's own forecasts.

    Raises ``ArtifactError`` where an outcome that is looked back at is damaged, ``JournalError`` where the prediction
    log is.
    """
    conditions = [parse_condition(text) for text in deployment.conditions]
    if not conditions:
        return []
    longest = max(condition.sessions for condition in conditions)
    days = [
        day
        for day in project.calendar.lookback(session, longest + 1)
        if day >= project.first_session and project.store.has("outcomes", day)
    ]
    tables = []
    for day in days:
        scored = project.calendar.at(day, -HORIZON)
        said = project.predictions.first(scored) if scored >= project.first_session else None
        # What it said in an earlier time in service was judged then.
        if said and said.model == deployment.model and said.at >= deployment.at:
            tables.append(project.store.read_table("outcomes", day, OUTCOMES).frame)
    thresholds, _ = load_thresholds(project.home)
    seen = _outcomes(tables)
    return [
        judge(condition, seen, min_rows=thresholds.business.min_rows, min_each=thresholds.model.min_each)
        for condition in conditions
    ]


def conditions_check(project: Project, session: str) -> CheckResult:
    """Whether the conditions of the champion's approval hold; insufficient evidence is no pass."""
    champion = state_of(project.journal.read()).champion
    if champion is None or not champion.conditions:
        sentence = "the approval of the model in service carries no condition"
        return CheckResult(CHECK, "pass", sentence, numbers={"conditions": 0}, layer="model")
    found = judged(project, session, champion)
    broken = [one for one in found if one.status == "broken"]
    unsure = [one for one in found if one.status == "insufficient"]
    return CheckResult(
        CHECK,
        "fail" if broken else "insufficient" if unsure else "pass",
        "; ".join(one.sentence for one in (broken or unsure or found)),
        numbers={"conditions": len(found), "broken": len(broken), "insufficient": len(unsure)},
        layer="model",
    )


def broken_condition(project: Project, state: State, now: datetime) -> Event | None:
    """A line for the journal where a condition of the champion's approval is broken as of the newest session."""
    champion = state.champion
    if champion is None or not champion.conditions or champion.line in state.broken:
        return None
    session = next((s for s in reversed(project.daily_sessions(now)) if project.store.has("outcomes", s)), None)
    if session is None:
        return None
    broken = next((one for one in judged(project, session, champion) if one.status == "broken"), None)
    if broken is None:
        return None
    return "condition_broken", {
        "deployment": champion.line,
        "model": champion.model,
        "condition": str(broken.condition),
        "session": session,
        "value": broken.value,
        "sentence": broken.sentence,
    }


@dataclass(frozen=True)
class Shadow:
    """A candidate beside the champion on the sessions that both scored. Losses are NaN where nothing matured."""

    sessions: int
    first: str
    last: str
    rows: int
    decided_alike: float
    matured_rows: int
    candidate_qlike: float
    champion_qlike: float
    candidate_brier: float
    champion_brier: float


def shadow(project: Project, request: Request, now: datetime) -> Shadow | None:
    """What ``request``'s candidate said since it waits, beside the champion; None where it has scored nothing yet.

    A session whose artifacts are damaged is left out.
    """
    both, came = [], []
    for session in project.daily_sessions(now):
        if not project.store.has("shadow", session):
            continue
        try:
            table = project.store.read_table("shadow", session, SCORES)
            scores = project.store.read_table("scores", session, SCORES)
            # Another candidate's, or scores that were made again by another model since, compare nothing.
            if (table.stored.inputs["model"], scores.stored.inputs["model"]) != (request.candidate, request.champion):
                continue
            pair = table.frame.merge(scores.frame, on="symbol", suffixes=("", "_champion")).assign(session=session)
            matured = project.calendar.after(session, HORIZON)
            if matured and project.store.has("outcomes", matured):
                outcomes = project.store.read_table("outcomes", matured, OUTCOMES).frame
                came.append(pair.merge(outcomes[["symbol", "came_volatility", "bad_week"]], on="symbol"))
            both.append(pair)
        except ArtifactError:
            # No signature binds it: a damaged day is left out, and keeps nobody from deciding.
            continue
    if not both:
        return None
    said = pd.concat(both)
    known = pd.concat(came).dropna(subset=["came_volatility", "bad_week"]) if came else said.iloc[:0]

    def losses(suffix: str) -> tuple[float, float]:
        if known.empty:
            return np.nan, np.nan
        column = {name: known[name].to_numpy(dtype=float) for name in ("came_volatility", "bad_week")}
        variance = known[f"volatility_forecast{suffix}"].to_numpy(dtype=float) ** 2
        probability = known[f"bad_week_probability{suffix}"].to_numpy(dtype=float)
        return (
            float(qlike_losses(column["came_volatility"] ** 2, variance).mean()),
            float(brier_losses(column["bad_week"], probability).mean()),
        )

    ours, theirs = losses(""), losses("_champion")
    return Shadow(
        sessions=said["session"].nunique(),
        first=str(said["session"].min()),
        last=str(said["session"].max()),
        rows=len(said),
        decided_alike=float((said["decision"] == said["decision_champion"]).mean()),
        matured_rows=len(known),
        candidate_qlike=ours[0],
        champion_qlike=theirs[0],
        candidate_brier=ours[1],
        champion_brier=theirs[1],
    )


def _outcomes(tables: list[pd.DataFrame]) -> Outcomes:
    names = [field.name for field in fields(Outcomes) if field.name != "approved"]
    approved = [table.assign(approved=(table["decision"] == "approve").astype(float)) for table in tables]
    found = dict(zip([*names, "approved"], matrices(approved, [*names, "approved"]), strict=True))
    return Outcomes(**found)
