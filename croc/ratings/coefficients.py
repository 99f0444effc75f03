"""Coefficients of correlation of two vectors, and in many weighted resamples of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.verdict.statistics import Array

Correlation = Literal["kendall", "spearman", "pearson"]
CORRELATIONS: tuple[Correlation, ...] = ("kendall", "spearman", "pearson")

# A block of the matrix of pairs is held at a time: about this many numbers.
_BLOCK = 4_000_000


def correlation(x: Array, y: Array, kind: Correlation) -> float:
    """Kendall's tau-b, Spearman's rho or Pearson's r of two vectors (n,); NaN if either is constant."""
    from scipy import stats

    if len(x) < 2 or np.all(x == x[0]) or np.all(y == y[0]):
        return float("nan")
    of: dict[str, Callable[[Array, Array], Any]] = {
        "kendall": stats.kendalltau,
        "spearman": stats.spearmanr,
        "pearson": stats.pearsonr,
    }
    return float(of[kind](x, y).statistic)


def weighted_correlation(x: Array, y: Array, counts: NDArray[Any], kind: Correlation) -> Array:
    """The correlation in each of k resamples at once, as if item i stood there ``counts[k, i]`` times.

    Args:
        x: (n,).
        y: (n,).
        counts: (k, n), how often each item is drawn.
        kind: which coefficient.

    Returns:
        (k,); NaN where a resample is constant in either.
    """
    w = np.asarray(counts, float)
    if not len(x):
        return np.full(len(w), np.nan)
    if kind == "kendall":
        return _weighted_kendall(x, y, w)
    if kind == "spearman":
        return _weighted_pearson(_weighted_ranks(x, w), _weighted_ranks(y, w), w)
    return _weighted_pearson(x[None, :], y[None, :], w)


def _weighted_pearson(x: Array, y: Array, w: Array) -> Array:
    total = w.sum(axis=1, keepdims=True)
    dx = x - (w * x).sum(axis=1, keepdims=True) / total
    dy = y - (w * y).sum(axis=1, keepdims=True) / total
    cov, vx, vy = ((w * term).sum(axis=1) for term in (dx * dy, dx * dx, dy * dy))
    scale = np.sqrt(vx * vy)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12 * total[:, 0], cov / scale, np.nan)


def _weighted_ranks(x: Array, w: Array) -> Array:
    """Midranks of the values when each stands w times, (k, n)."""
    _, group = np.unique(x, return_inverse=True)
    per_value = np.stack([np.bincount(group, row, group.max() + 1) for row in w])
    below = np.cumsum(per_value, axis=1) - per_value
    ranks: Array = (below + (per_value + 1) / 2)[:, group]
    return ranks


def _weighted_kendall(x: Array, y: Array, w: Array) -> Array:
    """Tau-b from sums over pairs, rows of the pair matrix in blocks so that memory stays flat."""
    concordant, tied_x, tied_y = (np.zeros(len(w)) for _ in range(3))
    single = w.astype(np.float32)
    step = max(1, _BLOCK // len(x))
    for begin in range(0, len(x), step):
        rows = slice(begin, begin + step)
        sx, sy = (np.sign(v[rows, None] - v[None, :]).astype(np.float32) for v in (x, y))
        for out, block in ((concordant, sx * sy), (tied_x, np.abs(sx)), (tied_y, np.abs(sy))):
            out += np.einsum("kr,kr->k", w[:, rows], single @ block.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((tied_x > 0) & (tied_y > 0), concordant / np.sqrt(tied_x * tied_y), np.nan)
