"""Plots: figures as inline SVG, drawn by matplotlib.

Belongs here: axes, marks, colours. Does not belong here: numbers, which arrive ready; captions and keys, which pages
have.

Colours are the page's (``page``), so that one drawing is legible on light and on dark ground; text stays text. The
same arguments make the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEXT: Final = 11.0
"""A figure of 5 inches is 360 units wide: shown 360 px wide, its text is of so many pixels."""

_TICKS: Final = 5

_LANE: Final = 0.78
"""Share of a lane's height that its axis takes; the rest keeps it from the next."""

_NAME: Final = 12
"""Characters of a symbol that a lane has room for."""

_LEAST_PSI: Final = 0.005
"""Where the axis of PSI begins: a tenth of the smallest threshold that anyone uses, and less, look alike."""

_COLOURS: Final = {
    "ink": "#010203",
    "soft": "#010204",
    "line": "#010205",
    "week": "#010206",
    "blue": "#010207",
    "orange": "#010208",
    "vermillion": "#010209",
    "ground": "#01020a",
    "mark": "#01020b",
    **{f"h{step}": f"#01030{step}" for step in range(5)},
}
"""What stands for a colour of the style sheet while matplotlib draws."""


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

    def draw(axes: Axes) -> None:
        x = np.arange(len(course.sessions))
        _shade(axes, course.sessions, week)
        series = {"value": course.value, "threshold": course.threshold, "reference": course.reference}
        value, threshold, reference = (scale * series[key] for key in ("value", "threshold", "reference"))
        axes.plot(x, reference, color=_COLOURS["soft"], lw=1.3, ls=":")
        axes.plot(x, threshold, color=_COLOURS["vermillion"], lw=1.6, ls="--")
        axes.plot(x, value, color=_COLOURS["blue"], lw=1.8)
        unsure, failed = ~course.judged & ~np.isnan(value), course.failed
        alone = _alone(value)
        axes.plot(x[alone], value[alone], "o", color=_COLOURS["blue"], ms=4)
        axes.plot(x[unsure], value[unsure], "o", mfc=_COLOURS["ground"], mec=_COLOURS["soft"], ms=3.6, mew=1.1)
        axes.plot(x[failed], value[failed], "D", color=_COLOURS["vermillion"], ms=4.2)
        _limits(axes, np.concatenate([value, threshold, reference]))
        _dates(axes, course.sessions)
        axes.set_ylabel(unit)

    return _svg(f"course-{name}", f"{name} by session, with its threshold", draw, 5.0, 2.15)


def heat_map(
    sessions: Sequence[str], subjects: Sequence[str], step: np.ndarray, marked: np.ndarray, width: float
) -> str:
    """Subjects (rows) by session (columns): ``step`` 0 … 4, -1 where there is none; ``marked`` cells have a dot."""

    def draw(axes: Axes) -> None:
        for row in range(len(subjects)):
            for level in range(5):
                runs = _runs(step[row] == level)
                axes.broken_barh(
                    [(first - 0.5, size) for first, size in runs], (row - 0.46, 0.92), fc=_COLOURS[f"h{level}"]
                )
        rows, columns = np.nonzero(marked)
        size = min(4.0, 29 * width / max(len(sessions), 1))
        axes.plot(columns, rows, "o", mfc=_COLOURS["mark"], mec=_COLOURS["ground"], ms=size, mew=size / 6)
        axes.set_xlim(-0.5, max(len(sessions), 1) - 0.5)
        axes.set_ylim(len(subjects) - 0.5, -0.5)
        axes.set_yticks(range(len(subjects)), subjects)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
        _dates(axes, sessions)

    height = 0.7 + 0.24 * len(subjects)
    return _svg(f"psi-{width:g}", "PSI of each subject by session", draw, width, height)


def calibration_plot(expected: np.ndarray, share: np.ndarray, low: np.ndarray, high: np.ndarray, top: float) -> str:
    """Share of bad weeks against the probability that was said, with intervals; the diagonal is a right model."""

    def draw(axes: Axes) -> None:
        axes.plot([0, top], [0, top], color=_COLOURS["soft"], lw=1.3, ls=":")
        axes.errorbar(
            expected,
            share,
            yerr=np.stack([share - low, high - share]),
            fmt="o",
            ms=5,
            lw=1.6,
            capsize=3,
            color=_COLOURS["blue"],
        )
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xlabel("bad-week probability that was said (%)")
        axes.set_ylabel("weeks that were bad (%)")

    return _svg("calibration", "Calibration: said probability and share of bad weeks", draw, 5.0, 3.4)


