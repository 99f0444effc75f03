"""Question lists over tiny models of the real classes, and over a real HTTP server."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import tiny_models as tiny
from vision_endpoint import answer

from croc.errors import InputError
from croc.scorers import Scorer
from croc.scorers.api import ApiVqaScore
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.question_files import Question
from croc.scorers.question_list import METHODS, Answered, QuestionList, combine
from croc.scorers.vqa import VqaScore
from croc.scorers.yes_no import YesNo
from croc.scoring.batching import BatchScorer

IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (64, 30), (33, 70)])]
ROWS = [
    {"prompt": "a red dog", "id": 1, "question": "Is there a dog?"},
    {"prompt": "a red dog", "id": 2, "question": "Is the dog red?", "parents": [1]},
    {"prompt": "a red dog", "id": 3, "question": "Is there a cat?", "answer": "no"},
    {"prompt": "two cats", "question": "Is there a cat?"},
    {"prompt": "two cats", "question": "How many cats?", "answer": "two", "choices": ["one", "two", "three"]},
    {"prompt": "two cats", "question": "What are they?", "answer": "cats"},
]
PROMPTS = ["a red dog", "two cats"]
ASKED = {
    "a red dog": ["Is there a dog?", "Is the dog red?", "Is there a cat?"],
    "two cats": [
        "Is there a cat?",
        *(f'How many cats? Is the answer "{n}"?' for n in ("one", "two", "three")),
        'What are they? Is the answer "cats"?',
    ],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(ROWS))
    return path


@pytest.fixture(scope="module")
def models():
    return {name: build() for name, build in tiny.VISION_LANGUAGE.items()}


def plain_scores(model, processor, image, prompt: str) -> dict[str, float]:
    """Every score from the margin of each question, pair by pair, and the formulas written out."""
    yes_no = YesNo(model, processor=processor, question="{prompt} Answer Yes or No.")
    texts = ASKED[prompt]
    yes = [1 / (1 + math.exp(-m)) for m in yes_no.score([image] * len(texts), texts)]
    if prompt == "a red dog":
        p = [yes[0], yes[1], 1 - yes[2]]
        right = [one > 0.5 for one in p]
        dsg = [right[0], right[1] and right[0], right[2]]
    else:
        one, two, three = yes[1:4]
        p = [yes[0], two / (one + two + three), yes[4]]
        right = [yes[0] > 0.5, two > max(one, three), yes[4] > 0.5]
        dsg = right
    return {
        "tifa": sum(right) / 3,
        "dsg": sum(dsg) / 3,
        "soft_tifa_am": sum(p) / 3,
        "soft_tifa_gm": math.prod(p) ** (1 / 3),
    }


@pytest.mark.parametrize("name", tiny.VISION_LANGUAGE)
def test_each_score_is_its_formula_over_the_margins_of_the_questions(models, file, name):
    model, processor = models[name]
    found = {}
    for method in METHODS:
        scorer = QuestionList(model, processor=processor, questions=file, method=method)
        assert isinstance(scorer, Scorer)
        together = scorer.score_images_prompts(IMAGES, [PROMPTS] * len(IMAGES))
        plain = [[plain_scores(model, processor, i, p)[method] for p in PROMPTS] for i in IMAGES]
        assert np.stack(together) == pytest.approx(np.array(plain), abs=1e-5)
        pairs = scorer.score([i for i in IMAGES for _ in PROMPTS], PROMPTS * len(IMAGES))
        assert pairs == pytest.approx(np.ravel(plain), abs=1e-5)
        assert scorer.score_prompts(IMAGES[1], PROMPTS) == pytest.approx(plain[1], abs=1e-5)
        found[method] = np.ravel(plain)
    # Controls: the two soft means differ, and the questions matter.
    assert np.abs(found["soft_tifa_am"] - found["soft_tifa_gm"]).max() > 1e-3
    assert np.ptp(found["soft_tifa_am"]) > 1e-3


def test_one_prefix_per_image_for_all_questions_of_all_its_prompts(models, file):
    model, processor = models["llava"]
    scorer = QuestionList(model, processor=processor, questions=file)
    seen = []
    hook = model.model.vision_tower.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    try:
        scorer.score_images_prompts(IMAGES, [PROMPTS] * len(IMAGES))
        assert sum(seen) == len(IMAGES)
        seen.clear()
        scorer.score(IMAGES, ["two cats"] * len(IMAGES))
        assert sum(seen) == len(IMAGES) * len(ASKED["two cats"]), "the plain way sees an image per question"
    finally:
        hook.remove()


def answered(*given: tuple[float, bool, str]) -> list[Answered]:
    return [
        Answered(Question(str(n), f"q{n}", parents=tuple(parents)), p, right)
        for n, (p, right, parents) in enumerate(given, 1)
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # One parent wrong: of three right answers two count 0 (DSG, section 3.3).
        (
            [(0.1, False, ""), (0.9, True, "1"), (0.8, True, "1"), (0.7, True, "")],
            (0.75, 0.25, 0.625, 0.0504**0.25),
        ),
        # Two parents, one of them wrong.
        ([(0.9, True, ""), (0.2, False, ""), (0.9, True, "12")], (2 / 3, 1 / 3, 2 / 3, 0.162 ** (1 / 3))),
        # A grandparent: as in the published code, only direct parents count.
        ([(0.1, False, ""), (0.9, True, "1"), (0.9, True, "2")], (2 / 3, 1 / 3, 1.9 / 3, 0.081 ** (1 / 3))),
        ([(0.0, False, ""), (1.0, True, "")], (0.5, 0.5, 0.5, 0.0)),
    ],
)
def test_answers_are_combined_as_published(given, expected):
    assert [combine(answered(*given), method) for method in METHODS] == pytest.approx(expected)


def test_a_prompt_without_questions_is_a_pair_without_a_score_and_the_others_keep_theirs(models, file):
    model, processor = models["llava"]
    scorer = QuestionList(model, processor=processor, questions=file)
    with pytest.raises(UnscoredPairs, match=r"no questions for this prompt in questions\.json") as error:
        scorer.score_images_prompts(IMAGES[:2], [["a red dog", "a vase"], ["two  cats"]])
    assert list(error.value.reasons) == [1]
    expected = [
        plain_scores(model, processor, IMAGES[0], "a red dog"),
        plain_scores(model, processor, IMAGES[1], "two cats"),
    ]
    scores = error.value.scores
    assert scores[[0, 2]] == pytest.approx([one["soft_tifa_am"] for one in expected], abs=1e-5)
    # In a run the same, with one pass for all images.
    files = {str(n): _png(image) for n, image in enumerate(IMAGES)}
    run = BatchScorer(scorer)
    outcomes = run.score(files, {key: [*PROMPTS, "a vase"] for key in files})
    run.close()
    assert sum(isinstance(one, float) for one in outcomes.values()) == 6
    assert {why for why in outcomes.values() if isinstance(why, str)} == {
        "no questions for this prompt in questions.json"
    }


def _png(image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_endpoint_answers_and_what_it_refuses_is_a_pair_without_a_score(endpoint, file):
    template = 'Look: "{prompt}"'
    yes = {"Is there a dog?": 0.9, "Is the dog red?": 0.4, "Is there a cat?": 0.2}
    endpoint.script = {q: [(200, answer({"Yes": p, "No": 1 - p}))] for q, p in yes.items()}
    for text in ASKED["two cats"][1:]:
        endpoint.script[text] = [(200, answer({}, refusal="I cannot count"))]
    scorer = QuestionList(
        answerer=ApiVqaScore("judge", base_url=endpoint.url, question=template),
        questions=file,
        name="dsg",
        method="dsg",
    )
    assert not hasattr(scorer, "score_prompts"), "a second request for a comparison would cost money"
    with pytest.raises(UnscoredPairs) as error:
        scorer.score(IMAGES[:2], PROMPTS)
    assert re.match(r"no answer to 'How many cats\?.*I cannot count", error.value.reasons[1])
    # Right: a dog and no cat; the dog is not red.
    assert error.value.scores[0] == pytest.approx(2 / 3)
    assert len(endpoint.requests) == 3 + 5 and scorer.usage.paid.calls == 8
    answers = scorer.answers(IMAGES[0], "a red dog")
    assert [(one.question.text, one.probability, one.right) for one in answers] == [
        ("Is there a dog?", pytest.approx(0.9), True),
        ("Is the dog red?", pytest.approx(0.4), False),
        ("Is there a cat?", pytest.approx(0.8), True),
    ]


def test_an_answerer_that_gives_no_probability_is_refused(models, file):
    model, processor = models["llava"]
    margins = QuestionList(answerer=YesNo(model, processor=processor), questions=file)
    with pytest.raises(InputError, match="scores are probabilities in 0…1"):
        margins.score(IMAGES[:1], ["a red dog"])
    shares = QuestionList(answerer=VqaScore(model, processor=processor), questions=file)
    assert 0 <= shares.score(IMAGES[:1], ["a red dog"])[0] <= 1


def test_the_signature_has_the_method_the_answerer_and_the_file(models, file):
    model, processor = models["llava"]
    scorer = QuestionList(model, processor=processor, questions=file, method="soft_tifa_gm")
    fields = scorer.fields()
    assert scorer.name == "soft-tifa-gm-LlavaForConditionalGeneration"
    assert (fields["formula"], fields["template"]) == ("soft_tifa_gm", "{prompt} Answer Yes or No.")
    assert fields["questions"].startswith("questions.json@") and fields["calibration"] == "1*margin+0"
    file.write_text(json.dumps(ROWS[:3]))
    assert (
        QuestionList(model, processor=processor, questions=file).fields()["questions"] != fields["questions"]
    )


def test_what_is_missing_is_one_sentence(models, tmp_path):
    with pytest.raises(InputError, match="pass model= or answerer="):
        QuestionList(questions="q.json")
    with pytest.raises(InputError, match="use one of tifa, dsg"):
        QuestionList("some/model", method="tiffa")
    with pytest.raises(InputError, match="needs questions=FILE"):
        QuestionList("some/model").fields()
    with pytest.raises(InputError, match="no such file"):
        QuestionList("some/model", questions=tmp_path / "none.csv").fields()


def test_questions_longer_than_the_window_are_counted(models, file):
    model, processor = models["llava"]
    scorer = QuestionList(model, processor=processor, questions=file, max_prompt_tokens=16)
    assert scorer.truncated([*PROMPTS, "a vase"]).tolist() == [False, True, False]
