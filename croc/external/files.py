"""Files of a benchmark: found in the folders in which they were published, or side by side."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from croc.errors import InputError
from croc.tables.delimited import to_numbers


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
