"""Pairwise judges over an endpoint: a real HTTP server on loopback that looks at the images it is sent."""

from __future__ import annotations

import base64
import io
import json
import re

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image
from planted_judges import is_match, picture, rows
from vision_endpoint import answer

from croc.checks.schema import check_features
from croc.cli import main
from croc.errors import InputError
from croc.scorers import Judge
from croc.scorers.api_pairwise import ApiPairwiseJudge
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.pairwise import PROMPTS_QUESTION
from croc.scorers.registry import info, load_any

RED, BLUE = (Image.open(io.BytesIO(picture(colour, 3))).convert("RGB") for colour in ("red", "blue"))


def pictures(body) -> list[Image.Image]:
    """The images of a request."""
    urls = [p["image_url"]["url"] for p in body["messages"][0]["content"] if p["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB") for url in urls]


def first_matches(body) -> bool:
    """Whether what a request shows first is the match."""
    prompts = re.findall(r'"((?:red|blue) thing[^"]*)"', body["messages"][0]["content"][-1]["text"])
    assert (len(pictures(body)), len(prompts)) in ((1, 2), (2, 1))
    return is_match(pictures(body)[0], prompts[0])


def perfect(body):
    return 200, answer({"A": 0.8, "B": 0.2} if first_matches(body) else {"B": 0.6, " a": 0.3, "The": 0.1})


def always_first(body):
    return 200, answer({"A": 0.7, "B": 0.3})


def judge(endpoint, **options) -> ApiPairwiseJudge:
    return ApiPairwiseJudge("judge", base_url=endpoint.url, **options)


def test_the_answer_in_an_order_is_the_share_of_a(endpoint):
    endpoint.respond = perfect
    asked = judge(endpoint)
    assert isinstance(asked, Judge) and not hasattr(asked, "score")
    prompts = asked.choose_prompts([RED, RED], ["red thing", "blue thing"], ["blue thing", "red thing"])
    assert prompts == pytest.approx([0.8, 0.3 / 0.9])
    texts = [request["messages"][0]["content"][1]["text"] for request in endpoint.requests]
    assert PROMPTS_QUESTION.replace("{first}", "red thing").replace("{second}", "blue thing") in texts
    images = asked.choose_images(["red thing", "red thing"], [RED, BLUE], [BLUE, RED])
    assert images == pytest.approx([0.8, 0.3 / 0.9])
    both = asked.compare_images(["blue thing"], [BLUE], [RED])
    assert both.first[0] == pytest.approx(0.5 + (0.8 - 0.3 / 0.9) / 2) and both.consistent[0]
    assert asked.usage.paid.calls == 6


def test_both_images_are_sent_in_their_order_and_paid_for(endpoint):
    endpoint.respond = perfect
    asked = judge(endpoint, prices=(1, 1))
    asked.choose_images(["red thing"], [RED], [BLUE])
    (body,) = endpoint.requests
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "image_url", "text"]
    assert [image.getpixel((0, 0)) for image in pictures(body)] == [(220, 3, 20), (20, 3, 220)]
    estimate = asked.estimate(1000, [RED], ["red thing"])
    assert "1,000 paid calls" in estimate and "$" in estimate


def test_an_endpoint_without_log_probabilities_answers_by_its_text(endpoint):
    texts = iter(["A", "(b)", "Neither", "As"])

    def respond(body):
        reply = answer({"A": 1.0})
        reply["choices"][0]["message"]["content"] = next(texts)
        reply["choices"][0]["logprobs"] = None
        return 200, reply

    endpoint.respond = respond
    with pytest.raises(UnscoredPairs) as refused:
        judge(endpoint, workers=1).choose_prompts([RED] * 4, ["a", "b", "c", "d"], ["e", "f", "g", "h"])
    assert refused.value.scores[:2].tolist() == [1.0, 0.0]
    expected = {2: "the answer is neither A nor B: 'Neither'", 3: "the answer is neither A nor B: 'As'"}
    assert refused.value.reasons == expected


def test_refusals_and_other_answers_are_reasons(endpoint):
    endpoint.respond = lambda body: (200, answer({"The": 0.9}))
    with pytest.raises(UnscoredPairs) as refused:
        judge(endpoint).choose_prompts([RED] * 2, ["x", " "], ["y", "z"])
    assert refused.value.reasons == {
        0: "neither A nor B is among the returned tokens: 'The'",
        1: "the prompt is empty",
    }
    with pytest.raises(InputError, match=r"must contain \{prompt\} once"):
        judge(endpoint, images_question="Which?")
    with pytest.raises(InputError, match="opposing must be a whole number from 1, not 0"):
        judge(endpoint, opposing=0)


