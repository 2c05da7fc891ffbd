"""Sessions: the days that an exchange trades, when they close, and what a wrong date or calendar is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from countersign.errors import ConfigError, SessionError
from countersign.sessions import SessionCalendar, load_calendar, scheduled_session

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calendars")


@pytest.fixture(scope="module")
def nyse(cache: Path) -> SessionCalendar:
    return load_calendar("XNYS", "2008-01-01", "2013-12-31", cache)


@pytest.fixture(scope="module")
def always(cache: Path) -> SessionCalendar:
    return load_calendar("24/7", "2020-02-01", "2020-04-30", cache)


# --- which days are sessions


def test_the_two_days_of_hurricane_sandy_are_no_sessions(nyse: SessionCalendar) -> None:
    assert nyse.between("2012-10-26", "2012-11-01") == ["2012-10-26", "2012-10-31", "2012-11-01"]
    assert "2012-10-29" not in nyse
    assert "2012-10-30" not in nyse
    assert "2012-10-31" in nyse


def test_the_holidays_of_new_york_in_2008_are_no_sessions_and_every_other_weekday_is_one(nyse: SessionCalendar) -> None:
    """The nine full holidays that the exchange published for 2008."""
    holidays = ["01-01", "01-21", "02-18", "03-21", "05-26", "07-04", "09-01", "11-27", "12-25"]
    days = [date(2008, 1, 1) + timedelta(days=n) for n in range(366)]
    weekdays = [day.isoformat() for day in days if day.weekday() < 5]
    assert nyse.between("2008-01-01", "2008-12-31") == [day for day in weekdays if day[5:] not in holidays]


def test_days_without_a_session_are_weekends_and_holidays(nyse: SessionCalendar) -> None:
    found = nyse.closed_days("2012-10-26", "2012-11-03")
    assert found == [date(2012, 10, 27), date(2012, 10, 28), date(2012, 10, 29), date(2012, 10, 30), date(2012, 11, 3)]


def test_a_market_that_never_closes_has_a_session_a_day_that_ends_at_midnight(always: SessionCalendar) -> None:
    assert always.closed_days("2020-02-01", "2020-04-30") == []
    assert always.between("2020-02-28", "2020-03-01") == ["2020-02-28", "2020-02-29", "2020-03-01"]
    assert always.close("2020-02-29") == datetime(2020, 3, 1, tzinfo=UTC)
    assert always.timezone == "UTC"


# --- when they close


@pytest.mark.parametrize(
    ("session", "close"),
    [
        pytest.param("2008-09-15", (16, 0), id="summer time"),
        pytest.param("2008-12-15", (16, 0), id="winter time"),
        pytest.param("2008-11-28", (13, 0), id="early, on the day after Thanksgiving"),
        pytest.param("2008-12-24", (13, 0), id="early, on Christmas Eve"),
    ],
)
def test_a_session_closes_at_the_exchanges_local_time(
    nyse: SessionCalendar, session: str, close: tuple[int, int]
) -> None:
    local = nyse.close(session).astimezone(NEW_YORK)
    assert local.date().isoformat() == session
    assert (local.hour, local.minute) == close


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        pytest.param(datetime(2008, 9, 15, 15, 59, tzinfo=NEW_YORK), "2008-09-12", id="a minute before the close"),
        pytest.param(datetime(2008, 9, 15, 16, 0, tzinfo=NEW_YORK), "2008-09-15", id="at the close"),
        pytest.param(datetime(2008, 9, 14, 12, 0, tzinfo=NEW_YORK), "2008-09-12", id="on a Sunday"),
        pytest.param(datetime(2008, 11, 28, 13, 0, tzinfo=NEW_YORK), "2008-11-28", id="at an early close"),
        pytest.param(datetime(2008, 9, 15, 20, 0, tzinfo=UTC), "2008-09-15", id="in another zone"),
        pytest.param(datetime(2007, 12, 31, 23, 0, tzinfo=UTC), None, id="before the calendar"),
    ],
)
def test_the_newest_closed_session_is_the_last_whose_close_has_come(
    nyse: SessionCalendar, now: datetime, newest: str | None
) -> None:
    assert nyse.last_closed(now) == newest


def test_a_session_that_has_not_closed_is_refused_with_the_one_to_run_instead(nyse: SessionCalendar) -> None:
    nyse.require_closed("2008-09-15", datetime(2008, 9, 15, 16, 0, tzinfo=NEW_YORK))
    with pytest.raises(SessionError) as caught:
        nyse.require_closed("2008-09-15", datetime(2008, 9, 15, 15, 59, tzinfo=NEW_YORK))
    said = str(caught.value)
    assert "2008-09-15 closes at 2008-09-15 20:00 UTC and it is 2008-09-15 19:59 UTC" in said
    assert "newest closed session is 2008-09-12: run that, or wait" in said


@pytest.mark.parametrize(
    ("tick", "session"),
    [
        pytest.param(datetime(2008, 9, 12, 18, 0, tzinfo=NEW_YORK), "2008-09-12", id="evening of a session"),
        pytest.param(datetime(2008, 9, 13, 18, 0, tzinfo=NEW_YORK), None, id="Saturday evening"),
        pytest.param(datetime(2008, 9, 14, 18, 0, tzinfo=NEW_YORK), None, id="Sunday evening"),
        pytest.param(datetime(2008, 9, 13, 6, 0, tzinfo=NEW_YORK), "2008-09-12", id="the morning after"),
        pytest.param(datetime(2008, 9, 15, 6, 0, tzinfo=NEW_YORK), None, id="Monday morning"),
        pytest.param(datetime(2008, 11, 27, 18, 0, tzinfo=NEW_YORK), None, id="evening of a holiday"),
        pytest.param(datetime(2008, 11, 28, 18, 0, tzinfo=NEW_YORK), "2008-11-28", id="evening of an early close"),
    ],
)
def test_the_daily_schedule_runs_a_session_once_and_nothing_on_a_day_without_one(
    nyse: SessionCalendar, tick: datetime, session: str | None
) -> None:
    assert scheduled_session(nyse, tick) == session


@pytest.mark.parametrize("hour", [0, 6, 16, 18, 23])
def test_a_year_of_daily_ticks_at_any_hour_runs_each_session_exactly_once(nyse: SessionCalendar, hour: int) -> None:
    ticks = [datetime(2008, 1, 2, hour, 30, tzinfo=NEW_YORK) + timedelta(days=n) for n in range(366)]
    ran = [session for tick in ticks if (session := scheduled_session(nyse, tick))]
    assert ran == nyse.between(ran[0], ran[-1])
    assert len(ran) >= 252


# --- before and after


def test_sessions_are_counted_over_weekends_and_holidays(nyse: SessionCalendar) -> None:
    assert nyse.at("2012-10-31", -1) == "2012-10-26"
    assert nyse.at("2012-10-26", 5) == "2012-11-06"
    assert nyse.at("2012-10-26", 0) == "2012-10-26"


def test_a_lookback_ends_with_the_session_itself_and_is_short_where_the_calendar_begins(nyse: SessionCalendar) -> None:
    assert nyse.lookback("2012-10-31", 3) == ["2012-10-25", "2012-10-26", "2012-10-31"]
    assert nyse.lookback("2008-01-03", 63) == ["2008-01-02", "2008-01-03"]


# --- refusals


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ("2012-10-29", "2012-10-29 is no session of XNYS .*; the nearest are 2012-10-26 and 2012-10-31"),
        ("2008-09-13", "the nearest are 2008-09-12 and 2008-09-15"),
        ("2030-01-02", r"outside 2008-01-02 … 2013-12-31\); the nearest are 2013-12-31"),
        ("1999-01-04", "the nearest are 2008-01-02"),
        ("20080915", "20080915 is no session of XNYS"),
        ("2008-02-31", "expected a session's date as YYYY-MM-DD, found '2008-02-31'"),
        ("15.09.2008", "expected a session's date as YYYY-MM-DD, found '15.09.2008'"),
        ("today", "expected a session's date as YYYY-MM-DD, found 'today'"),
        ("NaT", "expected a session's date as YYYY-MM-DD, found 'NaT'"),
        ("", "expected a session's date as YYYY-MM-DD, found ''"),
    ],
)
def test_what_is_no_session_is_refused_by_name_with_the_nearest_ones(
    nyse: SessionCalendar, session: str, said: str
) -> None:
    for ask in (nyse.close, lambda day: nyse.at(day, 1), lambda day: nyse.lookback(day, 5)):
        with pytest.raises(SessionError, match=said):
            ask(session)


@pytest.mark.parametrize(
    "ask",
    [
        lambda calendar: calendar.between("2008-09-01", "2008-09-31"),
        lambda calendar: "2008-09-31" in calendar,
        lambda calendar: calendar.closed_days("2008-09-31", "2008-10-31"),
    ],
)
def test_a_span_to_a_day_that_does_not_exist_is_refused(
    nyse: SessionCalendar, ask: Callable[[SessionCalendar], object]
) -> None:
    with pytest.raises(SessionError, match="YYYY-MM-DD, found '2008-09-31'"):
        ask(nyse)


def test_a_session_beyond_the_calendar_is_refused_with_the_calendars_span(nyse: SessionCalendar) -> None:
    with pytest.raises(SessionError, match=r"expected a session 5 sessions after 2013-12-30.*2008-01-02 to 2013-12-31"):
        nyse.at("2013-12-30", 5)
    with pytest.raises(SessionError, match="expected a session 1 sessions before 2008-01-02"):
        nyse.at("2008-01-02", -1)


# --- loading


def test_a_calendar_that_does_not_exist_is_named_with_where_to_correct_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"calendar: 'NASDAK' .* knows XNYS, XLON, 24/7 .*config/pipeline\.yaml"):
        load_calendar("NASDAK", "2008-01-01", "2008-12-31", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_dates_before_those_that_a_calendar_knows_are_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    """XSAU is known from 2021 on."""
    with pytest.raises(ConfigError, match=r"'XSAU' from 2008-01-01 .* history\.start in config/pipeline\.yaml"):
        load_calendar("XSAU", "2008-01-01", "2022-12-31", tmp_path)


def test_a_calendar_whose_holidays_are_known_only_so_far_ends_there(tmp_path: Path) -> None:
    """Shanghai's holidays are announced year by year, so no release of the library knows those of 2100."""
    found = load_calendar("XSHG", "2020-01-01", "2100-12-31", tmp_path)
    assert found.between("2020-01-01", "2020-01-06") == ["2020-01-02", "2020-01-03", "2020-01-06"]
    assert str(found.dates[-1]) < "2100-01-01"


