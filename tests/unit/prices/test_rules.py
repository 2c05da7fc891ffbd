"""Rules: what each finds on bars made by hand, and what it leaves alone; real extremes survive."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.prices.clean import BEFORE_COLUMNS, Before, Cleaned, clean_bars, doubtful_symbols, row_digests
from countersign.prices.ingest import with_previous
from countersign.prices.sources.files import FileSource
from countersign.quality import ON_BARS, Quality
from tests.shipped import QUALITY

NAN = math.nan
SESSIONS = np.arange("2024-01-01", "2024-05-20", dtype="datetime64[D]")
"""140 days in a row, as on a market that never closes."""


def bars(closes: list[float], symbol: str = "A", start: int = 0, **columns: Any) -> pd.DataFrame:
    """One bar a session from the session number ``start`` on; NaN leaves a session out. High and low lie 1 % away."""
    close = np.array(closes)
    opened = np.array(columns.get("open", closes), dtype=float)
    table = pd.DataFrame(
        {
            "date": SESSIONS[start : start + len(close)].astype(str),
            "symbol": symbol,
            "open": opened,
            "high": np.maximum(opened, close) * 1.01,
            "low": np.minimum(opened, close) * 0.99,
            "close": close,
            "adj_close": close,
            "volume": 1000.0,
            "unreadable": None,
        }
    ).assign(**columns)
    return table[table["close"].notna()].reset_index(drop=True)


def cleaned(table: pd.DataFrame, quality: Quality = QUALITY, **more: Any) -> Cleaned:
    return clean_bars(with_previous(table, SESSIONS), SESSIONS, quality, **more)


def aside(found: Cleaned) -> dict[int, str]:
    """Row → rule, of the rows that were set aside."""
    return dict(zip(found.rejected["row"].tolist(), found.rejected["rule"], strict=True))


def severity(rule: str, value: str) -> Quality:
    return QUALITY.model_copy(update={rule: QUALITY.rule(rule).model_copy(update={"severity": value})})


def wavy(count: int, level: float = 100.0) -> list[float]:
    """Closes that go up and down by 1 %: every absolute return is near 0.01, and no two bars in a row are the same."""
    return [level * (1.01 if number % 2 else 1.0) for number in range(count)]


# --- rows by themselves


@pytest.mark.parametrize(("log_wick", "rule"), [(0.52, None), (0.59, None), (0.61, "wick"), (0.68, "wick")])
@pytest.mark.parametrize("side", ["high", "low"])
def test_the_longest_known_wick_stays_and_the_shortest_known_bad_tick_goes(
    log_wick: float, rule: str | None, side: str
) -> None:
    """Published with the rules: legitimate up to 0.52, bad ticks from 0.68 on; the limit is 0.6."""
    wick = 100 * math.exp(log_wick if side == "high" else -log_wick)
    assert (
        aside(cleaned(bars([100.0, 100.5]).assign(**{side: [wick, 101.0 if side == "high" else 99.0]}))).get(0) == rule
    )


@pytest.mark.parametrize("opened", [1.0, 180.0, 54.0, 10_000.0])
def test_an_open_that_is_a_bad_tick_with_its_own_high_or_low_is_set_aside(opened: float) -> None:
    """No wick shows it: the low (or the high) is the bad open itself. The limit of 0.6 is at 54.9 and 182."""
    rule = "wick" if abs(math.log(opened / 100)) > 0.6 else None
    assert aside(cleaned(bars([100.0, 100.0, 100.5], open=[100.0, opened, 100.0]))) == ({1: rule} if rule else {})


@pytest.mark.parametrize(
    ("close", "opened"),
    [
        pytest.param([100.0, 48.0], [100.0, 47.0], id="a crash overnight, and no way back"),
        pytest.param([100.0, 54.0], [100.0, 101.0], id="a crash during the day"),
        pytest.param([100.0, 60.0], [100.0, 115.0], id="up overnight and down by day, far from one of the two"),
    ],
)
def test_an_open_far_from_one_side_alone_is_a_market(close: list[float], opened: list[float]) -> None:
    assert aside(cleaned(bars(close, open=opened))) == {}


def test_an_open_on_the_day_of_a_split_is_judged_by_the_close_before_the_split() -> None:
    """Two for one: an open of 49 after 100 is none; one of 100 is as bad as it was twice the price before."""
    adjusted = [50.0, 49.5]
    assert aside(cleaned(bars([100.0, 49.5], open=[100.0, 49.0], adj_close=adjusted))) == {}
    assert aside(cleaned(bars([100.0, 49.5], open=[100.0, 100.0], adj_close=adjusted))) == {1: "wick"}


def test_a_bar_without_the_adjusted_close_that_others_have_is_set_aside() -> None:
    """Its return would be taken from the plain close, and a split for a crash."""
    table = pd.concat([bars([100.0, 50.5], adj_close=NAN), bars([10.0, 10.1], symbol="B")], ignore_index=True)
    assert aside(cleaned(table)) == {0: "complete", 1: "complete"}


# --- beside the session before


@pytest.mark.parametrize("factor", [100, 1000])
def test_a_change_of_unit_by_a_hundred_or_a_thousand_is_set_aside(factor: int) -> None:
    assert aside(cleaned(bars([2.0, 2.02, 2.01 * factor, 2.04]))) == {2: "unit_change"}


def test_a_price_that_is_in_pence_for_one_session_is_set_aside_and_the_step_back_is_none_of_its_own() -> None:
    found = cleaned(bars([2.0, 2.02, 203.0, 2.04, 2.05]))
    assert aside(found) == {2: "unit_change"}
    assert found.bars["log_return"].tolist() == pytest.approx(
        [NAN, math.log(1.01), NAN, math.log(2.05 / 2.04)], nan_ok=True
    )


def test_a_change_of_unit_that_stays_is_set_aside_once_and_goes_on_in_the_new_unit() -> None:
    found = cleaned(bars([200.0, 2.02, 2.0, 2.04]))
    assert aside(found) == {1: "unit_change"}
    assert found.bars["log_return"].tolist()[1:] == pytest.approx([NAN, math.log(1.02)], nan_ok=True)


def test_a_split_of_a_hundred_for_one_that_the_adjusted_close_knows_is_no_change_of_unit() -> None:
    found = cleaned(bars([200.0, 2.02], adj_close=[2.0, 2.02]))
    assert aside(found) == {}
    assert found.bars["log_return"].tolist()[1] == pytest.approx(math.log(1.01))


@pytest.mark.parametrize(
    ("opened", "rule"), [(50.5, "split_like"), (33.0, "split_like"), (200.0, "split_like"), (52.69, None)]
)
def test_an_open_that_jumps_as_in_a_split_is_set_aside_where_no_adjustment_comes_with_it(
    opened: float, rule: str | None
) -> None:
    """52.69 of 100: the open of Apple's crash of 2000-09-29 (28.19 after 53.50), which was none."""
    assert aside(cleaned(bars([100.0, opened], open=[100.0, opened]))).get(1) == rule


