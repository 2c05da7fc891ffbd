"""Sessions: the trading days of an exchange.

Belongs here: which dates are sessions, when they close, which came before. Does not belong here: Dagster's
partitions, which are made from this; the clock, which arrives as an argument.

Calendars come from ``exchange_calendars``. Loading one costs a quarter of a second, more than scoring a session, so
the dates are kept in a small cache file that names the library's version and is made anew when that changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from countersign.errors import ConfigError, SessionError
from countersign.storage.files import write_atomically

_DAY: Final = "datetime64[D]"


@dataclass(frozen=True)
class SessionCalendar:
    """Sessions of one exchange over a span of dates.

    ``dates`` are datetime64[D] at the exchange, ascending; ``closes`` are the matching closing times,
    datetime64[m] in UTC; ``timezone`` is the exchange's IANA zone.
    """

    code: str
    timezone: str
    dates: np.ndarray
    closes: np.ndarray

    def __contains__(self, session: str) -> bool:
        return session in self.between(session, session)

    def between(self, first: str, last: str) -> list[str]:
        """Sessions from ``first`` to ``last``, both included."""
        low = np.searchsorted(self.dates, _day(first), side="left")
        high = np.searchsorted(self.dates, _day(last), side="right")
        return [str(d) for d in self.dates[low:high]]

    def at(self, session: str, offset: int) -> str:
        """The session ``offset`` sessions after ``session`` (before it, where negative)."""
        place = self._place(session) + offset
        if not 0 <= place < len(self.dates):
            raise SessionError(
                f"expected a session {abs(offset)} sessions {'after' if offset > 0 else 'before'} {session}; the "
                f"{self.code} calendar is loaded from {self.dates[0]} to {self.dates[-1]} only"
            )
        return str(self.dates[place])

    def after(self, session: str, count: int) -> str | None:
        """The session ``count`` sessions after ``session``, or None beyond the calendar's end."""
        place = self._place(session) + count
        return str(self.dates[place]) if place < len(self.dates) else None

    def lookback(self, session: str, count: int) -> list[str]:
        """The last ``count`` sessions up to and including ``session``, oldest first."""
        place = self._place(session)
        return [str(d) for d in self.dates[max(place - count + 1, 0) : place + 1]]

    def close(self, session: str) -> datetime:
        """When ``session`` closes, in UTC."""
        minutes = int(self.closes[self._place(session)].astype("int64"))
        return datetime.fromtimestamp(minutes * 60, tz=UTC)

    def last_closed(self, now: datetime) -> str | None:
        """The newest session that has closed at ``now`` (time-zone-aware), or None."""
        place = int(np.searchsorted(self.closes, _minutes(now), side="right"))
        return str(self.dates[place - 1]) if place else None

    def require_closed(self, session: str, now: datetime) -> None:
        """Raise ``SessionError`` unless ``session`` is a session that has closed at ``now``."""
        close = self.close(session)
        if now < close:
            newest = self.last_closed(now)
            raise SessionError(
                f"expected a session that has closed; {session} closes at {close:%Y-%m-%d %H:%M} UTC and it is "
                f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC. The newest closed session is {newest}: run that, or wait"
            )

    def closed_days(self, first: str, last: str) -> list[date]:
        """Days from ``first`` to ``last`` that are no sessions: weekends and holidays."""
        days = np.arange(_day(first), _day(last) + 1)
        return list(np.setdiff1d(days, self.dates).tolist())

    def _place(self, session: str) -> int:
        place = int(np.searchsorted(self.dates, _day(session)))
        if place == len(self.dates) or str(self.dates[place]) != session:
            near = [str(d) for d in self.dates[max(place - 1, 0) : place + 1]]
            raise SessionError(
                f"{session} is no session of {self.code} (a weekend, a holiday, or outside "
                f"{self.dates[0]} … {self.dates[-1]}); the nearest are {' and '.join(near)}"
            )
        return place


def _day(text: str) -> np.datetime64:
    try:
        return np.datetime64(date.fromisoformat(text), "D")
    except ValueError as error:
        raise SessionError(f"expected a session's date as YYYY-MM-DD, found {text!r}: correct it") from error


