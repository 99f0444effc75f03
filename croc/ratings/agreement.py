"""Krippendorff's alpha of ratings from their coincidences: pure functions on arrays."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from croc.verdict.statistics import Array

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")

Counts = NDArray[np.int64]


def coincidences(counts: Counts) -> Array:
    """The coincidences of each item; alpha is computed from their sum.

    Args:
        counts: (items, values) number of annotators who gave each value.

    Returns:
        (items, values, values): number of ordered pairs of votes on the item, divided by its votes minus one;
        0 for an item with one vote.
    """
    n = counts.astype(float)
    total = n.sum(axis=1)
    pairs = n[:, :, None] * n[:, None, :]
    values = np.arange(n.shape[1])
    pairs[:, values, values] -= n
    result: Array = pairs / np.maximum(total - 1, 1)[:, None, None]
    return result


def alpha_of(matrices: Array, level: Level) -> Array:
    """Alpha of summed coincidences, so that a resample needs only their weighted sum.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": with o_ck the coincidences, n_c their
    row sums and n the sum of all, alpha = 1 − (n − 1) Σ o_ck d_ck / Σ n_c n_k d_ck, where d_ck is 1 unless
    c = k (nominal), (Σ_{g=c…k} n_g − (n_c + n_k)/2)² (ordinal) or (c − k)² (interval).

    Args:
        matrices: (k, values, values), see :func:`coincidences`.
        level: one of ``LEVELS``.

    Returns:
        (k,); NaN where all votes have one value.
    """
    sums = matrices.sum(axis=2)
    total = sums.sum(axis=1)
    places = np.arange(matrices.shape[1], dtype=float)
    if level == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(len(places)), matrices.shape)
    elif level == "interval":
        distance = np.broadcast_to((places[:, None] - places[None, :]) ** 2, matrices.shape)
    else:
        middle = np.cumsum(sums, axis=1) - sums / 2
        distance = (middle[:, :, None] - middle[:, None, :]) ** 2
    observed = (matrices * distance).sum(axis=(1, 2))
    expected = (sums[:, :, None] * sums[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan)
