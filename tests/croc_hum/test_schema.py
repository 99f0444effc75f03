"""Files of items: what can be shown, what is refused with its row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hum_items import item, items, write

from croc.errors import InputError
from croc_hum.release.release import read_item_ids
from croc_hum.schema import items_schema, read_items, votes_schema

pytest_plugins = ("hum_store",)


def test_items_come_from_a_file_or_a_folder_and_twice_is_once(make, tmp_path):
    write(items(5), tmp_path / "a.parquet")
    store = make([])
    assert store.add_items(read_items(tmp_path / "a.parquet")) == 5
    assert store.add_items(read_items(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "poem"}, "task must be one of"),
        ({"prompt": ""}, "prompt must not be empty"),
        ({"prompt": "x" * 2001}, "2001 characters"),
        ({"image": b"no image"}, "cannot be decoded"),
        ({"expected": "perhaps"}, "expected must be one of"),
        ({"attention": True, "expected": None}, "needs an expected answer"),
        ({"category": "<b>"}, "category must be one of"),
        ({"task": "preference", "expected": None, "contrast_prompt": None}, "needs a contrast_prompt"),
    ],
)
def test_items_that_cannot_be_shown_are_refused_with_their_row(tmp_path, change, message):
    write([item(0), {**item(1), **change}], tmp_path / "items.parquet")
    with pytest.raises(InputError, match=f"row 1: .*{message}"):
        list(read_items(tmp_path / "items.parquet"))


# The schemas of files that exist: a change of the declaration must not change them.
ITEM_FILE = pa.schema(
    [
        ("item_id", pa.string()),
        ("task", pa.string()),
        ("check_id", pa.string()),
        ("concept_id", pa.string()),
        ("category", pa.string()),
        ("property", pa.string()),
        ("prompt", pa.string()),
        ("contrast_prompt", pa.string()),
        ("side", pa.string()),
        ("image_index", pa.int64()),
        ("image", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        ("expected", pa.string()),
        ("attention", pa.bool_()),
        ("text_model", pa.string()),
        ("image_model", pa.string()),
        ("seed", pa.int64()),
    ]
)
VOTE_FILE = pa.schema(
    [
        ("vote_id", pa.string()),
        ("item_id", pa.string()),
        ("annotator", pa.string()),
        ("role", pa.string()),
        ("task", pa.string()),
        ("answer", pa.string()),
        ("reason", pa.string()),
        ("shown_first", pa.string()),
        ("shown_at", pa.timestamp("ms", tz="UTC")),
        ("voted_at", pa.timestamp("ms", tz="UTC")),
        ("duration_s", pa.float64()),
        ("version", pa.string()),
        ("attention", pa.bool_()),
        ("expected", pa.string()),
        ("undone", pa.bool_()),
        ("check_id", pa.string()),
        ("concept_id", pa.string()),
        ("category", pa.string()),
        ("property", pa.string()),
        ("prompt", pa.string()),
        ("contrast_prompt", pa.string()),
        ("side", pa.string()),
        ("image_index", pa.int64()),
        ("text_model", pa.string()),
        ("image_model", pa.string()),
    ]
)


def test_another_parquet_file_is_no_file_of_items(tmp_path):
    pq.write_table(pa.table({"check_id": ["a"], "item_id": ["b"]}), tmp_path / "checks.parquet")
    for read in (lambda path: list(read_items(path)), read_item_ids):
        with pytest.raises(InputError, match=r"columns missing from the file of items: task, prompt, image"):
            read(tmp_path / "checks.parquet")


def test_a_release_does_not_need_the_optional_columns(tmp_path):
    columns = ["item_id", "task", "prompt", "image"]
    pq.write_table(
        pq.read_table(write(items(2), tmp_path / "a.parquet")).select(columns), tmp_path / "b.parquet"
    )
    assert read_item_ids(tmp_path / "b.parquet") == {row["item_id"] for row in items(2)}


def test_the_arrow_schemas_of_items_and_votes_are_those_of_existing_files():
    assert items_schema() == ITEM_FILE
    assert votes_schema() == VOTE_FILE
