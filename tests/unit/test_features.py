"""Features: each means what its description says, whatever lies before, beside or in another unit."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign import features as module
from countersign.features import (
    FEATURES,
    LOOKBACK,
    FeatureMatrix,
    compute_features,
    decayed_sum,
    drawdown,
    ema_cross,
    shifted,
    windowed,
)
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import with_previous
from countersign.prices.panel import Panel
from countersign.prices.sources.files import FileSource
from tests.shipped import QUALITY

NAMES = list(FEATURES)
FLOOR = 1e-8
SEEDS = st.integers(0, 2**32 - 1)
steady = settings(deadline=None, max_examples=100, derandomize=True)


@pytest.fixture(scope="module")
def reply(root: Path) -> pd.DataFrame:
    """Every bundled bar, as the source gives it."""
    return FileSource("data/sample/prices.csv.gz", root).read("2000-03-01", "2013-03-01")


@pytest.fixture(scope="module")
def bundled(reply: pd.DataFrame) -> Panel:
    return panel_of(reply)


def panel_of(reply: pd.DataFrame) -> Panel:
    days = np.unique(reply["date"].to_numpy().astype("datetime64[D]"))
    return Panel.from_bars(clean_bars(with_previous(reply, days), days, QUALITY).bars, days)


def random_panel(seed: int, sessions: int, symbols: int) -> Panel:
    """Returns of changing volatility with holes, late listings, flat bars, and volumes that are missing or zero."""
    rng = np.random.default_rng(seed)
    shape = (sessions, symbols)
    volatility = 0.01 * np.exp(rng.normal(0, 0.3, shape).cumsum(axis=0) * 0.2)
    log_return = rng.normal(0, volatility)
    variance = volatility**2 * rng.chisquare(5, shape) / 5
    flat = rng.random(shape) < 0.05
    log_return[flat] = variance[flat] = 0.0
    unknown = rng.random(shape) < rng.choice([0.0, 0.1, 0.6])
    unknown |= np.arange(sessions)[:, None] <= rng.integers(-sessions, sessions, symbols)
    log_return[unknown] = variance[unknown] = np.nan
    volume = rng.lognormal(13, 0.5, shape).round()
    volume[rng.random(shape) < 0.05] = 0.0
    volume[unknown | (rng.random(shape) < 0.05)] = np.nan
    return Panel.from_arrays(log_return, variance=variance, volume=volume)


def columns(panel: Panel, keep: list[int]) -> Panel:
    """Some symbols of ``panel``."""
    return Panel(
        panel.sessions,
        tuple(panel.symbols[i] for i in keep),
        panel.log_return[:, keep],
        panel.variance[:, keep],
        panel.volume[:, keep],
        panel.present[:, keep],
    )


def by_hand(panel: Panel, row: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Features (features, symbols), EWMA variances and market variance of one session, slowly, one by one."""
    first = max(row - LOOKBACK + 1, 0)
    window = slice(first, row + 1)
    ewma = [ewma_by_hand(panel.variance[window, s]) for s in range(len(panel.symbols))]
    there = [e for e, present in zip(ewma, panel.present[row], strict=True) if present and not math.isnan(e)]
    median = statistics.median(there) if there else math.nan
    market = sum(min(e, 10 * median) for e in there) / len(there) if there else math.nan
    values = [
        symbol_by_hand(panel.log_return[window, s], panel.variance[window, s], panel.volume[window, s], ewma[s], market)
        for s in range(len(panel.symbols))
    ]
    return np.array([[v[name] for v in values] for name in NAMES]), np.array(ewma), market


def ewma_by_hand(variance: np.ndarray) -> float:
    total = weights = 0.0
    for age, v in enumerate(variance[::-1]):
        if not math.isnan(v):
            total += 0.94**age * v
            weights += 0.94**age
    return total / weights if weights else math.nan


