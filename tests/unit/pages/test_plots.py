"""Figures: what is drawn where, in bytes that are the same each time and colours that are the page's."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.pages.plots import (
    Course,
    Lane,
    _spread,
    calibration_plot,
    change_plot,
    course_plot,
    heat_map,
    lanes_plot,
    lanes_top,
    lead_plot,
    psi_plot,
    rates_plot,
)
from countersign.pages.svg import ticks

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


def lane(symbol: str = "MSFT", **changes: Any) -> Lane:
    whole = {"value": np.arange(10.0), "other": np.full(10, NAN), "marked": np.full(10, False)}
    return Lane(symbol, **{**whole, **changes})


def elements(svg: str, tag: str, colour: str) -> list[ElementTree.Element]:
    """The elements ``tag`` whose line, or else whose ground, is in ``colour``."""
    wanted = re.compile(rf"(fill: none; stroke|^fill): var\(--{colour}\)")
    return [found for found in ElementTree.fromstring(svg).iter(tag) if wanted.search(found.get("style", ""))]


def lines(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of each line in ``colour``, by x and y from the top left."""
    paths = " ".join(path.get("d", "") for path in elements(svg, "path", colour))
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", piece)]
        for piece in paths.split("M ")[1:]
        if "L" in piece
    ]


def texts(svg: str) -> list[tuple[str, float, float, str]]:
    """Words, place, and the end of the words that the place is of."""
    found = [
        (t.text or "", t.get("x", ""), t.get("y", ""), t.get("style", ""))
        for t in ElementTree.fromstring(svg).iter("text")
    ]
    return [(words, float(x), float(y), style.rpartition(" ")[2]) for words, x, y, style in found]


def test_the_threshold_is_a_line_of_its_own_at_the_height_of_its_number() -> None:
    svg = drawn(course())
    (threshold,), (value,) = lines(svg, "vermillion"), lines(svg, "blue")
    heights = {y for _, y in threshold}
    assert len(heights) == 1
    # The measure is 8, its threshold, in the last session but one.
    assert value[8][1] == heights.pop()
    assert "stroke-dasharray" in elements(svg, "path", "vermillion")[0].get("style", "")


def test_a_threshold_known_in_one_session_is_a_line_across_the_panel_and_a_lone_value_has_its_number() -> None:
    last = np.arange(10) == 9
    svg = drawn(course(value=np.where(last, 4.25, NAN), threshold=np.where(last, 8.0, NAN), failed=last))
    (threshold,) = lines(svg, "vermillion")
    left, right = (float(end) for end in re.findall(r"M ([\d.]+) [\d.]+ H ([\d.]+)", svg)[-1])
    assert (threshold[0][0], threshold[-1][0]) == (left, right)
    assert len({y for _, y in threshold}) == 1
    assert "4.25" in {words for words, *_ in texts(svg)}
    assert "4.25" not in {words for words, *_ in texts(drawn(course(value=np.full(10, 4.25))))}


def test_what_a_lone_session_is_compared_with_is_a_line_across_too() -> None:
    svg = drawn(course(reference=np.r_[np.full(9, NAN), 5.0]))
    (reference,) = [p for p in elements(svg, "path", "soft") if "stroke-dasharray" in p.get("style", "")]
    assert " H " in reference.get("d", "")
    assert not elements(svg, "circle", "soft")


def test_a_threshold_that_was_changed_is_drawn_as_each_session_was_judged() -> None:
    svg = drawn(course(value=np.full(10, 4.0), threshold=np.r_[np.full(5, 8.0), NAN, np.full(4, 6.0)]))
    (threshold,) = lines(svg, "vermillion")
    # The axis begins half a session before the first: the session that was not judged has the threshold before it.
    heights = [y for _, y in threshold]
    assert heights == [heights[0]] * 7 + [heights[-1]] * 5
    assert heights[0] < heights[-1]


def test_a_number_stands_at_the_height_of_its_line() -> None:
    svg = drawn(course(value=np.full(10, 4.0)))
    (value,) = lines(svg, "blue")
    # Text is placed by its foot: a third of its height below the line.
    assert [y for words, _, y, _ in texts(svg) if words == "4"] == [pytest.approx(value[0][1] + 4, abs=0.11)]


def test_a_session_without_a_value_is_a_gap() -> None:
    value = np.arange(10.0)
    value[4] = NAN
    assert [len(piece) for piece in lines(drawn(course(value=value)), "blue")] == [4, 5]


def test_a_value_that_stands_alone_is_seen() -> None:
    value = np.full(10, NAN)
    value[3] = 4.0
    alone = drawn(course(value=value, failed=np.full(10, False)))
    assert len(elements(alone, "circle", "blue")) == 1


