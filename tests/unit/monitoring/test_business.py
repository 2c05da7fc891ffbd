"""Business: when a change of the approval rate or the bad rate reaches a person."""

from __future__ import annotations

import numpy as np
import pytest

from countersign.monitoring.business import (
    RollingRate,
    SessionCounts,
    approval_counts,
    bad_counts,
    rate_readings,
    rolling_rate,
    two_proportion_z,
    z_p_value,
)
from countersign.monitoring.reading import Reading


def counts(*stretches: tuple[int, int, int]) -> SessionCounts:
    """Stretches of (sessions, hits a session, rows a session)."""
    hits, rows = (np.repeat([s[n] for s in stretches], [s[0] for s in stretches]) for n in (1, 2))
    return SessionCounts(hits.astype(float), rows, np.ones(len(rows), dtype=bool))


def read(rolled: RollingRate, rate: float = 0.6, rows: float = 5000, effect: float = 1.0) -> tuple[Reading, ...]:
    return rate_readings(
        "approval_rate",
        rolled,
        validation_rate=rate,
        validation_rows=rows,
        min_change_points=5,
        min_z=2.0,
        min_rows=50,
        design_effect=effect,
    )


def test_the_two_proportion_z_and_its_p_are_the_published_ones() -> None:
    """statsmodels, example of ``proportions_ztest``: 5 of 83 against 12 of 99."""
    z = float(two_proportion_z(np.array(5), np.array(83), np.array(12), np.array(99)))
    assert z == pytest.approx(-1.4078304151258787, rel=1e-12)
    assert z_p_value(z) == pytest.approx(0.15918129181156992, rel=1e-12)


def test_the_bad_rate_is_of_approved_symbols_of_matured_sessions_only() -> None:
    approved = np.array([[1.0, 1.0, 0.0], [1.0, np.nan, 1.0], [1.0, 1.0, 1.0]])
    bad = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [np.nan, np.nan, np.nan]])
    found = bad_counts(approved, bad)
    assert (found.hits.tolist(), found.rows.tolist()) == ([1, 1, 0], [2, 2, 0])
    assert found.counts.tolist() == [True, True, False]
    assert approval_counts(approved).hits.tolist() == [2, 2, 3]
    assert approval_counts(approved).rows.tolist() == [3, 2, 3]


def test_the_quarter_before_shares_no_session_with_the_window() -> None:
    """Hits 1, 2, 3 …: a window of two after a quarter of three; the fourth session does not count."""
    found = counts(*[(1, n, 10) for n in (1, 2, 3, 99, 4, 5, 6)])
    found.counts[3] = False
    rolled = rolling_rate(found, window=2, quarter=3)
    assert rolled.hits[-1] == 5 + 6
    assert rolled.quarter_hits[-1] == 2 + 3 + 4
    assert (rolled.rows[-1], rolled.quarter_rows[-1]) == (20, 30)
    assert np.isnan(rolled.rate[3])
    assert np.isnan(rolled.quarter_hits[-3])


@pytest.mark.parametrize(
    ("stretches", "statuses"),
    [
        ([(90, 60, 100)], ["pass", "pass"]),
        ([(60, 60, 100), (30, 70, 100)], ["fail", "fail"]),
        ([(60, 60, 100), (30, 50, 100)], ["fail", "fail"]),
        ([(90, 70, 100)], ["fail", "pass"]),
        ([(60, 70, 100), (30, 60, 100)], ["pass", "fail"]),
        # Four points of many rows are no chance, and do not matter; a fifth of a few rows matters, and can be chance.
        ([(60, 60, 100), (30, 64, 100)], ["pass", "pass"]),
        ([(60, 3, 5), (30, 1, 2)], ["pass", "pass"]),
    ],
    ids=["as ever", "rose", "fell", "moved long ago", "moved back", "small", "chance"],
)
def test_a_change_is_flagged_where_it_is_large_and_no_chance(
    stretches: list[tuple[int, int, int]], statuses: list[str]
) -> None:
    found = read(rolling_rate(counts(*stretches), window=30, quarter=60))
    assert [r.measure for r in found] == ["approval_rate_vs_validation", "approval_rate_vs_quarter"]
    assert [r.status for r in found] == statuses


def test_the_sentence_says_by_how_many_points_and_from_what() -> None:
    validation, quarter = read(rolling_rate(counts((60, 60, 100), (30, 45, 100)), window=30, quarter=60))
    assert "approval rate over the last 30 sessions is 45.0% of 3000, -15.0 points from 60.0% in validation" in (
        validation.sentence
    )
    assert "from 60.0% in the quarter before" in quarter.sentence
    assert (quarter.value, quarter.reference, quarter.threshold) == pytest.approx((0.45, 0.60, 0.55))
    assert quarter.observations == 3000


def test_a_change_of_exactly_the_minimum_is_flagged() -> None:
    """0.70 - 0.65 is a little under 0.05 in floating point."""
    found = read(rolling_rate(counts((60, 65, 100), (30, 70, 100)), window=30, quarter=60), rate=0.65)
    assert [r.status for r in found] == ["fail", "fail"]


def test_rows_that_move_together_are_worth_fewer() -> None:
    """z of 70 of 100 against 60 % shrinks by the root of the design effect, to under 2."""
    rolled = rolling_rate(counts((60, 6, 10), (30, 7, 10)), window=30, quarter=60)
    assert [r.status for r in read(rolled)] == ["fail", "fail"]
    assert [r.status for r in read(rolled, effect=10.0)] == ["pass", "pass"]


@pytest.mark.parametrize(
    ("found", "validation"),
    [
        (counts(), 0.6),
        (counts((20, 6, 10)), 0.6),
        (counts((90, 0, 0)), 0.6),
        (counts((90, 1, 1)), 0.6),
        (counts((90, 6, 10)), float("nan")),
    ],
    ids=["nothing", "few sessions", "none approved", "few rows", "no validation"],
)
def test_without_enough_on_either_side_there_is_no_verdict(found: SessionCounts, validation: float) -> None:
    first, second = read(rolling_rate(found, window=30, quarter=60), rate=validation)
    assert first.status == "insufficient"
    assert second.status == ("insufficient" if validation == validation else "pass")
    assert "cannot be compared" in first.sentence


@pytest.mark.parametrize("broken", [np.inf, 2.0, -1.0])
def test_a_decision_that_cannot_be_is_never_left_out_in_silence(broken: float) -> None:
    approved = np.ones((90, 10))
    approved[80, 3] = broken
    found = read(rolling_rate(approval_counts(approved), window=30, quarter=60), rate=1.0)
    assert [r.status for r in found] == ["insufficient"] * 2


def test_all_approved_as_ever_is_no_change_rather_than_unknown() -> None:
    found = read(rolling_rate(approval_counts(np.ones((90, 10))), window=30, quarter=60), rate=1.0)
    assert [r.status for r in found] == ["pass", "pass"]
