"""Coefficients over all images of a benchmark, as most authors report them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from croc.external.items import Rated
from croc.ratings.coefficients import Correlation, correlation
from croc.ratings.ties import calibrate_ties

Kind = Literal["Spearman", "Kendall", "Pearson", "pairwise accuracy"]
_KINDS: Mapping[Kind, Correlation] = {"Spearman": "spearman", "Kendall": "kendall", "Pearson": "pearson"}


def pooled_scores(items: Rated, human: str, kinds: Sequence[Kind]) -> dict[str, float]:
    """Coefficients of each metric with a rating over all images that have both.

    Args:
        items: of a benchmark.
        human: column of the rating.
        kinds: ``Kendall`` is tau-b; ``pairwise accuracy`` is over all pairs, with calibrated ties.

    Returns:
        By ``METRIC KIND``; NaN where scores or ratings are constant.
    """
    found = {}
    for metric in items.metrics:
        table = items.table.drop_nulls([metric, human])
        scores, rating = (table[name].cast(float).to_numpy() for name in (metric, human))
        for kind in kinds:
            if kind == "pairwise accuracy":
                value = calibrate_ties(scores, rating, [np.arange(len(table))[None]], pooled=True).accuracy
            else:
                value = correlation(scores, rating, _KINDS[kind])
            found[f"{metric} {kind}"] = value
    return found