def test_a_split_that_the_adjusted_close_knows_stays() -> None:
    assert aside(cleaned(bars([100.0, 50.5], adj_close=[50.0, 50.5]))) == {}


def test_a_split_like_jump_without_adjusted_closes_is_not_judged_and_so_not_green() -> None:
    found = cleaned(bars([100.0, 50.5], adj_close=NAN))
    assert aside(found) == {}
    assert "no adjusted closes" in found.findings["split_like"].unknown


@pytest.mark.parametrize(
    ("adjusted", "odd"),
    [
        pytest.param([100.0, 101.0], False, id="no event"),
        pytest.param([97.0, 101.0], False, id="a dividend of 3 %"),
        pytest.param([89.9, 101.0], False, id="a dividend of 10 %, as Microsoft's of 2004-11-15"),
        pytest.param([100.0, 100.0], True, id="a factor that falls by 1 %"),
        pytest.param([50.0, 101.0], True, id="a factor of a split that the close does not show"),
    ],
)
def test_an_adjustment_that_steps_neither_as_a_dividend_nor_as_a_split_is_told_of_and_stays(
    adjusted: list[float], odd: bool
) -> None:
    found = cleaned(bars([100.0, 101.0], adj_close=adjusted))
    assert len(found.bars) == 2
    assert found.findings["adjustment_step"].count == odd


