"""Checks: pass, fail, or too little to judge by; and the sentence that a person reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from countersign import checks
from countersign.checks import CheckResult, RefusedError
from countersign.features import FEATURES, MIN_HISTORY
from countersign.model.evaluation import Measure
from countersign.tables import PRICES_REJECTED, empty_table

NAN = float("nan")


def raw(*dates: str, prev_close: float = 10.0, unreadable: str | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": list(dates),
            "symbol": [f"S{i}" for i in range(len(dates))],
            "prev_close": prev_close,
            "adj_close": NAN,
            "prev_adj_close": NAN,
            "unreadable": unreadable,
        }
    )


def rejected(count: int) -> pd.DataFrame:
    row = {"row": 3, "date": "2008-09-15", "symbol": "IBM", "rule": "range", "reason": "high 1, low 2"}
    return pd.DataFrame([row] * count) if count else empty_table(PRICES_REJECTED)


def features(*history: int, **columns: Any) -> pd.DataFrame:
    count = len(history)
    table = pd.DataFrame({"symbol": [f"S{i}" for i in range(count)], "history_sessions": history})
    return table.assign(**(dict.fromkeys(FEATURES, 0.5) | columns))


def scores(count: int = 3, **columns: Any) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "symbol": [f"S{i}" for i in range(count)],
            "volatility_forecast": 0.02,
            "baseline_volatility": 0.02,
            "bad_week_probability": 0.1,
            "baseline_probability": 0.1,
            "fallback_reason": None,
        }
    )
    return table.assign(**columns)


def measure(lead: float, low: float, high: float) -> Measure:
    return Measure("auc", 0.8, 0.7, 0.5, lead, low, high)


def test_bars_of_the_session_alone_pass() -> None:
    result = checks.bars_arrived(raw("2008-09-15", "2008-09-15"), "2008-09-15", "2008-09-12")
    assert (result.status, result.refuses) == ("pass", False)
    assert result.sentence == "2 bars of 2 symbols arrived for 2008-09-15"


@pytest.mark.parametrize(
    ("bars", "named"),
    [
        (raw(), "no bar"),
        (raw("2008-09-14"), "no bar"),
        (raw("2008-09-15", "2008-09-12"), "2008-09-12"),
        (raw("2008-09-15", "2008-09-16"), "2008-09-16"),
    ],
    ids=["none", "a weekend's alone", "one of the session before", "one of the session after"],
)
def test_no_bar_or_a_bar_of_another_session_refuses_the_session(bars: pd.DataFrame, named: str) -> None:
    result = checks.bars_arrived(bars, "2008-09-15", "2008-09-12")
    assert result.refuses
    assert named in result.sentence


def test_cells_that_could_not_be_read_are_counted() -> None:
    found = checks.bars_arrived(raw("2008-09-15", unreadable="open='x'"), "2008-09-15", "2008-09-12")
    assert found.numbers["unreadable_rows"] == 1


def test_a_symbol_of_which_nothing_came_is_named_and_stops_nothing() -> None:
    found = checks.bars_arrived(raw("2008-09-15"), "2008-09-15", "2008-09-12", ("FB", "IBM"))
    assert (found.status, found.refuses) == ("fail", False)
    assert "nothing came of FB, IBM, which does not say that these were delisted" in found.sentence
    assert checks.bars_arrived(raw(), "2008-09-15", "2008-09-12", ("FB",)).refuses


def test_a_bar_dated_on_a_weekend_is_told_of_and_left_to_cleaning() -> None:
    found = checks.bars_arrived(raw("2008-09-15", "2008-09-14"), "2008-09-15", "2008-09-12")
    assert found.status == "pass"
    assert "1 dated on days that are no session" in found.sentence


def test_a_bar_without_its_session_before_is_named_and_stops_nothing() -> None:
    result = checks.previous_close_known(raw("2008-09-15", prev_close=NAN))
    assert (result.status, result.refuses) == ("fail", False)
    assert "S0" in result.sentence


@pytest.mark.parametrize(
    ("kept", "bad", "status"),
    [(95, 5, "pass"), (94, 6, "fail"), (0, 0, "fail"), (0, 3, "fail"), (4, 0, "pass"), (3, 1, "pass"), (3, 2, "fail")],
)
def test_more_rejected_rows_than_the_limit_or_none_kept_refuse_the_session(kept: int, bad: int, status: str) -> None:
    result = checks.rejected_share(kept, rejected(bad), 0.05, 2)
    assert result.status == status
    assert result.refuses == (status == "fail")


def test_a_row_that_came_twice_is_no_bad_row() -> None:
    result = checks.rejected_share(4, rejected(4).assign(rule="duplicate"), 0.05, 2)
    assert (result.status, result.numbers["rejected"], result.numbers["rows"]) == ("pass", 0, 4)


def test_rejected_rows_are_shown_with_their_rule_but_not_without_end() -> None:
    result = checks.rejected_share(90, rejected(30), 0.5, 2)
    assert "30 broke the rule 'range' (such as IBM: high 1, low 2)" in result.sentence
    assert len(result.examples) == checks.EXAMPLES
    assert result.examples[0]["reason"] == "high 1, low 2"


def test_a_symbol_that_disappears_is_reported_and_many_of_them_refuse_the_session() -> None:
    before = ["AAPL", "GOOG", "IBM", "MSFT"]
    one = checks.symbols_complete(["AAPL", "IBM", "MSFT"], before, 0.25)
    assert (one.status, one.refuses) == ("fail", False)
    assert "GOOG" in one.sentence
    two = checks.symbols_complete(["AAPL", "IBM"], before, 0.25)
    assert two.refuses
    assert "GOOG, MSFT" in two.sentence


def test_a_new_symbol_is_named_and_passes() -> None:
    result = checks.symbols_complete(["AAPL", "FB"], ["AAPL"], 0.2)
    assert result.status == "pass"
    assert "new: FB" in result.sentence


@pytest.mark.parametrize(
    ("repeated", "bars", "status", "refuses"),
    [
        (4, 4, "fail", True),
        (3, 4, "fail", True),
        (2, 4, "pass", False),
        (0, 4, "pass", False),
        (2, 2, "fail", True),
        (1, 1, "insufficient", False),
        (0, 1, "pass", False),
    ],
)
def test_most_bars_as_the_session_before_are_a_feed_that_hangs(
    repeated: int, bars: int, status: str, refuses: bool
) -> None:
    prices = pd.DataFrame({name: [10.0, 20.0, np.nan, 40.0][:bars] for name in ("open", "high", "low", "close")})
    before = prices.assign(symbol=["A", "B", "C", "D"][:bars])
    today = before.assign(close=[*before["close"][:repeated], *(n + 0.5 for n in range(bars - repeated))])
    result = checks.bars_moved(today, before, 0.5)
    assert (result.status, result.refuses) == (status, refuses)
    assert checks.bars_moved(today, None, 0.5).status == "insufficient"


@pytest.mark.parametrize("before", [None, []])
def test_without_a_session_before_nothing_is_said_of_missing_symbols(before: list[str] | None) -> None:
    assert checks.symbols_complete(["AAPL"], before, 0.2).status == "insufficient"


def test_an_adjusted_close_without_the_one_before_gives_no_return_and_is_named() -> None:
    result = checks.previous_close_known(raw("2008-09-15", prev_close=10.0).assign(adj_close=5.0))
    assert result.status == "fail"
    assert "S0" in result.sentence


def test_where_no_symbol_has_enough_history_there_is_too_little_to_judge_features_by() -> None:
    result = checks.features_computed(features(3, 12, skew_63=NAN))
    assert (result.status, result.refuses) == ("insufficient", False)


def test_a_history_of_a_few_sessions_is_too_little_to_call_complete() -> None:
    assert checks.history_complete([], MIN_HISTORY - 1, 0.05).status == "insufficient"
    assert checks.history_complete([], MIN_HISTORY, 0.05).status == "pass"


def test_an_infinite_feature_refuses_the_session() -> None:
    result = checks.features_computed(features(63, 63, return_1=[0.1, np.inf]))
    assert result.refuses
    assert "1 infinite" in result.sentence


def test_a_gap_in_a_feature_is_reported_only_where_the_history_would_suffice() -> None:
    gap = [NAN, 0.1]
    assert checks.features_computed(features(MIN_HISTORY - 1, 63, skew_63=gap)).status == "pass"
    result = checks.features_computed(features(MIN_HISTORY, 63, skew_63=gap))
    assert (result.status, result.refuses) == ("fail", False)
    assert "skew_63" in result.sentence
    assert "S0" in result.sentence


def test_no_features_at_all_refuse_the_session() -> None:
    assert checks.features_computed(features()).refuses


def test_a_short_history_is_flagged_with_its_length() -> None:
    result = checks.history_sufficient(features(12, MIN_HISTORY))
    assert (result.status, result.refuses) == ("fail", False)
    assert "S0 (12)" in result.sentence
    assert "S1" not in result.sentence


def test_scores_in_range_pass() -> None:
    assert checks.scores_in_range(scores(3), 3).status == "pass"


@pytest.mark.parametrize("column", ["volatility_forecast", "baseline_volatility"])
@pytest.mark.parametrize("value", [NAN, np.inf, 0.0, -0.01])
def test_a_volatility_that_is_not_positive_and_finite_refuses_the_session(column: str, value: float) -> None:
    assert checks.scores_in_range(scores(3, **{column: [0.02, value, 0.02]}), 3).refuses


@pytest.mark.parametrize("column", ["bad_week_probability", "baseline_probability"])
@pytest.mark.parametrize("value", [NAN, np.inf, -0.001, 1.001])
def test_a_probability_outside_zero_and_one_refuses_the_session(column: str, value: float) -> None:
    assert checks.scores_in_range(scores(3, **{column: [0.1, value, 0.1]}), 3).refuses


@pytest.mark.parametrize(
    ("table", "symbols"), [(scores(2), 3), (scores(2, symbol=["A", "A"]), 2), (scores(0), 0)], ids=str
)
def test_a_symbol_without_a_score_or_with_two_refuses_the_session(table: pd.DataFrame, symbols: int) -> None:
    assert checks.scores_in_range(table, symbols).refuses


def test_a_symbol_scored_by_the_baseline_is_named_with_the_reason() -> None:
    result = checks.model_used(scores(2, fallback_reason=["short history: 3 of 60 sessions", None]))
    assert (result.status, result.refuses) == ("fail", False)
    assert "S0 (short history: 3 of 60 sessions)" in result.sentence


def test_a_report_without_a_scored_symbol_fails() -> None:
    assert "MSFT" in checks.report_complete("AAPL approve\n", ["AAPL", "MSFT"]).sentence


def test_a_report_wider_than_the_page_fails_but_a_persons_words_may_be_wide() -> None:
    assert checks.report_complete("A " + "x" * 79 + "\n", ["A"]).status == "fail"
    assert checks.report_complete("A\nCOMMENTARY\n" + "x" * 200 + "\n", ["A"]).status == "pass"


def test_a_history_with_gaps_is_named_and_beyond_the_limit_refused() -> None:
    few = checks.history_complete(["2001-09-11"], 1000, 0.05)
    assert (few.status, few.refuses) == ("fail", False)
    assert "2001-09-11" in few.sentence
    assert checks.history_complete(["2001-09-11"] * 51, 1000, 0.05).refuses
    assert checks.history_complete([], 0, 0.05).refuses


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (measure(0.1, 0.05, 0.2), "pass"),
        (measure(-0.1, -0.2, -0.05), "fail"),
        (measure(0.1, -0.05, 0.2), "insufficient"),
        (measure(0.0, 0.0, 0.0), "insufficient"),
        (measure(NAN, NAN, NAN), "insufficient"),
    ],
)
def test_a_model_is_better_or_worse_than_the_baseline_only_with_its_whole_interval(found: Measure, status: str) -> None:
    assert checks.beats_baseline("auc", found).status == status


def test_require_passes_verdicts_on_and_says_every_refusal_with_what_to_do() -> None:
    fine = CheckResult("a", "pass", "all well", blocking=True)
    warned = CheckResult("b", "fail", "one is missing")
    unsure = CheckResult("c", "insufficient", "too little", blocking=True)
    assert checks.require("x", "Correct it", fine, warned, unsure) == (fine, warned, unsure)
    refusing = [CheckResult("d", "fail", f"reason {i}", blocking=True) for i in (1, 2)]
    with pytest.raises(RefusedError, match=r"x is refused: reason 1; reason 2\. Correct it") as caught:
        checks.require("x", "Correct it", fine, *refusing)
    assert caught.value.results == (fine, *refusing)
