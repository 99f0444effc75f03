"""Files of items: what can be shown, what is refused with its row."""

from __future__ import annotations

import pytest
from hum_items import item, items, write

from croc.errors import InputError
from croc_hum.schema import read_items

pytest_plugins = ("hum_store",)


def test_items_come_from_a_file_or_a_folder_and_twice_is_once(make, tmp_path):
    write(items(5), tmp_path / "a.parquet")
    store = make([])
    assert store.add_items(read_items(tmp_path / "a.parquet")) == 5
    assert store.add_items(read_items(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "poem"}, "task is one of"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "x" * 2001}, "2001 letters"),
        ({"image": b"no image"}, "cannot be decoded"),
        ({"expected": "perhaps"}, "expected is one of"),
        ({"attention": True, "expected": None}, "needs an expected answer"),
        ({"category": "<b>"}, "is not one of"),
        ({"task": "preference", "expected": None, "contrast_prompt": None}, "needs a contrast_prompt"),
    ],
)
def test_items_that_cannot_be_shown_are_refused_with_their_row(tmp_path, change, message):
    write([item(0), {**item(1), **change}], tmp_path / "items.parquet")
    with pytest.raises(InputError, match=f"row 1: .*{message}"):
        list(read_items(tmp_path / "items.parquet"))
