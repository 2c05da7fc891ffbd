"""Drill: bad candidates and forged decisions, planted in a scratch copy, to see that the gate refuses each.

Belongs here: what is planted, and whether it was refused. Does not belong here: the gate, whose own functions are
called as the jobs and the command line call them. One good candidate is planted as well: a gate that refuses
everything is none.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from countersign.checks import CheckResult
from countersign.errors import CountersignError, GateError
from countersign.gate.rules import due, signed_line
from countersign.gate.signature import sign
from countersign.gate.signers import Signer, add_signer, init_key, list_signers
from countersign.gate.state import BOOTSTRAP, Request
from countersign.gate.statement import Decision, Statement
from countersign.model.acceptance import automatic_checks
from countersign.model.comparison import compare
from countersign.model.evaluation import evaluate, walk_forward
from countersign.model.registry import deploy_first
from countersign.model.training import training_rows
from countersign.project import Project
from countersign.steps.gate import evidence_path, gate_state, prepare, put_into_service, submit, verify_project
from countersign.steps.retrain import ask_as_person, known_bars, request_sign_off
from countersign.steps.service import in_service
from countersign.storage.artifacts import ArtifactStore
from countersign.storage.files import write_atomically
from countersign.storage.journal import Journal
from countersign.thresholds import load_thresholds

_STRANGER: Final = "stranger"
_REQUESTER: Final = "requester"
_MINUTE: Final = timedelta(minutes=1)
_MOST: Final = 3
"""Lines of the table that a trial's words may take."""


@dataclass(frozen=True)
class Trial:
    """What was planted; whether the gate held; and what it said, or what happened instead."""

    name: str
    held: bool
    said: str


class _HoleError(Exception):
    """What had to be refused was not."""


def drill(project: Project, now: datetime) -> list[Trial]:
    """Plant each in a copy of its own, in a temporary folder; nothing in ``project`` changes, which is tried last.

    Raises ``CountersignError`` where the project has no sound model in service, or a deployment is due.
    """
    before = _bytes(project)
    if found := due(gate_state(project), now, project.config.gate.on_revoke):
        raise GateError(
            f"expected a project in which nothing is due, found {found[0].model[:12]}: deploy it first, with: "
            "countersign deploy"
        )
    with TemporaryDirectory(prefix="countersign-drill-") as name:
        folder = Path(name)
        keys = folder / "keys"
        origin = _Scratch.of(project, folder / "project", keys, now)
        trials = [
            _tried(what, plant, origin.copy(folder / str(number)))
            for number, (what, plant) in enumerate(_PLANTED.items())
        ]
    untouched = all(_bytes(project).get(path, b"").startswith(data) for path, data in before.items())
    said = "its configuration, journal and model are byte for byte what they were"
    return [*trials, Trial("the project itself is left alone", untouched, said if untouched else "it has changed")]


def drill_text(trials: Sequence[Trial]) -> str:
    """A table of 100 columns at the most."""
    width = max(len(trial.name) for trial in trials)
    lines = []
    for trial in trials:
        start = f"{'held' if trial.held else 'HOLE'}  {trial.name:<{width}}  "
        said = textwrap.wrap(trial.said, 100 - len(start), break_on_hyphens=False)
        lines += [f"{start}{said[0]}", *(" " * len(start) + line for line in said[1:_MOST])]
        lines += [" " * len(start) + "…"] if len(said) > _MOST else []
    holes = sum(not trial.held for trial in trials)
    lines += ["", f"{holes} of {len(trials)} FAILED: do not rely on the gate" if holes else f"All {len(trials)} held."]
    return "\n".join(lines)


def _tried(name: str, plant: Callable[[_Scratch], str], scratch: _Scratch) -> Trial:
    try:
        # Where a temporary folder lay says nothing.
        return Trial(name, True, plant(scratch).replace(f"{scratch.project.home}/", ""))
    except _HoleError as hole:
        return Trial(name, False, str(hole))
    except CountersignError as error:
        return Trial(name, False, f"could not be tried: {error}")


def _bytes(project: Project) -> dict[Path, bytes]:
    """What the gate rests on. Another process may add to the journal meanwhile, and to nothing else."""
    champion = gate_state(project).last_model
    model = Path(project.store.location(f"models/{champion}/model", None, "json"))
    files = [*(project.home / "config").rglob("*"), project.journal.path, model]
    return {path: path.read_bytes() for path in files if path.is_file()}