def symbol_by_hand(
    returns: np.ndarray, variance: np.ndarray, volume: np.ndarray, ewma: float, market: float
) -> dict[str, float]:
    """Features of one symbol as of the last row of its window, from the words in ``FEATURES``."""
    level = math.log(max(ewma, FLOOR)) if not math.isnan(ewma) else math.nan
    volatility = math.sqrt(max(ewma, FLOOR)) if not math.isnan(ewma) else math.nan
    known = returns[~np.isnan(returns)]
    moves = np.where(np.isnan(returns), 0.0, returns)

    def log_mean_variance(k: int) -> float:
        seen = [v for v in variance[-k:] if not math.isnan(v)]
        return math.log(max(sum(seen) / len(seen), FLOOR)) - level if seen else math.nan

    losses = sum(r * r for r in moves[-21:] if r < 0)
    squares = sum(r * r for r in moves[-21:])
    closes = np.concatenate([[0.0], np.cumsum(moves)])
    path = pd.Series(closes)
    cross = path.ewm(span=12, adjust=False).mean().iloc[-1] - path.ewm(span=26, adjust=False).mean().iloc[-1]
    traded = [v for v in volume if not math.isnan(v)]
    median = float(np.median(traded)) if traded else math.nan
    volume_ratio = math.log(volume[-1] / median) if volume[-1] > 0 and median > 0 else math.nan
    if not traded:
        volume_ratio = 0.0
    spread = known.var() if len(known) else 0.0
    skew = float(np.mean((known - known.mean()) ** 3) / spread**1.5) if spread > FLOOR else 0.0
    return {
        "log_ewma_variance": level,
        "log_variance_1": log_mean_variance(1),
        "log_variance_5": log_mean_variance(5),
        "log_variance_21": log_mean_variance(21),
        "log_variance_63": log_mean_variance(63),
        "log_market_variance": math.log(max(market, FLOOR)) - level,
        "return_1": float(returns[-1]) / volatility,
        "return_5": float(moves[-5:].sum()) / (volatility * math.sqrt(5)),
        "return_21": float(moves[-21:].sum()) / (volatility * math.sqrt(21)),
        "downside_share_21": losses / squares if squares else 0.5,
        "drawdown_63": float(closes[-1] - closes[-LOOKBACK:].max()) / volatility,
        "log_volume_ratio": volume_ratio,
        "ema_cross_12_26": float(cross) / volatility,
        "skew_63": skew,
    }


def assert_by_hand(panel: Panel, rows: list[int]) -> None:
    found = compute_features(panel)
    for row in rows:
        values, ewma, market = by_hand(panel, row)
        for name, one, other in zip(NAMES, found.values[:, row], values, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10, err_msg=f"{name} of row {row}")
        np.testing.assert_allclose(found.ewma_variance[row], ewma, rtol=1e-10)
        np.testing.assert_allclose(found.market_variance[row], market, rtol=1e-10)
        known = ~np.isnan(panel.log_return[max(row - LOOKBACK + 1, 0) : row + 1])
        assert found.history[row].tolist() == known.sum(axis=0).tolist()


def assert_same(found: FeatureMatrix, expected: FeatureMatrix) -> None:
    """Equal to the last bit."""
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.ewma_variance, expected.ewma_variance)
    np.testing.assert_array_equal(found.market_variance, expected.market_variance)
    np.testing.assert_array_equal(found.history, expected.history)


def newest(matrix: FeatureMatrix, row: int = -1) -> FeatureMatrix:
    return FeatureMatrix(
        matrix.values[:, row], matrix.ewma_variance[row], matrix.market_variance[row], matrix.history[row]
    )


def test_on_the_bundled_prices_each_feature_is_what_its_description_says(bundled: Panel) -> None:
    last = len(bundled.sessions) - 1
    assert_by_hand(bundled, [*range(70), *range(70, last, 61), last])


