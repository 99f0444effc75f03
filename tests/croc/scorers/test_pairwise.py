"""Pairwise judges against a few plain lines of transformers on the same random weights."""

from __future__ import annotations

import numpy as np
import planted_judges as planted
import polars as pl
import pytest
import tiny_models as tiny
import torch

from croc.checks.decoding import decode
from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.pairwise import IMAGES_QUESTION, PROMPTS_QUESTION, PairwiseJudge
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings

FIRST = ["a red dog", "a green vase", "one cat"]
SECOND = ["a blue dog", "two green vases on the table", "two cats"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (64, 30), (33, 70)])]
OTHERS = [tiny.picture(seed, size) for seed, size in enumerate([(50, 50), (40, 32), (36, 36)], 5)]
SAME = dict(abs=1e-5)


def test_the_two_texts_stand_on_lines_of_their_own():
    assert len(PROMPTS_QUESTION.splitlines()) == 4 and "\\" not in PROMPTS_QUESTION + IMAGES_QUESTION


@pytest.fixture(scope="module")
def models():
    return {name: build() for name, build in tiny.VISION_LANGUAGE.items()}


def share_of_a(name, model, processor, images, text) -> float:
    """P(A) / (P(A) + P(B)) behind the chat template with these images and this text."""
    parts = [*[{"type": "image"}] * len(images), {"type": "text", "text": text}]
    rendered = processor.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
    )
    bos = processor.tokenizer.bos_token
    special = not (bos and rendered.startswith(bos))
    inputs = processor(text=[rendered], images=[images], return_tensors="pt", add_special_tokens=special)
    if name in ("llava", "smolvlm"):
        # Behind "ASSISTANT:" an answer begins with a space, a token of its own in this vocabulary.
        space = torch.tensor([[processor.tokenizer.convert_tokens_to_ids("Ġ")]])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], space], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1].double()
    a, b = processor.tokenizer.convert_tokens_to_ids(["A", "B"])
    return float(torch.sigmoid(logits[a] - logits[b]))


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_two_prompts_are_compared_in_both_orders(models, name):
    model, processor = models[name]
    judge = PairwiseJudge(model, processor=processor)
    found = judge.compare_prompts(IMAGES, FIRST, SECOND)

    def ask(image, a, b) -> float:
        text = PROMPTS_QUESTION.replace("{first}", a).replace("{second}", b)
        return share_of_a(name, model, processor, [image], text)

    rows = list(zip(IMAGES, FIRST, SECOND, strict=True))
    forward = np.array([ask(image, a, b) for image, a, b in rows])
    backward = np.array([ask(image, b, a) for image, a, b in rows])
    assert found.first == pytest.approx((forward + 1 - backward) / 2, **SAME)
    assert found.position == pytest.approx((forward + backward) / 2 - 0.5, **SAME)
    assert found.consistent.tolist() == ((forward > 0.5) == (backward < 0.5)).tolist()
    # Control: one order alone says something else, by the position bias.
    assert np.abs(forward - found.first).max() > 1e-3
    # Exchanged candidates: the complement, and the same bias.
    exchanged = judge.compare_prompts(IMAGES, SECOND, FIRST)
    assert exchanged.first == pytest.approx(1 - found.first, **SAME)
    assert exchanged.position == pytest.approx(found.position, **SAME)


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_two_images_are_compared_in_both_orders(models, name):
    model, processor = models[name]
    judge = PairwiseJudge(model, processor=processor)
    found = judge.compare_images(FIRST, IMAGES, OTHERS)

    def ask(prompt, a, b) -> float:
        return share_of_a(name, model, processor, [a, b], IMAGES_QUESTION.replace("{prompt}", prompt))

    rows = list(zip(FIRST, IMAGES, OTHERS, strict=True))
    forward = np.array([ask(prompt, a, b) for prompt, a, b in rows])
    backward = np.array([ask(prompt, b, a) for prompt, a, b in rows])
    assert found.first == pytest.approx((forward + 1 - backward) / 2, **SAME)
    assert found.position == pytest.approx((forward + backward) / 2 - 0.5, **SAME)
    assert np.abs(forward - (1 - backward)).max() > 1e-4, "the order of the images reaches the model"
    same = judge.compare_images(FIRST, IMAGES, IMAGES)
    assert same.first == pytest.approx(0.5, **SAME)


