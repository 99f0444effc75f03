"""The columns of a score table: the only contract between running a metric and evaluating it.

A score table has a row per image: the scores of the image under both prompts of its check.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from croc.checks.columns import Column, arrow_schema, pick
from croc.checks.schema import CHECK_COLUMNS, ENGLISH, EXTRA_COLUMNS, LANGUAGE, SHARED_COLUMNS, STYLE

if TYPE_CHECKING:
    import pyarrow as pa

SCORE_VALUES: tuple[str, str] = ("prompt_score", "contrast_score")

SCORE_TABLE: tuple[Column, ...] = (
    *pick(CHECK_COLUMNS, SHARED_COLUMNS),
    Column("image_side", "string", "`original` or `contrast`: the prompt that the image was made for"),
    Column("image_index", "int32", "number of the image on its side, from 0"),
    Column("prompt_score", "float64", "score of the image with the original prompt, or null"),
    Column("contrast_score", "float64", "score of the image with the contrast prompt, or null"),
    Column("error", "string", "why a score is missing, or null"),
)
"""The declaration of a score table; a table may have other columns to group by."""

ANSWERS: tuple[str, str] = ("text_answers", "image_answers")
"""The columns that the table of a pairwise judge has, whose scores are empty. Each number is the probability
of choosing what stands first. A comparison has two: with the match first, and with the other one first."""

TRUNCATED = "truncated"
OPTIONAL_COLUMNS: tuple[Column, ...] = (
    *pick(EXTRA_COLUMNS, (STYLE,)),
    *pick(CHECK_COLUMNS, (LANGUAGE,)),
    Column(
        ANSWERS[0],
        "float64",
        "pairwise judges: answers about the two prompts of the check for this image, its own prompt first, "
        "then the other one first; null for no answer",
        many=True,
    ),
    Column(
        ANSWERS[1],
        "float64",
        "pairwise judges: two such answers for each image of the other side that this one was compared "
        "with, for the prompt of this image",
        many=True,
    ),
    Column(TRUNCATED, "bool", "whether a prompt of the row exceeds the scorer's window"),
)
"""Columns that a score table has only where they apply."""

SCORE_COLUMNS: tuple[str, ...] = tuple(column.name for column in SCORE_TABLE)
SCORE_KEYS: tuple[str, ...] = ("check_id", "image_side", "image_index")
REQUIRED_COLUMNS: tuple[str, ...] = (*SCORE_KEYS, *SCORE_VALUES)
"""The columns that are required for an evaluation."""

NO_CONTRAST_PROMPT = "no contrast prompt"
"""The reason in ``error`` where a benchmark has no contrast prompt: not a failure; coverage ignores it."""


def score_schema(optional: Collection[str] = ()) -> pa.Schema:
    """The Arrow schema of a score table.

    Args:
        optional: names of columns; those of ``OPTIONAL_COLUMNS`` among them are part of the schema.
    """
    return arrow_schema((*SCORE_TABLE, *(column for column in OPTIONAL_COLUMNS if column.name in optional)))


def shared_cells(check: Mapping[str, Any]) -> dict[str, Any]:
    """What every row of a check's scores repeats: the cells of ``SHARED_COLUMNS``."""
    return {name: check.get(name) for name in SHARED_COLUMNS}


def repeated_cells(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What every row of each check repeats: :func:`shared_cells`, and the optional columns that apply."""
    # English alone needs no column: tables without one are English.
    translated = any(check.get(LANGUAGE) not in (None, ENGLISH) for check in checks)
    found = []
    for check in checks:
        same = shared_cells(check)
        if STYLE in check:
            same[STYLE] = check[STYLE]
        if translated:
            same[LANGUAGE] = check.get(LANGUAGE) or ENGLISH
        found.append(same)
    return found
