"""Scores of the clauses of prompts: which part of a prompt an image does not show.

A clause is scored like a prompt of its own, by any scorer. CROCScore's ``explain`` gives the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from croc.images.pairs import ImagePairs
from croc.images.scoring import ImageScores
from croc.scorers.clauses import clauses

CLAUSES, WEAKEST = "_clauses", "_weakest"
"""Ends of the names of columns: clauses with their scores as JSON, and the clause with the lowest score."""


def add_clauses(
    found: ImageScores, pairs: ImagePairs, score: Callable[[ImagePairs], ImageScores]
) -> ImageScores:
    """Score the clauses of the prompts, and add two columns per metric.

    Args:
        found: the scores of the whole prompts.
        pairs: the images with their prompts.
        score: scores pairs by the same scorers; called with the clauses, unless all prompts have only one.

    Returns:
        The scores with ``METRIC_clauses``, a JSON list of clauses with their scores, and ``METRIC_weakest``,
        the clause with the lowest score. Both are empty where a prompt has one clause.
    """
    origin: list[int] = []
    texts: list[str] = []
    for row, prompt in enumerate(pairs.table["prompt"]):
        parts = [prompt[start:end] for start, end in clauses(prompt or "")]
        if len(parts) > 1:
            origin += [row] * len(parts)
            texts += parts
    scored: dict[str, list[float | None]] = {metric: [] for metric in found.metrics}
    if texts:
        table = pairs.table.select("image", "system")[origin].with_columns(
            pl.Series("prompt", texts),
            pl.Series("item_id", [f"clause {number}" for number in range(len(texts))]),
        )
        single = replace(pairs, table=table, read=lambda number: pairs.read(origin[number]))
        made = score(single).table
        scored = {metric: made[metric].to_list() for metric in found.metrics}
    table = found.table
    for metric, values in scored.items():
        parts_of: dict[int, list[tuple[str, float | None]]] = {}
        for row, text, value in zip(origin, texts, values, strict=True):
            parts_of.setdefault(row, []).append((text, value))
        rows = [parts_of.get(row) for row in range(len(table))]
        table = table.with_columns(
            pl.Series(
                f"{metric}{CLAUSES}",
                [None if row is None else json.dumps(row, ensure_ascii=False) for row in rows],
                dtype=pl.String,
            ),
            pl.Series(f"{metric}{WEAKEST}", [_weakest(row) for row in rows], dtype=pl.String),
        )
    return replace(found, table=table)


def _weakest(row: Sequence[tuple[str, float | None]] | None) -> str | None:
    known = [(value, text) for text, value in row or () if value is not None]
    return min(known)[1] if known else None
