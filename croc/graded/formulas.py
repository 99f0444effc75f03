"""Ordering and separation of images with different numbers of errors, as in T2IScoreScore.

Saxon et al. 2024, "Who Evaluates the Evaluations? Objectively Scoring Text-to-Image Prompt Coherence Metrics
with T2IScoreScore", NeurIPS, arXiv 2404.04251. A graph has nodes of images with the same errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import comb
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from croc.ratings.groups import correlate_rows
from croc.verdict.aggregation import nanmean
from croc.verdict.statistics import Array

Name = TypeVar("Name", bound=Hashable)


def ordering(
    values: Mapping[Name, Array],
    errors: Mapping[Name, int],
    walks: Iterable[Sequence[Name]],
    *,
    constant: float = float("nan"),
) -> Array:
    """Spearman's correlation of scores and absence of errors along each walk, weighted by its images.

    Args:
        values: (metrics, images) scores of the images of each node; NaN where there is none.
        errors: number of errors of each node.
        walks: the nodes of each walk.
        constant: the correlation of a walk with constant scores; NaN leaves the walk out.

    Returns:
        (metrics,); NaN where there is no walk.
    """
    metrics = len(next(iter(values.values())))
    total, weight = np.zeros(metrics), np.zeros(metrics)
    for walk in walks:
        scores = np.concatenate([values[node] for node in walk], axis=1)
        right = -np.concatenate([np.full(values[node].shape[1], float(errors[node])) for node in walk])
        known = ~np.isnan(scores)
        rho = correlate_rows(scores, right[None], "spearman")
        for metric in np.flatnonzero(~known.all(axis=1)):
            own = known[metric]
            if own.any():
                rho[metric] = correlate_rows(scores[None, metric, own], right[None, own], "spearman")[0]
        images = known.sum(axis=1)
        rho = np.where(np.isnan(rho) & (images > 0), constant, rho)
        used = ~np.isnan(rho) & (images > 1)
        total += np.where(used, rho * images, 0)
        weight += np.where(used, images, 0)
    with np.errstate(invalid="ignore"):
        return total / np.where(weight > 0, weight, np.nan)


def separation(
    values: Mapping[Name, Array], pairs: Iterable[tuple[Name, Name]], *, nothing: float = float("nan")
) -> tuple[Array, Array]:
    """The mean Kolmogorov-Smirnov statistic and difference of means of pairs of nodes.

    Args:
        values: see :func:`ordering`.
        pairs: of nodes, the one with fewer errors first.
        nothing: the values of a metric without a pair.

    Returns:
        Two arrays (metrics,). Pairs of nodes with a missing score are left out.
    """
    both = [
        np.stack([ks_statistic(values[a], values[b]), values[a].mean(axis=1) - values[b].mean(axis=1)])
        for a, b in pairs
    ]
    metrics = len(next(iter(values.values())))
    stacked = np.stack(both) if both else np.full((1, 2, metrics), np.nan)
    means = nanmean(stacked, 0)
    means = np.where(np.isnan(means), nothing, means)
    return means[0], means[1]


def different_errors(errors: Mapping[Name, int]) -> list[tuple[Name, Name]]:
    """All pairs of nodes with different numbers of errors, the one with fewer errors first."""
    nodes = sorted(errors, key=errors.__getitem__)
    return [(a, b) for a, b in itertools.combinations(nodes, 2) if errors[a] != errors[b]]


def ks_statistic(first: Array, second: Array) -> Array:
    """The largest difference of two empirical distributions (Kolmogorov-Smirnov), by row; NaN with a NaN.

    Only the statistic: ``scipy.stats.ks_2samp`` also computes an exact p value, one pair at a time.

    Args:
        first: (rows, n).
        second: (rows, m).
    """
    at = np.concatenate([first, second], axis=1)[:, :, None]
    shares = [(own[:, None, :] <= at).mean(axis=2) for own in (first, second)]
    largest: Array = np.abs(shares[0] - shares[1]).max(axis=1)
    return np.where(np.isnan(at).any(axis=(1, 2)), np.nan, largest)


@lru_cache(maxsize=256)
def separation_by_chance(first: int, second: int) -> float:
    """The expected Kolmogorov-Smirnov statistic of so many scores of one continuous distribution each.

    All orders of the scores are equally likely; up to 200,000 of them are enumerated, else sampled.
    """
    places = np.arange(first + second, dtype=float)
    if comb(first + second, first) <= 200_000:
        chosen = np.array(list(itertools.combinations(range(first + second), first)))
    else:
        rng = np.random.default_rng(0)
        chosen = np.argsort(rng.random((20_000, first + second)), axis=1)[:, :first]
    member = np.zeros((len(chosen), first + second), bool)
    np.put_along_axis(member, chosen, True, axis=1)
    one = np.broadcast_to(places, member.shape)[member].reshape(len(chosen), first)
    other = np.broadcast_to(places, member.shape)[~member].reshape(len(chosen), second)
    return float(ks_statistic(one, other).mean())


def probability_higher(first: Array, second: Array) -> Array:
    """By row, the probability that a value of ``first`` is higher than one of ``second``; a tie counts half.

    Args:
        first: (rows, n), NaN where there is no value.
        second: (rows, m).

    Returns:
        (rows,); NaN where a row has no pair of values.
    """
    known = ~np.isnan(first)[:, :, None] & ~np.isnan(second)[:, None, :]
    with np.errstate(invalid="ignore"):
        gap = np.sign(first[:, :, None] - second[:, None, :])
    won = np.where(known, (gap + 1) / 2, 0).sum(axis=(1, 2))
    count = known.sum(axis=(1, 2))
    return np.asarray(won / np.where(count == 0, np.nan, count))


def best_of(scores: Array, right: NDArray[np.bool_], number: int) -> Array:
    """How often the image with the highest score among some images is right.

    The expectation over all choices of ``number`` images without replacement, computed exactly; one of
    several images with the highest score is chosen at random.

    Args:
        scores: (metrics, images); an image without a score (NaN) is chosen only where no image has one.
        right: (images,) which images are right.
        number: how many images are chosen from, 1 to all.

    Returns:
        (metrics,), 0 to 1.
    """
    total = scores.shape[1]
    if not 1 <= number <= total:
        raise ValueError(f"the best of {number} of {total} images")
    found = []
    for row in np.where(np.isnan(scores), -np.inf, scores):
        _, group = np.unique(row, return_inverse=True)  # lowest score first
        size, of_right = np.bincount(group), np.bincount(group, right.astype(float))
        # All chosen images are among those up to this score.
        below = [comb(int(upper), number) / comb(total, number) for upper in np.cumsum(size)]
        found.append(float((np.diff(below, prepend=0.0) * of_right / size).sum()))
    return np.array(found)
