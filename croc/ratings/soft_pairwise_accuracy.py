"""Soft pairwise accuracy: does a metric rank systems with the confidence that people have in the ranking?

Thompson, Mathur, Deutsch and Khayrallah (2024, "Improving Statistical Significance in Human Evaluation of
Automatic Metrics via Soft Pairwise Accuracy"): for every two systems, the one-sided p value that the first is
better is computed from the ratings and from the metric. The measure is 1 minus the mean absolute difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from croc.ratings.permutation import exchange_p
from croc.verdict.statistics import Array

# A block of exchanged differences is held at a time: about this many numbers.
_BLOCK = 4_000_000


def system_matrix(values: Array, system: NDArray[np.int64], prompt: NDArray[np.int64], shape: Any) -> Array:
    """Values of each system on each prompt, mean over images: (systems, prompts), NaN for none."""
    cell = np.ravel_multi_index((system, prompt), shape)
    known = ~np.isnan(values)
    size = shape[0] * shape[1]
    number = np.bincount(cell[known], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell[known], values[known], size) / number
    matrix: Array = mean.reshape(shape)
    return matrix


def differences(values: Array) -> Array:
    """Differences of every two systems on each prompt, (pairs, prompts), of a matrix (systems, prompts)."""
    first, second = np.triu_indices(len(values), 1)
    return np.subtract(values[first], values[second])


def draw_signs(permutations: int, prompts: int, rng: np.random.Generator) -> Array:
    """Random signs ±1, (permutations, prompts)."""
    return np.where(rng.integers(0, 2, (permutations, prompts)) > 0, 1.0, -1.0)


def better_p(difference: Array, signs: Array) -> Array:
    """One-sided p value that the first system of each pair is better, from a paired permutation test.

    Args:
        difference: (pairs, prompts); 0 where a prompt does not count.
        signs: (permutations, prompts) of ±1.

    Returns:
        (pairs,): share of the permutations with a sum at least as large as the observed one.
    """
    observed = difference.sum(axis=1)
    slack = 1e-12 * np.abs(difference).sum(axis=1)  # equal sums differ by rounding
    p: Array = (signs @ difference.T >= observed - slack).mean(axis=0)
    return p


def soft_pairwise_accuracy(scores: Array, rating: Array, signs: Array) -> float:
    """Soft pairwise accuracy of two matrices (systems, prompts).

    Two systems are compared on the prompts on which both have a score and a rating.

    Returns:
        0…1; NaN if no two systems share two prompts.
    """
    known = ~(np.isnan(scores) | np.isnan(rating))
    both = _shared(known)
    compared = both.sum(axis=1) > 1
    if not compared.any():
        return float("nan")
    p, q = (better_p(np.where(both, differences(values), 0)[compared], signs) for values in (scores, rating))
    return float(1 - np.abs(p - q).mean())


def exchange_test(scores: tuple[Array, Array], rating: Array, keep: NDArray[np.bool_]) -> float:
    """Two-sided p value that two metrics have the same soft pairwise accuracy.

    Args:
        scores: of both metrics, (systems, prompts) each.
        rating: (systems, prompts).
        keep: (k, systems, prompts), or (k, prompts) for whole prompts; where False, the two scores are
            exchanged.

    Returns:
        The p value; NaN if no two systems share two prompts.
    """
    known = ~(np.isnan(scores[0]) | np.isnan(scores[1]) | np.isnan(rating))
    first, second = (_standardised(np.where(known, own, np.nan)) for own in scores)
    observed = exchange_soft_pairwise_accuracy((first, second), rating, np.ones((1, *rating.shape), bool))
    difference = float(observed[0][0] - observed[1][0])
    if np.isnan(difference):
        return difference
    one, other = exchange_soft_pairwise_accuracy((first, second), rating, keep)
    return exchange_p(difference, one - other)


def _standardised(values: Array) -> Array:
    if np.isnan(values).all():
        return values
    return (values - np.nanmean(values)) / (float(np.nanstd(values)) or 1.0)


def exchange_soft_pairwise_accuracy(
    scores: tuple[Array, Array], rating: Array, keep: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Soft pairwise accuracy of two metrics after exchanging their scores.

    P values of exchanged scores come from the normal approximation of the permutation test: the sum of the
    differences over the root of the sum of their squares.

    Args:
        scores: of both metrics, standardised, (systems, prompts) each.
        rating: (systems, prompts).
        keep: (k, systems, prompts), or (k, prompts) for whole prompts; where False, the two scores are
            exchanged.

    Returns:
        (k,) of the first metric, (k,) of the second.
    """
    known = ~(np.isnan(scores[0]) | np.isnan(scores[1]) | np.isnan(rating))
    both = _shared(known)
    compared = both.sum(axis=1) > 1
    if not compared.any():
        none = np.full(len(keep), np.nan)
        return none, none
    first, second = (index[compared] for index in np.triu_indices(len(rating), 1))
    use = both[compared]
    people = _normal_p(np.where(use, rating[first] - rating[second], 0))
    if keep.ndim == 2:
        return _exchange_prompts([np.where(use, own[first] - own[second], 0) for own in scores], people, keep)
    out = np.empty((2, len(keep)))
    step = max(1, _BLOCK // use.size)
    for begin in range(0, len(keep), step):
        block = keep[begin : begin + step]
        for m, side in enumerate((block, ~block)):
            mixed = np.where(side, *scores)
            p = _normal_p(np.where(use, mixed[:, first] - mixed[:, second], 0))
            out[m, begin : begin + step] = 1 - np.abs(p - people).mean(axis=-1)
    return out[0], out[1]


def _exchange_prompts(difference: list[Array], people: Array, keep: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The same for whole prompts, (k, prompts): the sums are linear in which prompts keep their scores."""
    found = []
    for own, other in (difference, difference[::-1]):
        sums = (keep @ (one - two).T + two.sum(axis=1) for one, two in ((own, other), (own**2, other**2)))
        found.append(1 - np.abs(_p_of_sums(*sums) - people).mean(axis=-1))
    return found[0], found[1]


def _shared(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    first, second = np.triu_indices(len(known), 1)
    return known[first] & known[second]


def _normal_p(difference: Array) -> Array:
    return _p_of_sums(difference.sum(axis=-1), (difference**2).sum(axis=-1))


def _p_of_sums(total: Array, squares: Array) -> Array:
    """One-sided p values of sums, given the sums of squares."""
    from scipy.special import ndtr

    # Sums of squares that were added and taken away again are not exactly 0.
    known = squares > 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        p: Array = np.where(known, ndtr(-total / np.sqrt(squares)), 1.0)  # equal scores: no sum is smaller
    return p
