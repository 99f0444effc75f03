"""Coefficients of agreement, and what accuracy is worth when labels are wrong: pure functions on arrays."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.errors import MissingExtra
from croc.verdict.statistics import Array

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")

Counts = NDArray[np.int64]


def krippendorff_alpha(counts: Counts, level: Level) -> float:
    """Krippendorff's alpha by the library of that name: 1 is perfect, 0 chance.

    Args:
        counts: (items, values) how many annotators gave each value, the values in order.
        level: one of ``LEVELS``; interval takes the values for 1, 2, 3, …

    Returns:
        NaN where no item has two votes, or all votes are one value.

    Raises:
        MissingExtra: the library is not installed. It is under GPL-3.0-or-later, so that it comes with the
            extra ``hum`` alone and is loaded here alone.
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


def coincidences(counts: Counts) -> Array:
    """What each item adds to the matrix of coincidences, which is all that alpha is made of.

    Args:
        counts: (items, values) how many annotators gave each value.

    Returns:
        (items, values, values): ordered pairs of votes on the item, over its votes less one; 0 with one vote.
    """
    n = counts.astype(float)
    total = n.sum(axis=1)
    pairs = n[:, :, None] * n[:, None, :]
    values = np.arange(n.shape[1])
    pairs[:, values, values] -= n
    each: Array = pairs / np.maximum(total - 1, 1)[:, None, None]
    return each


def alpha_of(matrices: Array, level: Level) -> Array:
    """Alpha of summed coincidences, so that a resample re-weighs sums and counts nothing again.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": with o_ck the coincidences, n_c their
    row sums and n the sum of all, alpha = 1 − (n − 1) Σ o_ck d_ck / Σ n_c n_k d_ck, where d_ck is 1 unless
    c = k (nominal), (Σ_{g=c…k} n_g − (n_c + n_k)/2)² (ordinal) or (c − k)² (interval).

    Args:
        matrices: (k, values, values), see :func:`coincidences`.
        level: one of ``LEVELS``.

    Returns:
        (k,); NaN where all votes are one value.
    """
    sums = matrices.sum(axis=2)
    total = sums.sum(axis=1)
    places = np.arange(matrices.shape[1], dtype=float)
    if level == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(len(places)), matrices.shape)
    elif level == "interval":
        distance = np.broadcast_to((places[:, None] - places[None, :]) ** 2, matrices.shape)
    else:
        middle = np.cumsum(sums, axis=1) - sums / 2
        distance = (middle[:, :, None] - middle[:, None, :]) ** 2
    observed = (matrices * distance).sum(axis=(1, 2))
    expected = (sums[:, :, None] * sums[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan)


def cohen_kappa(first: Array, second: Array, *, weights: str | None = None) -> float:
    """Cohen's kappa of two annotators by scikit-learn; NaN where one answer is all that both gave.

    Args:
        first: (n,) answers as numbers.
        second: (n,) answers of the other.
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
        warnings.simplefilter("ignore")  # it warns where it gives NaN, which is what is asked for
        return float(cohen_kappa_score(first, second, weights=weights))


def flip_rate(wrong: Any, shows_other: Any) -> Any:
    """How often a comparison has its answer turned round, when some images do not show their prompt.

    An image that shows the other prompt turns the right answer into the wrong one; one that shows neither
    leaves nothing to be right about, which is a coin: half a turn. So η = e (1 + f) / 2.

    Args:
        wrong: e, share of images that do not show their prompt.
        shows_other: f, share of those that show the contrast prompt, 0…1.
    """
    return np.asarray(wrong, float) * (1 + np.asarray(shows_other, float)) / 2


def true_accuracy(observed: Any, flip: Any) -> Any:
    """The accuracy that a metric would have with right labels, from the one it has with wrong ones.

    A label that is turned round with probability η, whatever the metric says, gives the accuracy
    a' = a (1 − η) + (1 − a) η; so a = (a' − η) / (1 − 2η). Angluin and Laird (1988), "Learning From Noisy
    Examples", Machine Learning 2, equation for random classification noise; Rogan and Gladen (1978),
    American Journal of Epidemiology 107, in terms of sensitivity and specificity.

    Args:
        observed: a', 0…1.
        flip: η, see :func:`flip_rate`.

    Returns:
        Cut to 0…1; NaN where η is a half or more, for then the labels say nothing.
    """
    observed, flip = np.asarray(observed, float), np.asarray(flip, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = np.clip((observed - flip) / (1 - 2 * flip), 0.0, 1.0)
    return np.where(flip < 0.5, turned, np.nan)
