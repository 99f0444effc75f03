"""What the demo shows before anything is typed: examples, and which larger model to take."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from croc.cli.images import score_images
from croc.rendering.fragments import NOT_TRUSTED
from croc.scorers.needs import needs_of
from croc.scorers.registry import info

SPACE = Path(__file__).parents[2] / "spaces" / "crocscore"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the Space, as its app does."""
    monkeypatch.syspath_prepend(str(SPACE))
    return importlib.import_module


def test_the_examples_are_true_and_false_and_the_shipped_model_is_right(module):
    pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
    from croc_syn.world import parse, read_scene, satisfies
    from crocscore.model import CROCScore

    scorer = CROCScore.from_pretrained()
    tab = module("score_tab")
    assert {name for name, _, _ in tab.READY} == {path.name for path in (SPACE / "examples").iterdir()}
    for (path, prompts), (_, true, false) in zip(tab.examples(), tab.READY, strict=True):
        assert len(prompts) <= 60, prompts  # gradio cuts what is longer
        scene = read_scene(Path(path).read_bytes())
        assert satisfies(scene, parse(true)), true
        assert not satisfies(scene, parse(false)), false
        image = Image.open(path).convert("RGB")
        right, wrong = (scorer.explain(image, prompt) for prompt in (true, false))
        assert right.probability > 0.9, true
        assert wrong.probability < 0.1, false
        assert all(clause.probability > 0.65 for clause in right.clauses), true


def test_an_image_unlike_the_drawings_gets_a_sentence_and_no_probability(module, tmp_path):
    pytest.importorskip("gradio", reason="needs gradio, which shows the pages")
    noise = np.random.default_rng(0).integers(0, 255, (384, 384, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    tab, dog = module("score_tab"), str(SPACE / "examples" / "dog.png")
    known = tab.page(dog, "a red dog, and no cat")
    unknown = tab.page(str(tmp_path / "noise.png"), "a red dog, and no cat")
    assert NOT_TRUSTED not in known and "100%" in known
    assert NOT_TRUSTED in unknown and "%" not in unknown
    both = module("contrast_tab").page("a dog", "a cat", dog, str(tmp_path / "noise.png"))
    assert both.count(NOT_TRUSTED) == 2  # the second image with both prompts


def test_larger_models_are_registered_scorers_with_a_line_that_the_command_takes(
    module, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    shown = module("larger_models").rows()
    assert len(shown) >= 3
    for row in shown:
        entry = info(row["name"])
        assert any(need.startswith(f"{row['memory']} of GPU memory") for need in needs_of(entry)), row
        program, command, *arguments = shlex.split(row["line"])
        assert (program, command) == ("croc", "score-images")
        with score_images.make_context(command, arguments) as context:
            assert context.params["scorers"] == (row["name"],)
