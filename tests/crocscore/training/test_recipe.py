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
from croc.scorers.loading import Checkpoint
from crocscore.training import trainable
from crocscore.training.recipe import RECIPES, Arguments, read_recipe, recipe_path
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


@pytest.fixture
def phi4(tmp_path):
    """The recipe over a small model and an adapter as Microsoft's repository has it beside the weights."""
    from peft import LoraConfig, get_peft_model

    other, _ = tiny.phi4_multimodal(layers=4)
    targets = r".*layers\.\d+\.(self_attn\.(qkv_proj|o_proj)|mlp\.(gate_up_proj|down_proj))"
    adapter = get_peft_model(other, LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    with torch.no_grad():
        for key, value in adapter.named_parameters():
            if "lora_B" in key:
                value.fill_(0.01)
    adapter.save_pretrained(tmp_path / "model" / "vision-lora")
    stored = yaml.safe_load(recipe_path("phi4").read_text("utf-8"))
    known = {key: value for key, value in stored.items() if key in Arguments.__dataclass_fields__}
    return Arguments(**{**known, "model": str(tmp_path / "model"), "questions": "q", "revision": None})


def test_phi4_trains_the_parts_that_the_paper_names(phi4):
    model, processor = tiny.phi4_multimodal(layers=4)
    wrapped = trainable.select_trainable(model, phi4)
    trained = {key for key, value in wrapped.named_parameters() if value.requires_grad}
    parts = {re.sub(r"^base_model\.model\.(model\.)?", "", key).replace(".base_layer", "") for key in trained}
    assert [part for part in parts if part.startswith("embed_tokens_extend.image_embed.img_processor")]
    assert "lm_head.weight" in parts
    assert {"layers.2.mlp.down_proj.weight", "layers.3.self_attn.qkv_proj.weight"} <= parts
    assert [part for part in parts if part.startswith("layers.0.") and "lora_A" in part]
    allowed = ("embed_tokens_extend.image_embed.img_processor", "lm_head", "layers.2.", "layers.3.")
    assert all(part.startswith(allowed) or "lora_" in part for part in parts)
    batch = processor(["<|image|>a dog"], [[tiny.picture()]], return_tensors="pt")
    logits = wrapped(**batch).logits
    logits[0, -1, 0].backward()
    gradients = {key for key, value in wrapped.named_parameters() if value.grad is not None}
    assert gradients <= trained
    for part in ("img_processor", "lm_head", "layers.3", "layers.0.mlp.down_proj.lora_A"):
        assert [key for key in gradients if part in key], part


def test_phi4_reads_the_names_that_microsoft_gave_its_weights(phi4, tmp_path):
    from safetensors.torch import load_file, save_file

    model, processor = tiny.phi4_multimodal()
    folder = tmp_path / "renamed"
    model.save_pretrained(folder)
    # The other way round than the recipe's mapping.
    older = [
        (r"(encoders\.\d+\.feed_forward_(?:in|out))\.gate_up_proj", r"\1.net.0.linear"),
        (r"(encoders\.\d+\.feed_forward_(?:in|out))\.down_proj", r"\1.net.2"),
        (r"(encoders\.\d+\.self_attn)\.([qkv])_proj", r"\1.linear_\2"),
        (r"(encoders\.\d+\.self_attn)\.o_proj", r"\1.linear_out"),
        (r"img_projection_up", "img_projection.0"),
        (r"img_projection_down", "img_projection.2"),
        (r"global_img_feature_extensor", "glb_GN"),
        (r"sub_img_feature_extensor", "sub_GN"),
        (r"up_proj_for_speech", "audio_projection.speech.0"),
        (r"down_proj_for_speech", "audio_projection.speech.2"),
        (r"up_proj_for_vision_speech", "audio_projection.vision.0"),
        (r"down_proj_for_vision_speech", "audio_projection.vision.2"),
        (r"(layers\.\d+\.(?:self_attn\.qkv_proj|mlp\.down_proj))\.weight", r"\1.base_layer.weight"),
    ]
    renamed, changed = {}, set()
    for key, value in load_file(folder / "model.safetensors").items():
        name = key
        for pattern, replacement in older:
            name, count = re.subn(pattern, replacement, name)
            changed |= {pattern} if count else set()
        renamed[name] = value
    assert changed == {pattern for pattern, _ in older}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    options = {"auto": phi4.auto, "processor": processor, "device": "cpu"}
    loaded = Checkpoint(folder, key_mapping=phi4.key_mapping, **options).model
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lerning_rate", 1, "unknown key 'lerning_rate'; did you mean learning_rate?"),
        ("learning_rate", "fast", "learning_rate"),
        ("dtype", "float8", "dtype 'float8' is unknown"),
        ("saved_dtype", "half", "saved_dtype 'half' is unknown"),
        ("lora_r", 4, "lora_r needs lora_targets"),
        ("lora_targets", "x", "lora_targets needs lora_r, the rank of the adapter"),
        ("image_size", [7], "a width and a height"),
        ("last_blocks", 0, "last_blocks must be at least 1"),
        ("model", "", "the recipe has no key model"),
        ("questions", None, "the recipe has no key questions"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(tmp_path, key, value, message):
    words = written(tmp_path / "recipe.yaml", **{"model": "a", "questions": "b", key: value})
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
