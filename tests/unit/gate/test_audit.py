"""Audit: fifty and more ways to change the past, each found and named, and what no file can show."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from countersign.errors import CountersignError, GateError, JournalError, ModelError
from countersign.gate.conditions import parse_condition
from countersign.gate.signers import list_signers
from countersign.steps.gate import submit, tend, verify_project
from countersign.storage.codec import json_bytes
from countersign.storage.journal import GENESIS
from tests.desk import DAY, NOON, Desk, policy

Line = dict[str, Any]

EVENTS = [
    "deployed",
    "retrain_requested",
    "sign_off_requested",
    "reminded",
    "signed",
    "signed",
    "deployed",
    "retrain_requested",
    "sign_off_requested",
    "refused",
    "signed",
    "retrain_requested",
    "sign_off_requested",
    "signed",
    "signed",
    "deployed",
    "signed",
    "deployed",
]
"""Of ``told``, in order; lines are counted from 1, as an editor does."""

SIGNED = [number for number, event in enumerate(EVENTS, start=1) if event == "signed"]
NUMBERS = range(1, len(EVENTS) + 1)


@pytest.fixture(scope="module")
def told(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A project with some history: deployed, rejected, deployed, rolled back. Read only."""
    desk = first_desk.copy(tmp_path_factory.mktemp("told") / "home")
    policy(desk.home, quorum=2)
    bound = parse_condition("auc over 20 sessions below 0.65")
    desk.ask(1)
    tend(desk.project, NOON + DAY)
    desk.decide("approve", "alice", NOON + DAY, conditions=[bound])
    desk.decide("approve", "bob", NOON + DAY)
    desk.deploy(NOON + DAY)
    desk.ask(2, NOON + 2 * DAY)
    with pytest.raises(GateError):
        submit(desk.project, "{}", "", NOON + 2 * DAY)
    desk.decide("reject", "alice", NOON + 2 * DAY, reason="worse")
    desk.ask(3, NOON + 3 * DAY)
    desk.decide("approve", "bob", NOON + 3 * DAY)
    desk.decide("approve", "dora", NOON + 3 * DAY)
    desk.deploy(NOON + 3 * DAY)
    desk.decide("rollback", "alice", NOON + 4 * DAY, reason="holds too much")
    desk.deploy(NOON + 4 * DAY)
    assert desk.events == EVENTS
    assert verify_project(desk.project) == (len(EVENTS), [], [])
    return desk


@pytest.fixture
def altered(told: Desk, tmp_path: Path) -> Desk:
    """A copy of it, to be tampered with."""
    return told.copy(tmp_path / "altered")


def journal(desk: Desk) -> Path:
    return desk.home / "artifacts" / "journal.jsonl"


def first_wrong(desk: Desk) -> int:
    """The number of the first line that is found wrong, by its hash or by the rules; 0 where none is."""
    try:
        _, findings, problems = verify_project(desk.project)
    except JournalError as error:
        return int(str(error).split("line ")[1].split(":")[0])
    if findings:
        return min(finding.number for finding in findings)
    return -1 if problems else 0


# --- by somebody who does not compute the hashes anew


@pytest.mark.parametrize("number", NUMBERS)
def test_an_edited_line_is_named(altered: Desk, number: int) -> None:
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"2013-03-0", b"2013-04-0", 1)
    journal(altered).write_bytes(b"".join(lines))
    assert first_wrong(altered) == number


@pytest.mark.parametrize("number", NUMBERS[:-1])
def test_a_deleted_line_is_named_by_the_one_that_stands_in_its_place(altered: Desk, number: int) -> None:
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    journal(altered).write_bytes(b"".join([*lines[: number - 1], *lines[number:]]))
    assert first_wrong(altered) == number


@pytest.mark.parametrize("number", NUMBERS[:-1])
def test_two_lines_in_the_other_order_are_named(altered: Desk, number: int) -> None:
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    lines[number - 1], lines[number] = lines[number], lines[number - 1]
    journal(altered).write_bytes(b"".join(lines))
    assert first_wrong(altered) == number