def test_a_check_is_answered_in_its_four_directions(models):
    model, processor = models["qwen2_5_vl"]
    judge = PairwiseJudge(model, processor=processor)
    found = judge.directions(FIRST[0], SECOND[0], IMAGES[:2], OTHERS[:1])
    assert set(found.verdict) == set(found.preference) == set(DIRECTIONS)
    text = judge.compare_prompts(IMAGES[:2], FIRST[:1] * 2, SECOND[:1] * 2)
    image = judge.compare_images(SECOND[:1] * 2, OTHERS[:1] * 2, IMAGES[:2])
    assert found.preference["forward_text"] == pytest.approx(text.first.mean(), **SAME)
    assert found.preference["inverse_image"] == pytest.approx(image.first.mean(), **SAME)
    assert found.verdict["forward_text"] == (text.first > 0.5).mean()
    assert found.verdict["inverse_image"] == (image.first > 0.5).mean()
    exchanged = judge.directions(SECOND[0], FIRST[0], OTHERS[:1], IMAGES[:2])
    assert exchanged.preference["inverse_text"] == pytest.approx(found.preference["forward_text"], **SAME)
    assert exchanged.position == pytest.approx(found.position, **SAME)
    assert 0 <= found.consistent <= 1


@pytest.mark.parametrize("name", ["qwen2_5_vl", "smolvlm"])
def test_a_run_has_the_answers_of_the_judge_and_shares_prefixes(models, name, tmp_path):
    model, processor = models[name]
    judge = PairwiseJudge(model, processor=processor, name="tiny")
    checks = planted.rows(3, k=2)
    (file,) = score_dataset(checks, [judge], tmp_path, ScoringSettings(progress=False, batch_size=5))
    table = pl.read_parquet(file)
    for check in checks:
        images, contrast = (
            [decode(image["bytes"]) for image in check[side]] for side in ("images", "contrast_images")
        )
        own, other = check["prompt"], check["contrast_prompt"]
        rows = table.filter(check_id=check["check_id"], image_side="original").sort("image_index")
        for image, row in zip(images, rows.rows(named=True), strict=True):
            # Asked alone, one comparison at a time.
            asked = (
                judge.choose_prompts([image], [own], [other]),
                judge.choose_prompts([image], [other], [own]),
            )
            assert row["text_answers"] == pytest.approx(np.concatenate(asked), abs=1e-4)
            pairs = [pair for opposing in contrast for pair in ((image, opposing), (opposing, image))]
            asked = [judge.choose_images([own], [a], [b])[0] for a, b in pairs]
            assert row["image_answers"] == pytest.approx(asked, abs=1e-4)
    report = evaluate([file], settings=Settings(resamples=0, flips=0))
    means = {d: [] for d in DIRECTIONS}
    for check in checks:
        sides = ([decode(image["bytes"]) for image in check[s]] for s in ("images", "contrast_images"))
        for direction, value in judge.directions(
            check["prompt"], check["contrast_prompt"], *sides
        ).verdict.items():
            means[direction].append(value)
    for direction in DIRECTIONS:
        assert report.result("tiny", direction).accuracy == pytest.approx(np.mean(means[direction]))


def test_what_cannot_be_compared_is_one_sentence(models):
    model, processor = models["llava"]
    judge = PairwiseJudge(model, processor=processor, max_prompt_tokens=120)
    with pytest.raises(UnscoredPairs, match="two prompts together exceed 120 tokens") as error:
        judge.compare_prompts(IMAGES[:2], ["a", "a" * 200], ["b", "b"])
    assert list(error.value.reasons) == [1]
    with pytest.raises(UnscoredPairs, match="empty"):
        judge.compare_images([" "], IMAGES[:1], OTHERS[:1])
    with pytest.raises(InputError, match="1 images, 2 first, 1 second"):
        judge.compare_prompts(IMAGES[:1], ["a", "b"], ["c"])
    with pytest.raises(InputError, match="images of both prompts"):
        judge.directions("a", "b", IMAGES, [])
    with pytest.raises(InputError, match=r"must contain \{second\} once"):
        PairwiseJudge(model, processor=processor, prompts_question="{first}?")
    one, reader = tiny.instructblip()
    with pytest.raises(InputError, match="reads one image only"):
        PairwiseJudge(one, processor=reader).compare_images(FIRST, IMAGES, OTHERS)


def test_the_signature_has_both_questions(models):
    model, processor = models["llava"]
    fields = PairwiseJudge(model, processor=processor).fields()
    assert fields["template"] == PROMPTS_QUESTION and fields["images_template"] == IMAGES_QUESTION
    assert fields["answers"] == "A=1/B=0" and "both orders" in fields["formula"]
