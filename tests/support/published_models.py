"""Folders of models as the Hub has them: published processor settings and special tokens, reduced weights.

The classes are those of transformers, with few and narrow layers and random weights; vocabulary, image sizes,
patches and pixels per token are those of the published models.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import string
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tiny_models import LETTERS, byte_level_bpe
from tokenizers import Tokenizer


def qwen3_vl(folder: Path, shared_data: Path) -> Path:
    """Qwen3-VL with its own vocabulary and settings."""
    published = shared_data / "models" / "qwen3-vl"
    _vocabularies().qwen(published / "qwen.tiktoken").save_pretrained(folder)
    for name in ("tokenizer_config", "chat_template", "preprocessor_config", "video_preprocessor_config"):
        shutil.copy(published / f"{name}.json", folder)
    torch.manual_seed(0)
    model = tf.Qwen3VLForConditionalGeneration(
        tf.Qwen3VLConfig(
            vision_config=dict(
                depth=2,
                hidden_size=32,
                intermediate_size=48,
                num_heads=2,
                out_hidden_size=64,
                patch_size=16,
                deepstack_visual_indexes=[0],
            ),
            text_config=dict(
                vocab_size=151_936,
                hidden_size=64,
                intermediate_size=96,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                rope_parameters={"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2]},
            ),
            tie_word_embeddings=True,
        )
    )
    model.save_pretrained(folder)
    return folder


def _vocabularies() -> Any:
    """The module that builds vocabularies for the reference packages, whose folder is no package here."""
    file = Path(__file__).parents[1] / "upstream" / "reference" / "vocabularies.py"
    spec = importlib.util.spec_from_file_location("vocabularies", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# SmolVLM's added tokens: the first 49,152 ids are text.
_SMOLVLM_TEXT = 49_152
_SMOLVLM_ADDED = (
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    "<fake_token_around_image>",
    "<image>",
    *(f"<|reserved_special_token_{number}|>" for number in range(88)),
    "<end_of_utterance>",
)
_SMOLVLM_IMAGES = {
    "do_convert_rgb": True,
    "do_image_splitting": True,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": 512},
    "resample": 1,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 2048},
}
_SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def smolvlm(folder: Path, *, family: str = "Idefics3") -> Path:
    """SmolVLM: its ids of added tokens, its template and settings; the text's vocabulary is a stand-in.

    Args:
        folder: where it is written.
        family: ``Idefics3``, the class of SmolVLM-256M-Instruct, or ``SmolVLM``, that of SmolVLM2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _smolvlm_tokenizer().save(str(folder / "tokenizer.json"))
    named = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"}
    named |= {"global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>"}
    tokenizer = {
        "additional_special_tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "extra_special_tokens": named,
        **named,
        "model_max_length": 8192,
        "processor_class": f"{family}Processor",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "truncation_side": "left",
    }
    images = {
        **_SMOLVLM_IMAGES,
        "image_processor_type": f"{family}ImageProcessor",
        "processor_class": f"{family}Processor",
    }
    for name, content in (
        ("tokenizer_config", tokenizer),
        ("preprocessor_config", images),
        ("processor_config", {"image_seq_len": 64, "processor_class": f"{family}Processor"}),
        ("chat_template", {"chat_template": _SMOLVLM_TEMPLATE}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    config = getattr(tf, f"{family}Config")(
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=512,
            patch_size=16,
        ),
        text_config=dict(
            model_type="llama",
            vocab_size=_SMOLVLM_TEXT + len(_SMOLVLM_ADDED),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            pad_token_id=2,
        ),
        image_token_id=_SMOLVLM_TEXT + _SMOLVLM_ADDED.index("<image>"),
        scale_factor=4,
        tie_word_embeddings=False,
    )
    getattr(tf, f"{family}ForConditionalGeneration")(config).save_pretrained(folder)
    return folder


def _smolvlm_tokenizer() -> Tokenizer:
    """Byte-level BPE of SmolVLM's size, with a few merges instead of its own."""
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("Ġ", "Yes"), ("Ġ", "No")]
    merges += [("Ġ", letter) for letter in string.ascii_lowercase]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, *(a + b for a, b in merges)]
    tokens += [f"<unused {number}>" for number in range(len(tokens), _SMOLVLM_TEXT)]
    ids = {token: number for number, token in enumerate(tokens)}
    return byte_level_bpe(ids, merges, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *_SMOLVLM_ADDED])
