"""Statement: what a person signs, as an in-toto Statement v1, and its one possible spelling in bytes.

Belongs here: what a decision says, its bounds, writing and strict reading. Does not belong here: whether the
signature is good (``signature``), whether the decision is due, current and enough (the journal's state).

https://in-toto.io/Statement/v1: the subject is the model decided on, the predicate all that the decision rests on.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

import orjson

from countersign.errors import GateError
from countersign.gate.conditions import Condition, parse_condition
from countersign.gate.signers import PRINCIPAL
from countersign.storage.codec import json_bytes

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://countersign.dev/decision/v1"
"""Names what the predicate means. An identifier: nothing is ever fetched from it."""

MAX_BYTES: Final = 65_536
MAX_REASON: Final = 4_000
"""Characters."""
MAX_CONDITIONS: Final = 10

Decision = Literal["approve", "reject", "request-changes", "ratify", "revoke", "rollback"]

_SUBJECT: Final = "model"
_WITH_REASON: Final = {"reject", "request-changes", "revoke", "rollback"}
_ON_A_REQUEST: Final = {"approve", "reject", "request-changes", "ratify"}
_IN_AN_EMERGENCY: Final = {"approve", "revoke", "rollback"}
_HEX: Final = "a SHA-256 as 64 lowercase hexadecimal digits"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00")
_PREDICATE: Final = [
    "at",
    "break_glass",
    "champion",
    "conditions",
    "decision",
    "evidence",
    "expires",
    "journal_head",
    "project",
    "reason",
    "request",
    "signer",
]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One person's decision on one model. Raises ``GateError`` that names the field which cannot be.

    ``candidate`` is the digest of the model decided on; of ``rollback`` the one to return to, of ``revoke`` the one to
    be taken out. ``champion`` is the one in service when this was signed, None before the first. Revoking and rolling
    back answer no request, so ``request`` and ``evidence`` may be None there. ``at`` and ``expires`` are UTC, whole
    seconds; ``at`` is the signer's own word, see ``signature.verify``.
    """

    project: str
    request: str | None
    candidate: str
    evidence: str | None
    champion: str | None
    journal_head: str
    decision: Decision
    signer: str
    at: datetime
    expires: datetime
    reason: str = ""
    conditions: tuple[Condition, ...] = ()
    break_glass: bool = False

    def __post_init__(self) -> None:
        _expect("decision", self.decision in get_args(Decision), f"one of {', '.join(get_args(Decision))}", self)
        answers = self.decision in _ON_A_REQUEST
        _expect("project", _matches(_ID, self.project), "the project's id", self)
        _expect("request", _matches(_ID, self.request, none=not answers), "the id of a request", self)
        _expect("candidate", _matches(_DIGEST, self.candidate), _HEX, self)
        _expect("evidence", _matches(_DIGEST, self.evidence, none=not answers), _HEX, self)
        _expect("champion", _matches(_DIGEST, self.champion, none=True), f"{_HEX}, or null", self)
        _expect("journal_head", _matches(_DIGEST, self.journal_head), _HEX, self)
        _expect("signer", _matches(PRINCIPAL, self.signer), "a signer as named in allowed_signers", self)
        _expect("at", _whole_utc(self.at), "a time in UTC, whole seconds", self)
        _expect("expires", _whole_utc(self.expires), "a time in UTC, whole seconds", self)
        _expect("expires", self.expires > self.at, f"a time after {self.at}", self)
        _expect("break_glass", type(self.break_glass) is bool, "true or false", self)
        _expect(
            "break_glass",
            not self.break_glass or self.decision in _IN_AN_EMERGENCY,
            f"false with {self.decision}: {', '.join(sorted(_IN_AN_EMERGENCY))} alone can break the glass",
            self,
        )
        _expect("reason", is_text(self.reason), f"up to {MAX_REASON} printable characters and newlines", self)
        needed = self.decision in _WITH_REASON or self.break_glass
        what = 'a reason for this decision (--reason "…")'
        _expect("reason", not needed or bool(self.reason.strip()), what, self)
        most = MAX_CONDITIONS if self.decision == "approve" else 0
        _expect("conditions", len(self.conditions) <= most, f"at most {most} with {self.decision}", self)
        _expect("conditions", len(set(self.conditions)) == len(self.conditions), "each condition once", self)

    def to_bytes(self) -> bytes:
        """The canonical bytes: equal statements have equal ones. They are what is signed."""
        predicate = {
            "at": self.at.isoformat(),
            "break_glass": self.break_glass,
            "champion": self.champion,
            "conditions": [str(condition) for condition in self.conditions],
            "decision": self.decision,
            "evidence": self.evidence,
            "expires": self.expires.isoformat(),
            "journal_head": self.journal_head,
            "project": self.project,
            "reason": self.reason,
            "request": self.request,
            "signer": self.signer,
        }
        return json_bytes(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": _SUBJECT, "digest": {"sha256": self.candidate}}],
                "predicateType": PREDICATE_TYPE,
                "predicate": predicate,
            }
        )


