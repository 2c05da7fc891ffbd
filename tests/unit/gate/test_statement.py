"""Statement: one spelling for what a person signs, and nothing else is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.errors import GateError
from countersign.gate.conditions import MEASURES, Condition
from countersign.gate.statement import MAX_BYTES, MAX_REASON, Decision, Statement, parse

Make = Callable[..., Statement]

WRITTEN = (
    '{"_type":"https://in-toto.io/Statement/v1","predicate":{"at":"2026-11-25T12:00:00+00:00","break_glass":false,'
    '"champion":"'
    + "a" * 64
    + '","conditions":["auc over 20 sessions below 0.65"],"decision":"approve","evidence":"'
    + "e" * 64
    + '","expires":"2026-12-02T12:00:00+00:00","journal_head":"'
    + "0" * 64
    + '","project":"p-7f3a","reason":"Better in every stretch.","request":"r-0001","signer":"alice"},'
    '"predicateType":"https://countersign.dev/decision/v1","subject":[{"digest":{"sha256":"' + "c" * 64 + '"},'
    '"name":"model"}]}'
).encode()
"""``make()`` as in-toto's Statement v1, written by hand."""

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
conditions = st.builds(
    Condition,
    st.sampled_from(sorted(MEASURES)),
    st.integers(1, 756),
    st.sampled_from(["below", "above"]),
    st.integers(1, 999_999).map(lambda n: n / 1_000_000),
)
moments = st.integers(946_684_800, 4_102_444_800).map(lambda second: datetime.fromtimestamp(second, UTC))


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    decision = draw(st.sampled_from(get_args(Decision)))
    unasked = decision in {"revoke", "rollback"}
    at = draw(moments)
    text = draw(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]), max_size=40))
    return Statement(
        project=draw(ids),
        request=draw(ids | st.none()) if unasked else draw(ids),
        candidate=draw(digests),
        evidence=draw(digests | st.none()) if unasked else draw(digests),
        champion=draw(digests | st.none()),
        journal_head=draw(digests),
        decision=decision,
        signer=draw(ids),
        at=at,
        expires=at + timedelta(seconds=draw(st.integers(1, 10**7))),
        reason=f"Since\n{text}",
        conditions=tuple(draw(st.lists(conditions, max_size=3, unique=True))) if decision == "approve" else (),
        break_glass=decision in {"approve", "revoke", "rollback"} and draw(st.booleans()),
    )


def test_a_statement_is_written_as_in_toto_statement_v1(make: Make) -> None:
    assert make().to_bytes() == WRITTEN
    assert parse(WRITTEN) == make()


@given(statements())
def test_a_statement_is_read_back_from_its_bytes(statement: Statement) -> None:
    assert parse(statement.to_bytes()) == statement


