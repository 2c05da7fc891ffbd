"""Plots: the figures of pages, as inline SVG.

Belongs here: which marks show what. Does not belong here: numbers, which arrive ready; captions and keys, which pages
have; axes (``svg``).

Colours are the page's (``page``), so that one drawing is legible on light and on dark ground. The same arguments make
the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from countersign.pages.svg import Plot, Shape, Tick, runs, text_width, ticks

_WIDTH: Final = 360.0
"""Units of a figure: shown so many pixels wide on a phone, and somewhat wider elsewhere."""

_BESIDE: Final = 320.0
"""Units of a figure that stands beside another and a table: narrower, so that its text is not shown smaller."""

_TICKS: Final = 5

_DATE: Final = 56.0
"""Units that a date takes with the space around it."""

_LANE: Final = 0.78
"""Share of a lane's height that its axis takes; the rest keeps it from the next."""

_NAMES: Final = 135.0
"""Units that a lane has for its symbol, at most."""

_PLACES: Final = 3
"""Places that the axis of sessions has at least: where there are fewer, the newest stands at its end all the same."""

_OFF: Final = 3.0
"""A lane whose largest value is over so many times the median of the others' does not set the scale."""

_LEAST_PSI: Final = 0.005
"""Where the axis of PSI begins: what lies below is far from any threshold."""

_DASHED: Final = "6 3"
_DOTTED: Final = "1.5 2.5"


@dataclass(frozen=True)
class Course:
    """A measure over ``sessions``; NaN where it has no value. ``failed`` and ``judged`` say of each what it was."""

    sessions: Sequence[str]
    value: np.ndarray
    threshold: np.ndarray
    reference: np.ndarray
    failed: np.ndarray
    judged: np.ndarray


def course_plot(name: str, course: Course, week: Sequence[str], unit: str, scale: float) -> str:
    """The course of a measure, its threshold and what it is compared with; the sessions of ``week`` are shaded."""
    series = (course.value, course.threshold, course.reference)
    value, threshold, reference = (scale * values for values in series)
    low, high = _limits(np.concatenate([value, threshold, reference]))
    plot = _by_session(
        f"{name} by session, with its threshold", course.sessions, 155, (low, high), rows=ticks(low, high), unit=unit
    )
    x = np.arange(len(course.sessions))
    places = [place for place, session in enumerate(course.sessions) if session in set(week)]
    if places:
        plot.block((places[0] - 0.5, places[-1] + 0.5), (low, high), "week")
    levels = np.unique(reference[np.isfinite(reference)])
    if len(levels) == 1:
        plot.level(levels[0], "soft", 1.4, _DOTTED)
    else:
        plot.line(x, reference, "soft", 1.4, _DOTTED)
    plot.line(np.r_[_span(len(x))[0], x, _span(len(x))[1]], _across(threshold), "vermillion", 1.6, _DASHED)
    plot.line(x, value, "blue", 1.8)
    unsure = ~course.judged & ~np.isnan(value)
    plot.marks(x[unsure], value[unsure], "circle", "ground", 1.8, "soft")
    plot.marks(x[course.failed], value[course.failed], "diamond", "vermillion", 2.2)
    (known,) = np.nonzero(np.isfinite(value))
    if len(known) == 1:
        plot.label(known[0], value[known[0]], f"{value[known[0]]:.4g}")
    return plot.svg()


def heat_map(
    sessions: Sequence[str], subjects: Sequence[str], step: np.ndarray, marked: np.ndarray, width: float
) -> str:
    """Subjects (rows) by session (columns): ``step`` 0 … 4, -1 where there is none; ``marked`` cells have a dot."""
    names = [(float(row), subject) for row, subject in enumerate(subjects)]
    edges = (len(subjects) - 0.5, -0.5)
    height = 34 + 17.0 * len(subjects)
    plot = _by_session("PSI of each subject by session", sessions, height, edges, rows=names, grid=False, width=width)
    for row in range(len(subjects)):
        for level in range(5):
            for first, size in runs(step[row] == level):
                plot.block((first - 0.5, first + size - 0.5), (row - 0.46, row + 0.46), f"h{level}")
    rows, columns = np.nonzero(marked)
    plot.marks(columns, rows, "circle", "mark", min(2.4, 0.2 * width / max(len(sessions), 1)), "ground")
    return plot.svg()


def calibration_plot(expected: np.ndarray, share: np.ndarray, low: np.ndarray, high: np.ndarray, top: float) -> str:
    """Share of bad weeks against the probability that was said, with intervals; the diagonal is a right model."""
    plot = Plot(
        "Calibration: said probability and share of bad weeks",
        _WIDTH,
        245,
        (0, top),
        (0, top),
        rows=ticks(0, top),
        columns=ticks(0, top),
        unit="weeks that were bad (%)",
        label="bad-week probability that was said (%)",
    )
    plot.line(np.array([0.0, top]), np.array([0.0, top]), "soft", 1.4, _DOTTED)
    plot.strokes(expected, low, expected, high, "blue", 1.6)
    plot.marks(expected, share, "circle", "blue", 3.4)
    return plot.svg()


