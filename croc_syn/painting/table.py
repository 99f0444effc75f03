"""The staged table of images: what painting hands to the builders, one row per check with both sides' images.

Images of the exact world carry the truth about each image, those of image models their flags and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.columns import features, pick
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, IMAGE_COLUMNS, STYLE
from croc_syn.writing.table import RESPONSE_COLUMNS

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

TRUTH = ("images_valid", "contrast_images_valid")
"""Per image, whether it shows its own prompt; false only where generator noise was requested."""

FLAGS, MATCHES, SETTINGS = "flags", "match", "image_settings"

PROMPT_ROWS = "prompt_rows"
"""Key of a payload that carries its rows of prompts."""


def exact_features() -> datasets.Features:
    """Columns of images of the exact world: those of a check, and the truth about every image."""
    return features((*CHECK_COLUMNS, *pick(EXTRA_COLUMNS, TRUTH)))


def painted_features() -> datasets.Features:
    """Columns of images of image models: those of a check, per image its flags and score, and the settings.

    The flags of an image are one text, separated by commas; it is empty for an image without flags.
    """
    per_image = [f"{column}_{name}" for column in IMAGE_COLUMNS for name in (FLAGS, MATCHES)]
    return features((*CHECK_COLUMNS, *pick(EXTRA_COLUMNS, (STYLE, *per_image, SETTINGS))))


def prompt_rows(payload: Mapping[str, Any], prompts: Path) -> list[dict[str, Any]]:
    """The rows of prompts of a part: those that the payload carries, or those that it points to.

    Args:
        payload: of a part of images.
        prompts: the folder of prompts.
    """
    if PROMPT_ROWS in payload:
        carried: list[dict[str, Any]] = payload[PROMPT_ROWS]
        return carried
    table = _read_prompts(prompts / payload["prompts"], payload["sha256"])
    rows: list[dict[str, Any]] = (table.take(payload["rows"]) if "rows" in payload else table).to_pylist()
    return rows


@lru_cache(maxsize=1)
def _read_prompts(file: Path, sha256: str) -> pa.Table:
    """A part of prompts; the parts of images that need it follow each other, so it is read once."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as stored:
        columns = [name for name in stored.schema_arrow.names if name not in RESPONSE_COLUMNS]
        return stored.read(columns, use_threads=False)


def with_prompt_rows(payload: Mapping[str, Any], prompts: Path) -> dict[str, Any]:
    """The payload with its rows of prompts in it, for a worker that cannot read their folder."""
    return {**payload, PROMPT_ROWS: prompt_rows(payload, prompts)}
