"""Readers of captions and images on small files in their formats: Winoground, SugarCrepe, EqBen, …"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_layouts import LAYOUTS, put, winoground_parquet
from pictures import png
from PIL import Image
from score_rows import check_rows, table

from croc.errors import InputError
from croc.external.benchmark import find_benchmark
from croc.external.benchmarks import (
    colorswap,
    eqben,
    naturalbench,
    nlvr,
    sugarcrepe,
    sugarcrepe_pp,
    vismin,
    winoground,
)
from croc.external.images import Pairs, StoredImage
from croc.external.standard import direction_scores


def written(name: str, folder: Path) -> Path:
    LAYOUTS[name](folder)
    return folder


def texts(pairs: Pairs, number: int = 0) -> tuple[Any, ...]:
    check = pairs.checks[number]
    return check.check_id, check.concept_id, check.category, check.prompt, check.contrast_prompt


# ---- Winoground ----


def test_an_example_of_winoground_has_a_caption_and_an_image_on_each_side(tmp_path: Path) -> None:
    pairs = winoground.pairs(written("winoground", tmp_path))
    assert texts(pairs, 1) == ("1", "1", "Object", "a dog chases 1 cats", "1 cats chase a dog")
    ((first,), (second,)) = pairs.checks[1].images, pairs.checks[1].contrast_images
    assert isinstance(first, StoredImage) and (first.read(), second.read()) == (png(2), png(3))


def test_parquet_files_of_winoground_hold_the_same(tmp_path: Path) -> None:
    lines = winoground.pairs(written("winoground", tmp_path / "a"))
    (tmp_path / "b").mkdir()
    winoground_parquet(tmp_path / "b")
    parquet = winoground.pairs(tmp_path / "b")
    assert [texts(parquet, n) for n in range(6)] == [texts(lines, n) for n in range(6)]
    assert [image.read() for image in parquet.images()] == [png(n) for n in range(12)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"examples\.jsonl, line 2: not JSON"),
        ('{"id": 1}', r"examples\.jsonl, line 2: image_0: Field required"),
        ('{"id": "x", "image_0": "a"}', r"line 2: id: Input should be a valid integer"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = written("winoground", tmp_path) / "data" / "examples.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n" + line)
    with pytest.raises(InputError, match=message):
        winoground.pairs(tmp_path)
    file.write_text("\n")
    with pytest.raises(InputError, match=r"examples\.jsonl: no examples"):
        winoground.pairs(tmp_path)


def test_winogrounds_scores_by_hand() -> None:
    rows = [
        *check_rows("0", [(0.9, 0.1)], [(0.2, 0.8)], category="Object"),  # right everywhere
        *check_rows("1", [(0.9, 0.1)], [(0.3, 0.2)], category="Object"),  # the second image: wrong caption
        *check_rows("2", [(0.5, 0.4)], [(0.6, 0.7)], category="Both"),  # captions right, first image wrong
        *check_rows("3", [(0.5, 0.5)], [(0.4, 0.6)], category="Both"),  # a tie of captions
    ]
    found = direction_scores([table("m", rows, protocol="hum")], "parity")
    names = ("text score", "image score", "group score")
    assert [found[f"m {name}"] for name in names] == [0.5, 0.75, 0.25]
    assert [found[f"m {name}, Object"] for name in names] == [0.5, 1, 0.5]
    assert [found[f"m {name}, Both"] for name in names] == [0.5, 0.5, 0]
    by_default = direction_scores([table("m", rows, protocol="hum")], "default")
    assert (found["m forward text"], by_default["m forward text"]) == (0.75, 0.875)


# ---- SugarCrepe, SugarCrepe++ ----


def test_captions_of_a_photograph_are_resampled_together(tmp_path: Path) -> None:
    pairs = sugarcrepe.pairs(written("sugarcrepe", tmp_path))
    assert len(pairs.checks) == 21
    name = "000000000001.jpg"
    assert texts(pairs, 1) == (
        *("swap_att/1", name, "swap_att"),
        *("1 dogs and a cat.", "1 cats and a dog and more."),
    )
    assert pairs.checks[1].images == [tmp_path / "val2017" / name] and not pairs.checks[1].contrast_images


def test_sugarcrepe_has_accuracies_of_captions_only() -> None:
    rows = [
        *check_rows("swap_att/0", [(0.9, 0.1)], [], category="swap_att"),
        *check_rows("swap_obj/0", [(0.1, 0.9)], [], category="swap_obj"),
        *check_rows("swap_obj/1", [(0.9, 0.1)], [], category="swap_obj"),
        *check_rows("swap_obj/2", [(0.9, 0.1)], [], category="swap_obj"),
    ]
    found = direction_scores([table("m", rows, protocol="hum")], "parity")
    assert found == {
        "m forward text": 0.75,
        "m forward text, swap_att": 1,
        "m forward text, swap_obj": pytest.approx(2 / 3),
    }


def test_both_captions_of_sugarcrepe_pp_must_score_higher(tmp_path: Path) -> None:
    pairs = sugarcrepe_pp.pairs(written("sugarcrepe_pp", tmp_path))
    assert len(pairs.checks) == 30 and not pairs.left_out
    first, second = texts(pairs, 2), texts(pairs, 3)
    assert (first[0], second[0]) == ("swap_att/1/1", "swap_att/1/2")
    assert (first[3], second[3]) == ("1 dogs and a cat lie down.", "A cat, 1 dogs.")
    assert first[1] == second[1] and first[4] == second[4] == "1 cats and a dog."


def test_scores_of_sugarcrepe_pp_by_hand() -> None:
    scores = {
        "swap_att/0": (0.9, 0.8),
        "swap_att/1": (0.9, 0.4),  # the second caption is wrong
        "swap_obj/0": (0.5, 0.9),  # a tie
        "swap_obj/1": (0.9, None),
        "swap_obj/2": (0.9, 0.9),
    }
    rows = [
        row
        for item, captions in scores.items()
        for number, own in enumerate(captions, 1)
        for row in check_rows(f"{item}/{number}", [(own, 0.5)], [], category=item.partition("/")[0])
    ]
    parity, default = (
        sugarcrepe_pp.score([table("m", rows, protocol="hum")], mode) for mode in ("parity", "default")
    )
    assert parity["m both captions"] == pytest.approx(2 / 5)
    assert default["m both captions"] == pytest.approx(2 / 4)  # without the item with a missing score
    assert (parity["m both captions, swap_obj"], parity["m first caption"]) == (pytest.approx(1 / 3), 0.8)
    assert (parity["m second caption"], default["m second caption"]) == (0.6, 0.75)


def test_an_item_with_one_of_its_captions_is_no_item() -> None:
    rows = check_rows("swap_att/0/1", [(0.9, 0.5)], [], category="swap_att")
    for mode in ("parity", "default"):
        found = sugarcrepe_pp.score([table("m", rows, protocol="hum")], mode)
        assert found == {"m first caption": 1, "m first caption, swap_att": 1}


def test_a_wrong_caption_that_is_a_right_one_is_counted(tmp_path: Path) -> None:
    file = written("sugarcrepe_pp", tmp_path) / "data" / "swap_obj.json"
    items = json.loads(file.read_text())
    items[0]["negative_caption"] = items[0]["caption2"]
    file.write_text(json.dumps(items))
    (note,) = sugarcrepe_pp.pairs(tmp_path).left_out
    assert note == "1 item in which a right caption is the wrong one: always a tie."


@pytest.mark.parametrize("name", ["sugarcrepe", "sugarcrepe_pp"])
def test_splits_that_are_not_as_published_are_refused(tmp_path: Path, name: str) -> None:
    benchmark = find_benchmark(name)
    assert benchmark.pairs is not None
    file = written(name, tmp_path) / "data" / "replace_att.json"
    whole = file.read_text()
    file.write_text(whole.replace('"negative_caption"', '"negative"', 1))
    with pytest.raises(InputError, match=r"replace_att\.json.*: 0\.negative_caption: Field required"):
        benchmark.pairs(tmp_path)
    file.write_text("{}" if name == "sugarcrepe" else "[]")
    with pytest.raises(InputError, match=r"replace_att\.json: no items"):
        benchmark.pairs(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"no file data/replace_att\.json or replace_att\.json"):
        benchmark.pairs(tmp_path)


# ---- ColorSwap ----


def test_the_items_of_colorswap_are_those_that_models_answered(tmp_path: Path) -> None:
    listed = colorswap.pairs(written("colorswap", tmp_path))
    assert texts(listed, 1) == (
        *["11"] * 2,
        "colour",
        "11 white rafts on blue water",
        "11 blue rafts on white water",
    )
    assert [image.read() for image in listed.images()][:2] == [png(109), png(209)]  # type: ignore[union-attr]
    (tmp_path / "data" / "test.json").unlink()
    answered = colorswap.pairs(tmp_path)
    assert [texts(answered, n) for n in range(3)] == [texts(listed, n) for n in range(3)]
    assert [image.read() for image in answered.images()] == [  # type: ignore[union-attr]
        image.read()  # type: ignore[union-attr]
        for image in listed.images()
    ]


# ---- EqBen ----


def test_the_category_of_eqben_is_the_source_of_the_images(tmp_path: Path) -> None:
    pairs = eqben.pairs(written("eqben", tmp_path))
    assert [check.category for check in pairs.checks] == [
        "eqbensd",
        "eqbensd",
        "eqbenkubric_cnt",
        "eqbenyoucook2",
    ]
    assert texts(pairs, 2)[3:] == ("2 cups", "2 plates and a cup")


def test_a_frame_stored_as_an_array_has_its_colours_in_the_order_of_the_authors(tmp_path: Path) -> None:
    pairs = eqben.pairs(written("eqben", tmp_path))
    (frame,) = pairs.checks[3].images
    assert isinstance(frame, StoredImage)
    expected = np.asarray(Image.open(io.BytesIO(png(6))).convert("RGB"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(frame.read()))), expected)
    file = tmp_path / "images/eqbenyoucook2/3/0.npy"
    for content, message in (
        (np.zeros((2, 2)), "expected uint8 numbers of the shape"),
        (None, "cannot be read"),
    ):
        if content is None:
            file.write_bytes(b"no array")
        else:
            np.save(file, content)
        with pytest.raises(InputError, match=message):
            frame.read()


def test_an_annotation_of_eqben_without_items_or_with_another_key_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "all_select.json", [])
    with pytest.raises(InputError, match=r"all_select\.json: no items"):
        eqben.pairs(tmp_path)
    put(tmp_path / "all_select.json", [{"image_0": "a", "image1": "b", "caption0": "c", "caption1": "d"}])
    with pytest.raises(InputError, match=r"all_select\.json: 0\.image0: Field required"):
        eqben.pairs(tmp_path)


# ---- NaturalBench ----


def test_naturalbench_is_read_from_its_archive_and_unpacked(tmp_path: Path) -> None:
    import zipfile

    packed = naturalbench.pairs(written("naturalbench", tmp_path))
    assert texts(packed, 2) == ("2", "2", None, "The 2 dogs sit.", "The 2 dogs are running.")
    content = [image.read() for image in packed.images()]  # type: ignore[union-attr]
    zipfile.ZipFile(tmp_path / "NaturalBench-Retrieval.zip").extractall(tmp_path / "unpacked")
    for folder in (tmp_path / "unpacked", tmp_path / "unpacked" / "NaturalBench-Retrieval"):
        found = naturalbench.pairs(folder)
        assert [texts(found, n) for n in range(3)] == [texts(packed, n) for n in range(3)]
        assert [image.read_bytes() for image in found.images()] == content  # type: ignore[union-attr]


def test_naturalbench_without_its_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metadata\.json: cannot be read \(No such file"):
        naturalbench.pairs(tmp_path)
    put(tmp_path / "metadata.json", [{"index": 0}])
    with pytest.raises(InputError, match=r"metadata\.json: 0\.image_0: Field required"):
        naturalbench.pairs(tmp_path)


# ---- VisMin ----


def test_vismin_has_an_item_per_edit(tmp_path: Path) -> None:
    pairs = vismin.pairs(written("vismin", tmp_path))
    assert texts(pairs, 3) == (*["attribute/1"] * 2, "attribute", "A cat, and 1 dogs", "A horse and 1 dogs")
    assert pairs.checks[3].images == [tmp_path / "original_images/attribute/1.png"]
    assert pairs.checks[3].contrast_images == [tmp_path / "edited_images/attribute/1_edit.png"]
    file = tmp_path / "counting.csv"
    file.write_text(file.read_text().replace("edited_caption", "edited"))
    with pytest.raises(InputError, match=r"counting\.csv: missing column 'edited_caption'"):
        vismin.pairs(tmp_path)
    (tmp_path / "counting.csv").unlink()
    with pytest.raises(InputError, match=r"no file counting\.csv"):
        vismin.pairs(tmp_path)


# ---- NLVR ----


def test_nlvr_is_scored_as_the_checks_that_are_built(tmp_path: Path) -> None:
    folder = written("nlvr", tmp_path)
    scored, built = nlvr.pairs(folder), list(nlvr.checks(folder / "dev"))
    assert [check.check_id for check in scored.checks] == [check.check_id for check in built]
    for one, other in zip(scored.checks, built, strict=True):
        assert [file.read_bytes() for file in one.images] == [image["bytes"] for image in other.images]
        assert len(one.contrast_images) == len(other.contrast_images) == 2
    file = folder / "dev" / "dev.json"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[1:]))  # the first sentence has images of one kind left
    assert nlvr.pairs(folder).left_out == ("2 pairs of sentences with images of one kind left out.",)
