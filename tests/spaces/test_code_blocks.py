"""Every code block that a page or a card shows runs as it is shown, against a Hub on loopback."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guide_readers import empty_hub, released
from hub_server import Hub
from walk import blocks

from builders.hum import build_release
from builders.publish import publish
from hub_cards import dataset_card

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
METRIC = "import numpy as np\n\ndef my_metric(images, prompts):\n    return np.arange(float(len(prompts)))\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with human-verified checks and the Space of the metric under their published names."""
    folder = tmp_path_factory.mktemp("hub") / "reader"
    folder.mkdir()
    with empty_hub(folder) as running:
        options = {"endpoint": running.endpoint, "token": "hf_writer"}
        made = build_release(released(folder.parent / "release"), folder.parent / "hum", progress=False)
        publish("hum", made.out, "croc/hum", **options)
        publish("space", ROOT / "spaces" / "croc", "croc/croc", **options)
        yield running


def run(hub: Hub, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **hub.client_environment(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_calls_on_the_page_of_the_metric_run(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="needs croc-t2i[space]")
    calls = runpy.run_path(str(ROOT / "spaces" / "croc" / "app.py"))["CALLS"]
    (_, python, _), (_, shell, _) = calls
    assert re.search(r"-?\d", run(hub, tmp_path, "-c", METRIC + python))
    install, *commands = shell.splitlines()
    assert install.startswith("pip install ")
    for line in commands:
        # The scorer that the page names needs downloaded weights; another one takes its place.
        words = line.replace("clipscore-l14", "colour-words").split()
        assert words[0] == "croc"
        run(hub, tmp_path, "-m", *words)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("card", ["the Space", "the dataset"])
def test_the_python_of_a_card_runs(card: str, hub: Hub, tmp_path: Path) -> None:
    page = ROOT / "spaces" / "croc" / "README.md"
    if card == "the dataset":
        page = tmp_path / "README.md"
        page.write_text(dataset_card(Path(hub.folder).parent / "hum", repo="croc/hum"), "utf-8")
    python = [text for language, text in blocks(page) if language == "python"]
    assert python
    for text in python:
        run(hub, tmp_path, "-c", METRIC + text)
