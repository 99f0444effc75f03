"""Yes/no questions that ``croc build train`` made: the one reader of training and calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from croc.checks.schema import PAIR_COLUMNS
from croc.errors import InputError
from croc.storage.parquet import batches

_KINDS = {column.name: column.kind for column in PAIR_COLUMNS}


def question_files(folder: str | Path, split: str) -> list[Path]:
    """The Parquet files of a split; empty if there is no such split."""
    return sorted(Path(folder).glob(f"data/{split}-*.parquet"))


def question_tables(folder: str | Path, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of the questions of a split, a few rows at a time; images undecoded.

    Raises:
        InputError: there is no such split, a file cannot be read, or a column is missing, of another type or
            lacks a value.
    """
    files = question_files(folder, split)
    if not files:
        raise InputError(f"{folder} has no data/{split}-*.parquet; make questions with croc build train")
    for file in files:
        try:
            schema = pq.read_schema(file)
            for name in columns:
                if name not in schema.names:
                    raise InputError(f"{file}: missing column {name}")
                if not _fits(schema.field(name).type, _KINDS[name]):
                    raise InputError(
                        f"{file}: column {name} has the type {schema.field(name).type}, not {_KINDS[name]}"
                    )
            row = 0
            for table in batches(file, list(columns)):
                for name in columns:
                    _require_values(table[name], f"{file}: column {name}", row)
                row += len(table)
                yield table.select(columns)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{file}: cannot be read as Parquet ({reason})") from None


def _fits(kind: pa.DataType, wanted: str) -> bool:
    if wanted == "image":
        return isinstance(kind, pa.StructType) and kind.get_field_index("bytes") >= 0
    if wanted == "bool":
        return bool(pa.types.is_boolean(kind))
    if wanted == "int64":
        return bool(pa.types.is_integer(kind))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _require_values(values: pa.ChunkedArray, where: str, start: int) -> None:
    """Require that no value is missing, and no text blank."""
    absent = pc.is_null(values)
    if not pa.types.is_nested(values.type) and _fits(values.type, "string"):
        absent = pc.or_(absent, pc.equal(pc.utf8_trim_whitespace(pc.fill_null(values, "")), ""))
    number = pc.index(absent, True).as_py()
    if number >= 0:
        raise InputError(f"{where} has no value in row {start + number + 1}")
