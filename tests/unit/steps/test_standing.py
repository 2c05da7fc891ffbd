"""A model followed by what came of it: the conditions of its approval, and a candidate in the champion's shadow."""

from __future__ import annotations

import math
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from countersign.gate.conditions import parse_condition
from countersign.gate.rules import due
from countersign.model.measures import qlike_losses
from countersign.monitoring.latency import no_runs
from countersign.steps.gate import gate_state, tend, verify_project
from countersign.steps.metrics import metric_sessions
from countersign.steps.monitoring import outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.standing import CHECK, hold_to_conditions, judged, shadow
from countersign.tables import OUTCOMES, SCORES
from tests.desk import DAY, HOUR, NOON, Desk

BROKEN = "qlike over 10 sessions above 0.000001"
HOLDS = "qlike over 10 sessions above 999"
TOO_LONG = "qlike over 200 sessions above 0.000001"


def score_month(desk: Desk, count: int, now: datetime) -> list[str]:
    """The first ``count`` sessions from the source to their outcomes; their names."""
    project = desk.project
    sessions = project.daily_sessions(NOON)[:count]
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))
    list(feature_sessions(project, sessions))
    list(score_sessions(project, sessions, now))
    list(outcome_sessions(project, sessions))
    return sessions


def approved_with(desk: Desk, *conditions: str) -> str:
    """Candidate 1 in service, approved under ``conditions``; its digest."""
    desk.ask(1)
    desk.decide("approve", "alice", NOON + HOUR, conditions=[parse_condition(text) for text in conditions])
    return desk.deploy(NOON + 2 * HOUR)


def status(desk: Desk, *sessions: str) -> list[str]:
    """What the check of the conditions says of each of ``sessions``."""
    return [check.status for check in hold_to_conditions(desk.project, sessions, NOON + DAY)]


def test_a_condition_is_judged_by_what_came_of_this_models_own_forecasts(desk: Desk) -> None:
    first = desk.scoring()
    model = approved_with(desk, BROKEN, HOLDS, TOO_LONG)
    assert model != first
    *_, last = score_month(desk, 20, NOON + 3 * HOUR)
    champion = desk.state.champion
    assert champion is not None
    broken, holds, unknown = judged(desk.project, [last], champion)[last]
    assert [broken.status, holds.status, unknown.status] == ["broken", "holds", "insufficient"]
    days = desk.project.calendar.lookback(last, 10)
    tables = [desk.project.store.read_table("outcomes", day, OUTCOMES).frame for day in days]
    losses = [
        qlike_losses(t["came_volatility"].to_numpy() ** 2, t["volatility_forecast"].to_numpy() ** 2) for t in tables
    ]
    assert broken.value == pytest.approx(float(np.concatenate(losses).mean()), rel=1e-6)
    assert broken.rows == 40


def test_a_broken_condition_brings_the_earlier_model_back_by_itself_and_the_journal_says_so(desk: Desk) -> None:
    first = desk.scoring()
    approved_with(desk, BROKEN)
    score_month(desk, 20, NOON + 3 * HOUR)
    assert [word.split(": ")[1] for word in tend(desk.project, NOON + DAY)] == ["condition_broken"]
    assert tend(desk.project, NOON + DAY) == [], "once"
    assert desk.deploy(NOON + DAY + HOUR) == first
    assert desk.events[-2:] == ["condition_broken", "deployed"]
    assert desk.state.deployments[-1].why == "a condition of the approval is broken"
    assert tend(desk.project, NOON + 2 * DAY) == [], "the model that is back has no such condition"


def test_a_break_that_a_later_session_of_the_same_run_has_recovered_from_still_brings_the_earlier_model_back(
    desk: Desk,
) -> None:
    """Nothing ran for weeks; then all sessions run in one range, and only the newest is there to be looked at."""
    first, bound = desk.scoring(), 0.6
    approved_with(desk, f"qlike over 10 sessions above {bound}")
    sessions = score_month(desk, 26, NOON + 3 * HOUR)
    matured = sessions[5:]
    tables = [desk.project.store.read_table("outcomes", day, OUTCOMES).frame for day in matured]
    losses = [
        float(qlike_losses(t["came_volatility"].to_numpy() ** 2, t["volatility_forecast"].to_numpy() ** 2).mean())
        for t in tables
    ]
    rolled = {matured[end]: np.mean(losses[end - 9 : end + 1]) for end in range(9, len(matured))}
    over = [session for session, loss in rolled.items() if loss > bound]
    assert over
    assert over[-1] != sessions[-1], "the newest one has recovered"
    assert tend(desk.project, NOON + 4 * HOUR) == [], "the newest one alone tells nothing"

    made = list(metric_sessions(desk.project, sessions, no_runs, NOON + 5 * HOUR))
    failed = [one.session for one in made for check in one.checks if (check.name, check.status) == (CHECK, "fail")]
    assert failed == over
    line = desk.project.journal.read()[-1]
    assert (line["event"], line["session"]) == ("condition_broken", over[0])
    assert line["value"] == pytest.approx(rolled[over[0]], rel=1e-6)
    status(desk, *sessions)
    assert desk.events.count("condition_broken") == 1, "once, however often it is looked at"
    assert desk.deploy(NOON + DAY) == first
    assert verify_project(desk.project)[1:] == ([], [])


