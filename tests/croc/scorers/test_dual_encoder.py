"""Dual encoders against their published formulas, written out here with the model's own parts."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image

from croc.errors import InputError
from croc.scorers import Scorer
from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.pairs import UnscoredPairs
from croc.scoring.batching import BatchScorer

PROMPTS = ["a red dog", "a blue cat on a table", "two", "a green vase and a book"]
IMAGES = [tiny.picture(seed) for seed in range(4)]
BUILDERS = {"clip": tiny.clip, "siglip": tiny.siglip, "align": tiny.align}


def reference_cosines(model, processor, prompts=PROMPTS, images=IMAGES) -> np.ndarray:
    """The cosine by the plain way: the processor's own call, one pair at a time."""
    found = []
    fixed = model.config.model_type == "siglip"
    for image, prompt in zip(images, prompts, strict=True):
        pixels = processor.image_processor(images=image, return_tensors="pt")
        width = model.config.text_config.max_position_embeddings
        padding = dict(padding="max_length", padding_side="right") if fixed else {}
        ids = processor.tokenizer(prompt, return_tensors="pt", max_length=width, truncation=True, **padding)
        if fixed:
            ids = {"input_ids": ids["input_ids"]}
        with torch.no_grad():
            i = model.get_image_features(**pixels).pooler_output[0]
            t = model.get_text_features(**ids).pooler_output[0]
        found.append(float((i @ t) / (i.norm() * t.norm())))
    return np.array(found)


@pytest.mark.parametrize("family", BUILDERS)
def test_cosine_is_the_angle_between_the_models_own_features(family):
    model, processor = BUILDERS[family]()
    scorer = DualEncoder(model, processor=processor, formula="cosine")
    assert isinstance(scorer, Scorer)
    scores = scorer.score(IMAGES, PROMPTS)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(reference_cosines(model, processor), abs=1e-5)
    assert np.ptp(scores) > 1e-3, "an image and a prompt must matter, or the comparison says nothing"


def test_clipscore_is_two_and_a_half_times_the_clipped_cosine():
    model, processor = tiny.clip(seed=3)
    cosines = reference_cosines(model, processor)
    flipped = DualEncoder(model, processor=processor, formula="clipscore")
    expected = [2.5 * c if c > 0 else 0.0 for c in cosines]
    assert flipped.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-5)


def test_clipscore_clips_at_zero_and_so_makes_ties():
    model, processor = tiny.clip()
    scorer = DualEncoder(model, processor=processor, formula="clipscore")
    right, left = np.array([[1.0, 0.0]]), np.array([[-0.6, 0.8]])
    assert scorer.similarity(right, left).tolist() == [0.0]
    assert scorer.similarity(right, np.array([[-1.0, 0.0]])).tolist() == [0.0]
    assert scorer.similarity(right, np.array([[0.6, 0.8]])) == pytest.approx([1.5])


def test_pickscore_is_the_scaled_cosine():
    # Kirstain et al. 2023: logit_scale.exp() times the cosine, no bias.
    model, processor = tiny.clip()
    model.logit_scale.data.fill_(3.0)
    scorer = DualEncoder(model, processor=processor, formula="logit")
    expected = np.exp(3.0) * reference_cosines(model, processor)
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=2e-4)


def test_siglip_logit_has_scale_and_bias_as_in_the_models_forward():
    model, processor = tiny.siglip()
    scorer = DualEncoder(model, processor=processor, formula="logit")
    ids = processor.tokenizer(
        PROMPTS,
        padding="max_length",
        padding_side="right",
        max_length=40,
        truncation=True,
        return_tensors="pt",
    )["input_ids"]
    pixels = processor.image_processor(images=IMAGES, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits_per_image.diagonal()
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected.numpy(), abs=1e-4)


@pytest.mark.parametrize("family", BUILDERS)
def test_batch_1_equals_batch_n(family):
    model, processor = BUILDERS[family]()
    one = DualEncoder(model, processor=processor, batch_size=1).score(IMAGES, PROMPTS)
    many = DualEncoder(model, processor=processor, batch_size=4).score(IMAGES, PROMPTS)
    assert one == pytest.approx(many, abs=1e-5)


@pytest.mark.parametrize("family", BUILDERS)
def test_features_encoded_once_give_the_same_scores(family):
    model, processor = BUILDERS[family]()
    scorer = DualEncoder(model, processor=processor)
    images, texts = scorer.encode_images(IMAGES), scorer.encode_texts(PROMPTS)
    assert images.dtype == texts.dtype == np.float32
    rows, columns = np.divmod(np.arange(16), 4)
    crossed = scorer.similarity(images[rows], texts[columns])
    plain = scorer.score([IMAGES[r] for r in rows], [PROMPTS[c] for c in columns])
    assert crossed == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("family", BUILDERS)
def test_images_prepared_ahead_of_the_model_give_the_same_vectors(family):
    model, processor = BUILDERS[family]()
    scorer = DualEncoder(model, processor=processor, batch_size=3)
    odd = [tiny.picture(5, (40, 3)), tiny.picture(6, (1, 1)), IMAGES[0].convert("L")]
    with ThreadPoolExecutor(4) as pool:
        items = list(pool.map(scorer.prepare_image, [*IMAGES, *odd]))
    assert (scorer.encode_prepared(items) == scorer.encode_images([*IMAGES, *odd])).all()
    assert scorer.encode_prepared([]).shape == scorer.encode_images([]).shape
    # A tensor would set up a second team of torch's workers in the thread that made it.
    assert all(isinstance(value, np.ndarray) for item in items for value in item.values())