@dataclass(frozen=True)
class Lane:
    """A symbol's course, and ``other`` beside it; NaN where there is none. ``marked`` sessions have a stroke below."""

    symbol: str
    value: np.ndarray
    other: np.ndarray
    marked: np.ndarray


def lanes_plot(name: str, words: str, sessions: Sequence[str], lanes: Sequence[Lane], top: float, limit: float) -> str:
    """A lane a symbol, each from 0 to ``top`` %, one below the other; its newest value stands at its end."""

    def draw(axes: Axes) -> None:
        x = np.arange(len(sessions))
        for row, lane in enumerate(lanes):
            foot = len(lanes) - 1 - row
            value, other = (foot + _LANE * series / top for series in (lane.value, lane.other))
            axes.axhline(foot, color=_COLOURS["line"], lw=0.8)
            if np.isfinite(limit):
                axes.axhline(foot + _LANE * limit / top, color=_COLOURS["vermillion"], lw=1.1, ls="--")
            axes.plot(x, other, color=_COLOURS["orange"], lw=1.5, ls=(0, (2.2, 1.2)))
            axes.plot(x, value, color=_COLOURS["blue"], lw=1.6)
            for series, colour in ((value, "blue"), (other, "orange")):
                alone = _alone(series)
                axes.plot(x[alone], series[alone], "o", color=_COLOURS[colour], ms=3)
            strokes = x[lane.marked]
            axes.vlines(strokes, foot - 0.13, foot - 0.02, color=_COLOURS["ink"], lw=1.4)
            if len(x) and np.isfinite(value[-1]):
                axes.text(len(x) - 0.2, value[-1], f"{lane.value[-1]:.1f}", color=_COLOURS["ink"], va="center")
        axes.set_xlim(-0.5, max(len(sessions), 1) - 0.5)
        axes.set_ylim(-0.2, len(lanes))
        axes.set_yticks([len(lanes) - 1 - row + _LANE / 2 for row in range(len(lanes))], list(map(_short, lanes)))
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        _dates(axes, sessions)

    return _svg(name, words, draw, 5.0, 0.5 + max(0.48, min(0.9, 3.2 / max(len(lanes), 1))) * len(lanes))


def psi_plot(
    subjects: Sequence[str], now: np.ndarray, low: np.ndarray, high: np.ndarray, drifted: np.ndarray, limit: float
) -> str:
    """PSI of each subject, a dot, with the range that it had in the quarter, a line, and the threshold."""

    def draw(axes: Axes) -> None:
        y = np.arange(len(subjects))
        axes.set_xscale("log")
        least, lowest, highest = (np.maximum(values, _LEAST_PSI) for values in (now, low, high))
        axes.axvline(limit, color=_COLOURS["vermillion"], lw=1.6, ls="--")
        axes.hlines(y, lowest, highest, color=_COLOURS["soft"], lw=1.3)
        axes.plot(least[~drifted], y[~drifted], "o", color=_COLOURS["blue"], ms=6)
        axes.plot(least[drifted], y[drifted], "D", color=_COLOURS["vermillion"], ms=6)
        known = [values[np.isfinite(values)] for values in (least, highest)]
        axes.set_xlim(_LEAST_PSI, 1.5 * max(1.0, *(float(values.max()) for values in known if len(values))))
        ticks = [tick for tick in (0.01, 0.1, 1.0, 10.0, 100.0) if tick <= axes.get_xlim()[1]]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks(y, subjects)
        axes.set_ylim(len(subjects) - 0.5, -0.5)
        axes.set_xlabel("PSI against the training data (log scale)")

    return _svg("psi", "PSI of each subject with its threshold", draw, 5.0, 0.9 + 0.26 * len(subjects))


def lead_plot(name: str, sessions: Sequence[str], champion: np.ndarray, baseline: np.ndarray, label: str) -> str:
    """How far ahead of each rival, by session; 0 is level."""

    def draw(axes: Axes) -> None:
        x = np.arange(len(sessions))
        axes.axhline(0, color=_COLOURS["line"], lw=1.2)
        axes.plot(x, baseline, color=_COLOURS["soft"], lw=1.3, ls=":")
        axes.plot(x, champion, color=_COLOURS["blue"], lw=1.8, marker="o" if len(x) == 1 else "")
        axes.set_xlim(-0.5, max(len(sessions), 1) - 0.5)
        _dates(axes, sessions)
        axes.set_ylabel(label)

    return _svg(f"lead-{name}", f"{name}: how far the candidate is ahead, by session", draw, 5.0, 2.6)


