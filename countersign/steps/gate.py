"""Steps of the gate: decisions put on record, models put into service, what time brings.

Belongs here: reading the journal and the bytes, asking ``gate.rules``, writing. Does not belong here: what is allowed
(``gate``), who launches these. A refused attempt goes on record with its cause, and changes nothing else.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from countersign import checks
from countersign.checks import CheckResult
from countersign.errors import ArtifactError, CountersignError, GateError, JournalError, ModelError, SessionError
from countersign.gate.audit import Finding, audit, verify_in_service
from countersign.gate.bounds import least_rows
from countersign.gate.conditions import Condition
from countersign.gate.rules import Due, admit, due, housekeeping, not_due, require_first, require_open, signed_line
from countersign.gate.signature import verify
from countersign.gate.signers import list_signers
from countersign.gate.state import Deployment, Line, Request, State, state_of
from countersign.gate.statement import Decision, Statement, parse
from countersign.model.evaluation import measure_of
from countersign.model.registry import Model, read_model
from countersign.monitoring.alerts import WAITING, Verdict, day_of
from countersign.project import Project
from countersign.steps.made import Made, Numbers
from countersign.steps.service import in_service
from countersign.steps.standing import broken_condition, judged
from countersign.storage.artifacts import Stored
from countersign.storage.files import reached
from countersign.storage.journal import Event
from countersign.thresholds import load_thresholds

_MAX_CAUSE: Final = 500


def gate_state(project: Project) -> State:
    """Where all stands, under the project's policy. Raises ``JournalError`` where the record is broken."""
    return _state(project, project.journal.read())


def _state(project: Project, lines: Sequence[Line]) -> State:
    return state_of(lines).under(project.config.gate.quorum)


def evidence_path(request: Request) -> str:
    """The artifact with the evidence of ``request``."""
    return f"models/{request.candidate}/evidence/{request.evidence}/evidence"


def prepare(
    project: Project,
    decision: Decision,
    signer: str,
    now: datetime,
    *,
    request: str | None = None,
    model: str | None = None,
    reason: str = "",
    conditions: Sequence[Condition] = (),
    break_glass: bool = False,
) -> Statement:
    """What ``signer`` has to sign for ``decision``: on ``request`` (the open one where None), or on ``model``.

    Of revoke the model is the one in service, of rollback the one before it where None. Raises ``GateError`` where
    there is none, where a condition could never be judged, where ``signer`` approved it already, and as ``Statement``
    does.
    """
    state, now = gate_state(project), now.replace(microsecond=0)
    last, expires = state.last_model, now + timedelta(days=project.config.gate.expiry_days)
    if state.project is None:
        raise GateError("expected a journal with a model, found none: run bootstrap_job first")
    asked = awaited(state, request, decision) if decision not in ("revoke", "rollback") else None
    if decision == "ratify":
        last = asked.champion if asked else None
    elif asked:
        require_open(state, asked, now)
        # Before a person is asked to sign; when it goes on record all the rules are asked.
        for one in list_signers(project.signers) if decision == "approve" else []:
            if one.principal == signer:
                require_first(asked, one, now, break_glass=break_glass)
        expires = min(expires, asked.expires)
    if asked:
        model = asked.candidate
        _require_rows(project, model, conditions)
    elif decision == "rollback":
        model = _earlier(state, model)
    else:
        model = model or last
    return Statement(
        project=state.project,
        request=asked.id if asked else None,
        candidate=str(model),
        evidence=asked.evidence if asked else None,
        champion=last,
        journal_head=state.heads[-1],
        decision=decision,
        signer=signer,
        at=now,
        expires=expires,
        reason=reason,
        conditions=tuple(conditions),
        break_glass=break_glass,
    )


def _require_rows(project: Project, model: str, conditions: Sequence[Condition]) -> None:
    """Raise ``GateError`` where one of ``conditions`` could never be broken: its window has too few rows to be judged,
    of as many symbols as ``model`` was trained on."""
    if not conditions:
        return
    symbols = len(read_model(project.store, model).document["training"]["symbols"])
    thresholds, _ = load_thresholds(project.home)
    for one in conditions:
        needed = least_rows(one, min_rows=thresholds.business.min_rows, min_each=thresholds.model.min_each)
        if one.sessions * symbols < needed:
            raise GateError(
                f"expected a condition that can be judged, found {str(one)!r}: {one.sessions} sessions of {symbols} "
                f"symbols are {one.sessions * symbols} rows, and {one.measure} takes {needed} (min_rows and min_each "
                f"in config/thresholds.yaml). {math.ceil(needed / symbols)} sessions are enough"
            )


