"""Freshness: judged for the live session only, in minutes around the exchange's close."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from countersign.monitoring.freshness import freshness_readings
from countersign.monitoring.reading import Reading

CLOSE = datetime(2008, 9, 15, 20, 0, tzinfo=UTC)
LIMITS = {"max_staleness_minutes": 0.0, "max_arrival_minutes": 360.0}


def readings(newest_bar: datetime | None, arrival: datetime | None, *, live: bool = True) -> tuple[Reading, Reading]:
    return freshness_readings(CLOSE, newest_bar, arrival, live=live, **LIMITS)


def test_bars_of_the_session_that_arrive_two_hours_after_the_close_are_fresh() -> None:
    stale, late = readings(CLOSE, CLOSE + timedelta(hours=2))
    assert (stale.status, stale.value, stale.threshold) == ("pass", 0.0, 0.0)
    assert (late.status, late.value, late.threshold) == ("pass", 120.0, 360.0)
    assert "120 minutes after the session's close (limit 360)" in late.sentence


def test_minutes_are_counted_across_time_zones_and_the_change_to_winter_time() -> None:
    """Friday's close at 16:00 summer time to Monday's at 16:00 winter time: three days and an hour."""
    york = ZoneInfo("America/New_York")
    friday, monday = datetime(2008, 10, 31, 16, tzinfo=york), datetime(2008, 11, 3, 21, tzinfo=UTC)
    stale, _ = freshness_readings(monday, friday.astimezone(UTC), monday, live=True, **LIMITS)
    assert stale.value == (3 * 24 + 1) * 60


@pytest.mark.parametrize(("minutes", "status"), [(359.5, "pass"), (360.0, "pass"), (360.5, "fail")])
def test_bars_may_arrive_up_to_the_limit(minutes: float, status: str) -> None:
    _, late = readings(CLOSE, CLOSE + timedelta(minutes=minutes))
    assert (late.status, late.value) == (status, minutes)


def test_a_newest_bar_of_the_session_before_is_stale_however_early_it_arrived() -> None:
    stale, late = readings(CLOSE - timedelta(days=3), CLOSE + timedelta(minutes=1))
    assert (stale.status, stale.value) == ("fail", 4320.0)
    assert late.status == "pass"


def test_a_backfill_is_never_green_and_says_why() -> None:
    for reading in readings(CLOSE, CLOSE + timedelta(minutes=1), live=False):
        assert (reading.status, math.isnan(reading.value)) == ("insufficient", True)
        assert "run later" in reading.sentence


def test_what_is_not_known_is_not_green() -> None:
    assert [reading.status for reading in readings(None, None)] == ["insufficient", "insufficient"]


def test_a_bar_from_after_the_close_or_one_that_arrived_before_it_is_a_wrong_clock() -> None:
    for reading in readings(CLOSE + timedelta(days=1), CLOSE - timedelta(minutes=5)):
        assert reading.status == "fail"
        assert reading.value < 0
        assert "clock or the calendar is wrong" in reading.sentence
