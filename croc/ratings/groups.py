"""Coefficients within groups of items: the images of one prompt, or of one system, and their averages.

A pooled coefficient compares images of different prompts, so that it also measures which prompts a metric
scores high. Within groups only images of one prompt (or of one system) are compared, as in the metrics tasks
of WMT (Deutsch, Foster and Freitag 2023, "Ties Matter", section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.ratings.coefficients import Correlation, correlation, weighted_correlation
from croc.ratings.ties import agreement, weighted_accuracy
from croc.verdict.statistics import Array

Average = Literal["mean", "fisher"]
Kind = Literal["acc_eq", "kendall", "spearman", "pearson"]
Rows = NDArray[np.int64]

# Groups of at most this many items are computed all at once.
_SMALL = 64


def stack_groups(code: Rows) -> list[Rows]:
    """Row numbers of the groups with at least two rows, groups of equal size together.

    Args:
        code: (n,) number of the group of each row.

    Returns:
        Arrays (groups, size).
    """
    order = np.argsort(code, kind="stable")
    _, begin, size = np.unique(code[order], return_index=True, return_counts=True)
    return [order[begin[size == each][:, None] + np.arange(each)] for each in np.unique(size[size > 1])]


@dataclass(frozen=True)
class Grouped:
    """Scores and ratings of the items that have both, and the coefficient within each group.

    Attributes:
        scores: (n,) of the metric.
        rating: (n,).
        stacks: see :func:`stack_groups`.
        kind: the coefficient.
        threshold: largest difference of two scores that counts as a tie; used by ``acc_eq``.
        coefficients: (G,) per group, in the order of the stacks; NaN where scores or ratings are constant.
    """

    scores: Array
    rating: Array
    stacks: tuple[Rows, ...]
    kind: Kind
    threshold: float
    coefficients: Array

    @classmethod
    def of(
        cls, scores: Array, rating: Array, stacks: Sequence[Rows], kind: Kind, threshold: float = 0.0
    ) -> Grouped:
        """Compute the coefficients."""
        found = [_coefficients(scores[rows], rating[rows], kind, threshold) for rows in stacks]
        together = np.concatenate(found) if found else np.empty(0)
        return cls(scores, rating, tuple(stacks), kind, threshold, together)

    def resampled(self, counts: Any, unit: Rows, average: Average) -> Array:
        """The average coefficient in each resample.

        Args:
            counts: (k, units), how often each unit is drawn.
            unit: (n,) number of the unit of each item.
            average: see :func:`mean_coefficient`.

        Returns:
            (k,); NaN where no group has a coefficient.
        """
        if not self.stacks:
            return np.full(len(counts), np.nan)
        if all((unit[rows] == unit[rows[:, :1]]).all() for rows in self.stacks):
            # Groups are drawn as a whole, and keep their coefficients.
            drawn = np.concatenate([counts[:, unit[rows[:, 0]]] for rows in self.stacks], axis=1)
            return mean_coefficient(self.coefficients, average, self.kind, drawn)
        groups = [group for rows in self.stacks for group in rows]
        values = np.stack([self._weighted(group, counts[:, unit[group]]) for group in groups], axis=1)
        return mean_coefficient(values, average, self.kind)

    def _weighted(self, rows: Rows, counts: Any) -> Array:
        x, y = self.scores[rows], self.rating[rows]
        if self.kind == "acc_eq":
            return weighted_accuracy(x, y, counts, self.threshold)
        return weighted_correlation(x, y, counts, self.kind)


def mean_coefficient(values: Array, average: Average, kind: Kind, weights: Any = None) -> Array:
    """Average over groups, those without a coefficient left out.

    Args:
        values: (…, G) coefficients; (G,) where they are the same in all resamples.
        average: ``mean`` is the plain mean, as in the metrics tasks of WMT. ``fisher`` averages Pearson's and
            Spearman's coefficients as z = artanh(r) and transforms the mean back (Fisher 1921); other kinds
            have no z. A coefficient of ±1 has no finite z, so that its average is undefined.
        kind: the coefficient.
        weights: (k, G) how often each group counts in each of k resamples; None counts each once.

    Returns:
        (…); NaN where no group has a coefficient.
    """
    terms = _terms(values, average, kind)
    if weights is not None and values.ndim == 1:
        number, total, undefined = (weights @ each for each in terms)
    else:
        weighted = terms if weights is None else [each * weights for each in terms]
        number, total, undefined = (each.sum(axis=-1) for each in weighted)
    return _mean(number, total, undefined, average, kind)


def mean_of_mixtures(
    values: tuple[Array, Array], kept: NDArray[np.bool_], average: Average, kind: Kind
) -> tuple[Array, Array]:
    """The averages of two metrics after exchanging their coefficients in some of the groups.

    Args:
        values: (G,) coefficients of both metrics.
        kept: (k, G) whether a group keeps its coefficient.
        average: see :func:`mean_coefficient`.
        kind: the coefficient.

    Returns:
        (k,) of the first metric, (k,) of the second.
    """
    first, second = (np.stack(_terms(own, average, kind), axis=1) for own in values)
    moved = kept.astype(float) @ (first - second)
    one, other = second.sum(axis=0) + moved, first.sum(axis=0) - moved
    means = [_mean(side[:, 0], side[:, 1], side[:, 2], average, kind) for side in (one, other)]
    return means[0], means[1]


def _terms(values: Array, average: Average, kind: Kind) -> tuple[Array, Array, Array]:
    """Whether a coefficient is known, its finite value (or z), and whether it is infinite."""
    if _has_z(average, kind):
        with np.errstate(divide="ignore"):
            # Sums of rounded terms reach 1 up to the last digits only.
            values = np.where(np.abs(values) > 1 - 1e-12, np.copysign(np.inf, values), values)
            values = np.where(np.isinf(values), values, np.arctanh(np.clip(values, -1, 1)))
    known, infinite = ~np.isnan(values), np.isinf(values)
    return known.astype(float), np.where(known & ~infinite, values, 0), infinite.astype(float)


def _mean(number: Array, total: Array, undefined: Array, average: Average, kind: Kind) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        # Sums of which parts were taken away are not exactly 0.
        mean: Array = np.where((undefined > 0.5) | (number < 0.5), np.nan, total / number)
    return np.tanh(mean) if _has_z(average, kind) else mean


def _has_z(average: Average, kind: Kind) -> bool:
    return average == "fisher" and kind in ("pearson", "spearman")


def _coefficients(x: Array, y: Array, kind: Kind, threshold: float) -> Array:
    """The coefficient of each row of two arrays (G, s)."""
    if kind == "acc_eq" and x.shape[1] > _SMALL:
        return np.array([_accuracy(a, b, threshold) for a, b in zip(x, y, strict=True)])
    if kind == "acc_eq":
        first, second = np.triu_indices(x.shape[1], 1)
        order = np.sign(y[:, first] - y[:, second])
        same: Array = agreement(x[:, first] - x[:, second], order, threshold).mean(axis=1)
        return same
    if x.shape[1] > _SMALL:
        return np.array([correlation(a, b, kind) for a, b in zip(x, y, strict=True)])
    return correlate_rows(x, y, kind)


def _accuracy(x: Array, y: Array, threshold: float) -> float:
    return float(weighted_accuracy(x, y, np.ones((1, len(x))), threshold)[0])


def correlate_rows(x: Array, y: Array, kind: Correlation) -> Array:
    """A coefficient of each row of two arrays (…, s) that broadcast; NaN where a row is constant."""
    if kind == "kendall":
        first, second = np.triu_indices(x.shape[-1], 1)
        a, b = (np.sign(v[..., first] - v[..., second]) for v in (x, y))
        untied = np.abs(a).sum(axis=-1) * np.abs(b).sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(untied > 0, (a * b).sum(axis=-1) / np.sqrt(untied), np.nan)
    if kind == "spearman":
        from scipy.stats import rankdata

        x, y = rankdata(x, axis=-1), rankdata(y, axis=-1)
    constant = (x == x[..., :1]).all(axis=-1) | (y == y[..., :1]).all(axis=-1)
    dx, dy = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
    # Scaled first, so that squares of tiny numbers do not underflow.
    with np.errstate(invalid="ignore", divide="ignore"):
        dx, dy = (v / np.abs(v).max(axis=-1, keepdims=True) for v in (dx, dy))
        r = (dx * dy).sum(axis=-1) / np.sqrt((dx**2).sum(axis=-1) * (dy**2).sum(axis=-1))
    return np.where(constant, np.nan, np.clip(r, -1, 1))


def constant_groups(values: Array, stacks: Sequence[Rows]) -> list[int]:
    """A row of each group whose values are all equal."""
    found: list[int] = []
    for rows in stacks:
        same = (values[rows] == values[rows][:, :1]).all(axis=1)
        found += rows[same, 0].tolist()
    return found