def awaited(state: State, name: str | None, decision: Decision) -> Request:
    """The request called ``name``, or the one that waits for ``decision``. Raises ``GateError`` where there is none."""
    waits = state.unratified if decision == "ratify" else state.open_request
    found = state.request(name) if name else waits
    if found is None:
        known = f"there are {', '.join(r.id for r in state.requests)}"
        known = known if state.requests else "no candidate has asked for a signature yet"
        if name:
            raise GateError(f"expected the id of a request, found {name}: {known}")
        what = (
            "was deployed by break-glass and waits to be ratified" if decision == "ratify" else "waits for a decision"
        )
        raise GateError(f"expected a request that {what}, found none: {known}")
    return found


def _earlier(state: State, start: str | None) -> str:
    found = [d.model for d in state.earlier() if d.model.startswith(start or "")]
    if not found:
        known = ", ".join(d.model[:12] for d in state.earlier())
        raise GateError(
            f"expected an earlier model to return to ({known}), found {start}"
            if known
            else "expected an earlier model to return to, found none"
        )
    return found[0]


def submit(project: Project, statement: str, signature: str, now: datetime) -> Line:
    """Put a signed decision on record; the journal's new line.

    Raises ``GateError`` where the signature, the statement or its time is not good, with the attempt on record as
    refused; and where the model or the evidence decided on is not the one that the statement names.
    """
    # A launchpad or a mail may have changed the ends of lines, which are no part of what was signed.
    # (Half a surrogate is no UTF-8; what comes of it is refused as any other bytes that are no statement.)
    data, now = statement.strip().encode("utf-8", "surrogatepass"), now.replace(microsecond=0)
    signature = "".join(f"{line.strip()}\n" for line in signature.splitlines() if line.strip())
    with _refusals(project, "sign", data, now):
        said = parse(data)
        signer = verify(data, signature, list_signers(project.signers), now)

        def decide(lines: list[dict[str, Any]]) -> list[Event]:
            state = _state(project, lines)
            admit(state, said, signer, now)
            # What could not be deployed would be due, and fail, for as long as the decision is in force.
            if said.decision in ("approve", "rollback"):
                read_model(project.store, said.candidate)
            if said.decision == "approve":
                request = state.request(str(said.request))
                assert request is not None, "admitted"
                read_evidence(project, request)
            return [signed_line(said, signer, signature)]

        return project.journal.extend(decide, now)[0]


def read_evidence(project: Project, request: Request) -> dict[str, Any]:
    """The evidence of ``request``. Raises ``ArtifactError`` where it is missing, damaged or another's."""
    document, stored = project.store.read_document(evidence_path(request))
    if stored.sha256 != request.evidence:
        raise ArtifactError(
            f"expected the evidence {request.evidence[:12]} of {request.id}, found {stored.sha256[:12]}"
        )
    return document


def put_into_service(project: Project, now: datetime) -> Made:
    """``model``: deploy what a decision made due, whoever launches it.

    Everything is verified again: the signatures, the model's bytes, the evidence, the request's time, the champion that
    it was compared with. Safe to repeat after a crash at any point. Raises ``GateError`` where nothing is due, with the
    attempt on record as refused; as what it reads does where that is damaged.
    """
    now = now.replace(microsecond=0)
    with _refusals(project, "deploy", b"", now):
        state = gate_state(project)
        found = due(state, now, project.config.gate.on_revoke)
        champion = state.champion
        if not found:
            if champion is None or _published(project, champion):
                raise GateError(not_due(state, now))
            # The journal has it, and a crash came before the copy for people.
            verify_in_service(project.journal.read(), champion, list_signers(project.signers))
            return _publish(project, champion, read_model(project.store, champion.model))
        deployment, model = _deploy_first(project, found, now)
        reached("deploy: journaled")
    return _publish(project, deployment, model)


def _deploy_first(project: Project, found: Sequence[Due], now: datetime) -> tuple[Deployment, Model]:
    """The first that can be: what is lost, or rests on a line that nothing proves, keeps nothing else from coming.

    Raises what is wrong with the first of all where none can be.
    """
    problems: list[CountersignError] = []
    for one in found:
        try:
            return _deploy(project, one, now)
        except (ArtifactError, GateError, ModelError) as error:
            problems.append(error)
    raise problems[0]


