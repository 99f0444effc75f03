"""Commands over paid services: the estimate, a budget that is reached midway, resuming, and the cache."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import image_service
import llm_server as llm
import polars as pl
import pytest
from click.testing import CliRunner, Result
from staged_prompts import row, stage

from croc.checks.names import SYN_SAMPLE
from croc.cli import main

DOLLAR_PER_ANSWER = ["--price", "input=0", "--price", "output=50000"]  # of 20 tokens


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[llm.Server]:
    monkeypatch.setenv("OPENAI_API_KEY", llm.KEY)
    found = llm.Server()
    yield found
    found.close()


def croc(*words: Any) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def own_preset(folder: Path, url: str) -> Path:
    """Twelve checks by a model behind the server, in parts of four; JSON is YAML."""
    talker = {"name": "talker", "model": "org/talker", "revision": "a" * 40}
    text = {
        "models": [talker],
        "rules": {"encoders": []},
        "checks_per_part": 4,
        "sampling": {"max_tokens": 20},
        "endpoint": {"base_url": url, "retries": 0},
    }
    file = folder / "own.yaml"
    file.write_text(
        json.dumps({"extends": "paper", "specs": {"checks": 12}, "text": text, "images": {"models": []}})
    )
    return file


def test_prompts_stop_before_the_budget_and_resume_without_paying_twice(
    server: llm.Server, tmp_path: Path
) -> None:
    words = ["prompts", own_preset(tmp_path, server.url), *DOLLAR_PER_ANSWER, "--out", tmp_path / "out"]
    first = croc(*words, "--budget", 6)
    assert first.exit_code == 2
    assert re.search(r"estimate for talker: 12 paid calls, about [\d,]+ input and 1,920 output", first.stderr)
    assert "about $96, the run stops before it has cost more than $6" in first.stderr
    assert "the budget of $6 is used up: $6.0000 for 6 paid calls" in first.stderr
    assert "(1 of 3 parts of prompts are finished and kept)" in first.stderr
    assert len(server.requests) == 6
    second = croc(*words, "--budget", 6)
    assert second.exit_code == 0, second.output
    assert "estimate for talker: 8 paid calls" in second.stderr
    assert "6 paid calls, 0 from the cache, 600 + 120 tokens, $6.0000" in second.stderr
    assert len(server.requests) == 12
    # Another folder, another run: all answers are there.
    third = croc(*words[:-1], tmp_path / "again", "--budget", 0.01)
    assert third.exit_code == 0, third.output
    assert "0 paid calls, 12 from the cache" in third.stderr
    assert len(server.requests) == 12
    tables = [pl.read_parquet(tmp_path / name / "parts") for name in ("out", "again")]
    assert tables[0].equals(tables[1])
    croc(*words[:-1], tmp_path / "anew", "--no-cache")
    assert len(server.requests) == 24


def test_a_budget_without_prices_asks_for_nothing(server: llm.Server, tmp_path: Path) -> None:
    words = ["prompts", own_preset(tmp_path, server.url), "--out", tmp_path / "out", "--budget", 5]
    done = croc(*words)
    assert done.exit_code == 2
    assert "a budget for org/talker needs its prices: --price input=DOLLARS" in done.stderr
    done = croc(*words, "--price", "per_token=1")
    assert "the price 'per_token' is unknown: use input, output or image" in done.stderr
    done = croc(*words, *DOLLAR_PER_ANSWER, "--executor", "ray")
    assert "--budget on a cluster needs --workers" in done.stderr
    assert not server.requests


def test_images_stop_before_the_budget_and_resume_without_paying_twice(
    server: llm.Server, tmp_path: Path
) -> None:
    server.script = image_service.good
    prompts = tmp_path / "prompts"
    stage(prompts, [row(number) for number in range(3)])
    endpoint = {"base_url": server.url, "retries": 0}
    words = ["images", prompts, "--model", "gpt-image", "--set", "images.count=2"]
    words += ["--set", f"images.endpoint={json.dumps(endpoint)}", "--price", "image=0.25"]
    first = croc(*words, "--budget", 1.6, "--out", tmp_path / "out")
    assert first.exit_code == 2
    assert "estimate for gpt-image: 12 paid calls, 12 images, about $3" in first.stderr
    # Six of twelve images: a check of four is finished, two images of the next one are kept as answers.
    assert "$1.5000 for 6 paid calls" in first.stderr and "(1 of 3 parts of images are" in first.stderr
    assert len(server.requests) == 6
    second = croc(*words, "--out", tmp_path / "out")
    assert second.exit_code == 0, second.output
    assert "3 checks with 12 images" in second.stdout
    assert "6 paid calls, 2 from the cache, 6 images, $1.5000" in second.stderr
    assert len(server.requests) == 12


def test_questions_stop_before_the_budget_and_resume(server: llm.Server, tmp_path: Path) -> None:
    answer = {"questions": [{"id": 1, "question": "Is there a dog?", "parents": []}]}
    server.script = lambda body, nth: llm.completion(json.dumps(answer))
    source = tmp_path / "prompts.txt"
    source.write_text("\n".join(f"dog {number}" for number in range(8)))
    words = ["questions", source, "--preset", own_preset(tmp_path, server.url)]
    words += ["--out", tmp_path / "questions.jsonl", *DOLLAR_PER_ANSWER]
    first = croc(*words, "--budget", 5)
    assert first.exit_code == 2
    assert "estimate for talker: 8 paid calls" in first.stderr
    assert "$5.0000 for 5 paid calls" in first.stderr
    assert len((tmp_path / "questions.jsonl").read_text().splitlines()) == 5
    second = croc(*words, "--budget", 5)
    assert second.exit_code == 0, second.output
    assert "3 questions about 3 prompts, 5 had theirs before" in second.output
    assert len(server.requests) == 8


def test_questions_that_failed_come_from_the_cache_until_another_seed_asks_anew(
    server: llm.Server, tmp_path: Path
) -> None:
    """The same command makes the same requests, whose answers were paid for: unusable ones, too."""
    good = json.dumps({"questions": [{"id": 1, "question": "Is there a dog?", "parents": []}]})
    server.script = lambda body, nth: llm.completion("no JSON" if "dog 1" in llm.question(body) else good)
    source = tmp_path / "prompts.txt"
    source.write_text("dog 0\ndog 1\ndog 2")
    words = ["questions", source, "--preset", own_preset(tmp_path, server.url)]
    words += ["--out", tmp_path / "questions.jsonl", *DOLLAR_PER_ANSWER]
    first = croc(*words)
    assert first.exit_code == 0, first.output
    assert "1 prompt without questions" in first.stdout and "another --seed than 0 asks" in first.stdout
    asked = len(server.requests)
    again = croc(*words)
    assert "1 prompt without questions" in again.stdout and len(server.requests) == asked
    assert f"0 paid calls, {asked - 2} from the cache" in again.stderr
    server.script = lambda body, nth: llm.completion(good)
    assert "1 prompt without questions" in croc(*words).stdout and len(server.requests) == asked
    anew = croc(*words, "--seed", 1)
    assert "1 question about 1 prompt, 2 had theirs before" in anew.stdout
    assert len(server.requests) == asked + 1
    assert len((tmp_path / "questions.jsonl").read_text().splitlines()) == 3


def judged(body: dict[str, Any], nth: int) -> llm.Reply:
    """P("Yes") by the length of the question, for a hundredth of a dollar at 100 dollars a million tokens."""
    yes = {"token": "Yes", "logprob": -len(llm.question(body)) / 100, "bytes": None}
    content = [{"token": "Yes", "logprob": yes["logprob"], "bytes": None, "top_logprobs": [yes]}]
    return llm.completion("Yes", tokens=(100, 0), logprobs={"content": content, "refusal": None})


def test_scores_stop_before_the_budget_and_another_scorer_pays_nothing(
    server: llm.Server, tmp_path: Path
) -> None:
    server.script = judged
    words = ["score", SYN_SAMPLE, "--max-checks", 10, "--scorer", "croc.scorers.api:ApiVqaScore"]
    words += ["--option", "model=judge", "--option", f"base_url={server.url}", "--price", "input=100"]
    words += ["--price", "output=0"]
    first = croc(*words, "--budget", 0.15, "--out", tmp_path / "scores")
    assert first.exit_code == 2
    calls = int(re.search(r"estimate for judge: (\d+) paid calls", first.stderr)[1])
    paid = len(server.requests)
    assert 0 < paid <= 15 < calls
    assert f"the budget of $0.15 is used up: ${paid / 100:.4f} for {paid} paid calls" in first.stderr
    assert not (tmp_path / "scores" / "judge.parquet").exists()
    second = croc(*words, "--out", tmp_path / "scores")
    assert second.exit_code == 0, second.output
    total = len(server.requests)
    assert f"{total - paid} paid calls, {paid} from the cache" in second.stderr
    assert pl.read_parquet(tmp_path / "scores" / "judge.parquet")["error"].null_count() > 0
    # The same question by a scorer of another name, in two processes.
    other = croc(*words, "--option", "name=other", "--workers", 2, "--budget", 0.01, "--out", tmp_path / "o")
    assert other.exit_code == 0, other.output
    assert len(server.requests) == total
    scores = [pl.read_parquet(tmp_path / name) for name in ("scores/judge.parquet", "o/other.parquet")]
    assert scores[0]["prompt_score"].equals(scores[1]["prompt_score"])
