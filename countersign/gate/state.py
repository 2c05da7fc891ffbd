"""State: where each model, wish for a retrain and request for a signature stands, as a function of the journal's lines.

Belongs here: what the lines add up to, whatever the time. Does not belong here: whether a signature is good
(``signature``), what may be added next (``rules``), reading the file (``storage.journal``).

The events of ``journal.jsonl`` are ``deployed``, ``retrain_requested``, ``retrain_blocked``, ``sign_off_requested``,
``signed``, ``superseded``, ``expired``, ``reminded``, ``condition_broken`` and ``refused``, which changes nothing.
Nothing else than these lines says what is in service: neither Dagster's records nor the file ``model.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal

from countersign.errors import JournalError

Line = Mapping[str, Any]

LONGEST_OPEN: Final = timedelta(days=90)
"""For which a request may wait for its decision: the bound of ``gate.expiry_days``."""

BOOTSTRAP: Final = "bootstrap"
"""The decision on record for the first model where nobody signed it."""

Outcome = Literal["deployed", "rejected", "changes requested", "superseded", "stale", "expired"]
Cause = Literal["drift", "error", "person"]


@dataclass(frozen=True)
class Retrain:
    """A wish for a new model. ``id`` is its line's hash; ``event`` names the breach that caused it.

    ``first`` and ``last`` are the sessions of the stretch that triggered it, empty where a person asked.
    """

    id: str
    at: datetime
    cause: Cause
    event: str
    reason: str
    asked_by: str | None
    first: str
    last: str
    answer: str | None = None
    """The request that came of it, or why none did; None while it is open."""


@dataclass(frozen=True)
class Approval:
    """One signer's approval, by the ``line`` of the journal that has it."""

    line: str
    signer: str
    key: str
    at: datetime
    expires: datetime
    break_glass: bool
    conditions: tuple[str, ...]

    def counts(self, now: datetime) -> bool:
        return now < self.expires


@dataclass(frozen=True)
class Request:
    """A candidate that asks to be put into service. ``champion`` is the one that it was compared with."""

    id: str
    line: str
    at: datetime
    expires: datetime
    candidate: str
    evidence: str
    champion: str | None
    retrain: str
    asked_by: str | None
    quorum: int
    approvals: tuple[Approval, ...] = ()
    outcome: Outcome | None = None
    closed_by: str = ""
    """Who or what closed it: a signer, the request that superseded it, the model that was deployed instead."""
    closing_reason: str = ""
    reminded: datetime | None = None
    reminders: int = 0
    by_break_glass: bool = False
    """Whether one signer broke the glass to have it deployed, on fewer signatures than it takes and without a second.
    """
    ratified_by: str | None = None

    def approving(self, now: datetime) -> tuple[Approval, ...]:
        """The approvals that are in force, where they are enough; else none."""
        valid = tuple(approval for approval in self.approvals if approval.counts(now))
        enough = len(valid) >= self.quorum or any(approval.break_glass for approval in valid)
        return valid if enough and now < self.expires else ()

    def is_by_break_glass(self, in_force: Sequence[Approval]) -> bool:
        """Whether ``in_force`` deploy it by break-glass: on fewer signatures than it takes, or without a second."""
        return len(in_force) < max(self.quorum, 2) and any(approval.break_glass for approval in in_force)


@dataclass(frozen=True)
class Deployment:
    """A model put into service. ``decision`` is the hash of the line that decided it, or ``bootstrap``."""

    model: str
    at: datetime
    decision: str
    line: str
    request: str | None
    conditions: tuple[str, ...] = ()
    why: str = ""
    named: bool = False
    """Whether people signed for this very model: they approved it, or it is the one that they rolled back to."""

    @property
    def unsigned(self) -> bool:
        """Whether nobody signed for it: the first model, with ``gate.bootstrap: auto``."""
        return self.decision == BOOTSTRAP


@dataclass(frozen=True)
class Order:
    """A signed decision that answers no request: the model to leave service, or to return to it."""

    line: str
    model: str
    signer: str
    reason: str
    expires: datetime