@steady
@given(seed=SEEDS, sessions=st.integers(1, 140), symbols=st.integers(1, 5))
def test_with_holes_flat_bars_and_odd_volumes_each_feature_is_what_its_description_says(
    seed: int, sessions: int, symbols: int
) -> None:
    assert_by_hand(random_panel(seed, sessions, symbols), sorted({0, sessions // 2, sessions - 1}))


@steady
@given(place=st.integers(LOOKBACK - 1, 3269))
def test_a_day_computed_from_its_last_63_sessions_equals_the_same_day_of_13_years_to_the_last_bit(
    bundled: Panel, whole: FeatureMatrix, place: int
) -> None:
    alone = compute_features(bundled.rows(slice(place - LOOKBACK + 1, place + 1)))
    assert_same(newest(alone), newest(whole, place))


@pytest.fixture(scope="module")
def whole(bundled: Panel) -> FeatureMatrix:
    return compute_features(bundled)


@steady
@given(seed=SEEDS, sessions=st.integers(LOOKBACK, 300), symbols=st.integers(1, 5))
def test_a_day_of_a_panel_with_holes_needs_its_last_63_sessions_only(seed: int, sessions: int, symbols: int) -> None:
    panel = random_panel(seed, sessions, symbols)
    assert_same(newest(compute_features(panel.rows(slice(-LOOKBACK, None)))), newest(compute_features(panel)))


@steady
@given(seed=SEEDS, symbols=st.integers(2, 40), data=st.data())
def test_a_symbols_own_features_do_not_depend_on_which_others_are_there(
    seed: int, symbols: int, data: st.DataObject
) -> None:
    panel = random_panel(seed, 90, symbols)
    keep = sorted(data.draw(st.sets(st.integers(0, symbols - 1), min_size=1)))
    together, apart = compute_features(panel), compute_features(columns(panel, keep))
    own = [i for i, name in enumerate(NAMES) if name != "log_market_variance"]
    np.testing.assert_array_equal(apart.values[own], together.values[own][:, :, keep])
    np.testing.assert_array_equal(apart.ewma_variance, together.ewma_variance[:, keep])


@steady
@given(seed=SEEDS, symbols=st.integers(2, 12), data=st.data())
def test_the_order_of_the_symbols_changes_no_bit(seed: int, symbols: int, data: st.DataObject) -> None:
    panel = random_panel(seed, 70, symbols)
    order = data.draw(st.permutations(range(symbols)))
    found, expected = compute_features(columns(panel, order)), compute_features(panel)
    np.testing.assert_array_equal(found.values, expected.values[:, :, order])
    np.testing.assert_array_equal(found.market_variance, expected.market_variance)


@pytest.mark.parametrize("elements", [1, 7 * 100, 2**20])
def test_the_size_of_the_blocks_that_symbols_are_worked_on_in_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, elements: int
) -> None:
    panel = random_panel(5, 100, 23)
    expected = compute_features(panel)
    monkeypatch.setattr(module, "_CACHED_ELEMENTS", elements)
    assert_same(compute_features(panel), expected)


@steady
@given(factors=st.lists(st.floats(1e-4, 1e4), min_size=4, max_size=4), start=st.integers(0, 3000))
def test_prices_in_another_unit_or_after_a_split_give_the_same_features(
    reply: pd.DataFrame, bundled: Panel, factors: list[float], start: int
) -> None:
    first, last = bundled.sessions[[start, start + 130]].astype(str)
    bars = reply[reply["date"].between(first, last)]
    by_symbol = dict(zip(sorted(bars["symbol"].unique()), factors, strict=False))
    factor = bars["symbol"].map(by_symbol).fillna(1.0)
    prices = ["open", "high", "low", "close", "adj_close"]
    other = bars.assign(**{name: bars[name] * factor for name in prices})
    found, expected = compute_features(panel_of(other)), compute_features(panel_of(bars))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-8, atol=1e-8)


def test_volumes_in_another_unit_give_the_same_features(bundled: Panel) -> None:
    panel = bundled.rows(slice(-200, None))
    thousands = Panel(
        panel.sessions, panel.symbols, panel.log_return, panel.variance, panel.volume / 1000, panel.present
    )
    np.testing.assert_allclose(compute_features(thousands).values, compute_features(panel).values, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("last", "before", "expected"),
    [
        (2e6, 1e6, math.log(2.0)),
        (np.nan, 1e6, math.nan),
        (0.0, 1e6, math.nan),
        (1e6, 0.0, math.nan),
        (0.0, 0.0, math.nan),
        (3e6, np.nan, 0.0),
        (np.nan, np.nan, 0.0),
    ],
    ids=[
        "traded twice the usual",
        "not told",
        "nothing traded",
        "seldom traded",
        "never traded",
        "first ever told",
        "a source without volumes",
    ],
)
def test_a_volume_that_cannot_be_compared_is_unknown_and_spoils_no_other_feature(
    last: float, before: float, expected: float
) -> None:
    panel = random_panel(3, LOOKBACK, 1)
    quiet = np.where(np.isnan(panel.log_return), 0.0, panel.log_return)
    volume = np.full((LOOKBACK, 1), before)
    volume[-1] = last
    found = compute_features(Panel.from_arrays(quiet, variance=quiet**2, volume=volume)).values[:, -1, 0]
    place = NAMES.index("log_volume_ratio")
    np.testing.assert_allclose(found[place], expected, atol=1e-12)
    assert np.isfinite(np.delete(found, place)).all()


def test_a_symbol_that_never_moved_has_finite_features_that_say_so() -> None:
    still = np.zeros((LOOKBACK, 1))
    found = compute_features(Panel.from_arrays(still, variance=still, volume=np.full((LOOKBACK, 1), 5.0)))
    neutral = dict.fromkeys(FEATURES, 0.0) | {"log_ewma_variance": math.log(FLOOR), "downside_share_21": 0.5}
    assert dict(zip(NAMES, found.values[:, -1, 0].tolist(), strict=True)) == pytest.approx(neutral, abs=1e-12)


def test_a_symbol_without_any_return_yet_has_no_variance_and_no_history() -> None:
    panel = random_panel(8, LOOKBACK, 2)
    unborn = panel.log_return.copy(), panel.variance.copy()
    for matrix in unborn:
        matrix[:, 0] = np.nan
        matrix[:, 1] = 0.01
    found = compute_features(Panel.from_arrays(unborn[0], variance=unborn[1], volume=panel.volume))
    assert np.isnan(found.ewma_variance[-1, 0])
    assert found.history[-1].tolist() == [0, LOOKBACK]
    np.testing.assert_allclose(found.market_variance[-1], 0.01)


def test_one_symbols_bad_price_moves_the_market_a_little_and_not_out_of_all_bounds() -> None:
    variance = np.full((LOOKBACK, 40), 1e-4)
    panel = Panel.from_arrays(np.sqrt(variance), variance=variance, volume=np.ones_like(variance))
    wild = variance.copy()
    wild[-20, 7] = 400.0  # a price that was a billionth of itself for a day
    tampered = Panel.from_arrays(np.sqrt(variance), variance=wild, volume=np.ones_like(variance))
    before, after = (compute_features(p).market_variance[-1] for p in (panel, tampered))
    assert before < after < 1.25 * before


def test_the_market_is_made_of_the_symbols_that_have_a_bar_that_day() -> None:
    variance = np.tile([1e-4, 9e-4], (LOOKBACK, 1))
    variance[-1, 1] = np.nan
    panel = Panel.from_arrays(np.sqrt(variance), variance=variance, volume=np.ones_like(variance))
    market = compute_features(panel).market_variance
    np.testing.assert_allclose(market[-2:], [5e-4, 1e-4])


matrices = (
    st.integers(0, 40)
    .flatmap(
        lambda rows: st.lists(st.lists(st.integers(-1000, 1000), min_size=2, max_size=2), min_size=rows, max_size=rows)
    )
    .map(lambda found: np.array(found, dtype=float).reshape(-1, 2))
)
lengths = st.integers(1, 70)


@steady
@given(x=matrices, wanted=st.lists(lengths, min_size=1, max_size=4, unique=True))
def test_windowed_adds_the_last_k_rows_for_every_k_that_is_asked_for(x: np.ndarray, wanted: list[int]) -> None:
    found = windowed(x, tuple(wanted), np.add)
    assert set(found) == set(wanted)
    for k in wanted:
        plain = [x[max(row - k + 1, 0) : row + 1].sum(axis=0).tolist() for row in range(len(x))]
        assert found[k].tolist() == plain


@steady
@given(x=matrices, rows=st.integers(0, 60))
def test_shifted_moves_rows_later_and_fills_with_zero(x: np.ndarray, rows: int) -> None:
    plain = [x[row - rows].tolist() if row >= rows else [0.0, 0.0] for row in range(len(x))]
    assert shifted(x, rows).tolist() == plain


@steady
@given(x=matrices, decay=st.floats(0.01, 0.999), length=lengths)
def test_decayed_sum_weighs_each_row_by_its_age(x: np.ndarray, decay: float, length: int) -> None:
    plain = np.zeros_like(x)
    for row in range(len(x)):
        for age in range(min(length, row + 1)):
            plain[row] += decay**age * x[row - age]
    np.testing.assert_allclose(decayed_sum(x, decay, length), plain, rtol=1e-10, atol=1e-9)


@steady
@given(x=matrices, length=lengths)
def test_drawdown_is_the_distance_from_the_highest_close_of_the_window(x: np.ndarray, length: int) -> None:
    closes = np.cumsum(x, axis=0)
    # Before the first row the price is the one that the first return started from.
    known = np.vstack([np.zeros((1, 2)), closes])
    plain = [
        (known[row] - known[max(row - length + 1, 0) : row + 1].max(axis=0)).tolist() for row in range(1, len(known))
    ]
    assert drawdown(x, length).tolist() == plain


@steady
@given(x=matrices, fast=st.integers(2, 15), longer=st.integers(1, 20))
def test_ema_cross_is_the_difference_of_two_moving_averages_of_the_price(x: np.ndarray, fast: int, longer: int) -> None:
    returns = x / 1e4
    price = pd.DataFrame(np.vstack([np.zeros((1, 2)), np.cumsum(returns, axis=0)]))
    fast_average, slow_average = (price.ewm(span=s, adjust=False).mean() for s in (fast, fast + longer))
    plain = (fast_average - slow_average).to_numpy()[1:]
    np.testing.assert_allclose(ema_cross(returns, fast, fast + longer, 64), plain, atol=1e-12)
