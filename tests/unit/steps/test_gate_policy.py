"""The gate against what stands in its journal by hand, is lost from its folder, or was dated by a wrong clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countersign.errors import GateError, ModelError
from countersign.gate.conditions import parse_condition
from countersign.gate.rules import due
from countersign.monitoring.latency import no_runs
from countersign.steps.gate import prepare, put_into_service, ratified, signed_off, submit, verify_project
from countersign.steps.metrics import metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.reports import report_sessions
from countersign.steps.retrain import ask_for_retrain, make_candidate
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.tables import DRIFT
from tests.desk import DAY, HOUR, NOON, Desk, policy

LATER = NOON + HOUR
SESSION = "2008-09-02"


def model_folder(desk: Desk, digest: str) -> Path:
    return desk.home / "artifacts" / "models" / digest


def deployed(desk: Desk, number: int, now: datetime) -> str:
    """Candidate ``number``, asked for, signed by bob and put into service."""
    desk.ask(number, now)
    desk.decide("approve", "bob", now)
    return desk.deploy(now)


# --- what the policy asks for is what the configuration says when it counts, not the request's own line


def test_a_quorum_that_was_raised_while_a_request_waited_counts_for_it(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    policy(desk.home, quorum=2)
    with pytest.raises(GateError, match="1 of 2 signatures are there"):
        put_into_service(desk.project, LATER)
    assert "for 1 of" in signed_off(desk.project, LATER).sentence
    desk.decide("approve", "bob", LATER)
    assert desk.deploy(LATER) == desk.candidate(1)


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        ({"retrain": "0" * 64}, "answers a wish on record"),
        ({"asked_by": None}, "asked for by .*, as its wish was, found monitoring"),
        ({"expires": (NOON + 3650 * DAY).isoformat()}, "open for 90 days at the most"),
    ],
    ids=["no wish", "another asker", "for ten years"],
)
def test_a_request_that_was_written_by_hand_cannot_be_approved_and_verify_finds_it(
    desk: Desk, forged: dict[str, Any], words: str
) -> None:
    first = desk.scoring()
    desk.ask(1)
    journal = desk.project.journal
    line = next(line for line in journal.read() if line["event"] == "sign_off_requested")
    fields = {name: value for name, value in line.items() if name not in ("event", "at", "previous", "sha256")}
    journal.append("sign_off_requested", LATER, **{**fields, "request": "r2", "model": desk.candidate(2), **forged})
    desk.refuses(words, "approve", "alice", LATER, request="r2")
    assert desk.scoring() == first
    _, findings, _ = verify_project(desk.project)
    assert any("r2: expected" in finding.problem for finding in findings)


def test_a_first_model_that_nobody_signed_for_is_not_used_where_the_policy_wants_a_signature(desk: Desk) -> None:
    assert desk.scoring()
    policy(desk.home, bootstrap="manual")
    with pytest.raises(ModelError, match=r"nobody signed for it, and gate\.bootstrap is manual"):
        desk.scoring()
    assert any("nobody signed for it" in problem for problem in verify_project(desk.project)[2])
    # There is a way out: a model that is signed for.
    assert deployed(desk, 1, LATER) == desk.candidate(1)


def test_who_approved_already_can_still_break_the_glass(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.decide("approve", "alice", LATER + HOUR, break_glass=True, reason="nobody else answers")
    assert desk.deploy(LATER + HOUR) == desk.candidate(1)
    assert ratified(desk.project).status == "fail"
    desk.refuses("broke the glass", "ratify", "alice", LATER + HOUR)
    assert verify_project(desk.project)[1:] == ([], [])


# --- a condition that nothing could ever break is none


@pytest.mark.parametrize(
    ("measure", "min_each", "enough"),
    # Rates and errors take 30 rows, of four symbols; what tells bad weeks from fine ones takes so many of each, too.
    [("approval_rate", 10, 8), ("qlike", 16, 8), ("auc", 10, 8), ("auc", 16, 8), ("auc", 17, 9), ("brier", 17, 9)],
)
def test_a_condition_whose_window_has_too_few_rows_is_refused_before_it_is_signed_with_the_sessions_that_are_enough(
    measure: str, min_each: int, enough: int, desk: Desk
) -> None:
    path = desk.home / "config" / "thresholds.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("min_each: 10", f"min_each: {min_each}"), encoding="utf-8")
    desk.ask(1)
    short, long = (parse_condition(f"{measure} over {n} sessions below 0.5") for n in (enough - 1, enough))
    with pytest.raises(GateError, match=f"expected a condition that can be judged.* {enough} sessions are enough"):
        prepare(desk.project, "approve", "alice@example.com", LATER, conditions=[long, short])
    assert prepare(desk.project, "approve", "alice@example.com", LATER, conditions=[long]).conditions == (long,)


# --- what is lost keeps nothing else from coming


def test_a_rollback_to_a_model_that_was_lost_since_does_not_hold_up_an_approved_one(desk: Desk) -> None:
    first = desk.scoring()
    deployed(desk, 1, LATER)
    desk.ask(2, LATER)
    desk.decide("rollback", "alice", LATER, reason="holds too much", model=first)
    lost = (model_folder(desk, first) / "model.json").rename(desk.home / "lost.json")
    with pytest.raises(ModelError, match=r"found none\. Restore it from a backup"):
        put_into_service(desk.project, LATER)
    desk.decide("approve", "bob", LATER)
    third = desk.deploy(LATER)
    lost.rename(model_folder(desk, first) / "model.json")
    assert third == desk.candidate(2)
    assert verify_project(desk.project)[1:] == ([], [])


def test_a_model_to_fall_back_on_that_was_lost_does_not_hold_up_an_approved_one(desk: Desk) -> None:
    policy(desk.home, on_revoke="rollback")
    first = desk.scoring()
    second = deployed(desk, 1, LATER)
    desk.ask(2, LATER)
    assert desk.state.last_model == second
    (model_folder(desk, first) / "model.json").unlink()
    desk.decide("revoke", "alice", LATER, reason="trained on wrong bars")
    with pytest.raises(ModelError, match=f"expected the model {first[:12]} at"):
        put_into_service(desk.project, LATER)
    desk.decide("approve", "bob", LATER)
    assert desk.deploy(LATER) == desk.state.requests[-1].candidate
    assert not due(desk.state, LATER, "rollback")


def test_a_line_that_calls_a_condition_broken_and_proves_nothing_neither_deploys_nor_holds_up_an_approved_one(
    desk: Desk,
) -> None:
    condition = parse_condition("auc over 20 sessions below 0.65")
    desk.ask(1)
    desk.decide("approve", "bob", LATER, conditions=[condition])
    second = desk.deploy(LATER)
    last = desk.state.last_deployment
    assert last is not None
    desk.project.journal.append(
        "condition_broken",
        LATER,
        deployment=last.line,
        model=second,
        condition=str(condition),
        session=SESSION,
        value=0.1,
        sentence="auc is 0.1",
    )
    with pytest.raises(GateError, match="expected stored outcomes to break the condition"):
        put_into_service(desk.project, LATER)
    assert desk.scoring() == second
    assert any("the line was forged" in problem for problem in verify_project(desk.project)[2])
    assert deployed(desk, 2, LATER) == desk.candidate(2)


def test_evidence_that_is_no_longer_what_was_decided_on_is_found_by_verify(desk: Desk) -> None:
    request = desk.ask(1)
    desk.decide("reject", "alice", LATER, reason="worse")
    assert verify_project(desk.project)[1:] == ([], [])
    path = model_folder(desk, request.candidate) / "evidence" / request.evidence / "evidence.json"
    path.write_bytes(path.read_bytes().replace(b"better", b"bitter"))
    (problem,) = verify_project(desk.project)[2]
    assert problem.startswith("the evidence that r1 was decided on: ")


# --- clocks


def test_a_line_that_a_wrong_clock_dated_ahead_keeps_nobody_from_deciding_and_verify_tells_of_it_once(
    desk: Desk,
) -> None:
    desk.ask(1)
    with pytest.raises(GateError):
        submit(desk.project, "no statement", "no signature", NOON + 3650 * DAY)
    desk.decide("approve", "alice", LATER)
    assert desk.deploy(LATER) == desk.candidate(1)
    (finding,) = verify_project(desk.project)[1]
    assert "or a clock was wrong" in finding.problem


def test_a_decision_that_was_dated_back_behind_a_line_of_its_own_time_is_found(desk: Desk) -> None:
    """As somebody would whose key was ended, and who can write to the journal."""
    desk.ask(1)
    before = NOON - 30 * DAY
    desk.project.journal.append("refused", before, what="sign", cause="nothing", statement=None)
    desk.decide("approve", "alice", before + timedelta(minutes=1))
    numbers = [finding.event for finding in verify_project(desk.project)[1]]
    assert numbers[0] == "refused", "the line that hides it is itself out of order"


# --- a champion that learned from a session


@pytest.fixture
def measured(desk: Desk) -> Desk:
    """Its first session is scored and measured by the first model."""
    desk.know(SESSION)
    run(desk, NOON)
    return desk


def run(desk: Desk, now: datetime) -> None:
    project = desk.project
    list(feature_sessions(project, [SESSION]))
    list(score_sessions(project, [SESSION], now))
    list(outcome_sessions(project, [SESSION]))
    list(drift_sessions(project, [SESSION]))
    list(metric_sessions(project, [SESSION], no_runs, now))


def test_a_session_that_the_champion_learned_from_is_scored_again_by_the_model_before_it(measured: Desk) -> None:
    first = measured.scoring()
    scores = measured.home / "artifacts" / "sessions" / SESSION / "scores.json"
    said = scores.read_bytes()
    make_candidate(measured.project, "autumn", "carol@example.com", LATER)
    measured.decide("approve", "alice", LATER)
    assert measured.deploy(LATER) != first
    run(measured, LATER + HOUR)
    assert scores.read_bytes() == said, "scored by the first model, and by the decision that it stood on"
    (made,) = report_sessions(measured.project, [SESSION])
    assert f"These scores were made by {first[:12]}, in service at the time." in " ".join(
        Path(made.stored.location).read_text(encoding="utf-8").split()
    )


def test_drift_of_a_later_model_asks_for_a_retrain_though_the_alert_on_it_never_ended(measured: Desk) -> None:
    def drifted() -> None:
        store, model = measured.project.store, measured.scoring()
        table = store.read_table("drift", SESSION, DRIFT)
        table.frame.loc[0, "status"] = "fail"
        inputs = {**table.stored.inputs, "model": model}
        store.write_table("drift", SESSION, table.frame, DRIFT, inputs)

    drifted()
    assert ask_for_retrain(measured.project, LATER).breach is not None
    make_candidate(measured.project, "", "", LATER)
    measured.decide("approve", "alice", LATER)
    measured.deploy(LATER)
    assert ask_for_retrain(measured.project, LATER).breach is None, "what was measured was the first model"
    drifted()
    later = LATER + 31 * DAY
    assert ask_for_retrain(measured.project, later).breach is not None
    assert len(measured.state.retrains) == 2


def test_after_the_only_model_was_revoked_a_retrain_is_the_way_to_another_and_the_message_says_so(desk: Desk) -> None:
    desk.decide("revoke", "alice", LATER, reason="trained on wrong bars")
    with pytest.raises(ModelError, match="No earlier one can come back; have a new one signed: countersign retrain"):
        desk.scoring()
    desk.know(SESSION)
    made = make_candidate(desk.project, "the first was revoked", "carol@example.com", LATER)
    desk.decide("approve", "bob", LATER)
    assert desk.deploy(LATER) == made.stored.sha256