@pytest.mark.parametrize("number", NUMBERS[:-1:4])
def test_a_line_cut_short_in_the_middle_is_named(altered: Desk, number: int) -> None:
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1][:100] + b"\n"
    journal(altered).write_bytes(b"".join(lines))
    assert first_wrong(altered) == number


# --- by somebody who does, and has the whole folder to write to, but nobody's key


def seal(lines: list[Line]) -> bytes:
    """``lines`` with hashes that are right."""
    previous, found = GENESIS, []
    for line in lines:
        rest = {**{key: value for key, value in line.items() if key != "sha256"}, "previous": previous}
        previous = hashlib.sha256(json_bytes(rest)).hexdigest()
        found.append(json_bytes({**rest, "sha256": previous}) + b"\n")
    return b"".join(found)


def rewrite(desk: Desk, change: Callable[[list[Line]], object]) -> None:
    lines = [json.loads(line) for line in journal(desk).read_bytes().splitlines()]
    change(lines)
    journal(desk).write_bytes(seal(lines))
    desk.project.journal.read()


@pytest.mark.parametrize("number", [n for n in NUMBERS if n < SIGNED[-1]])
def test_a_past_that_was_rewritten_is_named_at_the_first_decision_that_had_seen_it(altered: Desk, number: int) -> None:
    rewrite(altered, lambda lines: lines[number - 1].update(at="2013-03-04T12:00:01+00:00", note="rewritten"))
    assert 0 < first_wrong(altered) <= next(signed for signed in SIGNED if signed > number)


@pytest.mark.parametrize("number", [n for n in NUMBERS if n < SIGNED[-1]])
def test_a_line_taken_out_of_the_past_is_named_at_the_first_decision_that_had_seen_it(
    altered: Desk, number: int
) -> None:
    rewrite(altered, lambda lines: lines.pop(number - 1))
    assert 0 < first_wrong(altered) <= next(signed for signed in SIGNED if signed > number) - 1


def forged(desk: Desk, event: str, **fields: Any) -> int:
    """Append a line that nobody's rules added; the number of the line that is found wrong."""
    rewrite(desk, lambda lines: lines.append({"event": event, "at": "2013-03-09T12:00:00+00:00", **fields}))
    return first_wrong(desk)


def signed_before(desk: Desk) -> Line:
    line: Line = json.loads(journal(desk).read_bytes().splitlines()[SIGNED[-2] - 1])
    return {key: value for key, value in line.items() if key not in {"previous", "sha256", "event", "at"}}


