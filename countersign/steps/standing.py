"""Steps that follow a model by what came of it: the conditions of an approval, and a candidate in the shadow.

Belongs here: reading what one model said and what came of it. Does not belong here: what a condition means
(``gate.bounds``), what follows from a broken one (``gate.rules``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

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

if TYPE_CHECKING:
    import pandas as pd

CHECK: Final = "conditions"
"""The check that says whether the conditions of the approval hold."""


def judged(project: Project, sessions: Sequence[str], deployment: Deployment) -> dict[str, list[Judged]]:
    """Each condition of ``deployment``'s approval, seen from each of ``sessions``, by what came of this model's own
    forecasts. Each outcome is read once, however many sessions look back at it.

    Raises ``ArtifactError`` where an outcome that is looked back at is damaged, ``JournalError`` where the prediction
    log is.
    """
    conditions = [parse_condition(text) for text in deployment.conditions]
    if not conditions:
        return {session: [] for session in sessions}
    longest = max(condition.sessions for condition in conditions)
    behind = {session: project.calendar.lookback(session, longest + 1) for session in sessions}
    came = _came(project, sorted({day for days in behind.values() for day in days}), deployment)
    thresholds, _ = load_thresholds(project.home)
    found = {}
    for session, days in behind.items():
        seen = _outcomes([came[day] for day in days if day in came])
        found[session] = [
            judge(condition, seen, min_rows=thresholds.business.min_rows, min_each=thresholds.model.min_each)
            for condition in conditions
        ]
    return found


def _came(project: Project, days: Sequence[str], deployment: Deployment) -> dict[str, pd.DataFrame]:
    """The outcomes of those of ``days`` whose forecasts the model gave in this time in service.

    What it said in an earlier one was judged then.
    """
    scored = {
        day: project.calendar.at(day, -HORIZON)
        for day in days
        if day >= project.first_session and project.store.has("outcomes", day)
    }
    said = project.predictions.firsts(day for day in scored.values() if day >= project.first_session)
    own = {day for day, one in said.items() if one.model == deployment.model and one.at >= deployment.at}
    return {
        day: project.store.read_table("outcomes", day, OUTCOMES).frame
        for day, before in scored.items()
        if before in own
    }


def hold_to_conditions(project: Project, sessions: Sequence[str], now: datetime) -> list[CheckResult]:
    """Whether the conditions of the champion's approval hold, seen from each of ``sessions``; insufficient evidence is
    no pass. The first break goes on record in the journal, even where a later session has recovered.

    Every session is judged in its own run, before its metrics are stored: one that was not judged is not done, and is
    run again. So nothing has to be remembered of those that held.
    """
    champion = state_of(project.journal.read()).champion
    if champion is None or not champion.conditions:
        sentence = "the approval of the model in service carries no condition"
        return [CheckResult(CHECK, "pass", sentence, numbers={"conditions": 0}, layer="model") for _ in sessions]
    found = judged(project, sessions, champion)
    event = _first_broken(champion, found)

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        state = state_of(lines)
        # Another process may have judged, or deployed, since.
        is_news = event and state.champion == champion and champion.line not in state.broken
        return [event] if event and is_news else []

    if decide(project.journal.read()):
        project.journal.extend(decide, now)
    return [_conditions_check(found[session]) for session in sessions]


def _conditions_check(found: Sequence[Judged]) -> CheckResult:
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
    """A line for the journal where a condition of the champion's approval is broken as of the newest session.

    Its own run says so too, and of every session before it; this one asks no run.
    """
    champion = state.champion
    if champion is None or not champion.conditions or champion.line in state.broken:
        return None
    session = next((s for s in reversed(project.daily_sessions(now)) if project.store.has("outcomes", s)), None)
    if session is None:
        return None
    return _first_broken(champion, judged(project, [session], champion))


def _first_broken(champion: Deployment, found: Mapping[str, Sequence[Judged]]) -> Event | None:
    """The line for the journal on the first session of ``found`` in which a condition is broken."""
    for session, each in sorted(found.items()):
        for one in each:
            if one.status == "broken":
                return "condition_broken", {
                    "deployment": champion.line,
                    "model": champion.model,
                    "condition": str(one.condition),
                    "session": session,
                    "value": one.value,
                    "sentence": one.sentence,
                }
    return None


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
    import pandas as pd

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
