"""Confidence intervals of accuracies that hold with few concepts.

The variance comes from leaving out one concept at a time (the jackknife), the interval from Wilson's formula
on the effective sample size, as for proportions of clustered samples. A pseudo-concept at chance level takes
part in the variance: where every concept passed, nothing varies, and the interval would else be a point.
Means over directions and differences between metrics combine the intervals of their parts (MOVER, Zou and
Donner 2008). ``docs/design/intervals.md`` gives the reasons and the simulated coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from croc.verdict.aggregation import average, nanmean
from croc.verdict.statistics import Array

FEWEST_CONCEPTS = 5
"""Below this no interval is given."""

PSEUDO_CONCEPT = 0.6
"""Size of the pseudo-concept, relative to the size-weighted mean size of a concept."""


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval over concepts, prompts or graphs.

    Attributes:
        value: None where nothing could be computed.
        low, high: None with fewer than ``FEWEST_CONCEPTS`` of them.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Intervals:
    """Intervals of M metrics on one group of checks, in D directions.

    Attributes:
        accuracy: (2, M, D), lower and upper ends per direction; NaN where there is none.
        scaled: (2, M, D), of the scaled accuracy.
        mean: (2, M), of the mean scaled accuracy over the directions.
        estimate: (M,), the mean scaled accuracy.
        deviations: (concepts + 1, M), jackknife deviations of the mean; their squares add up to its variance.
        freedom: (M,), degrees of freedom of that variance.
    """

    accuracy: Array
    scaled: Array
    mean: Array
    estimate: Array
    deviations: Array
    freedom: Array

    def of_difference(self, first: int, second: int) -> tuple[float, float]:
        """Interval of the difference between the means of two metrics, ``first − second``."""
        return difference(
            self.estimate[[first, second]],
            self.mean[:, [first, second]],
            float(correlations(self.deviations[:, None, [first, second]])[0, 0, 1]),
        )

    def standard_error(self, first: int, second: int) -> float:
        """Standard error of the difference between the means of two metrics."""
        return float(np.linalg.norm(self.deviations[:, first] - self.deviations[:, second]))


def intervals(sums: Array, symmetric: NDArray[np.bool_], level: float) -> Intervals:
    """Intervals from the sums per concept.

    Args:
        sums: (clusters, T, M, D, 3): value, chance and number of verdicts per concept and text model in D
            directions, see :meth:`croc.verdict.aggregation.CheckVerdicts.cluster_sums`.
        symmetric: (D,), see :func:`croc.verdict.directions.scaled_accuracy`.
        level: of confidence.
    """
    # Metric by metric, with the concepts side by side in memory: memory costs more time than arithmetic.
    parts = np.split(np.moveaxis(sums, 0, -1), sums.shape[2], axis=1)
    each = [_intervals(np.moveaxis(np.ascontiguousarray(part), -1, 0), symmetric, level) for part in parts]
    axes = {"accuracy": 1, "scaled": 1, "mean": 1, "estimate": 0, "deviations": 1, "freedom": 0}
    return Intervals(
        **{name: np.concatenate([getattr(one, name) for one in each], axis) for name, axis in axes.items()}
    )


def mean_share(
    values: Array, level: float, *, chance: float = 0.5, clusters: NDArray[np.int64] | None = None
) -> Estimate:
    """The mean of shares with its interval.

    Args:
        values: (n,), each 0 to 1.
        level: of confidence.
        chance: the value at chance level.
        clusters: (n,), the number of the concept of each value, from 0; None takes each for one of its own.
    """
    ones = np.ones(len(values))
    clusters = np.arange(len(values)) if clusters is None else clusters
    weights = (values, chance * ones, ones)
    sums: Array = np.stack([np.bincount(clusters, each) for each in weights], axis=-1).astype(float)
    if len(sums) < FEWEST_CONCEPTS:
        return Estimate(float(values.mean()), None, None)
    low, high = intervals(sums[:, None, None, None], np.ones(1, bool), level).accuracy[:, 0, 0]
    return Estimate(float(values.mean()), float(low), float(high))


def _intervals(sums: Array, symmetric: NDArray[np.bool_], level: float) -> Intervals:
    total = sums.sum(axis=0)
    accuracy, chance = average(total)
    sizes = sums[..., 2].sum(axis=1)  # (clusters, M, D)
    enough = (sizes > 0).sum(axis=0) >= FEWEST_CONCEPTS
    freedom = _degrees_of_freedom(sizes)
    with_pseudo = np.concatenate([sums, _pseudo_concept(sums)[None]])
    grand = with_pseudo.sum(axis=0)
    shrunken, pseudo_chance = average(grand)
    left_out, left_chance = average(grand - with_pseudo)

    member = with_pseudo[..., 2].sum(axis=1) > 0
    share = _wilson(accuracy, shrunken, _variance(_deviations(left_out, member)), freedom, level, 0.0)
    above, below = (_rescaled(accuracy, chance, side, symmetric) for side in (1, -1))
    ends, deviations = [], []
    for side, estimate in ((1, above), (-1, below)):
        moved = _deviations(_rescaled(left_out, left_chance, side, symmetric), member)
        center = _rescaled(shrunken, pseudo_chance, side, symmetric)
        ends.append(_wilson(estimate, center, _variance(moved), freedom, level, -1.0))
        deviations.append(moved)
    # The scale changes at chance level: an end above it is scaled by the room above, one below by that below.
    scaled = np.where(ends[0] >= 0, ends[0], np.minimum(ends[1], 0))
    estimate = np.where(above >= 0, above, below)
    of_estimate = np.where(above >= 0, deviations[0], deviations[1])
    scaled, share = (np.where(enough, both, np.nan) for both in (scaled, share))
    known = ~np.isnan(estimate)
    mean = _mean_interval(estimate, scaled, np.where(known, of_estimate, 0.0))
    with_value = np.where(known, freedom, np.nan)
    return Intervals(
        accuracy=share,
        scaled=scaled,
        mean=mean,
        estimate=nanmean(estimate, -1),
        deviations=nanmean(np.where(known, of_estimate, np.nan), -1),
        freedom=nanmean(with_value, -1),
    )


def expected_half_width(
    scaled: float, direction_variance: float, mean_variance: float, concepts: int, level: float
) -> float:
    """Half the expected length of the interval of a mean scaled accuracy over equally accurate directions.

    Args:
        scaled: its true value.
        direction_variance: variance of the estimate in one direction.
        mean_variance: variance of the estimated mean.
        concepts: number of concepts, all of the same size.
        level: of confidence.
    """
    # The pseudo-concept moves the center of the variance and adds its own deviation.
    center = scaled * concepts / (concepts + PSEUDO_CONCEPT)
    variance = direction_variance * (center / scaled if scaled else 1) ** 2
    variance += (center * PSEUDO_CONCEPT / concepts) ** 2
    freedom = np.asarray(concepts - 1.0)
    low, high = _wilson(np.asarray(scaled), np.asarray(center), np.asarray(variance), freedom, level, -1.0)
    return float((high - low) / 2 * np.sqrt(mean_variance / direction_variance))


def difference(estimates: Array, ends: Array, correlation: float) -> tuple[float, float]:
    """Interval of the difference of two estimates from the intervals of both (MOVER).

    Args:
        estimates: (2,).
        ends: (2, 2), lower ends, then upper ends.
        correlation: of the two estimates.
    """
    down, up = estimates - ends[0], ends[1] - estimates
    gap = float(estimates[0] - estimates[1])
    low = gap - np.sqrt(max(down[0] ** 2 + up[1] ** 2 - 2 * correlation * down[0] * up[1], 0.0))
    high = gap + np.sqrt(max(up[0] ** 2 + down[1] ** 2 - 2 * correlation * up[0] * down[1], 0.0))
    return float(max(low, -2.0)), float(min(high, 2.0))


def correlations(deviations: Array) -> Array:
    """Correlations (M, D, D) of estimates, from their jackknife deviations (clusters, M, D)."""
    covariance = np.einsum("cmi,cmj->mij", deviations, deviations)
    spread = np.sqrt(np.einsum("mii->mi", covariance))
    scale = spread[:, :, None] * spread[:, None, :]
    # Estimates that do not vary at all go together.
    return np.asarray(np.where(scale > 0, covariance / np.where(scale > 0, scale, 1), 1.0))


def _mean_interval(estimate: Array, scaled: Array, deviations: Array) -> Array:
    """(2, M): ends of the mean over the directions that have a value."""
    known = ~np.isnan(estimate)
    related = correlations(deviations)
    weight = known / np.maximum(known.sum(axis=-1, keepdims=True), 1)
    center = nanmean(estimate, -1)
    arms = [
        np.sqrt(np.maximum(np.einsum("mi,mij,mj->m", arm, related, arm), 0.0))
        for arm in (
            np.where(known, np.abs(scaled[0] - estimate), 0.0) * weight,
            np.where(known, np.abs(scaled[1] - estimate), 0.0) * weight,
        )
    ]
    ends = np.stack([center - arms[0], center + arms[1]])
    return np.asarray(np.clip(ends, -1, 1))  # rounding may pass the ends


def _pseudo_concept(sums: Array) -> Array:
    """(T, M, D, 3): a concept at chance level."""
    total = sums.sum(axis=0)
    sizes = sums[..., 2]
    count = np.where(total[..., 2] == 0, np.nan, total[..., 2])
    size = PSEUDO_CONCEPT * np.nan_to_num((sizes**2).sum(axis=0) / count)
    chance = np.nan_to_num(total[..., 1] / count)
    return np.stack([chance * size, chance * size, size], axis=-1)


def _degrees_of_freedom(sizes: Array) -> Array:
    """(M, D): Kish's effective number of concepts, less one."""
    squares = (sizes**2).sum(axis=0)
    effective = sizes.sum(axis=0) ** 2 / np.where(squares == 0, np.nan, squares)
    return np.asarray(np.maximum(effective - 1, 1.0))