def change_plot(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> str:
    """Coefficients (rows) before, a ring, and after, a dot."""

    def draw(axes: Axes) -> None:
        y = np.arange(len(names))
        axes.axvline(0, color=_COLOURS["line"], lw=1.2)
        axes.hlines(y, before, after, color=_COLOURS["soft"], lw=1.3)
        axes.plot(before, y, "o", mfc=_COLOURS["ground"], mec=_COLOURS["soft"], ms=6, mew=1.4)
        axes.plot(after, y, "o", color=_COLOURS["blue"], ms=6)
        axes.set_yticks(y, names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("coefficient for one standard deviation")

    return _svg("changes", "Coefficients of champion and candidate", draw, 5.0, 0.9 + 0.26 * len(names))


def rates_plot(
    name: str, weeks: Sequence[str], series: Sequence[tuple[str, str, np.ndarray, float]], label: str
) -> str:
    """Rates in percent by week: for each of ``series`` its colour, marker, values and dotted level in validation."""

    def draw(axes: Axes) -> None:
        x = np.arange(len(weeks))
        for colour, marker, values, level in series:
            if np.isfinite(level):
                axes.axhline(level, color=_COLOURS[colour], lw=1.3, ls=":")
            axes.plot(x, values, marker=marker, color=_COLOURS[colour], lw=1.8, ms=5)
        axes.set_ylim(-4, 104)
        axes.set_xlim(-0.5, max(len(weeks), 1) - 0.5)
        shown = _spread(len(weeks), _TICKS)
        axes.set_xticks(shown, [weeks[place] for place in shown])
        axes.set_ylabel(label)

    return _svg(name, f"{label} by week", draw, 5.0, 3.4)


def _alone(value: np.ndarray) -> np.ndarray:
    """Where a known value has none beside it: a line needs two points, and would not show it."""
    known = ~np.isnan(value)
    return known & ~(np.r_[False, known[:-1]] | np.r_[known[1:], False])


def _short(lane: Lane) -> str:
    return lane.symbol if len(lane.symbol) <= _NAME else f"{lane.symbol[: _NAME - 1]}…"


def _runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Start and length of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.r_[False, where, False]))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _shade(axes: Axes, sessions: Sequence[str], week: Sequence[str]) -> None:
    places = [place for place, session in enumerate(sessions) if session in set(week)]
    if places:
        axes.axvspan(places[0] - 0.5, places[-1] + 0.5, color=_COLOURS["week"], lw=0, zorder=0)
    axes.set_xlim(-0.5, max(len(sessions), 1) - 0.5)


def _limits(axes: Axes, values: np.ndarray) -> None:
    """Room around what is drawn; from 0 where nothing is below it and the axis would begin near it anyway."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    if low == high:
        high = low + (0.2 * abs(low) or 1.0)
    room = 0.08 * (high - low)
    floor = 0.0 if 0 <= low < 0.4 * high else low
    axes.set_ylim(floor - room, high + room)


def _dates(axes: Axes, sessions: Sequence[str]) -> None:
    shown = _spread(len(sessions), _TICKS)
    days = [date.fromisoformat(sessions[place]) for place in shown]
    axes.set_xticks(shown, [f"{day.day} {day:%b}" for day in days])


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, evenly, the last one among them."""
    step = -(-count // most)
    return list(range((count - 1) % step, count, step)) if count else []


def _svg(name: str, words: str, draw: Callable[[Any], None], width: float, height: float) -> str:
    """What ``draw`` draws on axes, as SVG without an id, a size or a name space that a page would trip over."""
    import io

    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        # A symbol such as $A$ is no formula.
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": _TEXT,
        "axes.edgecolor": _COLOURS["line"],
        "axes.labelcolor": _COLOURS["soft"],
        "axes.labelsize": _TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
        "axes.formatter.limits": (-4, 6),
        "grid.color": _COLOURS["line"],
        "grid.linewidth": 0.6,
        "xtick.major.size": 0,
        "xtick.major.pad": 7,
        "ytick.major.size": 0,
        "xtick.labelcolor": _COLOURS["ink"],
        "ytick.labelcolor": _COLOURS["ink"],
    }
    # From matplotlib's own defaults, so that a person's matplotlibrc changes no page.
    # A sign that matplotlib's font lacks is drawn by the reader's browser, as text.
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        draw(axes)
        sink = io.StringIO()
        figure.savefig(
            sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = sink.getvalue()
    drawn = text[text.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', drawn)
    assert box is not None, name
    body = drawn[drawn.index(">") + 1 : drawn.rindex("</svg>")]
    body = re.sub(r"<(metadata|style).*?</\1>|<!--.*?-->", "", body, flags=re.S).replace("xlink:href", "href")
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace(" font-family: 'DejaVu Sans';", "")
    for variable, colour in _COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"\s*\n\s*", "\n", body).strip()
    return f'<svg role="img" aria-label="{escape(words)}" viewBox="{box[1]}">\n{body}\n</svg>'
