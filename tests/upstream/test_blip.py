"""BLIP-ITM, BLIP2-ITM and BLIP-VQA against LAVIS; the tokenizer is a stand-in for BERT's."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import transformers as tf
from parity import FOLDER, TOLERANCE, assert_moved, assert_same, reference
from safetensors.torch import load_file
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers.bvqa import BlipVqa
from croc.scorers.captions import blip_caption, blip_question
from croc.scorers.itm import ImageTextMatching

TEXT = dict(
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
    encoder_hidden_size=48,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
VISION = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, hidden_act="gelu")
# timm's names of the parts of a vision transformer, and transformers'.
RENAMED = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    (".attn.proj.", ".self_attn.projection."),
    (".attn.", ".self_attn."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
)


def vision_weights(state: dict) -> dict:
    """The weights of LAVIS's vision transformer under transformers' names."""
    found = {}
    for name, value in state.items():
        if name.startswith("visual_encoder."):
            name = name.removeprefix("visual_encoder.")
            for theirs, ours in RENAMED:
                name = name.replace(theirs, ours)
            found["vision_model." + re.sub(r"^norm\.", "post_layernorm.", name)] = value
    return found


def tokenizer() -> tf.BertTokenizer:
    tokens = (FOLDER / "bert_tokenizer" / "vocab.txt").read_text("utf-8").split("\n")
    return tf.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=True)


def processor(kind, side: int):
    size = {"height": side, "width": side}
    return kind(tf.BlipImageProcessorPil(size=size), tokenizer())


def load(model, state: dict):
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not [name for name in missing if "position_ids" not in name]
    assert not [name for name in unexpected if "position_ids" not in name]
    return model.eval()


def blip(kind, folder: str, side: int):
    words = len(tokenizer())
    config = tf.BlipConfig(
        text_config=dict(TEXT, vocab_size=words + 2, bos_token_id=words, sep_token_id=3, pad_token_id=0),
        vision_config=dict(
            VISION, intermediate_size=192, image_size=side, patch_size=16, layer_norm_eps=1e-6
        ),
        image_text_hidden_size=256,
    )
    state = load_file(FOLDER / folder / "weights.safetensors")
    other = {name: value for name, value in state.items() if not name.startswith("visual_encoder.")}
    return load(kind(config), {**vision_weights(state), **other})


def blip_itm(**options) -> ImageTextMatching:
    model = blip(tf.BlipForImageTextRetrieval, "blip-itm", 384)
    given = dict(processor=processor(tf.BlipProcessor, 384), window=35, device="cpu")
    return ImageTextMatching(model, **{**given, **options})


def blip2_weights(state: dict) -> dict:
    """The weights of LAVIS's BLIP-2 under the names of ``Blip2ForImageTextRetrieval``."""
    found = vision_weights(state)
    for layer in range(2):
        # LAVIS's attention has no bias of the keys.
        prefix = f"vision_model.encoder.layers.{layer}.self_attn."
        query, value = found.pop(prefix + "q_bias"), found.pop(prefix + "v_bias")
        found[prefix + "qkv.bias"] = torch.cat([query, torch.zeros_like(value), value])
    for name, value in state.items():
        if name.startswith("ln_vision."):
            found[name.replace("ln_vision", "vision_model.post_layernorm")] = value
        elif name.startswith("Qformer.bert.embeddings.LayerNorm."):
            found[name.replace("Qformer.bert.embeddings.LayerNorm", "qformer.layernorm")] = value
        elif name.startswith("Qformer.bert.embeddings."):
            found[name.removeprefix("Qformer.bert.")] = value
        elif name.startswith("Qformer.bert."):
            name = name.replace("attention.self.", "attention.attention.")
            found[name.replace("Qformer.bert.", "qformer.")] = value
        elif name.startswith(("vision_proj", "text_proj")):
            found[name.replace("proj.", "projection.")] = value
        elif name.startswith(("itm_head", "query_tokens")):
            found[name] = value
    return found


