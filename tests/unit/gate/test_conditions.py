"""Conditions: the text of a bound means one thing, and a bound that could never be broken is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.errors import GateError
from countersign.gate.conditions import MEASURES, Condition, parse_condition


@given(
    st.sampled_from(sorted(MEASURES)),
    st.integers(1, 756),
    st.sampled_from(["below", "above"]),
    st.integers(1, 999_999),
)
def test_a_condition_is_read_back_from_what_it_prints(measure: str, sessions: int, side: str, millionths: int) -> None:
    condition = parse_condition(f"{measure} over {sessions} sessions {side} 0.{millionths:06}")
    assert (condition.measure, condition.sessions, condition.side) == (measure, sessions, side)
    assert condition.bound == millionths / 1_000_000
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize("text", ["auc over 20 sessions below 0.65", "qlike_ratio over 60 sessions above 1.25"])
def test_a_condition_prints_as_it_is_typed(text: str) -> None:
    assert str(parse_condition(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auc below 0.65",
        "AUC over 20 sessions below 0.65",
        "auc over 20 sessions below 65%",
        "auc over 20 sessions below .65",
        "auc over 20 sessions below nan",
        "auc over 20 sessions below 1e-1",
        "auc over 20 sessions below -0.1",
        "auc over 20 sessions under 0.65",
        "auc over 20 days below 0.65",
        "auc over ٢٠ sessions below 0.65",
        "auc over 20 sessions below 0.65\n",
        " auc over 20 sessions below 0.65",
    ],
)
def test_a_text_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(GateError, match=r"such as 'auc over 20 sessions below 0\.65', found "):
        parse_condition(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sharpe over 20 sessions below 0.65", "one of auc, brier, .*, found 'sharpe'"),
        ("auc over 0 sessions below 0.65", "1 to 756 sessions, found 0"),
        ("auc over 757 sessions below 0.65", "1 to 756 sessions, found 757"),
        ("auc over 20 sessions below 65", "a bound between 0 and 1, .*, found 65"),
        ("auc over 20 sessions below 0", "a bound between 0 and 1, .*, found 0"),
        ("bad_rate over 20 sessions above 1", "a bound between 0 and 1, .*, found 1"),
        ("qlike_ratio over 20 sessions above 0.0", "a bound between 0 and 1000, .*, found 0"),
    ],
)
def test_a_bound_that_can_never_be_broken_or_always_is_gets_refused(text: str, words: str) -> None:
    with pytest.raises(GateError, match=words):
        parse_condition(text)


@pytest.mark.parametrize("bound", [float("nan"), 0.1234567])
def test_a_bound_that_does_not_print_as_it_is_gets_refused(bound: float) -> None:
    with pytest.raises(GateError, match=f"up to six decimals, found {bound}"):
        Condition("auc", 20, "below", bound)
