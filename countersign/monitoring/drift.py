"""Drift: have features, scores and targets moved away from what the model was trained on?

Belongs here: the frozen reference as arrays, the verdict on every session at once, and the readings of the last one.
Does not belong here: the index and its p value (``psi``), what follows from drift (the trigger of a retrain).

A feature that persists, such as a level of volatility, is in one part of its range for a quarter on end: its index
passes 0.2 in nearly every quarter, without drift. So the verdict needs three things at once: an effect (the index is
over ``psi``), significance (the p value, corrected for rows that hang together and adjusted over all subjects, is
below ``significance``), and both for ``sessions_in_a_row``. The effect alone is no pass either: it is insufficient
evidence, which is shown as a warning. How often each fires without drift: ``docs/drift.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from countersign.checks import Status
from countersign.errors import ModelError
from countersign.model.reference import session_counts
from countersign.monitoring.psi import (
    benjamini_hochberg,
    merge_pairs,
    stability_critical_value,
    stability_index,
    stability_p_value,
    used_bins,
)
from countersign.monitoring.reading import Reading

FEW_ROWS: Final = 120
"""Rows of a window below which bins are merged in pairs: a tenth of fewer is under a dozen rows [0, 120)."""

FEW_BINS: Final = 5
"""Bins that are not merged further."""

CHANCE: Final = 0.01
"""A window is too small where even independent rows pass ``psi`` by chance more often than that."""


@dataclass(frozen=True)
class DriftReference:
    """The ``reference`` section of ``model.json``. A subject is a feature, a score or a target.

    ``counts`` (subjects, bins + 1) has as many bins as the subject with the most, the others zero, NaN the last;
    ``design_effect`` (subjects,).
    """

    subjects: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    counts: np.ndarray
    design_effect: np.ndarray

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read the section. Raises ``ModelError`` where it was written by a version without design effects."""
        bins = {
            name: frozen
            for part in ("features", "scores", "targets")
            for name, frozen in found[part].items()
            if isinstance(frozen, Mapping)
        }
        without = [name for name, frozen in bins.items() if "design_effect" not in frozen]
        if without:
            raise ModelError(
                f"expected a design effect of each subject in the model's reference, none of {', '.join(without)}. "
                "The model was trained by another version of Countersign: train again"
            )
        width = max(len(frozen["counts"]) for frozen in bins.values()) + 1
        counts = np.zeros((len(bins), width), dtype=np.int64)
        for row, frozen in zip(counts, bins.values(), strict=True):
            row[: len(frozen["counts"])] = frozen["counts"]
            row[-1] = frozen["missing"]
        return cls(
            tuple(bins),
            tuple(np.array(frozen["edges"], dtype=float) for frozen in bins.values()),
            counts,
            np.array([frozen["design_effect"] for frozen in bins.values()], dtype=float),
        )

    def count(self, subject: str, values: np.ndarray, session: np.ndarray, sessions: int) -> np.ndarray:
        """Counts of one subject's ``values`` by the session (0 … ``sessions`` - 1) of each: (sessions, bins + 1).

        A target's session is the one in which it matured.
        """
        found = session_counts(values, session, self.edges[self.subjects.index(subject)], sessions)
        counts = np.zeros((sessions, self.counts.shape[1]), dtype=np.int64)
        counts[:, : found.shape[1] - 1] = found[:, :-1]
        counts[:, -1] = found[:, -1]
        return counts


@dataclass(frozen=True)
class Drift:
    """Every session's verdict, arrays of shape (subjects, sessions), and what it was judged by.

    ``rows`` are those of the window that ends with the session, ``bins`` those that it or the reference fills;
    ``index`` is its PSI, NaN without rows; ``p`` is
    adjusted over the subjects, NaN where ``judged`` is false: too few rows, or all in one bin. ``in_a_row`` counts
    the sessions, this one the last, with both effect and significance, up to ``sessions_in_a_row``.
    """

    subjects: tuple[str, ...]
    rows: np.ndarray
    bins: np.ndarray
    index: np.ndarray
    p: np.ndarray
    judged: np.ndarray
    in_a_row: np.ndarray
    psi: float
    significance: float
    sessions_in_a_row: int
    window_sessions: int

    @property
    def drifted(self) -> np.ndarray:
        """The verdict: effect, significance and persistence together."""
        return self.in_a_row >= self.sessions_in_a_row

    def until(self, sessions: int) -> Drift:
        """The same as it was known after the first ``sessions`` sessions."""
        by_session = ("rows", "bins", "index", "p", "judged", "in_a_row")
        return replace(self, **{name: getattr(self, name)[:, :sessions] for name in by_session})


def measure_drift(
    counts: np.ndarray,
    reference: DriftReference,
    *,
    psi: float,
    significance: float,
    sessions_in_a_row: int,
    window_sessions: int,
) -> Drift:
    """Judge every session of ``counts`` (subjects, sessions, bins + 1, as ``reference.count`` gives them).

    A session's verdict is the same to the last bit whatever lies before the ``window_sessions + sessions_in_a_row - 1``
    that end with it: windows are sums of whole numbers.
    """
    sums = np.cumsum(counts, axis=1)
    current = sums.copy()
    current[:, window_sessions:] -= sums[:, :-window_sessions]
    frozen = np.broadcast_to(reference.counts[:, None], current.shape)
    rows = current.sum(axis=-1)
    few = (rows < FEW_ROWS) & ((reference.counts[:, :-1] > 0).sum(axis=-1) > FEW_BINS)[:, None]
    frozen, current = (np.where(few[..., None], _merged(c), c) for c in (frozen, current))

    index = stability_index(frozen, current)
    bins, n = used_bins(frozen, current), frozen.sum(axis=-1)
    judged = stability_critical_value(CHANCE, n, rows, bins) <= psi
    p = stability_p_value(index, n, rows, bins, reference.design_effect[:, None])
    p = benjamini_hochberg(np.where(judged, p, np.nan))
    breach = (index > psi) & (p < significance)
    session = np.arange(counts.shape[1])
    last_without = np.maximum.accumulate(np.where(breach, -1, session), axis=1)
    return Drift(
        subjects=reference.subjects,
        rows=rows,
        bins=bins,
        index=index,
        p=p,
        judged=judged,
        in_a_row=np.minimum(session - last_without, sessions_in_a_row),
        psi=psi,
        significance=significance,
        sessions_in_a_row=sessions_in_a_row,
        window_sessions=window_sessions,
    )


