"""Rating judges against a few plain lines of transformers on the same random weights."""

from __future__ import annotations

import warnings

import numpy as np
import published_models
import pytest
import tiny_models as tiny
import torch

from croc.errors import InputError
from croc.scorers import Scorer
from croc.scorers.rating import RatingJudge
from croc.scorers.rubrics import FOLDER, Rubric, read_rubric, rubric_names

PROMPTS = ["a red dog", "two blue cats on the old table", "a green vase"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (64, 30), (33, 70)])]
NUMBERS = read_rubric("alignment-1-5")
SAME = dict(abs=1e-5)


@pytest.fixture(scope="module")
def models():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: build() for name, build in tiny.VISION_LANGUAGE.items()}


def plain_grade(model, processor, image, rubric: Rubric, prompt: str, tokens: list[str]) -> float:
    """Chat template, start of the answer, one forward pass, softmax over the rows of the answers."""
    text = rubric.question.replace("{prompt}", prompt)
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
    rendered = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    bos = processor.tokenizer.bos_token
    inputs = processor(
        text=[rendered + rubric.answer_start],
        images=[[image]],
        return_tensors="pt",
        add_special_tokens=not (bos and rendered.startswith(bos)),
    )
    # Behind a word an answer begins with a space, a token of its own in this vocabulary.
    spaced = not (rendered + rubric.answer_start)[-1].isspace() and tokens[0].startswith("Ġ")
    if spaced:
        inputs["input_ids"] = torch.cat(
            [inputs["input_ids"], torch.tensor([[processor.tokenizer.convert_tokens_to_ids("Ġ")]])], dim=1
        )
        for key in ("attention_mask", "token_type_ids", "mm_token_type_ids"):
            if key in inputs:
                last = torch.full((1, 1), int(key == "attention_mask"), dtype=inputs[key].dtype)
                inputs[key] = torch.cat([inputs[key], last], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1]
    ids = processor.tokenizer.convert_tokens_to_ids([token.removeprefix("Ġ") for token in tokens])
    shares = np.exp(np.float64(logits[ids] - logits[ids].max()))
    return float(sum(v * p for v, p in zip(rubric.answers.values(), shares / shares.sum(), strict=True)))


def tokens_of(name: str, answers: str, start: str = "") -> list[str]:
    return [f"Ġ{answer}" if start or name in ("llava", "smolvlm") else answer for answer in answers]


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_the_score_is_the_expected_grade_of_the_raw_logits(models, name):
    model, processor = models[name]
    judge = RatingJudge(model, processor=processor)
    assert isinstance(judge, Scorer)
    scores = judge.score(IMAGES, PROMPTS)
    assert scores.dtype == np.float64
    tokens = tokens_of(name, "12345")
    expected = [
        plain_grade(model, processor, i, NUMBERS, p, tokens) for i, p in zip(IMAGES, PROMPTS, strict=True)
    ]
    assert scores == pytest.approx(expected, **SAME)
    assert ((scores >= 1) & (scores <= 5)).all()
    # Controls: neither other tokens nor reversed values give these numbers.
    others = tokens_of(name, "abcde")
    other = [
        plain_grade(model, processor, i, NUMBERS, p, others) for i, p in zip(IMAGES, PROMPTS, strict=True)
    ]
    assert np.abs(other - scores).max() > 1e-2
    assert np.abs(6 - scores - expected).max() > 1e-2


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_the_answer_is_begun_as_the_rubric_says_and_words_count_by_their_first_tokens(models, name):
    model, processor = models[name]
    rubric = read_rubric("alignment-words")
    judge = RatingJudge(model, processor=processor, rubric=rubric)
    scores = judge.score(IMAGES, PROMPTS)
    tokens = tokens_of(name, "egfpb", rubric.answer_start)
    expected = [
        plain_grade(model, processor, i, rubric, p, tokens) for i, p in zip(IMAGES, PROMPTS, strict=True)
    ]
    assert scores == pytest.approx(expected, **SAME)
    plain = Rubric("without", rubric.question, rubric.answers)
    assert (
        np.abs(RatingJudge(model, processor=processor, rubric=plain).score(IMAGES, PROMPTS) - scores).max()
        > 1e-2
    )


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_the_prefix_of_an_image_gives_what_pairs_give(models, name):
    model, processor = models[name]
    judge = RatingJudge(model, processor=processor, rubric="alignment-words")
    plain = judge.score([image for image in IMAGES for _ in PROMPTS], PROMPTS * len(IMAGES))
    together = judge.score_images_prompts(IMAGES, [PROMPTS] * len(IMAGES))
    assert np.concatenate(together) == pytest.approx(plain, **SAME)
    assert np.ptp(plain) > 1e-3


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_instructblip_is_graded_and_refuses_to_begin_its_answer(encoder_decoder):
    model, processor = tiny.instructblip(encoder_decoder=encoder_decoder)
    scores = RatingJudge(model, processor=processor).score(IMAGES, PROMPTS)
    assert ((scores >= 1) & (scores <= 5)).all() and np.ptp(scores) > 0
    with pytest.raises(InputError, match="answer_start"):
        RatingJudge(model, processor=processor, rubric="alignment-words").score(IMAGES, PROMPTS)


