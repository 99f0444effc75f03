"""A Phi-4-multimodal checkpoint as Microsoft's repository has it, with random weights of reduced sizes.

    microsoft_phi4.write(folder)                              # as microsoft/Phi-4-multimodal-instruct
    microsoft_phi4.write(folder, audio=False, with_tokenizer=False)  # as nllg/crocscore: only what is trained

Names, files, keys of the configuration, ids of special tokens and size of the vocabulary are the real ones.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file
from tiny_models import LETTERS, byte_level_bpe
from tokenizers import Tokenizer

R, ALPHA = 4, 8
"""Rank and scale of the vision LoRA; the real one has 256 and 512."""

SPEECH_R = 5
HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY = 32, 64, 4, 2, 200064
VISION_HIDDEN, VISION_INNER = 32, 48
ANSWERS = 7.0

# From the names of transformers to Microsoft's.
_OLDER = [
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
]
_ADAPTED = re.compile(
    r"(model\.layers\.\d+\.(?:self_attn\.(?:qkv|o)_proj|mlp\.(?:gate_up|down)_proj))\.weight"
)

SPECIAL = {
    "<|endoftext|>": 199999,
    "<|endoftext10|>": 200010,
    "<|endoftext11|>": 200011,
    "<|endofprompt|>": 200018,
    "<|assistant|>": 200019,
    "<|end|>": 200020,
    "<|user|>": 200021,
    "<|system|>": 200022,
}

# Microsoft's, without the branch for tools.
_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def config(*, layers: int = 2) -> dict:
    """``config.json``: the keys and values of the real one, with reduced sizes."""
    return {
        "_name_or_path": "Phi-4-multimodal-instruct",
        "architectures": ["Phi4MMForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "audio_processor": {
            "config": {
                "activation": "swish",
                "activation_checkpointing": {"interval": 1, "module": "transformer", "offload": False},
                "attention_dim": 16,
                "attention_heads": 2,
                "batch_norm": False,
                "bias_in_glu": True,
                "causal": True,
                "chunk_size": -1,
                "cnn_layer_norm": True,
                "conv_activation": "swish",
                "conv_glu_type": "swish",
                "depthwise_multiplier": 1,
                "depthwise_seperable_out_channel": 16,
                "dropout_rate": 0.0,
                "encoder_embedding_config": {"input_size": 80},
                "ext_pw_kernel_size": 1,
                "ext_pw_out_channel": 16,
                "input_layer": "nemo_conv",
                "input_size": 80,
                "kernel_size": 3,
                "left_chunk": 18,
                "linear_units": 24,
                "nemo_conv_settings": {"conv_channels": 16},
                "num_blocks": 1,
                "relative_attention_bias_args": {"t5_bias_max_distance": 500, "type": "t5"},
                "time_reduction": 8,
            },
            "name": "cascades",
        },
        "auto_map": {
            "AutoConfig": "configuration_phi4mm.Phi4MMConfig",
            "AutoModelForCausalLM": "modeling_phi4mm.Phi4MMForCausalLM",
            "AutoTokenizer": "Xenova/gpt-4o",
        },
        "bos_token_id": 199999,
        "embd_layer": {
            "audio_embd_layer": {
                "compression_rate": 8,
                "downsample_rate": 1,
                "embedding_cls": "audio",
                "enable_gradient_checkpointing": True,
                "projection_cls": "mlp",
                "use_conv_downsample": False,
                "use_qformer": False,
            },
            "embedding_cls": "image_audio",
            "image_embd_layer": {
                "crop_size": 448,
                "embedding_cls": "tune_image",
                "enable_gradient_checkpointing": True,
                "hd_transform_order": "sub_glb",
                "image_token_compression_cls": "avg_pool_2d",
                "projection_cls": "mlp",
                "use_hd_transform": True,
                "with_learnable_separator": True,
            },
        },
        "embd_pdrop": 0.0,
        "eos_token_id": 199999,
        "full_attn_mod": 1,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "phi4mm",
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "num_key_value_heads": KV_HEADS,
        "original_max_position_embeddings": 4096,
        "pad_token_id": 199999,
        "partial_rotary_factor": 0.75,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": [1.0, 4.2, 32.0],
            "short_factor": [1.0, 1.0, 1.0],
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "speech_lora": {"dp": 0.01, "layer": _LAYERS, "lora_alpha": 2 * SPEECH_R, "r": SPEECH_R},
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.1",
        "use_cache": True,
        "vision_lora": {"dp": 0.0, "layer": _LAYERS, "lora_alpha": ALPHA, "r": R},
        "vocab_size": VOCABULARY,
        "_attn_implementation": "flash_attention_2",
    }


_LAYERS = r"layers.*((self_attn\.(qkv_proj|o_proj))|(mlp\.(gate_up|down)_proj))"


def tensors(*, layers: int = 2, seed: int = 0, audio: bool = True, dtype=torch.float32) -> dict:
    """The weights by Microsoft's names, large enough that every part changes the scores."""
    generator = torch.Generator().manual_seed(seed)

    def random(shape, scale: float):
        return torch.randn(shape, generator=generator) * scale

    found = {}
    for name, shape in _shapes(layers).items():
        scale = 0.3 if name == "model.embed_tokens.weight" else 0.5 / max(1, shape[-1]) ** 0.5
        value = random(shape, scale)
        if re.search(r"(norm\d?|layer_norm\w*|norm_\w+)\.weight$", name):
            value = 1 + 0.1 * value
        if name == "model.embed_tokens.weight":
            # Among 200,064 random tokens the two answers would have no share of the probability.
            yes, no = (tokenizer().token_to_id(answer) for answer in ("Yes", "No"))
            value[yes] *= ANSWERS
            value[no] = -value[yes]
        older = name
        for pattern, replacement in _OLDER:
            older = re.sub(pattern, replacement, older)
        if match := _ADAPTED.fullmatch(name):
            older = f"{match[1]}.base_layer.weight"
            for adapter, r in (("vision", R), ("speech", SPEECH_R)):
                if adapter == "vision" or audio:
                    found[f"{match[1]}.lora_A.{adapter}.weight"] = random((r, shape[1]), 0.2)
                    found[f"{match[1]}.lora_B.{adapter}.weight"] = random((shape[0], r), 0.2)
        if audio or ".audio_embed." not in older:
            found[older] = value
    return {name: value.to(dtype) for name, value in found.items()}


