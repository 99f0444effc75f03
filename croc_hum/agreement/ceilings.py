"""Noise ceilings, the error of majority labels, and annotators who are not independent.

The noise ceiling is what the best possible metric reaches, measured as its mean agreement with the answers
of single annotators. Nili et al. (2014), "A Toolbox for Representational Similarity Analysis", PLOS
Computational Biology 10, bound it: the lower bound compares each annotator with the others, the upper bound
with all annotators, including itself. ``unsure`` is no answer that a metric could give, so these votes do not
count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from croc.ratings.agreement import Counts
from croc.ratings.coefficients import CORRELATIONS, correlation, weighted_correlation
from croc.ratings.raters import DependentRaters, find_dependent_raters
from croc.verdict import statistics
from croc.verdict.statistics import Array
from croc_hum.agreement.coefficients import (
    error_rate_of_agreement,
    majority_error_rate,
    true_accuracy,
)
from croc_hum.agreement.vote_matrix import Estimate, Settings, VoteMatrix

MIN_SHARED_ITEMS = 10
"""Minimum number of items that an annotator must share with others for a correlation."""


@dataclass(frozen=True)
class Ceiling:
    """Lower and upper bound of the noise ceiling of one task in one category (None for all).

    Attributes:
        measure: ``accuracy``, the share of votes that are equal to the majority (in a tie of k answers each
            counts 1/k), or a correlation of one annotator's ratings with mean ratings.
        annotators: number of annotators in the mean, which is weighted by their votes.
        votes: number of votes on items with at least two.
        lower: each annotator compared with the others.
        upper: each annotator compared with all, including itself. No metric can have a higher mean accuracy
            on these votes, nor a higher mean Pearson correlation when all annotators rated all items. For
            Spearman this holds up to ties; for Kendall's tau-b, which ties raise, it is approximate.
        unsure: number of votes that are left out because they are ``unsure``.
    """

    task: str
    category: str | None
    measure: str
    annotators: int
    votes: int
    lower: Estimate
    upper: Estimate
    unsure: int = 0


@dataclass(frozen=True)
class LabelError:
    """The estimated error of majority labels of one task with two answers, in one category (None for all).

    Annotators are assumed to err independently of each other, and equally often on all images. Where some
    images are hard for all of them, majority labels are wrong more often than this.

    Attributes:
        items: number of items with at least two votes, without ``unsure``.
        annotator: error rate of one annotator, from the share of equal answers.
        majority: share of the items whose majority is wrong; a tie counts one half.
        perfect: expected accuracy of a perfect metric on majority labels.
        like_annotator: expected accuracy, on majority labels, of a metric that errs as often as an annotator.
    """

    task: str
    category: str | None
    items: int
    annotator: Estimate
    majority: Estimate
    perfect: float | None = None
    like_annotator: float | None = None

    def correct(self, accuracy: float) -> float | None:
        """The accuracy of a metric with correct labels, from its accuracy on majority labels.

        None where the error rate is unknown. See :func:`croc_hum.agreement.coefficients.true_accuracy`.
        """
        return None if self.majority.value is None else float(true_accuracy(accuracy, self.majority.value))


@dataclass(frozen=True)
class DependentAnnotators:
    """Annotators of one task who agree with each other much more than with the others."""

    task: str
    raters: DependentRaters

    def describe(self) -> str:
        """The finding as a sentence."""
        return f"Task {self.task}: {self.raters.describe()}"


def measure_ceilings(matrix: VoteMatrix, category: str | None, settings: Settings) -> list[Ceiling]:
    """The noise ceilings of one task; none where no item has two votes that are not ``unsure``."""
    unsure = len(matrix.answer)
    matrix = matrix.without_unsure()
    unsure -= len(matrix.answer)
    agreement = matrix.agreement_with_majority()
    known = ~np.isnan(agreement)
    if not known.any():
        return []
    items = matrix.item[known]
    counts = matrix.counts[items]
    upper = counts.max(axis=1) / counts.sum(axis=1)
    concept = matrix.concept[items]
    sums = statistics.cluster_sums(
        np.stack([agreement[known], upper, np.ones(len(items))], axis=1),
        concept,
        int(matrix.concept.max()) + 1,
    )
    total = _resample(sums, settings)
    low, high = (
        Estimate.of(
            float(values.mean()), None if total is None else _ratio(total[:, at], total[:, 2]), settings.level
        )
        for at, values in enumerate((agreement[known], upper))
    )
    annotators = len(np.unique(matrix.annotator[known]))
    ceilings = [Ceiling(matrix.task, category, "accuracy", annotators, int(known.sum()), low, high, unsure)]
    if matrix.task == "rating":
        ceilings += _correlation_ceilings(matrix, category, settings)
    return ceilings


def _correlation_ceilings(matrix: VoteMatrix, category: str | None, settings: Settings) -> list[Ceiling]:
    ratings = matrix.matrix()
    shared = ~np.isnan(ratings) & (matrix.counts.sum(axis=1) > 1)
    use = [a for a in range(len(ratings)) if shared[a].sum() >= MIN_SHARED_ITEMS]
    if not use:
        return []
    weights = np.array([shared[a].sum() for a in use], float)
    resampled = None
    if settings.resamples:
        clusters = int(matrix.concept.max()) + 1
        rng = np.random.default_rng(settings.seed)
        resampled = statistics.resample_counts(clusters, settings.resamples, rng)
    ceilings = []
    for kind in CORRELATIONS:
        # Means of standardised ratings have the highest mean Pearson correlation, means of ranks the highest
        # Spearman correlation. Ties raise tau-b, and means of the ratings as they are have the most ties.
        standard = ratings if kind == "kendall" else _standardize(ratings, ranks=kind == "spearman")
        n = (~np.isnan(standard)).sum(axis=0)
        total = np.nansum(standard, axis=0)
        bounds = []
        for include in (False, True):
            points, samples = [], []
            for a in use:
                items = np.flatnonzero(shared[a])
                own = ratings[a, items]
                if include:
                    mean = total[items] / n[items]
                else:
                    mean = (total[items] - standard[a, items]) / (n[items] - 1)
                # Equal means must not differ by rounding errors, which would break ties.
                mean = mean.round(10)
                points.append(correlation(own, mean, kind))
                if resampled is not None:
                    drawn = resampled[:, matrix.concept[items]]
                    samples.append(weighted_correlation(own, mean, drawn, kind))
            value = _mean(np.array([points]), weights)[0]
            means = _mean(np.stack(samples, axis=1), weights) if samples else None
            bounds.append(Estimate.of(float(value), means, settings.level))
        ceilings.append(
            Ceiling(matrix.task, category, kind, len(use), int(weights.sum()), bounds[0], bounds[1])
        )
    return ceilings


def measure_label_error(matrix: VoteMatrix, category: str | None, settings: Settings) -> list[LabelError]:
    """The error of majority labels of a task with two answers; none where no item has two votes."""
    if matrix.task == "rating":
        return []
    matrix = matrix.without_unsure()
    n = matrix.counts.sum(axis=1)
    several = n > 1
    if not several.any():
        return []
    counts, n = matrix.counts[several], n[several]
    equal = (counts * (counts - 1)).sum(axis=1)
    sizes = np.unique(n)
    # Each cluster adds equal pairs, all pairs, and its number of items with each number of votes.
    terms = np.column_stack([equal, n * (n - 1), *(n == size for size in sizes)]).astype(float)
    sums = statistics.cluster_sums(terms, matrix.concept[several], int(matrix.concept.max()) + 1)
    annotator, majority = _error_rates(sums.sum(axis=0, keepdims=True), sizes)
    total = _resample(sums, settings)
    samples = (None, None) if total is None else _error_rates(total, sizes)
    error, wrong = float(annotator[0]), float(majority[0])
    known = np.isfinite(error)
    return [
        LabelError(
            matrix.task,
            category,
            len(n),
            Estimate.of(error, samples[0], settings.level),
            Estimate.of(wrong, samples[1], settings.level),
            1 - wrong if known else None,
            (1 - error) * (1 - wrong) + error * wrong if known else None,
        )
    ]


def _error_rates(sums: Array, sizes: Counts) -> tuple[Array, Array]:
    """Error rates of one annotator and of the majority, (k,) each, from k sums."""
    annotator = error_rate_of_agreement(_ratio(sums[:, 0], sums[:, 1]))
    by_size = np.stack([majority_error_rate(annotator, int(size)) for size in sizes], axis=1)
    return annotator, _ratio((by_size * sums[:, 2:]).sum(axis=1), sums[:, 2:].sum(axis=1))


def find_dependent_annotators(matrix: VoteMatrix) -> list[DependentAnnotators]:
    """Annotators who agree with each other much more than with the others."""
    found = find_dependent_raters(matrix.without_unsure().matrix(), matrix.names)
    return [DependentAnnotators(matrix.task, raters) for raters in found]


def _resample(sums: Array, settings: Settings) -> Array | None:
    if not settings.resamples:
        return None
    return statistics.bootstrap_sums(sums, settings.resamples, settings.seed)


def _standardize(ratings: Array, *, ranks: bool) -> Array:
    """Ratings or midranks with mean 0 and variance 1 for each annotator; NaN where they are constant."""
    from scipy import stats

    result = np.full(ratings.shape, np.nan)
    for a, row in enumerate(ratings):
        known = ~np.isnan(row)
        values = stats.rankdata(row[known]) if ranks else row[known]
        if len(values) and values.std() > 0:
            result[a, known] = (values - values.mean()) / values.std()
    return result


def _ratio(numerator: Array, denominator: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = numerator / denominator
    return result


def _mean(values: Array, weights: Array) -> Array:
    """Weighted mean over the last axis without NaN; NaN where all values are."""
    known = ~np.isnan(values)
    return _ratio((np.nan_to_num(values) * weights).sum(axis=-1), (known * weights).sum(axis=-1))