@dataclass(frozen=True)
class State:
    """All of it. ``project`` is the hash of the journal's first line, which no other project has."""

    project: str | None = None
    heads: tuple[str, ...] = ()
    times: tuple[datetime, ...] = ()
    """When the line of each head was written."""
    retrains: tuple[Retrain, ...] = ()
    requests: tuple[Request, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    statements: frozenset[str] = frozenset()
    """What was signed, word for word: none of it counts a second time."""
    revoked: Mapping[str, Order] = field(default_factory=dict)
    rollback: Order | None = None
    """A rollback that was signed and has not been carried out."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Line of a deployment → the line that says that a condition of its approval is broken."""

    @property
    def last_deployment(self) -> Deployment | None:
        return self.deployments[-1] if self.deployments else None

    @property
    def last_model(self) -> str | None:
        """The model of the last deployment, revoked or not."""
        return self.deployments[-1].model if self.deployments else None

    @property
    def champion(self) -> Deployment | None:
        """The model in service; None before the first, and where the last one was revoked."""
        last = self.last_deployment
        return None if last is None or last.model in self.revoked else last

    def under(self, quorum: int) -> State:
        """The same under a policy of ``quorum`` signers: no open request may ask for fewer, whatever its line says."""
        found = tuple(replace(r, quorum=max(r.quorum, quorum)) if r.outcome is None else r for r in self.requests)
        return replace(self, requests=found)

    @property
    def open_retrain(self) -> Retrain | None:
        return next((retrain for retrain in reversed(self.retrains) if retrain.answer is None), None)

    @property
    def open_request(self) -> Request | None:
        return next((request for request in reversed(self.requests) if request.outcome is None), None)

    @property
    def unratified(self) -> Request | None:
        """The request for the model in service, where one signer broke the glass for it and no second one has ratified.

        It is over, too, once that model has left: by a rollback, a revoke, a broken condition or a newer model.
        """
        champion = self.champion
        name = self.origin(champion).request if champion else None
        request = self.request(name) if name else None
        return request if request and request.by_break_glass and not request.ratified_by else None

    def origin(self, deployment: Deployment) -> Deployment:
        """What ``deployment`` rests on: itself, or, for a return to a model, its newest one before that was asked for.

        The first model's bootstrap counts as asked for.
        """
        until = self.deployments[: self.deployments.index(deployment) + 1]
        own = [one for one in until if one.model == deployment.model and (one.request or one.decision == BOOTSTRAP)]
        return own[-1] if own else deployment

    def is_reviewed(self, model: str) -> bool:
        """Whether people ever signed that ``model`` goes into service; not by signing that another one leaves it."""
        return any(deployment.named for deployment in self.deployments if deployment.model == model)

    def request(self, name: str) -> Request | None:
        """The request whose id is ``name``."""
        return next((request for request in self.requests if request.id == name), None)

    def earlier(self) -> list[Deployment]:
        """Deployments that can be returned to, newest first: other models than the last one, and not revoked."""
        last, found = self.last_deployment, list[Deployment]()
        for deployment in reversed(self.deployments):
            known = {d.model for d in found}
            if last and deployment.model not in {last.model, *self.revoked, *known}:
                found.append(deployment)
        return found

    def fallback(self) -> Deployment | None:
        """What comes back by itself: the newest of ``earlier`` that nothing but a newer approved model took out.

        A model that a person rolled back from, or whose condition was broken, comes back on a person's word alone; two
        of them would otherwise replace each other without end.
        """
        out = {deployment.model for deployment in self.deployments if deployment.line in self.broken}
        for left, came in pairwise(self.deployments):
            # No request: a rollback, a revoke or a broken condition. Approved anew, a model is as good as any.
            out = out | {left.model} if came.request is None else out - {came.model}
        return next((deployment for deployment in self.earlier() if deployment.model not in out), None)


def state_of(lines: Sequence[Line]) -> State:
    """What ``lines``, as ``Journal.read`` verified them, add up to. Raises ``JournalError`` as ``after`` does."""
    state = State()
    for number, line in enumerate(lines, start=1):
        state = _followed(state, line, number)
    # Once, and not a longer tuple for each line: the cost grows with the lines, not with their square.
    heads, times = tuple(line["sha256"] for line in lines), tuple(_at(line) for line in lines)
    return replace(state, project=heads[0] if heads else None, heads=heads, times=times)


def after(state: State, line: Line) -> State:
    """``state`` with one more line; an event that is not known changes nothing but the head.

    Raises ``JournalError`` where the line lacks what its event has, or speaks of a request that there is none of.
    """
    followed = _followed(state, line, len(state.heads) + 1)
    heads, times = (*state.heads, line["sha256"]), (*state.times, _at(line))
    return replace(followed, project=heads[0], heads=heads, times=times)


def _followed(state: State, line: Line, number: int) -> State:
    """``state`` with all that the line of that number changes, but for the heads."""
    try:
        _at(line)
        then = _THEN.get(line["event"])
        return then(state, line) if then else state
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(
            f"journal, line {number} ({line.get('event')}): expected the fields of such an event, found others "
            f"({error!r}); countersign did not write it. Restore the file from a backup: until then no model is used"
        ) from error


def _deployed(state: State, line: Line) -> State:
    request = line.get("request")
    found = _known(state, request) if request else None
    conditions = tuple(text for approval in found.approvals for text in approval.conditions) if found else ()
    # Returning to a model brings back the conditions that it was approved with.
    if not request:
        earlier = [d for d in state.deployments if d.model == line["model"]]
        conditions = earlier[-1].conditions if earlier else ()
    named = found is not None or (state.rollback is not None and state.rollback.line == line["decision"])
    deployment = Deployment(
        line["model"], _at(line), line["decision"], line["sha256"], request, conditions, line.get("why", ""), named
    )
    state = replace(state, deployments=(*state.deployments, deployment), rollback=None)
    if found:
        in_force = [approval for approval in found.approvals if approval.counts(deployment.at)]
        state = _with_request(state, found.id, outcome="deployed", by_break_glass=found.is_by_break_glass(in_force))
    # Another one was compared with a champion that is none any more.
    other = state.open_request
    return _with_request(state, other.id, outcome="stale", closed_by=deployment.model) if other else state


def _retrain_requested(state: State, line: Line) -> State:
    retrain = Retrain(
        line["sha256"],
        _at(line),
        line["cause"],
        line["breach"],
        line["reason"],
        line["asked_by"],
        line["first"],
        line["last"],
    )
    return replace(state, retrains=(*state.retrains, retrain))


def _retrain_blocked(state: State, line: Line) -> State:
    return _answered(state, line["reason"])


def _sign_off_requested(state: State, line: Line) -> State:
    request = Request(
        id=line["request"],
        line=line["sha256"],
        at=_at(line),
        expires=_moment(line["expires"]),
        candidate=line["model"],
        evidence=line["evidence"],
        champion=line["champion"],
        retrain=line["retrain"],
        asked_by=line["asked_by"],
        quorum=line["quorum"],
    )
    older = state.open_request
    if older:
        state = _with_request(state, older.id, outcome="superseded", closed_by=request.id)
    return _answered(replace(state, requests=(*state.requests, request)), request.id)


def _signed(state: State, line: Line) -> State:
    decision, signer, reason = line["decision"], line["signer"], line["reason"]
    expires = _moment(line["expires"])
    state = replace(state, statements=state.statements | {line["statement"]})
    if decision == "approve":
        request = _known(state, line["request"])
        approval = Approval(
            line["sha256"], signer, line["key"], _at(line), expires, line["break_glass"], tuple(line["conditions"])
        )
        # A signer whose approval ran out may give another: it takes the place of the first.
        mine = {approval.signer.casefold(), approval.key}
        others = [one for one in request.approvals if not mine & {one.signer.casefold(), one.key}]
        return _with_request(state, request.id, approvals=(*others, approval))
    if decision in _CLOSING:
        return _with_request(
            state, line["request"], outcome=_CLOSING[decision], closed_by=signer, closing_reason=reason
        )
    if decision == "ratify":
        return _with_request(state, line["request"], ratified_by=signer)
    order = Order(line["sha256"], line["model"], signer, reason, expires)
    if decision == "revoke":
        return replace(state, revoked={**state.revoked, order.model: order})
    return replace(state, rollback=order)


def _expired(state: State, line: Line) -> State:
    return _with_request(state, line["request"], outcome="expired")


def _reminded(state: State, line: Line) -> State:
    request = _known(state, line["request"])
    return _with_request(state, request.id, reminded=_at(line), reminders=request.reminders + 1)


def _condition_broken(state: State, line: Line) -> State:
    return replace(state, broken={**state.broken, line["deployment"]: line["sha256"]})


_CLOSING: Final[dict[str, Outcome]] = {"reject": "rejected", "request-changes": "changes requested"}

_THEN: Final = {
    "deployed": _deployed,
    "retrain_requested": _retrain_requested,
    "retrain_blocked": _retrain_blocked,
    "sign_off_requested": _sign_off_requested,
    "signed": _signed,
    "expired": _expired,
    "reminded": _reminded,
    "condition_broken": _condition_broken,
}


def _at(line: Line) -> datetime:
    return _moment(line["at"])


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _known(state: State, name: str) -> Request:
    request = state.request(name)
    if request is None:
        raise ValueError(f"there is no request {name}")
    return request


def _with_request(state: State, name: str, **changes: Any) -> State:
    _known(state, name)
    found = tuple(replace(request, **changes) if request.id == name else request for request in state.requests)
    return replace(state, requests=found)


def _answered(state: State, answer: str) -> State:
    """One candidate answers every wish that was open when it came."""
    found = tuple(replace(one, answer=answer) if one.answer is None else one for one in state.retrains)
    return replace(state, retrains=found)
