"""Rows with images as Parquet that the Hub's viewer, its filters and a stream read well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 100
GROUP_BYTES = 50_000_000
"""A viewer reads a whole row group to show one row; the Hub's refuses above some hundred megabytes."""

CANARY_KEY = b"canary"


def is_image(kind: pa.DataType) -> bool:
    """Whether a column's type is that of ``datasets.Image()``."""
    return pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}


def image_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns that hold an image or a list of images."""
    return [
        field.name
        for field in schema
        if is_image(field.type.value_type if pa.types.is_list(field.type) else field.type)
    ]


def write_parquet(
    tables: Iterable[pa.Table],
    path: Path,
    schema: pa.Schema,
    *,
    group_rows: int = GROUP_ROWS,
    group_bytes: int = GROUP_BYTES,
) -> int:
    """Write rows in small row groups with statistics and a page index.

    The image bytes are compressed already, so they are stored plain and without a dictionary.

    Args:
        tables: Arrow tables that can be cast to the schema; a few rows each keep the memory small.
        path: the Parquet file.
        schema: Arrow schema of a dataset's features.
        group_rows: rows a row group, at most.
        group_bytes: a row group ends when it holds this much.

    Returns:
        Number of rows.
    """
    images = image_columns(schema)
    plain = [name for name in schema.names if name not in images]
    text = [name for name in plain if pa.types.is_string(schema.field(name).type)]
    leaves = [
        f"{name}.list.element.bytes" if pa.types.is_list(schema.field(name).type) else f"{name}.bytes"
        for name in images
    ]
    rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        write_page_index=True,
        use_dictionary=text,
        # Without this the smallest and the largest image would be stored again as bounds.
        write_statistics=text,
        compression=dict.fromkeys(leaves, "none") | {name: "zstd" for name in plain},
    ) as writer:
        for group in _groups(tables, schema, group_rows, group_bytes):
            writer.write_table(group, row_group_size=max(1, len(group)))
            rows += len(group)
        if not rows:
            writer.write_table(schema.empty_table())
    return rows


def _groups(
    tables: Iterable[pa.Table], schema: pa.Schema, group_rows: int, group_bytes: int
) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    held, size = 0, 0
    for table in tables:
        table = table.cast(schema)
        while len(table):
            each = max(1, table.nbytes // len(table))
            room = min(group_rows - held, max(1, -(-(group_bytes - size) // each)))
            first, table = table.slice(0, room), table.slice(room)
            waiting.append(first)
            held, size = held + len(first), size + first.nbytes
            if held >= group_rows or size >= group_bytes:
                yield pa.concat_tables(waiting)
                waiting, held, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def batches(
    path: Path, columns: list[str] | None = None, start: int = 0, stop: int | None = None
) -> Iterator[pa.Table]:
    """Rows ``start`` to ``stop`` of a Parquet file, a few at a time, so that the memory stays flat.

    Raises:
        OSError: the file cannot be read.
        pa.ArrowException: it is no Parquet file, or damaged.
    """
    with pq.ParquetFile(path, memory_map=True) as stored:
        sizes = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]
        stop = sum(sizes) if stop is None else stop
        each = path.stat().st_size // max(1, sum(sizes)) + 1
        step = int(min(GROUP_ROWS, max(1, 16_000_000 // each)))
        first = 0
        for group, length in enumerate(sizes):
            low, high = max(start - first, 0), min(stop - first, length)
            at = 0
            if low < high:
                for batch in stored.iter_batches(
                    step, row_groups=[group], columns=columns, use_threads=False
                ):
                    inside = batch.slice(max(low - at, 0), max(0, high - max(low, at)))
                    at += len(batch)
                    if len(inside) and at > low:
                        yield pa.Table.from_batches([inside])
                    if at >= high:
                        break
            first += length
