"""Steps of a retrain: one for each breach, what comes of it, and what asks for no signature."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from countersign.checks import CheckResult
from countersign.errors import ArtifactError, GateError
from countersign.model.registry import read_model
from countersign.monitoring.latency import no_runs
from countersign.project import open_project
from countersign.steps import retrain as steps
from countersign.steps.gate import read_evidence, verify_project
from countersign.steps.metrics import metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.retrain import (
    AUTOMATIC_CHECKS,
    ask_as_person,
    ask_for_retrain,
    breaches,
    make_candidate,
    request_sign_off,
)
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.tables import DRIFT, METRICS
from tests.desk import ASKER, DAY, HOUR, NOON, Desk, policy

SESSION = "2008-09-02"
LATER = NOON + HOUR


@pytest.fixture(scope="module")
def first_measured(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A project whose first session is scored and measured. Read only."""
    desk = first_desk.copy(tmp_path_factory.mktemp("measured") / "home")
    desk.know(SESSION)
    project = desk.project
    list(feature_sessions(project, [SESSION]))
    list(score_sessions(project, [SESSION], NOON))
    list(outcome_sessions(project, [SESSION]))
    list(drift_sessions(project, [SESSION]))
    list(metric_sessions(project, [SESSION], no_runs, NOON))
    return desk


@pytest.fixture
def measured(first_measured: Desk, tmp_path: Path) -> Desk:
    return first_measured.copy(tmp_path / "home")


def find(desk: Desk, table: str, **failing: str) -> None:
    """Have monitoring find what it did not: rows of ``table`` whose column has that value fail."""
    store, columns = desk.project.store, {"drift": DRIFT, "metrics": METRICS}[table]
    found = store.read_table(table, SESSION, columns)
    ((column, value),) = failing.items()
    rows = found.frame[column] == value
    assert rows.any()
    found.frame.loc[rows, "status"] = "fail"
    found.frame.loc[~rows, "status"] = "pass"
    store.write_table(table, SESSION, found.frame, columns, found.stored.inputs)


def drifted(desk: Desk) -> None:
    find(desk, "drift", subject="bad_week_probability")


def test_drift_of_the_newest_session_asks_for_a_retrain_once_however_often_it_is_looked_at(measured: Desk) -> None:
    assert ask_for_retrain(measured.project, LATER).breach is None
    drifted(measured)
    decision = ask_for_retrain(measured.project, LATER)
    assert decision.breach is not None
    assert (decision.breach.cause, decision.breach.last) == ("drift", SESSION)
    for hours in range(5):
        assert ask_for_retrain(measured.project, LATER + hours * HOUR).breach is None
    (retrain,) = measured.state.retrains
    assert (retrain.asked_by, retrain.reason) == (None, decision.reason)


def ask_at(home: Path, now: datetime) -> bool:
    return ask_for_retrain(open_project(home, now.date()), now).breach is not None


def test_two_daemons_ask_once(measured: Desk) -> None:
    drifted(measured)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        asked = list(pool.map(ask_at, [measured.home] * 12, [LATER] * 12))
    assert asked.count(True) == 1
    assert measured.events.count("retrain_requested") == 1


@pytest.mark.parametrize("measure", ["qlike_rise", "volatility_mae_rise"])
def test_a_risen_error_asks_too_and_another_failing_measure_does_not(measured: Desk, measure: str) -> None:
    find(measured, "metrics", measure="schema")
    assert breaches(measured.project, LATER) == (None, None)
    find(measured, "metrics", measure=measure)
    decision = ask_for_retrain(measured.project, LATER)
    assert decision.breach is not None
    assert decision.breach.cause == "error"
    assert decision.breach.event.startswith(f"metrics:{measure}@")


def test_what_was_measured_on_another_model_says_nothing_of_this_one(measured: Desk) -> None:
    drifted(measured)
    measured.ask(1)
    measured.decide("approve", "alice", LATER)
    measured.deploy(LATER)
    assert breaches(measured.project, LATER) == (None, None)


def test_damaged_monitoring_is_an_error_and_no_calm(measured: Desk) -> None:
    path = measured.home / "artifacts" / "sessions" / SESSION / "drift.json"
    path.write_bytes(path.read_bytes().replace(b"drift", b"draft", 3))
    with pytest.raises(ArtifactError, match="drift"):
        ask_for_retrain(measured.project, LATER)
    assert "retrain_requested" not in measured.events


def test_a_retrain_ends_with_a_candidate_its_evidence_and_a_request_that_names_all_three(measured: Desk) -> None:
    drifted(measured)
    asked = ask_for_retrain(measured.project, LATER)
    first = measured.scoring()
    made = make_candidate(measured.project, "", "", LATER)
    request = measured.state.open_request
    assert request is not None
    assert (request.candidate, request.champion) == (made.stored.sha256, first)
    assert request.expires == LATER + 7 * DAY
    assert {check.name for check in made.checks} == set(AUTOMATIC_CHECKS)
    evidence = read_evidence(measured.project, request)
    assert evidence["retrain"]["reason"] == asked.reason
    assert evidence["digests"]["candidate"] == request.candidate
    assert evidence["digests"]["champion"] == first
    assert read_model(measured.project.store, request.candidate).document["training"]["last_session"] >= "2008-08-25"
    assert measured.scoring() == first
    assert measured.state.open_retrain is None
    assert verify_project(measured.project)[1:] == ([], [])


