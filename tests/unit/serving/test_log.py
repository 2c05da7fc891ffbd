"""The request log is bounded, and a disk that takes nothing stops no answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from countersign.monitoring.requests import FILES
from countersign.serving.log import MAX_BUFFERED, RequestLog

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_the_log_is_rotated_and_never_takes_more_room_than_its_files(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, lambda: NOW, max_bytes=1000)
    for number in range(200):
        log.add("/predict", 200, number / 1000, 1, "ab" * 32)
        log.flush()
    files = sorted(tmp_path.iterdir())
    assert len(files) <= FILES + 1
    assert all(file.stat().st_size < 1200 for file in files)
    newest = [line for file in files for line in file.read_bytes().splitlines()]
    assert any(b'"ms":199.000' in line for line in newest)
    assert not any(b'"ms":0.000' in line for line in newest)


def test_a_request_that_is_noted_while_the_log_is_written_is_in_it(tmp_path: Path) -> None:
    class Meanwhile(str):
        """A route that is written down at the moment at which another thread writes the log."""

        def encode(self, *_: object, **__: object) -> bytes:
            log.flush()
            return super().encode()

    log = RequestLog(tmp_path, lambda: NOW)
    log.add("/model", 200, 0.001, 0, "")
    log.add(Meanwhile("/predict"), 200, 0.001, 1, "")
    log.flush()
    assert [line.split(b'"')[7] for line in log.path.read_bytes().splitlines()] == [b"/model", b"/predict"]


def test_a_disk_that_takes_nothing_stops_no_answer_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").mkdir()
    log = RequestLog(tmp_path, lambda: NOW)
    for _ in range(MAX_BUFFERED + 5):
        log.add("/predict", 200, 0.001, 1, "")
    log.flush()
    assert log.dropped == MAX_BUFFERED + 5
