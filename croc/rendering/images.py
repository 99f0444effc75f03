"""Scores of own images: as terminal tables and as a contact sheet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from croc.errors import InputError
from croc.images.explanation import CLAUSES, WEAKEST
from croc.images.scoring import FAILURE, IN_WORLD, ImageScores, Mean
from croc.wording import DASH, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_SHOWN = 200
"""Images on a contact sheet, at most: half of them the lowest, half the highest."""

NOT_TRUSTED = " (not to be trusted on this image)"


def value(score: float | None) -> str:
    """A score or mean with four significant digits; a dash where there is none."""
    return DASH if score is None else f"{score:.4g}".replace("-", "−")


def terminal(scores: ImageScores, level: float = 0.95) -> list[RenderableType]:
    """Means with intervals, and why pairs have no score."""
    means = scores.means(level)
    several = any(mean.system is not None for mean in means)
    table = Table(box=None, padding=(0, 1))
    headings = (
        "metric",
        *(("images of",) if several else ()),
        "images",
        "mean",
        f"{level:.0%} interval",
        "lowest",
    )
    for heading in headings:
        left = heading in ("metric", "images of", "lowest")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for mean in means:
        system = ((mean.system or "all"),) if several else ()
        ends = "" if mean.low is None else f"{value(mean.low)} … {value(mean.high)}"
        table.add_row(mean.metric, *system, f"{mean.images:,}", value(mean.mean), ends, _lowest(scores, mean))
    lines = (*failure_lines(scores), *world_lines(scores), *clause_lines(scores))
    return [table, *map(Text, lines)]


def _lowest(scores: ImageScores, mean: Mean) -> str:
    rows = scores.table.drop_nulls(mean.metric)
    if mean.system is not None:
        rows = rows.filter(pl.col("system") == mean.system)
    return str(rows.sort(mean.metric)["image"][0]) if len(rows) else ""


def failure_lines(scores: ImageScores) -> list[str]:
    """For each metric how many pairs have no score for which reason."""
    return [
        f"{metric}: {counted(count, 'image')} without a score: {reason}"
        for metric, reasons in scores.failures.items()
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:5]
    ]


def world_lines(scores: ImageScores) -> list[str]:
    """For each metric that can tell, how many images are unlike those that it was trained on."""
    return [
        f"{metric}: {number:,} of {counted(len(scores.table), 'image')} unlike those that it was trained on: "
        f"not to be trusted there (column {metric}{IN_WORLD})"
        for metric, number in scores.outside().items()
        if number
    ]


def clause_lines(scores: ImageScores) -> list[str]:
    """For each metric the clauses that most often have the lowest score, if clauses are scored."""
    lines = []
    for metric in scores.metrics:
        if (column := f"{metric}{WEAKEST}") not in scores.table.columns:
            continue
        number = Counter(scores.table[column].drop_nulls().to_list())
        shown = "; ".join(f"{text} ({counted(count, 'image')})" for text, count in number.most_common(3))
        lines.append(f"{metric}: weakest clauses: {shown or 'every prompt is one clause'}")
    return lines


def _clauses(scores: ImageScores, row: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """For each metric the clauses of a prompt with their scores, and which is the weakest."""
    found = []
    for metric in scores.metrics:
        if stored := row.get(f"{metric}{CLAUSES}"):
            weakest = row[f"{metric}{WEAKEST}"]
            parts = [(text, value(score), text == weakest) for text, score in json.loads(stored)]
            found.append((metric, parts))
    return found


def contact_sheet(scores: ImageScores, read: Callable[[int], bytes], metric: str | None = None) -> str:
    """A web page of the images with their prompts and scores, lowest first.

    Args:
        scores: the scores.
        read: returns the content of the image of a row.
        metric: to sort by; None takes the first.
    """
    from croc.rendering.fragments import thumbnail
    from croc.rendering.page import environment

    metric = metric or scores.metrics[0]
    ordered = scores.table.with_row_index("row").sort(metric, nulls_last=True)
    first = len(ordered)
    if len(ordered) > MOST_SHOWN:
        first = MOST_SHOWN // 2
        ordered = pl.concat([ordered.head(first), ordered.tail(MOST_SHOWN - first)])

    def picture(row: int) -> str | None:
        try:
            return thumbnail([read(row)])
        except (InputError, OSError):
            return None

    rows: Sequence[dict[str, Any]] = [
        {
            "picture": picture(row["row"]),
            "name": row["image"],
            "prompt": row["prompt"],
            "scores": [
                (name, value(row[name]) + (NOT_TRUSTED if row.get(f"{name}{IN_WORLD}") is False else ""))
                for name in scores.metrics
            ],
            "clauses": _clauses(scores, row),
            "failure": row[FAILURE],
        }
        for row in ordered.iter_rows(named=True)
    ]
    template = environment().get_template("images.html")
    return template.render(rows=rows, metric=metric, total=len(scores.table), shown=len(rows), first=first)
