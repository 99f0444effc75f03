"""The columns of a pair table: keys, ratings, metrics, and columns that have no scores.

A pair table has a row per rated item: ``item_id, system, prompt``, a column per metric, a column per rating.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches

import polars as pl

from croc.errors import InputError
from croc.tables.delimited import LIKE_A_NUMBER, to_numbers

PAIR_KEYS = ("item_id", "system", "prompt")
"""The columns that say what was rated; only ``item_id`` is required."""

_SOURCE = "the pair table"
# Names that pandas gives to an index; the others are an index if they count the rows.
_INDEX = re.compile(r"Unnamed: \d+(\.\d+)*|__index_level_\d+__")
_COUNTERS = ("", "index", "level_0", "row_nr")


def is_index(values: pl.Series) -> bool:
    """Whether a column is the index of a data frame and not a metric: ``Unnamed: 0``, ``__index_level_0__``.

    A column named ``index``, ``level_0``, ``row_nr`` or without a name is one if its values are whole numbers
    that increase from row to row.
    """
    if _INDEX.fullmatch(values.name):
        return True
    if values.name not in _COUNTERS or not values.dtype.is_numeric() or values.null_count():
        return False
    steps = values.cast(pl.Float64).diff().drop_nulls()
    return bool((values == values.cast(pl.Float64).floor()).all() and (steps > 0).all())


def select_metrics(
    table: pl.DataFrame, humans: Sequence[str], metrics: Sequence[str] | None, others: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """The columns to correlate with ratings, and those that have no scores: indices and text.

    Args:
        table: see :func:`croc.tables.readers.read_pair_table`.
        humans: columns of ratings.
        metrics: columns to use; None takes every column of numbers that is not a rating.
        others: columns with another meaning, such as one to group by.

    Raises:
        InputError: a column is missing or has no numbers; a column of text looks like numbers; no metric
            is left.
    """
    numeric = [name for name in table.columns if name not in PAIR_KEYS and table[name].dtype.is_numeric()]
    for name in (*humans, *(metrics or ())):
        _require_numbers(name, table, numeric)
    if metrics:
        return list(dict.fromkeys(metrics)), []
    candidates = [name for name in table.columns if name not in (*PAIR_KEYS, *humans, *others)]
    indices = [name for name in candidates if is_index(table[name])]
    candidates = [name for name in candidates if name not in indices]
    chosen = [name for name in candidates if name in numeric]
    texts = [name for name in candidates if name not in numeric]
    for name in texts:
        _refuse_numbers_as_text(table[name])
    if not chosen:
        raise InputError(f"{_SOURCE} has no column of numbers besides the ratings; add scores of a metric")
    return chosen, [*indices, *texts]


def require_column(name: str, table: pl.DataFrame) -> None:
    """Raise an InputError if a column is missing; the message names one with a similar name."""
    if name in table.columns:
        return
    close = get_close_matches(name, table.columns, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; the columns are {', '.join(table.columns)}"
    raise InputError(f"no column {name!r}{hint}")


def require_groups(name: str, table: pl.DataFrame) -> None:
    """Require a column that items can be grouped by: one value per cell, and no lists of values.

    Raises:
        InputError: there is no such column, or it has lists, structures or bytes.
    """
    require_column(name, table)
    kind = table[name].dtype
    if kind.is_nested() or kind == pl.Binary:
        raise InputError(f"column {name!r} has the type {kind}; expected text or numbers")


def _require_numbers(name: str, table: pl.DataFrame, numeric: Sequence[str]) -> None:
    require_column(name, table)
    if name in numeric:
        return
    if table[name].dtype == pl.String and name not in PAIR_KEYS:
        to_numbers(table[name], _SOURCE)  # names the row that is not a number
    raise InputError(f"column {name!r} has the type {table[name].dtype}; expected numbers")


def _refuse_numbers_as_text(values: pl.Series) -> None:
    """Refuse a column of numbers with text or decimal commas, which would otherwise be ignored."""
    if values.dtype != pl.String:
        return
    cells = values.str.strip_chars()
    filled = cells.filter(cells != "")
    has_numbers = values.cast(pl.Float64, strict=False).is_finite().any()
    if not has_numbers and not (len(filled) and filled.str.contains(LIKE_A_NUMBER).all()):
        return
    try:
        to_numbers(values, _SOURCE)
    except InputError as problem:
        raise InputError(f"{problem}; to ignore the column, name the metrics") from None
