"""ImageReward from a file in the published layout, against transformers' BLIP and a head made here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image
from tiny_image_reward import parts, published

from croc.errors import CrocError
from croc.scorers import Scorer, registry
from croc.scorers.image_reward import ImageReward, prepared

PROMPTS = ["a red dog on the table", "a blue cat", "two green vase and a book", "three dog"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (32, 48), (40, 40), (64, 30)])]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    return published(tmp_path_factory.mktemp("reward"))


def scorer(places, **options) -> ImageReward:
    return ImageReward(**{**places, "device": "cpu", **options})


def by_hand(image, prompt: str) -> float:
    blip, head = parts()
    text = tiny.bert_tokenizer()(
        prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    with torch.no_grad():
        seen = blip.vision_model(pixel_values=torch.from_numpy(prepared(image, 32))[None])[0]
        state = blip.text_encoder(
            input_ids=text.input_ids,
            attention_mask=text.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long),
        ).last_hidden_state[:, 0]
        return (float(head(state)) - 0.16717362830052426) / 1.0333394966054072


def test_scores_are_those_of_the_formula(places):
    subject = scorer(places)
    assert isinstance(subject, Scorer)
    expected = [by_hand(image, prompt) for image, prompt in zip(IMAGES, PROMPTS, strict=True)]
    assert subject.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.1


def test_one_image_for_all_prompts_is_encoded_once_and_batches_do_not_matter(places):
    many, one = scorer(places, batch_size=4), scorer(places, batch_size=1)
    assert many.score(IMAGES, PROMPTS) == pytest.approx(one.score(IMAGES, PROMPTS), abs=1e-4)
    seen = []
    many.checkpoint.model.vision.register_forward_hook(lambda *_: seen.append(1))
    reused = many.score_prompts(IMAGES[0], PROMPTS)
    assert len(seen) == 1
    assert reused == pytest.approx(one.score([IMAGES[0]] * 4, PROMPTS), abs=1e-4)


def test_long_prompts_are_cut_and_counted_and_control_tokens_are_text(places):
    subject = scorer(places, window=5)
    assert subject.truncated(["a red dog", "a red dog on"]).tolist() == [False, True]
    a, b = subject.score(IMAGES[:1] * 2, ["a red dog", "a red dog on the table"])
    assert a == pytest.approx(b, abs=1e-6)
    ids, _ = scorer(places)._ids("a [SEP] dog")
    assert not set(ids[1:-1]) & set(tiny.bert_tokenizer().all_special_ids)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        # torchvision: int(32 · 50 / 40) = 40 wide, from 4; 32 × 32 as it is; (32, 35): from round(1.5) = 2.
        ((50, 40), (4, 0, 36, 32)),
        ((32, 32), (0, 0, 32, 32)),
        ((32, 35), (0, 2, 32, 34)),
    ],
)
def test_an_image_is_resized_and_cropped_as_torchvision_does(size, box):
    image = tiny.picture(7, size)
    scale = 32 / min(size)
    resized = image.resize((int(size[0] * scale), int(size[1] * scale)), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized.crop(box)) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    assert prepared(image, 32) == pytest.approx(((pixels - mean) / std).transpose(2, 0, 1), abs=1e-5)


def test_the_signature_has_the_file_the_tokenizer_and_the_preparation(places, tmp_path):
    fields = scorer(places).fields()
    assert fields["weights"] == "ImageReward.pt"
    assert fields["formula"] == "(MLP(state) - mean)/std"
    assert fields["dtype"] == "float32"
    assert {"pillow", "window", "tokenizer"} <= set(fields)
    other = published(tmp_path / "other")
    file = Path(other["model"]) / "ImageReward.pt"
    state = torch.load(file, weights_only=True)
    state["mlp.layers.7.bias"] += 1
    torch.save(state, file)
    assert scorer(other).fields()["revision"] != fields["revision"]


def test_the_registered_one_is_pinned():
    entry = registry.info("imagereward")
    assert registry.load("imagereward").checkpoint.pinned == entry.revision
    assert registry.info("image-reward") == entry


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("mlp.layers.0.bias"), r"no weights for head\.0\.bias"),
        (lambda state: state.update({"lora_A": torch.ones(1)}), "no place for the weights lora_A"),
        (lambda state: state.update({"mlp.layers.0.bias": torch.ones(3)}), "size mismatch"),
        (lambda state: state.pop("blip.visual_encoder.pos_embed"), "pos_embed"),
    ],
)
def test_wrong_weights_are_one_sentence(change, says, tmp_path):
    places = published(tmp_path)
    file = Path(places["model"]) / "ImageReward.pt"
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    with pytest.raises(CrocError, match=says):
        scorer(places).score(IMAGES[:1], PROMPTS[:1])


class _Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_file_that_is_more_than_tensors_is_refused(tmp_path, monkeypatch):
    places = published(tmp_path)
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    torch.save({"mlp.layers.0.bias": _Evil()}, Path(places["model"]) / "ImageReward.pt")
    with pytest.raises(CrocError, match="cannot be read as weights"):
        scorer(places).score(IMAGES[:1], PROMPTS[:1])
    assert ran == []