@pytest.mark.parametrize("close", [50.5, 200.5])
def test_a_split_and_a_reverse_split_are_no_odd_adjustments(close: float) -> None:
    assert cleaned(bars([100.0, close], adj_close=[close - 0.5, close])).findings["adjustment_step"].count == 0


# --- beside the bars before


def test_the_fifth_bar_with_the_same_prices_and_all_after_it_are_stale_until_one_moves() -> None:
    assert aside(cleaned(bars([100.0, *[101.0] * 7, 102.0, 101.0]))) == dict.fromkeys((5, 6, 7), "stale")


def test_four_bars_alike_and_closes_alike_with_other_highs_are_a_market() -> None:
    assert aside(cleaned(bars([100.0, *[101.0] * 4, 102.0]))) == {}
    assert aside(cleaned(bars([101.0] * 8).assign(high=np.linspace(102, 103, 8)))) == {}


@pytest.mark.parametrize(("away", "rule"), [(20, None), (21, "hole"), (61, "hole"), (62, None)])
def test_a_symbol_that_comes_back_after_more_than_twenty_sessions_is_set_aside_while_features_could_mix_it_up(
    away: int, rule: str | None
) -> None:
    """Features read 63 sessions: after 62 away nothing of the old symbol is left in them."""
    table = pd.concat([bars(wavy(90), "B"), bars([*wavy(5), *[NAN] * away, 100.5])], ignore_index=True)
    assert aside(cleaned(table)).get(95) == rule


def test_a_symbol_stays_in_quarantine_after_a_hole_until_the_old_bars_are_out_of_sight_or_one_is_released() -> None:
    table = pd.concat([bars(wavy(130), "B"), bars([*wavy(5), *[NAN] * 30, *wavy(60)])], ignore_index=True)
    raw = with_previous(table, SESSIONS)
    # The last bar before the hole is on session 4; 62 sessions after it, on 66, the last one is set aside.
    hidden = [row for row in range(135, 195) if 35 + row - 135 <= 66]
    assert aside(cleaned(table)) == dict.fromkeys(hidden, "hole")
    released = frozenset(row_digests(raw, [140]))
    found = cleaned(table, released=released)
    assert aside(found) == dict.fromkeys(range(135, 140), "hole")
    assert found.released == released


def test_sessions_that_the_source_never_delivered_are_nobodys_hole() -> None:
    table = pd.concat([bars([*wavy(5), *[NAN] * 30, 100.5], symbol) for symbol in ("A", "B")], ignore_index=True)
    assert aside(cleaned(table)) == {}


def test_a_large_return_is_told_of_by_the_symbols_own_measure_and_stays() -> None:
    """Returns of ±1 % have a median absolute deviation of 1 %: 12 of them are below 25 %, which decides.

    Of +5 % and -4.76 % by turns it is 4.88 %, and 12 of them are 58.6 %: 40 % is no jump of such a symbol.
    """
    calm, wild = wavy(41), [100.0 * (1.05 if number % 2 else 1.0) for number in range(41)]
    for closes, to, jumps in ((calm, 0.76, 0), (calm, 0.74, 1), (wild, 0.6, 0), (wild, 0.3, 1)):
        found = cleaned(bars([*closes, closes[-1] * to]))
        assert len(found.bars) == 42
        assert found.findings["jump"].count == jumps, to