@pytest.mark.parametrize("family", BUILDERS)
def test_the_engine_prepares_ahead_and_agrees_with_pair_by_pair(family, monkeypatch):
    model, processor = BUILDERS[family]()
    scorer = DualEncoder(model, processor=processor, batch_size=3)
    files = {}
    for i, image in enumerate(IMAGES):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        files[f"k{i}"] = buffer.getvalue()
    engine = BatchScorer(scorer)
    engine.self_check(files, dict.fromkeys(files, PROMPTS))
    assert (engine.method, engine.remark) == ("embeddings", "")
    # From here on pixels made beside the model would be found out.
    monkeypatch.setattr(scorer, "encode_images", None)
    got = engine.score(files, dict.fromkeys(files, PROMPTS))
    monkeypatch.undo()
    pairs = [(f"k{i}", prompt) for i in range(len(IMAGES)) for prompt in PROMPTS]
    plain = scorer.score([IMAGES[int(key[1:])] for key, _ in pairs], [prompt for _, prompt in pairs])
    assert [got[pair] for pair in pairs] == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("typed", ["<|endoftext|>", "a dog <|startoftext|> a cat", "[SEP]", "<image></s>"])
@pytest.mark.parametrize("family", BUILDERS)
def test_special_tokens_in_a_prompt_stay_text(family, typed):
    model, processor = BUILDERS[family]()
    scorer = DualEncoder(model, processor=processor)
    ids, cut = scorer._ids(typed)
    before, after = scorer._tokenizer.special_tokens
    body = ids[len(before) : len(ids) - len(after)]
    assert not cut
    assert not set(body) & set(processor.tokenizer.all_special_ids)
    written = typed if family == "siglip" else typed.lower()
    assert processor.tokenizer.decode(body).replace(" ", "") == written.replace(" ", "")


def test_what_is_longer_than_the_window_is_cut_and_said():
    model, processor = tiny.clip(window=12)
    scorer = DualEncoder(model, processor=processor)
    # 12 tokens: start, ten letters (one token each here), end.
    fits, long = "a b c d e f g h i j", "a b c d e f g h i j k"
    assert scorer.window == 12
    assert scorer.truncated([fits, long]).tolist() == [False, True]
    same = scorer.encode_texts([fits, long])
    assert same[0] == pytest.approx(same[1]), "the end token is kept, the eleventh letter is not read"


def test_an_empty_prompt_is_refused_for_its_pair_alone():
    model, processor = tiny.clip()
    scorer = DualEncoder(model, processor=processor, batch_size=2)
    with pytest.raises(UnscoredPairs, match="the prompt is empty") as refused:
        scorer.score(IMAGES, ["a dog", " \n", "a cat", ""])
    assert refused.value.reasons == {1: "the prompt is empty", 3: "the prompt is empty"}
    expected = scorer.score([IMAGES[0], IMAGES[2]], ["a dog", "a cat"])
    assert refused.value.scores[[0, 2]] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(refused.value.scores[[1, 3]]).all()


def test_images_one_and_three_pixels_high_are_read_row_by_row():
    model, processor = tiny.clip()
    scorer = DualEncoder(model, processor=processor)
    # An array of shape (3, 40, 3): read channels first it would be an image of 3 columns.
    strip = tiny.picture(1, (40, 3))
    by_hand = strip.resize((int(32 * 40 / 3), 32), Image.Resampling.BICUBIC)
    assert scorer.encode_images([strip]) == pytest.approx(scorer.encode_images([by_hand]), abs=1e-5)
    small = [tiny.picture(2, (1, 1)), tiny.picture(3, (3, 40)), tiny.picture(4, (40, 1))]
    assert np.isfinite(scorer.score(small, PROMPTS[:3])).all()


def test_the_signature_says_what_changes_a_score():
    model, processor = tiny.clip()
    fields = DualEncoder(model, processor=processor, formula="clipscore", name="x").fields()
    assert fields["formula"] == "2.5*max(cos,0)"
    assert fields["image_processor"] == "pil"
    assert fields["dtype"] == "float32"
    assert fields["template"] == "{prompt}"
    assert fields["window"] == "40"
    other = DualEncoder(tiny.clip(seed=1)[0], processor=processor).fields()
    assert other["revision"] != fields["revision"], "other weights must not pass for the same"


def test_bad_options_are_named():
    model, processor = tiny.clip()
    with pytest.raises(InputError, match=r"formula 'cos' is unknown: use one of clipscore"):
        DualEncoder(model, processor=processor, formula="cos")
    with pytest.raises(InputError, match=r"must contain \{prompt\}"):
        DualEncoder(model, processor=processor, template="A photo depicts")
    with pytest.raises(InputError, match="2 images but 1 prompts"):
        DualEncoder(model, processor=processor).score(IMAGES[:2], ["a dog"])


def test_siglip_2_reads_lower_case_texts_and_others_do_not():
    model, processor = tiny.siglip()
    plain = DualEncoder(model, processor=processor, formula="logit")
    assert plain.fields()["caption"] == "as is"
    loud = [prompt.upper() for prompt in PROMPTS]
    assert np.abs(plain.score(IMAGES, loud) - plain.score(IMAGES, PROMPTS)).max() > 1e-3

    class GemmaTokenizer(type(processor.tokenizer)):
        """Of the published class, which keeps capitals; its vocabulary is the tiny model's."""

    processor.tokenizer.__class__ = GemmaTokenizer
    fixed = DualEncoder(model, processor=processor, formula="logit")
    assert fixed.fields()["caption"] == "lowercase"
    assert fixed.score(IMAGES, loud) == pytest.approx(fixed.score(IMAGES, PROMPTS), abs=1e-6)
    kept = DualEncoder(model, processor=processor, formula="logit", caption="as is")
    assert kept.score(IMAGES, loud) == pytest.approx(plain.score(IMAGES, loud), abs=1e-6)