def _deploy(project: Project, found: Due, now: datetime) -> tuple[Deployment, Model]:
    """Put ``found`` into service by a line of the journal, unless something else came first.

    All is verified while the journal is locked, right before that line: whoever exchanges the file after it has
    tampered with a model in service, which is not used.
    """
    verified: list[Model] = []

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        state = _state(project, lines)
        if found not in due(state, now, project.config.gate.on_revoke):
            raise GateError(f"{found.model[:12]} is no longer due: another process decided or deployed. Look again")
        fields = {
            "model": found.model,
            "decision": found.decision,
            "request": found.request,
            "why": found.why,
            "replaces": state.last_model,
        }
        # As it would be read back: the line is not written where the signatures that it rests on are not good.
        trial = [*lines, {"event": "deployed", "at": now.isoformat(), "sha256": "", **fields}]
        deployment = state_of(trial).last_deployment
        assert deployment is not None, fields
        broken = next((line for line in lines if line["sha256"] == found.decision), None)
        if broken and broken["event"] == "condition_broken" and not _shown(project, state, broken):
            raise GateError(
                f"expected stored outcomes to break the condition {broken['condition']!r}, found that they do not"
            )
        verify_in_service(trial, deployment, list_signers(project.signers))
        request = state.request(found.request) if found.request else None
        if request:
            read_evidence(project, request)
        reached("deploy: verified")
        verified.append(read_model(project.store, found.model))
        verified[0].fitted.require_finite()
        return [("deployed", fields)]

    (line,) = project.journal.extend(decide, now)
    deployment = next(d for d in gate_state(project).deployments if d.line == line["sha256"])
    return deployment, verified[0]


def cut_short(project: Project, state: State) -> Due | None:
    """A deployment that the journal has and the copy for people has not: a crash came in between."""
    champion = state.champion
    if champion is None or not state.requests or _published(project, champion):
        return None
    return Due(champion.model, champion.decision, champion.request, "its deployment was cut short")


def _published(project: Project, champion: Deployment) -> bool:
    try:
        return project.store.digest("model", None, "json") == champion.model
    except ArtifactError:
        return False


def _publish(project: Project, deployment: Deployment, model: Model) -> Made:
    reached("deploy: before publishing")
    stored = project.store.copy_document(f"models/{deployment.model}/model", "model", deployment.model)
    training = model.document["training"]
    numbers: Numbers = {
        "rows": training["rows"],
        "first_session": training["first_session"],
        "last_session": training["last_session"],
        "code_version": training["code_version"],
        "in_service": f"since {deployment.at:%Y-%m-%d %H:%M} UTC",
        "decision": deployment.decision,
        "request": deployment.request or "none",
    }
    evaluation = model.document["evaluation"]
    verdicts = (
        checks.beats_baseline("volatility_beats_baseline", measure_of(evaluation, "qlike")),
        checks.beats_baseline("bad_week_beats_baseline", measure_of(evaluation, "auc")),
    )
    return Made(None, stored, verdicts, numbers)


def decided(project: Project, statement: str, signature: str, now: datetime) -> Made:
    """``sign_off``: as ``submit``, for Dagster."""
    line = submit(project, statement, signature, now)
    stored = Stored("journal", None, str(project.journal.path), line["sha256"], 1, {})
    numbers: Numbers = {
        name: str(line[name]) for name in ("decision", "request", "model", "signer", "reason", "expires") if line[name]
    }
    return Made(None, stored, (), numbers, f"**{line['signer']}** signed **{line['decision']}** ({line['request']}).")


def signed_off(project: Project, now: datetime) -> CheckResult:
    """Whether the newest candidate has been decided on; a waiting one fails, and says what to do."""
    state = gate_state(project)
    request = state.open_request
    last = state.requests[-1] if state.requests else None
    if last is None:
        return CheckResult("signed_off", "insufficient", "no candidate has asked for a signature yet", layer="model")
    if request is None:
        return CheckResult("signed_off", "pass", _ended(last), layer="model")
    valid = [approval.signer for approval in request.approvals if approval.counts(now)]
    people = [signer.principal for signer in list_signers(project.signers) if signer.is_valid(now)]
    asked = [name for name in dict.fromkeys(people) if name not in (*valid, request.asked_by)]
    if request.approving(now):
        sentence = f"{request.id} is approved by {', '.join(valid)} and waits for deploy_job"
    else:
        sentence = (
            f"{request.id} waits since {request.at:%Y-%m-%d %H:%M} UTC, until {request.expires:%Y-%m-%d %H:%M}, for "
            f"{missing_words(request.quorum - len(valid), asked)}. Look: countersign review {request.id}"
        )
    numbers = {
        "signatures": f"{len(valid)} of {request.quorum}",
        "candidate": request.candidate,
        "evidence": request.evidence,
    }
    return CheckResult("signed_off", "fail", sentence, numbers=numbers, layer="model")