def test_the_mass_of_the_answers_is_their_share_of_the_vocabulary(models):
    model, processor = models["qwen2_5_vl"]
    judge = RatingJudge(model, processor=processor)
    logits = judge.logits(IMAGES, PROMPTS).double()
    expected = logits[:, list(judge.answer_ids)].exp().sum(-1) / logits.exp().sum(-1)
    assert judge.answer_mass(IMAGES, PROMPTS) == pytest.approx(expected.numpy())


def test_a_rubric_of_ones_own_is_a_file_and_stands_in_the_signature(models, tmp_path):
    model, processor = models["qwen2_5_vl"]
    path = tmp_path / "mine.yaml"
    path.write_text('question: "Grade {prompt}"\nanswers: {A: 2, B: 0}\n')
    judge = RatingJudge(model, processor=processor, rubric=str(path))
    fields = judge.fields()
    assert (fields["template"], fields["answers"]) == ("Grade {prompt}", "A=2/B=0")
    assert fields["formula"] == "expected grade"
    before = fields["rubric"]
    assert before.startswith("mine@")
    path.write_text('question: "Grade {prompt}!"\nanswers: {A: 2, B: 0}\n')
    assert read_rubric(path).name != before
    # Two answers: the score is the low value plus the distance times σ of the margin.
    logits = judge.logits(IMAGES, PROMPTS)[:, list(judge.answer_ids)].double()
    assert judge.score(IMAGES, PROMPTS) == pytest.approx(
        2 * torch.sigmoid(logits[:, 0] - logits[:, 1]).numpy()
    )


def test_answers_that_begin_with_the_same_token_are_refused(models):
    model, processor = models["qwen2_5_vl"]
    for answers, wrong in (
        ({"good": 1, "great": 2, "bad": 0}, "as 'great'"),
        ({"1": 1, "10": 10}, "beginning"),
    ):
        judge = RatingJudge(model, processor=processor, rubric=Rubric("r", "{prompt}", answers))
        with pytest.raises(InputError, match=wrong):
            judge.score(IMAGES, PROMPTS)


def test_every_rubric_of_the_package_can_be_read():
    assert rubric_names() == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    for name in rubric_names():
        rubric = read_rubric(name)
        assert rubric.name == name and rubric.summary
        assert rubric.range == (1, 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("question: '{prompt}'", "mapping with question and answers"),
        ("question: 'no place'\nanswers: {A: 1, B: 2}", "must contain {prompt} once"),
        ("question: '{prompt}'\nanswers: {1: 1, 2: 2}", "quotation marks"),
        ("question: '{prompt}'\nanswers: {A: 1}", "at least two"),
        ("question: '{prompt}'\nanswers: {A: 1, B: 1}", "the same value"),
        ("question: '{prompt}'\nanswers: {A: 1, a: 2}", "case or spaces"),
        ("question: '{prompt}'\nanswers: {A: .nan, B: 2}", "must be a number"),
        ("question: '{prompt}'\nanswers: {A: 1, B: 2}\nscale: 5", "unknown key 'scale'"),
        ("question: 5\nanswers: {A: 1, B: 2}", "must be a text"),
        ("question: [", "not valid YAML"),
        ("question: &a '{prompt}'\nanswers: {A: 1, B: 2}", "anchor"),
    ],
)
def test_a_file_that_is_no_rubric_is_one_sentence(tmp_path, text, reason):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_rubric(path)


def test_an_unknown_rubric_names_those_that_there_are():
    with pytest.raises(InputError, match="alignment-1-5"):
        read_rubric("nothing")


@pytest.mark.slow
def test_with_qwens_own_vocabulary_each_answer_is_the_token_that_the_model_would_write(shared_data, tmp_path):
    folder = published_models.qwen3_vl(tmp_path / "qwen3-vl", shared_data)
    judges = {name: RatingJudge(str(folder), rubric=name) for name in rubric_names()}
    for judge in judges.values():
        judge.checkpoint = judges["alignment-1-5"].checkpoint
    tokens = {
        name: judge.checkpoint.processor.tokenizer.convert_ids_to_tokens(judge.answer_ids)
        for name, judge in judges.items()
    }
    assert tokens == {
        "alignment-1-5": ["1", "2", "3", "4", "5"],
        "alignment-1-5-named": ["1", "2", "3", "4", "5"],
        "alignment-words": ["Ġexcellent", "Ġgood", "Ġfair", "Ġpoor", "Ġbad"],
    }
    # Behind a colon Qwen writes the space as a token of its own.
    for name, judge in judges.items():
        text = judge.checkpoint.processor.tokenizer.decode(judge._suffix("a dog"))
        start = {
            "alignment-1-5": "assistant\n",
            "alignment-1-5-named": "(1-5): ",
            "alignment-words": "the text is",
        }
        assert text.endswith(start[name])