def _shapes(layers: int) -> dict[str, tuple[int, ...]]:
    text = dict(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        tie_word_embeddings=True,
    )
    vision = dict(hidden_size=VISION_HIDDEN, intermediate_size=VISION_INNER, num_hidden_layers=2)
    audio = dict(
        hidden_size=16,
        intermediate_size=24,
        num_blocks=1,
        num_attention_heads=2,
        ext_pw_out_channel=16,
        depthwise_separable_out_channel=16,
        nemo_conv_channels=16,
        bias_max_distance=500,
    )
    with torch.device("meta"):
        model = tf.Phi4MultimodalForCausalLM(
            tf.Phi4MultimodalConfig(**text, vision_config=vision, audio_config=audio)
        )
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    del shapes["lm_head.weight"]
    return shapes


def tokenizer() -> Tokenizer:
    """Byte-level BPE in which Yes and No are one token each, with the special tokens at their real ids."""
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("Ġ", "Yes"), ("Ġ", "No"), ("Ġ", "a")]
    vocabulary = {token: i for i, token in enumerate([*LETTERS, *(f"{a}{b}" for a, b in merges)])}
    return byte_level_bpe(vocabulary | SPECIAL, merges, SPECIAL)


def write(
    folder: Path,
    *,
    layers: int = 2,
    seed: int = 0,
    audio: bool = True,
    with_tokenizer: bool = True,
    dtype=torch.float32,
    files: int = 3,
    mixed: bool = True,
    changed: dict | None = None,
) -> dict[str, torch.Tensor]:
    """Write a checkpoint; weights of one layer and of its adapter are in different files if ``mixed``.

    Args:
        folder: made.
        layers: blocks of the language model.
        seed: of the weights.
        audio: with the audio part and the speech LoRA, which the authors of CROCScore remove.
        with_tokenizer: with the files of the processor, which ``nllg/crocscore`` may lack.
        dtype: of the weights.
        files: number of safetensors files; 1 has no index.
        mixed: neighbouring weights are in different files.
        changed: keys of ``config.json`` to replace.

    Returns:
        The weights by their names.
    """
    folder.mkdir(parents=True)
    weights = tensors(layers=layers, seed=seed, audio=audio, dtype=dtype)
    names = sorted(weights)
    if files == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        listed = {}
        for number in range(files):
            file = f"model-{number + 1:05}-of-{files:05}.safetensors"
            size = -(-len(names) // files)
            part = names[number::files] if mixed else names[number * size : (number + 1) * size]
            save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
            listed |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": listed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config(layers=layers) | (changed or {})))
    if with_tokenizer:
        tokenizer().save(str(folder / "tokenizer.json"))
        token = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        settings = {
            "added_tokens_decoder": {str(i): {"content": text, **token} for text, i in SPECIAL.items()},
            "add_bos_token": False,
            "bos_token": "<|endoftext|>",
            "chat_template": _TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|endoftext|>",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "GPT2TokenizerFast",
            "unk_token": "<|endoftext|>",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        processor = {
            "auto_map": {
                "AutoProcessor": "processing_phi4mm.Phi4MMProcessor",
                "AutoFeatureExtractor": "processing_phi4mm.Phi4MMAudioFeatureExtractor",
                "AutoImageProcessor": "processing_phi4mm.Phi4MMImageProcessor",
            },
            "feature_extractor_type": "Phi4MMAudioFeatureExtractor",
            "image_processor_type": "Phi4MMImageProcessor",
            "processor_class": "Phi4MMProcessor",
            "audio_compression_rate": 8,
            "audio_downsample_rate": 1,
            "audio_feat_stride": 1,
            "dynamic_hd": 36,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return weights