def run(endpoint, folder, *options):
    """``croc score`` with the judge of the endpoint on six checks."""
    data = folder / "checks.parquet"
    if not data.exists():
        frame = rows(6)
        import datasets

        names = [name for name in check_features() if name in frame[0]]
        features = datasets.Features({name: check_features()[name] for name in names})
        datasets.Dataset.from_list(frame, features=features).to_parquet(data)
    words = [
        "score",
        data,
        "--scorer",
        "croc.scorers.api_pairwise:ApiPairwiseJudge",
        "--out",
        folder / "scores",
    ]
    words += [
        "--option",
        "model=judge",
        "--option",
        f"base_url={endpoint.url}",
        "--protocol",
        "hum",
        *options,
    ]
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_run_is_estimated_paid_once_and_evaluated_beside_a_metric(endpoint, tmp_path):
    endpoint.respond = perfect
    prices = ["--price", "input=2", "--price", "output=8"]
    done = run(endpoint, tmp_path, *prices)
    assert done.exit_code == 0, done.output
    # Six checks of 1 + 2 images: 6 × 14 answers.
    assert "84 paid calls" in done.stderr and "$" in done.stderr
    assert len(endpoint.requests) == 84 and "84 answers, 84 new" in done.stderr
    again = run(endpoint, tmp_path, *prices, "--overwrite")
    assert again.exit_code == 0 and len(endpoint.requests) == 84, "all answers are in the cache"
    words = ["score", tmp_path / "checks.parquet", "--scorer", "random", "--out", tmp_path / "scores"]
    assert CliRunner().invoke(main, [*map(str, words), "--protocol", "hum"]).exit_code == 0
    report = tmp_path / "report.json"
    words = ["evaluate", tmp_path / "scores", "--json", report, "--html", tmp_path / "report.html"]
    words += ["--by", "category", "--resamples", 100, "--permutations", 100]
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(main, [str(word) for word in words])
    assert shown.exit_code == 0, shown.output
    assert "Position bias of pairwise judges" in shown.output
    content = json.loads(report.read_text())
    scores = {s["metric"]: s["scaled"] for s in content["scores"] if s["group"] is None}
    assert scores["judge"] == 1 and scores["random"] < 1
    biases = [(b["compared"], b["bias"], b["comparisons"]) for b in content["position_biases"]]
    assert biases == [("prompts", 0.0, 18), ("images", 0.0, 24)]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h3>Position bias of pairwise judges</h3>") == 1


def test_a_budget_stops_the_run_and_the_next_one_goes_on(endpoint, tmp_path):
    endpoint.respond = always_first
    prices = ["--price", "input=1000", "--price", "output=1000"]
    done = run(endpoint, tmp_path, *prices, "--budget", "4")
    assert done.exit_code == 2 and "the budget of $4 is used up" in done.stderr.splitlines()[-1]
    before = len(endpoint.requests)
    assert 0 < before < 84
    assert not (tmp_path / "scores" / "judge.parquet").exists()
    done = run(endpoint, tmp_path, *prices)
    assert done.exit_code == 0, done.output
    assert len(endpoint.requests) == 84, "what was paid for is not asked again"
    found = pl.read_parquet(tmp_path / "scores" / "judge.parquet")
    assert found["text_answers"].explode().unique().round(9).to_list() == [0.7]


def test_the_judges_of_the_registry_are_of_the_task_judge(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    endpoint.respond = perfect
    found = load_any("pairwise-gpt-4o")
    assert info("pairwise-gpt-4o").task == "judge" and isinstance(found, Judge)
    assert found.choose_prompts([BLUE], ["blue thing"], ["red thing"])[0] == pytest.approx(0.8)
    assert found.fields()["endpoint"] == endpoint.url
    listed = CliRunner(env={"COLUMNS": "300"}).invoke(main, ["scorers", "list", "--task", "judge"]).output
    for name in (
        "pairwise-qwen3-vl-8b",
        "pairwise-qwen2.5-vl-7b",
        "pairwise-smolvlm-256m",
        "pairwise-gpt-4o",
    ):
        assert name in listed
