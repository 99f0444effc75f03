"""ImageReward from a file in the published layout, against transformers' BLIP and a head made here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as tf
from PIL import Image

from croc.errors import CrocError
from croc.scorers import Scorer, registry
from croc.scorers.image_reward import ImageReward, prepared

PROMPTS = ["a red dog on the table", "a blue cat", "two green vase and a book", "three dog"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (32, 48), (40, 40), (64, 30)])]
TEXT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
# Names of transformers' vision transformer and those of the published file.
VISION = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("encoder.layers.", "blocks."),
    ("self_attn.projection.", "attn.proj."),
    ("self_attn.", "attn."),
    ("layer_norm1.", "norm1."),
    ("layer_norm2.", "norm2."),
    ("post_layernorm.", "norm."),
)


def parts():
    """BLIP's two encoders and the head, whose linear layers have dropouts between them."""
    torch.manual_seed(0)
    config = tf.BlipConfig(
        text_config=dict(
            TEXT,
            encoder_hidden_size=64,
            vocab_size=300,
            bos_token_id=298,
            sep_token_id=3,
            max_position_embeddings=64,
        ),
        vision_config=dict(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=1,
            image_size=32,
            patch_size=8,
            layer_norm_eps=1e-6,
            initializer_range=0.3,
        ),
        initializer_range=0.3,
    )
    head = torch.nn.Sequential(
        torch.nn.Linear(32, 1024),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1024, 128),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 16),
        torch.nn.Linear(16, 1),
    )
    for layer in head:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data *= 3
    return tf.BlipForImageTextRetrieval(config).eval(), head.eval()


def published(folder: Path) -> dict[str, str]:
    """Write the two folders as the Hub has them; the arguments of the scorer."""
    blip, head = parts()
    state = {"blip.vision_proj.weight": torch.ones(2, 2), "blip.text_proj.weight": torch.ones(2, 2)}
    for name, value in blip.state_dict().items():
        if name.startswith("vision_model."):
            name = name.removeprefix("vision_model.")
            for ours, theirs in VISION:
                name = name.replace(ours, theirs)
            state[f"blip.visual_encoder.{name}"] = value
        elif name.startswith("text_encoder."):
            state[f"blip.{name}"] = value
    state |= {f"mlp.layers.{name}": value for name, value in head.state_dict().items()}
    places = {"model": folder / "model", "tokenizer": folder / "tokenizer"}
    places["model"].mkdir(parents=True)
    torch.save(state, places["model"] / "ImageReward.pt")
    text = blip.config.text_config.to_dict()
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    names += ("max_position_embeddings", "layer_norm_eps", "pad_token_id")
    settings = {name: text[name] for name in names}
    # As published: the vocabulary and the width of the image are those of the weights.
    (places["model"] / "med_config.json").write_text(json.dumps({**settings, "encoder_width": 768}))
    tiny.bert_tokenizer().save_pretrained(places["tokenizer"])
    return {name: str(place) for name, place in places.items()}


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
