"""Answers: nothing that is no finite number is ever sent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from countersign.model.scoring import Scores
from countersign.serving.answers import known, score_rows
from countersign.serving.problems import Problem

GOOD = Scores(
    variance=np.array([4e-4]),
    baseline_variance=np.array([1e-4]),
    probability=np.array([0.1]),
    baseline_probability=np.array([0.2]),
    approved=np.array([True]),
    by_model=np.array([True]),
    reason=np.array([""], dtype=object),
)


def test_a_row_says_what_is_known_and_leaves_out_the_rest() -> None:
    assert score_rows(GOOD, [""], "ab") == [
        b'{"volatility_forecast":0.02,"baseline_volatility":0.01,"bad_week_probability":0.1,"baseline_probability":0.2,'
        b'"decision":"approve","volatility_by":"model","probability_by":"model","model":"ab"}'
    ]
    assert known({"a": None, "b": [1.0, None, float("nan")], "c": {"d": float("inf")}}) == {"b": [1.0], "c": {}}


@pytest.mark.parametrize("field", ["variance", "baseline_variance", "probability", "baseline_probability"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_a_problem_and_never_a_null(field: str, value: float) -> None:
    with pytest.raises(Problem) as caught:
        score_rows(replace(GOOD, **{field: np.array([value])}), ["AAPL"], "ab")
    assert caught.value.status == 500
