"""Drill, the trials: what is planted, one function each, and the words with which it is refused.

Belongs here: every way into service, or past a decision, that is none. Does not belong here: the copy that they are
planted in (``drill_scratch``), running them (``drill``).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from countersign.errors import ArtifactError
from countersign.gate.conditions import MAX_SESSIONS, Condition
from countersign.gate.rules import signed_line
from countersign.gate.signature import sign
from countersign.gate.signers import Signer, list_signers, ssh_keygen
from countersign.gate.state import BOOTSTRAP, Deployment
from countersign.gate.statement import Statement
from countersign.model.acceptance import automatic_checks
from countersign.model.comparison import compare
from countersign.model.evaluation import evaluate, walk_forward
from countersign.model.registry import deploy_first
from countersign.model.training import training_rows
from countersign.project import Project
from countersign.steps.drill_scratch import (
    FORMER,
    MINUTE,
    REQUESTER,
    STRANGER,
    HoleError,
    Scratch,
    UntriedError,
    signer_name,
)
from countersign.steps.gate import evidence_path, gate_state, submit, verify_project
from countersign.steps.retrain import known_bars
from countersign.steps.service import in_service
from countersign.thresholds import load_thresholds

_DAY: Final = timedelta(days=1)
_OTHER: Final = "f" * 64
"""The digest of nothing."""


def _good(scratch: Scratch) -> str:
    """A gate that refuses everything is none."""
    request = scratch.ask()
    scratch.approve(request)
    scratch.deploy()
    project = scratch.project
    served = in_service(project).champion
    if served.model != request.candidate:
        raise HoleError(f"a good candidate with {request.quorum} signatures was not put into service")
    lines, findings, problems = verify_project(project)
    if findings or problems:
        raise HoleError(f"its journal does not verify: {'; '.join([*map(str, findings), *problems])}")
    return f"deployed, as it should be: {served.why}; its {lines} lines verify"


def _worse(scratch: Scratch) -> str:
    """Real forecasts turned round, judged by the automatic checks."""
    source, config = scratch.source, scratch.source.config.model
    try:
        panel, _ = known_bars(source, scratch.at)
    except ArtifactError as error:
        # A gap in the sessions, say, with which no retrain could be made either.
        raise UntriedError(f"no candidate can be trained: {error}") from error
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
        raise HoleError(f"a candidate worse than the baseline asks for a signature: {answer}")
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _unsigned(scratch: Scratch) -> str:
    scratch.ask()
    return scratch.refused("a deployment without a decision", scratch.deploy)


def _too_few(scratch: Scratch) -> str:
    scratch = scratch.with_quorum(2)
    request, first = scratch.ask(), signer_name(0)
    again = scratch.later(MINUTE)
    # Prepared before the first is on record: afterwards none would be.
    said = again.statement(request, first)
    scratch.submit(scratch.statement(request, first), first)
    again.refused("the same signer's second signature", lambda: again.submit(said, first))
    return again.refused("a deployment on one signature of two", again.deploy)


def _stranger(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(), signer_name(0))
    return scratch.refused("a signature by an unknown key", lambda: scratch.submit(said, STRANGER))


def _requester(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(by=REQUESTER), REQUESTER)
    return scratch.refused("the requester's own approval", lambda: scratch.submit(said, REQUESTER))


def _altered_statement(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(), signer_name(0), "request-changes").to_bytes()
    signature = sign(said, scratch.keys / signer_name(0))
    forged = said.decode().replace('"request-changes"', '"approve"')
    return scratch.refused(
        "a statement changed after it was signed", lambda: submit(scratch.project, forged, signature, scratch.at)
    )


def _replayed(scratch: Scratch) -> str:
    statement = scratch.statement(scratch.ask(), signer_name(0))
    other = scratch.copy(scratch.project.home.with_name("other"))
    # Begun anew: the first line of its journal is its own.
    other.project.journal.path.unlink()
    Path(other.project.store.location("model", None, "json")).unlink()
    deploy_first(other.project.store, other.project.journal, other.body, other.inputs, other.at)
    other.ask()
    return other.refused("an approval given in another project", lambda: other.submit(statement, signer_name(0)))


def _superseded(scratch: Scratch) -> str:
    older = scratch.ask("a")
    said = scratch.statement(older, signer_name(0))
    scratch.ask("b")
    answer = scratch.refused("the approval of a superseded request", lambda: scratch.submit(said, signer_name(0)))
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _expired(scratch: Scratch) -> str:
    request = scratch.ask()
    another = signer_name(request.quorum)
    # Signed in time and for longer than the request is open, but handed in too late.
    statement = replace(scratch.statement(request, another), expires=request.expires + timedelta(days=30))
    scratch.approve(request)
    late = scratch.later(request.expires - scratch.at)
    late.refused("the deployment of an expired request", late.deploy)
    return late.refused("the approval of an expired request", lambda: late.submit(statement, another))


def _stale(scratch: Scratch) -> str:
    first = scratch.ask("a")
    scratch.approve(first)
    scratch.deploy()
    scratch = scratch.later(MINUTE)
    said = scratch.statement(scratch.ask("b"), signer_name(0))
    scratch.submit(scratch.order("rollback", scratch.champion), signer_name(0))
    scratch.deploy()
    answer = scratch.refused("the approval of a stale request", lambda: scratch.submit(said, signer_name(0)))
    scratch.refused("its deployment", scratch.deploy)
    return answer


def _tampered(scratch: Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = scratch.model_file(request)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return scratch.refused("a model of which one byte was changed", scratch.deploy)


def _swapped(scratch: Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    other = scratch.plant("another")
    shutil.copyfile(scratch.model_file(replace(request, candidate=other)), scratch.model_file(request))
    return scratch.refused("another model in the place of the approved one", scratch.deploy)


def _linked(scratch: Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = scratch.model_file(request)
    elsewhere = file.with_name("elsewhere.json")
    file.replace(elsewhere)
    file.symlink_to(elsewhere)
    return scratch.refused("a symbolic link in the place of the model", scratch.deploy)


def _altered_evidence(scratch: Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    file = Path(scratch.project.store.location(evidence_path(request), None, "json"))
    file.write_bytes(file.read_bytes().replace(b'"drill": "a"', b'"drill": "b"'))
    return scratch.refused("a candidate whose evidence was changed", scratch.deploy)


def _listed(project: Project, name: str) -> Signer:
    return next(signer for signer in list_signers(project.signers) if signer.principal == name)


def _found(project: Project, what: str) -> None:
    """``verify`` names what was written by hand."""
    if not verify_project(project)[1]:
        raise HoleError(f"{what} was not found by verify")


def _nothing_follows(scratch: Scratch, what: str, said: str) -> str:
    """No deployment comes of a decision that was refused."""
    scratch.refused(what, scratch.deploy)
    return said


def _changed(scratch: Scratch, **changes: Any) -> str:
    """An approval, well signed, of something else than what waits."""
    statement = replace(scratch.statement(scratch.ask(), signer_name(0)), **changes)
    return scratch.refused("its approval", lambda: scratch.submit(statement, signer_name(0)))


def _another_candidate(scratch: Scratch) -> str:
    return _changed(scratch, candidate=scratch.plant("another"))


def _another_evidence(scratch: Scratch) -> str:
    return _changed(scratch, evidence=_OTHER)


def _another_champion(scratch: Scratch) -> str:
    return _changed(scratch, champion=_OTHER)


def _another_past(scratch: Scratch) -> str:
    return _changed(scratch, journal_head=_OTHER)


def _exchanged_evidence(scratch: Scratch) -> str:
    """The sound evidence of another candidate in the place of the one that was signed for."""
    other = scratch.ask("b")
    request = scratch.ask("a")
    scratch.approve(request)
    theirs, ours = (Path(scratch.project.store.location(evidence_path(one), None, "json")) for one in (other, request))
    shutil.copyfile(theirs, ours)
    return scratch.refused("a candidate with another's evidence", scratch.deploy)


def _another_project(scratch: Scratch) -> str:
    return _changed(scratch, project=_OTHER)


def _unseen(scratch: Scratch) -> str:
    """Signed on the journal as it was before the request."""
    before = gate_state(scratch.project).heads[0]
    return _changed(scratch, journal_head=before)


def _dated_back(scratch: Scratch) -> str:
    return _changed(scratch, at=scratch.at - _DAY)


def _dated_ahead(scratch: Scratch) -> str:
    return _changed(scratch, at=scratch.at + _DAY, expires=scratch.at + 2 * _DAY)


def _out_of_force(scratch: Scratch) -> str:
    statement = replace(scratch.statement(scratch.ask(), signer_name(0)), expires=scratch.at + MINUTE)
    late = scratch.later(2 * MINUTE)
    return late.refused("its approval", lambda: late.submit(statement, signer_name(0)))


def _request_that_is_none(scratch: Scratch) -> str:
    return _changed(scratch, request="r999")


def _former(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(), FORMER)
    return scratch.refused("a signature by a key that was ended", lambda: scratch.submit(said, FORMER))


def _in_anothers_name(scratch: Scratch) -> str:
    """By the requester's key, in a signer's name."""
    said = scratch.statement(scratch.ask(), signer_name(0))
    return scratch.refused("a signature by another signer's key", lambda: scratch.submit(said, REQUESTER))


def _requester_in_capitals(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(by=REQUESTER.upper()), REQUESTER)
    return scratch.refused("the requester's own approval", lambda: scratch.submit(said, REQUESTER))


def _namespace(scratch: Scratch) -> str:
    """As a key signs commits with."""
    data = scratch.statement(scratch.ask(), signer_name(0)).to_bytes()
    command = [ssh_keygen(), "-Y", "sign", "-n", "git", "-f", str(scratch.keys / signer_name(0))]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return scratch.refused(
        "a signature made for another purpose",
        lambda: submit(scratch.project, data.decode(), done.stdout.decode(), scratch.at),
    )


def _twice(scratch: Scratch) -> str:
    scratch = scratch.replaced()
    order = scratch.order("rollback", scratch.champion)
    scratch.submit(order, signer_name(0))
    return scratch.refused("the same decision a second time", lambda: scratch.submit(order, signer_name(0)))


def _rejected(scratch: Scratch) -> str:
    return _closed(scratch, "reject")


def _sent_back(scratch: Scratch) -> str:
    return _closed(scratch, "request-changes")


def _closed(scratch: Scratch, decision: Any) -> str:
    request = scratch.ask()
    approval = scratch.statement(request, signer_name(1))
    scratch.approve(request)
    scratch.submit(scratch.statement(request, signer_name(0), decision), signer_name(0))
    said = scratch.refused("an approval after it", lambda: scratch.submit(approval, signer_name(1)))
    return _nothing_follows(scratch, "the deployment of what was approved before", said)


def _revoked(scratch: Scratch) -> str:
    scratch = scratch.replaced()
    revoked = gate_state(scratch.project).last_model
    waits = scratch.ask("b")
    scratch.submit(scratch.order("revoke"), signer_name(0))
    said = scratch.refused("scoring by a revoked model", lambda: in_service(scratch.project))
    scratch.refused("a second revoke", lambda: scratch.submit(scratch.order("revoke"), signer_name(0)))
    # Others may come after it, and it may not.
    scratch.approve(waits)
    scratch.deploy()
    if in_service(scratch.project).champion.model == revoked:
        raise HoleError("a revoked model came back")
    scratch = scratch.later(MINUTE)
    order = replace(scratch.order("rollback", scratch.champion), candidate=str(revoked))
    scratch.refused("a rollback to a revoked model", lambda: scratch.submit(order, signer_name(0)))
    answer = scratch.answer("a")
    if gate_state(scratch.project).open_request:
        raise HoleError(f"a revoked model asks for a signature again: {answer}")
    return said


def _revoked_another(scratch: Scratch) -> str:
    scratch = scratch.replaced()
    order = replace(scratch.order("revoke"), candidate=scratch.champion)
    return scratch.refused("a revoke of a model not in service", lambda: scratch.submit(order, signer_name(0)))


def _never_in_service(scratch: Scratch) -> str:
    scratch = scratch.replaced()
    order = replace(scratch.order("rollback", scratch.champion), candidate=scratch.plant("never"))
    return scratch.refused("a rollback to it", lambda: scratch.submit(order, signer_name(0)))


def _old_order(scratch: Scratch) -> str:
    """Signed while the model was in service for the first time, handed in when it is again."""
    first = scratch.replaced("a")
    order = first.order("revoke")
    back = first.later(MINUTE)
    back.submit(back.order("rollback", scratch.champion), signer_name(0))
    back.deploy()
    again = back.later(MINUTE)
    again.submit(again.order("rollback", order.candidate), signer_name(0))
    again.deploy()
    return again.refused("an order of an earlier time", lambda: again.submit(order, signer_name(0)))


def _order_on_another_champion(scratch: Scratch) -> str:
    scratch = scratch.replaced()
    revoke = replace(scratch.order("revoke"), champion=_OTHER)
    rollback = replace(scratch.order("rollback", scratch.champion), champion=_OTHER)
    scratch.refused("the revoke", lambda: scratch.submit(revoke, signer_name(0)))
    return scratch.refused("the rollback", lambda: scratch.submit(rollback, signer_name(0)))


def _ratified_alone(scratch: Scratch) -> str:
    scratch = scratch.with_quorum(2)
    request, alone = scratch.ask(), signer_name(0)
    scratch.submit(scratch.statement(request, alone, break_glass=True), alone)
    scratch.deploy()
    own = scratch.statement(request, alone, "ratify")
    said = scratch.refused("ratifying one's own break-glass", lambda: scratch.submit(own, alone))
    scratch.submit(scratch.statement(request, signer_name(1), "ratify"), signer_name(1))
    again = replace(scratch.statement(request, signer_name(2), "ratify"), reason="once more")
    scratch.refused("ratifying it twice", lambda: scratch.submit(again, signer_name(2)))
    return said


def _requester_breaks_glass(scratch: Scratch) -> str:
    said = scratch.statement(scratch.ask(by=REQUESTER), REQUESTER, break_glass=True)
    return scratch.refused("the requester's own break-glass", lambda: scratch.submit(said, REQUESTER))


def _forged_deployment(scratch: Scratch) -> str:
    project, request = scratch.project, scratch.ask()
    fields = {"request": None, "why": "forged", "replaces": scratch.champion}
    project.journal.append("deployed", scratch.at, model=request.candidate, decision=BOOTSTRAP, **fields)
    answer = scratch.refused("scoring by a model that a forged line put there", lambda: in_service(project))
    scratch.refused("showing it as the one in service", scratch.deploy)
    _found(project, "a forged deployment")
    return answer


def _forged_past(scratch: Scratch) -> str:
    """A real rollback to a model that only forged lines had put into service."""
    answer = ""
    for number, decision in enumerate((BOOTSTRAP, _OTHER)):
        copy = scratch.copy(scratch.project.home.with_name(f"{scratch.project.home.name}-{number}"))
        fields = {"request": None, "why": "forged", "decision": decision}
        for model in (copy.plant("never"), copy.champion):
            copy.project.journal.append("deployed", copy.at, model=model, replaces=None, **fields)
        copy.submit(copy.order("rollback", copy.plant("never")), signer_name(0))
        answer = copy.refused("a rollback to it", copy.deploy)
    return answer


def _forged_order(scratch: Scratch) -> str:
    """A rollback in a signer's name, with a signature that is none of that signer's."""
    scratch = scratch.replaced()
    order = scratch.order("rollback", scratch.champion)
    _write_signed(scratch, order, sign(order.to_bytes(), scratch.keys / STRANGER))
    answer = scratch.refused("a rollback on a forged line of the journal", scratch.deploy)
    _found(scratch.project, "a forged order")
    return answer


def _forged_rollback(scratch: Scratch) -> str:
    """A deployment that names a decision which was about another model."""
    scratch = scratch.replaced()
    project = scratch.project
    scratch.submit(scratch.order("rollback", scratch.champion), signer_name(0))
    decision = gate_state(project).heads[-1]
    fields = {"request": None, "why": "forged", "replaces": scratch.champion}
    project.journal.append("deployed", scratch.at, model=scratch.plant("never"), decision=decision, **fields)
    answer = scratch.refused("scoring by a model that was never approved", lambda: in_service(project))
    _found(project, "a forged rollback")
    return answer


def _forged_approval(scratch: Scratch) -> str:
    """A line as the gate would write it, in a signer's name, with a signature that is none of that signer's."""
    request = scratch.ask()
    said = [scratch.statement(request, signer_name(number)) for number in range(request.quorum)]
    for statement in said:
        _write_signed(scratch, statement, sign(statement.to_bytes(), scratch.keys / STRANGER))
    answer = scratch.refused("a deployment on a forged line of the journal", scratch.deploy)
    _found(scratch.project, "a forged approval")
    return answer


def _forged_bounds(scratch: Scratch) -> str:
    """A good signature under a line that says more than was signed."""
    request = scratch.ask()
    for number in range(request.quorum):
        statement = scratch.statement(request, signer_name(number), "request-changes")
        _write_signed(scratch, statement, sign(statement.to_bytes(), scratch.keys / signer_name(number)), "approve")
    answer = scratch.refused("a deployment on another decision than was signed", scratch.deploy)
    _found(scratch.project, "a line that says more than was signed")
    return answer


def _write_signed(scratch: Scratch, statement: Statement, signature: str, decision: str = "") -> None:
    event, fields = signed_line(statement, _listed(scratch.project, statement.signer), signature)
    changed = {"decision": decision} if decision else {}
    scratch.project.journal.append(event, scratch.at, **{**fields, **changed})


def _forged_requester(scratch: Scratch) -> str:
    """The requester's own approval, well signed and past the command line."""
    statement = scratch.statement(scratch.ask(by=REQUESTER), REQUESTER)
    _write_signed(scratch, statement, sign(statement.to_bytes(), scratch.keys / REQUESTER))
    answer = scratch.refused("a deployment on the requester's word", scratch.deploy)
    _found(scratch.project, "a requester's approval")
    return answer


