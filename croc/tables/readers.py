"""Readers of score tables (Parquet, CSV, TSV, and two published TSV layouts) and of pair tables.

Each input kind has one reader, which validates. A problem is reported in one sentence with file, column and
row; rows are counted from 1, without the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from croc.checks.schema import GROUP_COLUMNS, LANGUAGE, PROTOCOLS
from croc.errors import InputError
from croc.storage.frames import read_frame
from croc.storage.limits import COMMAND_LINE, GROUP_NAME, GROUPS, METRIC_NAME, TableLimits
from croc.tables import published
from croc.tables.columns import ANSWERS, REQUIRED_COLUMNS, SCORE_COLUMNS, SCORE_VALUES
from croc.tables.delimited import read_delimited, require_cells, require_columns, to_numbers
from croc.tables.metadata import ScoreMetadata
from croc.tables.pair_tables import PAIR_KEYS
from croc.tables.score_tables import (
    ScoreTable,
    join_tables,
    require_one_dataset,
    score_table,
    select_metrics,
    with_languages,
)

_NO_GROUPS = tuple(name for name in SCORE_COLUMNS if name not in GROUP_COLUMNS)
_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".csv", ".csv.gz")
# The columns that an evaluation may need; others are not read.
_READ = (*REQUIRED_COLUMNS, *ANSWERS, "concept_id", "subset", "category", "text_model", LANGUAGE, "error")


def read_score_tables(
    paths: Iterable[Path | str],
    *,
    protocol: str | None = None,
    groups: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
    limits: TableLimits = COMMAND_LINE,
    judges: bool = False,
) -> list[ScoreTable]:
    """Read score tables and join the tables of each metric.

    Args:
        paths: files, or folders whose tables are all read.
        protocol: ``syn`` or ``hum``; None takes it from the files.
        groups: columns to group by; every table must have them.
        metrics: keep only these metrics; None keeps all.
        limits: how large each file may be.
        judges: whether tables of pairwise judges are taken, which have no scores.

    Returns:
        One table per metric, or per family of metrics of one file; all of one protocol and one dataset
        revision.

    Raises:
        InputError: a file cannot be read as a score table, or tables do not belong together.
    """
    if protocol not in (None, *PROTOCOLS):
        raise InputError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    for name in groups:
        if name in _NO_GROUPS:
            raise InputError(
                f"cannot group by {name!r}, which identifies checks or images or contains scores"
            )
    files = find_tables(paths)
    tables: list[ScoreTable] = []
    hum_files: list[tuple[Path, pl.DataFrame]] = []
    for file in files:
        if file.name.endswith(".parquet"):
            tables.append(_read_parquet(file, protocol, groups, limits))
            continue
        frame = read_delimited(file, limits=limits)
        if set(published.SYN_COLUMNS) <= set(frame.columns):
            tables.append(published.read_syn(frame, file))
        elif set(published.HUM_COLUMNS) <= set(frame.columns):
            hum_files.append((file, frame))
        else:
            tables.append(_read_long_text(frame, file, protocol, groups))
    if hum_files:
        tables.append(published.read_hum(hum_files))
    for table in tables:
        if table.pairwise and not judges:
            raise InputError(
                f"{table.source}: {next(iter(table.metrics))} is a pairwise judge, whose table has "
                "comparisons in place of the scores that are needed here; 'croc evaluate' reads it for "
                "checks with four directions"
            )
    if protocol is not None:
        tables = [replace(table, protocol=protocol) for table in tables]
    require_one_dataset(tables)
    tables = [with_languages(table, required=LANGUAGE in groups) for table in join_tables(tables)]
    for table in tables:
        for metric in table.metrics:
            if len(metric) > METRIC_NAME:
                raise InputError(
                    f"{table.source}: the metric's name has {len(metric):,} characters; at most "
                    f"{METRIC_NAME} are allowed"
                )
        for name in groups:
            if name not in table.frame.columns:
                raise InputError(f"{table.source}: no column {name!r} to group by")
            if table.frame[name].dtype.is_nested():
                raise InputError(f"{table.source}, column {name!r}: cannot group by a column of lists")
            _check_groups(table.frame[name], table.source)
    return tables if metrics is None else select_metrics(tables, metrics)


def _check_groups(column: pl.Series, source: str) -> None:
    """Refuse a column with too many values, or too long ones, to show results for each."""
    values = column.unique()
    if len(values) > GROUPS:
        raise InputError(
            f"{source}, column {column.name!r}: {len(values):,} values; a column to group by has at most "
            f"{GROUPS:,}"
        )
    longest = values.cast(pl.String).str.len_chars().max()
    if isinstance(longest, int) and longest > GROUP_NAME:
        raise InputError(
            f"{source}, column {column.name!r}: a value of {longest:,} characters; in a column to group by "
            f"it has at most {GROUP_NAME}"
        )


def find_tables(paths: Iterable[Path | str]) -> list[Path]:
    """The files of ``paths``; a folder stands for the tables directly in it, hidden files left out.

    Raises:
        InputError: a path does not exist, a folder has no table, or a file is not a table.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        try:
            folder, exists = path.is_dir(), path.exists()
            inside = _tables_in(path) if folder else []
            regular = path.is_file()
        except OSError as problem:
            raise InputError(f"{path}: cannot be read ({problem.strerror})") from None
        if folder:
            if not inside:
                raise InputError(f"{path}: no score table in this folder ({', '.join(_SUFFIXES)})")
            files += inside
        elif not exists:
            raise InputError(f"{path}: no such file")
        elif not path.name.endswith(_SUFFIXES):
            raise InputError(f"{path}: not a table; expected a name that ends in {', '.join(_SUFFIXES)}")
        elif not regular:  # a pipe would wait for ever
            raise InputError(f"{path}: not a regular file")
        else:
            files.append(path)
    if not files:
        raise InputError("no score tables; name a file or folder")
    return files


