"""BLIP-2's and BLIP's matching heads and BVQA, against the models' own forward and the published formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny_models as tiny
import torch

from croc.errors import InputError
from croc.scorers import Scorer
from croc.scorers.bvqa import BlipVqa, find_chunker, phrases_by_rule
from croc.scorers.itm import ImageTextMatching
from croc.scorers.pairs import UnscoredPairs

PROMPTS = ["a red dog on the table", "a blue cat", "two green vase and a book", "three dog"]
IMAGES = [tiny.picture(seed) for seed in range(4)]
MATCHING = {"blip2": tiny.blip2_itm, "blip": tiny.blip_itm}


@pytest.mark.parametrize("with_image_token", [False, True])
def test_blip2_itm_is_the_probability_of_the_models_own_forward(with_image_token):
    model, processor = tiny.blip2_itm()
    scorer = ImageTextMatching(model, processor=processor)
    assert isinstance(scorer, Scorer)
    scores = scorer.score(IMAGES, PROMPTS)
    if with_image_token:
        # Newer checkpoints have image tokens before the text; their processor puts them there.
        model.config.image_token_index = len(processor.tokenizer)
        processor.num_query_tokens = model.config.num_query_tokens
    for image, prompt, score in zip(IMAGES, PROMPTS, scores, strict=True):
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs, use_image_text_matching_head=True).logits_per_image[0]
        no, yes = logits.tolist()
        assert score == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), abs=1e-5)
    assert np.ptp(scores) > 1e-3


def test_blip_itm_is_the_probability_of_the_models_own_forward():
    model, processor = tiny.blip_itm()
    scores = ImageTextMatching(model, processor=processor).score(IMAGES, PROMPTS)
    for image, prompt, score in zip(IMAGES, PROMPTS, scores, strict=True):
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        # The published code overwrites the first token with [ENC] (Salesforce's blip_itm.py, forward).
        inputs["input_ids"][:, 0] = processor.tokenizer.convert_tokens_to_ids("[ENC]")
        with torch.no_grad():
            no, yes = model(**inputs).itm_score[0].tolist()
        assert score == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), abs=1e-5)


@pytest.mark.parametrize("family", MATCHING)
def test_matching_batch_1_equals_batch_n_and_one_image_for_all_prompts(family):
    model, processor = MATCHING[family]()
    many = ImageTextMatching(model, processor=processor, batch_size=4)
    one = ImageTextMatching(model, processor=processor, batch_size=1)
    assert many.score(IMAGES, PROMPTS) == pytest.approx(one.score(IMAGES, PROMPTS), abs=1e-5)
    reused = many.score_prompts(IMAGES[1], PROMPTS)
    assert reused == pytest.approx(many.score([IMAGES[1]] * 4, PROMPTS), abs=1e-5)


@pytest.mark.parametrize("family", MATCHING)
def test_matching_sees_the_image_once_for_all_prompts(family):
    model, processor = MATCHING[family]()
    seen = []
    model.vision_model.register_forward_hook(lambda *_: seen.append(1))
    ImageTextMatching(model, processor=processor, batch_size=2).score_prompts(IMAGES[0], PROMPTS)
    assert len(seen) == 1


def test_matching_window_cuts_visibly_and_keeps_the_end_token():
    model, processor = tiny.blip2_itm()
    scorer = ImageTextMatching(model, processor=processor, window=5)
    assert scorer.truncated(["a red dog", "a red dog on"]).tolist() == [False, True]
    a, b = scorer.score(IMAGES[:1] * 2, ["a red dog", "a red dog on the table"])
    assert a == pytest.approx(b, abs=1e-6)


def test_matching_refuses_a_model_without_the_head():
    model, processor = tiny.blip_vqa()
    with pytest.raises(InputError, match="BlipForQuestionAnswering has no matching head"):
        ImageTextMatching(model, processor=processor).score(IMAGES[:1], PROMPTS[:1])


def bvqa_reference(model, processor, image, phrases) -> float:
    """Huang et al. 2023: the product over phrases of P(yes) / (P(yes) + P(no)) at the first answer token."""
    product = 1.0
    tokenizer = processor.tokenizer
    for phrase in phrases:
        inputs = processor(images=image, text=f"{phrase}?", return_tensors="pt")
        inputs["input_ids"][:, 0] = tokenizer.convert_tokens_to_ids("[ENC]")
        with torch.no_grad():
            seen = model.vision_model(pixel_values=inputs["pixel_values"])[0]
            question = model.text_encoder(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                encoder_hidden_states=seen,
            )[0]
            start = torch.tensor([[tokenizer.convert_tokens_to_ids("[DEC]")]])
            shares = (
                model.text_decoder(input_ids=start, encoder_hidden_states=question).logits[0, 0].softmax(-1)
            )
        yes, no = (float(shares[tokenizer.convert_tokens_to_ids(word)]) for word in ("yes", "no"))
        product *= yes / (yes + no)
    return product


def bvqa(model, processor, **options) -> BlipVqa:
    """BVQA at the size of the tiny model, without rounding."""
    return BlipVqa(model, processor=processor, **{"image_side": None, "decimals": None, **options})


def test_bvqa_is_the_product_over_noun_phrases():
    model, processor = tiny.blip_vqa()
    chunks = {
        PROMPTS[0]: ["a red dog", "the table"],
        PROMPTS[1]: ["a blue cat"],
        PROMPTS[2]: ["two green vase", "a book"],
        PROMPTS[3]: ["three dog"],
    }
    scorer = bvqa(model, processor, chunker=chunks.__getitem__, batch_size=3)
    assert isinstance(scorer, Scorer)
    expected = [bvqa_reference(model, processor, i, chunks[p]) for i, p in zip(IMAGES, PROMPTS, strict=True)]
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected, rel=1e-4)
    assert np.ptp(expected) > 1e-3


def test_bvqa_batch_1_equals_batch_n_and_one_image_for_all_prompts():
    model, processor = tiny.blip_vqa()
    many = bvqa(model, processor, chunker="rules", batch_size=8)
    one = bvqa(model, processor, chunker="rules", batch_size=1)
    assert many.score(IMAGES, PROMPTS) == pytest.approx(one.score(IMAGES, PROMPTS), abs=1e-6)
    reused = many.score_prompts(IMAGES[2], PROMPTS)
    assert reused == pytest.approx(one.score([IMAGES[2]] * 4, PROMPTS), abs=1e-6)


def test_bvqa_refuses_a_prompt_without_a_noun_phrase_instead_of_giving_it_one():
    model, processor = tiny.blip_vqa()
    scorer = bvqa(model, processor, chunker="rules")
    with pytest.raises(UnscoredPairs) as refused:
        scorer.score(IMAGES[:3], ["a dog", "under the", ""])
    assert refused.value.reasons == {1: "the prompt has no noun phrase", 2: "the prompt is empty"}
    assert refused.value.scores[0] == pytest.approx(scorer.score(IMAGES[:1], ["a dog"])[0], abs=1e-6)


def test_bvqa_asks_about_eight_phrases_at_most_and_counts_the_rest():
    model, processor = tiny.blip_vqa()
    scorer = bvqa(model, processor, chunker="rules")
    eight = "a dog, a cat, a book, a vase, a table, a red dog, a blue dog, a green dog"
    assert scorer.truncated([eight, f"{eight}, a red cat", "a dog " * 40]).tolist() == [False, True, True]
    a, b = scorer.score(IMAGES[:1] * 2, [eight, f"{eight}, a red cat"])
    assert a == pytest.approx(b, rel=1e-5)


def test_bvqa_rounds_every_answer_and_the_product_as_published():
    model, processor = tiny.blip_vqa()
    exact = [
        bvqa(model, processor, chunker=lambda prompt, p=phrase: [p]).score(IMAGES[:1], ["x"])[0]
        for phrase in ("a red dog", "the table")
    ]
    rounded = bvqa(model, processor, chunker=lambda prompt: ["a red dog", "the table"], decimals=2)
    expected = round(round(exact[0], 2) * round(exact[1], 2), 2)
    assert rounded.score(IMAGES[:1], ["x"])[0] == pytest.approx(expected, abs=1e-12)
    assert expected != pytest.approx(exact[0] * exact[1], abs=1e-4)


def test_bvqa_reads_images_of_480_pixels_and_runs_in_fp32_by_default():
    model, processor = tiny.blip_vqa()
    scorer = BlipVqa(model.to(torch.bfloat16), processor=processor, chunker="rules")
    seen = []
    model.vision_model.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["pixel_values"]), with_kwargs=True
    )
    fields = scorer.fields()
    scorer.score(IMAGES[:1], ["a dog"])
    assert seen[0].shape[-2:] == (480, 480)
    assert seen[0].dtype == torch.float32
    assert (fields["image_size"], fields["decimals"], fields["caption"]) == ("480x480", "4", "blip question")


@pytest.mark.parametrize("family", MATCHING)
def test_matching_runs_in_fp32_by_default_and_prepares_captions_as_asked(family):
    model, processor = MATCHING[family]()
    scorer = ImageTextMatching(model.to(torch.bfloat16), processor=processor)
    assert scorer.fields()["dtype"] == "float32"
    assert len(set(scorer.score(IMAGES, PROMPTS[:1] * 4))) == 4
    prepared = ImageTextMatching(model, processor=processor, caption="blip")
    loud = [f"{prompt.upper()}!" for prompt in PROMPTS]
    assert prepared.score(IMAGES, loud) == pytest.approx(prepared.score(IMAGES, PROMPTS), abs=1e-6)
    assert np.abs(scorer.score(IMAGES, loud) - scorer.score(IMAGES, PROMPTS)).max() > 1e-4
    assert prepared.fields()["caption"] == "blip"
    with pytest.raises(InputError, match="caption 'clean' is unknown: use one of as is, lowercase, blip"):
        ImageTextMatching(model, processor=processor, caption="clean")


def test_bvqa_names_its_chunker_in_the_signature():
    model, processor = tiny.blip_vqa()
    assert bvqa(model, processor, chunker="rules").fields()["chunker"] == "rules"
    given = bvqa(model, processor, chunker=phrases_by_rule).fields()["chunker"]
    assert given == "croc.scorers.bvqa:phrases_by_rule"


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a red book and a yellow vase", ["a red book", "a yellow vase"]),
        ("The dog is under the old table.", ["The dog", "the old table"]),
        ("three cats, no dog", ["three cats", "dog"]),
        ("over the", []),
        ("a bear's paw near Lake Tahoe", ["a bear's paw", "Lake Tahoe"]),
    ],
)
def test_rules_cut_a_prompt_at_function_words(prompt, phrases):
    assert phrases_by_rule(prompt) == phrases


def test_a_chunker_that_is_not_there_says_what_to_do():
    with pytest.raises(InputError, match="use rules, spacy:PIPELINE or module:function"):
        find_chunker("spacey")
    with pytest.raises(InputError, match=r"no_such_module:f.*cannot be loaded.*or use chunker=rules"):
        find_chunker("no_such_module:f")
    assert find_chunker("croc.scorers.bvqa:phrases_by_rule") is phrases_by_rule


@pytest.mark.parametrize("family", [tiny.blip2_itm, tiny.blip_itm, tiny.blip_vqa])
def test_several_images_share_batches_and_do_not_mix(family):
    model, processor = family()
    if family is tiny.blip_vqa:
        scorer = BlipVqa(model, processor=processor, chunker="rules", image_side=None, decimals=None)
    else:
        scorer = ImageTextMatching(model, processor=processor, batch_size=3)
    # Prompts of one length: BLIP's decoder reads the padding of shorter ones.
    prompts = [["a red ball", "a big ball"], ["a red dogs"], ["a big dogs", "a red ball", "a big ball"]]
    got = scorer.score_images_prompts(IMAGES[:3], prompts)
    for image, texts, scores in zip(IMAGES, prompts, got, strict=False):
        assert scores == pytest.approx(scorer.score([image] * len(texts), texts), rel=1e-5)


@pytest.mark.parametrize("family", [tiny.blip2_itm, tiny.blip_itm, tiny.blip_vqa])
def test_control_tokens_of_bert_stay_text(family):
    model, processor = family()
    if family is tiny.blip_vqa:
        scorer = bvqa(model, processor, chunker=lambda prompt: [prompt])
    else:
        scorer = ImageTextMatching(model, processor=processor)
    ids, _ = scorer._ids("a [SEP] dog [MASK]")
    assert not set(ids[1:-1]) & set(processor.tokenizer.all_special_ids)
    assert processor.tokenizer.decode(ids[1:]).replace(" ", "").startswith("a[sep]dog[mask]")
