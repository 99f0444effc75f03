"""Loading checkpoints: weights that do not fit, options of the image processor, framing, the signature."""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from croc.errors import CrocError, InputError
from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.fingerprints import folder_fingerprint
from croc.scorers.framing import letterboxed, padded_square
from croc.scorers.loading import Checkpoint
from croc.scorers.yes_no import YesNo

PROMPTS = ["a red dog", "a blue cat"]
IMAGES = [tiny.picture(seed) for seed in range(2)]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture
def folder(tmp_path):
    return tiny.save(*tiny.clip(), tmp_path / "clip")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vision_model.encoder.layers.0.mlp.fc1.lora_A.weight", "merge the adapter first"),
        ("text_model.encoder.layers.0.mlp.fc1.base_layer.weight", "merge the adapter first"),
        ("reward_head.weight", r"use the class that the checkpoint was saved from \(auto=\)"),
    ],
)
def test_weights_that_the_class_has_no_place_for_are_refused_by_name(folder, name, says):
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, name: torch.zeros(2, 2)}, file, metadata={"format": "pt"})
    with pytest.raises(CrocError, match=f"CLIPModel has no place for the weights {name}: {says}$"):
        _ = DualEncoder(str(folder), device="cpu").checkpoint.model
    # What is known to be superfluous can be named, and buffers of old versions never matter.
    save_file(
        {**weights, name: torch.zeros(2, 2), "text_model.embeddings.position_ids": torch.arange(40)[None]},
        file,
        metadata={"format": "pt"},
    )
    ignoring = DualEncoder(str(folder), device="cpu", ignored_weights=["lora_A|base_layer|reward_head"])
    assert ignoring.checkpoint.model is not None
    assert ignoring.fields()["ignored_weights"] == "lora_A|base_layer|reward_head"


def test_missing_weights_are_refused_by_name(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CrocError, match=r"no weights for visual_projection\.weight$"):
        _ = DualEncoder(str(folder), device="cpu").checkpoint.model


def test_options_of_the_image_processor_change_what_it_returns_and_the_signature():
    model, processor = tiny.smolvlm()
    whole = YesNo(model, processor=processor, processor_options={"do_image_splitting": False})
    split = YesNo(model, processor=processor, processor_options={"do_image_splitting": True})
    _, (few,) = whole._read_images(IMAGES[:1])
    _, (many,) = split._read_images(IMAGES[:1])
    assert len(few) < len(many)
    assert whole.fields()["processor_options"] == "do_image_splitting=false"
    assert "processor_options" not in YesNo(model, processor=processor).fields()
    assert whole.score(IMAGES, PROMPTS) != pytest.approx(split.score(IMAGES, PROMPTS), abs=1e-4)


def test_options_of_the_image_processor_reach_every_family():
    model, processor = tiny.clip()
    plain = DualEncoder(model, processor=processor)
    bright = DualEncoder(model, processor=processor, processor_options={"do_rescale": False})
    assert not np.allclose(plain.encode_images(IMAGES), bright.encode_images(IMAGES), atol=1e-3)


def test_an_option_that_the_image_processor_lacks_is_named():
    model, processor = tiny.qwen2_5_vl()
    with pytest.raises(InputError, match="has no option 'max_pixel': did you mean max_pixels"):
        YesNo(model, processor=processor, processor_options={"max_pixel": 4096}).score(IMAGES, PROMPTS)
    with pytest.raises(InputError, match="processor_options must map names to values"):
        YesNo(model, processor=processor, processor_options="max_pixels")


def test_the_version_of_pillow_belongs_to_the_signature():
    model, processor = tiny.clip()
    assert DualEncoder(model, processor=processor).fields()["pillow"] == version("pillow")
    letterbox = DualEncoder(model, processor=processor, framing="letterbox").fields()
    assert (letterbox["framing"], letterbox["image_processor"]) == ("letterbox", "torch")
    assert "pillow" not in letterbox, "torch resizes"


