"""Business: how many symbols are approved, and how many of those went bad.

Belongs here: rolling rates, their change against validation and against the quarter before, the verdict. Does not
belong here: deciding what is approved (``countersign.model.scoring``).

A change is flagged where it is large enough to matter to people *and* too large to be chance: either alone alarms at
trifles in large panels, or at noise in small ones. Both directions are flagged: a bad rate that falls may be outcomes
that no longer arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from countersign.model.measures import window_sums
from countersign.monitoring.reading import Reading
from countersign.monitoring.windows import last, last_status

COMPARISONS: Final = ("validation", "quarter")
"""What a rate is compared with."""


@dataclass(frozen=True)
class SessionCounts:
    """``hits`` of ``rows`` in each session, and whether the session counts (has scores, or has matured).

    ``hits`` is NaN where a row is neither 1, 0 nor NaN: it is never left out in silence.
    """

    hits: np.ndarray
    rows: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class RollingRate:
    """Of the window seen from each session, and of the quarter before that window: arrays of shape (sessions,).

    NaN where the sessions are not complete.
    """

    hits: np.ndarray
    rows: np.ndarray
    quarter_hits: np.ndarray
    quarter_rows: np.ndarray
    window: int

    @property
    def rate(self) -> np.ndarray:
        return _share(self.hits, self.rows)


@dataclass(frozen=True)
class RateChange:
    """A rate against another: shares, the two-proportion z of their difference. Arrays of shape (sessions,)."""

    rate: np.ndarray
    reference: np.ndarray
    z: np.ndarray
    rows: np.ndarray


def approval_counts(approved: np.ndarray) -> SessionCounts:
    """Approved of scored symbols; ``approved`` (sessions, symbols) is 1, 0, or NaN where not scored."""
    scored = ~np.isnan(approved)
    return _counts(approved == 1, scored, scored, _impossible(approved))


def bad_counts(approved: np.ndarray, bad_week: np.ndarray) -> SessionCounts:
    """Bad of approved symbols, of sessions whose outcomes have matured; ``bad_week`` is 1, 0, or NaN where not."""
    known = ~np.isnan(approved) & ~np.isnan(bad_week)
    impossible = known & (_impossible(approved) | _impossible(bad_week))
    return _counts(bad_week == 1, known & (approved == 1), known, impossible)


def rolling_rate(found: SessionCounts, *, window: int, quarter: int) -> RollingRate:
    """The rate over the last ``window`` sessions that count, and over the ``quarter`` sessions before those.

    The two share no session, as the two-proportion test asks. Sessions that do not count have no rate of their own.
    """
    on = found.counts

    def sums(values: np.ndarray, count: int, skip: int) -> np.ndarray:
        """Of ``count`` sessions, of which the last is ``skip`` sessions before each."""
        spread = np.full(len(on), np.nan)
        total = window_sums(values[on].astype(float), count)
        spread[on] = np.r_[np.full(skip, np.nan), total][: len(total)]
        return spread

    return RollingRate(
        hits=sums(found.hits, window, 0),
        rows=sums(found.rows, window, 0),
        quarter_hits=sums(found.hits, quarter, window),
        quarter_rows=sums(found.rows, quarter, window),
        window=window,
    )


def two_proportion_z(
    hits: np.ndarray, rows: np.ndarray, reference_hits: np.ndarray, reference_rows: np.ndarray
) -> np.ndarray:
    """z of the difference of two shares with their pooled variance; 0 where both are all or none, NaN without rows.

    Fleiss, Levin & Paik, Statistical Methods for Rates and Proportions, 3rd edition 2003, section 3.2, without
    continuity correction.

    >>> round(float(two_proportion_z(np.array(5), np.array(83), np.array(12), np.array(99))), 4)
    -1.4078
    """
    pooled = _share(hits + reference_hits, rows + reference_rows)
    difference = _share(hits, rows) - _share(reference_hits, reference_rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(pooled * (1 - pooled) * (1 / np.asarray(rows) + 1 / np.asarray(reference_rows)))
        return np.where(difference == 0, 0.0, difference / error)


def z_p_value(z: float) -> float:
    """Two-sided p of a standard normal z: how often chance alone is as far from 0."""
    return math.erfc(abs(z) / math.sqrt(2))


def rate_change(
    rolled: RollingRate, against: str, *, validation_rate: float, validation_rows: float, design_effect: float
) -> RateChange:
    """The change against one of ``COMPARISONS``.

    ``validation_rows`` is what ``validation_rate`` was taken on. ``design_effect`` says how many rows are worth one
    independent one, since horizons overlap and symbols move together: z shrinks by its root. 1 is independence.
    """
    hits, rows = rolled.quarter_hits, rolled.quarter_rows
    if against == "validation":
        hits, rows = (np.full(len(rolled.rows), n) for n in (validation_rate * validation_rows, validation_rows))
    z = two_proportion_z(rolled.hits, rolled.rows, hits, rows) / np.sqrt(design_effect)
    return RateChange(rolled.rate, _share(hits, rows), z, np.minimum(rolled.rows, rows))


def rate_verdicts(change: RateChange, *, min_change_points: float, min_z: float, min_rows: int) -> np.ndarray:
    """ "pass", "fail" or "insufficient" of each session.

    Fails where the rate moved by at least ``min_change_points`` percentage points, up or down, and \\|z\\| is at least
    ``min_z``. Insufficient where either side has fewer than ``min_rows`` rows.
    """
    with np.errstate(invalid="ignore"):
        unknown = ~(change.rows >= max(min_rows, 1)) | ~np.isfinite(change.z)
        # A change that people would call 5 points is 5 points, whatever the last bits of two shares.
        moved = np.round(np.abs(change.rate - change.reference) * 100, 9) >= min_change_points
        return np.select([unknown, moved & (np.abs(change.z) >= min_z)], ["insufficient", "fail"], "pass")


def rate_readings(
    measure: str,
    rolled: RollingRate,
    *,
    validation_rate: float,
    validation_rows: float,
    min_change_points: float,
    min_z: float,
    min_rows: int,
    design_effect: float,
) -> tuple[Reading, ...]:
    """``<measure>_vs_validation`` and ``<measure>_vs_quarter`` of the last session (``approval_rate``, ``bad_rate``).

    The threshold is the rate at which the change becomes large enough, on the side to which it moved.
    """
    readings = []
    for against in COMPARISONS:
        change = rate_change(
            rolled,
            against,
            validation_rate=validation_rate,
            validation_rows=validation_rows,
            design_effect=design_effect,
        )
        status = last_status(rate_verdicts(change, min_change_points=min_change_points, min_z=min_z, min_rows=min_rows))
        rate, reference, z = last(change.rate), last(change.reference), last(change.z)
        rows, few = int(np.nan_to_num(last(rolled.rows))), np.nan_to_num(last(change.rows))
        points = (rate - reference) * 100
        name, other = measure.replace("_", " "), "in validation" if against == "validation" else "in the quarter before"
        over = f"{name} over the last {rolled.window} sessions"
        if status == "insufficient":
            sentence = (
                f"{over} cannot be compared with that {other}: {few:.0f} rows of complete windows on the smaller side, "
                f"at least {min_rows} needed"
            )
        else:
            large = abs(points) >= min_change_points
            verdict = "changed" if status == "fail" else "but that can be chance" if large else "no change that matters"
            p = z_p_value(z)
            chance = f"p {p:.2g}" if p >= 0.0001 else "p below 0.0001"
            sentence = (
                f"{over} is {rate:.1%} of {rows}, {points:+.1f} points from {reference:.1%} {other} (z {z:.1f}, "
                f"{chance}; flagged from {min_change_points:g} points and z {min_z:g}): {verdict}"
            )
        # Where the rate is not known there is no side to be on.
        moved = reference + np.copysign(min_change_points / 100, points)
        threshold = np.nan if np.isnan(points) else float(np.clip(moved, 0, 1))
        readings.append(
            Reading("business", f"{measure}_vs_{against}", status, rate, sentence, threshold, reference, rows)
        )
    return tuple(readings)


def _impossible(values: np.ndarray) -> np.ndarray:
    return ~(np.isnan(values) | (values == 0) | (values == 1))


def _counts(hit: np.ndarray, rows: np.ndarray, known: np.ndarray, impossible: np.ndarray) -> SessionCounts:
    hits = np.where(impossible.any(axis=1), np.nan, (hit & rows).sum(axis=1))
    return SessionCounts(hits, rows.sum(axis=1), known.sum(axis=1) > 0)


def _share(hits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits) / np.asarray(rows)
