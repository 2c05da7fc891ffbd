"""The journal: every line that was appended is there, in order, and a file that says otherwise is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import JournalError
from countersign.storage.journal import GENESIS, Journal, head

NOW = datetime(2008, 9, 15, 21, 30, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal of three lines."""
    found = Journal(tmp_path / "artifacts" / "journal.jsonl")
    for number, model in enumerate("abc"):
        found.append("deployed", NOW + timedelta(days=number), model=model * 64, decision="bootstrap")
    return found


def test_a_journal_that_was_never_written_has_no_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.read() == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_appended_is_read_back_with_its_time_in_utc(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    new_york = NOW.astimezone(timezone(timedelta(hours=-4)))
    appended = journal.append("deployed", new_york, model="a" * 64, decision="bootstrap", inputs={"source": "x"})
    (line,) = journal.read()
    assert line == appended
    assert {k: line[k] for k in ("event", "at", "model", "inputs")} == {
        "event": "deployed",
        "at": "2008-09-15T21:30:00+00:00",
        "model": "a" * 64,
        "inputs": {"source": "x"},
    }


def test_each_line_carries_its_own_hash_and_that_of_the_line_before(journal: Journal) -> None:
    previous = "0" * 64
    for text in journal.path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        rest = {key: value for key, value in line.items() if key != "sha256"}
        canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        assert line["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
        assert line["previous"] == previous
        previous = line["sha256"]
    assert head(journal.read()) == previous
    assert head([]) == GENESIS


def test_a_bit_that_is_flipped_anywhere_is_noticed(journal: Journal) -> None:
    data = journal.path.read_bytes()
    # But for the end of the last line: without it, that line never happened.
    for place in range(len(data) - 1):
        journal.path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(JournalError):
            journal.read()


@pytest.mark.parametrize(
    ("order", "wrong"), [("bc", 1), ("ac", 2), ("acb", 2), ("bac", 1), ("abbc", 3), ("abca", 4), ("c", 1)]
)
def test_a_line_that_was_removed_repeated_or_moved_is_named_by_its_number(
    journal: Journal, order: str, wrong: int
) -> None:
    lines = dict(zip("abc", journal.path.read_bytes().splitlines(keepends=True), strict=True))
    altered = b"".join(lines[name] for name in order)
    journal.path.write_bytes(altered)
    with pytest.raises(JournalError, match=rf"journal\.jsonl, line {wrong}: .* Restore the file from a backup"):
        journal.read()
    with pytest.raises(JournalError, match=rf"line {wrong}"):
        journal.append("deployed", NOW, model="d" * 64, decision="bootstrap")
    assert journal.path.read_bytes() == altered


@pytest.mark.parametrize("line", [b"", b"[]", b"null", b'"deployed"', b"{}", b"no JSON", b"\xff"])
def test_a_line_that_is_no_entry_at_all_is_refused(journal: Journal, line: bytes) -> None:
    journal.path.write_bytes(journal.path.read_bytes() + line + b"\n")
    with pytest.raises(JournalError, match="line 4"):
        journal.read()


def test_a_last_line_that_was_torn_at_any_byte_never_happened_and_the_next_takes_its_place(journal: Journal) -> None:
    data = journal.path.read_bytes()
    whole = data[: data.index(b"\n", data.index(b"\n") + 1) + 1]
    for size in range(len(whole), len(data) - 1):
        journal.path.write_bytes(data[:size])
        assert [line["model"][0] for line in journal.read()] == ["a", "b"]
    journal.append("deployed", NOW + timedelta(days=2), model="c" * 64, decision="bootstrap")
    assert journal.path.read_bytes() == data


def test_a_last_line_that_lacks_only_its_newline_did_happen_and_the_next_follows_it(journal: Journal) -> None:
    """As an editor leaves the file that strips the newline at its end."""
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-1])
    assert [line["model"][0] for line in journal.read()] == ["a", "b", "c"]
    journal.append("deployed", NOW, model="d" * 64, decision="bootstrap")
    assert journal.path.read_bytes().startswith(data)
    assert [line["model"][0] for line in journal.read()] == ["a", "b", "c", "d"]


def test_a_line_is_appended_only_after_the_one_that_the_writer_has_seen(journal: Journal) -> None:
    seen = head(journal.read())
    journal.append("deployed", NOW, seen, model="d" * 64, decision="bootstrap")
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="another process has written"):
        journal.append("deployed", NOW, seen, model="e" * 64, decision="bootstrap")
    assert journal.path.read_bytes() == before


APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from countersign.storage.journal import Journal
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    Journal(Path(sys.argv[1])).append("reminded", datetime(2008, 9, 15, tzinfo=UTC), writer=sys.argv[2], number=number)
"""


def test_lines_that_two_processes_append_at_once_are_all_there_and_in_each_ones_order(tmp_path: Path) -> None:
    journal, writers = Journal(tmp_path / "journal.jsonl"), ("one", "other")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(journal.path), writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for writer in writers
    ]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        # Both have started before either may write.
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(b"go\n")
            process.stdin.flush()
    assert [process.returncode for process in processes] == [0, 0]
    lines = journal.read()
    assert len(lines) == 200
    for writer in writers:
        assert [line["number"] for line in lines if line["writer"] == writer] == list(range(100))


VALUES = (
    st.none()
    | st.booleans()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(values=st.lists(VALUES, max_size=4))
def test_whatever_a_line_says_the_journal_gives_it_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[object]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.jsonl")
    for value in values:
        journal.append("noted", NOW, reason=value)
    assert [line["reason"] for line in journal.read()] == values
