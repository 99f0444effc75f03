"""CLIP-FlanT5 from files as they are published, against a forward pass of transformers' parts."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_clip_flant5 as flant5
import tiny_models as tiny
import torch

from croc.errors import CrocError, InputError
from croc.scorers import Scorer, registry
from croc.scorers.clip_flant5 import SYSTEM, ClipFlanT5
from croc.scorers.framing import padded_square

PROMPTS = ["a red dog on the table", "a blue cat", "two vases, and a book", "three dogs"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (32, 48), (40, 40), (64, 30)])]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    return flant5.save(tmp_path_factory.mktemp("flant5"))


def scorer(places, **options) -> ClipFlanT5:
    return ClipFlanT5(**{**places, "device": "cpu", **options})


def by_hand(image, prompt: str, system: str = f"{SYSTEM} ", tower: int = 0) -> float:
    """The published formula: tokens of both halves, patches between them, exp of minus the mean loss."""
    tokenizer, model = flant5.t5_tokenizer(), flant5.t5()
    clip, processor = tiny.clip(seed=tower)
    square = padded_square(image, processor.image_processor.image_mean)
    question = f'\nDoes this figure show "{prompt}"? Please answer yes or no. ASSISTANT: '
    with torch.no_grad():
        pixels = processor.image_processor(images=[square], return_tensors="pt")["pixel_values"]
        states = clip.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        parts = [
            model.shared(torch.tensor([tokenizer(f"{system}USER: ").input_ids])),
            flant5.projector()(states[:, 1:]),
            model.shared(torch.tensor([tokenizer(question).input_ids])),
        ]
        model.lm_head.weight.data = model.lm_head.weight[: len(tokenizer)]
        labels = torch.tensor([tokenizer("Yes").input_ids])
        model.config.vocab_size = len(tokenizer)
        return float((-model(inputs_embeds=torch.cat(parts, dim=1), labels=labels).loss).exp())


def test_scores_are_those_of_the_formula(places):
    subject = scorer(places)
    assert isinstance(subject, Scorer)
    expected = [by_hand(image, prompt) for image, prompt in zip(IMAGES, PROMPTS, strict=True)]
    scores = subject.score(IMAGES, PROMPTS)
    assert scores == pytest.approx(expected, rel=1e-4)
    assert np.ptp(expected) > 1e-4
    without = scorer(places, system=None).score(IMAGES, PROMPTS)
    assert without == pytest.approx(
        [by_hand(image, prompt, "") for image, prompt in zip(IMAGES, PROMPTS, strict=True)], rel=1e-4
    )


def test_a_vision_transformer_in_the_checkpoint_is_the_one_that_is_used(tmp_path):
    subject = scorer(flant5.save(tmp_path / "own", with_tower=True))
    expected = [by_hand(IMAGES[0], prompt, tower=flant5.OTHER) for prompt in PROMPTS]
    assert subject.score_prompts(IMAGES[0], PROMPTS) == pytest.approx(expected, rel=1e-4)
    assert "model" not in vars(subject.tower), "CLIP's own weights are not loaded"
    assert abs(expected[0] - by_hand(IMAGES[0], PROMPTS[0])) > 1e-6


def test_half_a_vision_transformer_is_refused(tmp_path):
    places = flant5.save(tmp_path / "half", with_tower=True)
    file = Path(places["model"]) / "pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    torch.save({name: value for name, value in state.items() if "layers.1.mlp" not in name}, file)
    with pytest.raises(CrocError, match="no weights for vision_tower"):
        scorer(places).score(IMAGES[:1], PROMPTS[:1])


@pytest.mark.parametrize("options", [{"framing": None}, {"system": None}, {"answer": "No"}], ids=str)
def test_a_wrong_setting_moves_the_scores(places, options):
    right, wrong = (scorer(places, **given).score(IMAGES, PROMPTS) for given in ({}, options))
    assert np.abs(right - wrong).max() > 1e-2 * np.ptp(right)


def test_one_image_for_all_prompts_is_encoded_once_and_batches_do_not_matter(places):
    many, one = scorer(places, batch_size=4), scorer(places, batch_size=1)
    assert many.score(IMAGES, PROMPTS) == pytest.approx(one.score(IMAGES, PROMPTS), rel=1e-4)
    seen = []
    many.checkpoint.model.vision_tower.vision_tower.register_forward_hook(lambda *_: seen.append(1))
    reused = many.score_prompts(IMAGES[0], PROMPTS)
    assert len(seen) == 1
    assert reused == pytest.approx(one.score([IMAGES[0]] * 4, PROMPTS), rel=1e-4)
    split = many.score_images_prompts(IMAGES[:2], [PROMPTS[:1], PROMPTS[1:]])
    assert split[1] == pytest.approx(one.score([IMAGES[1]] * 3, PROMPTS[1:]), rel=1e-4)


def test_prompts_of_several_images_meet_those_of_their_length(places):
    # The two prompts of an image differ in length; in common batches of two neither is padded.
    prompts = [["a dog", "a small dog"], ["a cat", "a large cat"]]
    subject, padding = scorer(places, batch_size=2), []
    subject.checkpoint.model.register_forward_pre_hook(
        lambda _, args, given: padding.append(int((given["attention_mask"] == 0).sum())), with_kwargs=True
    )
    got = subject.score_images_prompts(IMAGES[:2], prompts)
    assert padding == [0, 0]
    for image, texts, scores in zip(IMAGES, prompts, got, strict=False):
        assert scores == pytest.approx(subject.score([image] * 2, texts), rel=1e-4)
    assert max(padding) > 0, "an image's own prompts together are padded"


def test_a_prompt_is_text_and_a_long_one_is_cut_and_counted(places):
    subject = scorer(places, max_prompt_tokens=20)
    assert subject.truncated(["a dog", "a dog " * 20]).tolist() == [False, True]
    a, b = subject.score([IMAGES[0]] * 2, ["a dog " * 20, "a dog " * 30])
    assert a == pytest.approx(b, rel=1e-5)
    assert subject._tail("a </s> dog").count(1) == 1, "only the end token of the text"


def test_the_signature_names_all_parts(places):
    fields = scorer(places).fields()
    assert fields["formula"] == "exp(mean log P(Yes, end))"
    assert (fields["model"], fields["tower"], fields["framing"]) == ("model", "tower", "square")
    assert fields["revision"].startswith("local:") and fields["tower_revision"].startswith("local:")
    assert fields["revision"] != fields["tower_revision"]
    assert fields["tokenizer"].startswith("tokenizer@local:")
    assert fields["system"] == SYSTEM
    assert "system" not in scorer(places, system=None).fields()
    assert "ignored_weights" not in fields


def test_registered_models_are_pinned_as_far_as_their_commits_are_known():
    xl, xxl = (registry.load(f"vqascore-clip-flant5-{size}") for size in ("xl", "xxl"))
    assert len(xl.checkpoint.pinned) == 40
    assert xxl.checkpoint.pinned == "unpinned"
    for subject in (xl, xxl):
        assert len(subject.tower.pinned) == 40
        assert subject.tower.source == "openai/clip-vit-large-patch14-336"


def test_a_checkpoint_without_its_projector_is_refused(places, tmp_path):
    other = flant5.save(tmp_path / "other")
    file = Path(other["model"]) / "pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    torch.save({name: value for name, value in state.items() if "mm_projector" not in name}, file)
    with pytest.raises(CrocError, match=r"no weights for mm_projector\.0\.bias \(and 3 more\)"):
        scorer(other).score(IMAGES[:1], PROMPTS[:1])


class _Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/croc-was-here",)


@pytest.mark.parametrize("part", ["model", "tower"])
def test_a_file_of_torch_that_is_more_than_tensors_is_refused(part, places, tmp_path, monkeypatch):
    other = flant5.save(tmp_path / "other")
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    (Path(other[part]) / "pytorch_model.bin").write_bytes(pickle.dumps({"shared.weight": _Evil()}))
    with pytest.raises(CrocError, match="cannot load the model"):
        scorer(other).score(IMAGES[:1], PROMPTS[:1])
    torch.save({"shared.weight": _Evil()}, Path(other[part]) / "pytorch_model.bin")
    with pytest.raises(CrocError, match="cannot load the model"):
        scorer(other).score(IMAGES[:1], PROMPTS[:1])
    assert ran == []


def test_a_question_without_a_place_for_the_prompt_is_refused(places):
    with pytest.raises(InputError, match=r"must contain \{prompt\} once"):
        scorer(places, question="Is it good?")
