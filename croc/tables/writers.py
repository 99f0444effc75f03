"""The writer of score tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from croc.errors import InputError
from croc.storage.files import atomic
from croc.tables.columns import SCORE_COLUMNS, score_schema
from croc.tables.metadata import ScoreMetadata

if TYPE_CHECKING:
    import pyarrow as pa


def write_scores(rows: pa.Table, metadata: ScoreMetadata, path: Path) -> None:
    """Write the table of one scorer, atomically.

    Args:
        rows: at least the columns of ``SCORE_COLUMNS``; others are kept, and results can be grouped by them.
        metadata: of the scorer, the dataset and the program.
        path: the Parquet file.

    Raises:
        InputError: a column is missing.
    """
    import pyarrow.parquet as pq

    missing = [name for name in SCORE_COLUMNS if name not in rows.column_names]
    if missing:
        raise InputError(f"{path}: a score table needs the columns {', '.join(missing)}")
    schema = score_schema()
    ordered = [*SCORE_COLUMNS, *(name for name in rows.column_names if name not in SCORE_COLUMNS)]
    rows = rows.select(ordered)
    columns = [
        rows.column(name).cast(schema.field(name).type) if name in schema.names else rows.column(name)
        for name in ordered
    ]
    table = rows.from_arrays(columns, names=ordered).replace_schema_metadata(metadata.to_parquet())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        pq.write_table(table, temporary)
