"""Rating judges over a real HTTP server on loopback."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
from vision_endpoint import answer

from croc.errors import InputError
from croc.scorers import Scorer
from croc.scorers.api_rating import ApiRatingJudge
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.rubrics import Rubric

IMAGES = [tiny.picture(seed) for seed in range(3)]
WORDS = Rubric("words", 'Rate "{prompt}": Excellent, Fair or Bad.', {"Excellent": 5, "Fair": 3, "Bad": 1})


def judge(endpoint, **options) -> ApiRatingJudge:
    return ApiRatingJudge("judge", base_url=endpoint.url, **options)


def test_the_score_is_the_expected_grade_of_the_returned_tokens(endpoint):
    endpoint.script = {
        "a dog": [(200, answer({"4": 0.6, " 5": 0.2, "The": 0.1, "2": 0.1}))],
        "a cat": [(200, answer({"3": 0.01, "Sorry": 0.9}))],
    }
    scorer = judge(endpoint)
    assert isinstance(scorer, Scorer)
    # (4 · 0.6 + 5 · 0.2 + 2 · 0.1) / 0.9; a grade alone is its value.
    assert scorer.score(IMAGES[:2], ["a dog", "a cat"]) == pytest.approx([3.6 / 0.9, 3.0])
    text = endpoint.requests[0]["messages"][0]["content"][1]["text"]
    assert "from 1 to 5" in text and "{prompt}" not in text


def test_words_count_by_the_token_that_begins_them(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Ex": 0.4, "excellent": 0.1, "f": 0.25, "bad": 0.25}))]}
    assert judge(endpoint, rubric=WORDS).score(IMAGES[:1], ["a dog"]) == pytest.approx([3.5])


def test_a_response_without_a_grade_is_a_pair_without_a_score(endpoint):
    endpoint.script = {
        "a dog": [(200, answer({"I": 0.9, "Sure": 0.1}))],
        "a cat": [(200, answer({"1": 0.5, "2": 0.5}))],
    }
    with pytest.raises(UnscoredPairs, match="neither 1 nor 2 nor 3 nor 4 nor 5 is among") as error:
        judge(endpoint).score(IMAGES[:2], ["a dog", "a cat"])
    assert list(error.value.reasons) == [0]
    assert np.nan_to_num(error.value.scores) == pytest.approx([0.0, 1.5])


def test_the_signature_has_the_rubric_and_responses_are_replayed(endpoint, tmp_path):
    endpoint.script = {"a dog": [(200, answer({"1": 0.5, "2": 0.5}))]}
    assert judge(endpoint, cache=tmp_path).score(IMAGES[:1], ["a dog"]) == pytest.approx([1.5])
    again = judge(endpoint, cache=tmp_path, replay_only=True)
    assert again.score(IMAGES[:1], ["a dog"]) == pytest.approx([1.5])
    assert len(endpoint.requests) == 1
    fields = again.fields()
    assert fields["rubric"] == "alignment-1-5" and fields["answers"] == "1=1/2=2/3=3/4=4/5=5"
    assert fields["formula"] == "expected grade among the top 20" and "reading" not in fields


def test_rubrics_that_an_endpoint_cannot_answer_are_refused(endpoint):
    with pytest.raises(InputError, match="answer_start"):
        judge(endpoint, rubric="alignment-words")
    with pytest.raises(InputError, match="'1' of the rubric ten is the beginning of '10'"):
        judge(endpoint, rubric=Rubric("ten", "{prompt}", {"1": 1, "10": 10}))
    with pytest.raises(InputError, match="question comes from the rubric"):
        judge(endpoint, question="{prompt}?")
