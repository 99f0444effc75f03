"""Kendall's tau-b of two rankings with an interval over items and metrics: pure functions on arrays.

A ranking of m metrics is uncertain for two reasons: its scores come from a sample of items (prompts or
concepts), and the metrics are a sample of all that could have been ranked. The interval resamples both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from croc.ratings.groups import correlate_rows
from croc.verdict.statistics import Array, rank_agreement

FEWEST_METRICS = 6
"""Below this nothing is concluded: with five metrics only the same order and the reverse are significant."""


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two rankings.

    Attributes:
        tau: of the scores as they are; NaN where all scores of a ranking are equal.
        low: lower end of the interval; NaN with fewer than ``FEWEST_METRICS`` metrics.
        high: upper end.
        error: standard error, metrics and items resampled; NaN as for ``low``.
        item_error: standard error with the metrics as they are, items resampled.
        p: two-sided p value that the rankings are independent; NaN as for ``low``.
        without: (m,) tau without each metric; NaN as for ``low``.
    """

    tau: float
    low: float
    high: float
    error: float
    item_error: float
    p: float
    without: Array


def agreement(
    values: tuple[Array, Array], samples: tuple[Array, Array], level: float, seed: int
) -> Agreement:
    """Compare two rankings of the same metrics.

    The interval is Wilson's (1927) of the share p = (1 + tau)/2 of pairs in the same order. The number of
    independent pairs is that at which a share has the variance of the resamples, and at most that of
    independent rankings, 9m(m − 1)/(4m + 10): where all resamples agree, their variance is 0. The quantile is
    that of t with m − 1 degrees of freedom. Noise of the items draws tau towards 0; the interval also holds
    what Wilson's formula gives for the tau from which the mean effect of resampling the items is taken away.

    Args:
        values: (m,) scores of the metrics on both benchmarks.
        samples: (k, m) scores in each resample of the items of both. Row i of the two is one resample.
        level: of confidence.
        seed: of the resamples of metrics.
    """
    metrics = len(values[0])
    tau = float(rank_agreement(values[0][None], values[1][None])[0])
    if metrics < FEWEST_METRICS or math.isnan(tau):
        none = math.nan
        return Agreement(tau, none, none, none, none, none, np.full(metrics, none))
    from scipy import stats

    first, second = samples
    drawn = rank_agreement(first, second)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(metrics, np.full(metrics, 1 / metrics), len(first))
    with_metrics = weighted_rank_agreement(first, second, counts)
    item_error, error = (float(np.nanstd(values)) for values in (drawn, with_metrics))
    corrected = float(np.clip(2 * tau - np.nanmean(drawn), -1, 1))
    quantile = float(stats.t.ppf((1 + level) / 2, metrics - 1))
    ends = np.array([_interval(center, error, metrics, quantile) for center in (tau, corrected)])
    return Agreement(
        tau=tau,
        low=min(tau, float(ends[:, 0].min())),
        high=max(tau, float(ends[:, 1].max())),
        error=error,
        item_error=item_error,
        p=float(stats.kendalltau(*values).pvalue),
        without=leave_one_out(*values),
    )


def _interval(tau: float, error: float, metrics: int, quantile: float) -> tuple[float, float]:
    pairs = independent_pairs(metrics)
    if error > 0 and abs(tau) < 1:
        pairs = min(pairs, (1 - tau**2) / error**2)
    share, z2 = (1 + tau) / 2, quantile**2
    middle = (share + z2 / (2 * pairs)) / (1 + z2 / pairs)
    half = math.sqrt(z2 * (share * (1 - share) / pairs + z2 / (4 * pairs**2))) / (1 + z2 / pairs)
    return max(2 * (middle - half) - 1, -1.0), min(2 * (middle + half) - 1, 1.0)


def independent_pairs(metrics: int) -> float:
    """The number of independent pairs whose share in the same order has the variance of tau/2.

    Of independent rankings: the variance of tau is 2(2m + 5)/(9m(m − 1)) (Kendall 1938).
    """
    return 9 * metrics * (metrics - 1) / (2 * (2 * metrics + 5))


def weighted_rank_agreement(first: Array, second: Array, counts: NDArray[np.int64]) -> Array:
    """Kendall's tau-b in each of k resamples of metrics, as if metric i stood there ``counts[k, i]`` times.

    Args:
        first: (k, m) scores on one benchmark.
        second: (k, m) on the other.
        counts: (k, m).

    Returns:
        (k,); NaN where a resample has no two different metrics, or all are equal.
    """
    i, j = np.triu_indices(first.shape[1], 1)
    weight = counts[:, i] * counts[:, j]
    a, b = (np.sign(scores[:, i] - scores[:, j]) for scores in (first, second))
    untied = (np.abs(a) * weight).sum(axis=1) * (np.abs(b) * weight).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(untied > 0, (a * b * weight).sum(axis=1) / np.sqrt(untied), np.nan)


def leave_one_out(first: Array, second: Array) -> Array:
    """Tau-b of two rankings (m,) without each metric in turn: (m,)."""
    kept = np.array([np.delete(np.arange(len(first)), metric) for metric in range(len(first))])
    return correlate_rows(first[kept], second[kept], "kendall")


def smallest_significant(metrics: int, alpha: float = 0.05) -> float:
    """The smallest |tau| of so many metrics whose exact two-sided p value is below ``alpha``; NaN for none.

    >>> round(smallest_significant(6), 3), round(smallest_significant(20), 3)
    (0.867, 0.326)
    """
    orders = np.ones(1)  # number of orders by number of pairs that are in another order
    for size in range(2, metrics + 1):
        orders = np.convolve(orders, np.ones(size))
    at_most = np.cumsum(orders) / orders.sum()
    significant = np.flatnonzero(2 * at_most < alpha)
    pairs = metrics * (metrics - 1) / 2
    return 1 - 2 * float(significant[-1]) / pairs if len(significant) else math.nan