def _no_wish(scratch: Scratch) -> str:
    """A request that no retrain made."""
    return _forged_request(scratch, retrain=_OTHER)


def _another_asker(scratch: Scratch) -> str:
    """A request in nobody's name, so that whoever asked could sign."""
    return _forged_request(scratch, asked_by=None)


def _for_years(scratch: Scratch) -> str:
    return _forged_request(scratch, expires=(scratch.at + 3650 * _DAY).isoformat())


def _forged_request(scratch: Scratch, **changes: Any) -> str:
    """The line of a request written again, under another name and with ``changes``."""
    scratch.ask(by=REQUESTER)
    project, fields = scratch.project, _newest(scratch.project, "sign_off_requested")
    project.journal.append("sign_off_requested", scratch.at, **{**fields, "request": "r999", **changes})
    request = gate_state(project).open_request
    assert request is not None, "just written"
    said = scratch.statement(request, signer_name(0))
    answer = scratch.refused("the approval of a forged request", lambda: scratch.submit(said, signer_name(0)))
    _found(project, "a forged request")
    return answer


def _newest(project: Project, event: str) -> dict[str, Any]:
    line = next(one for one in reversed(project.journal.read()) if one["event"] == event)
    return {name: value for name, value in line.items() if name not in ("event", "at", "previous", "sha256")}


