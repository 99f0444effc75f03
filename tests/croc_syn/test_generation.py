"""The whole way with models, as the guide tells it: prompts → images → a dataset → scores → the verdict."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import llm_server as llm
import pytest
import text_encoders
import yaml
from click.testing import CliRunner

from croc.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "generation.md"


def told() -> list[list[str]]:
    """The commands with which the guide begins: what the road takes, and the road."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [shlex.split(line, comments=True) for block in blocks[:2] for line in block.splitlines()]


def preset(folder: Path, base_url: str) -> Path:
    """Two language models, served from here, and two tiny pipelines, in place of the paper's."""
    import tiny_pipelines as tiny

    painters = [
        {"name": name, "model": str(tiny.save(pipe, folder / name)), "steps": 2, "text_tokens": 16}
        for name, pipe in (("tiny-flux", tiny.flux()), ("tiny-sd", tiny.sd3()))
    ]
    encoder = {"name": "clip", "tokenizer": str(text_encoders.word_tokenizer(folder / "clip")), "limit": 77}
    settings = {
        "extends": "paper",
        "specs": {"checks": 3},
        "text": {
            "models": [{"name": name, "model": f"org/{name}"} for name in ("thinker", "talker")],
            "endpoint": {"base_url": base_url},
            "rules": {"encoders": [encoder]},
        },
        "images": {
            "models": painters,
            "count": 2,
            "size": 16,
            "pipeline": {"device": "cpu"},
            "flags": {"near_duplicates": 0},
        },
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def speaks(body: dict[str, Any], nth: int) -> llm.Reply:
    """Two models, one of which thinks aloud and wraps its answer, behind a service that is busy at first."""
    if nth == 0:
        return llm.failed(429)
    if body["model"] == "org/thinker":
        return llm.completion(f"<think>{{a fox}}, or…</think>\n```json\n{json.dumps(llm.pair(body))}\n```")
    return llm.completion(json.dumps(llm.pair(body, 1)))


@pytest.mark.slow
def test_prompts_become_a_verdict_on_metrics_and_on_who_made_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", llm.KEY)
    server = llm.Server(speaks)
    stand_in = {"paper": str(preset(tmp_path, server.url)), "clipscore-l14": "prompt-length"}
    said: dict[str, str] = {}

    def croc(*words: str) -> str:
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, f"{words}\n{done.output}"
        return done.stdout

    try:
        for words in told():
            assert words[0] == "croc"
            said[words[1]] = croc(*(stand_in.get(word, word) for word in words[1:]))
    finally:
        server.close()
    assert list(said) == ["cost", "prompts", "images", "build", "score", "evaluate"]
    # 3 checks × 2 language models × 2 image models, each prompt by 2 seeds.
    assert "12 of 12 pairs usable" in said["prompts"]
    assert "12 checks with 48 images" in said["images"]
    rows = datasets.load_dataset("runs/syn", split="test")
    assert len(rows) == 12
    assert rows[0]["images"][0].size == (16, 16)
    assert len(rows[0]["images_flags"]) == len(rows[0]["images"])
    assert {name.split("@")[0] for name in rows["text_model"]} == {"org/thinker", "org/talker"}
    assert {name.split("@")[0] for name in rows["image_model"]} == {"tiny-flux", "tiny-sd"}
    croc("verify", "runs/syn")
    assert "tiny-flux@local:" in said["evaluate"] and "org/thinker@unpinned" in said["evaluate"]
    croc("evaluate", "scores", "--by", "image_model", "--by", "text_model", "--json", "verdict.json")
    found = json.loads(Path("verdict.json").read_text("utf-8"))["dependences"]
    assert [(each["column"], each["paired"], each["concepts"]) for each in found] == [
        ("text_model", True, 3),
        ("image_model", True, 3),
    ]
    differences = [one for each in found for one in each["differences"]]
    assert all(one["difference"] is not None for one in differences)
    assert all(one["ci_low"] is None for one in differences)  # of three concepts there is no interval