def test_sessions_without_trade_and_with_gaps_are_told_of() -> None:
    table = pd.concat([bars(wavy(50), "B"), bars([100.0, NAN, *wavy(48)])], ignore_index=True)
    table.loc[3, "volume"] = 0.0
    found = cleaned(table).findings
    assert [found["zero_volume"].count, found["missing_sessions"].count] == [1, 0], "one of 50 is 2 %"
    assert found["zero_volume"].examples[0]["date"] == "2024-01-04"
    twice = pd.concat([bars(wavy(50), "B"), bars([100.0, NAN, NAN, *wavy(47)])], ignore_index=True)
    assert cleaned(twice).findings["missing_sessions"].examples == ({"symbol": "A", "reason": "4.0% missing"},)


# --- closes alone


def test_closes_alone_make_bars_whose_variance_is_the_squared_return_and_say_so() -> None:
    found = cleaned(bars([100.0, 102.0], open=NAN, high=NAN, low=NAN))
    assert found.bars["daily_variance"].tolist() == pytest.approx([NAN, math.log(1.02) ** 2], nan_ok=True)
    assert found.findings["ranges_known"].count == 2
    assert found.findings["wick"].unknown == "the source gives closes alone"


def test_a_row_that_lacks_what_the_others_have_is_no_close_alone() -> None:
    table = pd.concat([bars([100.0]), bars([50.0], "B", open=NAN, high=NAN, low=NAN)], ignore_index=True)
    assert aside(cleaned(table)) == {1: "complete"}


# --- severities


def test_a_rule_that_only_warns_keeps_its_rows_and_one_that_is_off_is_not_judged() -> None:
    table = bars([100.0, 100.5]).assign(high=[300.0, 101.0])
    warned, off = cleaned(table, severity("wick", "warn")), cleaned(table, severity("wick", "off"))
    assert [len(warned.bars), warned.findings["wick"].count] == [2, 1]
    assert [len(off.bars), off.findings["wick"].count] == [2, 0]
    assert "switched off" in off.findings["wick"].unknown


# --- people


def test_a_released_row_is_a_bar_and_counts_for_its_very_values_alone() -> None:
    table = bars([100.0, 100.5]).assign(high=[300.0, 101.0])
    released = frozenset(row_digests(with_previous(table, SESSIONS), [0]))
    assert aside(cleaned(table, released=released)) == {}
    assert aside(cleaned(table.assign(high=[300.01, 101.0]), released=released)) == {0: "wick"}


def test_of_rows_that_contradict_each_other_one_may_be_released_and_never_two() -> None:
    table = pd.concat([bars([100.0]), bars([100.5])], ignore_index=True)
    digests = row_digests(with_previous(table, SESSIONS), [0, 1])
    assert aside(cleaned(table, released=frozenset(digests[:1]))) == {1: "conflict"}
    assert aside(cleaned(table, released=frozenset(digests))) == {0: "conflict", 1: "conflict"}


def test_a_row_of_which_no_bar_can_be_made_is_not_let_through_by_its_release() -> None:
    table = bars([100.0, 100.5]).assign(low=[-1.0, 99.0])
    assert aside(cleaned(table, released=frozenset(row_digests(with_previous(table, SESSIONS), [0])))) == {
        0: "positive"
    }


# --- real prices, and extremes


@pytest.fixture(scope="module")
def real(root: Path) -> pd.DataFrame:
    return FileSource("data/sample/prices.csv.gz", root).read("2000-03-01", "2013-03-01")


def test_no_real_bar_of_thirteen_years_and_two_crises_is_set_aside(real: pd.DataFrame) -> None:
    """Published with the prices: no bad bar, three splits, a dividend of 10 %, and a real crash by 51.9 %."""
    days = np.unique(real["date"].to_numpy().astype("datetime64[D]"))
    found = clean_bars(with_previous(real, days), days, QUALITY)
    assert len(found.bars) == len(real) == 12_154
    noticed = {name: finding.examples for name, finding in found.findings.items() if finding.count}
    assert [(e["date"], e["symbol"]) for e in noticed.pop("jump")] == [("2000-09-29", "AAPL")]
    assert noticed == {}


