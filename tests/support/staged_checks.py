"""Staged parts of checks with rows made up here, so that every case can be written down."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pictures import png

from croc.checks.schema import stable_hash
from croc.jobs.parts import Part
from croc.jobs.runner import run
from croc.storage.parquet import write_parquet
from croc_syn.painting.table import exact_features

SCHEMA = exact_features().arrow_schema
HALVES = {"test": 0.5, "train": 0.5}


def row(number: int, **changes):
    base = {
        "check_id": stable_hash("row", number, length=20),
        "concept_id": f"concept {number}",
        "subset": "property_variation",
        "category": "counting",
        "property": "count",
        "property_path": "object/count",
        "prompt": f"{number} dogs",
        "contrast_prompt": f"{number + 1000} dogs",
        "images": [{"bytes": png(number), "path": None}],
        "contrast_images": [{"bytes": png(-number - 1), "path": None}],
    }
    return {name: {**base, **changes}.get(name) for name in exact_features()}


def write(payload, path):
    table = pa.Table.from_pylist(payload, schema=SCHEMA)
    return {"checks": write_parquet(([table]), path, SCHEMA)}


def write_from(rows):
    """Image bytes are no JSON, so the payload is a range and the rows come along."""
    return lambda payload, path: write(rows[payload[0] : payload[1]], path)


def stage(folder: Path, rows, size: int = 4):
    parts = [Part(f"{at:04d}", [at, at + size]) for at in range(0, len(rows), size)]
    return run(parts, write_from(rows), folder, suffix=".parquet", fingerprint={}, progress=False)
