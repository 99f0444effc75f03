"""Intervals, paired tests and significance ranks: pure functions on arrays.

The unit that is resampled is always the cluster (a concept, a prompt), never an image: what belongs to one
concept is not independent. Sums per cluster are stored once; a resample weights them again and never goes
back to the scores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.errors import InputError
from croc.storage.limits import DRAWN, PERMUTATIONS, RESAMPLES

Array = NDArray[np.float64]
Seed = int | Sequence[int]
Correction = Literal["holm", "bh", "by"]
"""How p values are adjusted for the number of tests, see :func:`adjust`."""

# A block of resampled weights is held at a time: about this many numbers.
_BLOCK = 4_000_000

# Values that agree to so many digits are equal: sums of floats differ in the last ones.
_DIGITS = 12


def cluster_sums(values: Array, cluster: NDArray[np.int64], clusters: int) -> Array:
    """Sum the rows of each cluster.

    Args:
        values: (n, m); NaN counts as 0.
        cluster: (n,) cluster number of each row, 0…clusters−1.
        clusters: number of clusters.

    Returns:
        (clusters, m).
    """
    clean = np.nan_to_num(values)
    return np.stack([np.bincount(cluster, column, clusters) for column in clean.T], axis=1)


def _blocks(resamples: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK // max(width, 1))
    for begin in range(0, resamples, step):
        yield begin, min(begin + step, resamples)


def check_numbers(resamples: int, permutations: int) -> None:
    """Refuse numbers of resamples and permutations whose memory and time have no bound.

    Raises:
        InputError: one is too large; the message names it.
    """
    for what, number, most in (
        ("resamples", resamples, RESAMPLES),
        ("permutations", permutations, PERMUTATIONS),
    ):
        if not 0 <= number <= most:
            raise InputError(f"{number:,} {what}; expected 0 to {most:,}")


def check_drawn(draws: int, units: int) -> None:
    """Refuse more random numbers than fit into memory.

    Args:
        draws: number of resamples or permutations.
        units: numbers in each.

    Raises:
        InputError: there are too many.
    """
    if draws * units > DRAWN:
        raise InputError(
            f"{draws:,} resamples or permutations of {units:,} units are more than {DRAWN:,} numbers; take "
            "fewer"
        )


def resample_counts(clusters: int, resamples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """How often each cluster is drawn in each resample with replacement: (resamples, clusters).

    Raises:
        InputError: these are too many numbers to hold at once.
    """
    check_drawn(resamples, clusters)
    drawn = rng.integers(0, clusters, (resamples, clusters))
    drawn += np.arange(resamples)[:, None] * clusters
    counts = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return counts.reshape(resamples, clusters).astype(np.float32)


def bootstrap_sums(sums: Array, resamples: int, seed: Seed) -> Array:
    """Cluster bootstrap of totals.

    Args:
        sums: (clusters, m), see :func:`cluster_sums`.
        resamples: number of resamples.
        seed: of the generator.

    Returns:
        (resamples, m): the m totals in each resample.
    """
    rng = np.random.default_rng(seed)
    out = np.empty((resamples, sums.shape[1]))
    single = np.ascontiguousarray(sums, np.float32)
    for begin, end in _blocks(resamples, len(sums)):
        out[begin:end] = resample_counts(len(sums), end - begin, rng) @ single
    return out


def sign_flip_sums(sums: Array, flips: int, seed: Seed) -> Array:
    """Totals of the clusters with random signs, the same signs for all columns.

    Args:
        sums: (clusters, m).
        flips: number of sign vectors.
        seed: of the generator.

    Returns:
        (flips, m).
    """
    rng = np.random.default_rng(seed)
    out = np.empty((flips, sums.shape[1]))
    single = np.ascontiguousarray(sums, np.float32)
    total = single.sum(axis=0)
    for begin, end in _blocks(flips, len(sums)):
        bits = rng.integers(0, 256, (end - begin, -(-len(sums) // 8)), dtype=np.uint8)
        positive = np.unpackbits(bits, axis=1, count=len(sums)).astype(np.float32)
        out[begin:end] = 2 * (positive @ single) - total
    return out


def permutation_p(observed: Array, null: Array, side: Literal["both", "above", "below"] = "both") -> Array:
    """P value p = (b+1)/(k+1): b of k permuted statistics are at least as extreme as the observed one.

    Args:
        observed: (m,).
        null: (k, m).
        side: ``above`` tests whether the observed value is high, ``below`` whether it is low.

    Returns:
        (m,) in (0, 1]; Phipson and Smyth (2010) say why not b/k.
    """
    # Sums are made in single precision: statistics that are equal must count as equal.
    largest = np.abs(null).max(axis=0, initial=0)
    slack = 1e-5 * np.abs(observed) + 1e-6 * np.nan_to_num(largest) + 1e-17
    with np.errstate(invalid="ignore"):
        if side == "both":
            extreme = np.abs(null) >= np.abs(observed) - slack
        elif side == "above":
            extreme = null >= observed - slack
        else:
            extreme = null <= observed + slack
    p: Array = (extreme.sum(axis=0) + 1) / (len(null) + 1)
    return np.where(np.isnan(observed), np.nan, p)


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's (1979) step-down adjustment over a family of tests; NaN is left out.

    Returns:
        (m,) adjusted p values, at most 1.
    """
    values = np.asarray(p, float)
    out = np.full(len(values), np.nan)
    valid = np.flatnonzero(~np.isnan(values))
    order = valid[np.argsort(values[valid], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def adjust(p: Sequence[float] | Array, correction: Correction = "holm") -> Array:
    """P values of a family of tests, adjusted for their number; NaN is left out.

    Args:
        p: (m,).
        correction: ``holm`` controls the probability of any false discovery. ``bh`` (Benjamini and Hochberg,
            1995) and ``by`` (Benjamini and Yekutieli, 2001) control the false discovery rate, the expected
            share of false ones among the discoveries: ``bh`` for tests that are independent or positively
            dependent, ``by`` for all.

    Returns:
        (m,) adjusted p values, at most 1.
    """
    if correction == "holm":
        return holm(p)
    from scipy.stats import false_discovery_control

    values = np.asarray(p, float)
    out = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    if known.any():
        out[known] = false_discovery_control(values[known], method=correction)
    return out


def percentile_interval(samples: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile interval of each column, NaN resamples left out.

    Args:
        samples: (k, …).
        level: share of the resamples inside.

    Returns:
        Lower and upper ends, of the samples' trailing shape; NaN where all resamples are.
    """
    tail = (1 - level) / 2
    if not np.isnan(samples).any():
        low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
        return low, high
    flat = samples.reshape(len(samples), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    for column, values in enumerate(flat.T):
        known = values[~np.isnan(values)]
        if len(known):
            ends[:, column] = np.quantile(known, [tail, 1 - tail])
    return ends[0].reshape(samples.shape[1:]), ends[1].reshape(samples.shape[1:])


def wilson_interval(share: Any, n: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Wilson's (1927) interval of a share among n; it stays honest where all or none passed.

    Args:
        share: observed share, 0…1.
        n: number of independent units.
        level: of confidence.
    """
    from scipy.stats import norm

    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    share, n = np.asarray(share, float), np.asarray(n, float)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


ALPHA = 0.05
"""Level of the tests."""


def minimum_detectable_difference(
    standard_error: Any,
    *,
    concepts: int,
    freedom: float | None = None,
    tests: float = 1,
    flips: int | None = None,
    alpha: float = ALPHA,
    power: float = 0.8,
) -> Any:
    """The smallest true difference that the exchange test at ``alpha`` detects with probability ``power``.

    Args:
        standard_error: of the difference.
        concepts: number of concepts whose results are exchanged.
        freedom: degrees of freedom of the standard error; by default one less than the concepts.
        tests: number of tests whose p values are adjusted together: the first of them is done at
            ``alpha / tests``; see :func:`first_step`.
        flips: number of permutations; None for all.
        alpha: level of significance.
        power: probability of detection.

    Returns:
        In the unit of ``standard_error``; infinite where no difference can be significant.
    """
    size = detectable_size(
        concepts, concepts - 1.0 if freedom is None else freedom, tests, flips, alpha, power
    )
    errors = np.asarray(standard_error, dtype=np.float64)
    return np.full_like(errors, np.inf) if math.isinf(size) else size * errors


def fewest_permutations(tests: float, alpha: float = ALPHA) -> int:
    """The smallest number of permutations with which one of so many tests can be significant.

    Args:
        tests: see :func:`first_step`.
        alpha: level of significance.
    """
    return math.floor(tests / alpha + 1e-9)


@lru_cache(maxsize=10_000)
def detectable_size(
    concepts: int, freedom: float, tests: float, flips: int | None, alpha: float, power: float
) -> float:
    """:func:`minimum_detectable_difference` in standard errors.

    The exchange test has nearly the power of the t test. Its p values are multiples of 2^(1 − concepts), and
    of 1/(flips + 1), so that the level which it keeps is lower with few concepts or permutations. Where only
    one pattern of signs is significant, all concepts have to agree.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm, t

    level = alpha / tests
    if flips is not None:
        extreme = math.ceil(level * (flips + 1)) - 2  # so many of the permutations may be as extreme
        if extreme < 0:
            return math.inf
        drawn_level = min(level, max(extreme, 0.5) / flips)
    else:
        drawn_level = level
    patterns = 2.0 ** min(concepts - 1, 1_000)
    if 1 / patterns > level:
        return math.inf
    significant = max(1, math.floor(drawn_level * patterns))
    if concepts < 50:
        drawn_level = significant / patterns
    # Spread of an estimated standard error around the true one, at the middles of equally probable steps.
    spread = np.sqrt(chi2.ppf((np.arange(400) + 0.5) / 400, freedom) / freedom)
    critical = t.ppf(1 - drawn_level / 2, freedom) * spread

    def missing(size: float) -> float:
        detected = norm.sf(critical - size) + norm.cdf(-critical - size)
        return float(detected.mean()) - power

    needed = float(brentq(missing, 0, float(critical.max()) + 10))
    if significant == 1:
        needed = max(needed, float(norm.ppf(power ** (1 / concepts))) * math.sqrt(concepts))
    return needed


def first_step(tests: int, correction: Correction = "holm") -> float:
    """What the smallest of the p values of so many tests is multiplied by when no other one is small."""
    return tests * smallest_factor(tests, correction) if correction != "holm" else float(tests)


def smallest_factor(tests: int, correction: Correction = "holm") -> float:
    """What the p values of so many tests are multiplied by when all are equal, the least that can be."""
    if correction == "holm":
        return float(tests)
    return sum(1 / i for i in range(1, tests + 1)) if correction == "by" else 1.0


def exchange_test(values: Array, permutations: int, seed: Seed) -> Array:
    """P values of the differences between the means of columns, which are exchanged row by row.

    Args:
        values: (units, m); a row with NaN in one of two columns says nothing about the two.
        permutations: number of them.
        seed: of the generator.

    Returns:
        (m, m) symmetric, adjusted by Holm over all pairs; NaN on the diagonal.
    """
    count = values.shape[1]
    p = np.full((count, count), np.nan)
    first, second = np.triu_indices(count, 1)
    if len(first):
        gaps = np.nan_to_num(values[:, first] - values[:, second])
        tested = adjust(permutation_p(gaps.sum(axis=0), sign_flip_sums(gaps, permutations, seed)))
        p[first, second] = p[second, first] = tested
    return p


def best_first(names: Sequence[str], values: Array) -> list[int]:
    """The order of metrics: highest value first, equal values by name, NaN last."""
    rounded = np.round(values, _DIGITS)
    return sorted(
        range(len(names)),
        key=lambda m: (bool(np.isnan(rounded[m])), -np.nan_to_num(rounded[m]), names[m]),
    )


def significance_ranks(values: Array, p: Array, alpha: float = 0.05) -> list[int]:
    """The ranks of metrics: statistically tied ones share a rank, as do those of equal value.

    Going down the ranking, the first metric that some metric of the current rank beats significantly opens
    the next rank, as in the WMT metrics tasks; metrics of equal value are taken together. A rank is 1 plus
    the number of metrics with a better one ("1, 1, 3").

    Args:
        values: (m,), highest first, as :func:`best_first` orders them.
        p: (m, m) adjusted p values of the pairwise tests, in the same order.
        alpha: level of significance.

    Returns:
        Rank of each metric, from 1.
    """
    ranks: list[int] = []
    tied: list[int] = []
    for _, block in itertools.groupby(range(len(values)), key=np.round(values, _DIGITS).__getitem__):
        equal = list(block)
        if any(p[other, metric] < alpha for other in tied for metric in equal):
            tied = []
        tied += equal
        ranks += [tied[0] + 1] * len(equal)
    return ranks


def bootstrap_p(differences: Array) -> float:
    """Two-sided p value that a difference is 0, from its bootstrap: twice the smaller tail, (b+1)/(k+1)."""
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(known) + 1)))


def rank_agreement(first: Array, second: Array) -> Array:
    """Kendall's tau-b between two rankings of m metrics, in each of k resamples.

    Args:
        first: (k, m) scores of the metrics on one benchmark.
        second: (k, m) on the other.

    Returns:
        (k,).
    """
    upper = np.triu_indices(first.shape[1], 1)
    a = np.sign(first[:, upper[0]] - first[:, upper[1]])
    b = np.sign(second[:, upper[0]] - second[:, upper[1]])
    scale = np.sqrt(np.abs(a).sum(axis=1) * np.abs(b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum(axis=1) / scale, np.nan)
