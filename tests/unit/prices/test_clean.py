"""Clean: every raw row is a bar or a refused row with its reason; a bar's return and variance are the true ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.prices.clean import Cleaned, clean_bars, daily_variance
from countersign.prices.ingest import with_previous
from countersign.prices.rules import total_return
from countersign.prices.sources.files import FileSource
from countersign.tables import PRICES_CLEAN, PRICES_REJECTED
from tests.shipped import QUALITY

SESSIONS = np.array(["2008-09-12", "2008-09-15", "2008-09-16"], dtype="datetime64[D]")
PRICES = ("open", "high", "low", "close")
NAN = math.nan

Row = dict[str, object]
Bars = dict[tuple[str, str], dict[Hashable, Any]]
GOOD: Row = {
    "date": "2008-09-15",
    "symbol": "IBM",
    "open": 100.0,
    "high": 110.0,
    "low": 95.0,
    "close": 105.0,
    "adj_close": 52.5,
    "volume": 1000.0,
    "prev_close": 99.0,
    "prev_adj_close": 49.5,
    "unreadable": None,
}


def cleaned(*rows: Row) -> Cleaned:
    return clean_bars(pd.DataFrame(list(rows), columns=list(GOOD)), SESSIONS, QUALITY)


# --- the rules


@pytest.mark.parametrize(
    ("changed", "rule", "quoted"),
    [
        pytest.param({"symbol": ""}, "symbol", "names no symbol", id="no symbol"),
        pytest.param({"date": "2008-09-14"}, "session", "no session of the exchange", id="a Sunday"),
        pytest.param({"date": "2009-09-15"}, "session", "no session of the exchange", id="beyond the calendar"),
        pytest.param({"close": NAN, "unreadable": "close='1e999'"}, "readable", "close='1e999'", id="unreadable price"),
        pytest.param({"volume": NAN, "unreadable": "volume='?'"}, "readable", "volume='?'", id="unreadable volume"),
        *(pytest.param({name: NAN}, "complete", "is missing", id=f"no {name}") for name in PRICES),
        *(pytest.param({name: 0.0}, "positive", f"{name} 0", id=f"{name} is zero") for name in PRICES),
        pytest.param({"low": -95.0}, "positive", "low -95", id="negative price"),
        pytest.param({"low": 1e-300}, "positive", "low 1e-300", id="price that would overflow in a ratio"),
        pytest.param({"high": 1e300}, "positive", "high 1e+300", id="price beyond every currency"),
        pytest.param({"adj_close": -52.5}, "positive", "adj_close -52.5", id="negative adjusted close"),
        pytest.param({"high": 104.9}, "range", "high 104.9", id="high below the close"),
        pytest.param({"high": 99.0, "close": 98.0}, "range", "high 99", id="high below the open"),
        pytest.param({"low": 100.1}, "range", "low 100.1", id="low above the open"),
        pytest.param({"low": 99.0, "close": 98.0}, "range", "low 99", id="low above the close"),
        pytest.param({"high": 90.0, "low": 120.0}, "range", "high 90, low 120", id="high below low"),
        pytest.param(
            {"open": 105.0, "high": 105.0 * (1 - 5e-7), "low": 105.0 * (1 + 5e-7)},
            "range",
            "low 105.00",
            id="by a digit",
        ),
        pytest.param({"volume": -1.0}, "volume", "volume -1", id="negative volume"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_with_the_rule_and_what_was_found(
    changed: Row, rule: str, quoted: str
) -> None:
    found = cleaned(GOOD | {"symbol": "AAPL"}, GOOD | changed)
    assert found.bars["symbol"].tolist() == ["AAPL"]
    [refused] = found.rejected.to_dict("records")
    assert refused["row"] == 1
    assert refused["date"] == changed.get("date", "2008-09-15")
    assert refused["symbol"] == changed.get("symbol", "IBM")
    assert refused["rule"] == rule
    assert quoted in refused["reason"]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"volume": 0.0}, id="no trade"),
        pytest.param({"volume": NAN}, id="unknown volume"),
        pytest.param({"adj_close": NAN, "prev_adj_close": NAN}, id="a source without adjusted closes"),
        pytest.param({"prev_close": NAN, "prev_adj_close": NAN}, id="first bar of a symbol"),
        pytest.param(dict.fromkeys(PRICES, 105.0), id="one price all day"),
        pytest.param({"high": 105.0 * (1 - 5e-7)}, id="high short of the close by a rounded last digit"),
        pytest.param({"prev_close": 1_050.0, "prev_adj_close": 525.0}, id="a crash of 90 %"),
    ],
)
def test_an_unusual_row_that_breaks_no_rule_is_kept(changed: Row) -> None:
    found = cleaned(GOOD | changed)
    assert len(found.bars) == 1
    assert found.rejected.empty


def test_a_refused_rows_numbers_are_quoted_in_full_and_without_a_word_on_cells_that_are_fine() -> None:
    found = cleaned(
        GOOD | {"high": 104.9998, "volume": 123456789.0}, GOOD | {"symbol": "AAPL", "unreadable": "open='x'"}
    )
    reason = found.rejected["reason"].tolist()[0]
    assert reason.endswith("open 100, high 104.9998, low 95, close 105, adj_close 52.5, volume 123456789")


def test_identical_rows_are_kept_once_and_the_others_are_refused_as_repetitions() -> None:
    found = cleaned(GOOD, GOOD | {"symbol": "AAPL"}, GOOD, GOOD)
    assert found.bars["symbol"].tolist() == ["AAPL", "IBM"]
    assert found.rejected["row"].tolist() == [2, 3]
    assert found.rejected["rule"].tolist() == ["duplicate", "duplicate"]


def test_rows_that_contradict_each_other_are_all_refused_so_that_none_is_preferred() -> None:
    found = cleaned(GOOD, GOOD | {"close": 106.0}, GOOD | {"symbol": "AAPL"})
    assert found.bars["symbol"].tolist() == ["AAPL"]
    assert found.rejected["row"].tolist() == [0, 1]
    assert found.rejected["rule"].tolist() == ["conflict", "conflict"]


def test_rows_of_different_sessions_or_symbols_are_no_duplicates() -> None:
    found = cleaned(GOOD, GOOD | {"date": "2008-09-16"}, GOOD | {"symbol": "AAPL"})
    assert len(found.bars) == 3


def test_bars_are_ordered_by_session_and_symbol_and_typed() -> None:
    keys = [("2008-09-16", "AAPL"), ("2008-09-15", "MSFT"), ("2008-09-15", "AAPL"), ("2008-09-12", "ZZZ")]
    bars = cleaned(*(GOOD | {"date": day, "symbol": symbol} for day, symbol in keys)).bars
    assert list(zip(bars["date"].astype(str), bars["symbol"], strict=True)) == sorted(keys)
    assert bars.columns.tolist() == [column.name for column in PRICES_CLEAN]
    assert bars["date"].dtype == "datetime64[s]"


def test_no_rows_at_all_give_two_empty_tables_with_all_columns() -> None:
    found = cleaned()
    assert found.bars.columns.tolist() == [column.name for column in PRICES_CLEAN]
    assert found.rejected.columns.tolist() == [column.name for column in PRICES_REJECTED]
    assert found.bars.empty
    assert found.rejected.empty


# --- nothing is dropped

NUMBER = st.sampled_from([NAN, -1.0, 0.0, 1e-300, 10.0, 10.5, 11.0])
ROW = st.fixed_dictionaries(
    {
        "date": st.sampled_from(["2008-09-12", "2008-09-15", "2008-09-14"]),
        "symbol": st.sampled_from(["IBM", "IBM", "AAPL", ""]),
        "open": NUMBER,
        "high": st.sampled_from([11.0, 11.0, 12.0, 10.0]),
        "low": st.sampled_from([10.0, 10.0, 9.0, 11.0]),
        "close": NUMBER,
        "adj_close": NUMBER,
        "volume": NUMBER,
        "prev_close": st.sampled_from([NAN, 10.0]),
        "prev_adj_close": st.sampled_from([NAN, 10.0]),
        "unreadable": st.sampled_from([None, None, None, "open='x'"]),
    }
)


def rule_of(rows: list[Row], place: int) -> str | None:
    """The first rule that a row breaks, found by looking at one row after another."""
    row = rows[place]
    o, h, low, c, adjusted, volume = (float(str(row[name])) for name in (*PRICES, "adj_close", "volume"))
    same_key = [other for other in rows if (other["date"], other["symbol"]) == (row["date"], row["symbol"])]
    others_adjusted = any(not math.isnan(float(str(other["adj_close"]))) for other in rows)
    earlier = [str(other) for other in rows[:place]]
    broken = {
        "symbol": row["symbol"] == "",
        "session": row["date"] == "2008-09-14",
        "readable": row["unreadable"] is not None,
        "complete": any(math.isnan(price) for price in (o, h, low, c)) or (math.isnan(adjusted) and others_adjusted),
        "positive": any(price < 1e-12 for price in (o, h, low, c, adjusted)),
        "range": h < max(o, c) or low > min(o, c) or h < low,
        "volume": volume < 0,
        "duplicate": str(row) in earlier,
        "conflict": len({str(other) for other in same_key}) > 1,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), None)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(rows=st.lists(ROW, max_size=10))
def test_each_row_is_kept_or_refused_by_the_first_rule_that_it_breaks(rows: list[Row]) -> None:
    found = cleaned(*rows)
    expected = {place: rule_of(rows, place) for place in range(len(rows))}
    assert len(found.bars) + len(found.rejected) == len(rows)
    assert dict(zip(found.rejected["row"], found.rejected["rule"], strict=True)) == {
        place: rule for place, rule in expected.items() if rule
    }
    kept = Counter(
        (str(rows[p]["date"]), rows[p]["symbol"], rows[p]["close"]) for p, rule in expected.items() if not rule
    )
    assert kept == Counter(zip(found.bars["date"].astype(str), found.bars["symbol"], found.bars["close"], strict=True))
    # One of open, high, low, close a symbol and session, and no infinite number, whatever came in.
    assert not found.bars.duplicated(["date", "symbol"]).any()
    assert not np.isinf(found.bars[["log_return", "daily_variance"]]).any(axis=None)


# --- the return and the variance


def test_the_return_is_taken_from_adjusted_closes_where_both_are_there_and_from_closes_where_neither_is() -> None:
    close, previous = np.full(4, 50.0), np.full(4, 100.0)
    found = total_return(close, np.array([26.0, NAN, 26.0, NAN]), previous, np.array([25.0, NAN, NAN, 25.0]))
    np.testing.assert_allclose(found, [math.log(1.04), math.log(0.5), NAN, NAN], rtol=1e-15)


def test_a_bars_variance_is_its_overnight_gap_squared_plus_garman_klass() -> None:
    """By hand: open 100, high 110, low 95, close 105, after 99 (52.5 after 49.5 adjusted: no dividend).

    ln(110/95)² / 2 = 0.1466035² / 2 = 0.0107463; ln(105/100)² (2 ln 2 - 1) = 0.0487902² × 0.3862944 = 0.0009196;
    gap: ln(100/99)² = 0.0100503² = 0.0001010. In all 0.0107463 - 0.0009196 + 0.0001010 = 0.0099277.
    """
    bars = cleaned(GOOD).bars
    assert bars["log_return"].item() == pytest.approx(math.log(105 / 99), rel=1e-12)
    assert bars["daily_variance"].item() == pytest.approx(0.0099277, abs=1e-7)


def test_a_split_overnight_makes_no_gap() -> None:
    """Half the price and twice the shares: open at half the close before is a gap of nothing."""
    split = {"prev_close": 200.0, "prev_adj_close": 50.0}
    flat = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    bars = cleaned(GOOD | flat | split | {"adj_close": 50.0}).bars
    assert bars["log_return"].item() == 0.0
    assert bars["daily_variance"].item() == pytest.approx(0.0, abs=1e-18)


def test_without_a_return_there_is_no_variance_and_a_variance_is_never_negative() -> None:
    one = np.array([100.0])
    assert np.isnan(daily_variance(one, one, one, one, np.array([NAN]))).all()
    # High and low equal, close above: only a rounded source says so.
    assert daily_variance(one, one, one, one * 1.01, np.log(np.array([1.01]))).item() == pytest.approx(0.0, abs=1e-18)


# --- the bundled prices


@pytest.fixture(scope="module")
def bundled(root: Path) -> Bars:
    """The cleaned bundled prices, by symbol and date."""
    reply = FileSource("data/sample/prices.csv.gz", root).read("2000-03-01", "2013-03-01")
    sessions = np.unique(reply["date"].to_numpy().astype("datetime64[D]"))
    found = clean_bars(with_previous(reply, sessions), sessions, QUALITY)
    assert len(found.bars) == len(reply) == 12154
    assert found.rejected.empty
    return {(str(bar["symbol"]), f"{bar['date']:%Y-%m-%d}"): bar for bar in found.bars.to_dict("records")}


def test_apples_crash_of_september_2000_survives_with_its_true_return(bundled: Bars) -> None:
    """From 53.50 to 25.75 without a split, and most of it overnight: the open was 28.19."""
    crash = bundled["AAPL", "2000-09-29"]
    assert crash["close"] == 25.75
    assert crash["log_return"] == pytest.approx(math.log(25.75 / 53.5), abs=1e-5)
    assert crash["log_return"] == pytest.approx(math.log(1 - 0.519), abs=1e-3)
    assert crash["daily_variance"] > math.log(28.19 / 53.5) ** 2


@pytest.mark.parametrize(
    ("symbol", "day", "close", "before"),
    [
        ("AAPL", "2000-06-21", 55.63, 101.25),
        ("AAPL", "2005-02-28", 44.86, 88.99),
        ("MSFT", "2003-02-18", 24.96, 48.30),
    ],
)
def test_a_two_for_one_split_gives_no_false_return(
    bundled: Bars, symbol: str, day: str, close: float, before: float
) -> None:
    bar = bundled[symbol, day]
    assert bar["close"] == close
    assert bar["log_return"] == pytest.approx(math.log(2 * close / before), abs=1e-5)
    # A false gap would be ln(2)² = 0.48.
    assert bar["daily_variance"] < 0.02


def test_a_dividend_is_part_of_the_return(bundled: Bars) -> None:
    """MSFT's ex-date of its special dividend of $3 and the quarterly one of $0.08; closes 29.97 and 27.39."""
    assert bundled["MSFT", "2004-11-15"]["log_return"] == pytest.approx(math.log((27.39 + 3.08) / 29.97), abs=1e-5)


def test_only_a_symbols_first_bar_has_no_return(bundled: Bars) -> None:
    unknown = [key for key, bar in bundled.items() if math.isnan(bar["log_return"])]
    listed = {"AAPL": "2000-03-01", "IBM": "2000-03-01", "MSFT": "2000-03-01", "GOOG": "2004-08-19", "FB": "2012-05-18"}
    assert sorted(unknown) == sorted(listed.items())
