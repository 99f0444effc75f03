"""Ctrl-C in long commands: one sentence that says what is kept and how to resume, exit code 130, no waste."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import image_service
import pytest
from click.testing import CliRunner
from llm_server import Server
from staged_prompts import row, stage

from croc.cli import main
from croc.cli.failures import INTERRUPTED
from croc.jobs.runner import status

_SLOW = "import time\n\ndef slow(images, prompts):\n    time.sleep({})\n    return [0.5] * len(prompts)\n"
KEPT = re.compile(
    r"croc: interrupted: .*: (\d+) of (\d+) .+ are finished and kept; run the same command again to resume"
)


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checks") / "syn"
    words = ["build", "syn", "--checks", "12", "--images", "1", "--size", "48", "--out", str(folder)]
    assert CliRunner().invoke(main, words).exit_code == 0
    return folder


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """A scorer of 20 pairs per second."""
    (tmp_path / "slow.py").write_text(_SLOW.format(0.05))
    return f"{tmp_path / 'slow.py'}:slow"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.takes = 0.2
    yield server
    server.close()


def interrupt(words: list[str | Path], ready: Callable[[], object], **environment: str) -> str:
    """Start a command, press Ctrl-C when something is there, and return its last line."""
    command = [sys.executable, "-m", "croc", *map(str, words)]
    run = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    end = time.monotonic() + 240
    while not ready() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    # A terminal sends the signal to the workers, too.
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGINT)
    message = run.communicate(timeout=120)[1]
    assert run.returncode == INTERRUPTED, message
    assert "Traceback" not in message
    return message.splitlines()[-1]


def a_part(out: Path) -> Callable[[], object]:
    """The second, so that the first is counted for certain."""
    return lambda: len(list(out.rglob("records/*.json"))) > 1


def resume(words: list[str | Path], line: str) -> None:
    """The same command finishes and makes only the rest."""
    found = KEPT.fullmatch(line)
    assert found is not None, line
    kept, total = map(int, found.groups())
    assert 0 < kept < total
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_score(checks: Path, slow: str, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    words: list[str | Path] = ["score", checks, "--scorer", slow, "--batch-size", "1", "--out", out]
    resume(words, interrupt(words, a_part(out)))
    assert [file.name for file in out.glob("*.parquet")] == ["slow.parquet"]


def test_build_syn_with_workers(tmp_path: Path) -> None:
    out = tmp_path / "syn"
    words: list[str | Path] = ["build", "syn", "--checks", "60", "--images", "2", "--size", "192"]
    words += ["--workers", "2", "--out", out]
    line = interrupt(words, a_part(out))
    assert str(out) in line
    resume(words, line)


def test_score_images(slow: str, tmp_path: Path) -> None:
    from PIL import Image

    for n in range(100):  # as many contents: equal images are scored once
        Image.new("RGB", (8, 8), (n, n, n)).save(tmp_path / f"{n:03}.png")
    out = tmp_path / "scores.csv"
    words: list[str | Path] = ["score-images", tmp_path, "--prompt", "a dog", "--scorer", slow]
    words += ["--batch-size", "1", "--out", out]
    resume(words, interrupt(words, a_part(tmp_path)))
    assert len(out.read_text().splitlines()) == 101


def test_external_score(tmp_path: Path) -> None:
    import benchmark_layouts

    (tmp_path / "slow.py").write_text(_SLOW.format(30))
    slow = f"{tmp_path / 'slow.py'}:slow"
    data = tmp_path / "data"
    benchmark_layouts.tifa(data)
    out = tmp_path / "scores"
    words: list[str | Path] = ["external", "score", "tifa160", "--scorer", slow, "--data", data, "--out", out]
    # All items are one part, which has begun when the session is written.
    line = interrupt([*words, "--batch-size", "1"], lambda: list(out.rglob("session.json")))
    assert KEPT.fullmatch(line), line


def test_prompts_of_a_service(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "prompts"
    words: list[str | Path] = [
        "prompts",
        "paper",
        "--checks",
        "6",
        "--text-model",
        "org/talker",
        "--out",
        out,
    ]
    words += ["--set", f"text.endpoint.base_url={server.url}", "--set", "text.endpoint.concurrency=1"]
    words += ["--set", "text.checks_per_part=1"]
    words += ["--set", "text.rules.encoders=[]"]
    line = interrupt(words, a_part(out), OPENAI_API_KEY="sk-not-a-real-key")
    assert KEPT.fullmatch(line), line


def test_images_of_a_service(server: Server, tmp_path: Path) -> None:
    server.script = image_service.good
    prompts = stage(tmp_path / "p", [row(n) for n in range(6)], size=1).folder
    out = tmp_path / "images"
    endpoint = {"base_url": server.url, "key_variable": "IMAGES_KEY", "concurrency": 1, "retries": 0}
    words: list[str | Path] = ["images", prompts, "--model", "gpt-image", "--set", "images.count=1"]
    words += ["--set", f"images.endpoint={json.dumps(endpoint)}", "--out", out]
    line = interrupt(words, a_part(out), IMAGES_KEY="sk-not-a-real-key")
    assert KEPT.fullmatch(line), line
    before = status(out).done
    requests = len(server.requests)
    server.takes = 0.0
    done = CliRunner().invoke(main, list(map(str, words)), env={"IMAGES_KEY": "sk-not-a-real-key"})
    assert done.exit_code == 0, done.output
    assert len(server.requests) - requests <= 2 * (6 - before), "finished parts are not requested again"


@pytest.mark.slow
def test_train(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="training needs the extra train")
    import tiny_models as tiny
    from tiny_training import checks_and_questions, written

    model = tiny.save(*tiny.llava(), tmp_path / "model")
    recipe = {"model": model, "questions": checks_and_questions(tmp_path)[1], "max_steps": 100_000}
    words: list[str | Path] = ["train", *written(tmp_path / "recipe.yaml", **recipe)]
    out = tmp_path / "out"
    line = interrupt(words, lambda: list(out.glob("checkpoint-*/trainer_state.json")))
    found = re.fullmatch(
        r"croc: interrupted: (\S+) is kept; add (\S+) (\S+) to the same command to resume", line
    )
    assert found is not None, line
    checkpoint, option, given = found.groups()
    assert checkpoint == given and Path(given).parent == out
    steps = json.loads((Path(given) / "trainer_state.json").read_text())["global_step"]
    last = ["--max_steps", str(steps + 2), "--save_strategy", "no"]
    done = CliRunner().invoke(main, [*map(str, words), option, given, *last], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (out / "model.safetensors").is_file()
