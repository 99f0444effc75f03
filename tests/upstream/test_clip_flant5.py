"""CLIP-FlanT5 against t2v_metrics, from files as the Hub has them; the tokenizer is a stand-in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as tf
from parity import FOLDER, assert_moved, assert_same, reference
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers.clip_flant5 import ClipFlanT5


@pytest.fixture(scope="module")
def tower(tmp_path_factory) -> Path:
    """CLIP's folder of the reference with a tokenizer, which the processor of CLIP needs."""
    reference("clip-flant5")
    folder = tmp_path_factory.mktemp("clip") / "tower"
    shutil.copytree(FOLDER / "clip-flant5" / "tower", folder)
    side = json.loads((folder / "preprocessor_config.json").read_text())["crop_size"]["height"]
    images = tf.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    tf.CLIPProcessor(images, tiny.clip_tokenizer()).save_pretrained(folder)
    return folder


def scorer(tower: Path, **options) -> ClipFlanT5:
    folder = FOLDER / "clip-flant5"
    given = dict(tower=str(tower), tokenizer=str(folder / "tokenizer"), device="cpu")
    return ClipFlanT5(str(folder / "model"), **{**given, **options})


def scores(subject: ClipFlanT5) -> np.ndarray:
    return subject.score(*pairs()).reshape(-1, len(PROMPTS))


def test_clip_flant5_is_that_of_t2v_metrics(tower):
    expected = reference("clip-flant5")
    subject = scorer(tower)
    pixels = subject.tower.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert_same("t2v_metrics CLIP-FlanT5", scores(subject), expected["score"])
    reused = np.stack(subject.score_images_prompts(images(), [list(PROMPTS)] * len(images())))
    assert_same("t2v_metrics CLIP-FlanT5, image computed once", reused, expected["score"])
    plain = scores(scorer(tower, system=None))
    assert_same("t2v_metrics CLIP-FlanT5, no system line", plain, expected["without_system"])


@pytest.mark.parametrize(
    "options",
    [
        {"framing": None},
        {"framing": "letterbox"},
        {"system": None},
        {"answer": "yes"},
        {"question": 'Does this figure show "{prompt}"? Please answer Yes or No.'},
        {"max_prompt_tokens": 10},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_clip_flant5_controls_are_seen(tower, options):
    assert_moved(scores(scorer(tower, **options)), reference("clip-flant5")["score"])


def test_the_rows_without_a_token_are_cut_off_as_the_package_does(tower, monkeypatch):
    subject = scorer(tower)
    tokenizer = subject.checkpoint.processor.tokenizer
    rows = subject.checkpoint.model.config.vocab_size
    assert rows > len(tokenizer)
    monkeypatch.setattr(type(tokenizer), "__len__", lambda self: rows)
    assert_moved(scores(subject), reference("clip-flant5")["score"])


def test_the_vision_transformer_of_the_checkpoint_is_used_where_it_has_one(tower, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / "clip-flant5" / "model", folder)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    kept = {name: value for name, value in state.items() if not name.startswith("vision_tower.")}
    assert len(kept) < len(state)
    torch.save(kept, folder / "pytorch_model.bin")
    subject = ClipFlanT5(
        str(folder), tower=str(tower), tokenizer=str(FOLDER / "clip-flant5" / "tokenizer"), device="cpu"
    )
    assert_moved(scores(subject), reference("clip-flant5")["score"])