def _forged_times(scratch: Scratch) -> str:
    """Lines on what time brings, and on requests, that no rule wrote."""
    scratch.ask("a")
    request = scratch.ask("b")
    asked = _newest(scratch.project, "sign_off_requested")
    forged: list[tuple[str, dict[str, Any]]] = [
        ("expired", {"request": request.id}),
        ("reminded", {"request": "r1"}),
        ("superseded", {"request": request.id, "successor": "r1"}),
        ("sign_off_requested", asked),
        ("sign_off_requested", {**asked, "request": "r999", "champion": _OTHER}),
        ("sign_off_requested", {**asked, "request": "r999", "quorum": 0}),
    ]
    for number, (event, fields) in enumerate(forged):
        copy = scratch.copy(scratch.project.home.with_name(f"{scratch.project.home.name}-{number}"))
        copy.project.journal.append(event, copy.at, **fields)
        _found(copy.project, f"a forged line {event}")
    scratch.project.journal.append("refused", scratch.at - 30 * _DAY, what="sign", cause="nothing", statement=None)
    _found(scratch.project, "a line that was dated back")
    return f"verify named each of {len(forged) + 1} lines"


_CONDITION: Final = Condition("auc", MAX_SESSIONS, "below", 0.65)
"""The longest window: a project of one symbol has rows enough for it."""


