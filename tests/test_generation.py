"""The whole way with models: prompts → images by a pipeline → a dataset → scores → the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from staged_prompts import row, stage

from croc.cli import main


def croc(*words: Any) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_prompts_become_a_verdict_on_metrics_and_on_who_painted(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    import datasets
    import tiny_pipelines as tiny

    models = [
        {
            "name": name,
            "model": str(tiny.save(pipe, tmp_path / "models" / name)),
            "steps": 2,
            "text_tokens": 16,
        }
        for name, pipe in (("tiny-flux", tiny.flux()), ("tiny-sd", tiny.sd3()))
    ]
    prompts = stage(tmp_path / "prompts", [row(n) for n in range(6)]).folder
    settings = ["--set", f"images.models={models}", "--set", "images.pipeline={device: cpu}"]
    settings += ["--set", "images.count=2", "--set", "images.size=16", "--set", "images.format=webp"]
    settings += ["--set", "images.flags={near_duplicates: 0}"]
    assert "12 checks with 48 images" in croc("images", prompts, *settings, "--out", tmp_path / "images")
    croc("build", "staged", "syn", tmp_path / "images", "--out", tmp_path / "syn")
    rows = datasets.load_dataset(str(tmp_path / "syn"), split="test")
    assert len(rows) == 12
    assert rows[0]["images"][0].size == (16, 16)
    assert len(rows[0]["images_flags"]) == len(rows[0]["images"]) == 2
    assert {name.split("@")[0] for name in rows["image_model"]} == {"tiny-flux", "tiny-sd"}
    assert "problem" not in croc("verify", tmp_path / "syn").lower().replace("no problem", "")
    scores = tmp_path / "scores"
    croc("score", tmp_path / "syn", "--scorer", "random", "--scorer", "prompt-length", "--out", scores)
    said = croc("evaluate", scores, "--by", "image_model", "--json", tmp_path / "verdict.json")
    assert "tiny-flux@local:" in said
    import json

    (pair,) = json.loads((tmp_path / "verdict.json").read_text())["dependences"]
    assert (pair["column"], pair["paired"], pair["concepts"]) == ("image_model", True, 6)
    assert all(each["ci_low"] <= each["difference"] <= each["ci_high"] for each in pair["differences"])
