"""Rows with images as Parquet that the Hub's viewer, its filters and a stream read well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from croc.errors import InputError
from croc.storage.text_files import require_regular

GROUP_ROWS = 100
GROUP_BYTES = 16_000_000
"""A viewer reads a whole row group to show one row, a stream before it shows the first; and what is held in
memory at once is what a system has to find and clear first, which costs more than writing it."""

READ_BYTES = 4_000_000

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
    path: Path | IO[bytes],
    schema: pa.Schema,
    *,
    group_rows: int = GROUP_ROWS,
    group_bytes: int = GROUP_BYTES,
    sorted_by: str | None = None,
) -> int:
    """Write rows in small row groups with statistics and a page index.

    The image bytes are compressed already, so they are stored plain and without a dictionary.

    Args:
        tables: Arrow tables that can be cast to the schema; a few rows each keep the memory small.
        path: the Parquet file, or an open one.
        schema: Arrow schema of a dataset's features.
        group_rows: rows a row group, at most.
        group_bytes: a row group ends when it holds this much.
        sorted_by: a column that is the same within each table; a row group that is at least a quarter full
            ends where it changes, so that a filter on it reads little else.

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
        for group in _groups(tables, schema, group_rows, group_bytes, sorted_by):
            writer.write_table(group, row_group_size=max(1, len(group)))
            rows += len(group)
        if not rows:
            writer.write_table(schema.empty_table())
    return rows


def _groups(
    tables: Iterable[pa.Table], schema: pa.Schema, group_rows: int, group_bytes: int, sorted_by: str | None
) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    held, size = 0, 0
    for table in tables:
        if not table.schema.equals(schema):
            table = table.cast(schema)
        if sorted_by and waiting and 4 * size >= group_bytes and len(table):
            last, coming = waiting[-1][sorted_by], table[sorted_by]
            if last[len(last) - 1] != coming[0]:
                yield pa.concat_tables(waiting)
                waiting, held, size = [], 0, 0
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


def require_texts(schema: pa.Schema, names: Iterable[str], file: Path) -> None:
    """Require that columns hold texts, or nothing but nulls.

    Raises:
        InputError: one has another type, occurs twice or is missing.
    """
    for name in names:
        found = schema.get_all_field_indices(name)
        if len(found) != 1:
            raise InputError(f"{file}: the column {name!r} {'occurs twice' if found else 'is missing'}")
        kind = schema.field(found[0]).type
        if not (pa.types.is_string(kind) or pa.types.is_null(kind)):
            raise InputError(f"{file}: the column {name!r} holds {kind}, not texts")


def batches(
    path: Path, columns: list[str] | None = None, start: int = 0, stop: int | None = None
) -> Iterator[pa.Table]:
    """Rows ``start`` to ``stop`` of a Parquet file, a few at a time, so that the memory stays flat.

    Raises:
        OSError: the file cannot be read.
        pa.ArrowException: it is no Parquet file, or damaged.
    """
    for _, _, table in spans(path, [(start, stop)], columns):
        yield table


def spans(
    path: Path, wanted: Sequence[tuple[int, int | None]], columns: list[str] | None = None
) -> Iterator[tuple[int, int, pa.Table]]:
    """Some rows of a Parquet file, a few at a time; row groups that hold none of them are passed over.

    Args:
        path: the file.
        wanted: (start, stop) of runs of rows, ascending and apart; a stop of None is the end of the file.
        columns: only these.

    Yields:
        Which run, the number of the table's first row in the file, and the table, which lies in that run.

    Raises:
        OSError: the file cannot be read.
        pa.ArrowException: it is no Parquet file, or damaged.
    """
    require_regular(Path(path))
    with pq.ParquetFile(path, memory_map=True) as stored:
        sizes = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]
        each = path.stat().st_size // max(1, sum(sizes)) + 1
        step = int(min(GROUP_ROWS, max(1, READ_BYTES // each)))
        runs = [(start, sum(sizes) if stop is None else stop) for start, stop in wanted]
        at, place = 0, 0
        for group, length in enumerate(sizes):
            end = at + length
            while place < len(runs) and runs[place][1] <= at:
                place += 1
            last = max((stop for start, stop in runs[place:] if start < end), default=at)
            if last > at:
                for batch in stored.iter_batches(
                    step, row_groups=[group], columns=columns, use_threads=False
                ):
                    table = pa.Table.from_batches([batch])
                    for number in range(place, len(runs)):
                        low, high = max(runs[number][0], at), min(runs[number][1], at + len(table))
                        if runs[number][0] >= at + len(table):
                            break
                        if low < high:
                            yield number, low, _piece(table, low - at, high - low)
                    at += len(table)
                    if at >= last:
                        break
            at = end


def _piece(table: pa.Table, start: int, length: int) -> pa.Table:
    """Some rows; few of many are copied, lest who keeps them keeps the memory of all."""
    if 2 * length < len(table):
        return table.take(pa.array(range(start, start + length)))
    return table.slice(start, length)