def _minutes(moment: datetime) -> np.datetime64:
    return np.datetime64(int(moment.timestamp() // 60), "m")


def load_calendar(
    code: str, first: str, last: str, cache: Path, where: str = "in config/pipeline.yaml"
) -> SessionCalendar:
    """The calendar ``code`` of ``exchange_calendars`` from ``first`` to ``last``, through the folder ``cache``.

    It ends sooner where the library knows an exchange's holidays only so far. Raises ``ConfigError`` for a code that
    it does not know, and for dates before those that it knows, with ``where`` another is written.
    """
    name = f"{code.replace('/', '-')}_{first}_{last}_{version('exchange_calendars')}.json"
    path = cache / name
    try:
        return _calendar(code, orjson.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        found = _read_calendar(code, first, last, where)
        # A project folder that may only be read works all the same.
        with suppress(OSError):
            write_atomically(path, orjson.dumps(found))
        return _calendar(code, found)


def _calendar(code: str, found: dict[str, Any]) -> SessionCalendar:
    return SessionCalendar(
        code, found["timezone"], np.array(found["dates"], dtype=_DAY), np.array(found["closes"], dtype="datetime64[m]")
    )


def calendar_codes() -> list[str]:
    """The codes of ``exchange_calendars``, without its other names for the same calendar."""
    with _library() as exchange_calendars:
        codes: list[str] = exchange_calendars.get_calendar_names(include_aliases=False)
    return codes


def read_sessions(code: str, first: str, last: str) -> np.ndarray | None:
    """Sessions (datetime64[D]) of the calendar ``code`` from ``first`` to ``last``.

    None where they are not known: dates beyond those of the library, or holidays that this pandas cannot make for it.
    """
    with _library() as exchange_calendars:
        try:
            found: np.ndarray = exchange_calendars.get_calendar(code, start=first, end=last).sessions.to_numpy()
        except (ValueError, NotImplementedError, exchange_calendars.errors.CalendarError):
            return None
    return found.astype(_DAY)


@contextmanager
def _library() -> Iterator[Any]:
    import warnings

    with warnings.catch_warnings():
        # exchange_calendars 4.13.2 uses what pandas 4 will drop; until it has a release without such warnings.
        # Pandas4Warning derives from DeprecationWarning and names pandas' own modules, so neither tells them apart.
        warnings.simplefilter("ignore", DeprecationWarning)
        import exchange_calendars

        yield exchange_calendars


def _read_calendar(code: str, first: str, last: str, where: str) -> dict[str, Any]:
    with _library() as exchange_calendars:
        try:
            known_to = exchange_calendars.get_calendar(code).bound_max()
            end = min(last, f"{known_to:%Y-%m-%d}") if known_to else last
            calendar = exchange_calendars.get_calendar(code, start=first, end=end)
        except exchange_calendars.errors.InvalidCalendarName as error:
            names: Sequence[str] = exchange_calendars.get_calendar_names()
            raise ConfigError(
                f"calendar: '{code}' is not an exchange that exchange_calendars knows; it knows XNYS, XLON, 24/7 and "
                f"{len(names) - 3} more: write one of them {where}"
            ) from error
        except (ValueError, NotImplementedError, exchange_calendars.errors.CalendarError) as error:
            words = str(error)[:200].rstrip(".")
            raise ConfigError(
                f"calendar: exchange_calendars has no sessions of '{code}' from {first} to {last}: {words}. Write "
                f"another calendar {where}, or begin later (a year before history.start in config/pipeline.yaml)"
            ) from error
        schedule = calendar.schedule
    return {
        "timezone": str(calendar.tz),
        "dates": [str(d) for d in schedule.index.to_numpy().astype(_DAY)],
        "closes": [f"{c:%Y-%m-%dT%H:%M}" for c in schedule["close"]],
    }


def scheduled_session(calendar: SessionCalendar, tick: datetime) -> str | None:
    """The session that a daily schedule at ``tick`` is for: the one that closed in the 24 hours before, if any."""
    session = calendar.last_closed(tick)
    if session is None or tick - calendar.close(session) >= timedelta(days=1):
        return None
    return session