@given(statements(), st.data())
def test_other_bytes_are_refused_or_say_something_else(statement: Statement, data: st.DataObject) -> None:
    """One byte changed, left out or put in: no two spellings of one statement, and no other error than the gate's."""
    signed = statement.to_bytes()
    place, byte = data.draw(st.integers(0, len(signed) - 1)), data.draw(st.binary(max_size=1))
    skipped = data.draw(st.integers(0, 1))
    other = signed[:place] + byte + signed[place + skipped :]
    try:
        found = parse(other)
    except GateError:
        return
    assert found.to_bytes() == other
    assert (found == statement) == (other == signed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([64 * "a", "approve"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(json.loads(WRITTEN)["predicate"])


@given(st.sampled_from([*FIELDS, "_type", "predicate", "predicateType", "subject"]), json_values)
def test_a_field_of_another_kind_is_refused_with_the_gates_own_error(field: str, value: Any) -> None:
    found = json.loads(WRITTEN)
    (found["predicate"] if field in FIELDS else found)[field] = value
    data = json.dumps(found, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
    try:
        read = parse(data)
    except GateError:
        return
    assert read.to_bytes() == data


@given(st.binary(max_size=50) | json_values.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(GateError):
        parse(data)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("project", "", "the project's id"),
        ("project", "../other", "the project's id"),
        ("request", None, "the id of a request"),
        ("candidate", "C" * 64, "64 lowercase hexadecimal digits"),
        ("candidate", "c" * 63, "64 lowercase hexadecimal digits"),
        ("candidate", "c" * 64 + "\n", "64 lowercase hexadecimal digits"),
        ("evidence", None, "64 lowercase hexadecimal digits"),
        ("champion", "", "or null"),
        ("journal_head", "head", "64 lowercase hexadecimal digits"),
        ("decision", "APPROVE", "one of approve, reject, request-changes, ratify, revoke, rollback"),
        ("signer", "alice,bob", "a signer as named in allowed_signers"),
        ("signer", "*", "a signer as named in allowed_signers"),
        ("at", datetime(2026, 11, 25, 12, 0), "a time in UTC, whole seconds"),  # noqa: DTZ001
        ("at", datetime(2026, 11, 25, 12, 0, tzinfo=timezone(timedelta(hours=1))), "a time in UTC, whole seconds"),
        ("at", datetime(2026, 11, 25, 12, 0, 0, 1, tzinfo=UTC), "a time in UTC, whole seconds"),
        ("expires", datetime(2026, 11, 25, 12, 0, tzinfo=UTC), "a time after 2026-11-25 12:00:00+00:00"),
        ("break_glass", 1, "true or false"),
        ("reason", "x" * (MAX_REASON + 1), f"up to {MAX_REASON} printable characters"),
        ("reason", "all is well\x1b[2K", "printable characters"),
        ("reason", "approved \u202edetcejer", "printable characters"),
        ("conditions", (Condition("auc", 20, "below", 0.65),) * 2, "each condition once"),
        ("conditions", tuple(Condition("auc", n, "below", 0.65) for n in range(20, 31)), "at most 10 with approve"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(make: Make, field: str, value: Any, expected: str) -> None:
    with pytest.raises(GateError, match=f"^{field}: expected .*{re.escape(expected)}.*, found "):
        make(**{field: value})


@pytest.mark.parametrize("decision", ["reject", "request-changes", "revoke", "rollback"])
def test_what_goes_against_a_model_needs_a_reason(make: Make, decision: str) -> None:
    assert make(decision=decision, conditions=(), reason="Worse in October.").decision == decision
    with pytest.raises(GateError, match="reason: expected a reason for this decision"):
        make(decision=decision, conditions=(), reason=" \n")


def test_an_approval_needs_a_reason_only_where_it_breaks_the_glass(make: Make) -> None:
    assert make(reason="").reason == ""
    with pytest.raises(GateError, match="reason: expected a reason"):
        make(reason="", break_glass=True)


@pytest.mark.parametrize("decision", ["reject", "request-changes", "ratify"])
def test_the_glass_is_broken_only_by_what_takes_effect(make: Make, decision: str) -> None:
    with pytest.raises(GateError, match=f"break_glass: expected false with {decision}"):
        make(decision=decision, conditions=(), break_glass=True)


@pytest.mark.parametrize("decision", ["reject", "request-changes", "ratify", "revoke", "rollback"])
def test_only_an_approval_carries_conditions(make: Make, decision: str) -> None:
    with pytest.raises(GateError, match=f"conditions: expected at most 0 with {decision}"):
        make(decision=decision)


@pytest.mark.parametrize("decision", ["revoke", "rollback"])
def test_revoking_and_rolling_back_answer_no_request(make: Make, decision: str) -> None:
    """The first model, deployed without a request, can be taken out or returned to."""
    statement = make(decision=decision, conditions=(), request=None, evidence=None)
    assert parse(statement.to_bytes()) == statement


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"break_glass":false,', b"", "predicate: expected the keys .*, found break_glass missing"),
        (b'"break_glass":false,', b'"break_glass":false,"by":"x",', "predicate: .*found by unknown"),
        (b'"name":"model"', b'"name":"model","uri":"x"', "subject: .*found uri unknown"),
        (b'"name":"model"', b'"name":"other"', "subject.name: expected 'model', found 'other'"),
        (b"Statement/v1", b"Statement/v0.1", "_type: expected .*Statement/v1', found .*v0.1'"),
        (b"decision/v1", b"decision/v2", "predicateType: expected .*decision/v1'"),
        (b"25T12:00:00+00:00", b"25T12:00:00Z", "at: expected a time as YYYY-MM-DDTHH:MM:SS"),
        (b"-12-02T12", b"-13-02T12", "expires: expected a time as YYYY-MM-DDTHH:MM:SS"),
        (b"below 0.65", b"below 0.650", "expected canonical JSON"),
        (b"below 0.65", b"under 0.65", "conditions: expected a condition as"),
        (b'"reason":"Better', b'"reason":"x","reason":"Better', "expected canonical JSON"),
        (b'"Better', b'"\\u0042etter', "expected canonical JSON"),
        (b'"model"}]}', b'"model"}]}\n', "expected canonical JSON .* at byte"),
        (b'"model"}]', b'"model"},{}]', "subject: expected a list of one model"),
    ],
)
def test_a_statement_in_other_words_is_refused_by_the_field(old: bytes, new: bytes, words: str) -> None:
    assert WRITTEN.count(old) == 1
    with pytest.raises(GateError, match=words):
        parse(WRITTEN.replace(old, new))


def test_the_longest_statement_can_be_read_and_a_longer_text_is_not_even_parsed(make: Make) -> None:
    longest = make(reason="\U0001f512" * MAX_REASON)
    assert parse(longest.to_bytes()) == longest
    with pytest.raises(GateError, match=f"at most {MAX_BYTES} bytes, found {MAX_BYTES + 1}"):
        parse(b" " * (MAX_BYTES + 1))
