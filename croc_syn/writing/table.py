"""The staged table of prompts: what writing hands to painting, one row per check.

A check for which no usable pair of prompts was found stays in the table, with the reason in ``error``;
whoever reads the table drops it and counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from croc.checks.columns import Column, arrow_schema, pick
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, SPEC_COLUMNS, STYLE
from croc_syn import world

if TYPE_CHECKING:
    import pyarrow as pa

    from croc_syn.taxonomy.plan import Spec

EXACT = f"exact@{world.VERSION}"
"""The exact world in the columns ``text_model`` and ``image_model``."""

RESPONSE_COLUMNS = ("answer", "reasoning")
"""What a language model wrote, for people to read; no later stage needs these columns."""


PROMPT_COLUMNS: tuple[Column, ...] = (
    *pick(CHECK_COLUMNS, ("check_id", *SPEC_COLUMNS, "generation", "prompt", "contrast_prompt")),
    Column("value", "string", "value of the property in the original prompt"),
    Column("contrast_value", "string", "value of the property in the contrast prompt"),
    Column("text_model", "string", "the model that wrote the prompts"),
    Column("image_model", "string", "the image model that the prompts are written for; null if for any"),
    *pick(CHECK_COLUMNS, ("language",)),
    Column("tries", "int64", "number of pairs drawn, or of responses requested"),
    Column("error", "string", "why there is no usable pair of prompts, or null"),
    Column("contrasted", "string", "the property that the language model names"),
    Column("edits", "int64", "number of words that differ between the two prompts"),
    Column(
        "tokens",
        "record",
        "number of tokens for each text encoder, and its limit",
        many=True,
        fields=(
            Column("encoder", "string", "the text encoder"),
            Column("prompt", "int64", "tokens of the original prompt"),
            Column("contrast_prompt", "int64", "tokens of the contrast prompt"),
            Column("limit", "int64", "largest number of tokens that it reads"),
        ),
    ),
    *pick(EXTRA_COLUMNS, (STYLE,)),
    Column("refused", "string", "why earlier responses could not be used", many=True),
    Column("refused_kinds", "string", "the kinds of these reasons", many=True),
    Column("answer", "string", "the last response, unchanged"),
    Column("reasoning", "string", "the reasoning in the last response"),
    Column("served_as", "string", "name of the model in the response of the service"),
    Column("input_tokens", "int64", "tokens of all requests"),
    Column("output_tokens", "int64", "tokens of all responses"),
)
"""The columns of the table. Those after ``error`` are filled by language models only."""

SOURCE_COLUMNS: tuple[Column, ...] = (
    Column("source_id", "string", "id of the English check, which its images depend on"),
    Column("source_prompt", "string", "the original prompt in English"),
    Column("source_contrast_prompt", "string", "the contrast prompt in English"),
)
"""Columns that a table has only where the exact world's prompts are in another language than English."""


def prompt_schema(*, translated: bool = False) -> pa.Schema:
    """The Arrow schema of the table.

    Args:
        translated: whether the prompts are translations of the exact world's English ones.
    """
    return arrow_schema((*PROMPT_COLUMNS, *(SOURCE_COLUMNS if translated else ())))


def columns_of(spec: Spec) -> dict[str, str | None]:
    """What a spec contributes to the rows made from it."""
    return {name: getattr(spec, name) for name in SPEC_COLUMNS}
