"""Freshness: how old the newest bar is, and how long after the close the bars arrived.

Belongs here: minutes between moments, and the verdict on the live session. Does not belong here: the exchange's
closing times (``sessions``), the clock, what happens where nothing arrives at all (alerts).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from countersign.checks import Status
from countersign.monitoring.reading import Reading


def minutes_between(earlier: datetime | None, later: datetime | None) -> float:
    """Minutes from ``earlier`` to ``later`` (both time-zone-aware), negative where they are the other way round; NaN
    where one is not known.
    """
    if earlier is None or later is None:
        return math.nan
    return (later - earlier) / timedelta(minutes=1)


def freshness_readings(
    close: datetime,
    newest_bar: datetime | None,
    arrival: datetime | None,
    *,
    live: bool,
    max_staleness_minutes: float,
    max_arrival_minutes: float,
) -> tuple[Reading, Reading]:
    """Minutes from the newest bar to the session's close, and from the close to the arrival of the bars.

    A daily bar's moment is the close of its session. ``live`` says whether this is the session that was due when the
    bars arrived, from a source that is: a session that is run later says nothing of how fast it is, and is never green.
    """
    return (
        _reading(
            "staleness_minutes",
            minutes_between(newest_bar, close),
            max_staleness_minutes,
            live,
            "the newest bar is {:.0f} minutes older than the session's close",
        ),
        _reading(
            "arrival_minutes",
            minutes_between(close, arrival),
            max_arrival_minutes,
            live,
            "the bars arrived {:.0f} minutes after the session's close",
        ),
    )


def _reading(measure: str, minutes: float, limit: float, live: bool, said: str) -> Reading:
    if not live:
        sentence = "not judged: the session was run later, or source.live is false, so that nothing was due"
        return Reading("data", measure, "insufficient", math.nan, sentence, limit)
    if math.isnan(minutes):
        return Reading("data", measure, "insufficient", math.nan, "not known: no bar, or no time of arrival", limit)
    sentence = f"{said.format(minutes)} (limit {limit:g})"
    status: Status = "pass"
    if minutes < 0:
        status, sentence = "fail", f"{sentence}: less than none, so the clock or the calendar is wrong"
    elif minutes > limit:
        status = "fail"
    return Reading("data", measure, status, minutes, sentence, limit, observations=1)