def missing_words(missing: int, people: Sequence[str]) -> str:
    """How many have yet to sign, of ``people``, and that these are too few where they are."""
    few = f" (config/allowed_signers names {len(people) or 'none'} who may)" if len(people) < missing else ""
    return f"{missing} of {', '.join(people) or 'nobody'}{few}"


def _ended(request: Request) -> str:
    """What came of a request that waits no more, in words."""
    by = request.closed_by
    return {
        "deployed": f"{request.id} was deployed",
        "rejected": f"{request.id} was rejected by {by}",
        "changes requested": f"{request.id} was sent back for changes by {by}",
        "superseded": f"{request.id} was superseded by {by}",
        "stale": f"{request.id} is stale: {by[:12]} was put into service instead",
        "expired": f"{request.id} expired",
    }[str(request.outcome)]


def ratified(project: Project) -> CheckResult:
    """Whether the model in service has the signatures it takes; one that a single signer deployed by break-glass fails
    until a second one ratifies it, whatever else waits."""
    state = gate_state(project)
    if not state.deployments:
        return CheckResult("ratified", "insufficient", "no model was put into service yet", layer="model")
    champion, alone = state.champion, state.unratified
    numbers = {"model": champion.model, "decision": champion.decision} if champion else {}
    if alone:
        by = ", ".join(approval.signer for approval in alone.approvals)
        said = f"{alone.id} was deployed by break-glass ({by}) and waits for a second signer"
        sentence = f"{said}: countersign ratify {alone.id}"
        return CheckResult("ratified", "fail", sentence, numbers=numbers, layer="model")
    name = state.origin(champion).request if champion else None
    request = state.request(name) if name else None
    if request and request.ratified_by:
        sentence = f"{request.id} was deployed by break-glass and ratified by {request.ratified_by}"
    else:
        sentence = "no deployment by break-glass waits for a second signer"
    return CheckResult("ratified", "pass", sentence, numbers=numbers, layer="model")


@dataclass(frozen=True)
class Standing:
    """Where the model in service stands, in sentences: how it got there, what of it needs a person, what came of the
    newest request."""

    sentence: str
    needs: tuple[str, ...]
    news: tuple[str, ...]


def standing(state: State, coming: Sequence[Due] = ()) -> Standing:
    """For the report, the weekly review and ``status``. Raises nothing: it says what the journal says. What is
    ``coming`` into service waits for nobody.

    Each of the needs begins as ``report.session_needs`` knows them: a later reader of a report leaves them out.
    """
    current, request = state.champion, state.open_request
    sentence, needs, news = "not in service", list[str](), list[str]()
    if current:
        sentence = deployment_words(state, current)
        if not state.is_reviewed(current.model):
            needs.append(
                "The model in service was deployed as the first one, without a signature: nobody has reviewed it."
            )
    if alone := state.unratified:
        needs.append(
            f"The model in service was deployed by break-glass ({alone.id}): a second signer has to ratify it "
            "(countersign ratify)."
        )
    if current and current.line in state.broken and not state.fallback():
        needs.append("The model in service broke a condition of its approval, and no earlier one can come back.")
    if request and request.id not in {one.request for one in coming}:
        needs.append(
            f"A new model waits until {request.expires:%Y-%m-%d}, with {len(request.approvals)} of "
            f"{request.quorum} signatures: countersign review {request.id}"
        )
    last = state.requests[-1] if state.requests else None
    if last and last.outcome and last.outcome != "deployed":
        by = f" by {last.closed_by}" if last.outcome in ("rejected", "changes requested") else ""
        because = f": {last.closing_reason}" if last.closing_reason else ""
        news.append(f"The candidate {last.candidate[:12]} ({last.id}) was {last.outcome}{by}{because}.")
    return Standing(sentence, tuple(needs), tuple(news))


def deployment_words(state: State, deployment: Deployment) -> str:
    """How a model got into service, and what takes it out again."""
    if deployment.unsigned:
        return "in service as the first model, without a signature"
    # A model that came back may never have been approved.
    first = " (deployed at first without a signature)" if state.origin(deployment).unsigned else ""
    leaves = f"; leaves again once {' or '.join(deployment.conditions)}" if deployment.conditions else ""
    return f"in service since {deployment.at:%Y-%m-%d}: {deployment.why}{first}{leaves}"


def retrain_words(state: State) -> str | None:
    """The newest wish for a retrain: while it is open, and where nothing but a refusal came of it, until another model
    has come into service."""
    last, deployed = state.retrains[-1] if state.retrains else None, state.last_deployment
    if last is None or state.request(last.answer or ""):
        return None
    said = f"{last.asked_by or 'monitoring'} asked for one at {last.at:%Y-%m-%d %H:%M} UTC ({last.reason})"
    if last.answer is None:
        return f"{said}: its candidate is still to come (drift_sensor launches retrain_job)"
    return None if deployed and deployed.at > last.at else f"{said}; it was {last.answer}"