def _tables_in(folder: Path) -> list[Path]:
    """The tables directly in a folder, and the parts of those that are folders of parts themselves."""
    files: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.endswith(_SUFFIXES):
            continue
        files += [path] if path.is_file() else _tables_in(path) if path.is_dir() else []
    return files


def metric_of(file: Path) -> str:
    """The name of a metric whose table does not give it: that of the file, or of the folder of its parts.

    Spark, Dask and pyarrow write one table as a folder of files called ``part-…``.
    """
    if re.match(r"part[-.]\d+", file.name):
        file = file.resolve().parent
    suffix = next((suffix for suffix in _SUFFIXES if file.name.endswith(suffix)), "")
    return file.name.removesuffix(suffix)


# ---- The layout of this program: a row per image, one metric per file ----


def _read_parquet(file: Path, protocol: str | None, groups: Sequence[str], limits: TableLimits) -> ScoreTable:
    frame, flat = read_frame(file, (*_READ, *groups), limits=limits)
    metadata = ScoreMetadata.from_parquet(flat, default_name=metric_of(file), source=str(file))
    return score_table(frame, metadata, str(file), protocol)


def _read_long_text(
    frame: pl.DataFrame, file: Path, protocol: str | None, groups: Sequence[str]
) -> ScoreTable:
    require_columns(frame, REQUIRED_COLUMNS, str(file))
    index = frame["image_index"].cast(pl.Int64, strict=False)
    if index.null_count():
        row = int(index.is_null().arg_max() or 0)
        raise InputError(
            f"{file}, column 'image_index', row {row + 1}: {frame['image_index'][row]!r} is not an integer"
        )
    frame = frame.with_columns(index, *(to_numbers(frame[name], str(file)) for name in SCORE_VALUES))
    keep = [name for name in dict.fromkeys((*SCORE_COLUMNS, LANGUAGE, *groups)) if name in frame.columns]
    frame = frame.with_columns(
        pl.col(name).replace("", None) for name in keep if frame[name].dtype == pl.String
    )
    return score_table(frame.select(keep), ScoreMetadata(metric_of(file)), str(file), protocol)


# ---- Pair tables: a row per item, a column per metric and per human rating ----


def read_pair_table(file: Path | str) -> pl.DataFrame:
    """Read a pair table (Parquet, CSV or TSV): ``item_id, system, prompt``, and columns of numbers.

    Returns:
        The table; columns in which every cell is a number, a truth value or empty are Float64.

    Raises:
        InputError: the file cannot be read, an ``item_id`` is missing, or two rows have the same one.
    """
    (path,) = find_tables([file])
    if path.name.endswith(".parquet"):
        frame, _ = read_frame(path)
    else:
        frame = read_delimited(path)
    require_columns(frame, ("item_id",), str(path))
    if not len(frame):
        raise InputError(f"{path}: the table has no rows")
    require_cells(frame, ("item_id",), str(path))
    if frame["item_id"].is_duplicated().any():
        row = int(frame["item_id"].is_duplicated().arg_max() or 0)
        raise InputError(f"{path}, row {row + 1}: item_id {frame['item_id'][row]!r} occurs twice")
    columns = []
    for values in frame.iter_columns():
        if values.name in PAIR_KEYS or not (
            values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean)
        ):
            columns.append(values)
            continue
        try:
            numbers = to_numbers(values, str(path))
        except InputError:
            columns.append(values)
            continue
        columns.append(numbers.set(~numbers.is_finite().fill_null(True), None))
    return pl.DataFrame({values.name: values for values in columns})
