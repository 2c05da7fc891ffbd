"""The prediction log: what was said first of a session stays what the model is held to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from countersign.errors import JournalError
from countersign.storage.predictions import PredictionLog

NOW = datetime(2008, 9, 2, 22, tzinfo=UTC)


def scores(probability: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": pd.to_datetime(["2008-09-02", "2008-09-02"]),
            "symbol": ["AAPL", "IBM"],
            "bad_week_probability": [probability, 0.1],
            "fallback_reason": [None, "short history"],
        }
    )


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(tmp_path / "predictions")


def test_what_was_said_first_is_found_whatever_is_said_later(log: PredictionLog) -> None:
    log.append("2008-09-02", "a" * 64, "m" * 64, scores(0.3), NOW)
    log.append("2008-09-02", "b" * 64, "n" * 64, scores(0.4), NOW + timedelta(days=90))
    said = log.first("2008-09-02")
    assert said is not None
    assert (said.scores, said.model) == ("a" * 64, "m" * 64)
    assert said.columns == {
        "symbol": ["AAPL", "IBM"],
        "bad_week_probability": [0.3, 0.1],
        "fallback_reason": [None, "short history"],
    }


def test_the_same_scores_again_leave_the_log_as_it_is(log: PredictionLog, tmp_path: Path) -> None:
    log.append("2008-09-02", "a" * 64, "m" * 64, scores(0.3), NOW)
    before = (tmp_path / "predictions" / "2008-09.jsonl").read_bytes()
    log.append("2008-09-02", "a" * 64, "m" * 64, scores(0.3), NOW + timedelta(days=1))
    assert (tmp_path / "predictions" / "2008-09.jsonl").read_bytes() == before


def test_of_a_session_that_was_never_scored_nothing_was_said(log: PredictionLog) -> None:
    assert log.first("2008-09-02") is None
    log.append("2008-09-02", "a" * 64, "m" * 64, scores(0.3), NOW)
    assert log.first("2008-09-03") is None
    assert log.first("2009-09-02") is None


def test_a_line_that_was_changed_afterwards_is_refused(log: PredictionLog, tmp_path: Path) -> None:
    log.append("2008-09-02", "a" * 64, "m" * 64, scores(0.3), NOW)
    path = tmp_path / "predictions" / "2008-09.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.3", b"0.2"))
    with pytest.raises(JournalError, match="line 1"):
        log.first("2008-09-02")