def waiting(project: Project, now: datetime) -> list[Verdict]:
    """Verdicts for the alerts on what waits for a signature; each reminder on record makes it another one."""
    state, found = gate_state(project), list[Verdict]()
    if alone := state.unratified:
        since = state.deployments[-1].at
        found.append(Verdict(WAITING, alone.id, "model", "fail", "error", day_of(since), ratified(project).sentence))
    if request := state.open_request:
        since = request.reminded or request.at
        sentence = signed_off(project, now).sentence
        found.append(
            Verdict(WAITING, request.id, "model", "fail", "warning", day_of(since), sentence, value=request.reminders)
        )
    return found


def tend(project: Project, now: datetime) -> list[str]:
    """Put on record what time brings (a request expired, a reminder, a broken condition); what was added, in words."""
    interval, said = timedelta(hours=project.config.gate.reminder_hours), list[str]()

    def decide(lines: list[dict[str, Any]]) -> list[Event]:
        state = _state(project, lines)
        said.clear()
        try:
            broken = broken_condition(project, state, now)
        except CountersignError as error:
            # What cannot be judged holds up neither a signed decision nor a reminder.
            said.append(f"the conditions of the approval cannot be judged: {error}")
            broken = None
        return [*housekeeping(state, now, interval), *([broken] if broken else [])]

    # Most ticks find nothing, and take no lock.
    added = project.journal.extend(decide, now) if decide(project.journal.read()) else []
    return [*(f"{line.get('request') or line['model'][:12]}: {line['event']}" for line in added), *said]


def _shown(project: Project, state: State, line: Line) -> bool:
    """Whether what is stored now shows the condition broken that ``line`` calls so: nobody has signed that line."""
    deployment = next((one for one in state.deployments if one.line == line["deployment"]), None)
    session, condition = str(line.get("session")), line.get("condition")
    if deployment is None or condition not in deployment.conditions:
        return False
    try:
        found = judged(project, [session], deployment)[session]
    except SessionError:
        return False
    return any(one.status == "broken" and str(one.condition) == condition for one in found)


def verify_project(project: Project) -> tuple[int, list[Finding], list[str]]:
    """The number of lines in the journal, what is wrong with any of them, and with the files that they bind.

    Raises ``JournalError`` where the chain itself is broken, with the first such line; ``GateError`` where the list of
    signers cannot be read.
    """
    lines = project.journal.read()
    found = list(audit(lines, list_signers(project.signers)))
    problems = list[str]()
    try:
        state = state_of(lines)
        for request in state.requests:
            try:
                read_evidence(project, request)
            except ArtifactError as error:
                problems.append(f"the evidence that {request.id} was decided on: {error}")
        for line in lines:
            if line["event"] == "condition_broken" and not _shown(project, state, line):
                problems.append(
                    f"the condition {line.get('condition')!r} was called broken as of {line.get('session')}, and what "
                    "is stored now does not show it: the line was forged, or sessions were run again since"
                )
        champion = state.champion
        if champion:
            in_service(project)
            if not _published(project, champion):
                problems.append(
                    f"expected {project.store.location('model', None, 'json')} to be the model in service "
                    f"({champion.model[:12]}), found another or none: a deployment was cut short, which launching "
                    "deploy_job mends, or lines are missing at the journal's end, which a backup has"
                )
    except (ArtifactError, JournalError, ModelError) as error:
        problems.append(str(error))
    return len(lines), found, problems


@contextmanager
def _refusals(project: Project, what: str, data: bytes, now: datetime) -> Iterator[None]:
    """Put an attempt that fails on record. The same one again, with nothing in between, is there already."""
    try:
        yield
    except CountersignError as error:
        cause = str(error)[:_MAX_CAUSE]
        fields = {"what": what, "cause": cause, "statement": hashlib.sha256(data).hexdigest() if data else None}

        def decide(lines: list[dict[str, Any]]) -> list[Event]:
            last = lines[-1] if lines else {"event": ""}
            if last["event"] == "refused" and all(last[name] == value for name, value in fields.items()):
                return []
            return [("refused", fields)]

        # Where the journal is broken or was never begun, nothing is written to it.
        if project.journal.path.exists() and not _broken(project):
            project.journal.extend(decide, now)
        raise


def _broken(project: Project) -> bool:
    try:
        project.journal.read()
    except CountersignError:
        return True
    return False
