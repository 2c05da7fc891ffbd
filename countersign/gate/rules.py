"""Rules: what may be added to the journal next, and what is due.

Belongs here: who may decide on what, when a decision is enough, what follows from it. Does not belong here: reading
files and bytes (``steps.gate``), signatures (``signature``), what the lines add up to (``state``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from countersign.errors import GateError
from countersign.gate.signature import CLOCK_SKEW
from countersign.gate.signers import Signer
from countersign.gate.state import LONGEST_OPEN, Approval, Request, State
from countersign.gate.statement import Statement
from countersign.storage.journal import Event

OnRevoke = Literal["stop", "rollback"]


@dataclass(frozen=True)
class Due:
    """A model that is to be put into service now. ``decision`` is the hash of the journal's line that says so."""

    model: str
    decision: str
    request: str | None
    why: str


def admit(state: State, statement: Statement, signer: Signer, now: datetime) -> None:
    """Raise ``GateError`` where ``statement``, whose signature by ``signer`` is good, may not be added ``now``."""
    if statement.project != state.project:
        raise GateError(
            f"expected a decision on this project ({_short(state.project)}), found one on {_short(statement.project)}: "
            "it was signed in another project folder"
        )
    if statement.journal_head not in state.heads:
        raise GateError(
            f"expected a decision that was signed on this journal, found one on the head "
            f"{_short(statement.journal_head)}, which it does not have: the journal was rewritten, or it is another's"
        )
    if statement.to_bytes().decode() in state.statements:
        raise GateError("expected a new decision, found one that is on record already: each counts once. Sign anew")
    # A line that a wrong clock dated ahead keeps nobody from deciding.
    seen = min(state.times[state.heads.index(statement.journal_head)], now)
    if statement.at < seen - CLOCK_SKEW:
        raise GateError(
            f"expected a decision signed after the journal line that it names, {seen:%Y-%m-%d %H:%M:%S} UTC, found "
            f"one dated {statement.at:%Y-%m-%d %H:%M:%S}: it was dated back, or the signer's clock is wrong"
        )
    {"revoke": _admit_revoke, "rollback": _admit_rollback}.get(statement.decision, _admit_answer)(
        state, statement, signer, now
    )


def _admit_answer(state: State, statement: Statement, signer: Signer, now: datetime) -> None:
    request = state.request(str(statement.request))
    if request is None:
        known = ", ".join(r.id for r in state.requests) or "none yet"
        raise GateError(f"expected a request of this journal ({known}), found {statement.request}")
    if state.heads.index(statement.journal_head) < state.heads.index(request.line):
        raise GateError(
            f"expected a decision signed after {request.id} was asked for, found one on an older head of the journal"
        )
    require_asked(state, request)
    found = (statement.candidate, statement.evidence, statement.champion)
    for name, ours, theirs in zip(
        ("candidate", "evidence", "champion"),
        (request.candidate, request.evidence, request.champion),
        found,
        strict=True,
    ):
        if ours != theirs:
            raise GateError(f"{request.id}: expected a decision on the {name} {_short(ours)}, found {_short(theirs)}")
    if statement.decision == "ratify":
        _admit_ratify(request, signer)
        return
    require_open(state, request, now)
    if _asked(request, signer):
        raise GateError(
            f"{signer.principal} asked for this retrain and may not decide on it: another signer has to ({request.id})"
        )
    if statement.decision == "approve":
        require_first(request, signer, now, break_glass=statement.break_glass)


def require_first(request: Request, signer: Signer, now: datetime, *, break_glass: bool) -> None:
    """Raise ``GateError`` where ``signer`` has approved ``request`` already: saying yes twice is no decision."""
    in_force = [approval for approval in request.approvals if approval.counts(now)]
    # To break the glass is one, which an approval that waits for another does not do.
    same = [approval for approval in in_force if approval.break_glass or not break_glass]
    if _is_among(signer, same):
        rest = "nothing else is needed: countersign deploy"
        rest = rest if request.approving(now) else "another signer's is needed"
        raise GateError(
            f"{signer.principal} has approved {request.id} already; {len(in_force)} of {request.quorum} signatures "
            f"are there, and {rest}"
        )


