"""Targets: a label is there when its five sessions have been seen, and says what happened in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.model.targets import BAD_SESSION, HORIZON, observed_targets
from countersign.prices.rules import total_return

steady = settings(deadline=None, max_examples=100, derandomize=True)


def returns(moves: list[float]) -> np.ndarray:
    """Log returns of one symbol whose first close has no session before it."""
    return np.log1p(np.array([[np.nan], *([m] for m in moves)]))


def bad_weeks(moves: list[float]) -> list[float]:
    log_return = returns(moves)
    return observed_targets(log_return, log_return**2).bad_week.ravel().tolist()


@steady
@given(seed=st.integers(0, 2**32 - 1), sessions=st.integers(0, 40), symbols=st.integers(1, 4))
def test_labels_are_what_a_plain_look_at_the_next_five_sessions_says(seed: int, sessions: int, symbols: int) -> None:
    rng = np.random.default_rng(seed)
    log_return = rng.normal(0, 0.02, (sessions, symbols))
    log_return[rng.random(log_return.shape) < 0.05] = np.nan
    variance = log_return**2 + 1e-6
    found = observed_targets(log_return, variance)
    for symbol in range(symbols):
        for day in range(sessions):
            ahead = log_return[day + 1 : day + 6, symbol]
            if len(ahead) == 5 and not np.isnan(ahead).any():
                assert found.bad_week[day, symbol] == float(any(np.expm1(r) <= -0.03 for r in ahead))
                assert found.variance[day, symbol] == pytest.approx(variance[day + 1 : day + 6, symbol].mean())
            else:
                assert np.isnan(found.bad_week[day, symbol])
                assert np.isnan(found.variance[day, symbol])


@pytest.mark.parametrize("seen", range(HORIZON + 3))
def test_a_label_matures_when_the_fifth_session_after_it_has_closed_and_not_before(seen: int) -> None:
    log_return = np.full((1 + seen, 1), 0.001)
    matured = ~np.isnan(observed_targets(log_return, log_return**2).bad_week.ravel())
    assert matured.tolist() == [day + 5 <= seen for day in range(1 + seen)]


@pytest.mark.parametrize("missing", range(1, HORIZON + 1))
def test_a_symbol_that_disappears_for_a_session_of_the_horizon_has_no_label(missing: int) -> None:
    log_return = np.full((6, 2), -0.05)
    log_return[missing, 1] = np.nan
    found = observed_targets(log_return, log_return**2)
    assert found.bad_week[0, 0] == 1.0
    assert np.isnan(found.bad_week[0, 1])
    assert np.isnan(found.variance[0, 1])


def test_a_return_without_a_variance_makes_no_label() -> None:
    log_return = np.full((6, 1), 0.01)
    variance = log_return**2
    variance[3] = np.nan
    assert np.isnan(observed_targets(log_return, variance).bad_week).all()


def test_the_first_bar_of_a_listing_can_be_labelled_though_it_has_no_return_itself() -> None:
    assert bad_weeks([0.01, 0.01, -0.04, 0.01, 0.01])[0] == 1.0


def test_what_a_session_did_itself_does_not_count_for_its_own_week() -> None:
    assert bad_weeks([-0.20, 0.0, 0.0, 0.0, 0.0, 0.0])[:2] == [1.0, 0.0]


def test_five_small_losses_are_no_bad_week_however_much_they_add_up_to() -> None:
    assert bad_weeks([-0.029] * 5)[0] == 0.0


@pytest.mark.parametrize(
    ("before", "close", "bad"),
    [
        (100.0, 97.0, 1.0),
        (100.0, 97.01, 0.0),
        (50.0, 48.5, 1.0),
        (25.0, 24.25, 1.0),
        (3.0, 2.91, 1.0),
        (19.0, 18.43, 1.0),
        (7.0, 6.79, 1.0),
        (30.0, 29.1, 1.0),
        (30.0, 29.11, 0.0),
        (120.0, 116.4, 1.0),
    ],
)
def test_a_close_of_exactly_3_percent_below_the_one_before_is_bad_whatever_the_price(
    before: float, close: float, bad: float
) -> None:
    one, unknown = np.array([1.0]), np.array([np.nan])
    fall = total_return(close * one, unknown, before * one, unknown)
    log_return = np.vstack([np.zeros((3, 1)), fall[None], np.zeros((2, 1))])
    assert observed_targets(log_return, log_return**2).bad_week[0, 0] == bad


def test_the_threshold_in_the_code_is_the_one_that_people_read() -> None:
    assert (BAD_SESSION, HORIZON) == (-0.03, 5)


@steady
@given(seed=st.integers(0, 2**32 - 1), day=st.integers(0, 20), later=st.integers(1, 10))
def test_what_happens_after_the_horizon_changes_no_label(seed: int, day: int, later: int) -> None:
    rng = np.random.default_rng(seed)
    log_return = rng.normal(0, 0.02, (40, 2))
    other = log_return.copy()
    other[day + HORIZON + later :] = -0.5
    one, two = observed_targets(log_return, log_return**2), observed_targets(other, other**2)
    np.testing.assert_array_equal(one.bad_week[: day + 1], two.bad_week[: day + 1])
    np.testing.assert_array_equal(one.variance[: day + 1], two.variance[: day + 1])