def test_a_square_is_padded_on_both_sides_in_the_colour_of_the_mean():
    wide = padded_square(Image.new("RGB", (5, 2), "red"), MEAN)
    pixels = np.asarray(wide)
    assert wide.size == (5, 5)
    # ⌊255 · mean⌋
    assert pixels[0, 0].tolist() == pixels[3, 0].tolist() == [122, 116, 104]
    assert (pixels[1:3] == (255, 0, 0)).all()
    square = Image.new("RGB", (4, 4))
    assert padded_square(square, MEAN) is square


@pytest.mark.parametrize("size", [(8, 4), (4, 8), (16, 8), (3, 2)])
def test_a_letterbox_is_black_outside_of_the_resized_image(size):
    tensor = letterboxed(Image.new("RGB", size, "white"), 8, MEAN, STD)
    black, white = ((value - np.array(MEAN)) / np.array(STD) for value in (0.0, 1.0))
    rows = tensor if size[0] >= size[1] else tensor.transpose(1, 2)
    short = round(min(size) * 8 / max(size))
    top = (8 - short) // 2
    assert rows[:, top + short // 2, 4].numpy() == pytest.approx(white, abs=1e-4)
    assert rows[:, 0, 4].numpy() == pytest.approx(black, abs=1e-6)
    assert rows[:, 7, 4].numpy() == pytest.approx(black, abs=1e-6)
    assert tensor.shape == (3, 8, 8)


def test_a_framing_reaches_the_pixels_of_one_image_and_of_a_batch():
    model, processor = tiny.clip()
    picture = tiny.picture(1, (64, 20))
    rows = {}
    for framing in (None, "square", "letterbox"):
        scorer = DualEncoder(model, processor=processor, framing=framing)
        rows[framing] = scorer.encode_images([picture, IMAGES[0]])[0]
        prepared = scorer.encode_prepared([scorer.prepare_image(picture), scorer.prepare_image(IMAGES[0])])
        assert prepared[0] == pytest.approx(rows[framing], abs=1e-6)
    assert np.abs(rows[None] - rows["square"]).max() > 1e-3
    assert np.abs(rows["letterbox"] - rows["square"]).max() > 1e-3
    with pytest.raises(InputError, match="framing 'pad' is unknown: use one of square, letterbox"):
        DualEncoder(model, processor=processor, framing="pad")


def test_weights_of_open_clip_are_read_as_tensors_and_nothing_else(folder, tmp_path):
    torch.save({"state_dict": {"logit_scale": tmp_path}}, tmp_path / "weights.pt")
    given = dict(auto="AutoModel", processor=str(folder), open_clip_weights="weights.pt", device="cpu")
    with pytest.raises(CrocError, match=r"weights\.pt cannot be read as weights: "):
        _ = Checkpoint(str(tmp_path), **given).model
    torch.save({"state_dict": {"logit_scale": torch.tensor(1.0)}}, tmp_path / "weights.pt")
    with pytest.raises(CrocError, match=r"no weights for text_model\..* \(and \d+ more\)$"):
        _ = Checkpoint(str(tmp_path), **given).model
    with pytest.raises(InputError, match="open_clip_weights needs processor="):
        Checkpoint(str(tmp_path), auto="AutoModel", open_clip_weights="weights.pt")


def test_the_fingerprint_covers_weights_of_open_clip(folder, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    given = dict(auto="AutoModel", processor=str(folder), open_clip_weights="weights.pt")
    before = Checkpoint(str(tmp_path), **given).pinned
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pt")
    assert before.startswith("local:")
    assert Checkpoint(str(tmp_path), **given).pinned != before


def test_the_fingerprint_covers_what_changes_scores_and_nothing_else(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"a": 1}))
    before = folder_fingerprint(tmp_path)
    for name in ("results.json", "card.json", "README.md", "calibration.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"croc": {"calibration": [2.0, 0.1]}, "a": 1}))
    assert folder_fingerprint(tmp_path) == before
    seen = {before}
    for name in ("model.safetensors", "merges.txt", "tokenizer.model", "chat_template.jinja"):
        (tmp_path / name).write_bytes(b"x")
        seen.add(folder_fingerprint(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"croc": {"question": "{prompt}?"}, "a": 1}))
    seen.add(folder_fingerprint(tmp_path))
    assert len(seen) == 6
