"""Files of a benchmark: found in the folders in which they were published, or side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from croc.errors import InputError
from croc.storage.text_files import parse_json, read_text, require_kind
from croc.tables.delimited import to_numbers

T = TypeVar("T")


def whole_numbers(values: pl.Series, source: str) -> pl.Series:
    """A column of whole numbers, such as those of questions.

    Raises:
        InputError: a cell is empty or no whole number.
    """
    numbers = to_numbers(values, source)
    wrong = (numbers.is_null() | (numbers != numbers.floor())).fill_null(True)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(
            f"{source}, column {values.name!r}, row {row + 1}: {values[row]!r} is not a whole number"
        )
    return numbers.cast(pl.Int64)


def first_existing(folder: Path, *names: str) -> Path:
    """The first of several places of a file that exists.

    Args:
        folder: of the benchmark.
        names: places relative to it.

    Raises:
        InputError: none of them exists.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: no file {' or '.join(names)}")


def read_json_lines(folder: Path, names: Sequence[str], kind: type[T]) -> Iterator[tuple[str, T]]:
    """The values of a file with a JSON value per line; empty lines are skipped.

    Args:
        folder: of the benchmark.
        names: places of the file, see :func:`first_existing`.
        kind: of each value.

    Yields:
        Where the value is, for messages, and the value.

    Raises:
        InputError: the file is missing or empty, or a line is no such value.
    """
    file = first_existing(folder, *names)
    empty = True
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            yield where, require_kind(parse_json(line, where), kind, where)
            empty = False
    if empty:
        raise InputError(f"{file}: no examples")
