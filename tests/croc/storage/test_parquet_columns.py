"""Columns of text that a file must have once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from croc.errors import InputError
from croc.storage.parquet import require_texts


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "a"], "the column 'a' occurs twice"),
        (["b"], "the column 'a' is missing"),
    ],
)
def test_a_column_that_is_not_there_once_is_named(names: list[str], message: str) -> None:
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    with pytest.raises(InputError, match=message):
        require_texts(schema, ["b", "a"], Path("t.parquet"))