@dataclass(frozen=True)
class _Scratch:
    """A copy of what the gate looks at. ``source`` is the project that it was copied from, and is only read."""

    project: Project
    source: Project
    champion: str
    body: dict[str, Any]
    inputs: dict[str, str]
    keys: Path
    at: datetime

    @classmethod
    def of(cls, source: Project, home: Path, keys: Path, now: datetime) -> _Scratch:
        """With the configuration, the journal and the model in service, and signers whose keys lie in ``keys``."""
        service = in_service(source)
        shutil.copytree(source.home / "config", home / "config")
        project = _opened(source, home)
        write_atomically(project.journal.path, source.journal.path.read_bytes())
        body = {name: value for name, value in service.document.items() if name not in ("artifact", "sha256")}
        inputs = service.document["artifact"]["inputs"]
        project.store.write_addressed("models", "model", body, inputs)
        project.store.copy_document(f"models/{service.champion.model}/model", "model", service.champion.model)
        if wish := gate_state(project).open_retrain:
            # Answered as one that brought nothing new, or no other could be asked for.
            request_sign_off(project, wish, service.champion.model, "", service.champion.model, (), now)
        names = [_STRANGER, _REQUESTER, *(_signer(number) for number in range(source.config.gate.quorum + 1))]
        for name in names:
            public = init_key(keys / name, name, passphrase=False)
            if name != _STRANGER:
                add_signer(project.signers, name, public, now - timedelta(days=1), now + timedelta(days=365))
        return cls(project, source, service.champion.model, body, inputs, keys, now.replace(microsecond=0))

    def copy(self, home: Path) -> _Scratch:
        shutil.copytree(self.project.home, home)
        return replace(self, project=_opened(self.project, home))

    def later(self, delay: timedelta) -> _Scratch:
        return replace(self, at=self.at + delay)

    def with_quorum(self, quorum: int) -> _Scratch:
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

    def statement(self, request: Request, signer: str, decision: Decision = "approve") -> Statement:
        return prepare(self.project, decision, signer, self.at, request=request.id, reason="gate drill")

    def submit(self, statement: Statement, key: str) -> None:
        data = statement.to_bytes()
        submit(self.project, data.decode(), sign(data, self.keys / key), self.at)

    def approve(self, request: Request) -> None:
        """By as many signers as it takes."""
        for number in range(request.quorum):
            self.submit(self.statement(request, _signer(number)), _signer(number))

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
                raise _HoleError(f"{what} was refused, and the model in service changed all the same") from error
            return str(error)
        raise _HoleError(f"{what} was not refused")

    def _served(self) -> str:
        """The model that scoring would use now; none where it would refuse."""
        try:
            return in_service(self.project).champion.model
        except CountersignError:
            return ""


def _opened(source: Project, home: Path) -> Project:
    """As ``source`` is configured, but for its places."""
    artifacts = home / "artifacts"
    return replace(
        source,
        home=home,
        store=ArtifactStore(str(artifacts), source.config.artifacts.format),
        journal=Journal(artifacts / "journal.jsonl"),
        alerts=Journal(artifacts / "alerts.jsonl"),
    )


def _signer(number: int) -> str:
    return f"signer-{number + 1}"


