"""The API scorer against a real HTTP server on loopback that follows a script."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import tiny_models as tiny
from PIL import Image
from vision_endpoint import KEY, answer

from croc.errors import InputError
from croc.jobs.parts import Abort
from croc.scorers import Scorer
from croc.scorers.api import ApiVqaScore
from croc.scorers.pairs import UnscoredPairs

IMAGES = [tiny.picture(seed) for seed in range(4)]


def scorer(endpoint, **options) -> ApiVqaScore:
    return ApiVqaScore("judge", base_url=endpoint.url, **options)


FAILED = {"error": {"message": "slow down", "type": "x", "code": "y"}}


def test_the_score_is_the_probability_of_yes_among_the_returned_tokens(endpoint):
    endpoint.script = {
        "a dog": [(200, answer({"Yes": 0.7, "No": 0.2}))],
        "a cat": [(200, answer({"No": 0.6, "Yes": 0.25, " yes": 0.05, "Maybe": 0.1}))],
    }
    judge = scorer(endpoint)
    assert isinstance(judge, Scorer)
    assert judge.score(IMAGES[:2], ["a dog", "a cat"]) == pytest.approx([0.7, 0.3])


def test_the_request_asks_for_one_token_with_the_exact_pixels(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}))]}
    scorer(endpoint).score(IMAGES[:1], ["a dog"])
    (body,) = endpoint.requests
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("judge", 1, 0)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    image, text = body["messages"][0]["content"]
    assert text["text"] == 'Does this figure show "a dog"? Please answer yes or no.'
    head, _, data = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
        assert np.array_equal(np.asarray(sent), np.asarray(IMAGES[0]))
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


def test_rate_limits_and_server_errors_are_tried_again(endpoint):
    endpoint.script = {"a dog": [(429, FAILED), (500, FAILED), (503, FAILED), (200, answer({"Yes": 0.7}))]}
    judge = scorer(endpoint)
    assert judge.score(IMAGES[:1], ["a dog"]) == pytest.approx([0.7])
    assert len(endpoint.requests) == 4
    assert judge.usage.paid.calls == 1


def test_an_endpoint_that_keeps_failing_loses_its_pair_alone(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}))], "a cat": [(500, FAILED)]}
    with pytest.raises(UnscoredPairs) as refused:
        scorer(endpoint, max_retries=2).score(IMAGES[:3], ["a dog", "a cat", "a dog"])
    assert list(refused.value.reasons) == [1]
    assert refused.value.reasons[1].startswith("the endpoint failed: slow down")
    assert refused.value.scores[[0, 2]] == pytest.approx([0.7, 0.7])
    assert sum('"a cat"' in r["messages"][0]["content"][1]["text"] for r in endpoint.requests) == 3


def test_refusals_and_answers_that_are_none_are_reasons_not_scores(endpoint):
    endpoint.script = {
        "declined": [(200, answer({"I": 0.9, "Yes": 0.1}, refusal="I cannot help with that."))],
        "filtered": [(200, answer({"I": 0.9}, finish="content_filter"))],
        "elsewhere": [(200, answer({"The": 0.9, "A": 0.1}))],
        "silent": [(200, answer({}))],
        "fine": [(200, answer({"No": 0.9, "Yes": 0.1}))],
    }
    with pytest.raises(UnscoredPairs) as refused:
        scorer(endpoint).score([IMAGES[0]] * 6, ["declined", "filtered", "elsewhere", "silent", "", "fine"])
    reasons = refused.value.reasons
    assert reasons[0] == "the model refused to answer: I cannot help with that."
    assert reasons[1] == "the model refused to answer: content filter"
    assert reasons[2] == "neither Yes nor No is among the returned tokens: 'The'"
    assert reasons[3].startswith("the endpoint returned no log-probabilities")
    assert reasons[4] == "the prompt is empty"
    assert list(reasons) == [0, 1, 2, 3, 4]
    assert refused.value.scores[5] == pytest.approx(0.1)


def test_no_yes_among_the_tokens_is_zero_as_published_and_counted(endpoint):
    endpoint.script = {"a dog": [(200, answer({"No": 0.99, "Not": 0.01}))]}
    judge = scorer(endpoint)
    assert judge.score(IMAGES[:1], ["a dog"]).tolist() == [0.0]
    assert judge.usage.floored == 1


@pytest.mark.parametrize(
    ("reading", "top", "expected"),
    [
        ("sum", {"Yes": 0.4, " yes": 0.2, "No": 0.1}, 0.6),
        # t2v_metrics 3.0: the first of the exact tokens Yes, yes, No, no.
        ("t2v_metrics 3.0", {"No": 0.7, "Yes": 0.2}, 0.3),
        ("t2v_metrics 3.0", {" Yes": 0.7, "no": 0.2}, 0.8),
        ("t2v_metrics 3.0", {"yes": 0.7, "Yes": 0.2}, 0.7),
        # t2v_metrics 3.1: the last that is Yes, whatever its case and spaces; else 1 − P(No).
        ("t2v_metrics 3.1", {"No": 0.7, "Yes": 0.2}, 0.2),
        ("t2v_metrics 3.1", {"Yes": 0.7, " YES": 0.2}, 0.2),
        ("t2v_metrics 3.1", {"No": 0.9, "Maybe": 0.05}, 0.1),
    ],
)
def test_each_reading_of_the_tokens_is_that_of_its_version(endpoint, reading, top, expected):
    endpoint.script = {"a dog": [(200, answer(top))]}
    asked = scorer(endpoint, reading=reading, top=2)
    assert asked.score(IMAGES[:1], ["a dog"])[0] == pytest.approx(expected)
    assert endpoint.requests[0]["top_logprobs"] == 2
    fields = asked.fields()
    assert (fields["reading"], fields["order"]) == (reading, "image, text")


def test_an_exact_reading_does_not_find_an_answer_with_spaces(endpoint):
    endpoint.script = {"a dog": [(200, answer({" Yes": 0.7, " No": 0.2}))]}
    with pytest.raises(UnscoredPairs, match="neither Yes nor No is among the returned tokens"):
        scorer(endpoint, reading="t2v_metrics 3.0").score(IMAGES[:1], ["a dog"])


def test_the_question_stands_before_the_image_when_asked(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.5}))]}
    asked = scorer(endpoint, text_first=True)
    # The server of this test looks for the text behind the image.
    parts = asked._request(IMAGES[:1], "a dog")["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    assert asked.fields()["order"] == "text, image"


def test_a_run_is_repeated_from_its_cache_without_the_endpoint(endpoint, tmp_path, monkeypatch):
    endpoint.script = {
        "a dog": [(200, answer({"Yes": 0.7}))],
        "a cat": [(200, answer({"Yes": 0.2, "No": 0.8}))],
    }
    pairs = IMAGES[:2], ["a dog", "a cat"]
    first = scorer(endpoint, cache=tmp_path).score(*pairs)
    assert len(endpoint.requests) == 2
    monkeypatch.delenv("OPENAI_API_KEY")
    again = scorer(endpoint, cache=tmp_path, replay_only=True)
    assert np.array_equal(again.score(*pairs), first)
    assert (again.usage.paid.calls, again.usage.paid.cached) == (0, 2)
    with pytest.raises(UnscoredPairs) as refused:
        again.score(IMAGES[1:3], ["a dog", "a cat"])
    assert refused.value.reasons == dict.fromkeys((0, 1), "no stored response in the cache")
    assert len(endpoint.requests) == 2
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert KEY not in kept and "Bearer" not in kept


def test_a_failure_is_not_kept_and_another_question_is_asked_anew(endpoint):
    endpoint.script = {"a dog": [(500, FAILED), (200, answer({"Yes": 0.7})), (200, answer({"Yes": 0.4}))]}
    with pytest.raises(UnscoredPairs):
        scorer(endpoint, max_retries=0).score(IMAGES[:1], ["a dog"])
    assert scorer(endpoint).score(IMAGES[:1], ["a dog"]) == pytest.approx([0.7])
    other = scorer(endpoint, question='Is it "{prompt}"?')
    assert other.score(IMAGES[:1], ["a dog"]) == pytest.approx([0.4])


def test_the_same_pair_is_asked_once_in_a_batch(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}))]}
    assert scorer(endpoint).score([IMAGES[0]] * 5, ["a dog"] * 5) == pytest.approx([0.7] * 5)
    assert len(endpoint.requests) == 1


def test_cost_and_rate_limits_are_shown(endpoint, caplog):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}, tokens=(1000, 1)))]}
    judge = scorer(endpoint, prices=(2.5, 10.0))
    with caplog.at_level("INFO", logger="croc.scorers.api"):
        judge.score(IMAGES[:2], ["a dog", "a dog"])
    # 2 × (1000 × 2.5 + 1 × 10) / 1e6 dollars
    assert judge.usage.paid.cost == pytest.approx(0.00502)
    assert (judge.usage.paid.input_tokens, judge.usage.paid.output_tokens) == (2000, 2)
    assert judge.usage.limits["remaining-requests"] == "41"
    assert "2 paid calls, 0 from the cache, 2,000 + 2 tokens, $0.0050" in caplog.text
    assert "remaining-requests 41" in caplog.text
    assert "cost unknown" in str(scorer(endpoint).usage)


def test_the_run_stops_before_the_budget_is_exceeded(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}, tokens=(1000, 0)))]}
    # A call costs a dollar. Reserved are the 343 bytes of the request, and as many tokens as the dearest
    # image had: 1.343 dollars for the second and the third, which go out together, too much for a fourth.
    judge = scorer(endpoint, prices=(1000.0, 0.0), budget=4.0, workers=4)
    with pytest.raises(Abort, match=r"budget of \$4 is used up: \$3\.0000 for 3 paid calls, and the next"):
        judge.score(IMAGES, ["a dog"] * 4)
    assert len(endpoint.requests) == 3


def test_no_more_requests_than_workers_are_under_way(endpoint):
    endpoint.script = {f"dog {i}": [(200, answer({"Yes": 0.5}))] for i in range(12)}
    endpoint.takes = 0.05
    scorer(endpoint, workers=3).score([IMAGES[0]] * 12, [f"dog {i}" for i in range(12)])
    assert 2 <= endpoint.most_under_way <= 3


@pytest.mark.parametrize(
    ("status", "said"), [(401, "does not accept the key in OPENAI_API_KEY"), (404, "has no model judge")]
)
def test_a_wrong_key_or_model_stops_the_run_in_one_sentence(endpoint, status, said):
    endpoint.script = {"a dog": [(status, FAILED)]}
    with pytest.raises(Abort, match=said) as error:
        scorer(endpoint).score(IMAGES, ["a dog"] * 4)
    assert not isinstance(error.value, UnscoredPairs)
    assert KEY not in str(error.value)


def test_the_key_comes_from_the_environment_and_is_in_no_field(endpoint, monkeypatch):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}))]}
    judge = scorer(endpoint)
    assert KEY not in json.dumps(judge.fields())
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="variable OPENAI_API_KEY is not set; it must contain the API key"):
        scorer(endpoint).score(IMAGES[:1], ["a dog"])
    monkeypatch.setenv("OTHER_KEY", KEY)
    assert scorer(endpoint, key_variable="OTHER_KEY").score(IMAGES[:1], ["a dog"]) == pytest.approx([0.7])


def test_images_are_shrunk_when_asked_and_the_signature_says_so(endpoint):
    endpoint.script = {"a dog": [(200, answer({"Yes": 0.7}))]}
    judge = scorer(endpoint, image_side=20)
    judge.score(IMAGES[:1], ["a dog"])
    url = endpoint.requests[0]["messages"][0]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as sent:
        assert sent.size == (20, 16)
    assert judge.fields()["image_size"] == "longer side ≤ 20"
    assert judge.fields()["endpoint"] == endpoint.url


def test_options_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"reading 'first' is unknown: use one of sum, t2v_metrics 3\.0"):
        ApiVqaScore("m", reading="first")
    with pytest.raises(InputError, match="top must be between 1 and 20, not 21"):
        ApiVqaScore("m", top=21)
    with pytest.raises(InputError, match="replay_only needs the cache"):
        ApiVqaScore("judge", replay_only=True, cache=False)
    with pytest.raises(InputError, match=r"a budget for judge needs its prices: --price input=DOLLARS"):
        ApiVqaScore("judge", budget=1.0)
    with pytest.raises(InputError, match=r"the price output=-1 must be a number of dollars from 0"):
        ApiVqaScore("judge", prices=(1, -1))
    with pytest.raises(InputError, match=r"must contain \{prompt\} once"):
        ApiVqaScore("judge", question="Is it?")