def _is_among(signer: Signer, approvals: Iterable[Approval]) -> bool:
    """By name or by key: one person with two names is one signer."""
    return any(
        signer.principal.casefold() == approval.signer.casefold() or signer.fingerprint == approval.key
        for approval in approvals
    )


def _asked(request: Request, signer: Signer) -> bool:
    return request.asked_by is not None and signer.principal.casefold() == request.asked_by.casefold()


def require_unratified(request: Request) -> None:
    """Raise ``GateError`` where ``request`` waits for nobody to ratify it."""
    if not request.by_break_glass or request.ratified_by:
        raise GateError(
            f"expected {request.id} to have been deployed by break-glass and not yet ratified; found it "
            f"{request.outcome or 'open'}{f', ratified by {request.ratified_by}' if request.ratified_by else ''}"
        )


def _admit_ratify(request: Request, signer: Signer) -> None:
    require_unratified(request)
    if _asked(request, signer) or _is_among(signer, request.approvals):
        raise GateError(f"{signer.principal} broke the glass or asked for the retrain: another signer has to ratify it")


def _admit_revoke(state: State, statement: Statement, signer: Signer, now: datetime) -> None:
    del signer, now
    _same_champion(state, statement)
    if statement.candidate != state.last_model or statement.candidate in state.revoked:
        already = ", which is revoked already" if statement.candidate in state.revoked else ""
        raise GateError(
            f"expected to revoke the model in service ({_short(state.last_model)}), found "
            f"{_short(statement.candidate)}{already}"
        )


def _admit_rollback(state: State, statement: Statement, signer: Signer, now: datetime) -> None:
    del signer, now
    _same_champion(state, statement)
    earlier = [deployment.model for deployment in state.earlier()]
    if statement.candidate not in earlier:
        raise GateError(
            f"expected to return to a model that was in service and was not revoked "
            f"({', '.join(map(_short, earlier)) or 'there is none'}), found {_short(statement.candidate)}"
        )


def _same_champion(state: State, statement: Statement) -> None:
    if statement.champion != state.last_model:
        raise GateError(
            f"expected a decision signed with {_short(state.last_model)} in service, found one with "
            f"{_short(statement.champion)}: the champion changed since. Look again, then sign anew"
        )
    # The same model may have left and come back since.
    last = state.last_deployment
    if last and state.heads.index(statement.journal_head) < state.heads.index(last.line):
        raise GateError(
            f"expected a decision signed after the last deployment, at {last.at:%Y-%m-%d %H:%M} UTC, found one on an "
            "older head of the journal: the champion changed since. Look again, then sign anew"
        )


def require_asked(state: State, request: Request) -> None:
    """Raise ``GateError`` where ``request`` is none that the pipeline writes: somebody added its line by hand.

    It must answer a wish for a retrain of this journal, in the name of who wished it, for a time that the policy can
    allow. The first model answers none.
    """
    wish = next((retrain for retrain in state.retrains if retrain.id == request.retrain), None)
    if request.expires - request.at > LONGEST_OPEN:
        raise GateError(f"{request.id}: expected a request open for {LONGEST_OPEN.days} days at the most, found longer")
    if wish is None and (request.retrain or request.champion):
        raise GateError(f"{request.id}: expected a request that answers a wish on record, found none of its name")
    if wish is not None and wish.asked_by != request.asked_by:
        raise GateError(
            f"{request.id}: expected it to be asked for by {wish.asked_by or 'monitoring'}, as its wish was, found "
            f"{request.asked_by or 'monitoring'}"
        )


