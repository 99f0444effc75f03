"""Paired permutation tests of two correlations: PERM-BOTH and PERM-INPUTS.

Deutsch, Dror and Roth (2021, "A Statistical Analysis of Summarization Evaluation Metrics using Resampling
Methods"): if two metrics are equally good, their scores can be exchanged. PERM-BOTH exchanges the scores of
single images, PERM-INPUTS those of all images of a prompt at once. Scores are standardised first.

The mixture of two metrics takes each score from one of them. For coefficients of pairs its value is a
quadratic form in the 0/1 vector that says from which, so that all permutations are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.ratings.coefficients import Correlation
from croc.ratings.groups import Average, Grouped, Rows, correlate_rows, mean_coefficient, mean_of_mixtures
from croc.ratings.ties import agreement
from croc.verdict.statistics import Array, check_drawn

Test = Literal["perm-both", "perm-inputs"]

_Kernel = Callable[[Array, Array, Array, Any], Array]

# A block of mixtures, or of the matrix of pairs, is held at a time: about this many numbers.
_BLOCK = 4_000_000


def draw_swaps(units: int, permutations: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which units keep their scores in each permutation: (permutations, units)."""
    check_drawn(permutations, units)
    bits = rng.integers(0, 256, (permutations, -(-units // 8)), dtype=np.uint8)
    return np.unpackbits(bits, axis=1, count=units).astype(bool)


def exchange(
    first: Grouped, second: Grouped, keep: NDArray[np.bool_], unit: Rows, average: Average
) -> tuple[Array, Array]:
    """The average coefficients of both metrics after exchanging their scores.

    A tie between two scores of one metric is decided by its own threshold, between scores of both metrics by
    the mean of the two thresholds, all relative to the standard deviation of the scores.

    Args:
        first: one metric.
        second: the other, on the same items and groups.
        keep: (k, units) from :func:`draw_swaps`; where False, the two scores are exchanged.
        unit: (n,) number of the unit of each item.
        average: over the groups.

    Returns:
        (k,) of the first metric, (k,) of the second.
    """
    if not first.stacks:
        none = np.full(len(keep), np.nan)
        return none, none
    if all((unit[rows] == unit[rows[:, :1]]).all() for rows in first.stacks):
        # Groups are exchanged as a whole, and keep their coefficients.
        kept = keep[:, np.concatenate([unit[rows[:, 0]] for rows in first.stacks])]
        return mean_of_mixtures((first.coefficients, second.coefficients), kept, average, first.kind)
    a, tie_a = _standardised(first)
    b, tie_b = _standardised(second)
    mixed = [
        _mix_stack((a[rows], b[rows]), first.rating[rows], keep, unit[rows], first.kind, (tie_a, tie_b))
        for rows in first.stacks
    ]
    one, other = (
        mean_coefficient(np.concatenate(side, 1), average, first.kind) for side in zip(*mixed, strict=True)
    )
    return one, other


def exchange_p(observed: float, null: Array) -> float:
    """Two-sided p value (b+1)/(k+1): b of k exchanged differences are at least as far from 0."""
    known = null[~np.isnan(null)]
    extreme = np.abs(known) >= np.abs(observed) - 1e-9
    return float((extreme.sum() + 1) / (len(known) + 1))


def _standardised(metric: Grouped) -> tuple[Array, float]:
    """Scores with mean 0 and standard deviation 1, and the threshold on their scale."""
    scale = float(metric.scores.std()) or 1.0
    return (metric.scores - metric.scores.mean()) / scale, metric.threshold / scale


def _mix_stack(
    scores: tuple[Array, Array], rating: Array, keep: Any, unit: Rows, kind: str, ties: tuple[float, float]
) -> tuple[Array, Array]:
    """Coefficients of the two mixtures in the groups of one stack (G, s): (k, G) each."""
    groups, size = unit.shape
    one, other = np.empty((len(keep), groups)), np.empty((len(keep), groups))
    per_step = max(1, _BLOCK // (len(keep) * size)) if size * len(keep) < _BLOCK else 1
    for begin in range(0, groups, per_step):
        part = slice(begin, begin + per_step)
        a, b, y = scores[0][part], scores[1][part], rating[part]
        step = max(1, _BLOCK // (size * len(a)))
        for at in range(0, len(keep), step):
            block = slice(at, at + step)
            kept = keep[block][:, unit[part]]
            mix = _mix_pairs if kind in ("kendall", "acc_eq") else _mix_vectors
            one[block, part], other[block, part] = mix(a, b, y, kept, kind, ties)
    return one, other


def _mix_vectors(a: Array, b: Array, y: Array, keep: Any, kind: Any, ties: Any) -> tuple[Array, Array]:
    """Pearson's or Spearman's coefficient of the mixtures themselves."""
    of: Correlation = kind
    first, second = (correlate_rows(np.where(side, a, b), y, of) for side in (keep, ~keep))
    return first, second


def _mix_pairs(
    a: Array, b: Array, y: Array, keep: Any, kind: str, ties: tuple[float, float]
) -> tuple[Array, Array]:
    """Tau-b or accuracy with ties of the mixtures, from quadratic forms."""
    size = a.shape[1]
    if kind == "acc_eq":
        first, second = _forms(a, b, y, keep, _agrees, ties)
        pairs = size * (size - 1)
        return first / pairs, second / pairs
    concordant = _forms(a, b, y, keep, _concordant, ties)
    untied = _forms(a, b, y, keep, _untied, ties)
    of_rating = np.abs(np.sign(y[:, :, None] - y[:, None, :])).sum(axis=(1, 2)) if size <= 2_000 else None
    if of_rating is None:
        of_rating = np.array([size**2 - (np.unique(v, return_counts=True)[1] ** 2).sum() for v in y], float)
    taus = []
    for c, u in zip(concordant, untied, strict=True):
        scale = np.sqrt(np.maximum(u, 0) * of_rating)
        with np.errstate(invalid="ignore", divide="ignore"):
            taus.append(np.where(scale > 0, c / scale, np.nan))
    return taus[0], taus[1]


def _concordant(difference: Array, order: Array, off: Array, tie: Any) -> Array:
    return np.sign(difference) * order


def _untied(difference: Array, order: Array, off: Array, tie: Any) -> Array:
    return np.abs(np.sign(difference)) * off


def _agrees(difference: Array, order: Array, off: Array, tie: Any) -> Array:
    return agreement(difference, order, tie) * off


def _forms(
    a: Array, b: Array, y: Array, keep: Any, kernel: _Kernel, ties: tuple[float, float]
) -> tuple[Array, Array]:
    """Sums over ordered pairs of a symmetric kernel, for the mixture and for its complement: (k, G) each.

    With w 0 or 1, w_i w_j K(a_i, a_j) + w_i (1−w_j) K(a_i, b_j) + … is w'Tw + 2 l'w + c, where
    T = K_aa − K_ab − K_ba + K_bb, l the row sums of K_ab − K_bb, and c the sum of K_bb.
    """
    groups, size = a.shape
    # Sums of −4…4 stay exact in single precision up to about 2,000 items.
    kind = np.float32 if size <= 2_000 else np.float64
    w = np.moveaxis(keep, 0, -1).astype(kind)  # (G, s, k)
    quadratic = np.zeros((groups, w.shape[2]))
    rows_of_t, linear, constant = np.zeros((groups, size)), np.zeros((groups, size)), np.zeros(groups)
    mean = (ties[0] + ties[1]) / 2
    step = max(1, _BLOCK // (groups * size))
    for begin in range(0, size, step):
        rows = slice(begin, min(begin + step, size))
        order = np.sign(y[:, rows, None] - y[:, None, :])
        off = np.ones((rows.stop - begin, size))
        off[np.arange(rows.stop - begin), np.arange(begin, rows.stop)] = 0
        aa, ab, ba, bb = (
            kernel(first[:, rows, None] - second[:, None, :], order, off, tie)
            for first, second, tie in ((a, a, ties[0]), (a, b, mean), (b, a, mean), (b, b, ties[1]))
        )
        t = aa - ab - ba + bb
        quadratic += np.einsum("grk,grk->gk", w[:, rows].astype(float), (t.astype(kind) @ w).astype(float))
        rows_of_t[:, rows] = t.sum(axis=2)
        linear[:, rows] = (ab - bb).sum(axis=2)
        constant += bb.sum(axis=(1, 2))
    wide = w.astype(float)
    lin = np.einsum("gs,gsk->gk", linear, wide)
    total_t, total_l = rows_of_t.sum(axis=1)[:, None], linear.sum(axis=1)[:, None]
    one = quadratic + 2 * lin + constant[:, None]
    across = np.einsum("gs,gsk->gk", rows_of_t, wide)
    other = total_t - 2 * across + quadratic + 2 * (total_l - lin) + constant[:, None]
    return one.T, other.T
