"""Reference: how each feature, score and target was distributed in training, frozen with the model.

Belongs here: edges and counts that drift is later measured against. Does not belong here: the drift verdict.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

REFERENCE_BINS: Final = 10
"""Quantile bins of a reference distribution."""


def reference_bins(values: np.ndarray, bins: int = REFERENCE_BINS) -> dict[str, Any]:
    """Inner edges at the quantiles of ``values``, how many fell into each bin, and how many were NaN.

    Bins are right-closed and the outer ones unbounded: bin i holds edges[i - 1] < x ≤ edges[i]. Equal edges are
    merged, so that a value which repeats makes one bin, not several.

    >>> reference_bins(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), bins=2)
    {'edges': [2.5], 'counts': [2, 2], 'missing': 1}
    """
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.array([])
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": len(values) - len(known)}
