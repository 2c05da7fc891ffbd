"""Drill, the scratch copy: a project of its own to plant things in.

Belongs here: copying what the gate looks at, keys of throw-away signers, the few acts that trials are made of. Does not
belong here: what is planted (``drill_trials``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from countersign.checks import CheckResult
from countersign.errors import CountersignError, GateError
from countersign.gate.conditions import Condition
from countersign.gate.signature import sign
from countersign.gate.signers import add_signer, init_key
from countersign.gate.state import Request
from countersign.gate.statement import Decision, Statement
from countersign.project import Project
from countersign.steps.gate import gate_state, prepare, put_into_service, read_evidence, submit
from countersign.steps.retrain import ask_as_person, request_sign_off
from countersign.steps.service import in_service
from countersign.storage.artifacts import ArtifactStore
from countersign.storage.files import write_atomically
from countersign.storage.journal import Journal

STRANGER: Final = "stranger"
"""Whose key is on no list."""
REQUESTER: Final = "requester"
FORMER: Final = "former"
"""Whose key was ended yesterday."""

_LISTED: Final = {REQUESTER: (-2, 365), FORMER: (-2, -1)}
"""Days from now on, and up to which, the key of each is valid."""


MINUTE: Final = timedelta(minutes=1)


class HoleError(Exception):
    """What had to be refused was not."""


class UntriedError(Exception):
    """What is to be planted cannot be made from what the project has, which says nothing of the gate."""


@dataclass(frozen=True)
class Scratch:
    """A copy of what the gate looks at. ``source`` is the project that it was copied from, and is only read."""

    project: Project
    source: Project
    champion: str
    body: dict[str, Any]
    inputs: dict[str, str]
    keys: Path
    at: datetime

    @classmethod
    def of(cls, source: Project, home: Path, keys: Path, now: datetime) -> Scratch:
        """With the configuration, the journal and the model in service, and signers whose keys lie in ``keys``."""
        service = in_service(source)
        shutil.copytree(source.home / "config", home / "config")
        project = opened(source, home)
        write_atomically(project.journal.path, source.journal.path.read_bytes())
        body = {name: value for name, value in service.document.items() if name not in ("artifact", "sha256")}
        inputs = service.document["artifact"]["inputs"]
        project.store.write_addressed("models", "model", body, inputs)
        project.store.copy_document(f"models/{service.champion.model}/model", "model", service.champion.model)
        for request in gate_state(source).requests:
            evidence = read_evidence(source, request)
            own = {key: value for key, value in evidence.items() if key not in ("artifact", "sha256")}
            folder = f"models/{request.candidate}/evidence"
            project.store.write_addressed(folder, "evidence", own, evidence["artifact"]["inputs"])
        if wish := gate_state(project).open_retrain:
            # Answered as one that brought nothing new, or no other could be asked for.
            request_sign_off(project, wish, service.champion.model, "", service.champion.model, (), now)
        signers = {signer_name(number): (-2, 365) for number in range(max(source.config.gate.quorum, 2) + 1)}
        for name, valid in {**_LISTED, **signers, STRANGER: None}.items():
            public = init_key(keys / name, name, passphrase=False)
            if valid:
                since, until = (now + timedelta(days=days) for days in valid)
                add_signer(project.signers, name, public, since, until)
        return cls(project, source, service.champion.model, body, inputs, keys, now.replace(microsecond=0))

    def copy(self, home: Path) -> Scratch:
        shutil.copytree(self.project.home, home)
        return replace(self, project=opened(self.project, home))

    def later(self, delay: timedelta) -> Scratch:
        return replace(self, at=self.at + delay)

    def with_quorum(self, quorum: int) -> Scratch:
        config = self.project.config
        gate = config.gate.model_copy(update={"quorum": quorum})
        return replace(self, project=replace(self.project, config=config.model_copy(update={"gate": gate})))

    def plant(self, mark: str) -> str:
        """A candidate with the numbers of the model in service, and bytes of its own; its digest."""
        body = {**self.body, "training": {**self.body["training"], "code_version": f"drill {mark}"}}
        return self.project.store.write_addressed("models", "model", body, self.inputs).sha256

    def answer(self, mark: str = "a", results: Sequence[CheckResult] = (), by: str = "drill") -> str:
        """What comes of a retrain that ends with the candidate ``mark`` and ``results``, in words."""
        retrain = ask_as_person(self.project, "gate drill", by, self.at)
        candidate, champion = self.plant(mark), str(gate_state(self.project).last_model)
        digests = {"candidate": candidate, "champion": champion}
        evidence = self.project.store.write_addressed(
            f"models/{candidate}/evidence", "evidence", {"drill": mark, "digests": digests}, digests
        )
        return request_sign_off(self.project, retrain, candidate, evidence.sha256, champion, results, self.at)

    def ask(self, mark: str = "a", by: str = "drill") -> Request:
        """A request for the candidate ``mark``, to which nothing was objected."""
        said = self.answer(mark, by=by)
        request = gate_state(self.project).open_request
        if request is None:
            raise GateError(f"a candidate without fault was not asked for: {said}")
        return request

    def statement(
        self,
        request: Request,
        signer: str,
        decision: Decision = "approve",
        *,
        conditions: Sequence[Condition] = (),
        break_glass: bool = False,
    ) -> Statement:
        return prepare(
            self.project,
            decision,
            signer,
            self.at,
            request=request.id,
            reason="gate drill",
            conditions=conditions,
            break_glass=break_glass,
        )

    def order(self, decision: Decision, model: str | None = None) -> Statement:
        """On the model in service, or to return to another."""
        return prepare(self.project, decision, signer_name(0), self.at, model=model, reason="gate drill")

    def submit(self, statement: Statement, key: str) -> None:
        data = statement.to_bytes()
        submit(self.project, data.decode(), sign(data, self.keys / key), self.at)

    def approve(self, request: Request, *, conditions: Sequence[Condition] = ()) -> None:
        """By as many signers as it takes."""
        for number in range(request.quorum):
            name = signer_name(number)
            self.submit(self.statement(request, name, conditions=conditions), name)

    def replaced(self, mark: str = "a", *, conditions: Sequence[Condition] = ()) -> Scratch:
        """The same a minute later, with the candidate ``mark`` approved and in service."""
        self.approve(self.ask(mark), conditions=conditions)
        self.deploy()
        return self.later(MINUTE)

    def deploy(self) -> None:
        put_into_service(self.project, self.at)

    def model_file(self, request: Request) -> Path:
        return Path(self.project.store.location(f"models/{request.candidate}/model", None, "json"))

    def refused(self, what: str, attempt: Callable[[], object]) -> str:
        """The words with which ``attempt`` is refused. It must change nothing that scoring would use."""
        served = self._served()
        try:
            attempt()
        except CountersignError as error:
            if self._served() not in ("", served):
                raise HoleError(f"{what} was refused, and the model in service changed all the same") from error
            return str(error)
        raise HoleError(f"{what} was not refused")

    def _served(self) -> str:
        """The model that scoring would use now; none where it would refuse."""
        try:
            return in_service(self.project).champion.model
        except CountersignError:
            return ""


def opened(source: Project, home: Path) -> Project:
    """As ``source`` is configured, but for its places."""
    artifacts = home / "artifacts"
    return replace(
        source,
        home=home,
        store=ArtifactStore(str(artifacts), source.config.artifacts.format),
        journal=Journal(artifacts / "journal.jsonl"),
        alerts=Journal(artifacts / "alerts.jsonl"),
    )


def signer_name(number: int) -> str:
    return f"signer-{number + 1}"
