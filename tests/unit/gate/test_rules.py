"""Rules: that no sequence of decisions, whoever signs and whenever, deploys a model without enough signatures."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from countersign.errors import GateError
from countersign.gate.rules import due, housekeeping, not_due
from countersign.gate.state import BOOTSTRAP, State
from countersign.gate.statement import Statement
from tests.unit.gate.book import DAY, HOUR, WEEK, Book, digest, person

SIGNERS = ("alice", "bob", "carol", "dora")


def test_a_decision_on_an_older_head_than_the_request_it_answers_is_refused() -> None:
    book = Book()
    older = book.state.heads[-1]
    book.ask("second")
    with pytest.raises(GateError, match="signed after r1 was asked for, found one on an older head"):
        book.sign("approve", "alice", journal_head=older)
    with pytest.raises(GateError, match="which it does not have: the journal was rewritten"):
        book.sign("approve", "alice", journal_head="f" * 64)
    with pytest.raises(GateError, match=r"expected a request of this journal \(r1\), found r7"):
        book.sign("approve", "alice", request="r7")


def test_a_statement_dated_five_minutes_before_its_head_is_a_clock_and_a_second_more_is_dated_back() -> None:
    book = Book()
    book.ask("second", quorum=2)
    skew = timedelta(minutes=5)
    with pytest.raises(GateError, match="it was dated back"):
        book.sign("approve", "alice", at=book.now - skew - timedelta(seconds=1))
    book.sign("approve", "alice", at=book.now - skew)


def test_revoke_is_on_the_model_in_service_alone_and_a_rollback_on_one_that_was() -> None:
    book = Book()
    with pytest.raises(GateError, match=r"was not revoked \(there is none\)"):
        book.sign("rollback", "alice")
    book.ask("second")
    book.sign("approve", "alice")
    book.deploy()
    for model in ("second", "third"):
        with pytest.raises(GateError, match="expected to return to a model that was in service"):
            book.sign("rollback", "alice", candidate=digest(model))
    with pytest.raises(GateError, match="expected to revoke the model in service"):
        book.sign("revoke", "alice", candidate=digest("first"))
    with pytest.raises(GateError, match="the champion changed since"):
        book.sign("revoke", "alice", candidate=digest("second"), champion=digest("first"))


def test_a_rollback_that_nobody_carried_out_in_time_is_due_no_more() -> None:
    book = Book()
    book.ask("second")
    book.sign("approve", "alice")
    book.deploy()
    book.sign("rollback", "alice", candidate=digest("first"))
    assert due(book.state, book.now + WEEK - timedelta(seconds=1), "stop")
    assert not due(book.state, book.now + WEEK, "stop")


def test_two_models_with_broken_conditions_do_not_replace_each_other_without_end() -> None:
    book = Book()

    def break_condition() -> None:
        last = book.state.deployments[-1]
        book.add(
            "condition_broken", deployment=last.line, model=last.model, condition="auc over 20 sessions below 0.65"
        )

    for name in ("second", "third"):
        book.ask(name)
        book.sign("approve", "alice")
        book.deploy()
    break_condition()
    book.deploy()
    assert book.state.last_model == digest("second")
    break_condition()
    book.deploy()
    assert book.state.last_model == digest("first"), "and not the one whose condition was broken before"


def test_an_order_to_leave_comes_before_a_new_model() -> None:
    book = Book()
    book.ask("second")
    book.sign("approve", "alice")
    book.deploy()
    book.ask("third")
    book.sign("approve", "alice")
    book.sign("rollback", "bob", candidate=digest("first"))
    found = [(one.model, one.request) for one in due(book.state, book.now, "stop")]
    assert found == [(digest("first"), None), (digest("third"), "r2")]
    book.deploy()
    assert not due(book.state, book.now, "stop"), "what was compared with a champion that left is stale"
    assert not_due(book.state, book.now).endswith("the last one, r2, was stale")


def test_an_expiry_comes_once_and_no_reminder_with_it() -> None:
    book = Book()
    book.ask("second")
    assert housekeeping(book.state, book.now + DAY, DAY) == [("reminded", {"request": "r1"})]
    assert housekeeping(book.state, book.now + DAY - timedelta(seconds=1), DAY) == []
    book.now += WEEK
    assert housekeeping(book.state, book.now, DAY) == [("expired", {"request": "r1"})]
    book.tend()
    assert housekeeping(book.state, book.now + WEEK, DAY) == []


class Life(RuleBasedStateMachine):
    """Anybody signs anything at any time; what was admitted is kept beside, and judged without the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.models = 0
        self.admitted: list[tuple[Statement, str, datetime]] = []
        """Each with the key that signed, and when it came."""
        self.kept: list[tuple[Statement, str, str]] = []
        """Statements that were made, to be handed in later or again."""
        self.policy: Any = "stop"

    @initialize(policy=st.sampled_from(["stop", "rollback"]))
    def choose(self, policy: str) -> None:
        self.policy = policy

    @rule(quorum=st.integers(1, 3), by=st.sampled_from([*SIGNERS, None]), again=st.booleans())
    def ask(self, quorum: int, by: str | None, again: bool) -> None:
        self.models += not again or not self.models
        self.book.ask(f"m{self.models}", quorum, by)

    @rule(
        decision=st.sampled_from(["approve"] * 4 + ["reject", "request-changes", "ratify", "revoke", "rollback"]),
        who=st.sampled_from(SIGNERS),
        key=st.sampled_from(["", "", "", *SIGNERS]),
        glass=st.booleans(),
        change=st.sampled_from(["", "", "", "", "candidate", "champion", "evidence", "project", "journal_head"]),
        model=st.integers(0, 4),
        days=st.integers(1, 9),
        now=st.booleans(),
    )
    def make(
        self, decision: Any, who: str, key: str, glass: bool, change: str, model: int, days: int, now: bool
    ) -> None:
        state = self.book.state
        if decision not in ("revoke", "rollback") and not state.requests:
            return
        changes: dict[str, Any] = {"expires": self.book.now + days * DAY}
        if glass and decision == "approve":
            changes["break_glass"] = True
        if decision == "rollback" and model:
            changes["candidate"] = digest(f"m{model}")
        elif decision == "rollback":
            changes["candidate"] = digest("first")
        if change:
            changes[change] = state.heads[0] if change == "journal_head" else digest("forged")
        statement = self.book.statement(decision, who, **changes)
        self.kept.append((statement, who, key))
        if now:
            self.hand_in(len(self.kept) - 1)

    @rule(which=st.integers(0, 30))
    def hand_in(self, which: int) -> None:
        """One of those that were made, perhaps a second time."""
        if not self.kept:
            return
        statement, who, key = self.kept[which % len(self.kept)]
        if statement.expires <= self.book.now:
            return  # as ``signature.verify`` refuses
        before, signer = self.book.state, person(who, key)
        try:
            self.book.submit(statement, signer)
        except GateError:
            after = self.book.state
            different = {f.name for f in fields(State) if getattr(before, f.name) != getattr(after, f.name)}
            assert different == {"heads", "times"}
        else:
            self.admitted.append((statement, signer.fingerprint, self.book.now))
            self.may_be_admitted(statement, who, before)

    def may_be_admitted(self, statement: Statement, who: str, before: State) -> None:
        """Told by the journal's lines alone, as they were ``before``."""
        if statement.decision == "ratify":
            return
        if statement.decision in ("revoke", "rollback"):
            assert statement.champion == before.last_model
            last = before.last_deployment
            assert last is not None
            assert before.heads.index(statement.journal_head) >= before.heads.index(last.line)
            return
        asked = self.asked(str(statement.request))
        assert before.open_request is not None
        assert before.open_request.id == asked["request"]
        assert self.book.now < datetime.fromisoformat(asked["expires"])
        assert who != asked["asked_by"]
        assert (statement.candidate, statement.evidence, statement.champion) == (
            asked["model"],
            asked["evidence"],
            asked["champion"],
        )

    def asked(self, request: str) -> Any:
        (found,) = [
            line for line in self.book.lines if line["event"] == "sign_off_requested" and line["request"] == request
        ]
        return found

    @rule(first=st.sampled_from(SIGNERS), second=st.sampled_from(SIGNERS), deploys=st.booleans())
    def approve(self, first: str, second: str, deploys: bool) -> None:
        """Two people, or one twice, at once or kept for later."""
        for who in (first, second):
            if self.book.state.open_request:
                self.kept.append((self.book.statement("approve", who), who, ""))
                self.hand_in(len(self.kept) - 1)
        if deploys:
            self.deploy()

    @rule(hours=st.sampled_from([1, 23, 24, 100, 200]))
    def wait(self, hours: int) -> None:
        self.book.now += hours * HOUR

    @rule()
    def tend(self) -> None:
        self.book.tend()

    @rule()
    def deploy(self) -> None:
        before, now = self.book.state, self.book.now
        if not self.book.deploy(self.policy):
            return
        deployed = self.book.state.deployments[-1]
        if deployed.request is None:
            assert deployed.model in {d.model for d in before.deployments}, "none that was never in service"
            assert deployed.model not in before.revoked
            return
        asked = self.asked(deployed.request)
        assert now < datetime.fromisoformat(asked["expires"])
        assert asked["champion"] == before.last_model
        assert deployed.model == asked["model"]
        good = [
            (statement, key)
            for statement, key, _ in self.admitted
            if statement.decision == "approve"
            and (statement.request, statement.candidate) == (deployed.request, asked["model"])
            and (statement.evidence, statement.champion) == (asked["evidence"], asked["champion"])
            and now < statement.expires
            and statement.signer != asked["asked_by"]
        ]
        people, keys = {statement.signer for statement, _ in good}, {key for _, key in good}
        glass = any(statement.break_glass for statement, _ in good)
        assert good
        assert min(len(people), len(keys)) >= asked["quorum"] or glass
        assert not any(
            statement.request == deployed.request and statement.decision in ("reject", "request-changes")
            for statement, _, _ in self.admitted
        )

    @invariant()
    def one_request_is_open_and_each_statement_counted_once(self) -> None:
        state = self.book.state
        assert sum(request.outcome is None for request in state.requests) <= 1
        statements = [statement for statement, _, _ in self.admitted]
        assert len(set(statements)) == len(statements)
        if state.champion:
            assert state.champion.model not in state.revoked
        assert [d.decision for d in state.deployments].count(BOOTSTRAP) == 1


Life.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestNoSequenceOfDecisionsDeploysWithoutEnoughSignatures = Life.TestCase


def test_the_rules_say_no_to_a_revoked_model_that_a_request_brings_again() -> None:
    book = Book()
    book.ask("second")
    book.sign("approve", "alice")
    book.deploy()
    book.sign("revoke", "alice")
    book.sign("rollback", "alice", candidate=digest("first"))
    book.deploy()
    book.ask("second")
    statement = replace(book.statement("approve", "alice"), reason="it was fine")
    with pytest.raises(GateError, match="r2 is closed: alice revoked its model"):
        book.submit(statement, person("alice"))