def _deviations(left_out: Array, member: NDArray[np.bool_]) -> Array:
    """Jackknife deviations, scaled so that their squares add up to the variance.

    Args:
        left_out: (clusters, …), the estimates without each cluster.
        member: (clusters, …), whether the cluster has a part in the estimate.
    """
    known = np.where(member, left_out, np.nan)
    count = np.maximum(member.sum(axis=0), 1)
    deviations: Array = np.nan_to_num(known - nanmean(known, 0)) * np.sqrt((count - 1) / count)
    return deviations


def _rescaled(accuracy: Array, chance: Array, side: int, symmetric: NDArray[np.bool_]) -> Array:
    """Scaled accuracy on the scale above (1) or below (-1) chance level, whatever the accuracy is."""
    gap = accuracy - chance
    above = symmetric if side < 0 else np.ones_like(symmetric)
    room = np.where(above, 1 - chance, chance)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(gap == 0, 0.0, gap / room))


def _variance(deviations: Array) -> Array:
    return np.asarray((deviations**2).sum(axis=0))


def _wilson(
    estimate: Array, center: Array, variance: Array, freedom: Array, level: float, bottom: float
) -> Array:
    """Wilson's interval (2, …) of a quantity between ``bottom`` and 1, given its variance.

    The effective sample size is the one at which a proportion would have that variance.

    Args:
        estimate: the value.
        center: the value with the pseudo-concept, at which the variance was taken.
        variance: of the value.
        freedom: degrees of freedom of the variance.
        level: of confidence.
        bottom: the lowest possible value.
    """
    from scipy.special import stdtrit

    span = 1 - bottom
    inside = np.clip((center - bottom) / span, 1e-6, 1 - 1e-6)
    variance = np.maximum(variance, 1e-18) / span**2
    quantile = stdtrit(freedom, (1 + level) / 2)
    z2n = quantile**2 * variance / (inside * (1 - inside))  # z² / n
    share = np.clip((estimate - bottom) / span, 0, 1)
    middle = (share + z2n / 2) / (1 + z2n)
    half = np.sqrt(z2n * (share * (1 - share) + z2n / 4)) / (1 + z2n)
    ends = np.stack([np.maximum(middle - half, 0), np.minimum(middle + half, 1)])
    return np.asarray(bottom + span * ends)