def _forged_condition(scratch: Scratch) -> str:
    """A line that calls a condition broken of which nothing is known, to bring the earlier model back."""
    scratch = scratch.replaced(conditions=(_CONDITION,))
    project, state = scratch.project, gate_state(scratch.project)
    deployment = state.last_deployment
    assert deployment is not None, "just deployed"
    _write_broken(scratch, deployment, _CONDITION)
    answer = scratch.refused("a return on a forged line of the journal", scratch.deploy)
    if not any("condition" in problem for problem in verify_project(project)[2]):
        raise HoleError("a forged broken condition was not found by verify")
    return answer


def _write_broken(scratch: Scratch, deployment: Deployment, condition: Condition) -> str:
    line = scratch.project.journal.append(
        "condition_broken",
        scratch.at,
        deployment=deployment.line,
        model=deployment.model,
        condition=str(condition),
        session=scratch.project.first_session,
        value=0.1,
        sentence=f"{condition}: 0.1",
    )
    return str(line["sha256"])


def _another_condition(scratch: Scratch) -> str:
    """A line that calls a condition broken which no approval carries."""
    scratch = scratch.replaced(conditions=(_CONDITION,))
    project, deployment = scratch.project, gate_state(scratch.project).last_deployment
    assert deployment is not None, "just deployed"
    broken = _write_broken(scratch, deployment, replace(_CONDITION, bound=0.99))
    answer = scratch.refused("a return on a forged line of the journal", scratch.deploy)
    why = "a condition of the approval is broken"
    project.journal.append("deployed", scratch.at, model=scratch.champion, decision=broken, request=None, why=why)
    scratch.refused("scoring by what it brought back", lambda: in_service(project))
    _found(project, "a condition that no approval carries")
    return answer


