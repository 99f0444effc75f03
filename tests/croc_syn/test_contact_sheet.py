"""The sheet shows the checks that were asked for, prompt above image."""

from __future__ import annotations

import base64
import io
import re

import pyarrow.parquet as pq
import pytest
from PIL import Image

from builders.syn import build_exact
from croc.errors import InputError
from croc_syn.contact_sheet import BACK, MARKS, as_page, as_picture, card_of, marked, sheet
from croc_syn.stratified_rows import read_rows, sample_rows, shard_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sheet") / "syn"
    return build_exact(out, checks=20, images=2, size=48, audit_checks=0, progress=False).out


def picture(colour, size=48):
    data = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(data, "PNG")
    return {"bytes": data.getvalue()}


def check(prompt="a red dog", contrast="a blue dog"):
    return {
        "subset": "property_variation",
        "category": None,
        "property": "colour",
        "prompt": prompt,
        "contrast_prompt": contrast,
        "images": [picture("#ff0000")] * 2,
        "contrast_images": [picture("#0000ff")] * 2,
    }


def test_words_that_differ_are_marked_on_both_sides():
    first, second = marked("a red dog and two cats", "a dog and three cats")
    assert [word for word, differs in first if differs] == ["red", "two"]
    assert [word for word, differs in second if differs] == ["three"]


def test_words_that_trade_places_are_marked_where_they_stand():
    first, second = marked("a black dog and an orange cross", "an orange dog and a black cross")
    assert [word for word, differs in first if differs] == ["a", "black", "an", "orange"]
    assert [word for word, differs in second if differs] == ["an", "orange", "a", "black"]


def test_the_picture_has_the_image_above_the_contrast_and_the_columns_asked_for():
    cards = [card_of(check(), 1)] * 3
    drawn = as_picture(cards, 2, 50)
    red = [(x, y) for x, y in _points(drawn) if drawn.getpixel((x, y)) == (255, 0, 0)]
    blue = [(x, y) for x, y in _points(drawn) if drawn.getpixel((x, y)) == (0, 0, 255)]
    assert len({x // (drawn.width // 2) for x, _ in red}) == 2
    assert min(y for _, y in red) < min(y for _, y in blue)
    assert len(red) == len(blue)
    assert drawn.getpixel((0, 0)) == tuple(bytes.fromhex(BACK[1:]))
    assert tuple(bytes.fromhex(MARKS["contrast"][1:])) in {colour for _, colour in drawn.getcolors(1 << 24)}


def _points(image):
    return [(x, y) for x in range(0, image.width, 3) for y in range(0, image.height, 3)]


def test_a_long_prompt_is_wrapped_inside_its_card():
    words = "a very long prompt with many words that says a great deal"
    narrow = as_picture([card_of(check(words), 1)], 1, 60)
    assert narrow.width == as_picture([card_of(check(), 1)], 1, 60).width
    assert narrow.height > as_picture([card_of(check(), 1)], 1, 60).height


def test_the_page_holds_its_images_and_nothing_of_a_prompt_becomes_markup():
    page = as_page([card_of(check('<script>"x"</script> & more'), 2)], 48)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(source) for source in sources] == [picture("#ff0000")["bytes"]] * 2 + [
        picture("#0000ff")["bytes"]
    ] * 2
    assert "http" not in page


def test_a_sheet_of_one_property_shows_that_property_alone(folder, tmp_path):
    properties = {
        name for file in shard_files(folder) for name in pq.read_table(file)["property"].to_pylist()
    }
    wanted = sorted(properties - {None})[0]
    out = sheet(folder, tmp_path / "x.html", property_name=wanted, checks=3)
    titles = re.findall(r"<h2>(.*?)</h2>", out.read_text())
    assert titles
    assert all(title.endswith(wanted.replace("_", " ")) for title in titles)


def test_a_sheet_is_written_as_png_too(folder, tmp_path):
    out = sheet(folder, tmp_path / "x.png", checks=4, columns=2, width=48)
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 2 * 48


def test_another_seed_shows_other_checks_and_the_same_seed_the_same(folder):
    files = shard_files(folder)
    first, again, other = (sample_rows(files, 5, seed=seed).places for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_chosen_rows_are_spread_over_subsets_and_properties(folder):
    files = shard_files(folder)
    everything = list(read_rows(sample_rows(files, 10_000).places))
    strata = {(row["subset"], row["property"]) for row in everything}
    few = list(read_rows(sample_rows(files, len(strata)).places))
    assert {(row["subset"], row["property"]) for row in few} == strata
    assert len(everything) == sum(pq.ParquetFile(file).metadata.num_rows for file in files)


def test_what_cannot_be_shown_is_said(folder, tmp_path):
    rows = read_rows(sample_rows(shard_files(folder), 20).places)
    there = sorted({row["property"] for row in rows} - {None})[0]
    with pytest.raises(InputError, match=f"'{there}x' is not in these checks; did you mean '{there}'"):
        sheet(folder, tmp_path / "x.png", property_name=there + "x")
    with pytest.raises(InputError, match=r"x\.jpg: the name of a contact sheet ends in \.png or \.html"):
        sheet(folder, tmp_path / "x.jpg")
    with pytest.raises(InputError, match="not a finished folder of checks"):
        sheet(tmp_path, tmp_path / "x.png")
    with pytest.raises(InputError, match="at least one check"):
        sheet(folder, tmp_path / "x.png", checks=0)
