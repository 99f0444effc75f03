"""CLIP, CLIPScore, HPS v2 and PickScore against open_clip, torchmetrics, hpsv2 and t2v_metrics.

The tokenizer is CLIP's own, the architectures are the published ones with two layers and a width of 64.
"""

from __future__ import annotations

import numpy as np
import pytest
import transformers as tf
from parity import FOLDER, assert_moved, assert_same, reference
from safetensors.torch import load_file
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.open_clip_weights import clip_weights

ACTIVATIONS = {"gelu": "gelu", "quickgelu": "quick_gelu"}


def processor() -> tf.CLIPProcessor:
    tokenizer = tf.CLIPTokenizer(
        vocab=str(FOLDER / "clip_tokenizer" / "vocab.json"),
        merges=str(FOLDER / "clip_tokenizer" / "merges.txt"),
        model_max_length=77,
    )
    size = dict(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    return tf.CLIPProcessor(tf.CLIPImageProcessorPil(**size), tokenizer)


def config(activation: str = "gelu") -> tf.CLIPConfig:
    shape = dict(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act=ACTIVATIONS[activation],
    )
    return tf.CLIPConfig(
        text_config=dict(**shape, vocab_size=49408, bos_token_id=49406, eos_token_id=49407),
        vision_config=dict(**shape, image_size=224, patch_size=32),
        projection_dim=64,
    )


def scorer(activation: str = "gelu", **options) -> DualEncoder:
    """Ours with open_clip's weights."""
    model = tf.CLIPModel(config(activation))
    state = clip_weights(load_file(FOLDER / f"open_clip-{activation}" / "weights.safetensors"))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    return DualEncoder(model.eval(), processor=processor(), device="cpu", **options)


def scores(scorer: DualEncoder, prompts=None) -> np.ndarray:
    pictures, texts = pairs()
    return scorer.score(pictures, prompts or texts).reshape(-1, len(PROMPTS))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_clip_gives_the_cosine_and_the_logit_of_open_clip(activation):
    expected = reference(f"open_clip-{activation}")
    cosine = scores(scorer(activation, formula="cosine"))
    assert_same(f"open_clip {activation}, cosine", cosine, expected["cosine"])
    assert_same(
        f"open_clip {activation}, logit", scores(scorer(activation, formula="logit")), expected["logit"]
    )
    clipped = 2.5 * np.maximum(expected["cosine"], 0)
    assert_same(
        f"open_clip {activation}, clipscore", scores(scorer(activation, formula="clipscore")), clipped
    )


def test_clip_prepares_the_pixels_and_tokens_of_open_clip():
    expected = reference("open_clip-gelu")
    pixels = processor().image_processor(images=images(), return_tensors="np")["pixel_values"]
    assert np.abs(pixels - expected["pixels"]).max() < 1e-6
    ours = scorer()
    for prompt, row in zip(PROMPTS, expected["tokens"], strict=True):
        # open_clip pads with 0.
        assert ours._ids(prompt)[0] == row[: np.flatnonzero(row)[-1] + 1].tolist()


def test_clip_controls_are_seen():
    expected = reference("open_clip-gelu")["cosine"]
    assert_moved(scores(scorer(formula="cosine", framing="square")), expected)
    assert_moved(scores(scorer(formula="cosine", framing="letterbox")), expected)
    assert_moved(scores(scorer(formula="cosine", caption="blip")), expected)
    assert_moved(scores(scorer(formula="cosine", template="A photo depicts {prompt}")), expected)
    assert_moved(scores(scorer(formula="cosine", dtype="bfloat16")), expected)
    # The activations differ less than the settings above, and are still seen.
    other = scorer("quickgelu", formula="cosine")
    other.checkpoint.source.load_state_dict(scorer("gelu").checkpoint.source.state_dict())
    assert_moved(scores(other), expected)


def test_clipscore_is_that_of_torchmetrics():
    expected = reference("torchmetrics")["cosine"]
    found = scores(DualEncoder(str(FOLDER / "torchmetrics"), device="cpu", formula="cosine"))
    assert_same("torchmetrics, cosine", found, expected)


def test_pickscore_is_that_of_its_authors_formula():
    expected = reference("pickscore")
    found = scores(DualEncoder(str(FOLDER / "pickscore"), device="cpu", formula="logit"))
    assert_same("t2v_metrics PickScore × exp(logit_scale)", found, expected["score"])
    assert_moved(
        scores(DualEncoder(str(FOLDER / "pickscore"), device="cpu", formula="cosine")), expected["score"]
    )


@pytest.fixture
def architecture(tmp_path):
    """The repository that gives the architecture and the processor of HPS v2's weights."""
    config().save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    return str(tmp_path)


def hpsv2(architecture: str, **options) -> DualEncoder:
    given = dict(formula="cosine", framing="letterbox", open_clip_weights="HPS_v2_compressed.pt")
    return DualEncoder(str(FOLDER / "hpsv2"), processor=architecture, device="cpu", **{**given, **options})


def test_hpsv2_is_that_of_its_package(architecture):
    expected = reference("hpsv2")
    ours = hpsv2(architecture)
    pixels = np.concatenate([ours.prepare_image(image)["pixel_values"] for image in images()])
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert_same("hpsv2", scores(ours), expected["score"])


def test_hpsv2_controls_are_seen(architecture):
    expected = reference("hpsv2")["score"]
    assert_moved(scores(hpsv2(architecture, framing=None)), expected)
    assert_moved(scores(hpsv2(architecture, framing="square")), expected)
    assert_moved(scores(hpsv2(architecture, dtype="bfloat16")), expected)
    assert_moved(scores(hpsv2(architecture), [prompt.upper() + "." for prompt in pairs()[1]]), expected)
