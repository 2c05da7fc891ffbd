"""Reference: how each feature, score and target was distributed in training, frozen with the model.

Belongs here: edges, the one rule by which values are counted into them, the counts of training, and how much less
than independent rows those of a window say. Does not belong here: the index (``monitoring.psi``), the drift verdict
(``monitoring.drift``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

REFERENCE_BINS: Final = 10
"""Quantile bins of a reference distribution."""

DESIGN_LAGS: Final = 60
"""Sessions over which bin shares may hang together: nearly all of a window of a quarter."""


def reference_bins(values: np.ndarray, session: np.ndarray, bins: int = REFERENCE_BINS) -> dict[str, Any]:
    """Inner edges at the quantiles of ``values``, how many fell into each bin, how many were NaN, the design effect.

    ``session`` numbers the session of each value. Bins are right-closed and the outer ones unbounded: bin i holds
    edges[i - 1] < x ≤ edges[i]. Equal edges are merged, so that a value which repeats makes one bin, not several.

    >>> reference_bins(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), np.array([0, 0, 1, 1, 1]), bins=2)
    {'edges': [2.5], 'counts': [2, 2], 'missing': 1, 'design_effect': 1.0}
    """
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.arange(1, bins) / bins)) if len(finite) else np.array([])
    counted = session_counts(values, session, edges, int(session.max(initial=-1)) + 1)
    *counts, missing = counted.sum(axis=0).tolist()
    return {"edges": edges.tolist(), "counts": counts, "missing": missing, "design_effect": design_effect(counted)}


def bin_numbers(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin of each value: i where edges[i - 1] < x ≤ edges[i], the outer ones unbounded; NaN the bin after the last.

    >>> bin_numbers(np.array([-np.inf, 1.0, 1.5, np.inf, np.nan]), np.array([1.0, 2.0])).tolist()
    [0, 0, 1, 2, 3]
    """
    # So many comparisons are several times faster than a binary search for each value: edges are few.
    number = np.isnan(values) * np.int16(len(edges) + 1)
    for edge in edges:
        number += values > edge
    return number


def session_counts(values: np.ndarray, session: np.ndarray, edges: np.ndarray, sessions: int) -> np.ndarray:
    """How many of ``values`` lie in each bin, by the session (0 … ``sessions`` - 1) of each: (sessions, bins + 1).

    The last bin is of NaN.
    """
    width = len(edges) + 2
    flat = np.bincount(session * width + bin_numbers(values, edges), minlength=sessions * width)
    return flat.reshape(sessions, width)


def design_effect(counts: np.ndarray) -> float:
    """How many rows of ``counts`` (sessions, bins), consecutive sessions, say as much as one independent row: d ≥ 1.

    Rows of one session are one cluster, since symbols move together, and sessions hang together over ``DESIGN_LAGS``.
    With p the shares, z = counts - p·rows and c(l) the autocovariance of z at lag l, the variance of a window's share
    is that of independent rows times δ, for the bins together the eigenvalues δ_k of

        Δ = V / (r·√(p pᵀ)),   V = Σ (1 - |l| / (L + 1))·c(l),   r rows a session,   L = DESIGN_LAGS

    (generalised design effects of the χ² statistic: Rao and Scott, Journal of the American Statistical Association
    76, 1981; the long-run variance of Newey and West, Econometrica 55, 1987, whose weights are here exactly those of
    a window of L + 1 sessions). The statistic is then Σ δ_k χ²₁ instead of χ²_{B-1}. Returned is

        d = Σ δ_k² / Σ δ_k,

    the scale of Rao and Scott's second-order correction (Annals of Statistics 12, 1984), with all B - 1 degrees of
    freedom kept. Their first-order one, the plain mean of δ_k, holds where the δ_k are alike. Here they are not: a
    quarter that is calm as a whole moves all bins at once, for which δ is several times the mean (``docs/drift.md``).
    """
    counts = counts[:, counts.sum(axis=0) > 0].astype(float)
    if counts.shape[1] < 2:
        return 1.0
    rows = counts.sum(axis=1)
    share = counts.sum(axis=0) / rows.sum()
    sums = np.concatenate([np.zeros((1, len(share))), np.cumsum(counts - share * rows[:, None], axis=0)])
    # Sums over every window of L + 1 sessions, cut off at both ends: the mean of their squares is V.
    sessions = len(rows)
    end = np.arange(1, sessions + DESIGN_LAGS + 1)
    window = sums[np.minimum(end, sessions)] - sums[np.maximum(end - DESIGN_LAGS - 1, 0)]
    # einsum adds in one order whatever the number of threads: the same rows make the same document.
    covariance = np.einsum("si,sj->ij", window, window) / ((DESIGN_LAGS + 1) * rows.sum())
    effects = covariance / np.sqrt(np.outer(share, share))
    trace = float(np.trace(effects))
    return max(1.0, float((effects**2).sum()) / trace) if trace > 0 else 1.0
