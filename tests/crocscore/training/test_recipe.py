"""Every recipe of the package: it parses, its model class is built, what it says is trained is trained."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
import yaml
from tiny_training import QUICK, checks_and_questions, written

from croc.errors import InputError
from crocscore.training.recipe import RECIPES, read_recipe, recipe_path
from crocscore.training.sft import make_trainer

pytest.importorskip("trl", reason="training needs the extra train")

MODELS = {"tiny": tiny.llava, "smolvlm": tiny.smolvlm, "qwen3-vl": tiny.qwen3_vl}
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
# What a machine without a GPU cannot do, and what would take hours.
HERE = {key: QUICK[key] for key in ("use_cpu", "bf16", "report_to", "disable_tqdm")} | {
    "max_steps": 1,
    "warmup_steps": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"))


def here(name: str, path: Path, **more) -> list[str]:
    recipe = yaml.safe_load(recipe_path(name).read_text("utf-8"))
    recipe.pop("revision", None)
    return written(path, **{**recipe, **HERE, "output_dir": str(path.parent / "out"), **more})


def test_the_recipes_are_these_and_come_with_the_wheel():
    assert NAMES == ["phi4", "qwen3-vl", "smolvlm", "tiny"]
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "crocscore" in wheel["packages"] and "exclude" not in wheel


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_parses_by_its_name(name):
    arguments, settings = read_recipe(["--config", name, "--bf16", "false", "--use_cpu", "true"])
    stored = yaml.safe_load(recipe_path(name).read_text("utf-8"))
    assert arguments.model == stored["model"]
    assert settings.learning_rate == float(stored["learning_rate"]) < 0.01
    assert settings.warmup_steps == stored["warmup_steps"] > 0


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_recipe_trains_a_model_of_its_class(name, data, tmp_path):
    model = tiny.save(*MODELS[name](), tmp_path / "model")
    words = here(name, tmp_path / "recipe.yaml", model=model, checks=data[0], questions=data[1])
    trainer = make_trainer(*read_recipe(words))
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trained = {key for key, value in trainer.model.named_parameters() if value.requires_grad}
    trainer.train()
    after = trainer.model.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved and moved <= trained
    if name == "qwen3-vl":
        assert all("lora_" in key and "language_model" in key for key in trained)
    if name == "smolvlm":
        assert not [key for key in trained if "vision_model" in key]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lerning_rate", 1, "unknown key 'lerning_rate'; did you mean learning_rate?"),
        ("learning_rate", "fast", "learning_rate"),
        ("dtype", "float8", "dtype 'float8' is unknown"),
        ("saved_dtype", "half", "saved_dtype 'half' is unknown"),
        ("revision", 1234567, "revision must be text, not 1234567"),
        ("model", ["a"], "model must be text, not ['a']"),
        ("lora_r", 4, "lora_r needs lora_targets"),
        ("lora_targets", "x", "lora_targets needs lora_r, the rank of the adapter"),
        ("image_size", [7], "a width and a height"),
        ("image_size", [0, 4], "a width and a height"),
        ("train_only", "lm_head", "train_only must be a list of prefixes, not 'lm_head'"),
        ("lora_dropout", 2.0, "lora_dropout must be from 0 to below 1"),
        ("key_mapping", {"(": "x"}, "key_mapping: '(' is not a regular expression"),
        ("key_mapping", ["x"], "key_mapping must map regular expressions to names"),
        ("auto", None, "the recipe has no key auto"),
        ("learning_rate", float("nan"), "learning_rate must be a number from 0, not nan"),
        ("per_device_train_batch_size", 0, "per_device_train_batch_size must be at least 1, not 0"),
        ("deepspeed", "nothing.json", "the recipe cannot be used: "),
        ("resize", False, "image_size is the size to resize to, and resize is false"),
        ("last_blocks", 0, "last_blocks must be at least 1"),
        ("model", "", "the recipe has no key model"),
        ("questions", None, "the recipe has no key questions"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(tmp_path, key, value, message):
    given = {"model": "a", "questions": "b", **({"image_size": [8, 8]} if key == "resize" else {})}
    words = written(tmp_path / "recipe.yaml", **{**given, key: value})
    with pytest.raises(InputError, match=re.escape(message)):
        read_recipe(words)


@pytest.mark.parametrize(("text", "message"), [("- a", "a mapping of keys"), ("a: [", "not valid YAML")])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(["--config", str(path)])


def test_a_recipe_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="one of phi4, qwen3-vl, smolvlm, tiny"):
        read_recipe(["--config", "tyni"])


def test_an_option_after_the_recipe_that_nobody_knows_is_refused(tmp_path):
    words = written(tmp_path / "recipe.yaml", model="a", questions="b")
    with pytest.raises(InputError, match="nobody"):
        read_recipe([*words, "--nobody", "1"])
