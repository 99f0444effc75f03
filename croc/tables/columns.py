"""The columns of a score table: the only contract between running a metric and evaluating it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from croc.checks.schema import GROUP_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

SCORE_KEYS: tuple[str, ...] = ("check_id", "image_side", "image_index")
SCORE_VALUES: tuple[str, str] = ("prompt_score", "contrast_score")
# The reason in `error` where a benchmark gives no contrast prompt: not a failure, and nothing to cover.
NO_CONTRAST_PROMPT = "no contrast prompt"
SCORE_COLUMNS: tuple[str, ...] = (
    "check_id",
    "concept_id",
    *GROUP_COLUMNS,
    "image_side",
    "image_index",
    *SCORE_VALUES,
    "error",
)


def score_schema() -> pa.Schema:
    """The Arrow schema of a score table: a row per (check, image), in the order of ``SCORE_COLUMNS``."""
    import pyarrow as pa

    types = {"image_index": pa.int32(), "prompt_score": pa.float64(), "contrast_score": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in SCORE_COLUMNS])
