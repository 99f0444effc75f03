"""Readers of answers to contrastive items on small files in their formats: ColorSwap, SugarCrepe."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.external.benchmarks import colorswap, sugarcrepe_gpt4v

# ---- ColorSwap ----

A, B = "a white raft floats on blue water", "a blue raft floats on white water"


def text_example(item: int, responses: tuple[str, str], right: tuple[str, str]) -> dict[str, Any]:
    logs = [{"caption_1": A, "caption_2": B, "correct_answer": answer} for answer in right]
    return {
        "id": item,
        **{f"response_image_{n}": response for n, response in enumerate(responses, 1)},
        **{f"log_{n}": log for n, log in enumerate(logs, 1)},
    }


def image_example(item: int, responses: tuple[str, str], right: tuple[str, str]) -> dict[str, Any]:
    logs = [
        {"caption": caption, "correct_answer": answer} for caption, answer in zip((A, B), right, strict=True)
    ]
    return {
        "id": item,
        **{f"response_caption_{n}": response for n, response in enumerate(responses, 1)},
        **{f"log_{n}": log for n, log in enumerate(logs, 1)},
    }


def write_colorswap(folder: Path) -> Path:
    text = [
        text_example(1, ("A) a white raft", "(B) it is"), ("A", "B")),
        text_example(2, ("The image presents option B.", "I cannot say."), ("A", "B")),
    ]
    image = [
        image_example(1, ("The first image.", "The second image better aligns."), ("first", "second")),
        image_example(2, ("The first one, not the second.", "First."), ("first", "second")),
    ]
    for model in colorswap.MODELS:
        (folder / f"text-{model}-colorswap.json").write_text(json.dumps(text))
        (folder / f"image-{model}-colorswap.json").write_text(json.dumps(image))
    return folder


def test_choices_in_words_become_answers_by_direction(tmp_path: Path) -> None:
    items = colorswap.read(write_colorswap(tmp_path))
    rows = items.table.filter(metric="llava").select("prompt", "contrast_prompt", *DIRECTIONS).rows()
    assert rows == [(A, B, 1, 1, 1, 1), (A, B, 0, None, None, 0)]
    assert "llava: no choice found in 2 answers." in items.left_out
    parity, default = (colorswap.compute(items, mode) for mode in ("parity", "default"))
    assert (parity["gpt4v text score"], default["gpt4v text score"]) == (50, 100)
    assert (parity["gpt4v group score"], default["gpt4v group score"]) == (50, 100)


@pytest.mark.parametrize(
    ("response", "names"),
    [
        (f"It shows that {A}.", True),
        (f"{A}, or {B}", False),
        ("A", True),
        ("Option A) is right", True),
        ("option (a) rather than option (B)", False),
        ("it would imply (A), not (B)", True),
        ("White raft floats on blue water!", True),
        ("A white raft floats on the blue water", True),
    ],
)
def test_an_answer_names_a_caption_by_the_rules_of_the_authors(response: str, names: bool) -> None:
    assert colorswap._names_text(response, A, B, "A", "B") is names


def test_files_that_are_not_as_published_are_refused(tmp_path: Path) -> None:
    file = write_colorswap(tmp_path) / "text-llava-colorswap.json"
    examples = json.loads(file.read_text())
    del examples[1]["log_2"]
    file.write_text(json.dumps(examples))
    with pytest.raises(InputError, match=r"text-llava-colorswap\.json, example 2: log_2: Field required"):
        colorswap.read(tmp_path)
    file.write_text(json.dumps(examples[:1]))
    with pytest.raises(InputError, match="the text and image files of llava have other examples"):
        colorswap.read(tmp_path)


def test_answers_found_in_the_published_files_are_those_of_a_second_reading(shared_data: Path) -> None:
    folder = shared_data / "ratings" / "colorswap"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    table = colorswap.read(folder).table
    for model in colorswap.MODELS:
        own = {row[0]: row[1:] for row in table.filter(metric=model).select("item_id", *DIRECTIONS).rows()}
        with (folder / f"colorswap_{model}.csv").open(newline="") as lines:
            for line in csv.DictReader(lines):
                names = ("text_1_ok", "text_2_ok", "image_1_ok", "image_2_ok")
                expected = tuple(None if line[name] == "" else float(line[name]) for name in names)
                assert own.pop(line["id"]) == expected
        assert not own


# ---- SugarCrepe ----


def answer(correct: object) -> dict[str, Any]:
    return {
        "answer": {"free_form_answer": "(1)", "multiple_choice_answer": "x"},
        "caption": "A cat.",
        "negative_caption": "A dog.",
        "filename": "1.jpg",
        "correct": correct,
    }


def write_sugarcrepe(folder: Path) -> Path:
    for order, answers in (("positive-first", (True, True, False)), ("negative-first", (True, False, False))):
        place = folder / "gpt-4v-results" / order
        place.mkdir(parents=True)
        for split in sugarcrepe_gpt4v.SPLITS:
            content = {str(n): answer(correct) for n, correct in enumerate(answers)}
            (place / f"gpt4v-{split}.json").write_text(json.dumps({**content, "accuracy": 0.5}))
    return folder


def test_answers_in_both_orders_are_counted(tmp_path: Path) -> None:
    items = sugarcrepe_gpt4v.read(write_sugarcrepe(tmp_path))
    assert len(items.table) == 7 * 3 * 2
    found = sugarcrepe_gpt4v.compute(items, "parity")
    assert (found["add_att positive first"], found["add_att negative first"]) == (2, 1)
    assert found["add_att average"] == pytest.approx(0.5)
    assert found["add_att both orders"] == pytest.approx(1 / 3)


def test_a_table_of_answers_takes_the_place_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    rows = ["split,id,filename,caption,negative_caption,correct_positive_first,correct_negative_first"]
    for split in sugarcrepe_gpt4v.SPLITS:
        rows += [
            f"{split},{n},1.jpg,A cat.,A dog.,{answers}" for n, answers in enumerate(("1,1", "1,0", "0,0"))
        ]
    (tmp_path / "flat/sugarcrepe_gpt4v.csv").write_text("\n".join(rows) + "\n")
    both = [
        sugarcrepe_gpt4v.read(folder) for folder in (write_sugarcrepe(tmp_path / "full"), tmp_path / "flat")
    ]
    assert sugarcrepe_gpt4v.compute(both[0], "default") == sugarcrepe_gpt4v.compute(both[1], "default")


def test_an_answer_that_is_neither_right_nor_wrong_is_refused(tmp_path: Path) -> None:
    file = write_sugarcrepe(tmp_path) / "gpt-4v-results/positive-first/gpt4v-add_obj.json"
    file.write_text(json.dumps({"0": answer("yes")}))
    with pytest.raises(
        InputError, match=r"gpt4v-add_obj\.json, item '0': correct: Input should be a valid boolean"
    ):
        sugarcrepe_gpt4v.read(tmp_path)