FORGERIES: dict[str, Callable[[Desk], int]] = {
    "a deployment without a decision": lambda desk: forged(
        desk, "deployed", model=desk.candidate(3), decision="bootstrap", request=None
    ),
    "a deployment on another's decision": lambda desk: forged(
        desk, "deployed", model=desk.candidate(3), decision=desk.state.deployments[2].decision, request="r3"
    ),
    "a deployment on no line": lambda desk: forged(
        desk, "deployed", model=desk.candidate(3), decision="f" * 64, request=None
    ),
    "a decision that is on record already": lambda desk: forged(desk, "signed", **signed_before(desk)),
    "a decision that nobody signed": lambda desk: forged(
        desk, "signed", **{**signed_before(desk), "signer": "bob@example.com"}
    ),
    "a decision with another signature": lambda desk: forged(
        desk, "signed", **{**signed_before(desk), "signature": "-----BEGIN SSH SIGNATURE-----\n"}
    ),
    "a broken condition that no approval had": lambda desk: forged(
        desk, "condition_broken", deployment=desk.state.deployments[-1].line, model=desk.candidate(1), condition="x"
    ),
    "an expiry of nothing": lambda desk: forged(desk, "expired", request="r1"),
    "a reminder of nothing": lambda desk: forged(desk, "reminded", request="r2"),
    "a request that takes no signature": lambda desk: forged(
        desk,
        "sign_off_requested",
        request="r4",
        retrain="",
        model="c" * 64,
        evidence="e" * 64,
        champion=desk.state.last_model,
        asked_by=None,
        quorum=0,
        expires="2014-03-09T12:00:00+00:00",
    ),
    "a request of an id that was": lambda desk: forged(
        desk,
        "sign_off_requested",
        request="r1",
        retrain="",
        model="c" * 64,
        evidence="e" * 64,
        champion=desk.state.last_model,
        asked_by=None,
        quorum=1,
        expires="2014-03-09T12:00:00+00:00",
    ),
    "a line without its fields": lambda desk: forged(desk, "reminded"),
    "a decision on a request that is none": lambda desk: forged(
        desk, "signed", **{**signed_before(desk), "request": "r9"}
    ),
    "a line without a time zone": lambda desk: forged(desk, "refused", at="2013-03-09T12:00:00"),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_line_that_no_rule_allows_is_named_and_puts_nothing_into_service(
    altered: Desk, forge: Callable[[Desk], int]
) -> None:
    before = altered.scoring()
    assert forge(altered) == len(EVENTS) + 1
    with suppress(CountersignError):
        assert altered.scoring() == before


def test_a_deployment_by_a_forged_line_is_used_by_nobody(altered: Desk) -> None:
    fields = {"model": altered.candidate(3), "decision": altered.state.deployments[2].decision, "request": "r3"}
    forged(altered, "deployed", **fields)
    with pytest.raises(ModelError, match="rests on no good signature: expected a deployment that a decision"):
        altered.scoring()


def test_with_a_key_that_was_ended_the_past_cannot_be_signed_by_hand(altered: Desk) -> None:
    """Whoever has a lost key, and the folder, can date a line back: then it stands behind a later one."""
    project = altered.project
    now = NOON + 5 * DAY
    altered.ask(4, now)
    altered.decide("reject", "bob", now, reason="no")
    rewrite(altered, lambda lines: lines[-1].update(at="2013-03-09T11:00:00+00:00"))
    _, findings, _ = verify_project(project)
    assert [finding.number for finding in findings] == [len(EVENTS) + 3]
    assert "it was dated back" in findings[0].problem


# --- the end of the file


@pytest.mark.parametrize("kept", [n for n in NUMBERS if n < len(EVENTS)])
def test_a_decision_that_saw_lines_which_were_cut_off_is_refused(told: Desk, altered: Desk, kept: int) -> None:
    """Whole lines missing at the end leave a journal that is sound in itself."""
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    signed = told.signed("revoke", "bob", NOON + 5 * DAY, reason="bad")
    journal(altered).write_bytes(b"".join(lines[:kept]))
    with pytest.raises(GateError, match=r"on the head .*, which it does not have: the journal was rewritten"):
        submit(altered.project, *signed, NOON + 5 * DAY)


def test_a_cut_that_takes_a_deployment_is_seen_by_the_copy_for_people_and_another_one_is_not(altered: Desk) -> None:
    lines = journal(altered).read_bytes().splitlines(keepends=True)
    journal(altered).write_bytes(b"".join(lines[:-1]))
    _, findings, problems = verify_project(altered.project)
    assert findings == []
    (problem,) = problems
    assert "lines are missing at the journal's end" in problem
    # What cannot be found: the last lines, where nobody has decided nor deployed anything since.
    journal(altered).write_bytes(b"".join(lines))
    altered.decide("revoke", "bob", NOON + 5 * DAY, reason="bad")
    journal(altered).write_bytes(b"".join(lines))
    assert first_wrong(altered) == 0


def test_ten_thousand_refused_attempts_do_not_keep_the_champion_from_scoring(altered: Desk) -> None:
    """As many as somebody who can reach the webserver could make."""
    for number in range(100):
        altered.project.journal.extend(
            lambda lines, number=number: [  # type: ignore[misc]
                ("refused", {"what": "sign", "cause": f"{number} {n}", "statement": None}) for n in range(100)
            ],
            NOON + 5 * DAY,
        )
    begun = time.perf_counter()
    assert altered.scoring()
    assert time.perf_counter() - begun < 5


def test_without_signers_every_signed_line_is_wrong_and_no_other(altered: Desk) -> None:
    shutil.move(altered.project.signers, altered.home / "elsewhere")
    assert list_signers(altered.project.signers) == []
    _, findings, problems = verify_project(altered.project)
    assert [finding.number for finding in findings] == SIGNED
    assert len(problems) == 1
