"""Audit: the journal told again from its first line, by the rules that it was written by.

Belongs here: whether each line could be there, and whether each signature is good. Does not belong here: the chain of
hashes (``storage.journal`` has verified it), the bytes of models (``steps.gate``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from countersign.errors import GateError
from countersign.gate.rules import admit, due, signed_line
from countersign.gate.signature import verify
from countersign.gate.signers import Signer
from countersign.gate.state import BOOTSTRAP, Deployment, Line, State, after, state_of
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
    """Every line that could not have been added by the rules, each signature verified; nothing where all is well."""
    before = State()
    for number, line in enumerate(lines, start=1):
        try:
            if line["event"] == "signed":
                _verify_signed(before, line, signers)
            elif line["event"] == "deployed":
                _verify_deployed(before, line)
            elif line["event"] == "condition_broken":
                _verify_broken(before, line)
        except (GateError, KeyError, TypeError, ValueError) as error:
            said = str(error) if isinstance(error, GateError) else f"expected another form of line ({error!r})"
            yield Finding(number, line["event"], said)
            if not isinstance(error, GateError):
                return
        before = after(before, line)


def verify_in_service(lines: Sequence[Line], deployment: Deployment, signers: Sequence[Signer]) -> None:
    """Raise ``GateError`` where what put ``deployment`` into service is not a good signature, or does not follow.

    Looks at no other lines than those, so that its cost does not grow with the journal's years.
    """
    needed, number = _behind(lines, deployment)
    for place in needed:
        _verify_signed(state_of(lines[:place]), lines[place], signers)
    _verify_deployed(state_of(lines[:number]), lines[number])


def _behind(lines: Sequence[Line], deployment: Deployment) -> tuple[Collection[int], int]:
    """Places of the signed lines that ``deployment`` rests on, and of its own."""
    place = {line["sha256"]: number for number, line in enumerate(lines)}
    number, decision = place[deployment.line], deployment.decision
    state = state_of(lines[:number])
    if deployment.request:
        request = state.request(deployment.request)
        return [place[approval.line] for approval in (request.approvals if request else ())], number
    if decision == BOOTSTRAP:
        return [], number
    # A rollback, a revoke or a broken condition: the model returned to rests on its own deployment.
    own = [place[decision]] if lines[place[decision]]["event"] == "signed" else []
    first = next(d for d in state.deployments if d.model == deployment.model)
    return [*_behind(lines, first)[0], *own], number


def _verify_signed(before: State, line: Line, signers: Sequence[Signer]) -> None:
    data, at = line["statement"].encode(), datetime.fromisoformat(line["at"])
    statement = parse(data)
    signer = verify(data, line["signature"], signers, at)
    _, fields = signed_line(statement, signer, line["signature"])
    wrong = [name for name, value in fields.items() if line[name] != value]
    if wrong:
        raise GateError(f"expected the line to say what was signed, found another {', '.join(wrong)}")
    admit(before, statement, signer, at)


def _verify_broken(before: State, line: Line) -> None:
    champion = before.champion
    if champion is None or champion.line != line["deployment"] or line["condition"] not in champion.conditions:
        raise GateError("expected a condition of the approval of the model in service, found another")


def _verify_deployed(before: State, line: Line) -> None:
    if line["decision"] == BOOTSTRAP:
        if before.deployments:
            raise GateError("expected a signed decision, found a deployment without one after the first")
        return
    at = datetime.fromisoformat(line["at"])
    allowed = [due(before, at, policy) for policy in ("stop", "rollback")]
    if not any(
        d and (d.model, d.decision, d.request) == (line["model"], line["decision"], line["request"]) for d in allowed
    ):
        raise GateError("expected a deployment that a decision before it made due, found one that follows from none")
