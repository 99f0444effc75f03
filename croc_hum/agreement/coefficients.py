"""Coefficients of agreement, and the correction of an accuracy for label noise: pure functions on arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from croc.errors import MissingExtra
from croc.ratings.agreement import Counts, Level
from croc.verdict.statistics import Array


def krippendorff_alpha(counts: Counts, level: Level) -> float:
    """Krippendorff's alpha by the library ``krippendorff``: 1 is perfect agreement, 0 is chance level.

    Args:
        counts: (items, values) number of annotators who gave each value, with the values in order.
        level: one of ``LEVELS``; for ``interval`` the values are 1, 2, 3, …

    Returns:
        NaN when no item has two votes, or all votes have one value.

    Raises:
        MissingExtra: the library is not installed. Its licence is GPL-3.0-or-later, so it is part of the
            extra ``hum`` only and is imported here only.
    """
    try:
        import krippendorff
    except ImportError:
        raise MissingExtra("Krippendorff's alpha", "hum") from None
    pairable = counts[counts.sum(axis=1) > 1]
    if (pairable.sum(axis=0) > 0).sum() < 2:
        return float("nan")
    values = np.arange(1.0, counts.shape[1] + 1)
    return float(krippendorff.alpha(value_counts=pairable, value_domain=values, level_of_measurement=level))


def cohen_kappa(first: Array, second: Array, *, weights: str | None = None) -> float:
    """Cohen's kappa of two annotators by scikit-learn; NaN when both gave one answer only.

    Args:
        first: (n,) answers of one annotator, as numbers.
        second: (n,) answers of the other one.
        weights: None, or ``quadratic`` for ratings.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.metrics import cohen_kappa_score
    except ImportError:
        raise MissingExtra("Cohen's kappa", "hum") from None
    if len(np.union1d(first, second)) < 2:
        return float("nan")
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # a warning where the result is NaN, which is wanted here
        return float(cohen_kappa_score(first, second, weights=weights))


def error_rate_of_agreement(equal: Any) -> Any:
    """The error rate e of annotators that explains their share of equal answers to a question of two answers.

    Two annotators who err independently with probability e give equal answers with probability
    p = (1 − e)² + e², so e = (1 − √(2 p − 1)) / 2.

    Args:
        equal: p, share of pairs of votes on one item that are equal.

    Returns:
        0…1/2; NaN where p is below 1/2, which no error rate explains.
    """
    with np.errstate(invalid="ignore"):
        return (1 - np.sqrt(2 * np.asarray(equal, float) - 1)) / 2


def majority_error_rate(error: Any, votes: int) -> Any:
    """Probability that the majority of independent votes is wrong; a tie counts one half.

    Args:
        error: probability that one vote is wrong.
        votes: number of votes.
    """
    from scipy.stats import binom

    error = np.asarray(error, float)
    half = votes / 2
    return binom.sf(np.floor(half), votes, error) + (
        binom.pmf(half, votes, error) / 2 if votes % 2 == 0 else 0
    )


def flip_rate(wrong: Any, shows_other: Any) -> Any:
    """Probability η that a wrong image reverses the correct answer of a comparison.

    An image that shows the other prompt reverses the answer. For one that shows neither prompt both answers
    are equally likely to be correct, which counts as half a reversal. So η = e (1 + f) / 2.

    Args:
        wrong: e, share of images that do not show their prompt.
        shows_other: f, share of the wrong images that show the contrast prompt, 0…1.
    """
    return np.asarray(wrong, float) * (1 + np.asarray(shows_other, float)) / 2


def true_accuracy(observed: Any, flip: Any) -> Any:
    """The accuracy of a metric with correct labels, estimated from its accuracy with noisy ones.

    A label that is reversed with probability η, independently of the metric, gives the accuracy
    a' = a (1 − η) + (1 − a) η; so a = (a' − η) / (1 − 2η). Angluin and Laird (1988), "Learning From Noisy
    Examples", Machine Learning 2, equation for random classification noise; Rogan and Gladen (1978),
    American Journal of Epidemiology 107, in terms of sensitivity and specificity.

    Args:
        observed: a', 0…1.
        flip: η, see :func:`flip_rate`.

    Returns:
        Clipped to 0…1; NaN where η is at least 1/2, because such labels carry no information.
    """
    observed, flip = np.asarray(observed, float), np.asarray(flip, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        corrected = np.clip((observed - flip) / (1 - 2 * flip), 0.0, 1.0)
    return np.where(flip < 0.5, corrected, np.nan)
