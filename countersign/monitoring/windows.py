"""Windows: the last so many sessions whose outcomes are known, seen from each session.

Belongs here: which rows a rolling measure of the model is taken on, and why there are none. Does not belong here: any
measure. The daily run is the last element of what replaying thirteen years gives: a measure of a window never depends
on what lies before the window, nor on symbols that have no row in it.

Matrices are (sessions, symbols), a row being the session that was scored; NaN where there is no score or its outcome
has not matured. A window counts matured sessions: those with at least one row that has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from countersign.checks import Status


@dataclass(frozen=True)
class Window:
    """Seen from ``session``: the ``sessions`` of the window and its rows, by session, then symbol."""

    session: int
    sessions: np.ndarray
    outcome: np.ndarray
    probability: np.ndarray


def known_rows(outcome: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Where both are there: shape (sessions, symbols)."""
    return ~np.isnan(outcome) & ~np.isnan(probability)


def windows(outcome: np.ndarray, probability: np.ndarray, window: int) -> Iterator[Window]:
    """Every complete window whose outcomes are all 0 or 1 and whose probabilities all lie within 0 … 1.

    Seen from sessions in which no outcome matured there is none.
    """
    known = known_rows(outcome, probability)
    with np.errstate(invalid="ignore"):
        possible = ((outcome == 0) | (outcome == 1)) & (probability >= 0) & (probability <= 1)
    impossible = (known & ~possible).any(axis=1)
    matured = np.flatnonzero(known.any(axis=1))
    for end in range(window, len(matured) + 1):
        sessions = matured[end - window : end]
        if not impossible[sessions].any():
            rows = known[sessions]
            yield Window(int(sessions[-1]), sessions, outcome[sessions][rows], probability[sessions][rows])


def matured_sessions(known: np.ndarray, window: int) -> np.ndarray:
    """How many of the ``window`` matured sessions there are, seen from each session; 0 where none matured in it.

    >>> matured_sessions(np.array([[True], [False], [True], [True]]), window=2).tolist()
    [1, 0, 2, 2]
    """
    some = known.any(axis=1)
    return np.where(some, np.minimum(np.cumsum(some), window), 0)


def why_unknown(matured: np.ndarray, window: int) -> str:
    """Why the last session has no value, for a sentence."""
    if not len(matured) or not matured[-1]:
        return "no outcome matured"
    if matured[-1] < window:
        return f"{matured[-1]} of {window} sessions have matured"
    return "a forecast or an outcome is not a possible number"


def last(values: np.ndarray) -> float:
    """The value of the last session, NaN where there is no session."""
    return float(values[-1]) if len(values) else float("nan")


def last_status(verdicts: np.ndarray) -> Status:
    """The verdict of the last session, "insufficient" where there is no session."""
    return cast(Status, str(verdicts[-1])) if len(verdicts) else "insufficient"
