"""Bounds: when a condition of an approval is broken, when it holds, and when neither can be said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from countersign.gate.bounds import Judged, Outcomes, judge
from countersign.gate.conditions import MEASURES, parse_condition

NAN = math.nan


def outcomes(**columns: Any) -> Outcomes:
    """Two sessions of two symbols: one bad week and one fine one each, half of the rows approved."""
    found: dict[str, Any] = {
        "came_volatility": [[0.02, 0.02], [0.02, 0.02]],
        "volatility_forecast": [[0.01, 0.01], [0.01, 0.01]],
        "baseline_volatility": [[0.04, 0.04], [0.04, 0.04]],
        "bad_week": [[0, 1], [1, 0]],
        "bad_week_probability": [[0.1, 0.9], [0.8, 0.3]],
        "baseline_probability": [[0.5, 0.5], [0.5, 0.5]],
        "approved": [[1, 1], [1, 0]],
    }
    return Outcomes(**{name: np.array(rows, dtype=float) for name, rows in {**found, **columns}.items()})


def judged(text: str, found: Outcomes, *, min_rows: int = 1, min_each: int = 1) -> Judged:
    return judge(parse_condition(text), found, min_rows=min_rows, min_each=min_each)


BY_HAND = {
    # Of the four pairs of a bad and a fine week, all are in order.
    "auc": 1.0,
    "brier": (0.01 + 0.01 + 0.04 + 0.09) / 4,
    "brier_ratio": (0.01 + 0.01 + 0.04 + 0.09) / 4 / 0.25,
    # The forecast variance is a quarter of what came, the baseline's four times as much: x - ln x - 1 of 4 and 1/4.
    "qlike": 4 - math.log(4) - 1,
    "qlike_ratio": (4 - math.log(4) - 1) / (0.25 - math.log(0.25) - 1),
    "volatility_mae": 0.01,
    "volatility_mae_ratio": 0.5,
    "approval_rate": 3 / 4,
    # Of the three approved, the second of the first session and the first of the second.
    "bad_rate": 2 / 3,
}


@pytest.mark.parametrize(("measure", "value"), BY_HAND.items())
def test_each_measure_is_what_it_is_by_hand(measure: str, value: float) -> None:
    assert judged(f"{measure} over 2 sessions above 0.5", outcomes()).value == pytest.approx(value, abs=1e-9)


def test_the_calibration_error_is_what_it_is_by_hand() -> None:
    """Twenty rows said 50 %, fifteen bad: 0.25² - 0.75·0.25/19 = 1/19, the noise taken off."""
    bad = np.array([1.0] * 15 + [0.0] * 5).reshape(4, 5)
    same = dict.fromkeys(("came_volatility", "volatility_forecast", "baseline_volatility", "approved"), bad)
    half = np.full((4, 5), 0.5)
    found = outcomes(**same, bad_week=bad, bad_week_probability=half, baseline_probability=half)
    judgement = judged("calibration_error over 4 sessions above 0.2", found)
    assert judgement.value == pytest.approx(math.sqrt(1 / 19), abs=1e-9)
    assert judgement.status == "broken"
    assert {*BY_HAND, "calibration_error"} == set(MEASURES)


@pytest.mark.parametrize(
    ("side", "bound", "status"),
    [
        ("below", "0.76", "broken"),
        ("below", "0.75", "holds"),
        ("below", "0.74", "holds"),
        ("above", "0.74", "broken"),
        ("above", "0.75", "holds"),
        ("above", "0.76", "holds"),
    ],
)
def test_a_condition_is_broken_on_the_far_side_of_its_bound_and_holds_on_it(side: str, bound: str, status: str) -> None:
    """scikit-learn's example of ``roc_auc_score``: 0.75."""
    found = outcomes(bad_week=[[0, 0], [1, 1]], bad_week_probability=[[0.1, 0.4], [0.35, 0.8]])
    judgement = judged(f"auc over 2 sessions {side} {bound}", found)
    assert judgement.status == status
    assert judgement.sentence == (
        f"auc over the last 2 matured sessions is 0.75 on 4 rows, {'' if status == 'broken' else 'not '}{side} the "
        f"bound of {bound}"
    )


def test_the_last_bits_of_a_number_break_nothing() -> None:
    """0.1² is 0.010000000000000002."""
    found = outcomes(bad_week=[[0, 0], [0, 0]], bad_week_probability=[[0.1, 0.1], [0.1, 0.1]])
    assert judged("brier over 2 sessions above 0.01", found, min_each=0).status == "holds"


def test_an_approval_of_which_nothing_has_come_yet_is_in_no_rate() -> None:
    found = outcomes(bad_week=[[0, NAN], [1, 0]])
    assert judged("approval_rate over 2 sessions above 0.5", found).value == pytest.approx(2 / 3)
    assert judged("bad_rate over 2 sessions above 0.4", found).value == 0.5