def _line_changed(scratch: Scratch) -> str:
    request = scratch.ask()
    scratch.approve(request)
    path = scratch.project.journal.path
    path.write_bytes(path.read_bytes().replace(b'"break_glass":false', b'"break_glass":true', 1))
    return scratch.refused("a deployment on a changed line of the journal", scratch.deploy)


def _line_removed(scratch: Scratch) -> str:
    scratch.approve(scratch.ask())
    path = scratch.project.journal.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    return scratch.refused("a deployment on a journal that lacks a line", scratch.deploy)


PLANTED: Final[dict[str, Callable[[Scratch], str]]] = {
    "worse than the baseline": _worse,
    "unsigned": _unsigned,
    "one signature of two": _too_few,
    "signed by an unknown key": _stranger,
    "signed by a key that was ended": _former,
    "signed in another signer's name": _in_anothers_name,
    "signed for another purpose": _namespace,
    "signed by the requester": _requester,
    "the same, in other letters": _requester_in_capitals,
    "break-glass by the requester": _requester_breaks_glass,
    "break-glass ratified by the same": _ratified_alone,
    "statement changed after signing": _altered_statement,
    "signed for another candidate": _another_candidate,
    "signed for other evidence": _another_evidence,
    "signed with another champion": _another_champion,
    "signed on another journal": _another_past,
    "signed before it was asked for": _unseen,
    "signed for another project": _another_project,
    "on a request that is none": _request_that_is_none,
    "dated back": _dated_back,
    "dated ahead": _dated_ahead,
    "no longer in force": _out_of_force,
    "replayed on another project": _replayed,
    "the same decision twice": _twice,
    "rejected, then approved": _rejected,
    "sent back, then approved": _sent_back,
    "superseded": _superseded,
    "expired": _expired,
    "stale champion": _stale,
    "revoked": _revoked,
    "revoke of a model not in service": _revoked_another,
    "rollback to one never in service": _never_in_service,
    "order of an earlier time": _old_order,
    "order with another champion": _order_on_another_champion,
    "one byte of the model changed": _tampered,
    "another model in its place": _swapped,
    "symbolic link in its place": _linked,
    "evidence changed": _altered_evidence,
    "another's evidence in its place": _exchanged_evidence,
    "forged line: a deployment": _forged_deployment,
    "forged line: a rollback": _forged_rollback,
    "forged line: an order": _forged_order,
    "rollback to a forged past": _forged_past,
    "forged line: an approval": _forged_approval,
    "forged line: another decision": _forged_bounds,
    "forged line: requester's approval": _forged_requester,
    "forged line: a request of no wish": _no_wish,
    "forged line: another asker": _another_asker,
    "forged line: open for years": _for_years,
    "forged lines: what time brings": _forged_times,
    "forged line: a broken condition": _forged_condition,
    "forged line: another condition": _another_condition,
    "journal line changed": _line_changed,
    "journal line removed": _line_removed,
    "a good candidate, well signed": _good,
}
