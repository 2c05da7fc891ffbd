"""Ingest: the closes of the session before come from the same reply, or from nowhere."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import SourceError
from countersign.prices.ingest import of_symbols, require_known, session_bars, with_previous

SESSIONS = np.array(["2008-09-11", "2008-09-12", "2008-09-15", "2008-09-16"], dtype="datetime64[D]")
THURSDAY, FRIDAY, MONDAY, TUESDAY = SESSIONS.astype(str).tolist()
SATURDAY = "2008-09-13"
NAN = math.nan

Bar = tuple[str, str, float, float]


def reply_of(*bars: Bar) -> pd.DataFrame:
    """A source's reply: date, symbol, close and adj_close as given, the rest made up."""
    days, symbols, closes, adjusted = zip(*bars, strict=True) if bars else ((), (), (), ())
    reply = pd.DataFrame({"date": pd.Series(days, dtype="str"), "symbol": pd.Series(symbols, dtype="str")})
    for name in ("open", "high", "low"):
        reply[name] = 1.0
    return reply.assign(
        close=np.array(closes, float), adj_close=np.array(adjusted, float), volume=np.arange(len(bars)), unreadable=None
    )


def previous(*bars: Bar) -> list[tuple[float, float]]:
    """``prev_close`` and ``prev_adj_close`` of each bar, in order."""
    found = with_previous(reply_of(*bars), SESSIONS)
    return list(zip(found["prev_close"], found["prev_adj_close"], strict=True))


