"""Columns are declared once; features, Arrow schemas and tables of documentation follow from them."""

from __future__ import annotations

from dataclasses import replace

import datasets
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from croc.checks.columns import (
    Column,
    arrow_schema,
    columns_of,
    columns_of_features,
    features,
    markdown_table,
    pick,
)
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, PAIR_COLUMNS, ContrastCheck, check_features
from croc.tables.columns import OPTIONAL_COLUMNS, SCORE_TABLE, score_schema

names = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=6)
plain = st.builds(
    Column,
    names,
    st.sampled_from(["string", "int32", "int64", "float64", "bool", "timestamp", "image"]),
    st.just("meaning"),
    st.booleans(),
)


def unique(columns: list[Column]) -> tuple[Column, ...]:
    return tuple({column.name: column for column in columns}.values())


records = st.builds(
    lambda name, fields, many: Column(name, "record", "meaning", many, unique(fields)),
    names,
    st.lists(plain, min_size=1, max_size=3),
    st.booleans(),
)
tables = st.lists(plain | records, min_size=1, max_size=6).map(unique)


def without_meaning(column: Column) -> Column:
    return replace(column, meaning="", fields=tuple(without_meaning(field) for field in column.fields))


@settings(deadline=None)
@given(tables)
def test_features_and_arrow_schema_say_the_same(columns):
    derived = features(columns)
    schema = arrow_schema(columns)
    assert derived.arrow_schema.remove_metadata() == schema
    assert list(derived) == schema.names == [column.name for column in columns]
    assert columns_of_features(derived) == tuple(without_meaning(column) for column in columns)
    # The metadata that `datasets` writes gives the features back, images included.
    assert datasets.Features.from_arrow_schema(derived.arrow_schema) == derived


@pytest.mark.parametrize(
    "columns", [CHECK_COLUMNS, EXTRA_COLUMNS, PAIR_COLUMNS, (*SCORE_TABLE, *OPTIONAL_COLUMNS)]
)
def test_every_declared_column_has_a_meaning_that_fits_a_table(columns):
    (table,) = [
        token
        for token in MarkdownIt().enable("table").parse(markdown_table(columns))
        if token.type == "table_open"
    ]
    assert table is not None
    for column in columns:
        assert column.meaning and not column.meaning.endswith(".") and "|" not in column.meaning
    assert len({column.name for column in columns}) == len(columns)


def test_the_columns_of_a_check_are_those_of_its_record():
    # Written out by hand once: files of datasets have this order and these types.
    text, number = datasets.Value("string"), datasets.Value("int64")
    images, vote = datasets.List(datasets.Image()), {"annotator": text, "item": text, "value": text}
    assert list(check_features().items()) == list(
        {
            **dict.fromkeys(("check_id", "concept_id", "prompt", "contrast_prompt"), text),
            **dict.fromkeys(("images", "contrast_images"), images),
            **dict.fromkeys(("subset", "category", "property", "property_path", "topic", "entity"), text),
            "contrast_topic": text,
            **dict.fromkeys(("seeds", "contrast_seeds"), datasets.List(number)),
            "generation": number,
            **dict.fromkeys(("text_model", "image_model", "language", "license"), text),
            "votes": datasets.List({**vote, "reason": text, "seconds": datasets.Value("float64")}),
            "agreement": datasets.Value("float64"),
        }.items()
    )
    row = ContrastCheck("c", "k", "a", "b", [], []).row()
    assert list(row) == list(check_features())
    assert pa.Table.from_pylist([row], schema=arrow_schema(CHECK_COLUMNS)).num_rows == 1


def test_the_type_of_a_column_is_said_in_words():
    said = {column.name: column.type for column in (*CHECK_COLUMNS, *SCORE_TABLE, *EXTRA_COLUMNS)}
    assert said["images"] == "list of image"
    assert said["votes"] == "list of record of annotator, item, value, reason, seconds"
    assert (said["image_index"], said["seeds"]) == ("int32", "list of int64")


def test_columns_are_picked_by_name_in_the_order_of_the_names():
    assert [column.name for column in pick(CHECK_COLUMNS, ("topic", "check_id"))] == ["topic", "check_id"]
    with pytest.raises(KeyError):
        pick(CHECK_COLUMNS, ("tpoic",))


def test_a_field_of_a_type_without_a_kind_is_an_error():
    class Odd:
        x: complex

    with pytest.raises(KeyError):
        columns_of(Odd)


def test_a_score_table_has_optional_columns_where_they_are_named():
    assert score_schema().names[-1] == "error"
    assert score_schema(["truncated", "other"]).names == [*score_schema().names, "truncated"]
    assert str(score_schema(["truncated"]).field("truncated").type) == "bool"
