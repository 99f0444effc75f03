"""The staged table of prompts: what writing hands to painting, one row per check.

A check for which no usable pair of prompts was found stays in the table, with the reason in ``error``;
whoever reads the table drops it and counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from croc.checks.schema import SPEC_COLUMNS, STYLE
from croc_syn import world

if TYPE_CHECKING:
    import pyarrow as pa

    from croc_syn.taxonomy.plan import Spec

EXACT = f"exact@{world.VERSION}"
"""The exact world in the columns ``text_model`` and ``image_model``."""

RESPONSE_COLUMNS = ("answer", "reasoning")
"""What a language model wrote, for people to read; no later stage needs these columns."""


def prompt_schema() -> pa.Schema:
    """Columns of the table.

    ``tries`` counts the pairs drawn or the responses requested; ``error`` is null or a reason.
    ``image_model`` names the model for which the prompts were written, null if they are for any. The columns
    after ``error`` are filled by language models only: ``contrasted`` is the property that the model names,
    ``edits`` the number of words between the two prompts, ``tokens`` the tokens per text encoder, ``style``
    the guide. ``refused`` holds the reasons why earlier responses could not be used, ``answer`` and
    ``reasoning`` the last response as it came, ``served_as`` the name that the service gave its model.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = [("check_id", text), *((name, text) for name in SPEC_COLUMNS), ("generation", number)]
    columns += [(name, text) for name in ("prompt", "contrast_prompt", "value", "contrast_value")]
    columns += [("text_model", text), ("image_model", text), ("language", text)]
    columns += [("tries", number), ("error", text), ("contrasted", text), ("edits", number)]
    counts = [("encoder", text), ("prompt", number), ("contrast_prompt", number), ("limit", number)]
    columns += [("tokens", pa.list_(pa.struct(counts))), (STYLE, text)]
    columns += [("refused", pa.list_(text)), ("refused_kinds", pa.list_(text))]
    columns += [(name, text) for name in (*RESPONSE_COLUMNS, "served_as")]
    return pa.schema([*columns, ("input_tokens", number), ("output_tokens", number)])


def columns_of(spec: Spec) -> dict[str, str | None]:
    """What a spec contributes to the rows made from it."""
    return {name: getattr(spec, name) for name in SPEC_COLUMNS}
