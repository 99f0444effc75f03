"""Datasets without what is held out, datasets about nothing else, and styles; manifest and card name both."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pictures import png
from staged_checks import row as make_row
from staged_checks import stage

from builders.syn import build_exact, build_staged
from builders.train import HELD_OUT, Selection, build_train
from croc.errors import InputError
from croc_syn.world import VERSION, HeldOut, Scene, read_scene

OPTIONS = ("nouns=0.2", "values=colour=red,count=3,setting=kitchen", "compositions=0.1")
COMMON = {"images": 1, "size": 48, "audit_checks": 0, "progress": False, "subsets": ["property_variation"]}


def rows_of(out: Path, split: str = "*") -> list[dict]:
    return [
        row for file in sorted(out.glob(f"data/{split}-*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def scenes_of(rows: list[dict]) -> list[Scene]:
    return [
        read_scene(image["bytes"])
        for row in rows
        for side in ("images", "contrast_images")
        for image in row[side]
    ]


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("without") / "syn"
    splits = {"train": 0.7, "test": 0.3}
    return build_exact(out, checks=48, style="flat", hold_out=OPTIONS, splits=splits, **COMMON).out


def test_no_prompt_and_no_image_contains_what_is_held_out(without: Path) -> None:
    held_out, rows = HeldOut.of(OPTIONS), rows_of(without)
    assert len(rows) == 48
    prompts = [prompt for row in rows for prompt in (row["prompt"], row["contrast_prompt"])]
    assert not any(held_out.is_in_prompt(prompt) for prompt in prompts)
    assert not any(held_out.is_in_scene(scene) for scene in scenes_of(rows))


def test_style_and_held_out_stand_in_rows_manifest_and_card(without: Path) -> None:
    rows, held_out = rows_of(without), HeldOut.of(OPTIONS)
    assert {scene.style for scene in scenes_of(rows)} == {"flat"}
    (model,) = {row["image_model"] for row in rows}
    assert model.startswith(f"exact@{VERSION}+style=flat+without=")
    recipe = json.loads((without / "manifest.json").read_text("utf-8"))["recipe"]
    assert recipe["style"] == "flat"
    assert recipe["held_out"] == held_out.as_dict()
    card = (without / "README.md").read_text("utf-8")
    assert "- Drawing style of the exact world: flat." in card.splitlines()
    (line,) = [line for line in card.splitlines() if line.startswith("- Held out") and ": nouns " in line]
    assert line.endswith(", ".join(sorted(held_out.nouns)) + ".")


def test_the_usual_build_names_no_style_and_holds_nothing_out(tmp_path: Path) -> None:
    out = build_exact(tmp_path / "syn", checks=6, **COMMON).out
    assert {row["image_model"] for row in rows_of(out)} == {f"exact@{VERSION}"}
    recipe = json.loads((out / "manifest.json").read_text("utf-8"))["recipe"]
    assert not {"style", "held_out", "only_held_out"} & set(recipe)


def test_every_check_of_a_test_is_about_what_is_held_out(tmp_path: Path) -> None:
    held_out = HeldOut.of(["values=colour=red"])
    out = build_exact(
        tmp_path / "syn", checks=16, hold_out=["values=colour=red"], held_out_only=True, **COMMON
    ).out
    for row in rows_of(out):
        assert held_out.is_in_prompt(row["prompt"]) or held_out.is_in_prompt(row["contrast_prompt"])
    assert (
        "- Only checks with these: values colour=red." in (out / "README.md").read_text("utf-8").splitlines()
    )


def test_training_questions_leave_out_what_is_held_out_and_the_test_keeps_it(
    without: Path, tmp_path: Path
) -> None:
    options = ("frames=there is,picture of", "nouns=cat,person")
    selection = Selection({"property_variation": None}, held_out=options)
    report = build_train(without, tmp_path / "train", selection=selection, progress=False)
    held_out = HeldOut.of(options)
    questions = rows_of(report.out, "train")
    assert questions
    for question in questions:
        assert not held_out.is_in_prompt(question["prompt"])
        assert not held_out.is_in_scene(read_scene(question["image"]["bytes"]))
    assert report.dropped[HELD_OUT] > 0
    assert any(held_out.is_in_prompt(question["prompt"]) for question in rows_of(report.out, "test"))
    recipe = json.loads((report.out / "manifest.json").read_text("utf-8"))["recipe"]
    assert recipe["held_out"] == held_out.as_dict()


def test_nothing_can_be_held_out_of_images_without_a_scene(tmp_path: Path) -> None:
    images = [{"bytes": png(1), "path": None}]
    other = [{"bytes": png(2), "path": None}]
    one = make_row(1, prompt="a dog", contrast_prompt="a cat", images=images, contrast_images=other)
    folder = build_staged(
        stage(tmp_path / "staged", [one], size=1).folder,
        tmp_path / "syn",
        splits={"train": 1.0},
        progress=False,
    ).out
    with pytest.raises(InputError, match="checks of the exact world only"):
        build_train(folder, tmp_path / "out", selection=Selection(held_out=("nouns=bird",)), progress=False)
