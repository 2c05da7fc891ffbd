"""SVG: one pair of axes with marks and text, as inline SVG in the page's colours.

Belongs here: scales, ticks, marks. Does not belong here: what a figure shows (``plots``).

Written by hand, since every session draws a dozen figures: matplotlib took 30 ms for each and 0.3 s to be imported, and
its bytes change with its version, while a page is an artifact whose bytes must not. No id is used, which two figures on
a page could share, and text stays text, in the reader's own font.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, Literal

import numpy as np

_TEXT: Final = 11.0
"""Height of text in units. A figure of 360 units is shown 360 px wide or somewhat more."""

Shape = Literal["circle", "square", "diamond"]
Tick = tuple[float, str]


class Plot:
    """Axes of the ranges ``x`` and ``y`` in a figure of ``width`` × ``height`` units.

    ``rows`` are the labels of the y axis, with a line across where ``grid`` says so; ``unit`` stands above it, and
    ``label`` below the x axis. ``words`` tell what is seen to those who cannot see it. ``right`` is kept free at the
    end, for text. Labels of rows take ``names`` units at most: a longer one is cut, and whole in its title.
    """

    def __init__(
        self,
        words: str,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        rows: Sequence[Tick],
        columns: Sequence[Tick],
        grid: bool = True,
        log: bool = False,
        unit: str = "",
        label: str = "",
        right: float = 8.0,
        names: float = 230.0,
    ) -> None:
        self._words, self._size, self._log = words, (width, height), log
        self._ranges = (tuple(map(math.log10, x)) if log else x, y)
        left = 8 + min(max((text_width(text) for _, text in rows), default=0.0), names)
        top, bottom = (20.0 if unit else 8.0), height - (36.0 if label else 20.0)
        self._box = (left, width - right, top, bottom)
        self._parts: list[str] = []
        for place, text in rows:
            (at,) = self._y([place])
            if grid:
                self._stroke(f"M {left:.1f} {at:.1f} H {width - right:.1f}", "line", 0.6)
            self._text(left - 6, at + 4, _cut(text, names), "end", "ink", text)
        for place, text in columns:
            (at,) = self._x([place])
            if grid:
                self._stroke(f"M {at:.1f} {top:.1f} V {bottom:.1f}", "line", 0.6)
            half = text_width(text) / 2
            self._text(min(max(at, half), width - half), bottom + 15, text, "middle", "ink")
        self._stroke(f"M {left:.1f} {bottom:.1f} H {width - right:.1f}", "line", 1.0)
        if unit:
            self._text(left, 10, unit, "start", "soft")
        if label:
            half = text_width(label) / 2
            self._text(min((left + width - right) / 2, width - half), height - 4, label, "middle", "soft")

    def line(self, x: np.ndarray, y: np.ndarray, colour: str, width: float, dash: str = "") -> None:
        """Through the known points; an unknown one is a gap, and one that stands alone is a dot."""
        known = np.isfinite(y)
        px, py = self._x(x), self._y(y)
        pieces, alone = [], np.zeros(len(known), dtype=bool)
        for first, size in runs(known):
            if size == 1:
                alone[first] = True
                continue
            points = (
                f"{a:.1f} {b:.1f}" for a, b in zip(px[first : first + size], py[first : first + size], strict=True)
            )
            pieces.append("M " + " L ".join(points))
        if pieces:
            self._stroke(" ".join(pieces), colour, width, dash)
        self.marks(x[alone], y[alone], "circle", colour, 1.4 * width)

    def marks(self, x: np.ndarray, y: np.ndarray, shape: Shape, colour: str, size: float, edge: str = "") -> None:
        """A mark at each known point, ``size`` units to its edge, with an outline in ``edge`` where that is given."""
        outline = f"; stroke: var(--{edge}); stroke-width: 1.2" if edge else ""
        style = f'style="fill: var(--{colour}){outline}"'
        for a, b in zip(self._x(x), self._y(y), strict=True):
            if not np.isfinite([a, b]).all():
                continue
            if shape == "circle":
                self._parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{size:.1f}" {style}/>')
            else:
                turned = f' transform="rotate(45 {a:.1f} {b:.1f})"' if shape == "diamond" else ""
                where = f'x="{a - size:.1f}" y="{b - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}"'
                self._parts.append(f"<rect {where}{turned} {style}/>")

    def level(self, y: float, colour: str, width: float, dash: str = "") -> None:
        """A line across at ``y``."""
        (at,) = self._y([y])
        self._stroke(f"M {self._box[0]:.1f} {at:.1f} H {self._box[1]:.1f}", colour, width, dash)

    def upright(self, x: float, colour: str, width: float, dash: str = "") -> None:
        """A line from top to bottom at ``x``."""
        (at,) = self._x([x])
        self._stroke(f"M {at:.1f} {self._box[2]:.1f} V {self._box[3]:.1f}", colour, width, dash)

    def strokes(
        self, x0: np.ndarray, y0: np.ndarray, x1: np.ndarray, y1: np.ndarray, colour: str, width: float
    ) -> None:
        """A straight line for each pair of known ends."""
        ends = zip(self._x(x0), self._y(y0), self._x(x1), self._y(y1), strict=True)
        found = [f"M {a:.1f} {b:.1f} L {c:.1f} {d:.1f}" for a, b, c, d in ends if np.isfinite([a, b, c, d]).all()]
        if found:
            self._stroke(" ".join(found), colour, width)

    def block(self, x: tuple[float, float], y: tuple[float, float], colour: str) -> None:
        """A filled rectangle."""
        (left, right), (top, bottom) = sorted(self._x(x)), sorted(self._y(y))
        where = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        self._parts.append(f'<rect {where} style="fill: var(--{colour})"/>')

    def note(self, y: float, text: str) -> None:
        """Words behind the end of the axes, at the height ``y``."""
        (at,) = self._y([y])
        self._text(self._box[1] + 3, at + 4, text, "start", "ink")

    def label(self, x: float, y: float, text: str) -> None:
        """Words above a point, within the axes."""
        (px,), (py,), half = self._x([x]), self._y([y]), text_width(text) / 2
        self._text(min(max(px, self._box[0] + half), self._box[1] - half), py - 5, text, "middle", "ink")

    def svg(self) -> str:
        """The figure."""
        width, height = self._size
        parts = "\n".join(self._parts)
        head = f'<svg role="img" aria-label="{escape(self._words)}" viewBox="0 0 {width:g} {height:g}">'
        return f"{head}\n{parts}\n</svg>"

    def _x(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        found = np.asarray(values, dtype=float)
        low, high = self._ranges[0]
        left, right, _, _ = self._box
        return left + (right - left) * ((np.log10(found) if self._log else found) - low) / (high - low)

    def _y(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        low, high = self._ranges[1]
        _, _, top, bottom = self._box
        return bottom + (top - bottom) * (np.asarray(values, dtype=float) - low) / (high - low)

    def _stroke(self, path: str, colour: str, width: float, dash: str = "") -> None:
        dashed = f"; stroke-dasharray: {dash}" if dash else ""
        self._parts.append(
            f'<path d="{path}" style="fill: none; stroke: var(--{colour}); stroke-width: {width:g}{dashed}"/>'
        )

    def _text(self, x: float, y: float, text: str, anchor: str, colour: str, whole: str = "") -> None:
        title = f"<title>{escape(whole)}</title>" if whole not in ("", text) else ""
        style = f'style="fill: var(--{colour}); font-size: {_TEXT:g}px; text-anchor: {anchor}"'
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{title}{escape(text)}</text>')


def text_width(text: str) -> float:
    """Units that ``text`` takes at most, also in a wide font."""
    return sum(_TEXT if c in "mMW%@" or ord(c) > 0x2E7F else 9.0 if c.isupper() or c == "w" else 7.0 for c in text)


def _cut(text: str, most: float) -> str:
    """``text`` in ``most`` units, with an ellipsis for what had no room."""
    if text_width(text) <= most:
        return text
    return next(f"{text[:end]}…" for end in range(len(text) - 1, -1, -1) if text_width(f"{text[:end]}…") <= most)


def runs(where: np.ndarray) -> list[tuple[int, int]]:
    """Start and length of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.r_[False, where, False]))
    return [(int(first), int(end - first)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def ticks(low: float, high: float, most: int = 5) -> list[Tick]:
    """About ``most`` round numbers from ``low`` to ``high``, and how they are written.

    >>> ticks(0, 0.9)
    [(0.0, '0.0'), (0.2, '0.2'), (0.4, '0.4'), (0.6, '0.6'), (0.8, '0.8')]
    >>> ticks(-3, 64)
    [(0.0, '0'), (20.0, '20'), (40.0, '40'), (60.0, '60')]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(round_number * power for round_number in (1, 2, 5, 10) if round_number * power >= rough * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    places = [round(step * number, digits) + 0.0 for number in numbers]
    return [(place, f"{place:.{digits}f}" if abs(place) < 1e6 else f"{place:.3g}") for place in places]
