"""Steps of the gate on real files with real signatures: what is refused, what comes into service, what time brings."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from countersign.errors import ArtifactError, CountersignError, GateError, ModelError
from countersign.gate.conditions import parse_condition
from countersign.gate.rules import due
from countersign.gate.signature import sign
from countersign.gate.signers import add_signer, init_key
from countersign.gate.statement import parse
from countersign.history import session_history
from countersign.project import open_project
from countersign.status import project_status
from countersign.steps import gate as steps
from countersign.steps.gate import (
    prepare,
    put_into_service,
    ratified,
    signed_off,
    standing,
    submit,
    tend,
    verify_project,
    waiting,
)
from countersign.steps.model import model_in_service, train_first_model
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.service import in_service
from tests.desk import DAY, HOUR, NOON, Desk, configure, let_sign, policy

LATER = NOON + HOUR


def model_file(desk: Desk, digest: str) -> Path:
    return desk.home / "artifacts" / "models" / digest / "model.json"


def sound(desk: Desk) -> None:
    """That the whole history and the model in service are as they should be."""
    _, findings, problems = verify_project(desk.project)
    assert (findings, problems) == ([], [])


# --- a decision, and what it does


def test_nothing_but_a_signature_puts_a_candidate_into_service_and_it_does_so_once(desk: Desk) -> None:
    first = desk.scoring()
    request = desk.ask(1)
    with pytest.raises(GateError, match="r1 waits for a decision: 0 of 1 signatures are there"):
        put_into_service(desk.project, LATER)
    assert desk.scoring() == first
    line = desk.decide("approve", "alice", LATER)
    assert desk.scoring() == first, "a decision deploys nothing by itself"
    assert desk.deploy(LATER) == request.candidate
    assert desk.state.deployments[-1].decision == line["sha256"]
    with pytest.raises(GateError, match="no open request; the last one, r1, was deployed"):
        put_into_service(desk.project, LATER)
    assert desk.events.count("deployed") == 2, "the first model's and this one"
    assert model_file(desk, request.candidate).read_bytes() == (desk.home / "artifacts/model.json").read_bytes()
    sound(desk)


def one_byte(path: Path, other: Path) -> None:
    del other
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_link(path: Path, other: Path) -> None:
    """To the very same bytes, which could be exchanged at any time."""
    del other
    path.rename(path.with_name("elsewhere.json"))
    path.symlink_to("elsewhere.json")


def a_linked_folder(path: Path, other: Path) -> None:
    del other
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


def another_model(path: Path, other: Path) -> None:
    shutil.copy(other, path)


TAMPERING = [one_byte, a_link, a_linked_folder, another_model, lambda path, other: path.unlink()]


@pytest.mark.parametrize("tamper", TAMPERING)
def test_bytes_that_were_changed_after_the_approval_are_refused_and_the_champion_stays(
    desk: Desk, tamper: Callable[[Path, Path], None]
) -> None:
    first = desk.scoring()
    request = desk.ask(1)
    desk.decide("approve", "alice", LATER)
    tamper(model_file(desk, request.candidate), model_file(desk, first))
    with pytest.raises((ArtifactError, ModelError)) as refusal:
        put_into_service(desk.project, LATER)
    assert desk.scoring() == first
    assert desk.refusals() == [str(refusal.value)[:500]]
    assert desk.state.open_request is not None, "restored from a backup, it could still be deployed"


@pytest.mark.parametrize("tamper", TAMPERING)
def test_bytes_that_are_exchanged_between_the_check_and_the_use_are_refused(
    desk: Desk, tamper: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = desk.scoring()
    request = desk.ask(1)
    desk.decide("approve", "alice", LATER)

    def reached(point: str) -> None:
        if point == "deploy: verified":
            tamper(model_file(desk, request.candidate), model_file(desk, first))

    monkeypatch.setattr(steps, "reached", reached)
    with pytest.raises((ArtifactError, ModelError)):
        put_into_service(desk.project, LATER)
    assert desk.scoring() == first
    assert desk.events[-1] == "refused"


@pytest.mark.parametrize("tamper", TAMPERING)
def test_a_model_in_service_whose_bytes_were_changed_scores_nothing(
    desk: Desk, tamper: Callable[[Path, Path], None]
) -> None:
    first = desk.scoring()
    request = desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    tamper(model_file(desk, request.candidate), model_file(desk, first))
    with pytest.raises((ArtifactError, ModelError)):
        desk.scoring()
    assert verify_project(desk.project)[2] is not None


def test_a_candidate_or_evidence_that_was_changed_before_the_approval_cannot_be_approved(desk: Desk) -> None:
    request = desk.ask(1)
    evidence = desk.home / "artifacts" / f"{steps.evidence_path(request)}.json"
    good = evidence.read_bytes()
    evidence.write_bytes(good.replace(b"better", b"bettER"))
    with pytest.raises(ArtifactError, match="evidence"):
        desk.decide("approve", "alice", LATER)
    evidence.write_bytes(good)
    one_byte(model_file(desk, request.candidate), evidence)
    with pytest.raises(ArtifactError):
        desk.decide("approve", "alice", LATER)
    assert desk.decide("reject", "alice", LATER, reason="tampered with")["decision"] == "reject"


def test_a_newer_candidate_supersedes_the_pending_one_even_where_that_was_approved_already(desk: Desk) -> None:
    desk.ask(1)
    old = desk.signed("approve", "bob", LATER, request="r1")
    desk.decide("approve", "alice", LATER)
    desk.ask(2, LATER)
    with pytest.raises(GateError, match="r1 was superseded by r2: decide on that one"):
        submit(desk.project, *old, LATER)
    with pytest.raises(GateError, match="r2 waits for a decision"):
        put_into_service(desk.project, LATER)
    with pytest.raises(GateError, match="r1 was superseded by r2"):
        prepare(desk.project, "approve", "bob@example.com", LATER, request="r1")
    desk.decide("approve", "bob", LATER + HOUR)
    assert desk.deploy(LATER + HOUR) == desk.candidate(2)
    sound(desk)


def test_whoever_asked_for_the_retrain_decides_nothing_on_it_in_whatever_letters(desk: Desk) -> None:
    desk.ask(1, by="Alice@Example.com")
    desk.refuses("asked for this retrain and may not decide on it", "approve", "alice", LATER)
    desk.refuses("asked for this retrain", "approve", "alice", LATER, break_glass=True, reason="it burns")
    desk.decide("approve", "bob", LATER)
    assert desk.deploy(LATER) == desk.candidate(1)


def test_two_of_three_have_to_sign_and_one_who_signs_twice_is_one(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.refuses("has approved r1 already; 1 of 2 signatures are there", "approve", "alice", LATER + HOUR)
    with pytest.raises(GateError, match="1 of 2 signatures are there"):
        put_into_service(desk.project, LATER + HOUR)
    desk.decide("approve", "dora", LATER + HOUR)
    assert desk.deploy(LATER + HOUR) == desk.candidate(1)
    sound(desk)


def test_one_key_under_two_names_is_one_signer(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    path = desk.home / "config" / "allowed_signers"
    text = path.read_text()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    key = text.splitlines()[0].split(" ", 1)[1]
    statement = replace(prepare(desk.project, "approve", "alias", LATER), signer="alias").to_bytes()
    signature = sign(statement, desk.keys / "alice")
    path.write_text(f"{text}alias {key}\n")
    with pytest.raises(GateError, match="listed"):
        submit(desk.project, statement.decode(), signature, LATER)
    # Instead of the first name, which then has approved nothing that could still be verified.
    path.write_text(text.replace("alice@example.com", "alias", 1))
    with pytest.raises(GateError, match="alias has approved r1 already"):
        submit(desk.project, statement.decode(), signature, LATER)


def test_a_signer_who_was_struck_off_before_the_deployment_counts_no_more_and_bars_nobody(desk: Desk) -> None:
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    path = desk.home / "config" / "allowed_signers"
    text = path.read_text()
    path.write_text("".join(line for line in text.splitlines(True) if not line.startswith("alice")))
    with pytest.raises(GateError, match="expected the signature of one of allowed_signers"):
        put_into_service(desk.project, LATER)
    assert desk.scoring() == first
    desk.decide("approve", "bob", LATER)
    assert desk.deploy(LATER) == desk.candidate(1)
    path.write_text("".join(line for line in text.splitlines(True) if line.startswith("dora")))
    with pytest.raises(ModelError, match="rests on no good signature"):
        desk.scoring()


def test_after_its_expiry_a_request_is_never_deployed_nor_approved_and_a_new_one_works(desk: Desk) -> None:
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    late = desk.signed("approve", "bob", LATER)
    expiry = NOON + 7 * DAY
    with pytest.raises(GateError, match="r1 expired at 2013-03-11 12:00 UTC and is never deployed"):
        put_into_service(desk.project, expiry)
    with pytest.raises(GateError, match="expired at 2013-03-11 12:00"):
        submit(desk.project, *late, expiry)
    with pytest.raises(GateError, match="r1 expired"):
        prepare(desk.project, "approve", "bob@example.com", expiry)
    assert tend(desk.project, expiry) == ["r1: expired"]
    assert tend(desk.project, expiry) == []
    assert desk.scoring() == first
    desk.ask(2, expiry)
    desk.decide("approve", "bob", expiry + HOUR)
    assert desk.deploy(expiry + HOUR) == desk.candidate(2)
    sound(desk)


def test_an_approval_in_its_last_second_deploys_and_one_a_day_late_after_a_long_silence_does_too(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    # The daemon was down for 25 hours.
    assert desk.deploy(LATER + 25 * HOUR) == desk.candidate(1)
    desk.ask(2, LATER + 26 * HOUR)
    last = LATER + 26 * HOUR + 7 * DAY - HOUR / 3600
    desk.decide("approve", "alice", last)
    assert desk.deploy(last) == desk.candidate(2)


def test_a_rejection_takes_a_reason_is_final_and_is_told(desk: Desk) -> None:
    desk.ask(1)
    with pytest.raises(GateError, match="reason: expected a reason for this decision"):
        desk.signed("reject", "alice", LATER)
    approval = desk.signed("approve", "bob", LATER)
    desk.decide("reject", "alice", LATER, reason="worse in the last quarter")
    with pytest.raises(GateError, match=r"r1 was rejected by alice@example\.com and is closed"):
        submit(desk.project, *approval, LATER)
    with pytest.raises(GateError, match="r1, was rejected"):
        put_into_service(desk.project, LATER)
    assert standing(desk.state).news == (
        f"The candidate {desk.candidate(1)[:12]} (r1) was rejected by alice@example.com: worse in the last quarter.",
    )
    assert signed_off(desk.project, LATER).sentence == "r1 was rejected by alice@example.com"


def test_an_approval_that_was_not_deployed_yet_can_still_be_rejected(desk: Desk) -> None:
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.decide("reject", "alice", LATER + HOUR, reason="seen it again")
    with pytest.raises(GateError, match="r1, was rejected"):
        put_into_service(desk.project, LATER + HOUR)
    assert desk.scoring() == first


def decide_at(home: Path, statement: str, signature: str, now: datetime, deploys: bool, start: float) -> str:
    """In a process of its own: submit at the moment ``start``, and deploy where asked to; what it is told."""
    project = open_project(home, now.date())
    time.sleep(max(start - time.time(), 0))
    try:
        submit(project, statement, signature, now)
        if deploys:
            put_into_service(project, now)
    except GateError as error:
        return str(error)
    return "done"


def test_of_an_approval_and_a_rejection_at_the_same_moment_exactly_one_wins_and_the_other_is_told(desk: Desk) -> None:
    """Two processes, 50 rounds. The approval is followed by its deployment, before which a rejection stops it."""
    winners = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for number in range(50):
            now = NOON + number * HOUR
            before = desk.state.last_model
            request = desk.ask(number, now)
            yes, no = desk.signed("approve", "alice", now), desk.signed("reject", "bob", now, reason="no")
            # A head start now for one, now for the other, so that either wins at times.
            start = time.time() + 0.02
            approved = pool.submit(decide_at, desk.home, *yes, now, True, start + 0.03 * (number % 3 == 1))
            rejected = pool.submit(decide_at, desk.home, *no, now, False, start + 0.03 * (number % 3 == 2))
            told = approved.result(), rejected.result()
            outcome = desk.state.requests[-1].outcome
            winners.append(outcome)
            if outcome == "deployed":
                assert told[0] == "done"
                assert re.match(rf"{request.id} was deployed", told[1])
                assert desk.scoring() == request.candidate
            else:
                assert outcome == "rejected"
                assert told[1] == "done"
                assert re.search(rf"{request.id},? was rejected|no longer due", told[0])
                assert desk.scoring() == before
    assert set(winners) == {"deployed", "rejected"}
    assert desk.events.count("deployed") == 1 + winners.count("deployed")


def deploy_at(home: Path, now: datetime) -> bool:
    try:
        put_into_service(open_project(home, now.date()), now)
    except GateError:
        return False
    return True


def test_of_several_deployments_at_the_same_moment_one_succeeds(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(deploy_at, [desk.home] * 6, [LATER] * 6))
    # One more may find the journal's line before the copy for people, and publish the same bytes.
    assert any(done)
    assert desk.events.count("deployed") == 2
    assert desk.scoring() == desk.candidate(1)
    sound(desk)


# --- replays and forgeries


def altered(statement: str, **changes: Any) -> str:
    return replace(parse(statement.encode()), **changes).to_bytes().decode()


def test_a_signature_does_not_count_for_another_candidate_request_or_decision(desk: Desk) -> None:
    desk.ask(1)
    statement, signature = desk.signed("approve", "alice", LATER)
    other = desk.candidate(9)
    for changes in ({"candidate": other}, {"evidence": "e" * 64}, {"decision": "rollback", "reason": "x"}):
        with pytest.raises(GateError, match="expected a signature on this very statement"):
            submit(desk.project, altered(statement, **changes), signature, LATER)
    # Signed as such, it is no decision on what the request is about.
    for changes, words in (({"candidate": other}, "on the candidate"), ({"champion": other}, "on the champion")):
        data = altered(statement, **changes)
        with pytest.raises(GateError, match=words):
            submit(desk.project, data, sign(data.encode(), desk.keys / "alice"), LATER)
    desk.decide("reject", "bob", LATER, reason="no")
    desk.ask(1, LATER)
    with pytest.raises(GateError, match="r1 was rejected"):
        submit(desk.project, statement, signature, LATER)
    assert desk.state.open_request is not None
    assert desk.state.open_request.approvals == ()


def test_a_signature_for_another_namespace_or_project_folder_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.ask(1)
    statement = prepare(desk.project, "approve", "alice@example.com", LATER).to_bytes()
    command = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(desk.keys / "alice")]
    foreign = subprocess.run(command, input=statement, capture_output=True, check=True).stdout.decode()
    with pytest.raises(GateError, match="expected a signature for countersign, found one for 'git'"):
        submit(desk.project, statement.decode(), foreign, LATER)
    # The same data, settings, second and signers: nothing but the folder differs.
    other = desk.copy(tmp_path / "other")
    (other.home / "artifacts" / "journal.jsonl").unlink()
    (other.home / "artifacts" / "model.json").unlink()
    train_first_model(other.project, NOON)
    other.ask(1)
    with pytest.raises(GateError, match="it was signed in another project folder"):
        submit(other.project, *desk.signed("approve", "alice", LATER), LATER)


def test_a_signature_made_in_a_copy_of_the_folder_that_went_its_own_way_is_refused(desk: Desk, tmp_path: Path) -> None:
    copy = desk.copy(tmp_path / "copy")
    copy.ask(1)
    desk.ask(1, NOON + HOUR)
    with pytest.raises(GateError, match="the journal was rewritten, or it is another's"):
        submit(desk.project, *copy.signed("approve", "alice", LATER), LATER)


def test_unknown_expired_and_removed_signers_are_refused_with_the_attempt_on_record(desk: Desk) -> None:
    desk.ask(1)
    signed = desk.signed("approve", "alice", LATER)
    path = desk.home / "config" / "allowed_signers"
    text = path.read_text()
    path.write_text(re.sub(r'(alice.*?valid-before=")\d{14}', r"\g<1>20130304123000", text))
    with pytest.raises(GateError, match="expected a key that is valid when it was signed"):
        submit(desk.project, *signed, LATER)
    path.write_text("".join(line for line in text.splitlines(True) if not line.startswith("alice")))
    with pytest.raises(GateError, match="expected the signature of one of allowed_signers"):
        submit(desk.project, *signed, LATER)
    path.unlink()
    with pytest.raises(GateError):
        submit(desk.project, *signed, LATER)
    assert len(desk.refusals()) == 2, "the same attempt for the same cause is on record once"
    assert desk.state.requests[0].approvals == ()


def test_a_decision_counts_once_even_where_the_champion_has_left_and_come_back(desk: Desk) -> None:
    """The journal shows each statement with its signature, and anybody can launch ``sign_off`` with them."""
    first = desk.scoring()
    second = desk.ask(1).candidate
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    rollback = desk.signed("rollback", "bob", LATER, reason="holds too much")
    kept = desk.signed("rollback", "dora", LATER, reason="not sent yet")
    submit(desk.project, *rollback, LATER)
    assert desk.deploy(LATER) == first
    desk.decide("rollback", "alice", LATER + HOUR, reason="it was right")
    assert desk.deploy(LATER + HOUR) == second
    with pytest.raises(GateError, match="is on record already"):
        submit(desk.project, *rollback, LATER + 2 * HOUR)
    with pytest.raises(GateError, match="signed after the last deployment"):
        submit(desk.project, *kept, LATER + 2 * HOUR)
    assert desk.scoring() == second
    sound(desk)


def test_a_statement_that_was_dated_back_before_the_journal_line_it_names_is_refused(desk: Desk) -> None:
    desk.ask(1, NOON + DAY)
    statement = prepare(desk.project, "approve", "alice@example.com", NOON + HOUR).to_bytes()
    with pytest.raises(GateError, match="it was dated back, or the signer's clock is wrong"):
        submit(desk.project, statement.decode(), sign(statement, desk.keys / "alice"), NOON + DAY + HOUR)


@pytest.mark.parametrize(
    "statement", ["", "\ud800", "{}", "[]", "null", "[" * 10_000, "x" * 100_000, '{"_type":1}', "\x00", "1e999"]
)
def test_what_is_no_statement_is_refused_in_words_and_changes_nothing_else(desk: Desk, statement: str) -> None:
    desk.ask(1)
    before = desk.state
    with pytest.raises(GateError):
        submit(desk.project, statement, "-----BEGIN SSH SIGNATURE-----", LATER)
    after = desk.state
    assert len(desk.refusals()) == 1
    assert (after.requests, after.deployments, after.revoked, after.rollback) == (
        before.requests,
        before.deployments,
        before.revoked,
        before.rollback,
    )


# --- the champion changes, leaves, comes back


def test_a_request_is_stale_once_the_champion_it_was_compared_with_has_left(desk: Desk) -> None:
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    desk.ask(2, LATER)
    approval = desk.signed("approve", "bob", LATER)
    desk.decide("rollback", "alice", LATER, reason="holds too much")
    assert desk.deploy(LATER) == first
    with pytest.raises(GateError, match="r2 is stale: it was compared with"):
        submit(desk.project, *approval, LATER + HOUR)
    assert desk.scoring() == first


def test_a_rollback_takes_one_signature_and_brings_back_the_model_with_its_conditions(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    bound = parse_condition("auc over 20 sessions below 0.65")
    desk.ask(1)
    desk.decide("approve", "alice", LATER, conditions=[bound])
    desk.decide("approve", "bob", LATER)
    second = desk.deploy(LATER)
    desk.ask(2, LATER)
    desk.decide("approve", "alice", LATER)
    desk.decide("approve", "bob", LATER)
    desk.deploy(LATER)
    desk.decide("rollback", "dora", LATER + HOUR, reason="holds too much")
    assert desk.deploy(LATER + HOUR) == second
    assert desk.state.deployments[-1].conditions == (str(bound),)
    told = f"dora@example.com rolled back: holds too much; leaves again once {bound}"
    assert standing(desk.state).sentence.endswith(told), "in the report and by the server"
    sound(desk)


@pytest.mark.parametrize("how", ["rollback", "revoke"])
def test_a_first_model_that_came_back_is_reviewed_only_where_people_signed_for_that_very_model(
    desk: Desk, how: str
) -> None:
    policy(desk.home, on_revoke="rollback")
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    desk.decide("rollback" if how == "rollback" else "revoke", "bob", LATER, reason="holds too much")
    assert desk.deploy(LATER) == first
    stands = standing(desk.state)
    assert stands.sentence.startswith("in service since 2013-03-04: bob@example.com ")
    assert stands.sentence.endswith(": holds too much (deployed at first without a signature)")
    assert any("nobody has reviewed it" in need for need in stands.needs) == (how == "revoke")


def test_history_names_the_approval_that_was_in_force_when_a_date_was_scored(desk: Desk) -> None:
    """The same model: approved, rolled back, approved again, and returned to after that."""
    sessions = desk.project.daily_sessions(NOON)[:4]
    first = desk.scoring()

    def score(session: str, now: datetime) -> None:
        list(ingest_sessions(desk.project, [session], now))
        list(clean_sessions(desk.project, [session]))
        list(feature_sessions(desk.project, [session]))
        list(score_sessions(desk.project, [session], now))

    desk.ask(1)
    desk.decide("approve", "alice", NOON)
    desk.deploy(NOON)
    score(sessions[0], NOON)
    desk.decide("rollback", "dora", LATER, reason="holds too much")
    assert desk.deploy(LATER) == first
    score(sessions[1], LATER)
    desk.ask(1, LATER)
    desk.decide("approve", "bob", LATER)
    desk.deploy(LATER)
    score(sessions[2], LATER)
    desk.decide("rollback", "dora", LATER + HOUR, reason="holds too much")
    desk.deploy(LATER + HOUR)
    desk.decide("rollback", "dora", LATER + 2 * HOUR, reason="it was right", model=desk.candidate(1))
    desk.deploy(LATER + 2 * HOUR)
    score(sessions[3], LATER + 3 * HOUR)
    found = [session_history(desk.project, session)["first"]["deployed"] for session in sessions]
    assert [[one["signer"] for one in each["approved_by"]] for each in found] == [
        ["alice@example.com"],
        [],
        ["bob@example.com"],
        ["bob@example.com"],
    ]
    assert [each["request"] for each in found] == ["r1", None, "r2", "r2"]
    # Scored again since, what was said first still rests on the first approval.
    score(sessions[0], LATER + 4 * HOUR)
    said = session_history(desk.project, sessions[0])
    assert (said["first"]["deployed"]["request"], said["latest"]["deployed"]["request"]) == ("r1", "r2")


def test_a_rollback_to_bytes_that_are_damaged_is_refused_at_once(desk: Desk) -> None:
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    second = desk.deploy(LATER)
    one_byte(model_file(desk, first), Path())
    with pytest.raises(ArtifactError):
        desk.decide("rollback", "bob", LATER, reason="holds too much")
    assert desk.state.rollback is None, "else it would be due, and fail, for a week"
    assert desk.scoring() == second


def test_a_revoked_model_scores_nothing_from_that_moment_on(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    desk.decide("revoke", "bob", LATER + HOUR, reason="trained on restated prices")
    said = r'bob@example.com revoked .*: trained on restated prices\. Return .*: countersign rollback --reason "…"'
    with pytest.raises(ModelError, match=said):
        desk.scoring()
    with pytest.raises(GateError, match="no model waits for its deployment"):
        put_into_service(desk.project, LATER + HOUR)
    desk.refuses("which is revoked already", "revoke", "alice", LATER + HOUR, reason="again")


def test_where_the_policy_says_so_the_model_before_a_revoked_one_comes_back_by_itself(desk: Desk) -> None:
    policy(desk.home, on_revoke="rollback")
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    desk.decide("revoke", "bob", LATER + HOUR, reason="trained on restated prices")
    with pytest.raises(ModelError, match="revoked"):
        desk.scoring()
    assert desk.deploy(LATER + HOUR) == first
    desk.refuses("expected an earlier model to return to", "rollback", "alice", LATER + 2 * HOUR, reason="x")
    sound(desk)


def test_a_model_that_was_revoked_never_comes_back_as_a_candidate(desk: Desk) -> None:
    first = desk.scoring()
    second = desk.ask(1).candidate
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    desk.decide("revoke", "bob", LATER + HOUR, reason="trained on restated prices")
    desk.decide("rollback", "bob", LATER + HOUR, reason="until there is a new one")
    assert desk.deploy(LATER + HOUR) == first
    # The same bytes again.
    desk.ask(1, LATER + 2 * HOUR)
    assert [r.id for r in desk.state.requests] == ["r1"]
    assert desk.state.retrains[-1].answer == (
        "blocked: the retrain made a model that was revoked: nothing has been learned since"
    )
    assert second in desk.state.revoked


# --- break-glass


@pytest.mark.parametrize("quorum", [1, 2, 3])
def test_one_signer_who_breaks_the_glass_deploys_and_a_check_fails_until_another_one_ratifies(
    desk: Desk, quorum: int
) -> None:
    policy(desk.home, quorum=quorum)
    desk.ask(1)
    with pytest.raises(GateError, match="expected a reason"):
        desk.signed("approve", "alice", LATER, break_glass=True)
    desk.decide("approve", "alice", LATER, break_glass=True, reason="the old one holds everything")
    assert desk.deploy(LATER) == desk.candidate(1)
    check = ratified(desk.project)
    assert check.status == "fail"
    assert "r1 was deployed by break-glass (alice@example.com) and waits for a second signer" in check.sentence
    assert [(v.measure, v.severity) for v in waiting(desk.project, LATER)] == [("r1", "error")]
    assert any("break-glass" in need for need in standing(desk.state).needs)
    desk.refuses("broke the glass or asked for the retrain", "ratify", "alice", LATER + HOUR)
    desk.decide("ratify", "bob", LATER + HOUR)
    check = ratified(desk.project)
    assert (check.status, check.sentence) == ("pass", "r1 was deployed by break-glass and ratified by bob@example.com")
    assert waiting(desk.project, LATER + HOUR) == []
    desk.refuses("not yet ratified", "ratify", "dora", LATER + HOUR, request="r1")
    sound(desk)


def burnt(desk: Desk) -> Desk:
    """With candidate 1 in service by break-glass, which nobody has ratified."""
    desk.ask(1)
    desk.decide("approve", "alice", LATER, break_glass=True, reason="it burns")
    desk.deploy(LATER)
    return desk


def test_a_broken_glass_is_seen_whatever_else_waits(desk: Desk) -> None:
    """A newer request used to hide it."""
    burnt(desk).ask(2, LATER)
    assert ratified(desk.project).status == "fail"
    assert signed_off(desk.project, LATER).sentence.startswith("r2 waits since")
    found = {v.measure: (v.severity, v.sentence) for v in waiting(desk.project, LATER)}
    assert found["r1"] == ("error", ratified(desk.project).sentence)
    assert found["r2"][0] == "warning"
    needs = project_status(desk.project, LATER)["needs_a_person"]
    assert sum("countersign ratify" in need for need in needs) == 1
    assert sum("countersign review r2" in need for need in needs) == 1
    desk.decide("ratify", "bob", LATER)
    assert ratified(desk.project).status == "pass"
    assert [v.measure for v in waiting(desk.project, LATER)] == ["r2"]


@pytest.mark.parametrize("how", ["rollback", "revoke", "newer model"])
def test_a_broken_glass_is_over_once_that_model_has_left_and_not_before(desk: Desk, how: str) -> None:
    burnt(desk)
    if how == "newer model":
        desk.ask(2, LATER)
        desk.decide("approve", "bob", LATER)
    else:
        desk.decide("rollback" if how == "rollback" else "revoke", "bob", LATER, reason="not needed any more")
    if how != "revoke":
        assert ratified(desk.project).status == "fail", "decided, and still in service"
        desk.deploy(LATER)
    assert ratified(desk.project).status == "pass"
    assert waiting(desk.project, LATER) == []
    assert not any("break-glass" in need for need in standing(desk.state).needs)


def test_a_model_that_comes_back_by_a_rollback_still_has_to_be_ratified(desk: Desk) -> None:
    second = burnt(desk).scoring()
    desk.decide("rollback", "bob", LATER, reason="holds too much")
    desk.deploy(LATER)
    desk.decide("rollback", "bob", LATER + DAY, reason="it was right", model=second)
    assert desk.deploy(LATER + DAY) == second
    assert ratified(desk.project).status == "fail"
    assert [(v.measure, v.session) for v in waiting(desk.project, LATER + DAY)] == [("r1", "2013-03-05")]


def test_enough_signatures_need_no_ratifying_whether_or_not_one_of_them_broke_the_glass(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    desk.decide("approve", "alice", LATER, break_glass=True, reason="it burns")
    desk.decide("approve", "bob", LATER)
    desk.deploy(LATER)
    assert ratified(desk.project).status == "pass"


def test_an_approval_that_ran_out_does_not_make_a_broken_glass_whole(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    short = altered(desk.signed("approve", "bob", LATER)[0], expires=LATER + HOUR)
    submit(desk.project, short, sign(short.encode(), desk.keys / "bob"), LATER)
    desk.decide("approve", "alice", LATER + DAY, break_glass=True, reason="it burns")
    desk.deploy(LATER + DAY)
    assert ratified(desk.project).status == "fail"
    desk.refuses("broke the glass", "ratify", "alice", LATER + DAY)


def test_a_signer_whose_approval_ran_out_may_give_another_and_is_still_one_signer(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    desk.ask(1)
    short = altered(desk.signed("approve", "bob", LATER)[0], expires=LATER + HOUR)
    submit(desk.project, short, sign(short.encode(), desk.keys / "bob"), LATER)
    desk.decide("approve", "bob", LATER + DAY)
    assert [a.signer for a in desk.state.requests[0].approvals] == ["bob@example.com"]
    # Not even by a clock that was set back, so that both would be in force.
    assert not due(desk.state, LATER, "stop")
    desk.decide("approve", "alice", LATER + DAY)
    desk.deploy(LATER + DAY)
    sound(desk)


# --- what time brings


def test_a_request_is_reminded_of_once_an_interval_however_often_it_is_looked_at(desk: Desk) -> None:
    desk.ask(1)
    said: list[str] = []
    for minutes in range(0, 3 * 24 * 60, 90):
        said += tend(desk.project, NOON + minutes * HOUR / 60)
    assert said == ["r1: reminded"] * 2
    times = [line["at"] for line in desk.project.journal.read() if line["event"] == "reminded"]
    assert times == ["2013-03-05T12:00:00+00:00", "2013-03-06T12:00:00+00:00"]
    # The daemon was down for two days: one reminder, not two.
    assert tend(desk.project, NOON + 5 * DAY) == ["r1: reminded"]
    assert tend(desk.project, NOON + 5 * DAY) == []
    desk.decide("approve", "alice", NOON + 5 * DAY)
    assert tend(desk.project, NOON + 6 * DAY + HOUR) == [], "it waits for nobody"


def test_what_cannot_be_judged_holds_up_neither_reminders_nor_deployments(desk: Desk) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER, conditions=[parse_condition("auc over 20 sessions below 0.65")])
    desk.deploy(LATER)
    desk.ask(2, LATER)
    for session in ("2013-03-01", "2013-02-28"):
        folder = desk.home / "artifacts" / "sessions" / session
        folder.mkdir(parents=True)
        (folder / "outcomes.json").write_text("damaged")
    (desk.home / "artifacts" / "predictions").mkdir()
    (desk.home / "artifacts" / "predictions" / "2013-02.jsonl").write_text("damaged\n")
    configure(desk.home, ("expiry_days: 7 ", "expiry_days: 9 "))
    said = tend(desk.project, LATER + DAY)
    assert said[0] == "r2: reminded"


def test_the_wait_is_told_with_since_when_for_whom_on_what_and_the_command(desk: Desk) -> None:
    request = desk.ask(1, by="bob@example.com")
    check = signed_off(desk.project, LATER)
    assert check.status == "fail"
    assert check.sentence == (
        "r1 waits since 2013-03-04 12:00 UTC, until 2013-03-11 12:00, for 1 of alice@example.com, dora@example.com. "
        "Look: countersign review r1"
    )
    assert check.numbers["signatures"] == "0 of 1", "words, which plot no line"
    assert (check.numbers["candidate"], check.numbers["evidence"]) == (request.candidate, request.evidence)
    desk.decide("approve", "alice", LATER)
    assert "approved by alice@example.com and waits for deploy_job" in signed_off(desk.project, LATER).sentence


# --- the first model


@pytest.fixture
def unbegun(first_desk: Desk, tmp_path: Path) -> Desk:
    """The same project before its first model, which is to be signed for."""
    desk = first_desk.copy(tmp_path / "home")
    (desk.home / "artifacts" / "journal.jsonl").unlink()
    (desk.home / "artifacts" / "model.json").unlink()
    shutil.rmtree(desk.home / "artifacts" / "models")
    policy(desk.home, bootstrap="manual")
    return desk


def test_where_the_policy_says_so_the_first_model_waits_for_a_signature_too(unbegun: Desk) -> None:
    made = model_in_service(unbegun.project, NOON)
    with pytest.raises(ModelError, match="r1 waits for a signature"):
        unbegun.scoring()
    with pytest.raises(GateError, match="0 of 1 signatures"):
        model_in_service(unbegun.project, NOON)
    unbegun.decide("approve", "alice", LATER)
    model_in_service(unbegun.project, LATER)
    assert unbegun.scoring() == made.stored.sha256
    assert unbegun.state.deployments[0].request == "r1"
    sound(unbegun)


@pytest.mark.parametrize("how", ["rejected", "expired", "expired, nobody looked"])
def test_a_first_model_that_was_not_signed_for_can_be_asked_for_again_and_never_goes_without(
    unbegun: Desk, how: str
) -> None:
    model_in_service(unbegun.project, NOON)
    if how == "rejected":
        unbegun.decide("reject", "alice", LATER, reason="too few symbols")
    later = NOON + 8 * DAY
    if how == "expired":
        tend(unbegun.project, later)
    # Not even where the policy was changed after people had been asked.
    configure(unbegun.home, ("bootstrap: manual ", "bootstrap: auto "))
    model_in_service(unbegun.project, later)
    assert unbegun.state.deployments == ()
    assert [r.id for r in unbegun.state.requests] == ["r1", "r2"]
    unbegun.decide("approve", "bob", later + HOUR)
    model_in_service(unbegun.project, later + HOUR)
    assert unbegun.scoring() == unbegun.state.requests[1].candidate
    sound(unbegun)


# --- what is left of an attempt


def test_a_journal_that_is_broken_takes_no_decision_and_uses_no_model(desk: Desk) -> None:
    desk.ask(1)
    signed = desk.signed("approve", "alice", LATER)
    path = desk.home / "artifacts" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"carol", b"coral", 1))
    before = path.read_bytes()
    for act in (
        lambda: submit(desk.project, *signed, LATER),
        lambda: put_into_service(desk.project, LATER),
        lambda: tend(desk.project, LATER),
        desk.scoring,
    ):
        with pytest.raises(CountersignError, match=r"journal\.jsonl, line \d: expected a line that carries"):
            act()
    assert path.read_bytes() == before


def test_a_copy_for_people_that_is_not_the_model_in_service_is_found_by_verify_and_mended_by_deploying(
    desk: Desk,
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    old = (desk.home / "artifacts" / "model.json").read_bytes()
    desk.deploy(LATER)
    (desk.home / "artifacts" / "model.json").write_bytes(old)
    (problem,) = verify_project(desk.project)[2]
    assert "a deployment was cut short, which launching deploy_job mends" in problem
    put_into_service(desk.project, LATER)
    sound(desk)
    assert desk.events.count("deployed") == 2


def test_the_champion_is_loaded_on_the_word_of_those_who_sign_now(desk: Desk) -> None:
    """A key that leaked is struck off: what it put into service is used no longer, whoever asks."""
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    desk.deploy(LATER)
    path = desk.home / "config" / "allowed_signers"
    path.unlink()
    let_sign(desk.home, desk.keys, "bob", "dora")
    with pytest.raises(ModelError, match="rests on no good signature"):
        in_service(desk.project)
    desk.decide("rollback", "bob", LATER + HOUR, reason="alice's key leaked")
    assert desk.deploy(LATER + HOUR) == first


def test_a_model_that_a_person_took_out_does_not_come_back_by_itself(desk: Desk) -> None:
    policy(desk.home, on_revoke="rollback")
    first = desk.scoring()
    desk.ask(1)
    desk.decide("approve", "alice", NOON + HOUR)
    second = desk.deploy(NOON + 2 * HOUR)
    desk.ask(2, NOON + 3 * HOUR)
    desk.decide("approve", "alice", NOON + 4 * HOUR)
    desk.deploy(NOON + 5 * HOUR)
    desk.decide("rollback", "bob", NOON + 6 * HOUR, reason="the third is terrible")
    assert desk.deploy(NOON + 7 * HOUR) == second
    desk.decide("revoke", "bob", NOON + 8 * HOUR, reason="so is the second")
    assert desk.deploy(NOON + 9 * HOUR) == first


def test_two_spellings_of_a_name_are_one_signer(desk: Desk) -> None:
    policy(desk.home, quorum=2)
    add_signer(
        desk.project.signers,
        "Alice@Example.com",
        init_key(desk.home / "another", "alice", passphrase=False),
        NOON - DAY,
        NOON + 365 * DAY,
    )
    request = desk.ask(1)
    statement = prepare(desk.project, "approve", "Alice@Example.com", NOON + HOUR, request=request.id).to_bytes()
    desk.decide("approve", "alice", NOON + HOUR)
    with pytest.raises(GateError, match="has approved r1 already"):
        submit(desk.project, statement.decode(), sign(statement, desk.home / "another"), NOON + HOUR)
