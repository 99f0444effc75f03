"""Batches of scenes: close-ups, and which claims and labels are in them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from croc.errors import InputError
from crocscore.pretraining.batches import CLOSE_UP, BatchSampler
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.pretrain import evaluate, load_data
from crocscore.pretraining.scene_arrays import IGNORE
from crocscore.pretraining.stages import TOWER, VLM, Stage


def test_things_fill_their_close_ups(folder: Path) -> None:
    words, scenes = load_data([folder], None, None)
    stage = Stage(TOWER, scenes, words, None, PretrainingConfig(images_per_step=6, close_up_steps=1))
    sampler = stage.sampler(scenes, np.arange(len(scenes)))
    first, second = itertools.islice(sampler.batches(0), 2)
    assert first["close_up_pixels"].shape[1:] == (3, CLOSE_UP, CLOSE_UP)
    assert len(first["close_up_pixels"]) == len(first["kind"]) <= 12
    assert float(first["close_up_pixels"].abs().max()) <= 1.0
    assert "pixels" in second
    # A square of one colour in the middle of an image of another: what is cut out is mostly the square.
    scenes.pixels = np.zeros((1, 160, 160, 3), dtype=np.uint8)
    scenes.pixels[0, 60:100, 60:100] = 255
    scenes.first, scenes.box = np.array([0, 1]), np.array([[60, 60, 100, 100]], dtype=np.float32) / 160
    close_up = sampler.close_ups([0], np.random.default_rng(0), 1)["close_up_pixels"]
    assert 0.4 < float((close_up > 0).float().mean()) < 0.95


def test_what_is_left_out_is_not_in_training_and_is_evaluated(folder: Path) -> None:
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(images_per_step=4, claims_per_image=5, leave_out="colour,count")
    stage = Stage(VLM, scenes, words, None, plan)
    rows = np.arange(len(scenes))
    sampler = stage.sampler(scenes, rows)
    known = scenes.vocabulary.about
    said = {known[label] for batch in itertools.islice(sampler.batches(0), 30) for label in batch["about"]}
    assert said and not said & {"colour", "count", "only", "three_things", "distribution", "beside_absence"}
    assert {"accuracy/colour", "accuracy/count"} <= evaluate(stage, sampler, rows).keys()
    with pytest.raises(InputError, match="differs in 'taste'"):
        wrong = PretrainingConfig(leave_out="taste")
        Stage(VLM, scenes, words, None, wrong).sampler(scenes, rows)


def test_things_are_not_labelled_with_what_is_left_out(folder: Path) -> None:
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(
        images_per_step=24, close_ups_per_step=24, leave_out="colour,action,body_part", grounding_weight=0.5
    )
    stage = Stage(VLM, scenes, words, None, plan)
    sampler = stage.sampler(scenes, np.arange(len(scenes)))
    (batch,) = itertools.islice(sampler.batches(0), 1)
    rows = np.arange(24)
    shown = sampler.batch(rows, np.random.default_rng(0), with_left_out=True)["labels"]
    for number, name in enumerate(scenes.vocabulary.thing):
        hidden = name in ("colour", "pose") or name.startswith("part:")
        for words in (batch["labels"], batch["close_ups"]["labels"]):
            assert not hidden or bool((words[:, number] == IGNORE).all()), name
        if name in ("colour", "texture"):
            assert bool((shown[:, number] != IGNORE).any())
            assert bool((batch["labels"][:, number] == IGNORE).all()) == hidden
    loss, parts = stage.loss(batch, sampler)
    assert np.isfinite(loss.item()) and parts["patch_words"] > 0


def test_pairs_that_are_downweighted_are_drawn_less_often(folder: Path) -> None:
    _, scenes = load_data([folder], None, None)
    known = scenes.vocabulary.about

    def share(downweight: str) -> float:
        plan = PretrainingConfig(images_per_step=4, claims_per_image=3, downweight=downweight)
        sampler = BatchSampler(scenes, np.arange(len(scenes)), plan, [], [])
        said = [
            known[label] for batch in itertools.islice(sampler.batches(0), 150) for label in batch["about"]
        ]
        return said.count("colour") / len(said)

    assert 0 < share("colour") < 0.7 * share("")