def require_open(state: State, request: Request, now: datetime) -> None:
    """Raise ``GateError`` where ``request`` can no longer be decided, with what closed it."""
    if request.outcome == "superseded":
        raise GateError(f"{request.id} was superseded by {request.closed_by}: decide on that one")
    if request.outcome == "stale":
        raise GateError(
            f"{request.id} is stale: it was compared with {_short(request.champion)}, and {_short(request.closed_by)} "
            "was put into service since. Ask for a new retrain"
        )
    if request.outcome:
        by = f" by {request.closed_by}" if request.closed_by else ""
        said = "sent back" if request.outcome == "changes requested" else request.outcome
        raise GateError(f"{request.id} was {said}{by} and is closed: ask for a new retrain")
    if request.candidate in state.revoked:
        raise GateError(
            f"{request.id} is closed: {state.revoked[request.candidate].signer} revoked its model "
            f"{_short(request.candidate)}. Ask for a new retrain"
        )
    if now >= request.expires:
        raise GateError(f"{request.id} expired at {request.expires:%Y-%m-%d %H:%M} UTC: ask for a new retrain")
    if request.champion != state.last_model:
        raise GateError(
            f"{request.id} is stale: it was compared with {_short(request.champion)}, and "
            f"{_short(state.last_model)} is in service. Ask for a new retrain"
        )


def due(state: State, now: datetime, on_revoke: OnRevoke) -> list[Due]:
    """What is to be put into service ``now``, the first of them that can be; nothing where the list is empty.

    Orders to leave come first: a rollback, the return after a revoked model (where ``on_revoke`` says so) or after a
    broken condition, and then a request with enough signatures in force.
    """
    last, fallback, found = state.last_deployment, state.fallback(), list[Due]()
    if state.rollback and now < state.rollback.expires and state.rollback.model not in state.revoked:
        order = state.rollback
        found.append(Due(order.model, order.line, None, f"{order.signer} rolled back: {order.reason}"))
    if last and last.model in state.revoked and on_revoke == "rollback" and fallback:
        order = state.revoked[last.model]
        why = f"{order.signer} revoked {_short(last.model)}: {order.reason}"
        found.append(Due(fallback.model, order.line, None, why))
    if last and last.line in state.broken and fallback:
        found.append(Due(fallback.model, state.broken[last.line], None, "a condition of the approval is broken"))
    request = state.open_request
    approving = request.approving(now) if request and _is_sound(state, request) else ()
    if request and approving and request.champion == state.last_model and request.candidate not in state.revoked:
        signers = ", ".join(approval.signer for approval in approving)
        why = f"{signers} approved {request.id}{' by break-glass' if request.is_by_break_glass(approving) else ''}"
        found.append(Due(request.candidate, approving[-1].line, request.id, why))
    return found


def _is_sound(state: State, request: Request) -> bool:
    try:
        require_asked(state, request)
    except GateError:
        return False
    return True


def not_due(state: State, now: datetime) -> str:
    """Why nothing is due, in one sentence."""
    request = state.open_request
    if request is None:
        last = state.requests[-1] if state.requests else None
        said = f"; the last one, {last.id}, was {last.outcome}" if last else ""
        return f"no model waits for its deployment: there is no open request{said}"
    if now >= request.expires:
        return f"{request.id} expired at {request.expires:%Y-%m-%d %H:%M} UTC and is never deployed"
    valid = [approval for approval in request.approvals if approval.counts(now)]
    return (
        f"{request.id} waits for a decision: {len(valid)} of {request.quorum} signatures are there. Launching the "
        f"deployment is none; sign with: countersign approve {request.id}"
    )


def housekeeping(state: State, now: datetime, remind_after: timedelta) -> list[Event]:
    """Lines that time alone brings: a request that expired, a reminder (one an interval)."""
    request = state.open_request
    if request is None:
        return []
    if now >= request.expires:
        return [("expired", {"request": request.id})]
    if not request.approving(now) and now - (request.reminded or request.at) >= remind_after:
        return [("reminded", {"request": request.id})]
    return []


def signed_line(statement: Statement, signer: Signer, signature: str) -> Event:
    """The journal's line of a decision: what it says, and the very bytes that were signed."""
    fields: dict[str, Any] = {
        "decision": statement.decision,
        "request": statement.request,
        "model": statement.candidate,
        "signer": signer.principal,
        "key": signer.fingerprint,
        "reason": statement.reason,
        "conditions": [str(condition) for condition in statement.conditions],
        "break_glass": statement.break_glass,
        "expires": statement.expires.isoformat(),
        "statement": statement.to_bytes().decode(),
        "signature": signature,
    }
    return "signed", fields


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