def test_a_condition_that_cannot_be_judged_is_no_pass_and_brings_nothing_back(desk: Desk) -> None:
    approved_with(desk, TOO_LONG)
    *_, last = score_month(desk, 20, NOON + 3 * HOUR)
    assert status(desk, last) == ["insufficient"]
    assert tend(desk.project, NOON + DAY) == []
    assert not due(gate_state(desk.project), NOON + DAY, "stop")


def test_what_another_model_said_breaks_no_condition(desk: Desk) -> None:
    *_, last = score_month(desk, 20, NOON - HOUR)
    approved_with(desk, BROKEN)
    assert status(desk, last) == ["insufficient"]


def test_an_approval_without_conditions_has_none_to_break(desk: Desk) -> None:
    assert status(desk, "2008-09-02") == ["pass"]


def test_a_candidate_that_waits_runs_in_the_shadow_and_decides_nothing(desk: Desk, tmp_path: Path) -> None:
    alone = Desk(Path(shutil.copytree(desk.home, tmp_path / "alone")), desk.keys)
    request = desk.ask(1)
    assert shadow(desk.project, request, NOON) is None
    sessions = score_month(desk, 12, NOON + HOUR)
    score_month(alone, 12, NOON + HOUR)
    for session in sessions:
        said, without = (d.project.store.digest("scores", session) for d in (desk, alone))
        assert said == without, "the champion's scores are those that it would give alone"
    found = shadow(desk.project, request, NOON)
    assert found is not None
    assert (found.sessions, found.first, found.last, found.rows) == (12, sessions[0], sessions[-1], 48)
    # The candidate is the champion but for what is told of its training.
    assert found.decided_alike == 1
    assert found.candidate_qlike == found.champion_qlike
    assert found.matured_rows == 28, "seven sessions have matured"
    assert math.isfinite(found.candidate_brier)


def test_once_it_is_decided_there_is_no_shadow(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("reject", "alice", NOON + HOUR, reason="no")
    score_month(desk, 2, NOON + 2 * HOUR)
    assert not desk.project.store.has("shadow", desk.project.first_session)


def test_a_damaged_candidate_casts_no_shadow_and_the_champion_scores(desk: Desk) -> None:
    request = desk.ask(1)
    path = desk.home / "artifacts" / "models" / request.candidate / "model.json"
    path.write_bytes(path.read_bytes()[:-30])
    (session,) = score_month(desk, 1, NOON + HOUR)
    assert len(desk.project.store.read_table("scores", session, SCORES).frame) == 4
    assert not desk.project.store.has("shadow", session)


def test_a_deployed_model_is_stamped_on_its_scores_with_the_decision(desk: Desk) -> None:
    approved_with(desk)
    (session,) = score_month(desk, 1, NOON + 3 * HOUR)
    inputs = desk.project.store.read_table("scores", session, SCORES).stored.inputs
    champion = desk.state.champion
    assert champion is not None
    assert (inputs["model"], inputs["decision"]) == (champion.model, champion.decision)
    signed = {line["sha256"]: line["signer"] for line in desk.project.journal.read() if line["event"] == "signed"}
    assert signed[inputs["decision"]] == "alice@example.com"


def test_a_damaged_shadow_is_left_out_and_keeps_nobody_from_looking(desk: Desk) -> None:
    request = desk.ask(1)
    first, second, *_ = score_month(desk, 3, NOON + HOUR)
    path = desk.home / "artifacts" / "sessions" / first / "shadow.json"
    path.write_bytes(path.read_bytes()[:-20])
    found = shadow(desk.project, request, NOON)
    assert found is not None
    assert (found.first, found.sessions) == (second, 2)


def test_scores_that_were_made_again_by_another_model_are_no_champions(desk: Desk) -> None:
    request = desk.ask(1)
    score_month(desk, 3, NOON + HOUR)
    desk.decide("approve", "alice", NOON + 2 * HOUR)
    desk.deploy(NOON + 3 * HOUR)
    score_month(desk, 3, NOON + 4 * HOUR)
    assert shadow(desk.project, request, NOON) is None
