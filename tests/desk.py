"""A small project folder with signers and their keys, and what people do in it; the gate's tests share it.

Its candidates are sound models whose training is told otherwise, so that none has to be trained; all else is real.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countersign.checks import CheckResult
from countersign.errors import GateError
from countersign.gate.signature import sign
from countersign.gate.signers import add_signer, init_key
from countersign.gate.state import Line, Request, State
from countersign.gate.statement import Decision
from countersign.model.registry import read_model
from countersign.project import Project, open_project
from countersign.steps.gate import gate_state, prepare, put_into_service, submit
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.retrain import ask_as_person, request_sign_off
from countersign.steps.service import in_service

NOON = datetime(2013, 3, 4, 12, 0, tzinfo=UTC)
"""When the project was begun: after every bundled session."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEOPLE = ("alice", "bob", "dora")
ASKER = "carol@example.com"

QUICK = (
    ("start: 2000-03-01", "start: 2006-06-01"),
    ("min_training_sessions: 756", "min_training_sessions: 252"),
    ("fold_sessions: 63", "fold_sessions: 126"),
    ("bootstrap_replications: 500", "bootstrap_replications: 100"),
)
"""Settings with which a model is trained in a moment."""


def configure(home: Path, *changes: tuple[str, str]) -> None:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def policy(home: Path, **settings: int | str) -> None:
    """Change settings of ``gate`` in the configuration."""
    shipped = {"bootstrap": "auto", "quorum": 1, "expiry_days": 7, "reminder_hours": 24, "on_revoke": "stop"}
    configure(home, *((f"{name}: {shipped[name]} ", f"{name}: {value} ") for name, value in settings.items()))


@dataclass(frozen=True)
class Desk:
    """A project folder, and the folder with the keys of ``PEOPLE``, who may sign in it."""

    home: Path
    keys: Path

    @property
    def project(self) -> Project:
        return open_project(self.home, NOON.date())

    @property
    def state(self) -> State:
        return gate_state(self.project)

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.project.journal.read()]

    def refusals(self) -> list[str]:
        return [line["cause"] for line in self.project.journal.read() if line["event"] == "refused"]

    def ask(self, number: int, now: datetime = NOON, by: str = ASKER, results: Sequence[CheckResult] = ()) -> Request:
        """Have candidate ``number`` wait for a signature."""
        project = self.project
        champion = self.state.last_model
        assert champion is not None
        retrain = ask_as_person(project, "autumn", by, now)
        candidate = self.candidate(number)
        inputs = {"candidate": candidate}
        folder = f"models/{candidate}/evidence"
        evidence = project.store.write_addressed(folder, "evidence", {"verdict": "better"}, inputs)
        request_sign_off(project, retrain, candidate, evidence.sha256, champion, results, now)
        return self.state.requests[-1]

    def know(self, session: str) -> None:
        """Have the bars of ``session`` in the store, so that a retrain has something to learn from."""
        list(ingest_sessions(self.project, [session], NOON))
        list(clean_sessions(self.project, [session]))

    def candidate(self, number: int) -> str:
        """Store a model that differs in nothing but what is told of its training; its digest."""
        project = self.project
        first = read_model(project.store, self.state.deployments[0].model)
        body = {key: first.document[key] for key in ("evaluation", "model", "reference", "training")}
        body["training"] = {**body["training"], "rows": number}
        return project.store.write_addressed("models", "model", body, first.stored.inputs).sha256

    def signed(self, decision: Decision, who: str, now: datetime, **about: Any) -> tuple[str, str]:
        """A statement, and ``who``'s signature on it."""
        statement = prepare(self.project, decision, f"{who}@example.com", now, **about).to_bytes()
        return statement.decode(), sign(statement, self.keys / who)

    def decide(self, decision: Decision, who: str, now: datetime, **about: Any) -> Line:
        return submit(self.project, *self.signed(decision, who, now, **about), now)

    def deploy(self, now: datetime) -> str:
        """Have what is due put into service; the model that is then in service."""
        put_into_service(self.project, now)
        return self.scoring()

    def scoring(self) -> str:
        """The model that scoring would use."""
        project = self.project
        return in_service(project).champion.model

    def refuses(self, words: str, decision: Decision, who: str, now: datetime, **about: Any) -> None:
        """That the decision, prepared as usual, is refused with ``words``."""
        with pytest.raises(GateError, match=words):
            self.decide(decision, who, now, **about)

    def copy(self, folder: Path) -> Desk:
        return Desk(Path(shutil.copytree(self.home, folder, symlinks=True)), self.keys)


def let_sign(home: Path, keys: Path, *people: str) -> None:
    """List the keys of ``people``, who may sign from a year before ``NOON`` on."""
    path = home / "config" / "allowed_signers"
    for name in people:
        public = (keys / f"{name}.pub").read_text()
        add_signer(path, f"{name}@example.com", public, NOON - 365 * DAY, NOON + 36500 * DAY)


def make_keys(folder: Path) -> Path:
    for name in PEOPLE:
        init_key(folder / name, f"{name}@laptop", passphrase=False)
    return folder
