"""Microsoft's layout of Phi-4-multimodal: its names of weights, its configuration, its LoRA adapters.

The renaming and the configuration follow transformers' own conversion script
(``convert_phi4_multimodal_weights_to_hf.py``), which needs the code that comes with the checkpoint, holds the
model in memory and leaves the adapter separate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from croc.errors import InputError

MODEL_TYPE = "phi4mm"
"""``model_type`` of Microsoft's configuration; no class of transformers has it."""

ARCHITECTURE = "Phi4MultimodalForCausalLM"

IMAGE_TOKEN_ID, AUDIO_TOKEN_ID = 200010, 200011

AUDIO_PART = "model.embed_tokens_extend.audio_embed."
"""Weights that images do not use. The class of transformers has them, and ``nllg/crocscore`` has not."""

VISION_TOWER = "model.embed_tokens_extend.image_embed.img_processor."

QUESTION = " Does this image show the following content:'{prompt}'? Answer with Yes or No."
"""The authors' question at inference. It begins with a space, because they write one after the image."""

IMAGE_SIZE = (1024, 1024)
"""Size that the authors' metric resizes every image to (Lanczos)."""

KEY_MAPPING = {
    r"feed_forward_(in|out)\.net\.0\.linear\.": r"feed_forward_\1.gate_up_proj.",
    r"feed_forward_(in|out)\.net\.2\.": r"feed_forward_\1.down_proj.",
    r"self_attn\.linear_(q|k|v)\.": r"self_attn.\1_proj.",
    r"self_attn\.linear_out\.": "self_attn.o_proj.",
    r"img_projection\.0\.": "img_projection_up.",
    r"img_projection\.2\.": "img_projection_down.",
    r"glb_GN$": "global_img_feature_extensor",
    r"sub_GN$": "sub_img_feature_extensor",
    r"audio_projection\.speech\.0\.": "up_proj_for_speech.",
    r"audio_projection\.speech\.2\.": "down_proj_for_speech.",
    r"audio_projection\.vision\.0\.": "up_proj_for_vision_speech.",
    r"audio_projection\.vision\.2\.": "down_proj_for_vision_speech.",
    r"\.base_layer\.": ".",
}
"""Regular expressions of Microsoft's names of weights, and the names in transformers' class."""

_LORA = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.(?P<adapter>\w+)\.weight")

ADAPTED = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
"""The layers of a block that have an adapter."""

# Microsoft's keys of the audio part, and those of transformers. The others there describe what is fixed here.
_AUDIO_KEYS = {
    "attention_dim": "hidden_size",
    "attention_heads": "num_attention_heads",
    "linear_units": "intermediate_size",
    "depthwise_seperable_out_channel": "depthwise_separable_out_channel",
}
_AUDIO_SAME = [
    "activation",
    "chunk_size",
    "conv_activation",
    "conv_glu_type",
    "depthwise_multiplier",
    "dropout_rate",
    "ext_pw_out_channel",
    "input_size",
    "kernel_size",
    "left_chunk",
    "num_blocks",
    "time_reduction",
]
_TEXT_KEYS = [
    "attention_dropout",
    "bos_token_id",
    "embd_pdrop",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "pad_token_id",
    "partial_rotary_factor",
    "resid_pdrop",
    "rms_norm_eps",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_cache",
    "vocab_size",
]
_END_OF_TURN = 200020


@dataclass(frozen=True)
class Lora:
    """A LoRA adapter: W + alpha / r · B · A."""

    r: int
    alpha: float

    @property
    def scale(self) -> float:
        """The factor of B · A."""
        return self.alpha / self.r


@dataclass(frozen=True)
class LoraWeight:
    """One half of an adapter of one layer, as its name says: ``LAYER.lora_A.vision.weight``."""

    layer: str
    half: str
    adapter: str


def lora_weight(name: str) -> LoraWeight | None:
    """The part of an adapter that a name belongs to; None for other weights."""
    match = _LORA.fullmatch(name)
    return LoraWeight(match["layer"], match["half"], match["adapter"]) if match else None