def _good(scratch: _Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    scratch.deploy()
    project = scratch.project
    served = in_service(project).champion
    if served.model != request.candidate:
        raise _HoleError(f"a good candidate with {request.quorum} signatures was not put into service")
    lines, findings, problems = verify_project(project)
    if findings or problems:
        raise _HoleError(f"its journal does not verify: {'; '.join([*map(str, findings), *problems])}")
    return f"deployed, as it should be: {served.why}; its {lines} lines verify"


def _worse(scratch: _Scratch) -> str:
    """Real forecasts turned round, judged by the automatic checks."""
    source, config = scratch.source, scratch.source.config.model
    panel, _ = known_bars(source, scratch.at)
    forecasts = walk_forward(training_rows(panel), config)
    forecasts = replace(forecasts, probability=1 - forecasts.probability, model_variance=9 * forecasts.model_variance)
    model = in_service(source).model
    digest = scratch.plant("worse")
    results = automatic_checks(
        # The walk-forward decides: sessions since the model in service was trained may be too few.
        compare(panel, config, candidate=model, champion=model, champion_last_session=str(panel.sessions[-1])),
        evaluate(forecasts, panel.sessions, config),
        forecasts,
        load_thresholds(source.home)[0].model,
        candidate=model,
        champion=model,
        digest=digest,
        retrained_digest=digest,
    )
    answer = scratch.answer("worse", results)
    # The project may have had another request open, which stays so.
    if any(request.candidate == digest for request in gate_state(scratch.project).requests):
        raise _HoleError(f"a candidate worse than the baseline asks for a signature: {answer}")
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _unsigned(scratch: _Scratch) -> str:
    scratch.ask()
    return scratch.refused("a deployment without a decision", scratch.deploy)


def _too_few(scratch: _Scratch) -> str:
    scratch = scratch.with_quorum(2)
    request, first = scratch.ask(), _signer(0)
    scratch.submit(scratch.statement(request, first), first)
    again = scratch.later(_MINUTE)
    said = again.statement(request, first)
    again.refused("the same signer's second signature", lambda: again.submit(said, first))
    return again.refused("a deployment on one signature of two", again.deploy)


def _stranger(scratch: _Scratch) -> str:
    said = scratch.statement(scratch.ask(), _signer(0))
    return scratch.refused("a signature by an unknown key", lambda: scratch.submit(said, _STRANGER))


def _requester(scratch: _Scratch) -> str:
    said = scratch.statement(scratch.ask(by=_REQUESTER), _REQUESTER)
    return scratch.refused("the requester's own approval", lambda: scratch.submit(said, _REQUESTER))


def _altered_statement(scratch: _Scratch) -> str:
    said = scratch.statement(scratch.ask(), _signer(0), "request-changes").to_bytes()
    signature = sign(said, scratch.keys / _signer(0))
    forged = said.decode().replace('"request-changes"', '"approve"')
    return scratch.refused(
        "a statement changed after it was signed", lambda: submit(scratch.project, forged, signature, scratch.at)
    )


def _replayed(scratch: _Scratch) -> str:
    statement = scratch.statement(scratch.ask(), _signer(0))
    other = scratch.copy(scratch.project.home.with_name("other"))
    # Begun anew: the first line of its journal is its own.
    other.project.journal.path.unlink()
    Path(other.project.store.location("model", None, "json")).unlink()
    deploy_first(other.project.store, other.project.journal, other.body, other.inputs, other.at)
    other.ask()
    return other.refused("an approval given in another project", lambda: other.submit(statement, _signer(0)))


def _superseded(scratch: _Scratch) -> str:
    older = scratch.ask("a")
    said = scratch.statement(older, _signer(0))
    scratch.ask("b")
    answer = scratch.refused("the approval of a superseded request", lambda: scratch.submit(said, _signer(0)))
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _expired(scratch: _Scratch) -> str:
    request = scratch.ask()
    another = _signer(request.quorum)
    # Signed in time and for longer than the request is open, but handed in too late.
    statement = replace(scratch.statement(request, another), expires=request.expires + timedelta(days=30))
    scratch.approve(request)
    late = scratch.later(request.expires - scratch.at)
    late.refused("the deployment of an expired request", late.deploy)
    return late.refused("the approval of an expired request", lambda: late.submit(statement, another))


def _stale(scratch: _Scratch) -> str:
    first = scratch.ask("a")
    scratch.approve(first)
    scratch.deploy()
    scratch = scratch.later(_MINUTE)
    said = scratch.statement(scratch.ask("b"), _signer(0))
    back = prepare(scratch.project, "rollback", _signer(1), scratch.at, model=scratch.champion, reason="gate drill")
    scratch.submit(back, _signer(1))
    scratch.deploy()
    answer = scratch.refused("the approval of a stale request", lambda: scratch.submit(said, _signer(0)))
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _tampered(scratch: _Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = scratch.model_file(request)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return scratch.refused("a model of which one byte was changed", scratch.deploy)


def _swapped(scratch: _Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    other = scratch.plant("another")
    shutil.copyfile(scratch.model_file(replace(request, candidate=other)), scratch.model_file(request))
    return scratch.refused("another model in the place of the approved one", scratch.deploy)


def _linked(scratch: _Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = scratch.model_file(request)
    elsewhere = file.with_name("elsewhere.json")
    file.replace(elsewhere)
    file.symlink_to(elsewhere)
    return scratch.refused("a symbolic link in the place of the model", scratch.deploy)


def _altered_evidence(scratch: _Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = Path(scratch.project.store.location(evidence_path(request), None, "json"))
    file.write_bytes(file.read_bytes().replace(b'"drill": "a"', b'"drill": "b"'))
    return scratch.refused("a candidate whose evidence was changed", scratch.deploy)


def _forged_deployment(scratch: _Scratch) -> str:
    project, request = scratch.project, scratch.ask()
    fields = {"request": None, "why": "forged", "replaces": scratch.champion}
    project.journal.append("deployed", scratch.at, model=request.candidate, decision=BOOTSTRAP, **fields)
    answer = scratch.refused(
        "scoring by a model that a forged line put there",
        lambda: in_service(project),
    )
    if not verify_project(project)[1]:
        raise _HoleError("a forged deployment was not found by verify")
    return answer


def _forged_approval(scratch: _Scratch) -> str:
    """A line as the gate would write it, in a signer's name, with a signature that is none of that signer's."""
    project, request = scratch.project, scratch.ask()
    for number in range(request.quorum):
        statement = scratch.statement(request, _signer(number))
        signature = sign(statement.to_bytes(), scratch.keys / _STRANGER)
        event, fields = signed_line(statement, _listed(project, _signer(number)), signature)
        project.journal.append(event, scratch.at, **fields)
    answer = scratch.refused("a deployment on a forged line of the journal", scratch.deploy)
    if not verify_project(project)[1]:
        raise _HoleError("a forged approval was not found by verify")
    return answer


def _listed(project: Project, name: str) -> Signer:
    return next(signer for signer in list_signers(project.signers) if signer.principal == name)


_PLANTED: Final[dict[str, Callable[[_Scratch], str]]] = {
    "worse than the baseline": _worse,
    "unsigned": _unsigned,
    "one signature of two": _too_few,
    "signed by an unknown key": _stranger,
    "signed by the requester": _requester,
    "statement changed after signing": _altered_statement,
    "replayed on another project": _replayed,
    "superseded": _superseded,
    "expired": _expired,
    "stale champion": _stale,
    "one byte of the model changed": _tampered,
    "another model in its place": _swapped,
    "symbolic link in its place": _linked,
    "evidence changed": _altered_evidence,
    "forged journal line, a deployment": _forged_deployment,
    "forged journal line, an approval": _forged_approval,
    "a good candidate, well signed": _good,
}