@pytest.mark.parametrize(
    ("text", "columns", "why"),
    [
        ("auc over 3 sessions below 0.9", {}, "2 of 3 sessions have matured"),
        ("bad_rate over 3 sessions above 0.1", {}, "2 of 3 sessions have matured"),
        ("qlike over 3 sessions above 0.1", {}, "2 of 3 sessions have matured"),
        ("auc over 1 sessions below 0.9", {"bad_week": [[0, 1], [NAN, NAN]]}, "nothing matured in the last session"),
        ("bad_rate over 1 sessions above 0.1", {"bad_week": [[0, 1], [NAN, NAN]]}, "nothing matured in the last"),
        ("qlike over 1 sessions above 0.1", {"came_volatility": [[0.02, 0.02], [NAN, NAN]]}, "nothing matured in the"),
        ("auc over 2 sessions below 0.9", {"bad_week": [[1, 1], [1, 1]]}, "all of one kind"),
        ("brier over 2 sessions below 0.9", {"bad_week_probability": [[0.1, 1.5], [0.1, 0.2]]}, "not a possible"),
        ("brier_ratio over 2 sessions above 0.9", {"baseline_probability": [[0.5, NAN], [0.5, 0.5]]}, "not a possible"),
        ("qlike over 2 sessions above 0.9", {"volatility_forecast": [[0.01, 0], [0.01, 0.01]]}, "not a possible"),
        ("qlike over 2 sessions above 0.9", {"volatility_forecast": [[NAN, NAN], [0.01, 0.01]]}, "not a possible"),
        ("qlike_ratio over 2 sessions above 0.9", {"baseline_volatility": [[0.02, 0.02]] * 2}, "not a possible"),
        ("volatility_mae over 2 sessions above 0.1", {"volatility_forecast": [[0.01, math.inf]] * 2}, "not a possible"),
        (
            "volatility_mae_ratio over 2 sessions above 0.1",
            {"baseline_volatility": [[NAN, 0.02]] * 2},
            "not a possible",
        ),
        ("bad_rate over 2 sessions above 0.1", {"approved": [[0, 0], [0, 0]]}, "all of one kind"),
        ("approval_rate over 2 sessions below 0.9", {"approved": [[0, 0], [0, 2]]}, "not a possible"),
    ],
)
def test_what_cannot_be_known_neither_breaks_nor_holds(text: str, columns: dict[str, Any], why: str) -> None:
    judgement = judged(text, outcomes(**columns))
    assert judgement.status == "insufficient"
    assert math.isnan(judgement.value)
    assert why in judgement.sentence


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_no_outcome_at_all_neither_breaks_nor_holds(measure: str) -> None:
    nothing = np.empty((0, 0))
    found = Outcomes(nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    assert judged(f"{measure} over 1 sessions below 0.5", found).status == "insufficient"


@pytest.mark.parametrize(
    ("text", "min_rows", "min_each", "why"),
    [
        ("auc over 2 sessions below 0.9", 4, 3, "2 bad and 2 fine weeks, at least 3 of each needed"),
        ("brier over 2 sessions below 0.9", 4, 3, "2 bad and 2 fine weeks, at least 3 of each needed"),
        ("auc over 2 sessions below 0.9", 5, 2, "4 rows, at least 5 needed"),
        ("bad_rate over 2 sessions above 0.1", 4, 9, "3 rows, at least 4 needed"),
        ("approval_rate over 2 sessions above 0.1", 5, 9, "4 rows, at least 5 needed"),
        ("qlike over 2 sessions above 0.1", 5, 9, "4 rows, at least 5 needed"),
    ],
)
def test_too_few_rows_neither_break_nor_hold(text: str, min_rows: int, min_each: int, why: str) -> None:
    judgement = judged(text, outcomes(), min_rows=min_rows, min_each=min_each)
    assert judgement.status == "insufficient"
    assert why in judgement.sentence


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_nothing_before_the_window_matters(measure: str) -> None:
    rng = np.random.default_rng(4)
    later = {name: rng.uniform(0.01, 0.99, (6, 5)) for name in Outcomes.__dataclass_fields__}
    for name in ("bad_week", "approved"):
        later[name] = (later[name] < 0.5).astype(float)
    before = {name: np.full((3, 5), 7.0) for name in later}
    text = f"{measure} over 6 sessions below 0.5"
    alone = judged(text, Outcomes(**later))
    assert alone.status != "insufficient"
    assert judged(text, Outcomes(**{name: np.concatenate([before[name], later[name]]) for name in later})) == alone
