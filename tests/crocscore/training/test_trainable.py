"""Adapters and parts of a model: what is trained, what is kept, what a checkpoint holds."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch

from croc.errors import CrocError, InputError
from crocscore.model import CROCScore
from crocscore.training import trainable
from crocscore.training.recipe import Arguments, read_recipe
from crocscore.training.sft import make_trainer, train

pytest.importorskip("trl", reason="training needs the extra train")

LORA = {"lora_r": 2, "lora_targets": r".*language_model\.layers\.\d+\.self_attn\.(q|v)_proj"}
BOTH = {**LORA, "train_only": ["model.multi_modal_projector"], "last_blocks": 1}


def said(**more) -> Arguments:
    return Arguments(model="m", questions="q", **more)


def trained(model) -> set[str]:
    return {name for name, value in model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize(
    ("more", "wanted", "unwanted"),
    [
        ({}, "vision_tower", None),
        ({"freeze": ["model.vision_tower"]}, "lm_head", "vision_tower"),
        ({"train_only": ["lm_head"]}, "lm_head", "layers"),
        ({"last_blocks": 1}, "language_model.layers.1.", "language_model.layers.0."),
        (
            {"last_blocks": 2, "freeze": ["model.language_model.layers.0"]},
            "layers.1.",
            "language_model.layers.0.",
        ),
        (LORA, "lora_A", "lm_head"),
        (BOTH, "multi_modal_projector", "lm_head"),
    ],
)
def test_what_is_trained_is_what_the_recipe_says(more, wanted, unwanted):
    names = trained(trainable.select_trainable(tiny.llava()[0], said(**more)))
    assert [name for name in names if wanted in name]
    plain = [name for name in names if "lora_" not in name]
    assert unwanted is None or not [name for name in plain if unwanted in name]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train_only": ["lm_hed"]}, "train_only: no parameter of the model begins with 'lm_hed'"),
        ({"freeze": ["vision"]}, "freeze: no parameter of the model begins with 'vision'"),
        ({"last_blocks": 3}, "last_blocks is 3, but the language model has 2 blocks"),
        ({"lora_r": 2, "lora_targets": "nothing"}, "no layer of the model has a name that matches 'nothing'"),
        ({"lora_r": 2, "lora_targets": "("}, "is not a regular expression"),
        ({"lora_r": 2, "lora_targets": ".*layer_norm1"}, "lora_targets: an adapter cannot be added to"),
        ({"adapter": "absent"}, r"adapter: adapter_model.safetensors is neither in absent"),
    ],
)
def test_what_meets_nothing_is_named(more, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    with pytest.raises(InputError, match=message):
        trainable.select_trainable(tiny.llava()[0], said(**more))


def test_an_adapter_of_another_model_is_refused(tmp_path):
    from peft import LoraConfig, get_peft_model

    targets = {"target_modules": r".*vision_tower.*\.q_proj"}
    get_peft_model(tiny.llava()[0], LoraConfig(r=2, **targets)).save_pretrained(tmp_path)
    config = (tmp_path / "adapter_config.json").read_text()
    (tmp_path / "adapter_config.json").write_text(config.replace("vision_tower", "language_model"))
    with pytest.raises(CrocError, match="not an adapter of this model"):
        trainable.select_trainable(tiny.llava()[0], said(adapter=str(tmp_path)))


def test_an_adapter_becomes_part_of_a_plain_checkpoint(recipe, base):
    words = recipe(**LORA, max_steps=3)
    out = train(words)
    assert not list(out.glob("adapter_*"))
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    trainer = make_trainer(*read_recipe(words))
    trainer.train()
    live = CROCScore(trainable.transformers_model(trainer.model), processor=trainer.processing_class)
    merged = CROCScore.from_pretrained(out, device="cpu").score(images, prompts)
    np.testing.assert_allclose(merged, live.score(images, prompts), atol=1e-4)
    assert np.abs(merged - CROCScore(base, device="cpu").score(images, prompts)).max() > 1e-3


def test_an_adapter_can_stay_one_and_be_gone_on_with(recipe, base, tmp_path):
    out = train(recipe(**LORA, max_steps=2, merge=False))
    assert (out / "adapter_model.safetensors").is_file() and not (out / "model.safetensors").exists()
    wrapped = trainable.select_trainable(tiny.llava()[0], said(adapter=str(out)))
    assert all("lora_" in name for name in trained(wrapped))
    assert any(value.abs().sum() for name, value in wrapped.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("parts", [LORA, BOTH], ids=["adapter", "adapter and parts"])
def test_resuming_an_adapter_gives_the_same_losses_and_weights(recipe, tmp_path, parts):
    def losses(trainer):
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    whole = make_trainer(*read_recipe(recipe(**parts)))
    whole.train()
    beside = tmp_path / "out" / "checkpoint-2" / trainable.BESIDE
    assert beside.exists() == ("last_blocks" in parts)
    resumed = make_trainer(*read_recipe(recipe(**parts)))
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    np.testing.assert_allclose(losses(resumed)[-2:], losses(whole)[-2:], rtol=1e-5)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_without_what_is_trained_beside_is_refused(recipe, tmp_path):
    trainer = make_trainer(*read_recipe(recipe(**BOTH, max_steps=2)))
    trainer.train()
    (tmp_path / "out" / "checkpoint-2" / trainable.BESIDE).unlink()
    with pytest.raises(CrocError, match="trained besides the adapter"):
        trainable.restore_weights(trainer.model, tmp_path / "out" / "checkpoint-2")
