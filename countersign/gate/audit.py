"""Audit: the journal told again from its first line, by the rules that it was written by.

Belongs here: whether each line could be there, and whether each signature is good. Does not belong here: the chain of
hashes (``storage.journal`` has verified it), the bytes of models (``steps.gate``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from countersign.errors import GateError, JournalError
from countersign.gate.rules import OnRevoke, admit, due, require_asked, signed_line
from countersign.gate.signature import CLOCK_SKEW, verify
from countersign.gate.signers import Signer
from countersign.gate.state import BOOTSTRAP, Approval, Deployment, Line, State, after, state_of
from countersign.gate.statement import parse


@dataclass(frozen=True)
class Finding:
    """What is wrong with the line of that number, counted from 1."""

    number: int
    event: str
    problem: str

    def __str__(self) -> str:
        return f"line {self.number} ({self.event}): {self.problem}"


def audit(lines: Sequence[Line], signers: Sequence[Signer]) -> Iterator[Finding]:
    """Every line that could not have been added by the rules, each signature verified; nothing where all is well.

    Ends at a line that has not the fields of its event: what follows it cannot be judged.
    """
    before = State()
    for number, line in enumerate(lines, start=1):
        event = str(line.get("event"))
        try:
            state = after(before, line)
        except JournalError as error:
            yield Finding(number, event, str(error))
            return
        try:
            if before.times:
                _verify_time(before.times[-1], state.times[-1])
            if event == "signed":
                _verify_signed(before, line, signers)
            elif event in _BY_RULES:
                _BY_RULES[event](before, line)
        except (GateError, KeyError, TypeError, ValueError, AttributeError) as error:
            said = str(error) if isinstance(error, GateError) else f"expected another form of line ({error!r})"
            yield Finding(number, event, said)
        before = state


def verify_in_service(lines: Sequence[Line], deployment: Deployment, signers: Sequence[Signer]) -> None:
    """Raise ``GateError`` where what put ``deployment`` into service is not a good signature, or does not follow.

    Looks at no other lines than those, so that its cost does not grow with the journal's years.
    """
    place = {line["sha256"]: number for number, line in enumerate(lines)}
    before = state_of(lines[: place[deployment.line]])
    _verify_deployed(before, lines[place[deployment.line]])
    if deployment.request:
        _verify_enough(lines, place, before, deployment, signers)
    elif deployment.decision != BOOTSTRAP:
        # A rollback, a revoke or a broken condition: the model returned to rests on its own deployment.
        decided = place[deployment.decision]
        if lines[decided]["event"] == "signed":
            _verify_signed(state_of(lines[:decided]), lines[decided], signers)
        else:
            _verify_broken(state_of(lines[:decided]), lines[decided])
        own = [
            earlier
            for earlier in before.deployments
            if earlier.model == deployment.model and (earlier.request or earlier.decision == BOOTSTRAP)
        ]
        if not own:
            raise GateError(f"expected a return to a model that was once approved, found {deployment.model[:12]}")
        verify_in_service(lines, own[-1], signers)


def _verify_enough(
    lines: Sequence[Line],
    place: Mapping[str, int],
    before: State,
    deployment: Deployment,
    signers: Sequence[Signer],
) -> None:
    """That enough of the approvals are good: one of a signer who was struck off since takes nothing from the others."""
    request = before.request(str(deployment.request))
    assert request is not None, "its deployment is due"
    good, wrong = list[Approval](), list[GateError]()
    for approval in request.approving(deployment.at):
        try:
            _verify_signed(state_of(lines[: place[approval.line]]), lines[place[approval.line]], signers)
            good.append(approval)
        except GateError as error:
            wrong.append(error)
    if not replace(request, approvals=tuple(good)).approving(deployment.at):
        raise wrong[0]


def _verify_signed(before: State, line: Line, signers: Sequence[Signer]) -> None:
    data, at = line["statement"].encode(), datetime.fromisoformat(line["at"])
    statement = parse(data)
    signer = verify(data, line["signature"], signers, at)
    _, fields = signed_line(statement, signer, line["signature"])
    wrong = [name for name, value in fields.items() if line[name] != value]
    if wrong:
        raise GateError(f"expected the line to say what was signed, found another {', '.join(wrong)}")
    admit(before, statement, signer, at)


def _verify_time(before: datetime, at: datetime) -> None:
    """That a line came after the one before it: with a key that was ended since, somebody might date a decision back.

    A finding of the audit, no rule: a clock that was wrong once must not keep people from taking a model out.
    """
    if at < before - CLOCK_SKEW:
        raise GateError(
            f"expected a line that came after the one before it, of {before}, found one dated {at}: it was dated back, "
            "or a clock was wrong"
        )


def _verify_requested(before: State, line: Line) -> None:
    if before.request(line["request"]):
        raise GateError(f"expected a new request, found {line['request']} a second time")
    if line["champion"] != before.last_model or line["quorum"] < 1:
        raise GateError("expected a request to replace the model in service, on at least one signature, found another")
    require_asked(before, after(before, line).requests[-1])


def _verify_superseded(before: State, line: Line) -> None:
    request = before.request(line["request"])
    if request is None or (request.outcome, request.closed_by) != ("superseded", line["successor"]):
        raise GateError("expected the request that the line before it superseded, found another")


def _verify_expired(before: State, line: Line) -> None:
    request = before.open_request
    if request is None or request.id != line["request"] or datetime.fromisoformat(line["at"]) < request.expires:
        raise GateError("expected an open request that is over time, found another")


def _verify_reminded(before: State, line: Line) -> None:
    if before.open_request is None or before.open_request.id != line["request"]:
        raise GateError("expected an open request to remind of, found another")


def _verify_broken(before: State, line: Line) -> None:
    champion = before.champion
    if champion is None or champion.line != line["deployment"] or line["condition"] not in champion.conditions:
        raise GateError("expected a condition of the approval of the model in service, found another")


def _verify_deployed(before: State, line: Line) -> None:
    if line["decision"] == BOOTSTRAP:
        if before.deployments or before.requests:
            raise GateError("expected a signed decision, found a deployment without one that is not the first line")
        return
    at = datetime.fromisoformat(line["at"])
    allowed = [one for policy in _POLICIES for one in due(before, at, policy)]
    if (line["model"], line["decision"], line["request"]) not in [(d.model, d.decision, d.request) for d in allowed]:
        raise GateError("expected a deployment that a decision before it made due, found one that follows from none")


_POLICIES: Final[tuple[OnRevoke, ...]] = ("stop", "rollback")

_BY_RULES: Final = {
    "sign_off_requested": _verify_requested,
    "superseded": _verify_superseded,
    "expired": _verify_expired,
    "reminded": _verify_reminded,
    "condition_broken": _verify_broken,
    "deployed": _verify_deployed,
}
