"""Atomic writing: whoever reads sees the old bytes or the new ones, and a failure leaves nothing behind."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from countersign.storage.files import write_atomically


def test_a_file_is_written_with_the_folders_that_it_lies_in(tmp_path: Path) -> None:
    path = tmp_path / "sessions" / "2008-09-15" / "scores.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]


def test_a_file_can_be_read_by_others_than_its_writer(tmp_path: Path) -> None:
    write_atomically(tmp_path / "report.txt", b"words")
    assert (tmp_path / "report.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_bytes_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    path = tmp_path / "scores.json"
    write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise fault

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(type(fault)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_a_reader_never_sees_a_mixture_while_the_file_is_written_over_and_over(tmp_path: Path) -> None:
    path, contents = tmp_path / "scores.json", [letter * 300_000 for letter in (b"a", b"b", b"c")]
    write_atomically(path, contents[0])

    def write() -> None:
        for data in contents * 10:
            write_atomically(path, data)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
        seen += 1
    assert seen > 0
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]