@dataclass(frozen=True)
class Lane:
    """A symbol's course, and ``other`` beside it; NaN where there is none. ``marked`` sessions have a stroke below."""

    symbol: str
    value: np.ndarray
    other: np.ndarray
    marked: np.ndarray


def lanes_top(lanes: Sequence[Lane]) -> float:
    """The largest value of ``lanes``, without those so far above the others that these would be flat beside them."""
    largest = np.array([np.nanmax([*lane.value, *lane.other, 0.0]) for lane in lanes])
    others = [np.delete(largest, place) for place in range(len(lanes))]
    kept = [one for one, rest in zip(largest, others, strict=True) if not len(rest) or one <= _OFF * np.median(rest)]
    return float(max(kept or largest, default=0.0))


def lanes_plot(words: str, sessions: Sequence[str], lanes: Sequence[Lane], top: float, limit: float) -> str:
    """A lane a symbol, each from 0 to ``top`` %, one below the other; its newest value stands at its end.

    What is over ``top`` is drawn at the top, with the largest such number of the lane.
    """
    feet = [len(lanes) - 1.0 - row for row in range(len(lanes))]
    plot = _by_session(
        words,
        sessions,
        30 + max(36.0, min(64.0, 230 / max(len(lanes), 1))) * len(lanes),
        (-0.2, float(len(lanes))),
        rows=[(foot + _LANE / 2, lane.symbol) for foot, lane in zip(feet, lanes, strict=True)],
        width=_BESIDE,
        grid=False,
        right=38,
        names=_NAMES,
    )
    x = np.arange(len(sessions))
    for foot, lane in zip(feet, lanes, strict=True):
        plot.level(foot, "line", 1)
        if np.isfinite(limit):
            plot.level(foot + _LANE * limit / top, "vermillion", 1.1, _DASHED)
        plot.line(x, foot + _LANE * np.minimum(lane.other, top) / top, "ink", 1.2, "4 2")
        plot.line(x, foot + _LANE * np.minimum(lane.value, top) / top, "blue", 1.7)
        largest = np.fmax(lane.value, lane.other)
        if (largest > top).any():
            place = int(np.nanargmax(largest))
            plot.label(place, foot + _LANE, f"▲ {largest[place]:.1f}")
        strokes = x[lane.marked]
        ends = np.full(len(strokes), foot)
        plot.strokes(strokes, ends - 0.15, strokes, ends - 0.03, "ink", 1.6)
        if len(x) and np.isfinite(lane.value[-1]):
            plot.note(foot + _LANE * min(lane.value[-1], top) / top, f"{lane.value[-1]:.1f}")
    return plot.svg()


def psi_plot(
    subjects: Sequence[str],
    now: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    status: Sequence[str],
    limit: float,
) -> str:
    """PSI of each subject, a mark by its ``status``, with the range of the quarter, a line, and the threshold."""
    now, low, high = (np.maximum(values, _LEAST_PSI) for values in (now, low, high))
    largest = 1.5 * np.nanmax([1.0, limit, *now, *high])
    plot = Plot(
        "PSI of each subject with its threshold",
        _WIDTH,
        44 + 18.0 * len(subjects),
        (0.8 * _LEAST_PSI, largest),
        (len(subjects) - 0.5, -0.5),
        rows=[(float(row), subject) for row, subject in enumerate(subjects)],
        columns=[(tick, f"{tick:g}") for tick in (0.01, 0.1, 1.0, 10.0, 100.0) if tick <= largest],
        log=True,
        label="PSI against the training data (log scale)",
    )
    y = np.arange(len(subjects))
    plot.upright(limit, "vermillion", 1.6, _DASHED)
    plot.strokes(low, y, high, y, "soft", 1.4)
    passed, failed, unsure = (np.array(status) == found for found in ("pass", "fail", "insufficient"))
    plot.marks(now[passed], y[passed], "circle", "blue", 3.6)
    plot.marks(now[unsure], y[unsure], "circle", "ground", 3.6, "soft")
    plot.marks(now[failed], y[failed], "diamond", "vermillion", 3.6)
    return plot.svg()


def lead_plot(name: str, sessions: Sequence[str], champion: np.ndarray, baseline: np.ndarray, label: str) -> str:
    """How far ahead of each rival, by session; 0 is level."""
    low, high = _limits(np.r_[champion, baseline, 0.0])
    words = f"{name}: how far the candidate is ahead, by session"
    plot = _by_session(words, sessions, 187, (low, high), rows=ticks(low, high), unit=label)
    x = np.arange(len(sessions))
    plot.level(0, "soft", 1)
    plot.line(x, baseline, "soft", 1.4, _DOTTED)
    plot.line(x, champion, "blue", 1.8)
    return plot.svg()


