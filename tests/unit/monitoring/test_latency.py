"""Latency: what may be said of slow runs and failures, and from how many of them."""

from __future__ import annotations

import numpy as np
import pytest

from countersign.monitoring.latency import bound_rank, failure_reading, latency_reading, quantile_rank, wilson_upper
from countersign.monitoring.reading import Reading


def read(durations: np.ndarray, limit: float = 60.0) -> Reading:
    return latency_reading("run_seconds_p95", durations, unit="s", max_duration=limit)


@pytest.mark.parametrize(("count", "from_the_top"), [(59, 1), (92, 1), (93, 2), (123, 2), (124, 3)])
def test_the_bound_is_the_order_statistic_of_wilks_tables(count: int, from_the_top: int) -> None:
    """Wilks (1941), as tabulated for 95 %/95 % one-sided limits: 59, 93, 124 observations for the largest, the second
    and the third largest."""
    assert bound_rank(count) == count + 1 - from_the_top


def test_under_59_observations_there_is_no_bound() -> None:
    assert all(bound_rank(count) is None for count in range(59))


def test_the_bound_covers_the_true_quantile_at_least_as_often_as_it_says() -> None:
    """Durations of a heavy tail, whose 95 % point is 20: 4000 samples of 150."""
    samples = np.sort(1 / np.random.default_rng(15).random((4000, 150)), axis=1)
    rank = bound_rank(150)
    assert rank is not None
    assert (samples[:, rank - 1] >= 20).mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert (samples[:, rank - 2] >= 20).mean() < 0.95


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (19, 19), (20, 19), (21, 20), (59, 57), (100, 95)])
def test_p95_is_an_observation_at_or_below_which_95_percent_lie(count: int, rank: int) -> None:
    assert quantile_rank(count) == rank


@pytest.mark.parametrize(
    ("failures", "count", "upper"), [(81, 263, 0.3662), (15, 148, 0.1605), (0, 20, 0.1611), (1, 29, 0.1718)]
)
def test_the_upper_bound_of_a_rate_is_the_published_one(failures: int, count: int, upper: float) -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I,
    method 3: 95 % two-sided, which is 97.5 % one-sided."""
    assert wilson_upper(failures, count, confidence=0.975) == pytest.approx(upper, abs=5e-5)


@pytest.mark.parametrize(
    ("slow", "status", "words"),
    [(0, "pass", "surely within"), (3, "insufficient", "perhaps within"), (6, "fail", "over")],
)
def test_runs_pass_only_where_the_bound_is_within_the_limit(slow: int, status: str, words: str) -> None:
    """Of 100 runs the 95th is p95 and the 99th its bound: two may be slow for a pass, five for no failure."""
    reading = read(np.r_[np.full(100 - slow, 10.0), np.full(slow, 90.0)])
    assert reading.status == status
    assert f"{words} the limit of 60 s" in reading.sentence
    assert reading.observations == 100


@pytest.mark.parametrize("count", [0, 1, 58])
def test_a_few_quick_runs_prove_nothing(count: int) -> None:
    reading = read(np.full(count, 1.0))
    assert reading.status == "insufficient"
    assert f"p95 of {count} durations cannot be judged: at least 59 are needed" in reading.sentence


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -1.0])
def test_a_duration_that_is_not_known_never_makes_runs_look_quick(unknown: float) -> None:
    one, many = (read(np.r_[np.full(100 - n, 10.0), np.full(n, unknown)]) for n in (3, 6))
    assert one.status == "insufficient"
    assert "95% confidence unknown" in one.sentence
    assert many.status == "insufficient"
    assert "6 of them are no possible duration" in many.sentence
    assert np.isnan(many.value)


def test_slow_runs_fail_even_where_some_durations_are_unknown() -> None:
    assert read(np.r_[np.full(90, 90.0), np.nan]).status == "fail"


@pytest.mark.parametrize(
    ("failures", "count", "status"),
    [(0, 100, "pass"), (0, 20, "insufficient"), (2, 100, "insufficient"), (6, 100, "fail"), (1, 1, "fail")],
)
def test_failures_pass_only_where_the_bound_is_within_the_limit(failures: int, count: int, status: str) -> None:
    """Upper bounds by hand: 0 of 100 gives 2.6 %, 0 of 20 gives 11.9 %, 2 of 100 gives 5.9 %; the limit is 5 %."""
    reading = failure_reading("run_failure_rate", failures, count, max_rate=0.05)
    assert reading.status == status
    assert f"{failures} of {count} failed" in reading.sentence


@pytest.mark.parametrize(("failures", "count"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_say_nothing_are_insufficient(failures: int, count: int) -> None:
    reading = failure_reading("run_failure_rate", failures, count, max_rate=0.05)
    assert reading.status == "insufficient"
    assert np.isnan(reading.value)