def blip2_itm(**options) -> ImageTextMatching:
    found = blip2_weights(load_file(FOLDER / "blip2-itm" / "weights.safetensors"))
    config = tf.Blip2Config(
        vision_config=dict(
            VISION,
            intermediate_size=96,
            image_size=224,
            patch_size=14,
            layer_norm_eps=1e-6,
            qkv_bias=True,
        ),
        qformer_config=dict(
            TEXT,
            vocab_size=len(tokenizer()) + 1,
            cross_attention_frequency=2,
            use_qformer_text_input=True,
        ),
        text_config=dict(model_type="opt", vocab_size=8, hidden_size=8, num_hidden_layers=1),
        num_query_tokens=8,
        image_text_hidden_size=256,
    )
    model = load(tf.Blip2ForImageTextRetrieval(config), found)
    given = dict(processor=processor(tf.Blip2Processor, 224), window=32, device="cpu")
    return ImageTextMatching(model, **{**given, **options})


MATCHING = {"blip-itm": blip_itm, "blip2-itm": blip2_itm}


def scores(scorer, prompts=None) -> np.ndarray:
    pictures, texts = pairs()
    return scorer.score(pictures, prompts or texts).reshape(-1, len(PROMPTS))


@pytest.mark.parametrize("name", MATCHING)
def test_matching_is_that_of_lavis(name):
    expected = reference(name)
    assert_same(f"LAVIS {name}, raw prompts", scores(MATCHING[name]()), expected["raw"])
    assert_same(
        f"LAVIS {name}, caption processor", scores(MATCHING[name](caption="blip")), expected["caption"]
    )


@pytest.mark.parametrize("name", MATCHING)
def test_matching_prepares_the_pixels_and_captions_of_lavis(name):
    expected = reference(name)
    pixels = MATCHING[name]().checkpoint.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert [blip_caption(prompt) for prompt in PROMPTS] == expected["captions"].tolist()


@pytest.mark.parametrize("name", MATCHING)
def test_matching_controls_are_seen(name):
    build, expected = MATCHING[name], reference(name)["raw"]
    assert_moved(scores(build(caption="blip")), expected)
    assert_moved(scores(build(framing="square")), expected)
    assert_moved(scores(build(dtype="bfloat16")), expected)
    assert_moved(scores(build(window=9)), expected)


def bvqa(phrases: list[str], **options) -> BlipVqa:
    model = blip(tf.BlipForQuestionAnswering, "blip-vqa", 384)
    given = dict(processor=processor(tf.BlipProcessor, 384), device="cpu", decimals=None)
    return BlipVqa(model, chunker=lambda prompt: phrases, **{**given, **options})


def answers(**options) -> np.ndarray:
    """The answer of each phrase alone, for each image."""
    phrases = reference("blip-vqa")["phrases"].tolist()
    return np.stack([bvqa([phrase], **options).score(images(), ["x"] * 4) for phrase in phrases], axis=1)


def test_bvqa_is_that_of_lavis_with_the_formula_of_t2i_compbench():
    expected = reference("blip-vqa")
    assert_same("LAVIS BLIP-VQA, P(yes) / (P(yes) + P(no))", answers(), expected["answer"])
    phrases = expected["phrases"].tolist()
    product = bvqa(phrases).score(images(), ["x"] * 4)
    assert_same("T2I-CompBench BVQA, product", product, expected["answer"].prod(axis=1))
    # The published code prints every answer and the product with four decimals.
    rounded = np.array([[float(f"{answer:.4f}") for answer in row] for row in expected["answer"]])
    published = [float(f"{value:.4f}") for value in rounded.prod(axis=1)]
    assert bvqa(phrases, decimals=4).score(images(), ["x"] * 4).tolist() == published


def test_bvqa_prepares_the_pixels_and_questions_of_lavis():
    expected = reference("blip-vqa")
    size = {"height": 480, "width": 480}
    pixels = bvqa([]).checkpoint.pixels(images(), size=size)["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    phrases = expected["phrases"].tolist()
    assert [blip_question(f"{phrase}?") for phrase in phrases] == expected["questions"].tolist()


def test_bvqa_controls_are_seen():
    expected = reference("blip-vqa")["answer"]
    assert_moved(answers(image_side=384), expected)
    assert_moved(answers(caption="lowercase"), expected)
    assert_moved(answers(dtype="bfloat16"), expected)
    assert_moved(answers(framing="square"), expected)
    assert TOLERANCE * np.ptp(expected) < 1e-4, "rounding to four decimals would be seen"
    assert_moved(answers(decimals=3), expected)
