"""The schema of others' benchmarks: rated items, or answers to contrastive items."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import polars as pl

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.tables.delimited import require_cells, require_columns, to_numbers


@dataclass(frozen=True)
class Rated:
    """Images with ratings by people and scores of metrics: a pair table, as ``croc correlate`` reads it.

    Attributes:
        table: ``item_id`` (unique), ``system``, ``prompt``, ``image`` (file name, or null), the columns
            below, and further columns of the benchmark.
        humans: columns of the ratings that metrics are compared with, such as the mean of the raters.
        raters: columns of the single raters.
        metrics: columns of scores.
        left_out: sentences about what was not read, with counts.
    """

    table: pl.DataFrame
    humans: tuple[str, ...]
    raters: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        source: str,
        *,
        humans: tuple[str, ...],
        raters: tuple[str, ...] = (),
        metrics: tuple[str, ...] = (),
        left_out: tuple[str, ...] = (),
    ) -> Rated:
        """Check the columns and convert ratings and scores to numbers.

        Args:
            table: cells may be text.
            source: where it was read from; errors begin with it.
            humans: see the class.
            raters: see the class.
            metrics: see the class.
            left_out: see the class.

        Raises:
            InputError: a column is missing, a key is empty or occurs twice, or a cell is not a number.
        """
        table = unique_items(table, ("item_id",), source)
        numbers = [to_numbers(table[name], source) for name in (*humans, *raters, *metrics)]
        return cls(table.with_columns(numbers), humans, raters, metrics, left_out)


@dataclass(frozen=True)
class Contrastive:
    """Answers of metrics to contrastive items, by direction.

    Attributes:
        table: ``item_id``, ``metric``, ``category``, ``prompt``, ``contrast_prompt``, ``order`` (of the two
            options, where a model was asked in both orders, else null), and a column per direction of
            :data:`croc.checks.schema.DIRECTIONS`: 1 right, 0 wrong, null where there is no answer or the
            benchmark has no such direction. One row per item, metric and order.
        left_out: sentences about what was not read, with counts.
    """

    table: pl.DataFrame
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: pl.DataFrame, source: str, left_out: tuple[str, ...] = ()) -> Contrastive:
        """Check the columns and convert the answers to numbers.

        Raises:
            InputError: a column is missing, a key is empty or occurs twice, or a cell is not a number.
        """
        require_columns(table, ("category", "prompt", "contrast_prompt"), source)
        table = unique_items(table, ("item_id", "metric", "order"), source)
        for name in DIRECTIONS:
            if name not in table.columns:
                table = table.with_columns(pl.lit(None, pl.Float64).alias(name))
        return cls(table.with_columns(to_numbers(table[name], source) for name in DIRECTIONS), left_out)

    def passed(self, metric: str, *directions: str, category: str | None = None) -> pl.Series:
        """1 for each item of a metric that is right in all directions named; null if an answer is missing."""
        rows = self.table.filter(pl.col("metric") == metric)
        if category is not None:
            rows = rows.filter(pl.col("category") == category)
        return rows.select(reduce(operator.mul, map(pl.col, directions)).alias("passed"))["passed"]


def table_of(
    rows: Sequence[Mapping[str, Any]], source: str, kinds: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """Rows that were read from JSON as a table.

    Args:
        rows: with the same keys each, ``item_id`` among them.
        source: where they were read from; errors begin with it.
        kinds: data types of columns that may be empty.

    Raises:
        InputError: a text is not valid Unicode, as JSON that was cut can have it.
    """
    try:
        return pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)
    except UnicodeEncodeError:
        for row in rows:
            for name, value in row.items():
                if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                    raise InputError(
                        f"{source}, item {row['item_id']!a}: {name!r} contains half of a surrogate pair"
                    ) from None
        raise


def unique_items(table: pl.DataFrame, keys: tuple[str, ...], source: str) -> pl.DataFrame:
    """The table, if no row has the keys of another.

    Raises:
        InputError: a key is missing, or two rows have the same keys.
    """
    require_columns(table, keys, source)
    require_cells(table, keys[:1], source)
    repeated = table.select(pl.struct(keys).is_duplicated()).to_series()
    if repeated.any():
        row = int(repeated.arg_max() or 0)
        named = ", ".join(f"{name} {table[name][row]!r}" for name in keys)
        raise InputError(f"{source}, row {row + 1}: {named} occurs twice")
    return table