def parse(data: bytes) -> Statement:
    """The statement that ``data`` is, byte for byte as ``to_bytes`` writes it.

    Raises ``GateError`` that names the field, what was expected of it and what was found.
    """
    if len(data) > MAX_BYTES:
        raise GateError(f"expected a statement of at most {MAX_BYTES} bytes, found {len(data)}")
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise GateError(f"expected a signed statement as JSON, found {data[:40]!r}: {error}") from error
    _keys("the statement", found, ["_type", "predicate", "predicateType", "subject"])
    _equal("_type", found["_type"], STATEMENT_TYPE)
    _equal("predicateType", found["predicateType"], PREDICATE_TYPE)
    if not isinstance(found["subject"], list) or len(found["subject"]) != 1:
        raise _wrong("subject", "a list of one model", found["subject"])
    subject, predicate = found["subject"][0], found["predicate"]
    _keys("subject", subject, ["digest", "name"])
    _equal("subject.name", subject["name"], _SUBJECT)
    _keys("subject.digest", subject["digest"], ["sha256"])
    _keys("predicate", predicate, _PREDICATE)
    statement = Statement(
        candidate=subject["digest"]["sha256"],
        **{
            **predicate,
            "at": _time("at", predicate["at"]),
            "expires": _time("expires", predicate["expires"]),
            "conditions": _conditions(predicate["conditions"]),
        },
    )
    if (canonical := statement.to_bytes()) != data:
        place = next((i for i, (a, b) in enumerate(zip(data, canonical, strict=False)) if a != b), len(canonical))
        raise GateError(
            f"the statement: expected canonical JSON (sorted keys, no spaces), found {data[place : place + 20]!r} at "
            f"byte {place}, where {canonical[place : place + 20]!r} belongs. Sign what countersign prints, unchanged"
        )
    return statement


def _expect(field: str, good: bool, expected: str, statement: Statement) -> None:
    if not good:
        raise _wrong(field, expected, getattr(statement, field))


def _wrong(field: str, expected: str, found: Any) -> GateError:
    said = str(found) if isinstance(found, datetime) else repr(found)
    return GateError(f"{field}: expected {expected}, found {said if len(said) <= 80 else said[:80] + '…'}")


def _equal(field: str, found: Any, expected: str) -> None:
    if found != expected:
        raise _wrong(field, repr(expected), found)


def _keys(field: str, found: Any, expected: list[str]) -> None:
    if not isinstance(found, dict):
        raise _wrong(field, f"an object with the keys {', '.join(expected)}", found)
    if sorted(found) != expected:
        missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        said = [f"{', '.join(keys)[:80]} {what}" for keys, what in ((missing, "missing"), (unknown, "unknown")) if keys]
        raise GateError(f"{field}: expected the keys {', '.join(expected)}, found {' and '.join(said)}")


def _matches(pattern: re.Pattern[str], value: Any, *, none: bool = False) -> bool:
    return none if value is None else isinstance(value, str) and bool(pattern.fullmatch(value))


def _whole_utc(value: datetime) -> bool:
    return value.utcoffset() == timedelta(0) and not value.microsecond


def is_text(value: Any) -> bool:
    """Without what would steer a terminal, or hide or reorder what is read."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_REASON
        and all(c == "\n" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"} for c in value)
    )


def _time(field: str, found: Any) -> datetime:
    try:
        if _matches(_TIME, found):
            return datetime.fromisoformat(found).astimezone(UTC)
    except ValueError:
        pass
    raise _wrong(field, "a time as YYYY-MM-DDTHH:MM:SS+00:00", found)


def _conditions(found: Any) -> tuple[Condition, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _wrong("conditions", "a list of conditions as text", found)
    try:
        return tuple(parse_condition(text) for text in found)
    except GateError as error:
        raise GateError(f"conditions: {error}") from error
