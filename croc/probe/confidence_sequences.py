"""Intervals and tests of means that hold at every moment, however long one looks and whatever comes next.

A mean ``m`` of values in 0…1 is tested by betting against it: with the bet ``p``, a value ``x`` multiplies
the capital by ``x·p/m + (1−x)·(1−p)/(1−m)``, whose mean is 1 if the mean is ``m``. The capital spread over
all bets ``p`` by the arcsine distribution is a martingale, so that it ever reaches ``1/α`` with probability
``α`` at most (Ville 1939; Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting,
2024). The means whose capital is below ``1/α`` are a confidence sequence. For values 0 and 1 it is the
beta-binomial mixture of Robbins (1970); values between them make it narrower.

The capital depends on how often each value occurred, not on the order, so a histogram is the whole state.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 8
"""A verdict is a multiple of 1/8: four directions, ties count one half."""

VALUES: Array = np.arange(STEPS + 1) / STEPS
"""The values that a histogram counts."""

_BETS = 96
_ROUNDS = 32  # of a bisection or a golden section
_EDGE = 1e-9
_GOLDEN = (5**0.5 - 1) / 2


@cache
def _bets() -> Array:
    """(bets,): Chebyshev nodes in 0…1, which have the arcsine distribution, Beta(½, ½)."""
    angles = (2 * np.arange(_BETS) + 1) * np.pi / (2 * _BETS)
    return np.asarray((1 - np.cos(angles)) / 2)


def log_capital(counts: Any, mean: Any) -> Array:
    """Logarithm of the capital of bets against a mean; it is convex in the mean.

    Args:
        counts: (..., STEPS + 1), how often each of ``VALUES`` occurred.
        mean: (...), in 0…1.

    Returns:
        (...): above ``log(1/α)`` with probability α at most, ever, if the mean is ``mean``.
    """
    counts = np.asarray(counts, dtype=np.float64)
    m = np.clip(np.asarray(mean, dtype=np.float64), _EDGE, 1 - _EDGE)[..., None]
    p = _bets()
    up, down = p / m, (1 - p) / (1 - m)
    log = np.zeros((*np.broadcast_shapes(counts.shape[:-1], m.shape[:-1]), _BETS))
    for value, count in zip(VALUES, np.moveaxis(counts, -1, 0), strict=True):
        if count.any():
            log = log + count[..., None] * np.log(value * up + (1 - value) * down)
    top = log.max(axis=-1, keepdims=True)
    return np.asarray((top + np.log(np.exp(log - top).mean(axis=-1, keepdims=True)))[..., 0])


def means(counts: Any) -> Array:
    """(...): the mean of the values in each histogram; NaN where it is empty."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, counts @ VALUES / total, np.nan))


def interval(counts: Any, level: float = 0.95) -> tuple[Array, Array]:
    """Confidence sequence of a mean: it contains the mean at all times together with probability ``level``.

    Args:
        counts: (..., STEPS + 1), how often each of ``VALUES`` occurred.
        level: confidence of each interval.

    Returns:
        Lower and upper ends, (...) each; 0 and 1 without values.
    """
    counts = np.asarray(counts, dtype=np.float64)
    limit = np.log(1 / (1 - level))
    centre = np.nan_to_num(means(counts), nan=0.5)
    # The capital is smallest near the observed mean, not exactly at it, but there it never reaches the limit.
    ends = []
    for edge in (0.0, 1.0):
        inside, outside = centre.copy(), np.full_like(centre, edge)
        for _ in range(_ROUNDS):
            middle = (inside + outside) / 2
            beyond = log_capital(counts, middle) > limit
            outside, inside = np.where(beyond, middle, outside), np.where(beyond, inside, middle)
        ends.append(outside)
    return ends[0], ends[1]


def log_evidence_below(counts: Any, others: Any, margin: float = 0.0, *, enough: Any = -np.inf) -> Array:
    """Evidence that one mean is below another one: the logarithm of an e-process.

    If the first mean is at least the second minus ``margin``, it ever exceeds ``log(1/α)`` with probability α
    at most: it is the smallest product of two capitals over all pairs of such means.

    Args:
        counts: (..., STEPS + 1), histogram of the values with the first mean.
        others: (..., STEPS + 1), histogram of the values with the second mean; none of the same values.
        margin: by how much the first mean has to be lower.
        enough: (...); where the evidence is at most this, an upper bound of it that is at most this may be
            returned, which saves time.

    Returns:
        (...): minus infinity where the observed means do not differ so.
    """
    counts, others = np.broadcast_arrays(
        np.asarray(counts, dtype=np.float64), np.asarray(others, dtype=np.float64)
    )
    first, second = means(counts), means(others)
    differ = second - margin > first
    found = np.full(differ.shape, -np.inf)
    if differ.any():
        weight = counts[differ].sum(axis=-1), others[differ].sum(axis=-1)
        pooled = (weight[0] * first[differ] + weight[1] * (second[differ] - margin)) / (weight[0] + weight[1])
        found[differ] = _both(counts[differ], others[differ], pooled, margin)
    refine = differ & (found > enough)
    if refine.any():
        found[refine] = _smallest_product(
            counts[refine], others[refine], first[refine], second[refine] - margin, margin
        )
    return found


def _smallest_product(counts: Array, others: Array, low: Array, high: Array, margin: float) -> Array:
    """Golden section between the observed means; the sum of the two logarithms is convex."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = (_both(counts, others, mean, margin) for mean in (left, right))
    for _ in range(_ROUNDS):
        smaller = at_left < at_right
        low, high = np.where(smaller, low, left), np.where(smaller, right, high)
        middle, at_middle = np.where(smaller, left, right), np.where(smaller, at_left, at_right)
        left = np.where(smaller, high - _GOLDEN * (high - low), middle)
        right = np.where(smaller, middle, low + _GOLDEN * (high - low))
        new = _both(counts, others, np.where(smaller, left, right), margin)
        at_left, at_right = np.where(smaller, new, at_middle), np.where(smaller, at_middle, new)
    return np.asarray(np.minimum(at_left, at_right))


def _both(counts: Array, others: Array, mean: Array, margin: float) -> Array:
    return log_capital(counts, mean) + log_capital(others, mean + margin)