def test_a_week_in_which_a_bank_lost_sixty_percent_survives() -> None:
    """Falls of 12, 9, 27, 8 and 33 %: 0.88 × 0.91 × 0.73 × 0.92 × 0.67 = 0.360, on wide ranges."""
    week = 100 * np.cumprod([1.0, 0.88, 0.91, 0.73, 0.92, 0.67])
    table = bars(week.tolist(), open=[100.0, *week[:-1]]).assign(low=week * 0.85)
    found = cleaned(table)
    assert len(found.bars) == 6
    assert found.bars["log_return"].sum() == pytest.approx(math.log(0.88 * 0.91 * 0.73 * 0.92 * 0.67))


# --- properties

STEP = st.sampled_from([1.0, 1.01, 0.99, 1.01, 0.99, 100.0, 0.01, 0.5, 0.48, 2.0, NAN])
WALK = st.lists(st.tuples(STEP, st.integers(1, 4)), min_size=1, max_size=12)


def walk(steps: list[tuple[float, int]], symbol: str) -> pd.DataFrame:
    """Closes that step so, each step repeated; NaN: away for 7 sessions each time."""
    closes, level = [100.0], 100.0
    for step, times in steps:
        for _ in range(times):
            if math.isnan(step):
                closes += [NAN] * 7
                continue
            level = min(max(level * step, 1e-6), 1e9)
            closes.append(level)
    return bars(closes[: len(SESSIONS)], symbol)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(one=WALK, other=WALK, seed=st.integers(0, 100))
def test_the_order_of_rows_and_other_symbols_change_no_verdict(
    one: list[tuple[float, int]], other: list[tuple[float, int]], seed: int
) -> None:
    full = bars(wavy(len(SESSIONS)), "Z")  # every session has a bar, whoever else is there
    alone = pd.concat([walk(one, "A"), full], ignore_index=True)
    both = pd.concat([walk(one, "A"), walk(other, "B"), full], ignore_index=True)
    shuffled = both.sample(frac=1, random_state=seed).reset_index(drop=True)

    def verdicts(table: pd.DataFrame) -> set[tuple[Any, ...]]:
        rejected = cleaned(table).rejected
        return set(zip(rejected["date"], rejected["symbol"], rejected["rule"], rejected["reason"], strict=True))

    assert verdicts(shuffled) == verdicts(both)
    assert {v for v in verdicts(both) if v[1] == "A"} == verdicts(alone)


@settings(deadline=None, max_examples=5, derandomize=True)
@given(one=WALK, other=WALK)
def test_sessions_judged_one_by_one_get_the_verdicts_of_all_judged_at_once(
    one: list[tuple[float, int]], other: list[tuple[float, int]]
) -> None:
    table = pd.concat([walk(one, "A"), walk(other, "B"), bars(wavy(len(SESSIONS)), "Z")], ignore_index=True)
    raw = with_previous(table, SESSIONS)
    at_once = clean_bars(raw, SESSIONS, QUALITY)
    parts: list[Cleaned] = []
    for place, day in enumerate(SESSIONS):
        behind = [part.bars[list(BEFORE_COLUMNS)] for part in parts[max(place - 62, 0) :]]
        before = Before(
            pd.concat(behind) if behind else None, doubtful_symbols(parts[-1].rejected) if parts else frozenset()
        )
        parts.append(clean_bars(raw[raw["date"] == str(day)].reset_index(drop=True), SESSIONS, QUALITY, before))
    columns = ["date", "symbol", "rule"]
    rejected = pd.concat([part.rejected[columns] for part in parts]).sort_values(columns).to_numpy().tolist()
    assert rejected == at_once.rejected[columns].sort_values(columns).to_numpy().tolist()
    bars_by_day = pd.concat([part.bars for part in parts]).reset_index(drop=True)
    pd.testing.assert_frame_equal(bars_by_day, at_once.bars.reset_index(drop=True))
    for name in set(ON_BARS) - {"missing_sessions", "ranges_known"}:
        assert sum(part.findings[name].count for part in parts) == at_once.findings[name].count, name
