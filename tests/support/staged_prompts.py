"""Staged prompts as a folder, without a language model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc_syn.writing.table import prompt_schema


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A pair of prompts; another number, another pair."""
    return {
        **dict.fromkeys(prompt_schema().names),
        "check_id": f"check-{number}",
        "concept_id": f"concept-{number}",
        "subset": "property_variation",
        "category": "counting",
        "property": "count",
        "generation": 0,
        "prompt": f"two red dogs, number {number}",
        "contrast_prompt": f"three red dogs, number {number}",
        "text_model": "org/writer@unpinned",
        "image_model": "",
        "language": "en",
        "tries": 1,
        **changes,
    }


def write(payload: dict[str, Any], path: Path, *, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Some of the rows as a part."""
    mine = rows[payload["start"] : payload["stop"]]
    pq.write_table(pa.Table.from_pylist(mine, schema=prompt_schema()), path)
    return {"checks": len(mine)}


def stage(out: Path, rows: list[dict[str, Any]], *, size: int = 64) -> Manifest:
    """A finished folder of prompts, so many rows a part."""
    parts = [
        Part(f"{n:06d}-counting-property_variation", {"start": start, "stop": start + size})
        for n, start in enumerate(range(0, len(rows), size))
    ]
    made: Manifest = run(
        parts,
        partial(write, rows=rows),
        out,
        suffix=".parquet",
        fingerprint={"kind": "prompts", "n": len(rows)},
        progress=False,
    )
    return made
