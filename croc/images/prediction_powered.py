"""Means of human labels of which only some are known, with the help of a metric's scores of all units.

Prediction-powered inference: Angelopoulos et al. 2023, "Prediction-Powered Inference", Science 382, and
Angelopoulos, Duchi and Zrnic 2023, "PPI++: Efficient Prediction-Powered Inference", arXiv 2311.01453. The
estimate is valid whatever the errors of the metric are. Its weight is estimated so that a useless metric gets
none, and any scale of scores will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from croc.errors import InputError
from croc.verdict.statistics import Array

FEWEST_LABELS = 5


@dataclass(frozen=True)
class PoweredMean:
    """A mean of labels.

    Attributes:
        value: the estimate.
        low, high: its confidence interval.
        weight: of the metric's scores, in labels per unit of score; 0 if they do not help.
        labels_only: the mean of the known labels.
        labels_low, labels_high: its interval.
        labels: number of units with a label.
        saved: share of the labels that the scores save at equal width of the interval; negative if the
            interval is wider.
    """

    value: float
    low: float
    high: float
    weight: float
    labels_only: float
    labels_low: float
    labels_high: float
    labels: int
    saved: float


def powered_mean(
    labels: Array, scores: Array, level: float = 0.95, *, weight: float | None = None
) -> PoweredMean:
    """Estimate the mean label of all units (PPI++ with the variance-minimising weight, t quantile).

    Args:
        labels: (n,), NaN where it is not known. The units with a label must be a random sample of all.
        scores: (n,), of the metric; every unit has one.
        level: of confidence.
        weight: of the scores; None estimates the one with the smallest variance.

    Raises:
        InputError: fewer than 5 units have a label, or a score is not finite.
    """
    from scipy.special import stdtrit

    if not np.isfinite(scores).all():
        raise InputError("every unit needs a finite score")
    known = ~np.isnan(labels)
    n, rest = int(known.sum()), int((~known).sum())
    if n < FEWEST_LABELS:
        raise InputError(f"{n} units with a label; at least {FEWEST_LABELS} are needed")
    y, f, unlabelled = labels[known], scores[known], scores[~known]
    if weight is None:
        spread = float(np.var(scores, ddof=1))
        covariance = float(np.cov(y, f, ddof=1)[0, 1])
        weight = covariance / spread * rest / (n + rest) if spread > 0 and rest > 1 else 0.0
    quantile = float(stdtrit(n - 1, (1 + level) / 2))
    classic = quantile * float(np.sqrt(np.var(y, ddof=1) / n))
    mean = float(y.mean())
    value, half = mean, classic
    if weight:
        value = mean + weight * float(unlabelled.mean() - f.mean())
        error = np.var(y - weight * f, ddof=1) / n + weight**2 * np.var(unlabelled, ddof=1) / rest
        half = quantile * float(np.sqrt(error))
    return PoweredMean(
        value,
        value - half,
        value + half,
        weight,
        mean,
        mean - classic,
        mean + classic,
        n,
        1 - (half / classic) ** 2 if classic else 0.0,
    )