def new_name(name: str) -> str:
    """The name of a weight in transformers' class, which has no adapters."""
    for pattern, replacement in KEY_MAPPING.items():
        name = re.sub(pattern, replacement, name)
    return name


def vision_lora(config: Mapping[str, Any]) -> Lora:
    """The adapter for images of a configuration; r = 256 and alpha = 512 where it says nothing.

    Raises:
        InputError: its values are no positive numbers.
    """
    stored = config.get("vision_lora") or {}
    try:
        r, alpha = int(stored.get("r", 256)), float(stored.get("lora_alpha", 512))
    except (AttributeError, TypeError, ValueError):
        r, alpha = 0, 0.0
    if r < 1 or not alpha > 0:
        raise InputError(f"vision_lora in config.json must have positive r and lora_alpha, not {stored!r}")
    return Lora(r, alpha)


def converted_config(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The ``Phi4MultimodalConfig`` of Microsoft's configuration.

    Args:
        config: Microsoft's ``config.json``. It does not describe the vision tower: their code has its sizes.
        shapes: shapes of the weights by their names; the sizes of the vision tower are read from them.

    Raises:
        InputError: a key is missing, or transformers' class cannot be made with it.
    """
    from transformers import Phi4MultimodalAudioConfig, Phi4MultimodalConfig, Phi4MultimodalVisionConfig

    if config.get("model_type") != MODEL_TYPE:
        raise InputError(
            f"config.json has model_type {config.get('model_type')!r}; Microsoft's layout has {MODEL_TYPE!r}"
        )
    try:
        embeddings = config["embd_layer"]
        audio = config["audio_processor"]["config"]
        audio_options = {key: audio[key] for key in _AUDIO_SAME if key in audio}
        audio_options |= {new: audio[old] for old, new in _AUDIO_KEYS.items() if old in audio}
        audio_options["nemo_conv_channels"] = audio["nemo_conv_settings"]["conv_channels"]
        bias = audio["relative_attention_bias_args"]
        audio_options["bias_max_distance"] = bias["t5_bias_max_distance"]
        audio_options["bias_symmetric"] = bias.get("t5_bias_symmetric", False)
        audio_options["downsample_rate"] = embeddings["audio_embd_layer"]["downsample_rate"]
        crop_size = embeddings["image_embd_layer"]["crop_size"]
        text = {key: config[key] for key in _TEXT_KEYS if key in config}
        ends = [config["eos_token_id"], _END_OF_TURN]
    except (KeyError, TypeError) as error:
        raise InputError(f"config.json is not that of Microsoft's layout: {error} is missing") from None
    try:
        converted = Phi4MultimodalConfig(
            **text,
            eos_token_id=ends,
            vision_config=Phi4MultimodalVisionConfig(
                **_vision_sizes(shapes), crop_size=crop_size, image_token_id=IMAGE_TOKEN_ID
            ),
            audio_config=Phi4MultimodalAudioConfig(**audio_options, audio_token_id=AUDIO_TOKEN_ID),
        )
    except (KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise InputError(f"config.json cannot be read as that of {ARCHITECTURE}: {reason[:300]}") from None
    converted.architectures = [ARCHITECTURE]
    return converted


def _vision_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of the vision tower, from the shapes of its weights."""
    prefix = re.escape(VISION_TOWER)
    layers = {int(m[1]) for name in shapes if (m := re.match(rf"{prefix}encoder\.layers\.(\d+)\.", name))}
    try:
        width, _, patch, _ = shapes[f"{VISION_TOWER}embeddings.patch_embedding.weight"]
        positions, _ = shapes[f"{VISION_TOWER}embeddings.position_embedding.weight"]
        inner, _ = shapes[f"{VISION_TOWER}encoder.layers.0.mlp.fc1.weight"]
    except (KeyError, ValueError) as error:
        raise InputError(f"the weights of the vision tower are incomplete: {error}") from None
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "patch_size": patch,
        "image_size": math.isqrt(positions) * patch,
    }