def test_a_retrain_that_failed_is_open_still_and_comes_to_the_same_candidate(
    measured: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = ask_as_person(measured.project, "autumn", ASKER, LATER)

    def fails(point: str) -> None:
        raise OSError(f"no room left at {point}")

    with monkeypatch.context() as patched:
        patched.setattr(steps, "reached", fails)
        with pytest.raises(OSError, match="no room left"):
            make_candidate(measured.project, "", "", LATER)
    assert measured.state.open_retrain == wish
    assert "sign_off_requested" not in measured.events
    made = make_candidate(measured.project, "", "", LATER + DAY)
    assert [request.candidate for request in measured.state.requests] == [made.stored.sha256]
    with pytest.raises(GateError, match="expected someone to have asked for a retrain"):
        make_candidate(measured.project, "", "", LATER + DAY)


def test_nobody_can_take_the_place_of_who_asked_first(measured: Desk) -> None:
    """Else who asked first could sign for what comes of it."""
    ask_as_person(measured.project, "autumn", "alice@example.com", LATER)
    with pytest.raises(GateError, match=r"found the one that alice@example\.com asked for at 2013-03-04 13:00 UTC"):
        ask_as_person(measured.project, "autumn too", "bob@example.com", LATER)
    # Nor does bob's launch serve alice's wish: he would be told nothing, and could sign.
    with pytest.raises(GateError, match=r"expected bob@example\.com to ask while no other wish is open"):
        make_candidate(measured.project, "mine", "bob@example.com", LATER)
    make_candidate(measured.project, "", "", LATER)
    assert measured.state.requests[0].asked_by == "alice@example.com"


@pytest.mark.parametrize(("reason", "by"), [("", "carol"), ("  ", "carol"), ("autumn", ""), ("autumn", " ")])
def test_a_person_gives_a_reason_and_a_name(measured: Desk, reason: str, by: str) -> None:
    with pytest.raises(GateError, match="expected a reason and who asks"):
        ask_as_person(measured.project, reason, by, LATER)
    assert measured.events == ["deployed"]


def test_a_retrain_that_learned_nothing_new_asks_for_no_signature(desk: Desk) -> None:
    made = make_candidate(desk.project, "autumn", ASKER, LATER)
    assert desk.state.requests == ()
    assert made.numbers["outcome"] == (
        "blocked: the retrain made the model that is in service: nothing has been learned since"
    )
    assert desk.state.retrains[0].answer == made.numbers["outcome"]


def test_a_candidate_that_fails_a_check_asks_for_no_signature_and_leaves_the_older_request_open(desk: Desk) -> None:
    older = desk.ask(1)
    bad = CheckResult("calibrated", "fail", "the probabilities are far off", blocking=True, layer="model")
    desk.ask(2, LATER, results=[bad])
    assert desk.state.open_request == older
    assert desk.state.retrains[-1].answer == "blocked: the probabilities are far off"


def test_a_champion_that_changed_while_the_candidate_was_trained_has_it_trained_again(measured: Desk) -> None:
    measured.ask(1)
    measured.decide("approve", "alice", LATER)
    wish = ask_as_person(measured.project, "autumn", ASKER, LATER)
    before = measured.scoring()
    candidate = measured.candidate(2)
    measured.deploy(LATER)
    with pytest.raises(GateError, match="the champion changed while the candidate was trained"):
        request_sign_off(measured.project, wish, candidate, "e" * 64, before, [], LATER)
    assert measured.state.open_retrain == wish
    make_candidate(measured.project, "", "", LATER)
    assert measured.state.requests[-1].champion == measured.candidate(1)


def test_after_the_only_model_was_revoked_a_new_one_can_be_made_and_takes_its_place(measured: Desk) -> None:
    policy(measured.home, on_revoke="rollback")
    first = measured.scoring()
    measured.decide("revoke", "alice", LATER, reason="trained on restated prices")
    made = make_candidate(measured.project, "a sound one", ASKER, LATER)
    assert measured.state.requests[0].champion == first
    measured.decide("approve", "bob", LATER)
    assert measured.deploy(LATER) == made.stored.sha256
    assert verify_project(measured.project)[1:] == ([], [])


def test_a_retrain_does_not_learn_across_a_gap(measured: Desk) -> None:
    measured.know("2008-09-05")
    (measured.home / "artifacts" / "sessions" / SESSION / "prices_clean.json").unlink()
    said = rf"found none of 3 sessions \({SESSION} … 2008-09-04\): countersign run --from {SESSION} --to 2008-09-05"
    with pytest.raises(ArtifactError, match=said):
        make_candidate(measured.project, "autumn", ASKER, LATER)
    assert measured.state.open_retrain is not None, "it is tried again once the session is there"
