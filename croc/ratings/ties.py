"""Pairwise accuracy with calibrated ties, acc*_eq (Deutsch, Foster and Freitag 2023, "Ties Matter").

Two images of a pair are ranked by people and by the metric: one is better, or they are tied. Accuracy is the
share of pairs on which both agree, ties included. Metrics with continuous scores have no ties, so that they
could never agree with people's; a difference of at most a threshold epsilon counts as a tie, with the epsilon
that gives the metric its highest accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croc.verdict.statistics import Array

MAX_PAIRS = 30_000_000
"""Above this number of pairs no threshold is searched: the pairs are sorted in memory."""

# A block of the matrix of pairs is held at a time: about this many numbers.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Calibration:
    """The threshold at which a metric agrees best with the ratings.

    Attributes:
        threshold: epsilon, the largest difference of two scores that counts as a tie; the smallest one of
            several that are equally good.
        accuracy: share of pairs with the same order or a tie in both, mean over the groups.
        pairs: number of pairs.
    """

    threshold: float
    accuracy: float
    pairs: int


def calibrate_ties(
    scores: Array, rating: Array, stacks: Sequence[NDArray[np.int64]], *, pooled: bool = False
) -> Calibration:
    """Find the threshold with the highest accuracy; every difference of two scores is tried, and 0.

    Args:
        scores: (n,) of the metric.
        rating: (n,).
        stacks: row numbers of the groups, see :func:`croc.ratings.groups.stack_groups`.
        pooled: every pair counts the same; otherwise every group does.

    Returns:
        The calibration; accuracy and threshold are NaN without a pair, or with more than ``MAX_PAIRS``.
    """
    groups = sum(len(rows) for rows in stacks)
    pairs = sum(len(rows) * rows.shape[1] * (rows.shape[1] - 1) // 2 for rows in stacks)
    if not pairs or pairs > MAX_PAIRS:
        return Calibration(np.nan, np.nan, pairs)
    difference, gain, base = [], [], 0.0
    for rows in stacks:
        first, second = np.triu_indices(rows.shape[1], 1)
        dx = scores[rows[:, first]] - scores[rows[:, second]]
        dy = np.sign(rating[rows[:, first]] - rating[rows[:, second]])
        weight = 1 / pairs if pooled else 1 / (groups * len(first))
        agrees = np.sign(dx) == dy
        base += weight * float(agrees.sum())
        difference.append(np.abs(dx).ravel())
        gain.append((weight * ((dy == 0).astype(float) - agrees)).ravel())
    each, change = np.concatenate(difference), np.concatenate(gain)
    thresholds, place = np.unique(each, return_inverse=True)
    accuracy = base + np.cumsum(np.bincount(place, change))
    thresholds, accuracy = np.r_[0.0, thresholds], np.r_[base, accuracy]
    best = int(np.argmax(accuracy >= accuracy.max() - 1e-12))  # equal up to rounding: the smallest threshold
    return Calibration(float(thresholds[best]), float(accuracy[best]), pairs)


def order_accuracy(scores: Array, rating: Array, rows: NDArray[np.int64]) -> Array:
    """The share of pairs that people order which a metric orders alike; a tie of the metric counts one half.

    It is (1 + Somers' d)/2. Pairs on which people are tied do not count, so that it does not depend on how
    often they are, and a metric whose scores are all equal has 1/2.

    Args:
        scores: (n,) of the metric.
        rating: (n,).
        rows: (groups, size) row numbers, see :func:`croc.ratings.groups.stack_groups`.

    Returns:
        (groups,); NaN where people order no pair.
    """
    first, second = np.triu_indices(rows.shape[1], 1)
    a, b = (np.sign(values[rows[:, first]] - values[rows[:, second]]) for values in (scores, rating))
    ordered = np.abs(b).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(ordered > 0, (1 + (a * b).sum(axis=1) / ordered) / 2, np.nan)


def weighted_accuracy(x: Array, y: Array, counts: Any, threshold: float) -> Array:
    """Accuracy at a threshold in each of k resamples, as if item i stood there ``counts[k, i]`` times.

    Copies of one item are not compared with each other.

    Args:
        x: (n,) scores.
        y: (n,) ratings.
        counts: (k, n).
        threshold: epsilon.

    Returns:
        (k,); NaN where a resample has no pair.
    """
    w = np.asarray(counts, np.float32)
    agrees = np.zeros(len(w))
    step = max(1, _BLOCK // max(len(x), 1))
    for begin in range(0, len(x), step):
        rows = slice(begin, begin + step)
        same = agreement(x[rows, None] - x[None, :], np.sign(y[rows, None] - y[None, :]), threshold)
        same[np.arange(len(same)), np.arange(begin, begin + len(same))] = False
        agrees += np.einsum("kr,kr->k", w[:, rows].astype(float), w @ same.T.astype(np.float32))
    wide = w.astype(float)
    pairs = wide.sum(axis=1) ** 2 - (wide**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, agrees / pairs, np.nan)


def agreement(difference: Array, order: Array, threshold: Any) -> NDArray[np.bool_]:
    """Whether a difference of two scores has the order (−1, 0, 1) of the ratings."""
    tied = np.abs(difference) <= threshold
    same: NDArray[np.bool_] = np.where(tied, order == 0, np.sign(difference) == order)
    return same
