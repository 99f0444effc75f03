"""SigLIP and SigLIP 2 against open_clip's and timm's towers; the tokenizers are stand-ins."""

from __future__ import annotations

import re

import numpy as np
import torch
import transformers as tf
from parity import FOLDER, TOLERANCE, assert_moved, assert_same, difference, reference
from safetensors.torch import load_file
from test_blip import load
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.registry import info

VISION_NAMES = (
    (r"^pos_embed$", "embeddings.position_embedding.weight"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^norm\.", "post_layernorm."),
    (r"^attn_pool\.latent$", "head.probe"),
    (r"^attn_pool\.proj\.", "head.attention.out_proj."),
    (r"^attn_pool\.norm\.", "head.layernorm."),
    (r"^attn_pool\.mlp\.", "head.mlp."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.layers.\1.layer_norm1."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.layers.\1.layer_norm2."),
    (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.out_proj."),
)
TEXT_NAMES = (
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^text_projection\.", "head."),
    (r"^transformer\.resblocks\.(\d+)\.ln_1\.", r"encoder.layers.\1.layer_norm1."),
    (r"^transformer\.resblocks\.(\d+)\.ln_2\.", r"encoder.layers.\1.layer_norm2."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"encoder.layers.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"encoder.layers.\1.mlp.fc2."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"encoder.layers.\1.self_attn.out_proj."),
)
# Projections of query, key and value in one matrix.
JOINED = re.compile(r"(?:blocks|transformer\.resblocks)\.(\d+)\.attn\.(?:qkv\.|in_proj_)(weight|bias)")


def weights(state: dict) -> dict:
    """open_clip's and timm's weights under the names of ``SiglipModel``."""
    found = {name: state[name].reshape(1) for name in ("logit_scale", "logit_bias")}
    pool = {}
    for name, value in state.items():
        tower, _, rest = name.partition(".")
        if tower not in ("visual", "text"):
            continue
        prefix = "vision_model." if tower == "visual" else "text_model."
        if rest.startswith(("attn_pool.q.", "attn_pool.kv.")):
            pool[rest.removeprefix("attn_pool.")] = value
            continue
        if match := JOINED.fullmatch(rest):
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[f"{prefix}encoder.layers.{match[1]}.self_attn.{part}_proj.{match[2]}"] = rows
            continue
        for pattern, ours in VISION_NAMES if tower == "visual" else TEXT_NAMES:
            rest = re.sub(pattern, ours, rest)
        found[prefix + rest] = (
            value[0] if rest == "embeddings.position_embedding.weight" and value.ndim == 3 else value
        )
    for kind in ("weight", "bias"):
        joined = torch.cat([pool[f"q.{kind}"], pool[f"kv.{kind}"]])
        found[f"vision_model.head.attention.in_proj_{kind}"] = joined
    return found


def siglip(**options) -> DualEncoder:
    processor = tf.SiglipProcessor(
        tf.SiglipImageProcessorPil(size={"height": 64, "width": 64}, resample=2),
        tf.AutoTokenizer.from_pretrained(FOLDER / "siglip2"),
    )
    given = {**info("siglip2-base").options, "processor": processor, "device": "cpu"}
    return DualEncoder(model("siglip2"), **{**given, **options})


def siglip_1(*, activation: str = "gelu_pytorch_tanh", **options) -> DualEncoder:
    processor = tf.SiglipProcessor(
        tf.SiglipImageProcessorPil(size={"height": 64, "width": 64}, resample=3),
        tf.SiglipTokenizer(str(FOLDER / "siglip" / "spiece.model")),
    )
    given = {**info("siglip-so400m").options, "processor": processor, "device": "cpu"}
    return DualEncoder(model("siglip", hidden_act=activation), **{**given, **options})


def model(name: str, **shape) -> tf.SiglipModel:
    shape |= dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)
    state = load_file(FOLDER / name / "weights.safetensors")
    words = len(state["text.token_embedding.weight"])
    made = tf.SiglipModel(
        tf.SiglipConfig(
            text_config=dict(**shape, vocab_size=words, max_position_embeddings=64, projection_size=64),
            vision_config=dict(**shape, image_size=64, patch_size=16),
        )
    )
    return load(made, weights(state))


def scores(scorer: DualEncoder, prompts=None) -> np.ndarray:
    pictures, texts = pairs()
    return scorer.score(pictures, prompts or texts).reshape(-1, len(PROMPTS))


def test_siglip_2_is_that_of_open_clip_on_lower_case_texts():
    expected = reference("siglip2")
    assert_same("open_clip SigLIP 2", scores(siglip()), expected["logit"])
    # The entry's option is what the class takes by itself for a checkpoint of this form.
    assert siglip(caption=None).caption == "lowercase"


def test_siglip_2_prepares_the_pixels_and_tokens_of_open_clip():
    expected = reference("siglip2")
    scorer = siglip()
    pixels = scorer.checkpoint.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    rows = scorer._text_inputs([scorer._ids(prompt)[0] for prompt in PROMPTS])["input_ids"]
    assert rows.tolist() == expected["tokens"].tolist()


def test_siglip_2_controls_are_seen():
    expected = reference("siglip2")["logit"]
    assert_moved(scores(siglip(caption="as is")), expected)
    assert_moved(scores(siglip(caption="blip")), expected)
    assert_moved(scores(siglip(window=40)), expected)
    assert_moved(scores(siglip(dtype="bfloat16")), expected)
    assert_moved(scores(siglip(framing="square")), expected)
    assert_moved(scores(siglip(processor_options={"resample": 3})), expected)


def test_siglip_is_that_of_open_clip_with_either_activation():
    expected = reference("siglip")
    assert_same("open_clip SigLIP", scores(siglip_1(activation="gelu")), expected["logit"])
    assert_same("open_clip SigLIP, tanh", scores(siglip_1()), expected["logit_tanh"])
    # open_clip computes GELU by its definition where Google's configurations name the approximation.
    assert difference(expected["logit"], expected["logit_tanh"]) > 3 * TOLERANCE


def test_siglip_prepares_the_pixels_and_tokens_of_open_clip():
    expected = reference("siglip")
    scorer = siglip_1()
    pixels = scorer.checkpoint.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    rows = scorer._text_inputs([scorer._ids(prompt)[0] for prompt in PROMPTS])["input_ids"]
    assert rows.tolist() == expected["tokens"].tolist()


def test_siglip_controls_are_seen():
    expected = reference("siglip")["logit_tanh"]
    assert_moved(scores(siglip_1(), ["a cat", "a dog", "a tree", "a ball"] * 4), expected)
    assert_moved(scores(siglip_1(window=20)), expected)
    assert_moved(scores(siglip_1(dtype="bfloat16")), expected)
    assert_moved(scores(siglip_1(framing="square")), expected)
    assert_moved(scores(siglip_1(processor_options={"resample": 2})), expected)


def test_siglips_tokenizer_joins_words_at_an_underscore_where_open_clip_separates_them():
    scorer = siglip_1()
    read = [scorer._ids(text)[0] for text in ("a red_ball", "a redball", "a red ball")]
    assert read[0] == read[1] != read[2]
