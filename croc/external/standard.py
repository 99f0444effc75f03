"""Standard scores that many authors report: Winoground's scores, and coefficients over all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from croc.checks.schema import DIRECTIONS
from croc.external.benchmark import Mode
from croc.external.items import Rated
from croc.ratings.coefficients import Correlation, correlation
from croc.ratings.ties import calibrate_ties
from croc.tables.score_tables import ScoreTable
from croc.verdict.records import DIRECTION_NAMES

Kind = Literal["Spearman", "Kendall", "Pearson", "pairwise accuracy"]
_KINDS: Mapping[Kind, Correlation] = {"Spearman": "spearman", "Kendall": "kendall", "Pearson": "pearson"}

WINOGROUND = {"text_score": DIRECTIONS[:2], "image_score": DIRECTIONS[2:], "group_score": DIRECTIONS}
"""Winoground's scores: the share of items that pass in these directions."""


def direction_scores(tables: Sequence[ScoreTable], mode: Mode) -> dict[str, float]:
    """Winoground's scores and the accuracy in each direction, over all items and by category.

    Args:
        tables: score tables of the protocol hum.
        mode: in parity mode ties and missing scores fail.

    Returns:
        By ``METRIC SCORE``, and ``METRIC SCORE, CATEGORY`` where there are several. A score is absent if the
        items do not have its directions.
    """
    from croc.verdict.evaluation import evaluate_tables
    from croc.verdict.report import Settings

    report = evaluate_tables(tables, Settings(paper=mode == "parity", average="micro", resamples=0, flips=0))
    several = len({score.group_value for score in report.scores if score.group}) > 1
    found: dict[str, float] = {}
    for score in report.scores:
        if score.group is not None and not several:
            continue
        category = "" if score.group is None else f", {score.group_value}"
        accuracy = {}
        for direction in DIRECTIONS:
            result = report.result(score.metric, direction, score.group, score.group_value)
            if result is not None and result.accuracy is not None:
                accuracy[direction] = result.accuracy
        for name, directions in WINOGROUND.items():
            value = getattr(score, name)
            if value is not None and all(direction in accuracy for direction in directions):
                found[f"{score.metric} {name.replace('_', ' ')}{category}"] = value
        for direction, value in accuracy.items():
            found[f"{score.metric} {DIRECTION_NAMES[direction]}{category}"] = value
    return found


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


def preference_accuracy(items: Rated, human: str, group: str, mode: Mode) -> dict[str, float]:
    """The share of pairs of images that a metric orders as people do.

    Pairs are those of a group that people rate differently and that have both scores. If the metric gives
    both the same score, the pair is wrong in parity mode and counts one half by default.

    Args:
        items: of a benchmark.
        human: column of the rating, higher for the better image.
        group: column whose equal values make images comparable, such as that of the prompt.
        mode: see above.

    Returns:
        By ``METRIC accuracy``; absent where there are no pairs.
    """
    found = {}
    for metric in items.metrics:
        table = items.table.select(group, pl.col(human).alias("human"), pl.col(metric).alias("score"))
        table = table.drop_nulls().with_row_index("row")
        both = table.join(table, on=group).filter(pl.col("row") < pl.col("row_right"))
        better = (both["human"] - both["human_right"]).sign()
        order = (both["score"] - both["score_right"]).sign()
        ordered, order = better.filter(better != 0), order.filter(better != 0)
        if len(ordered):
            right = float((ordered == order).sum()) + (
                0.5 * float((order == 0).sum()) if mode == "default" else 0
            )
            found[f"{metric} accuracy"] = right / len(ordered)
    return found
