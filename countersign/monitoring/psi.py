"""PSI: how far a distribution has moved from the one it was frozen as, and how sure that is.

Belongs here: the population stability index of counts, its p value and critical value, and the adjustment of many p
values. Does not belong here: edges and counting into them (``model.reference``), the verdict (``drift``).
"""

from __future__ import annotations

import numpy as np


def merge_pairs(counts: np.ndarray) -> np.ndarray:
    """Counts (…, bins + 1) with bins 0 and 1, 2 and 3 … made one; the last bin, of NaN, stays.

    >>> merge_pairs(np.array([1, 2, 3, 4, 5, 9])).tolist()
    [3, 7, 5, 9]
    """
    bins = counts.shape[-1] - 1
    return np.add.reduceat(counts, [*range(0, bins, 2), bins], axis=-1)


def used_bins(reference: np.ndarray, current: np.ndarray) -> np.ndarray:
    """B (…): the bins of counts (…, bins) that either side has a value in. The others say nothing of either."""
    return ((np.asarray(reference) + current) > 0).sum(axis=-1)


def stability_index(reference: np.ndarray, current: np.ndarray, eps: float | None = None) -> np.ndarray:
    """Σ (a - e)·ln(a / e) over bins, of counts (…, bins): NaN where either side has no rows.

    Jeffreys' divergence, known as the population stability index (Siddiqi, Credit Risk Scorecards, 2006). Each share
    is (count + ½) / (n + B/2), the expected share under Jeffreys' prior, so that an empty bin is a small share and
    not an infinite index. With ``eps`` it is count / n, or ``eps`` where that is 0, as several libraries publish it.

    >>> round(float(stability_index(np.array([500, 500, 0]), np.array([450, 500, 50]))), 6)
    0.235665
    """
    reference, current = np.broadcast_arrays(np.asarray(reference, dtype=float), np.asarray(current, dtype=float))
    used = (reference + current) > 0
    half = np.where(used, 0.5, 0.0) if eps is None else np.zeros(reference.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected, actual = ((c + half) / (c + half).sum(axis=-1, keepdims=True) for c in (reference, current))
        if eps is not None:
            expected, actual = (np.where(share == 0, eps, share) for share in (expected, actual))
        terms = np.where(used, (actual - expected) * np.log(actual / expected), 0.0)
    known = (reference.sum(axis=-1) > 0) & (current.sum(axis=-1) > 0)
    return np.where(known, terms.sum(axis=-1), np.nan)


def stability_p_value(
    index: np.ndarray,
    n: np.ndarray | int,
    m: np.ndarray | int,
    bins: np.ndarray | int,
    design_effect: np.ndarray | float = 1.0,
) -> np.ndarray:
    """P(χ²_{B-1} > PSI / (d·(1/n + 1/m))): how often n and m rows of one distribution are as far apart as that.

    Yurdakul & Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation
    14(4), 2020; ``design_effect`` d (1 where rows are independent) corrects as Rao and Scott do, see
    ``countersign.model.reference.design_effect``. NaN with fewer than two bins, or without rows.
    """
    from scipy.special import chdtrc

    return chdtrc(_freedom(bins), index / _scale(n, m, design_effect))


def stability_critical_value(
    alpha: float,
    n: np.ndarray | int,
    m: np.ndarray | int,
    bins: np.ndarray | int,
    design_effect: np.ndarray | float = 1.0,
) -> np.ndarray:
    """The index whose p value is ``alpha``."""
    from scipy.special import chdtri

    return chdtri(_freedom(bins), alpha) * _scale(n, m, design_effect)


def _freedom(bins: np.ndarray | int) -> np.ndarray:
    return np.where(np.asarray(bins) > 1, np.asarray(bins, dtype=float) - 1, np.nan)


def _scale(n: np.ndarray | int, m: np.ndarray | int, design_effect: np.ndarray | float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        scale = design_effect * (1 / np.asarray(n, dtype=float) + 1 / np.asarray(m, dtype=float))
    return np.where(np.isfinite(scale), scale, np.nan)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p values adjusted over the first axis: the smallest false discovery rate at which each would be a discovery.

    The k-th smallest of K becomes the least p·K/j of those from rank j = k on (Benjamini and Hochberg, Journal of the
    Royal Statistical Society B 57, 1995). NaN is no test: it stays NaN and is not counted in K.

    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(4).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    p = np.asarray(p, dtype=float)
    tests = (~np.isnan(p)).sum(axis=0)
    order = np.argsort(p, axis=0)  # NaN last
    rank = np.arange(1, len(p) + 1).reshape(-1, *[1] * (p.ndim - 1))
    scaled = np.take_along_axis(p, order, axis=0) * tests / rank
    least = np.fmin.accumulate(scaled[::-1], axis=0)[::-1]
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, least, axis=0)
    return adjusted