def same(found: SessionCalendar, other: SessionCalendar) -> bool:
    return (
        (found.code, found.timezone) == (other.code, other.timezone)
        and found.dates.tolist() == other.dates.tolist()
        and found.closes.tolist() == other.closes.tolist()
    )


def test_a_calendar_is_read_from_its_cache_once_it_is_there(tmp_path: Path) -> None:
    first = load_calendar("XNYS", "2008-09-01", "2008-09-30", tmp_path)
    assert same(load_calendar("XNYS", "2008-09-01", "2008-09-30", tmp_path), first)
    [path] = tmp_path.iterdir()
    path.write_text(path.read_text().replace("America/New_York", "America/Chicago"))
    assert load_calendar("XNYS", "2008-09-01", "2008-09-30", tmp_path).timezone == "America/Chicago"


def test_other_calendars_and_spans_have_caches_of_their_own(tmp_path: Path) -> None:
    month = load_calendar("XNYS", "2008-09-01", "2008-09-30", tmp_path)
    assert len(load_calendar("XNYS", "2008-09-01", "2008-10-31", tmp_path).dates) > len(month.dates) == 21
    assert len(load_calendar("24/7", "2008-09-01", "2008-09-30", tmp_path).dates) == 30


@pytest.mark.parametrize("broken", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null", b'{"timezone":"x","dates":["?"]}'])
def test_a_corrupt_cache_is_made_anew(tmp_path: Path, broken: bytes) -> None:
    first = load_calendar("24/7", "2008-09-01", "2008-09-30", tmp_path)
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(broken)
    assert same(load_calendar("24/7", "2008-09-01", "2008-09-30", tmp_path), first)
    assert path.read_bytes() == whole