def test_sessions_that_failed_and_those_that_were_not_judged_are_marked() -> None:
    unsure = drawn(course(judged=np.arange(10) > 2, failed=np.arange(10) > 7))
    assert len(elements(unsure, "rect", "vermillion")) == 2
    assert len(elements(unsure, "circle", "ground")) == 3


def test_a_lane_ends_with_its_newest_number_and_is_never_outside_its_own() -> None:
    top = lane("AAPL", value=np.full(10, 40.0))
    bottom = lane("MSFT", value=np.full(10, 0.0), marked=np.arange(10) == 3)
    svg = lanes_plot("lanes", SESSIONS, [top, bottom], 40.0, 20.0)
    high, low = lines(svg, "blue")
    cutoffs = [float(p.get("d", "").split()[2]) for p in elements(svg, "path", "vermillion")]
    # From top to bottom: the first lane at its top, its cutoff half way; the second at its foot, below its cutoff.
    heights = [high[0][1], cutoffs[0], cutoffs[1], low[0][1]]
    assert heights == sorted(heights)
    assert cutoffs[0] - high[0][1] == pytest.approx(low[0][1] - cutoffs[1], abs=0.11)
    assert {"AAPL", "MSFT", "40.0", "0.0"} <= {words for words, *_ in texts(svg)}
    ((stroke, _),) = lines(svg, "ink")
    assert stroke[0] == low[3][0]
    assert stroke[1] > low[3][1]


@pytest.mark.parametrize(
    ("largest", "top"),
    [
        # Three times the median of the others is 13.5.
        ([4.0, 5.0, 13.0], 13.0),
        ([4.0, 5.0, 14.0], 5.0),
        ([4.0, 114.0], 4.0),
        ([114.0], 114.0),
        ([4.0, NAN, 5.0], 5.0),
        ([NAN], 0.0),
    ],
)
def test_a_symbol_far_above_the_others_does_not_set_the_scale(largest: list[float], top: float) -> None:
    assert lanes_top([lane(value=np.r_[np.full(9, NAN), one]) for one in largest]) == top


def test_what_is_over_the_scale_stays_in_its_lane_with_its_true_number() -> None:
    wild = lane("WILD", value=np.r_[np.full(9, 2.0), 114.0])
    svg = lanes_plot("lanes", SESSIONS, [lane("CALM", value=np.full(10, 1.0)), wild], 4.0, NAN)
    full = lanes_plot("lanes", SESSIONS, [lane("CALM", value=np.full(10, 1.0)), lane(value=np.full(10, 4.0))], 4.0, NAN)
    (_, drawn_wild), (_, at_the_top) = lines(svg, "blue"), lines(full, "blue")
    assert drawn_wild[-1] == at_the_top[-1]
    assert {"▲ 114.0", "114.0"} <= {words for words, *_ in texts(svg)}
    assert not [words for words, *_ in texts(full) if "▲" in words]


def test_a_lone_session_of_a_lane_stands_at_the_end_beside_its_number() -> None:
    svg = lanes_plot("lanes", SESSIONS[:1], [Lane("A", np.full(1, 1.0), np.full(1, NAN), np.full(1, False))], 4.0, NAN)
    (dot,) = elements(svg, "circle", "blue")
    left, right = (float(end) for end in re.findall(r"M ([\d.]+) [\d.]+ H ([\d.]+)", svg)[0])
    assert float(dot.get("cx", "")) > left + 0.75 * (right - left)


def test_psi_is_marked_by_its_verdict_on_either_side_of_the_threshold() -> None:
    now = np.array([2.0, 0.1, 0.4, NAN])
    svg = psi_plot(list("abcd"), now, now / 2, now * 2, ["fail", "pass", "insufficient", "insufficient"], 0.2)
    (drifted,), (passed,), (unsure,) = (
        elements(svg, tag, colour) for tag, colour in (("rect", "vermillion"), ("circle", "blue"), ("circle", "ground"))
    )
    limit = float(elements(svg, "path", "vermillion")[0].get("d", "").split()[1])
    middle = float(drifted.get("x", "")) + float(drifted.get("width", "")) / 2
    # On a log scale a half of the threshold is as far from it as its double.
    assert limit - float(passed.get("cx", "")) == pytest.approx(float(unsure.get("cx", "")) - limit, abs=0.11)
    assert middle > float(unsure.get("cx", ""))