def change_plot(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> str:
    """Coefficients (rows) before, a ring, and after, a dot."""
    low, high = _limits(np.r_[before, after, 0.0])
    plot = Plot(
        "Coefficients of champion and candidate",
        _WIDTH,
        48 + 18.0 * len(names),
        (low, high),
        (len(names) - 0.5, -0.5),
        rows=[(float(row), name) for row, name in enumerate(names)],
        columns=ticks(low, high, 4),
        label="coefficient for one standard deviation",
    )
    y = np.arange(len(names))
    plot.upright(0, "soft", 1)
    plot.strokes(before, y, after, y, "soft", 1.4)
    for values, fill, edge in ((before, "ground", "soft"), (after, "blue", "")):
        plot.marks(values, y, "circle", fill, 3.6, edge)
    return plot.svg()


def interval_plot(
    words: str, names: Sequence[str], value: np.ndarray, low: np.ndarray, high: np.ndarray, label: str
) -> str:
    """A value with its interval for each of ``names`` (rows): a dot, or a ring where the interval holds 0."""
    least, most = _limits(np.r_[value, low, high, 0.0])
    plot = Plot(
        words,
        _WIDTH,
        48 + 18.0 * len(names),
        (least, most),
        (len(names) - 0.5, -0.5),
        rows=[(float(row), name) for row, name in enumerate(names)],
        columns=ticks(least, most, 4),
        label=label,
    )
    y = np.arange(len(names))
    plot.upright(0, "soft", 1.4, _DASHED)
    plot.strokes(low, y, high, y, "soft", 1.4)
    sure = (low > 0) | (high < 0)
    plot.marks(value[~sure], y[~sure], "circle", "ground", 3.6, "soft")
    plot.marks(value[sure], y[sure], "circle", "blue", 3.6)
    return plot.svg()


def rates_plot(weeks: Sequence[str], series: Sequence[tuple[str, Shape, np.ndarray, float]], label: str) -> str:
    """Rates in percent by week: for each of ``series`` its colour, mark, values and dotted level in validation."""
    shown = _spread(len(weeks), _TICKS)
    plot = Plot(
        f"{label} by week",
        _BESIDE,
        180,
        _span(len(weeks)),
        (-4, 104),
        rows=ticks(0, 100),
        columns=[(float(place), weeks[place]) for place in shown],
        unit=label,
    )
    x = np.arange(len(weeks))
    for colour, shape, values, level in series:
        if np.isfinite(level):
            plot.level(level, colour, 1.4, _DOTTED)
        plot.line(x, values, colour, 1.8)
        plot.marks(x, values, shape, colour, 3)
    return plot.svg()


def _by_session(
    words: str,
    sessions: Sequence[str],
    height: float,
    y: tuple[float, float],
    *,
    rows: Sequence[Tick],
    width: float = _WIDTH,
    grid: bool = True,
    unit: str = "",
    right: float = 8.0,
    names: float = 230.0,
) -> Plot:
    """Axes with a place for each of ``sessions``, some of them dated."""
    room = width - right - min(max((text_width(text) for _, text in rows), default=0.0), names)
    shown = _spread(len(sessions), min(_TICKS, int(room / _DATE)))
    days = [(place, date.fromisoformat(sessions[place])) for place in shown]
    dated = [(float(place), f"{day.day} {day:%b}") for place, day in days]
    span = _span(len(sessions))
    return Plot(words, width, height, span, y, rows=rows, columns=dated, grid=grid, unit=unit, right=right, names=names)


def _span(places: int) -> tuple[float, float]:
    return min(-0.5, places - _PLACES - 0.5), places - 0.5


def _across(threshold: np.ndarray) -> np.ndarray:
    """The threshold from end to end of the axis: in a session that was not judged it is that of the one before."""
    (known,) = np.nonzero(np.isfinite(threshold))
    if not len(known):
        return np.full(len(threshold) + 2, np.nan)
    before = np.searchsorted(known, np.arange(len(threshold)), "right") - 1
    held = threshold[known[np.maximum(before, 0)]]
    return np.r_[held[0], held, held[-1]]


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Room around what is drawn; from 0 where nothing is below it and the axis would begin near it anyway."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    if low == high:
        high = low + (0.2 * abs(low) or 1.0)
    room = 0.08 * (high - low)
    floor = 0.0 if 0 <= low < 0.4 * high else low
    return floor - room, high + room


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, evenly, the last one among them."""
    step = -(-count // most)
    return list(range((count - 1) % step, count, step)) if count else []