def same(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    return np.array_equal(np.array(found), np.array(expected), equal_nan=True)


# --- the session before


def test_the_session_before_a_monday_is_the_friday() -> None:
    found = previous((FRIDAY, "IBM", 100.0, 50.0), (MONDAY, "IBM", 90.0, 45.0))
    assert same(found, [(NAN, NAN), (100.0, 50.0)])


def test_a_symbol_without_a_bar_on_the_session_before_has_none_and_never_an_older_one() -> None:
    found = previous((THURSDAY, "IBM", 100.0, 50.0), (MONDAY, "IBM", 90.0, 45.0))
    assert same(found, [(NAN, NAN), (NAN, NAN)])


def test_the_close_of_another_symbol_is_never_taken() -> None:
    found = previous((FRIDAY, "IBM", 100.0, 50.0), (MONDAY, "AAPL", 90.0, 45.0))
    assert same(found, [(NAN, NAN), (NAN, NAN)])


def test_bars_of_the_session_before_that_contradict_each_other_give_none() -> None:
    found = previous((FRIDAY, "IBM", 100.0, 50.0), (FRIDAY, "IBM", 101.0, 50.0), (MONDAY, "IBM", 90.0, 45.0))
    assert same(found[2:], [(NAN, NAN)])


def test_a_repeated_bar_of_the_session_before_gives_its_close_once() -> None:
    found = previous((FRIDAY, "IBM", 100.0, 50.0), (FRIDAY, "IBM", 100.0, 50.0), (MONDAY, "IBM", 90.0, 45.0))
    assert same(found, [(NAN, NAN), (NAN, NAN), (100.0, 50.0)])


@pytest.mark.parametrize(
    ("close", "adjusted"), [(0.0, 1.0), (-1.0, 1.0), (NAN, 1.0), (1e-300, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, 1e300)]
)
def test_a_session_before_whose_closes_are_no_prices_gives_none(close: float, adjusted: float) -> None:
    assert same(previous((FRIDAY, "IBM", close, adjusted), (MONDAY, "IBM", 90.0, 45.0))[1:], [(NAN, NAN)])


def test_a_bar_on_a_day_without_a_session_is_kept_and_is_no_session_before() -> None:
    found = previous((FRIDAY, "IBM", 100.0, 50.0), (SATURDAY, "IBM", 1.0, 1.0), (MONDAY, "IBM", 90.0, 45.0))
    assert same(found, [(NAN, NAN), (NAN, NAN), (100.0, 50.0)])


PRICES = st.sampled_from([NAN, -1.0, 0.0, 10.0, 11.0])
DAYS = st.sampled_from([THURSDAY, FRIDAY, SATURDAY, MONDAY, TUESDAY])
BARS = st.lists(st.tuples(DAYS, st.sampled_from(["AAPL", "IBM"]), PRICES, PRICES), max_size=12)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(bars=BARS)
def test_of_any_reply_each_row_stays_in_place_and_gets_what_a_search_row_by_row_finds(bars: list[Bar]) -> None:
    reply = reply_of(*bars)
    found = with_previous(reply, SESSIONS)
    pd.testing.assert_frame_equal(found[reply.columns], reply)
    order = SESSIONS.astype(str).tolist()
    for (day, symbol, _, _), close, adjusted in zip(bars, found["prev_close"], found["prev_adj_close"], strict=True):
        before = order[order.index(day) - 1] if day in order[1:] else None
        # As text, so that a missing adjusted close equals another.
        candidates = {str((c, a)): (c, a) for d, s, c, a in bars if (d, s) == (before, symbol)}
        expected = candidates.popitem()[1] if len(candidates) == 1 else (NAN, NAN)
        if not expected[0] > 0 or expected[1] <= 0:
            expected = (NAN, NAN)
        assert same([(close, adjusted)], [expected])


# --- the bars of a session

WEEK = (
    (FRIDAY, "MSFT", 20.0, 20.0),
    (FRIDAY, "AAPL", 10.0, 10.0),
    (MONDAY, "MSFT", 21.0, 21.0),
    (MONDAY, "IBM", 31.0, 31.0),
    (MONDAY, "AAPL", 11.0, 11.0),
)


def test_only_the_sessions_rows_are_kept_by_symbol_whatever_the_order_of_the_reply() -> None:
    found = session_bars(reply_of(*WEEK), MONDAY, SESSIONS, None, "prices.csv")
    assert found["symbol"].tolist() == ["AAPL", "IBM", "MSFT"]
    assert found["date"].tolist() == [MONDAY] * 3
    assert found.index.tolist() == [0, 1, 2]
    assert np.array_equal(found["prev_close"], [10.0, NAN, 20.0], equal_nan=True)


def test_a_bar_dated_on_a_weekend_comes_with_the_session_after_it() -> None:
    found = session_bars(reply_of(*WEEK, (SATURDAY, "IBM", 1.0, 1.0)), MONDAY, SESSIONS, None, "prices.csv")
    assert found["date"].tolist() == [SATURDAY, MONDAY, MONDAY, MONDAY]


def test_only_the_configured_symbols_are_kept_and_all_where_none_are_named() -> None:
    reply = reply_of(*WEEK)
    assert session_bars(reply, MONDAY, SESSIONS, ["AAPL", "IBM"], "prices.csv")["symbol"].tolist() == ["AAPL", "IBM"]
    assert len(of_symbols(reply, ["AAPL"])) == 2
    assert len(of_symbols(reply, None)) == len(WEEK)


@pytest.mark.parametrize(
    ("bars", "symbols", "has"),
    [
        pytest.param(WEEK, None, f"5 rows, of {FRIDAY} … {MONDAY}", id="other sessions only"),
        pytest.param((), None, "0 rows", id="nothing at all"),
        pytest.param(
            (*WEEK, (TUESDAY, "IBM", 1.0, 1.0)),
            ["AAPL"],
            "none of the 1 configured symbols (the reply has 6 rows",
            id="other symbols only",
        ),
    ],
)
def test_a_session_that_the_source_has_no_bar_of_is_refused(
    bars: tuple[Bar, ...], symbols: list[str] | None, has: str
) -> None:
    with pytest.raises(SourceError) as caught:
        session_bars(reply_of(*bars), TUESDAY, SESSIONS, symbols, "data/prices.csv")
    said = str(caught.value)
    assert said.startswith(f"data/prices.csv: expected bars of session {TUESDAY}, found none")
    assert has in said
    assert said.endswith("Check that the source has delivered that session, then run it again")


# --- symbols


@pytest.mark.parametrize(
    ("symbol", "known", "hint"),
    [
        ("APPL", ["AAPL", "IBM", "MSFT"], "did you mean AAPL?"),
        ("msft", ["AAPL", "IBM", "MSFT"], "did you mean MSFT?"),
        ("XYZ", ["AAPL", "IBM", "MSFT"], "it has AAPL, IBM, MSFT."),
        ("XYZ", [f"S{n}" for n in range(10)], "it has S0, S1, S2, S3, S4, S5, S6, S7 …"),
    ],
)
def test_a_symbol_that_the_source_never_heard_of_is_named_with_what_it_may_have_meant(
    symbol: str, known: list[str], hint: str
) -> None:
    with pytest.raises(SourceError) as caught:
        require_known([known[0], symbol], known, "data/prices.csv")
    said = str(caught.value)
    assert repr(symbol) in said
    assert "data/prices.csv" in said
    assert hint in said
    assert said.endswith("Correct the list in config/pipeline.yaml")


def test_symbols_that_the_source_has_and_no_list_at_all_are_accepted() -> None:
    require_known(["IBM", "AAPL"], ["AAPL", "IBM", "MSFT"], "data/prices.csv")
    require_known(None, ["AAPL"], "data/prices.csv")
