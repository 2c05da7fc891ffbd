"""Latency: how long runs and requests take, and how many fail, with what is known for sure.

Belongs here: a high quantile and a rate with upper confidence bounds, and the verdicts. Does not belong here: where
durations come from (run records, the server's request log).

A verdict passes only where the upper bound is within the limit: three quick runs prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import NormalDist
from typing import Final

import numpy as np

from countersign.checks import Status
from countersign.monitoring.reading import Reading

QUANTILE: Final = 0.95
CONFIDENCE: Final = 0.95
"""Of upper bounds, one-sided."""
FEWEST: Final = 59
"""Durations from which their p95 has an upper bound: the smallest n with 0.95ⁿ ≤ 0.05."""


@dataclass(frozen=True)
class Runs:
    """Runs, or requests, that have ended: how long each that succeeded took (n,), and how many failed besides.

    Durations are seconds of runs, milliseconds of requests.
    """

    durations: np.ndarray
    failed: int


RunsUntil = Callable[[datetime | None], Runs]
"""The newest runs that had ended by a time, or so far."""


def no_runs(until: datetime | None) -> Runs:
    """Before the first run has ended, and outside Dagster."""
    return Runs(np.empty(0), 0)


def quantile_rank(count: int) -> int:
    """Which of ``count`` sorted observations is their ``QUANTILE``: the smallest with that share at or below it."""
    return math.ceil(QUANTILE * count)


def bound_rank(count: int) -> int | None:
    """Which of ``count`` sorted observations is with ``CONFIDENCE`` at or above the true ``QUANTILE``, whatever the
    distribution: the smallest r with P(Binomial(count, ``QUANTILE``) < r) ≥ ``CONFIDENCE``. None under 59.

    Wilks, Determination of sample sizes for setting tolerance limits, Annals of Mathematical Statistics 12 (1941).

    >>> bound_rank(58), bound_rank(59)
    (None, 59)
    """
    from scipy.special import bdtr

    enough = np.flatnonzero(bdtr(np.arange(count, dtype=float), count, QUANTILE) >= CONFIDENCE)
    return int(enough[0]) + 1 if len(enough) else None


def wilson_upper(failures: int, count: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of a rate; NaN without observations.

    Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American Statistical
    Association 22 (1927).

    >>> round(wilson_upper(0, 100), 4)
    0.0263
    """
    if not count:
        return math.nan
    z2, rate = NormalDist().inv_cdf(confidence) ** 2, failures / count
    middle = rate + z2 / (2 * count)
    spread = math.sqrt(z2 * (rate * (1 - rate) / count + z2 / (4 * count**2)))
    return min((middle + spread) / (1 + z2 / count), 1.0)


def latency_reading(measure: str, durations: np.ndarray, *, unit: str, max_duration: float) -> Reading:
    """p95 of ``durations`` (n,) against ``max_duration``, both in ``unit``; the reading's reference is the upper bound.

    Fails where p95 is over the limit, passes where its upper bound is within it, and is insufficient between the two
    and under 59 durations. One that is NaN, infinite or negative counts as longer than any other: not knowing it never
    makes the system look faster.
    """
    durations = np.asarray(durations, dtype=float)
    known = np.isfinite(durations) & (durations >= 0)
    ascending = np.sort(np.where(known, durations, np.inf))
    count, rank = len(durations), bound_rank(len(durations))
    p95 = _finite(ascending[quantile_rank(count) - 1]) if count else math.nan
    bound = _finite(ascending[rank - 1]) if rank else math.nan
    status: Status = "insufficient"
    if rank is None:
        sentence = f"p95 of {count} durations cannot be judged: at least {FEWEST} are needed"
    elif math.isnan(p95):
        sentence = f"p95 of {count} durations is not known: {int((~known).sum())} of them are no possible duration"
    else:
        status = "fail" if p95 > max_duration else "pass" if bound <= max_duration else "insufficient"
        verdict = {"fail": "over", "pass": "surely within", "insufficient": "perhaps within"}[status]
        surely = "unknown" if math.isnan(bound) else f"at most {bound:.4g} {unit}"
        sentence = (
            f"p95 of {count} durations is {p95:.4g} {unit}, with {CONFIDENCE:.0%} confidence {surely}: {verdict} the "
            f"limit of {max_duration:g} {unit}"
        )
    return Reading("system", measure, status, p95, sentence, max_duration, bound, count)


def failure_reading(measure: str, failures: int, count: int, *, max_rate: float) -> Reading:
    """Share of ``count`` runs or requests that failed, against ``max_rate``; the reference is its upper bound.

    Fails where the share is over the limit, passes where its upper bound is within it, and is insufficient between
    the two and with none. Counts that cannot be, such as more failures than runs, are insufficient too.
    """
    if not 0 <= failures <= count or count == 0:
        sentence = f"{failures} failures of {count} say nothing of a rate"
        return Reading("system", measure, "insufficient", math.nan, sentence, max_rate, math.nan, max(count, 0))
    rate, upper = failures / count, wilson_upper(failures, count)
    status: Status = "fail" if rate > max_rate else "pass" if upper <= max_rate else "insufficient"
    verdict = {"fail": "over", "pass": "surely within", "insufficient": "perhaps within"}[status]
    sentence = (
        f"{failures} of {count} failed ({rate:.2%}), with {CONFIDENCE:.0%} confidence at most {upper:.2%}: {verdict} "
        f"the limit of {max_rate:.2%}"
    )
    return Reading("system", measure, status, rate, sentence, max_rate, upper, count)


def not_live(reading: Reading) -> Reading:
    """``reading`` of a session that was run later: how the runs went by then says nothing of its own day."""
    sentence = "not judged: the session was run later, which says nothing of the runs of its day"
    nothing = math.nan
    return replace(reading, status="insufficient", value=nothing, reference=nothing, observations=0, sentence=sentence)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan
