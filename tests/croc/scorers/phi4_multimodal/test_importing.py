"""A checkpoint in Microsoft's layout becomes one of transformers' class, weight by weight."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import microsoft_phi4 as microsoft
import numpy as np
import pytest
import torch
import transformers as tf
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from croc.errors import CrocError, InputError
from croc.jobs.runner import PartsFailed
from croc.scorers.phi4_multimodal import importing
from croc.scorers.phi4_multimodal.importing import import_checkpoint
from croc.scorers.phi4_multimodal.layout import QUESTION, converted_config

LAYERS = [
    f"model.layers.{block}.{layer}"
    for block in range(2)
    for layer in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
]
IMAGE = "model.embed_tokens_extend.image_embed"
AUDIO = "model.embed_tokens_extend.audio_embed"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Microsoft's checkpoint and its weights."""
    folder = tmp_path_factory.mktemp("base") / "phi4"
    return folder, microsoft.write(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the authors publish: without audio part, speech LoRA and tokenizer."""
    folder = tmp_path_factory.mktemp("trained") / "crocscore"
    return folder, microsoft.write(folder, audio=False, with_tokenizer=False, seed=1)


def stored(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def merged(weights: dict, layer: str) -> np.ndarray:
    """W + alpha / r · B · A in float64."""
    w, a, b = (
        weights[f"{layer}.{name}.weight"].double().numpy()
        for name in ("base_layer", "lora_A.vision", "lora_B.vision")
    )
    return w + microsoft.ALPHA / microsoft.R * (b @ a)


def edited(source: Path, target: Path, change) -> Path:
    """A copy of a checkpoint whose weights are in one file, after ``change(weights)``."""
    shutil.copytree(source, target)
    weights = stored(target)
    for file in target.glob("model*"):
        file.unlink()
    change(weights)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_the_vision_adapter_is_merged_and_every_other_weight_is_a_renamed_copy(base, tmp_path):
    folder, weights = base
    out = import_checkpoint(folder, tmp_path / "out", progress=False)
    found = stored(out)
    for layer in LAYERS:
        expected = merged(weights, layer)
        assert found[f"{layer}.weight"].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert np.abs(expected - weights[f"{layer}.base_layer.weight"].double().numpy()).max() > 0.05
    for new, old in (
        (f"{IMAGE}.img_projection_up.weight", f"{IMAGE}.img_projection.0.weight"),
        (f"{IMAGE}.img_projection_down.bias", f"{IMAGE}.img_projection.2.bias"),
        (f"{IMAGE}.global_img_feature_extensor", f"{IMAGE}.glb_GN"),
        (f"{IMAGE}.sub_img_feature_extensor", f"{IMAGE}.sub_GN"),
        (f"{AUDIO}.up_proj_for_speech.weight", f"{AUDIO}.audio_projection.speech.0.weight"),
        (f"{AUDIO}.down_proj_for_vision_speech.bias", f"{AUDIO}.audio_projection.vision.2.bias"),
        (
            f"{AUDIO}.encoder.encoders.0.feed_forward_in.gate_up_proj.weight",
            f"{AUDIO}.encoder.encoders.0.feed_forward_in.net.0.linear.weight",
        ),
        (
            f"{AUDIO}.encoder.encoders.0.feed_forward_out.down_proj.bias",
            f"{AUDIO}.encoder.encoders.0.feed_forward_out.net.2.bias",
        ),
        (
            f"{AUDIO}.encoder.encoders.0.self_attn.k_proj.weight",
            f"{AUDIO}.encoder.encoders.0.self_attn.linear_k.weight",
        ),
        (
            f"{AUDIO}.encoder.encoders.0.self_attn.o_proj.weight",
            f"{AUDIO}.encoder.encoders.0.self_attn.linear_out.weight",
        ),
        ("model.embed_tokens.weight", "model.embed_tokens.weight"),
    ):
        assert torch.equal(found[new], weights[old]), new
    adapters = [name for name in weights if "lora_" in name]
    assert len(adapters) == 2 * 2 * len(LAYERS)
    assert len(found) == len(weights) - len(adapters)


def test_the_class_of_transformers_loads_every_weight(base, tmp_path):
    out = import_checkpoint(base[0], tmp_path / "out", progress=False, shard_bytes=1 << 20)
    model, info = tf.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert type(model) is tf.Phi4MultimodalForCausalLM
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    found = stored(out)
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items() if name in found)
    assert model.config.croc == {
        "question": QUESTION,
        "answers": ["Yes", "No"],
        "image_size": [1024, 1024],
    }


def test_files_are_small_and_listed(base, tmp_path):
    out = import_checkpoint(base[0], tmp_path / "out", progress=False, shard_bytes=60_000)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = sorted(out.glob("model-*.safetensors"))
    assert len(files) > 4
    assert files[-1].name == f"model-{len(files):05}-of-{len(files):05}.safetensors"
    names = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            sizes = [opened.get_tensor(name).nbytes for name in opened.keys()]  # noqa: SIM118
            names |= dict.fromkeys(opened.keys(), file.name)
        assert sum(sizes) <= 60_000 or len(sizes) == 1
    assert index["weight_map"] == names
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in stored(out).values())


def test_the_audio_part_and_the_tokenizer_come_from_the_base_model(base, trained, tmp_path):
    lines: list[str] = []
    out = import_checkpoint(trained[0], tmp_path / "out", base=base[0], progress=False, log=lines.append)
    found = stored(out)
    audio = [name for name in found if name.startswith(AUDIO)]
    old = f"{AUDIO}.encoder.encoders.0.conv.glu.ext_pw_conv_1d.weight"
    assert torch.equal(found[old], base[1][old])
    assert f"audio part: {len(audio)} weights of phi4" in lines
    for layer in LAYERS:
        assert found[f"{layer}.weight"].numpy() == pytest.approx(
            merged(trained[1], layer), rel=1e-5, abs=1e-6
        )
    assert json.loads((out / "import.json").read_text())["base"] == "phi4"
    assert (out / "tokenizer.json").is_file()


def test_the_command_reports_what_it_did(base, tmp_path):
    lines: list[str] = []
    folder = edited(
        base[0],
        tmp_path / "in",
        lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"].clone()}),
    )
    import_checkpoint(folder, tmp_path / "out", progress=False, log=lines.append)
    assert lines == [
        f"in: {len(base[1]) + 1} weights in 1 file",
        "vision LoRA (r 4, alpha 8) of 8 layers: merged into the weights",
        "left out: 1 weight (output layer, which is the embedding)",
        "left out: 16 weights (speech LoRA)",
    ]


def test_an_interrupted_import_is_resumed_and_a_finished_one_is_left_alone(base, tmp_path, monkeypatch):
    made: list[str] = []
    write = importing.write_shard

    def failing(payload, path, **options):
        if len(made) == 3:
            raise OSError("the disk went away")
        made.append(path.name)
        return write(payload, path, **options)

    def counting(payload, path, **options):
        made.append(path.name)
        return write(payload, path, **options)

    options = {"progress": False, "shard_bytes": 60_000}
    whole = stored(import_checkpoint(base[0], tmp_path / "whole", **options))
    monkeypatch.setattr(importing, "write_shard", failing)
    with pytest.raises(PartsFailed, match="the disk went away"):
        import_checkpoint(base[0], tmp_path / "out", **options)
    assert not (tmp_path / "out" / "import.json").exists()
    first = list(made)
    made.clear()
    monkeypatch.setattr(importing, "write_shard", counting)
    out = import_checkpoint(base[0], tmp_path / "out", **options)
    assert first and made and not set(first) & set(made)
    assert len(first) + len(made) == len(list(out.glob("model-*.safetensors")))
    assert not (out / "unfinished").exists()
    resumed = stored(out)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())
    made.clear()
    lines: list[str] = []
    assert import_checkpoint(base[0], out, log=lines.append, **options) == out
    assert made == []
    assert lines[-1] == f"{out} holds this import already"


def test_adapters_are_merged_in_float32_and_rounded_once(tmp_path):
    folder = tmp_path / "in"
    weights = microsoft.write(folder, dtype=torch.bfloat16)
    kept = stored(import_checkpoint(folder, tmp_path / "kept", progress=False))
    wide = stored(import_checkpoint(folder, tmp_path / "wide", dtype="float32", progress=False))
    assert {value.dtype for value in kept.values()} == {torch.bfloat16}
    assert {value.dtype for value in wide.values()} == {torch.float32}
    for layer in LAYERS:
        expected = merged(weights, layer)
        assert wide[f"{layer}.weight"].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert torch.equal(kept[f"{layer}.weight"], torch.from_numpy(expected).float().bfloat16())
    configs = [
        json.loads((tmp_path / name / "config.json").read_text())["dtype"] for name in ("kept", "wide")
    ]
    assert configs == ["bfloat16", "float32"]


def test_the_adapter_can_stay_beside_the_weights(base, tmp_path):
    from peft import PeftModel

    out = import_checkpoint(base[0], tmp_path / "out", keep_adapter=True, progress=False)
    plain = stored(out)
    for layer in LAYERS:
        assert torch.equal(plain[f"{layer}.weight"], base[1][f"{layer}.base_layer.weight"])
    model = tf.AutoModelForCausalLM.from_pretrained(out)
    wrapped = PeftModel.from_pretrained(model, out / "vision-lora").merge_and_unload()
    both = stored(import_checkpoint(base[0], tmp_path / "merged", progress=False))
    state = wrapped.state_dict()
    for layer in LAYERS:
        assert torch.allclose(state[f"{layer}.weight"], both[f"{layer}.weight"], atol=1e-6)


def test_the_published_configuration_is_that_of_transformers_defaults():
    """Values of microsoft/Phi-4-multimodal-instruct; transformers' defaults describe the same model."""
    published = microsoft.config(layers=32) | {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0] * 48,
            "long_factor": [1.0 + 0.65 * i for i in range(48)],
        },
    }
    published["audio_processor"]["config"] |= {
        "attention_dim": 1024,
        "attention_heads": 16,
        "depthwise_seperable_out_channel": 1024,
        "ext_pw_out_channel": 1024,
        "linear_units": 1536,
        "nemo_conv_settings": {"conv_channels": 1024},
        "num_blocks": 24,
    }
    tower = f"{IMAGE}.img_processor"
    shapes: dict[str, tuple[int, ...]] = {
        f"{tower}.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
        f"{tower}.embeddings.position_embedding.weight": (1024, 1152),
        **{f"{tower}.encoder.layers.{i}.mlp.fc1.weight": (4304, 1152) for i in range(27)},
    }
    found = converted_config(published, shapes)
    assert found.vision_config.to_dict() == tf.Phi4MultimodalVisionConfig().to_dict()
    audio = tf.Phi4MultimodalAudioConfig(bias_max_distance=500)
    assert found.audio_config.to_dict() == audio.to_dict()
    text = tf.Phi4MultimodalConfig()
    for name in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_key_value_heads",
    ):
        assert getattr(found, name) == getattr(text, name), name
    assert (found.num_attention_heads, found.sliding_window, found.tie_word_embeddings) == (24, 262144, True)
    assert found.eos_token_id == [199999, 200020]
    rope = tf.models.phi4_multimodal.modeling_phi4_multimodal.Phi4MultimodalRotaryEmbedding(found)
    # Microsoft's code: sqrt(1 + ln(131072 / 4096) / ln(4096)), over 96 of the 128 dimensions of a head.
    assert rope.attention_scaling == pytest.approx((1 + np.log(32) / np.log(4096)) ** 0.5)
    assert rope.inv_freq.numpy() == pytest.approx(10000.0 ** (-np.arange(0, 96, 2) / 96), rel=1e-6)


def drop(pattern: str):
    def change(weights):
        for name in [name for name in weights if re.search(pattern, name)]:
            del weights[name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            drop(r"layers\.1\.mlp\.down_proj\.lora_B\.vision"),
            "no complete vision LoRA of model.layers.1.mlp.down",
        ),
        (drop(r"lora_"), "no complete vision LoRA of model.layers.0.self_attn.o_proj"),
        (drop(r"model\.norm\.weight"), "the checkpoint has no weights for model.norm.weight"),
        (drop(r"audio_embed\.encoder\.encoders"), r"no weights for .*audio_embed.* \(and \d+ more\)"),
        (drop(r"patch_embedding"), "the weights of the vision tower are incomplete: .*patch_embedding"),
        (
            lambda w: w.update({"model.layers.0.self_attn.qkv_proj.bias": torch.zeros(3)}),
            "has no place for the weights model.layers.0.self_attn.qkv_proj.bias",
        ),
        (
            lambda w: w.update({"model.norm.weight": torch.zeros(31)}),
            r"the weight model.norm.weight has the shape \(31,\), where config.json says \(32,\)",
        ),
        (
            lambda w: w.update({"model.layers.0.mlp.down_proj.lora_A.vision.weight": torch.zeros(3, 64)}),
            r"lora_A.vision.weight has the shape \(3, 64\), expected \(4, 64\) for r = 4",
        ),
        (
            lambda w: w.update({"model.norm.lora_A.vision.weight": torch.zeros(4, 32)}),
            "the vision LoRA adapts model.norm, which",
        ),
    ],
)
def test_incomplete_or_foreign_weights_are_refused_before_anything_is_written(
    base, tmp_path, change, message
):
    folder = edited(base[0], tmp_path / "in", change)
    with pytest.raises(InputError, match=message):
        import_checkpoint(folder, tmp_path / "out", base=folder, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "phi4_multimodal"}, "is in the layout of transformers already: use it as it is"),
        ({"model_type": "llava"}, "config.json has model_type 'llava'; Microsoft's layout has 'phi4mm'"),
        ({"embd_layer": {}}, "config.json is not that of Microsoft's layout: 'audio_embd_layer' is missing"),
        ({"vision_lora": {"r": 0, "lora_alpha": 1}}, "must have positive r and lora_alpha, not {'r': 0"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}},
            "cannot be read as that of Phi4Multi",
        ),
    ],
)
def test_another_configuration_is_refused(base, tmp_path, changed, message):
    folder = tmp_path / "in"
    shutil.copytree(base[0], folder)
    content = json.loads((folder / "config.json").read_text()) | changed
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        import_checkpoint(folder, tmp_path / "out", progress=False)


