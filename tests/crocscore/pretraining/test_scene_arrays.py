"""Annotated scenes as arrays, and what patches show of boxes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from crocscore.pretraining.scene_arrays import (
    IGNORE,
    SceneArrays,
    count_centres,
    patch_owners,
    patch_shares,
    read_prompts,
    read_scenes,
)


def encode(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def test_arrays_hold_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    files = sorted((folder / "parts").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    scenes = read_scenes(files, encode, side=112)
    assert len(scenes) == len(rows)
    i = next(i for i, row in enumerate(rows) if len(row["things"]) > 1)
    row = rows[i]
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        if image.size == (112, 112):
            assert np.array_equal(scenes.pixels[i], np.asarray(image.convert("RGB")))
    mine = slice(scenes.first[i], scenes.first[i + 1])
    kinds = [scenes.vocabulary.kinds[k] for k in scenes.kind[mine]]
    assert kinds == [thing["kind"] for thing in row["things"]]
    for labels, thing in zip(scenes.labels[mine], row["things"], strict=True):
        words = {
            f"{name}={values[label]}"
            for (name, values), label in zip(scenes.vocabulary.thing.items(), labels, strict=True)
            if label != IGNORE
        }
        assert words == set(thing["words"])
    pairs = range(scenes.pairs[i], scenes.pairs[i + 1])
    assert [scenes.pair(k) for k in pairs] == [
        tuple(encode([true, false])) for true, false in zip(row["true"], row["false"], strict=True)
    ]
    scenes.save(tmp_path / "arrays")
    again = SceneArrays.load(tmp_path / "arrays")
    assert np.array_equal(again.pixels, scenes.pixels)
    assert again.vocabulary == scenes.vocabulary


def test_every_prompt_is_read(folder: Path) -> None:
    files = sorted((folder / "parts").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    prompts = [text for row in rows for text in (*row["true"], *row["false"])]
    assert prompts and sorted(read_prompts(files)) == sorted(prompts)


def test_a_patch_belongs_to_the_foremost_box_over_its_middle(folder: Path) -> None:
    scenes = read_scenes(sorted((folder / "parts").glob("*.parquet")), encode, side=112)
    for i in range(20):
        boxes = scenes.box[scenes.first[i] : scenes.first[i + 1]]
        for place, owner in enumerate(patch_owners(boxes, 8)):
            y, x = (place // 8 + 0.5) / 8, (place % 8 + 0.5) / 8
            over = [k for k, b in enumerate(boxes) if b[0] <= x <= b[2] and b[1] <= y <= b[3]]
            assert owner == (over[-1] if over else -1)


def test_a_box_is_shared_out_to_the_patches_that_it_lies_in() -> None:
    shares = patch_shares(np.array([[0.0, 0.0, 0.5, 0.25], [0.2, 0.6, 0.3, 0.7]], dtype=np.float32), 4)
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert np.flatnonzero(shares[0]).tolist() == [0, 1]
    assert shares[0, :2] == pytest.approx([0.5, 0.5])
    # Half of the second box lies left of the border at 0.25, all of it between 0.5 and 0.75 downwards.
    assert shares[1, [8, 9]] == pytest.approx([0.5, 0.5], abs=1e-5)


def test_a_patch_holds_the_middles_of_things() -> None:
    boxes = np.array([[0.0, 0.0, 0.2, 0.2], [0.05, 0.0, 0.15, 0.2], [0.6, 0.9, 1.4, 1.3]], dtype=np.float32)
    assert np.flatnonzero(found := count_centres(boxes, 4)).tolist() == [0, 15]
    assert found[0] == 2 and len(found) == 16


def test_pairs_with_an_excluded_prompt_are_left_out(folder: Path) -> None:
    files = sorted((folder / "parts").glob("*.parquet"))
    every = read_prompts(files)
    banned = every[0]
    encode = lambda texts: [[len(text)] for text in texts]  # noqa: E731
    whole = read_scenes(files, encode, side=32)
    less = read_scenes(files, encode, side=32, excluded=lambda prompt: prompt == banned)
    lost = len(whole.about) - len(less.about)
    assert lost >= 1 and len(less.pairs) == len(whole.pairs) and less.pairs[-1] == len(less.about)
    assert len(less.ends) == 2 * len(less.about) + 1
