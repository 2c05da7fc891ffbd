"""A journal in memory to which the gate's rules add, without files and signatures: for tests of state and rules."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from countersign.errors import GateError
from countersign.gate.rules import admit, due, housekeeping, signed_line
from countersign.gate.signers import Signer
from countersign.gate.state import BOOTSTRAP, Line, State, state_of
from countersign.gate.statement import Decision, Statement
from countersign.storage.codec import json_bytes
from countersign.storage.journal import Event

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = 7 * DAY


def digest(name: str) -> str:
    """Such as a model of that name would have."""
    return hashlib.sha256(name.encode()).hexdigest()


def person(name: str, key: str = "") -> Signer:
    return Signer(name, "ssh-ed25519", (key or name).encode())


class Book:
    """``lines`` of a journal, begun at ``NOON`` with the model ``first`` in service."""

    def __init__(self, *, bootstrapped: bool = True) -> None:
        self.lines: list[Line] = []
        self.now = NOON
        if bootstrapped:
            self.add("deployed", model=digest("first"), decision=BOOTSTRAP)

    @property
    def state(self) -> State:
        return state_of(self.lines)

    def add(self, event: str, **fields: Any) -> Line:
        previous = self.lines[-1]["sha256"] if self.lines else "0" * 64
        rest = {"event": event, "at": self.now.isoformat(), "previous": previous, **fields}
        self.lines.append({**rest, "sha256": hashlib.sha256(json_bytes(rest)).hexdigest()})
        return self.lines[-1]

    def add_all(self, events: Sequence[Event]) -> None:
        for event, fields in events:
            self.add(event, **fields)

    def wish(self, cause: str = "person", breach: str = "person", by: str | None = "carol") -> Line:
        return self.add(
            "retrain_requested", cause=cause, breach=breach, reason="autumn", asked_by=by, first="", last=""
        )

    def ask(self, model: str, quorum: int = 1, by: str | None = "carol") -> str:
        """A request for ``model``; its id."""
        retrain, state = self.wish(by=by), self.state
        name = f"r{len(state.requests) + 1}"
        self.add(
            "sign_off_requested",
            request=name,
            retrain=retrain["sha256"],
            model=digest(model),
            evidence=digest(f"evidence of {model}"),
            champion=state.last_model,
            asked_by=by,
            quorum=quorum,
            expires=(self.now + WEEK).isoformat(),
        )
        return name

    def statement(self, decision: Decision, signer: str, **changes: Any) -> Statement:
        """What ``signer`` would sign now on the newest request, or on the model in service."""
        state = self.state
        request = state.requests[-1] if state.requests else None
        answers = decision not in ("revoke", "rollback")
        assert request or not answers
        about = {
            "request": request.id if request and answers else None,
            "candidate": request.candidate if request and answers else state.last_model,
            "evidence": request.evidence if request and answers else None,
            "champion": request.champion if request and decision == "ratify" else state.last_model,
        }
        made = Statement(
            project=str(state.project),
            journal_head=state.heads[-1],
            decision=decision,
            signer=signer,
            at=self.now,
            expires=self.now + WEEK,
            reason="because",
            **about,  # type: ignore[arg-type]
        )
        return replace(made, **changes)

    def sign(self, decision: Decision, signer: str, *, key: str = "", **changes: Any) -> Line:
        """Have the rules admit it and put it on record; a refusal is put on record too, and raised."""
        statement, who = self.statement(decision, signer, **changes), person(signer, key)
        return self.submit(statement, who)

    def submit(self, statement: Statement, who: Signer) -> Line:
        try:
            admit(self.state, statement, who, self.now)
        except GateError as error:
            self.add("refused", what="sign", cause=str(error), statement=None)
            raise
        event, fields = signed_line(statement, who, "signature")
        return self.add(event, **fields)

    def deploy(self, on_revoke: Any = "stop") -> bool:
        """Put into service what is due; whether anything was."""
        found = due(self.state, self.now, on_revoke)
        if found:
            first = found[0]
            self.add("deployed", model=first.model, decision=first.decision, request=first.request, why=first.why)
        return bool(found)

    def tend(self) -> None:
        self.add_all(housekeeping(self.state, self.now, DAY))
