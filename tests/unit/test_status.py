"""Status: that it speaks of the models as they stand now, and of dates as what they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from countersign.gate.conditions import parse_condition
from countersign.monitoring.alerts import Verdict
from countersign.status import project_status, status_text
from countersign.steps.alerts import note
from countersign.steps.gate import waiting
from countersign.steps.retrain import ask_as_person, request_sign_off
from tests.desk import ASKER, HOUR, NOON, Desk, policy
from tests.steps import run_sessions

SESSION = "2008-09-02"
LATER = NOON + HOUR


def words(desk: Desk) -> str:
    return " ".join(status_text(project_status(desk.project, LATER)).split())


def row(desk: Desk, name: str) -> str:
    """What stands behind ``name`` in the head of status."""
    text = status_text(project_status(desk.project, LATER))
    return " ".join(text.partition(f"\n{name} ")[2].partition("\n\n")[0].split())


def needs(desk: Desk) -> str:
    found: list[Any] = project_status(desk.project, LATER)["needs_a_person"]
    return "\n".join(found)


def test_once_the_model_is_revoked_the_first_line_on_it_says_that_none_is_in_service(desk: Desk) -> None:
    model = desk.scoring()
    desk.decide("revoke", "bob", LATER, reason="restated prices")
    assert row(desk, "Model").startswith(f"none in service: bob@example.com revoked {model[:12]} Sessions")
    assert "restated prices" in needs(desk)
    assert project_status(desk.project, LATER)["model"] is None


def test_what_a_report_said_of_the_models_is_told_as_it_is_now_from_the_moment_of_a_decision_on(desk: Desk) -> None:
    desk.ask(1)
    run_sessions(desk.project, [SESSION], NOON)
    report = " ".join(desk.project.store.read_text("report", SESSION)[0].split())
    for said in ("deployed as the first one, without a signature", "A new model waits until"):
        assert said in report
        assert needs(desk).count(said) == 1

    desk.decide("approve", "alice", NOON, break_glass=True, reason="losses are running")
    due = "alice@example.com approved r1 by break-glass. sign_off_sensor deploys it, or now: countersign deploy"
    assert due in needs(desk)
    assert "A new model" not in needs(desk), "it waits for nobody"
    desk.deploy(NOON)
    for over in ("without a signature", "A new model", "countersign deploy"):
        assert over not in needs(desk)
    assert needs(desk).count("by break-glass (r1)") == 1

    run_sessions(desk.project, [SESSION], NOON)
    desk.decide("ratify", "bob", NOON)
    assert "break-glass" not in needs(desk)


def test_a_request_waits_for_signatures_until_it_has_them_and_then_for_its_deployment(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    desk.decide("approve", "alice", NOON)
    assert "A new model waits until 2013-03-11, with 1 of 2 signatures" in needs(desk)
    assert "countersign deploy" not in needs(desk)
    desk.decide("approve", "bob", NOON)
    assert "A new model" not in needs(desk)
    assert "alice@example.com, bob@example.com approved r1. sign_off_sensor deploys it" in needs(desk)


def test_a_wish_for_a_retrain_is_told_until_something_comes_of_it(desk: Desk) -> None:
    assert "Retrain" not in words(desk)
    retrain = ask_as_person(desk.project, "autumn", ASKER, NOON)
    assert f"{ASKER} asked for one at 2013-03-04 12:00 UTC (autumn): its candidate is still to come" in words(desk)
    champion = desk.scoring()
    request_sign_off(desk.project, retrain, champion, "e" * 64, champion, (), NOON)
    blocked = "(autumn); it was blocked: the retrain made the model that is in service: nothing has been learned since"
    assert blocked in words(desk)
    desk.ask(1, NOON + timedelta(minutes=1))
    assert "Retrain" not in words(desk)


def test_an_open_wish_for_a_retrain_is_told_whatever_was_deployed_since_and_a_blocked_one_is_over_by_that(
    desk: Desk,
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", NOON)
    retrain = ask_as_person(desk.project, "winter", ASKER, NOON)
    champion = desk.deploy(NOON + timedelta(minutes=1))
    assert "(winter): its candidate is still to come" in words(desk)
    request_sign_off(desk.project, retrain, champion, "e" * 64, champion, (), NOON + timedelta(minutes=2))
    assert "Retrain" not in words(desk)


def test_the_conditions_of_the_approval_in_force_are_told(desk: Desk) -> None:
    assert "Conditions" not in words(desk)
    bounds = ["auc over 20 sessions below 0.65", "bad_rate over 60 sessions above 0.2"]
    desk.ask(1)
    desk.decide("approve", "alice", NOON, conditions=[parse_condition(text) for text in bounds])
    desk.deploy(NOON)
    assert row(desk, "Conditions").startswith(f"leaves service again once {bounds[0]}; or {bounds[1]} Sessions")


def test_an_alert_of_a_session_is_told_apart_from_one_of_a_day(desk: Desk) -> None:
    desk.ask(1)
    low = Verdict("metrics", "auc", "model", "fail", "warning", "2008-10-03", "AUC 0.510 is low")
    gap = "2 sessions (2008-10-02 … 2008-10-03) have no scores"
    unscored = Verdict("session", "unscored", "system", "fail", "error", "2008-10-03", gap)
    note(desk.project, [low, unscored, *waiting(desk.project, LATER)], LATER)
    assert "warning since session 2008-10-03: AUC 0.510 is low [metrics:auc@2008-10-03]" in words(desk)
    assert "warning since 2013-03-04 (UTC): r1 waits since 2013-03-04 12:00 UTC" in words(desk)
    # The first of the gap is not the session that it was found with.
    assert f"- error: {gap} [session:unscored@2008-10-03]" in words(desk)


def test_a_model_below_the_least_auc_needs_a_person_whatever_the_last_report_says(desk: Desk) -> None:
    assert "not known to tell bad weeks" not in needs(desk)
    path = desk.home / "config" / "thresholds.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("min_auc: 0.55", "min_auc: 0.95"), encoding="utf-8")
    assert "not known to tell bad weeks from fine ones: AUC 0." in needs(desk)