def _merged(counts: np.ndarray) -> np.ndarray:
    """Bins merged in pairs, in the width of before: bins that hold nothing do not count."""
    merged = merge_pairs(counts)
    return np.concatenate([merged, np.zeros((*counts.shape[:-1], counts.shape[-1] - merged.shape[-1]), int)], axis=-1)


def effect_reading(drift: Drift) -> Reading:
    """The last session's largest index: over the threshold it is a warning by itself, by chance or not.

    The evidence is then insufficient, which is never green and no alarm: slow features pass the threshold in nearly
    every quarter.
    """
    known = drift.judged[:, -1] if drift.judged.shape[1] else np.zeros(len(drift.subjects), dtype=bool)
    if not known.any():
        return Reading("drift", "psi", "insufficient", math.nan, "nothing could be judged: see each subject", drift.psi)
    index = np.where(known, drift.index[:, -1], -math.inf)
    largest, over = int(np.argmax(index)), int((index > drift.psi).sum())
    sentence = (
        f"{over or 'none'} of {int(known.sum())} features, scores and targets {'have' if over > 1 else 'has'} a PSI "
        f"over {drift.psi:g}; the largest is {index[largest]:.3g} ({drift.subjects[largest]})"
    )
    status: Status = "insufficient" if over else "pass"
    return Reading("drift", "psi", status, float(index[largest]), sentence, drift.psi, observations=int(known.sum()))


def drift_readings(drift: Drift) -> tuple[Reading, ...]:
    """The last session: the verdict over all subjects, then one reading a subject.

    A subject fails where it has drifted. Where only its index is over the threshold the evidence is insufficient:
    never green, and no alarm. The verdict over all passes where something could be judged and nothing has drifted.
    """
    found = [_reading(drift, row) for row in range(len(drift.subjects))]
    drifted = [name for name, r in zip(drift.subjects, found, strict=True) if r.status == "fail"]
    judged = int(drift.judged[:, -1].sum()) if drift.judged.shape[1] else 0
    large = sum(r.value > drift.psi and r.status != "fail" for r in found)
    sentence = (
        f"{len(drifted) or 'none'} of {judged} features, scores and targets "
        f"{'have' if len(drifted) > 1 else 'has'} drifted from the training data"
        + (f": {', '.join(drifted)}" if drifted else "")
        + (f"; {large} with a PSI over {drift.psi:g}, as slow ones have without drift" if large else "")
        + (f"; {len(found) - judged} could not be judged" if judged < len(found) else "")
    )
    if not judged:
        return (
            Reading("drift", "drift", "insufficient", math.nan, "nothing could be judged: see each subject", 0.0),
            *found,
        )
    status: Status = "fail" if drifted else "pass"
    return Reading("drift", "drift", status, float(len(drifted)), sentence, 0.0, observations=judged), *found


def _reading(drift: Drift, row: int) -> Reading:
    name, measure = drift.subjects[row], f"psi_{drift.subjects[row]}"
    rows = int(drift.rows[row, -1]) if drift.rows.shape[1] else 0
    if not rows:
        sentence = f"{name} has no row in the last {drift.window_sessions} sessions"
        return Reading("drift", measure, "insufficient", math.nan, sentence, drift.psi)
    index, p = float(drift.index[row, -1]), float(drift.p[row, -1])
    in_a_row = int(drift.in_a_row[row, -1])
    status: Status
    said = f"PSI of {name} is {index:.3g} over {drift.window_sessions} sessions"
    if not drift.judged[row, -1]:
        status = "insufficient"
        bins = int(drift.bins[row, -1])
        sentence = f"{said}, but {rows} rows in {bins} bin{'s' * (bins != 1)} are too little to judge {drift.psi:g} by"
    elif index <= drift.psi:
        status, sentence = "pass", f"{said} ({drift.psi:g} or less is no large effect)"
    else:
        status = "fail" if in_a_row >= drift.sessions_in_a_row else "insufficient"
        chance = f"p {p:.2g}, {drift.significance:g} asked for"
        if not in_a_row:
            sentence = f"{said}, over {drift.psi:g}, but quarters without drift differ as much ({chance})"
        elif status == "insufficient":
            sentence = (
                f"{said}, over {drift.psi:g} and beyond chance ({chance}), but only for {in_a_row} of "
                f"{drift.sessions_in_a_row} sessions in a row"
            )
        else:
            sentence = (
                f"{name} has drifted: PSI {index:.3g}, over {drift.psi:g} and beyond chance ({chance}) for "
                f"{drift.sessions_in_a_row} sessions in a row or more"
            )
    return Reading("drift", measure, status, index, sentence, drift.psi, observations=rows)
