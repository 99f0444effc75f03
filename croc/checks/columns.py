"""Columns of tables: declared once, with all other forms derived from the declaration.

A table is a tuple of :class:`Column`. ``datasets.Features``, Arrow schemas, the arguments of the ``evaluate``
module, and the tables of columns in cards and in the documentation are derived from it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

Kind = Literal["string", "int32", "int64", "float64", "bool", "timestamp", "image", "record"]
_KIND_OF: dict[Any, Kind] = {
    str: "string",
    int: "int64",
    float: "float64",
    bool: "bool",
    datetime: "timestamp",
}
_TIMESTAMP = "timestamp[ms, tz=UTC]"
"""The kind ``timestamp`` in ``datasets``."""


@dataclass(frozen=True)
class Column:
    """A column of a table, or a field of a record in one.

    Attributes:
        name: of the column.
        kind: of a value; ``image`` is ``{"bytes", "path"}``, ``timestamp`` is UTC in milliseconds, a
            ``record`` has ``fields``.
        meaning: for the documentation, a phrase without a full stop.
        many: whether a value is a list of that kind.
        fields: of a record.
    """

    name: str
    kind: Kind
    meaning: str
    many: bool = False
    fields: tuple[Column, ...] = ()

    @property
    def type(self) -> str:
        """The kind in words, such as ``list of image``."""
        names = f" of {', '.join(field.name for field in self.fields)}" if self.fields else ""
        words = f"{self.kind}{names}"
        return f"list of {words}" if self.many else words


def columns_of(record: type, kinds: Mapping[str, Kind] | None = None) -> tuple[Column, ...]:
    """The columns that a record class declares by its annotations.

    Args:
        record: a dataclass; each field is ``Annotated[type, "meaning"]``.
        kinds: kind of the fields whose type does not give it.
    """
    hints = typing.get_type_hints(record, include_extras=True)
    return tuple(_column(name, hint, (kinds or {}).get(name)) for name, hint in hints.items())


def _column(name: str, hint: Any, kind: Kind | None) -> Column:
    inner, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    meaning = next((extra for extra in extras if isinstance(extra, str)), "")
    if get_origin(inner) in (types.UnionType, typing.Union):
        (inner,) = (one for one in get_args(inner) if one is not type(None))
    many = get_origin(inner) is not None and issubclass(get_origin(inner), Sequence)
    if many:
        (inner,) = get_args(inner)
    fields = columns_of(inner) if is_dataclass(inner) and isinstance(inner, type) else ()
    kind = "record" if fields else kind or _KIND_OF[inner]
    return Column(name, kind, meaning, many, fields)


def pick(columns: Iterable[Column], names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of these names, in the order of the names.

    Raises:
        KeyError: no column has one of the names.
    """
    by_name = {column.name: column for column in columns}
    return tuple(by_name[name] for name in names)


def features(columns: Iterable[Column]) -> datasets.Features:
    """The columns as ``datasets.Features``."""
    from datasets import Features, Image, List, Value

    def feature(column: Column) -> Any:
        if column.many:
            return List(feature(replace(column, many=False)))
        if column.fields:
            return {field.name: feature(field) for field in column.fields}
        if column.kind == "image":
            return Image()
        return Value(_TIMESTAMP if column.kind == "timestamp" else column.kind)

    return Features({column.name: feature(column) for column in columns})


def columns_of_features(features: datasets.Features) -> tuple[Column, ...]:
    """The columns of an existing dataset; their meanings are empty."""

    def column(name: str, feature: Any) -> Column:
        if isinstance(feature, dict):
            fields = tuple(column(inner, value) for inner, value in feature.items())
            return Column(name, "record", "", fields=fields)
        if (inner := getattr(feature, "feature", None)) is not None:
            return replace(column(name, inner), many=True)
        if type(feature).__name__ == "Image":
            return Column(name, "image", "")
        return Column(name, "timestamp" if feature.dtype == _TIMESTAMP else feature.dtype, "")

    return tuple(column(name, feature) for name, feature in features.items())


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The columns as an Arrow schema; without the metadata by which ``datasets`` recognises images."""
    import pyarrow as pa

    simple = {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    }

    def kind(column: Column) -> pa.DataType:
        if column.many:
            return pa.list_(kind(replace(column, many=False)))
        if column.fields:
            return pa.struct({field.name: kind(field) for field in column.fields})
        return simple[column.kind]

    return pa.schema([(column.name, kind(column)) for column in columns])


def markdown_table(columns: Iterable[Column]) -> str:
    """The columns as a Markdown table: name, type, meaning."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.type} | {column.meaning} |" for column in columns]
    return "\n".join(lines) + "\n"
