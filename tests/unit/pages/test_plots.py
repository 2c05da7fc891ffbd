"""Figures: what is drawn where, in bytes that are the same each time and colours that are the page's."""

from __future__ import annotations

import re
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.pages.plots import Course, _spread, calibration_plot, course_plot, heat_map, rates_plot

NAN = float("nan")
SESSIONS = [f"2008-09-{day:02}" for day in range(1, 11)]


def course(**changes: Any) -> Course:
    whole = {
        "sessions": SESSIONS,
        "value": np.arange(10.0),
        "threshold": np.full(10, 8.0),
        "reference": np.full(10, NAN),
        "failed": np.arange(10) > 8,
        "judged": np.full(10, True),
    }
    return Course(**{**whole, **changes})


def drawn(found: Course, unit: str = "rows") -> str:
    return course_plot("rows", found, SESSIONS[-5:], unit, 1)


def lines(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of each line (not of a mark) in ``colour``, by x and y from the top left."""
    found = []
    for path, style in re.findall(r'<path d="([^"]+)"[^>]*style="([^"]+)"', svg):
        if f"stroke: var(--{colour})" in style and "fill: none" in style:
            points = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)
            found.append([(float(x), float(y)) for x, y in points])
    return [points for points in found if len(points) > 1]


def test_the_threshold_is_a_line_of_its_own_at_the_height_of_its_number() -> None:
    svg = drawn(course())
    (threshold,), (value,) = lines(svg, "vermillion"), lines(svg, "blue")
    heights = {y for _, y in threshold}
    assert len(heights) == 1
    # The measure is 8, its threshold, in the last session but one.
    assert value[8][1] == pytest.approx(heights.pop(), abs=1e-4)
    assert "stroke-dasharray" in svg


def test_a_session_without_a_value_is_a_gap() -> None:
    value = np.arange(10.0)
    value[4] = NAN
    (path,) = re.findall(r'<path d="([^"]+)"[^>]*fill: none; stroke: var\(--blue\)', drawn(course(value=value)))
    assert [len(part.split("L")) for part in path.split("M ")[1:]] == [4, 5]


def test_a_value_that_stands_alone_is_seen() -> None:
    value = np.full(10, NAN)
    value[3] = 4.0
    alone = drawn(course(value=value, failed=np.full(10, False)))
    assert len(re.findall(r"<use [^>]*fill: var\(--blue\)", alone)) == 1


def test_sessions_that_failed_and_those_that_were_not_judged_are_marked() -> None:
    unsure = drawn(course(judged=np.arange(10) > 2, failed=np.arange(10) > 7))
    assert len(re.findall(r"<use [^>]*fill: var\(--vermillion\)", unsure)) == 2
    assert len(re.findall(r"<use [^>]*fill: var\(--ground\)", unsure)) == 3


def every_figure() -> list[str]:
    nothing = np.full((2, 10), -1)
    return [
        drawn(course()),
        drawn(course(value=np.zeros(10), threshold=np.full(10, NAN))),
        drawn(course(value=np.full(10, 1e12))),
        heat_map(SESSIONS, ["a", "b"], np.arange(20).reshape(2, 10) % 5, np.eye(2, 10, dtype=bool), 5.0),
        heat_map(SESSIONS, ["a", "b"], nothing, nothing > 0, 15.0),
        calibration_plot(np.array([10.0]), np.array([20.0]), np.array([5.0]), np.array([60.0]), 70),
        rates_plot(["1 Sep"], [("blue", "circle", np.array([NAN]), NAN)], "% bad"),
    ]


def test_a_figure_has_the_same_bytes_each_time_whatever_a_persons_matplotlib_is_set_to() -> None:
    before = every_figure()
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9}):
        assert every_figure() == before


def test_a_figure_brings_no_name_space_colour_font_size_or_dead_reference_of_its_own() -> None:
    for svg in every_figure():
        assert not re.search(r"https?:|xlink|<style|<metadata|font-family|<image|#[0-9a-f]{6}\b", svg)
        targets = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
        assert {a or b for a, b in targets} <= set(re.findall(r'id="([^"]+)"', svg))
        assert re.match(r'<svg role="img" aria-label="[^"]+" viewBox="0 0 [\d.]+ [\d.]+">', svg)


def test_ids_of_different_figures_on_one_page_differ() -> None:
    one, other = (set(re.findall(r'id="([^"]+)"', course_plot(n, course(), [], "", 1))) for n in ("rows", "symbols"))
    assert one
    assert not one & other


def test_text_stays_text_and_every_label_lies_within_the_figure() -> None:
    svg = drawn(course(), "% of cells that are missing")
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    places = [(float(x), float(y)) for x, y in re.findall(r'<text [^>]*x="([\d.]+)" y="([\d.]+)"', svg)]
    assert len(places) >= 8
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
    assert "% of cells that are missing</text>" in svg
    assert "10 Sep</text>" in svg


@given(count=st.integers(0, 300), most=st.integers(1, 9))
def test_ticks_are_few_and_even_and_the_last_session_has_one(count: int, most: int) -> None:
    places = _spread(count, most)
    assert len(places) <= most
    assert places[-1:] == ([count - 1] if count else [])
    assert len(set(np.diff(places))) <= 1
