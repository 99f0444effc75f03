"""VQAScore against t2v_metrics: Qwen2.5-VL with its tokenizer, InstructBLIP and LLaVA 1.5 with stand-ins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tf
from parity import FOLDER, assert_moved, assert_same, difference, reference
from safetensors.torch import load_file
from test_blip import VISION, blip2_weights, load, tokenizer
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers.registry import info
from croc.scorers.vqa import VqaScore


def entry(name: str) -> dict:
    """The options of an entry of models.yaml: its question, answers and preparation of images."""
    return {"device": "cpu", **info(name).options}


def scores(scorer: VqaScore) -> np.ndarray:
    return scorer.score(*pairs()).reshape(-1, len(PROMPTS))


def reused(scorer: VqaScore) -> np.ndarray:
    """The scores with the prefix of an image computed once."""
    return np.stack(scorer.score_images_prompts(images(), [list(PROMPTS)] * len(images())))


# ---- Qwen2.5-VL ----


def qwen(**options) -> VqaScore:
    return VqaScore(str(FOLDER / "qwen2.5-vl"), **{**entry("vqascore-qwen2.5-vl-7b"), **options})


def test_qwen_is_that_of_t2v_metrics():
    expected = reference("qwen2.5-vl")
    scorer = qwen()
    assert_same("t2v_metrics Qwen2.5-VL", scores(scorer), expected["score"])
    # As the package rounds: its softmax over the vocabulary is in float32.
    assert difference(scores(scorer), expected["in_fp32"]) < 1e-3
    assert_same("t2v_metrics Qwen2.5-VL, prefix reused", reused(scorer), expected["score"])
    plain = scores(qwen(repetition_penalty=1.0))
    assert_same("t2v_metrics Qwen2.5-VL, no penalty", plain, expected["without_penalty"])


def test_qwen_answers_with_the_published_token():
    reference("qwen2.5-vl")
    # The ids of Yes and No in Qwen's vocabulary.
    assert qwen().answer_ids == (9454, 2753)


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.0},
        {"question": 'Does this figure show "{prompt}"? Please answer yes or no.'},
        {"answers": ("yes", "no")},
        {"processor_options": {"max_pixels": 50176}},
        {"framing": "square"},
        {"dtype": "bfloat16"},
        {"system": "You are helpful."},
    ],
    ids=lambda options: next(iter(options)),
)
def test_qwen_controls_are_seen(options):
    expected = reference("qwen2.5-vl")["score"]
    assert_moved(scores(qwen(**options)), expected)


# ---- InstructBLIP with FlanT5 ----


def instructblip(**options) -> VqaScore:
    state = load_file(FOLDER / "instructblip-t5" / "weights.safetensors")
    answers = tf.PreTrainedTokenizerFast.from_pretrained(FOLDER / "instructblip-t5" / "t5_tokenizer")
    answers.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = tf.InstructBlipConfig(
        vision_config=dict(
            VISION, intermediate_size=96, image_size=224, patch_size=14, layer_norm_eps=1e-6, qkv_bias=True
        ),
        qformer_config=dict(
            vocab_size=len(tokenizer()),
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=256,
            encoder_hidden_size=48,
            cross_attention_frequency=2,
        ),
        text_config=dict(
            model_type="t5",
            vocab_size=len(answers),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dense_act_fn="gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=0,
        ),
        num_query_tokens=8,
        image_token_index=answers.convert_tokens_to_ids("<image>"),
    )
    model = tf.InstructBlipForConditionalGeneration(config)
    # Built with tied weights; FlanT5's are not.
    model.language_model.lm_head.weight = torch.nn.Parameter(model.language_model.lm_head.weight.clone())
    found = {}
    for name, value in blip2_weights(state).items():
        if name.startswith(("qformer.layernorm", "embeddings.")):
            name = name.replace("qformer.layernorm", "embeddings.layernorm")
            name = f"qformer.{name}"
        found[name] = value
    for name, value in state.items():
        if name.startswith("t5_model."):
            found[name.replace("t5_model.", "language_model.")] = value
        elif name.startswith("t5_proj."):
            found[name.replace("t5_proj.", "language_projection.")] = value
    images = tf.BlipImageProcessorPil(size={"height": 224, "width": 224})
    processor = tf.InstructBlipProcessor(images, answers, tokenizer(), num_query_tokens=8)
    given = {**entry("vqascore-instructblip-7b"), "processor": processor}
    return VqaScore(load(model, found), **{**given, **options})


def test_instructblip_is_that_of_t2v_metrics():
    expected = reference("instructblip-t5")
    scorer = instructblip()
    pixels = scorer.checkpoint.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert_same("t2v_metrics InstructBLIP-FlanT5", scores(scorer), expected["score"])


@pytest.mark.parametrize(
    "options",
    [
        {"with_end": False},
        {"answers": ("Yes", "No")},
        {"question": 'Does this figure show "{prompt}"? Please answer yes or no.'},
        {"processor_options": {}},
        {"dtype": "bfloat16"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_instructblip_controls_are_seen(options):
    expected = reference("instructblip-t5")["score"]
    assert_moved(scores(instructblip(**options)), expected)


# ---- LLaVA 1.5 ----

LLAVA_NAMES = (
    ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
)
# llava-hf/llava-1.5-7b-hf's: system text as it is, images before the text.
LLAVA_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() }}: {% endif %}"
    "{% for c in m['content'] if c['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def llava(**options) -> VqaScore:
    words = tf.AutoTokenizer.from_pretrained(FOLDER / "llava-1.5" / "tokenizer")
    state = load_file(FOLDER / "llava-1.5" / "weights.safetensors")
    config = tf.LlavaConfig(
        vision_config=dict(
            model_type="clip_vision_model",
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=112,
            patch_size=28,
        ),
        text_config=dict(
            model_type="llama",
            vocab_size=len(state["lm_head.weight"]),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=2048,
        ),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = tf.LlavaForConditionalGeneration(config)
    own = list(model.state_dict())
    prefix = "model.vision_tower.vision_model." if any("vision_tower.vision_model." in n for n in own) else ""
    found = {}
    for name, value in state.items():
        for theirs, ours in LLAVA_NAMES:
            if name.startswith(theirs):
                name = name.replace(theirs, prefix if prefix and ours.endswith("vision_tower.") else ours, 1)
                break
        found[name] = value
    processor = tf.LlavaProcessor(
        image_processor=tf.CLIPImageProcessorPil(
            size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112}
        ),
        tokenizer=words,
        patch_size=28,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=LLAVA_TEMPLATE,
    )
    given = {**entry("vqascore-llava-1.5-7b"), "processor": processor}
    return VqaScore(load(model, found), **{**given, **options})


def test_llava_is_that_of_t2v_metrics():
    expected = reference("llava-1.5")
    scorer = llava()
    pixels = scorer.checkpoint.pixels(images())["pixel_values"].numpy()
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert_same("t2v_metrics LLaVA 1.5", scores(scorer), expected["score"])
    assert_same("t2v_metrics LLaVA 1.5, prefix reused", reused(scorer), expected["score"])


@pytest.mark.parametrize(
    "options",
    [
        {"with_end": False},
        {"framing": None},
        {"system": None},
        {"answers": ("No", "Yes")},
        {"dtype": "bfloat16"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_llava_controls_are_seen(options):
    expected = reference("llava-1.5")["score"]
    assert_moved(scores(llava(**options)), expected)
