"""Questions for training: balanced, nothing of one split in another, as many as were asked for."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from pictures import png
from staged_checks import row, stage

from builders import train
from builders.screening import fold_caption
from builders.syn import build_exact, build_staged
from builders.train import Selection, build_train, pair_features
from builders.verify import verify
from croc.errors import InputError
from croc.jobs.executors import local_executor
from croc_syn.world import parse
from croc_syn.world.language.wording import FRAMES, canonical

THIRDS = {"train": 0.5, "validation": 0.2, "test": 0.3}


def several(*numbers):
    return [{"bytes": png(number), "path": None} for number in numbers]


def checks():
    """60 checks of three subsets, three images a side."""
    subsets = ("property_variation", "entity_variation", "entity_placement")
    return [
        row(
            number,
            subset=subsets[number % 3],
            property="count" if number % 4 else "colour",
            images=several(*range(10 * number, 10 * number + 3)),
            contrast_images=several(*range(10_000 + 10 * number, 10_003 + 10 * number)),
            images_valid=[True, False, True],
            contrast_images_valid=[True, True, True],
        )
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("checks")
    return build_staged(
        stage(base / "staged", checks(), size=20).folder, base / "syn", splits=THIRDS, progress=False
    ).out


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    return build_train(folder, tmp_path_factory.mktemp("train") / "out", progress=False)


def rows_of(out: Path) -> list[dict]:
    return [
        {**each, "split": file.name.split("-")[0]}
        for file in sorted((out / "data").iterdir())
        for each in pq.read_table(file).to_pylist()
    ]


def test_it_loads_with_an_image_a_prompt_and_an_answer(built):
    rows = load_dataset(str(built.out), split="train")
    assert rows.features == pair_features()
    assert rows[0]["image"].size == (12, 12)
    assert len(rows) == built.splits["train"]
    assert verify(built.out) == []


def test_each_prompt_of_a_check_stands_against_both_sides_with_the_right_answer(built):
    by_check: dict[str, list] = {}
    originals = {each["check_id"]: each for each in checks()}
    for each in rows_of(built.out):
        by_check.setdefault(each["check_id"], []).append(each)
    for name, pairs in by_check.items():
        check = originals[name]
        assert len(pairs) == 4
        for pair in pairs:
            side = "images" if pair["image_side"] == "original" else "contrast_images"
            image = check[side][pair["image_index"]]["bytes"]
            assert pair["image"]["bytes"] == image
            own = check["prompt"] if side == "images" else check["contrast_prompt"]
            assert pair["label"] == (pair["prompt"] == own)
            assert pair["answer"] == ("Yes" if pair["label"] else "No")
            assert pair["valid"] == check[f"{side}_valid"][pair["image_index"]]


def test_neither_a_prompt_nor_an_image_alone_betrays_the_answer(built):
    rows = rows_of(built.out)
    for key in (lambda each: each["prompt"], lambda each: each["image"]["bytes"]):
        answers: dict = {}
        for each in rows:
            answers.setdefault((each["split"], key(each)), Counter())[each["answer"]] += 1
        assert all(count["Yes"] == count["No"] for count in answers.values())


def crossing(rows: list[dict], key) -> set:
    where: dict = {}
    for each in rows:
        where.setdefault(key(each), set()).add(each["split"])
    return {value for value, splits in where.items() if len(splits) > 1}


def test_no_concept_caption_or_image_crosses_a_split(tmp_path):
    # All three kinds of neighbours, between all splits, must be there to be caught.
    rows = checks()
    for number in range(60):
        rows[number]["concept_id"] = f"concept {number // 2}"
    for number in range(0, 30, 2):
        rows[number]["prompt"] = f"  SHARED caption {number % 6}"
        rows[number + 1]["contrast_images"] = several(77 + number % 5)
    base = stage(tmp_path / "staged", rows, size=20)
    folder = build_staged(base.folder, tmp_path / "syn", progress=False).out
    report = build_train(folder, tmp_path / "train", splits=THIRDS, selection=ALL, progress=False)
    found = rows_of(report.out)
    assert {each["split"] for each in found} == set(THIRDS)
    assert not crossing(found, lambda each: each["concept_id"])
    assert not crossing(found, lambda each: fold_caption(each["prompt"]))
    assert not crossing(found, lambda each: each["image"]["bytes"])
    assert report.dropped["caption or image also in another split"] > 0
    assert report.dropped["caption of a check that was selected before"] > 0


ALL = Selection(caps={"property_variation": None, "entity_variation": None, "entity_placement": None})


def test_the_choice_is_that_of_the_paper_unless_another_is_asked_for(built, folder, tmp_path):
    assert {each["subset"] for each in rows_of(built.out)} == {"property_variation", "entity_variation"}
    capped = build_train(
        folder,
        tmp_path / "capped",
        selection=Selection(caps={"property_variation": None, "entity_variation": 5}),
        progress=False,
    )
    checks_of = {(each["subset"], each["check_id"]) for each in rows_of(capped.out)}
    assert Counter(subset for subset, _ in checks_of)["entity_variation"] == 5
    assert capped.dropped["more checks of the subset than requested"] == 15


def test_properties_can_be_balanced(folder, tmp_path):
    report = build_train(
        folder, tmp_path / "out", selection=Selection(caps=ALL.caps, per_property=2), progress=False
    )
    chosen = {(each["split"], each["property"], each["check_id"]) for each in rows_of(report.out)}
    counts = Counter((split, name) for split, name, _ in chosen)
    assert set(counts.values()) == {2}
    assert len(counts) == 6


def test_samples_and_images_a_side_are_kept_to(folder, tmp_path):
    selection = Selection(caps=ALL.caps, images=2, samples=40)
    found = rows_of(build_train(folder, tmp_path / "out", selection=selection, progress=False).out)
    training = [each for each in found if each["split"] == "train"]
    assert len(training) == 40
    assert Counter(each["answer"] for each in training) == {"Yes": 20, "No": 20}
    assert set(Counter(each["check_id"] for each in found).values()) == {8}


def test_another_seed_makes_another_choice_and_the_same_one_the_same_bytes(built, folder, tmp_path):
    same = build_train(folder, tmp_path / "same", executor=local_executor(2), progress=False)
    assert (same.out / "manifest.json").read_bytes() == (built.out / "manifest.json").read_bytes()
    other = build_train(folder, tmp_path / "other", selection=Selection(seed=1), progress=False)
    first = {each["check_id"]: each["image_index"] for each in rows_of(built.out)}
    second = {each["check_id"]: each["image_index"] for each in rows_of(other.out)}
    assert first.keys() == second.keys() and first != second


def test_a_benchmark_without_a_share_for_training_is_refused(folder, tmp_path):
    rows = stage(tmp_path / "staged", checks()[:4])
    out = build_staged(rows.folder, tmp_path / "syn", progress=False).out
    with pytest.raises(InputError, match="has no split train"):
        build_train(out, tmp_path / "train", progress=False)
    with pytest.raises(InputError, match="not a finished folder"):
        build_train(tmp_path, tmp_path / "train", progress=False)


def test_checks_that_changed_are_refused(folder, tmp_path, monkeypatch):
    real = train.write_pairs

    def changed(payload, path, **options):
        for entry in payload["rows"]:
            entry[1] = "0" * 64
        return real(payload, path, **options)

    monkeypatch.setattr(train, "write_pairs", changed)
    with pytest.raises(Exception, match="its content does not match the manifest"):
        build_train(folder, tmp_path / "out", progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"caps": {"colours": 3}}, "unknown subset 'colours'"),
        ({"images": 0}, "images must be at least 1"),
        ({"per_property": 0}, "per_property must be at least 1"),
        ({"samples": 0}, "samples must be at least 1"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options, message):
    with pytest.raises(InputError, match=message):
        Selection(**options)


def test_the_script_runs_by_path(folder, tmp_path):
    command = [sys.executable, train.__file__, str(folder), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "questions with" in done.stdout
    refused = subprocess.run([*command, "--images", "0"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "--images" in refused.stderr


def test_questions_are_worded_in_other_frames_with_the_same_meaning(tmp_path):
    checks = build_exact(
        tmp_path / "syn", checks=24, images=2, size=32, splits=THIRDS, audit_checks=0, progress=False
    ).out
    usual = rows_of(
        build_train(checks, tmp_path / "usual", selection=Selection(images=2), progress=False).out
    )
    selection = Selection(images=2, frames=tuple(FRAMES))
    varied = rows_of(build_train(checks, tmp_path / "varied", selection=selection, progress=False).out)
    assert [row["pair_id"] for row in varied] == [row["pair_id"] for row in usual]
    for one, other in zip(usual, varied, strict=True):
        assert canonical(parse(one["prompt"])) == canonical(parse(other["prompt"]))
        assert (one["label"], one["image"]) == (other["label"], other["image"])
    changed = [one["prompt"] != other["prompt"] for one, other in zip(usual, varied, strict=True)]
    assert sum(changed) > 0.5 * len(changed)
    # All images of a check are asked about in the same words.
    by_check = Counter((row["check_id"], row["prompt"]) for row in varied)
    assert set(by_check.values()) == {4}


def test_prompts_of_people_and_models_keep_their_words(folder, tmp_path):
    plain = rows_of(build_train(folder, tmp_path / "plain", progress=False).out)
    selection = Selection(frames=tuple(FRAMES))
    same = rows_of(build_train(folder, tmp_path / "same", selection=selection, progress=False).out)
    assert [row["prompt"] for row in same] == [row["prompt"] for row in plain]
