"""Targets: what actually happened in the horizon after a session.

Belongs here: labels, for training and for what matured. Does not belong here: features, forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from countersign.features import VARIANCE_FLOOR

HORIZON: Final = 5
"""Sessions after D that a score of D is about; a label of D is matured at D + 5."""

BAD_SESSION: Final = -0.03
"""A session is bad when its total return is at most this (3 % down); one in the horizon makes a bad week."""

_ROUNDING: Final = 1e-12
"""Slack in log return: a close of 2.91 after 3.00 is 3 % down, whatever the last bits of its logarithm."""


@dataclass(frozen=True)
class Targets:
    """Outcomes, shape (sessions, symbols), NaN where the horizon is not (or not wholly) observed.

    ``variance`` is the mean daily variance over the horizon, at least ``VARIANCE_FLOOR``; ``bad_week`` is 1.0 or 0.0.
    """

    variance: np.ndarray
    bad_week: np.ndarray


def observed_targets(log_return: np.ndarray, variance: np.ndarray, horizon: int = HORIZON) -> Targets:
    """Targets of each row from the ``horizon`` rows after it; all of them must have a return and a variance.

    >>> quiet = np.full((7, 1), 0.0)
    >>> crash = quiet.copy()
    >>> crash[4] = np.log(0.97)
    >>> observed_targets(crash, quiet).bad_week.ravel().tolist()
    [1.0, 1.0, nan, nan, nan, nan, nan]
    """
    sessions = len(log_return)
    total = np.full(log_return.shape, np.nan)
    lowest = np.full(log_return.shape, np.nan)
    usable = max(sessions - horizon, 0)
    if usable:
        ahead = [slice(step, step + usable) for step in range(1, horizon + 1)]
        total[:usable] = sum(variance[rows] for rows in ahead)
        lowest[:usable] = np.minimum.reduce([log_return[rows] for rows in ahead])
    bad = np.where(lowest <= np.log1p(BAD_SESSION) + _ROUNDING, 1.0, 0.0)
    known = ~np.isnan(total) & ~np.isnan(lowest)
    mean = np.maximum(total / horizon, VARIANCE_FLOOR)
    return Targets(np.where(known, mean, np.nan), np.where(known, bad, np.nan))
