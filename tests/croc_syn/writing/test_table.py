"""The table of prompts: its columns are those of existing files."""

from __future__ import annotations

import pyarrow as pa

from croc_syn.writing.table import prompt_schema

TOKENS = pa.struct(
    [
        ("encoder", pa.string()),
        ("prompt", pa.int64()),
        ("contrast_prompt", pa.int64()),
        ("limit", pa.int64()),
    ]
)
PROMPT_FILE = pa.schema(
    [
        ("check_id", pa.string()),
        ("concept_id", pa.string()),
        ("subset", pa.string()),
        ("category", pa.string()),
        ("property", pa.string()),
        ("property_path", pa.string()),
        ("topic", pa.string()),
        ("entity", pa.string()),
        ("contrast_topic", pa.string()),
        ("generation", pa.int64()),
        ("prompt", pa.string()),
        ("contrast_prompt", pa.string()),
        ("value", pa.string()),
        ("contrast_value", pa.string()),
        ("text_model", pa.string()),
        ("image_model", pa.string()),
        ("language", pa.string()),
        ("tries", pa.int64()),
        ("error", pa.string()),
        ("contrasted", pa.string()),
        ("edits", pa.int64()),
        ("tokens", pa.list_(TOKENS)),
        ("style", pa.string()),
        ("refused", pa.list_(pa.string())),
        ("refused_kinds", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("reasoning", pa.string()),
        ("served_as", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
    ]
)


def test_the_arrow_schema_of_prompts_is_that_of_existing_files() -> None:
    assert prompt_schema() == PROMPT_FILE