def every_figure() -> list[str]:
    nothing, none = np.full((2, 10), -1), np.full(10, NAN)
    return [
        drawn(course()),
        drawn(course(value=np.zeros(10), threshold=np.full(10, NAN))),
        drawn(course(value=np.full(10, 1e12))),
        drawn(course(value=np.full(10, -3e-9), threshold=np.full(10, 2e-9))),
        heat_map(SESSIONS, ["a", "b"], np.arange(20).reshape(2, 10) % 5, np.eye(2, 10, dtype=bool), 360),
        heat_map(SESSIONS, ["a", "b"], nothing, nothing > 0, 1080),
        heat_map([], [], np.zeros((0, 0)), np.zeros((0, 0)), 360),
        calibration_plot(np.array([10.0]), np.array([20.0]), np.array([5.0]), np.array([60.0]), 70),
        rates_plot(["1 Sep"], [("blue", "circle", np.array([NAN]), NAN)], "% bad"),
        lanes_plot("lanes", SESSIONS, [lane('<b>$A$ & "B"</b>'), lane("W" * 24, value=none)], 40.0, NAN),
        lanes_plot("lanes", SESSIONS, [lane("A"), lane("B", value=np.r_[np.full(9, 1.0), 114.0])], 9.0, NAN),
        lanes_plot("lanes", SESSIONS, [lane("A"), lane("B", value=np.r_[1e3, np.full(9, 1.0)])], 9.0, NAN),
        drawn(course(value=np.r_[np.full(9, NAN), 12.345])),
        course_plot("rows", course(**{k: v[:1] for k, v in vars(course()).items()}), [], "rows", 1),
        psi_plot(["a"], np.array([0.0]), np.array([0.0]), np.array([1e9]), ["pass"], 0.2),
        lead_plot("qlike", SESSIONS, np.arange(10.0), none, "sum"),
        change_plot(["a", "b"], np.array([0.1, NAN]), np.array([0.2, -0.1])),
    ]


def test_a_figure_has_the_same_bytes_each_time() -> None:
    assert every_figure() == every_figure()


def test_a_figure_brings_no_name_space_colour_font_or_id_of_its_own() -> None:
    for svg in every_figure():
        assert not re.search(r"https?:|xlink|<style|font-family|<image| id=|url\(|#[0-9a-f]{6}\b|\bnan\b|\binf\b", svg)
        assert re.match(r'<svg role="img" aria-label="[^"]+" viewBox="0 0 [\d.]+ [\d.]+">', svg)


def test_every_mark_and_every_word_lies_within_the_figure() -> None:
    """Widths of DejaVu Sans, a wide font, in parts of its height: W takes 0.989, another character 0.8 at most."""
    for svg in every_figure():
        width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
        places = [(words, x, y, anchor) for words, x, y, anchor in texts(svg)]
        for words, x, y, anchor in places:
            taken = 11 * sum(0.989 if c == "W" else 0.64 for c in words)
            start = {"start": x, "middle": x - taken / 2, "end": x - taken}[anchor]
            assert start >= -1, words
            assert start + taken <= width + 1, words
            assert 0 <= y <= height
        for path in re.findall(r' d="([^"]+)"', svg):
            for a, b in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path):
                assert -0.1 <= float(a) <= width + 0.1
                assert -0.1 <= float(b) <= height + 0.1


def test_what_a_symbol_is_called_stays_text() -> None:
    svg = lanes_plot("lanes", SESSIONS, [lane('<b>$A$&"B"'), lane("MÜNCHENER R")], 40.0, NAN)
    assert {'<b>$A$&"B"', "MÜNCHENER R"} <= {words for words, *_ in texts(svg)}


def test_a_symbol_too_long_for_its_lane_is_cut_and_whole_in_its_title() -> None:
    svg = lanes_plot("lanes", SESSIONS, [lane("AAPL"), lane("SYMBOL-00001-OF-VERY-MANY")], 40.0, NAN)
    (title,) = ElementTree.fromstring(svg).iter("title")
    assert title.text == "SYMBOL-00001-OF-VERY-MANY"
    assert title.tail is not None
    assert title.tail.endswith("…")
    assert title.text.startswith(title.tail[:-1])
    assert len(title.tail) > 12


@given(low=st.floats(-1e9, 1e9), span=st.floats(1e-6, 1e9), most=st.integers(2, 9))
def test_ticks_are_few_round_and_even_and_say_where_they_are(low: float, span: float, most: int) -> None:
    high = low + span
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high, most)
    places = np.array([place for place, _ in found])
    slack = 1e-6 * (high - low)
    assert len(found) <= most + 1
    assert all(low - slack <= place <= high + slack for place in places)
    if len(places) > 1:
        step = places[1] - places[0]
        np.testing.assert_allclose(np.diff(places), step, rtol=1e-3)
        assert float(f"{step:.0e}") == pytest.approx(step, rel=1e-3)


@given(count=st.integers(0, 300), most=st.integers(1, 9))
def test_ticks_of_sessions_are_few_and_even_and_the_last_session_has_one(count: int, most: int) -> None:
    places = _spread(count, most)
    assert len(places) <= most
    assert places[-1:] == ([count - 1] if count else [])
    assert len(set(np.diff(places))) <= 1
