"""State: what the journal's lines add up to, and that lines which cannot be are named."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import JournalError
from countersign.gate.state import State, after, state_of
from tests.unit.gate.book import DAY, HOUR, Book, digest


def a_life() -> Book:
    """A journal with every event that there is."""
    book = Book()
    book.wish(cause="drift", breach="drift@2026-11-24", by=None)
    book.add("retrain_blocked", retrain=book.lines[-1]["sha256"], model=digest("x"), evidence=digest("y"), reason="no")
    book.ask("second", quorum=2)
    book.now += DAY
    book.tend()
    book.sign("approve", "alice", conditions=())
    book.sign("approve", "bob")
    book.deploy()
    book.ask("third")
    book.now += 7 * DAY
    book.tend()
    book.ask("fourth")
    name = book.ask("fifth")
    book.add("superseded", request="r3", successor=name)
    book.sign("approve", "alice", break_glass=True)
    book.deploy()
    book.sign("ratify", "bob")
    book.ask("sixth")
    book.sign("reject", "alice")
    book.ask("seventh")
    book.sign("request-changes", "alice")
    book.add("condition_broken", deployment=book.state.deployments[-1].line, model=digest("fifth"), condition="c")
    book.deploy()
    book.sign("revoke", "alice")
    book.sign("rollback", "bob", candidate=digest("first"))
    book.deploy()
    book.add("refused", what="sign", cause="whatever", statement=None)
    return book


def test_a_whole_life_adds_up_to_where_everything_stands() -> None:
    state = a_life().state
    assert [(r.id, r.outcome) for r in state.requests] == [
        ("r1", "deployed"),
        ("r2", "expired"),
        ("r3", "superseded"),
        ("r4", "deployed"),
        ("r5", "rejected"),
        ("r6", "changes requested"),
    ]
    assert [d.model for d in state.deployments] == [digest(n) for n in ("first", "second", "fifth", "second", "first")]
    assert state.champion is not None
    assert state.champion.model == digest("first")
    assert set(state.revoked) == {digest("second")}
    assert state.rollback is None
    assert state.requests[0].reminders == 1
    assert (state.requests[3].by_break_glass, state.requests[3].ratified_by) == (True, "bob")
    assert state.open_request is None
    assert state.open_retrain is None
    # Not the revoked one, and the one whose condition was broken is left to people.
    assert [d.model for d in state.earlier()] == [digest("fifth")]
    assert state.fallback() is None


def test_state_is_a_fold_that_changes_no_line_and_remembers_nothing_else() -> None:
    lines = a_life().lines
    untouched = copy.deepcopy(lines)
    state = State()
    for number, line in enumerate(lines, start=1):
        state = after(state, line)
        assert state == state_of(lines[:number])
    assert lines == untouched
    assert len(state.heads) == len(state.times) == len(lines)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_line_that_countersign_cannot_have_written_is_named_and_no_other_error_comes_of_it(data: Any) -> None:
    lines = a_life().lines
    place = data.draw(st.integers(0, len(lines) - 1))
    key = data.draw(st.sampled_from(sorted(set(lines[place]) - {"sha256", "event"})))
    changed = dict(lines[place])
    if data.draw(st.booleans()):
        del changed[key]
    else:
        changed[key] = data.draw(VALUES)
    try:
        state_of([*lines[:place], changed, *lines[place + 1 :]])
    except JournalError as error:
        # Where it names another thing than was there, a later line may be the one that makes no sense.
        number = int(str(error).split("line ")[1].split(" ")[0])
        assert number > place


def test_an_unknown_event_of_a_later_version_changes_nothing_but_the_head() -> None:
    book = a_life()
    before = book.state
    book.now += HOUR
    book.add("celebrated", cake=True)
    now = book.state
    different = [f.name for f in fields(State) if getattr(before, f.name) != getattr(now, f.name)]
    assert different == ["heads", "times"]