def remove_weights(folder):
    for file in folder.glob("model*"):
        file.unlink()


def leave_pickle(folder):
    remove_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(b"x")


def cut_file(folder):
    file = next(iter(sorted(folder.glob("*.safetensors"))))
    file.write_bytes(file.read_bytes()[:1000])


def forget_tokens(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    del content["model"]["vocab"]["<|endoftext10|>"]
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<|endoftext10|>"]
    (folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_weights, "has no safetensors files$"),
        (leave_pickle, "has no safetensors files; pytorch_model.bin is a pickle, which could run code"),
        (cut_file, "model-00001-of-00003.safetensors is damaged or incomplete"),
        (
            lambda f: (f / "model-00002-of-00003.safetensors").unlink(),
            "has no model-00002-of-00003.safetensors",
        ),
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json cannot be read as a tokenizer"),
        (forget_tokens, "has no tokens with the ids 200010 and 200011"),
    ],
)
def test_files_that_cannot_be_used_are_named(base, tmp_path, damage, message):
    folder = tmp_path / "in"
    shutil.copytree(base[0], folder)
    damage(folder)
    with pytest.raises(CrocError, match=message):
        import_checkpoint(folder, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_output_folder_is_not_taken_from_something_else(base, trained, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="used is not empty, and holds no import: choose another folder"):
        import_checkpoint(base[0], tmp_path / "used", progress=False)
    out = import_checkpoint(base[0], tmp_path / "out", progress=False)
    with pytest.raises(
        InputError, match=r'holds another import .*source: "phi4" in the folder, "crocscore" req'
    ):
        import_checkpoint(trained[0], out, base=base[0], progress=False)
    with pytest.raises(InputError, match="is a folder of this machine: say where to write"):
        import_checkpoint(base[0], progress=False)
    with pytest.raises(InputError, match="dtype 'float8' is unknown"):
        import_checkpoint(base[0], tmp_path / "x", dtype="float8", progress=False)


def test_a_full_disk_is_noticed_before_the_import(base, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(InputError, match=r"needs 0\.0 GB, and 0\.0 GB are free"):
        import_checkpoint(base[0], tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
