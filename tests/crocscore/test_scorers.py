"""CROCScore joins croc's scorers as a plug-in does: by the entry points of the project."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny

from croc.errors import CrocError
from croc.scorers import registry
from crocscore import model, scorers
from crocscore.model import CROCScore

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
POINTS = PROJECT["entry-points"][registry.ENTRY_POINTS]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """As the project says, whatever an older installation still knows."""
    points = {name: EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in POINTS.items()}
    monkeypatch.setattr(registry, "_plugins", lambda: points)


def test_they_are_listed_and_take_options():
    assert {"crocscore", "crocscore-dual"} <= {entry.name for entry in registry.available()}
    assert set(POINTS) == {"crocscore", "crocscore-dual"}
    assert registry.takes("crocscore", "device") and registry.takes("crocscore-dual", "device")


def test_a_name_and_a_checkpoint_give_the_scorer(tmp_path):
    folder = tiny.save(*tiny.llava(), tmp_path / "mine")
    scorer = registry.load("crocscore", model=folder, device="cpu")
    images, prompts = [tiny.picture(0), tiny.picture(1)], ["a dog", "a cat"]
    assert isinstance(scorer, CROCScore)
    alone = CROCScore(folder, device="cpu").score(images, prompts)
    np.testing.assert_array_equal(scorer.score(images, prompts), alone)


def test_the_dual_encoder_scores_the_cosine(tmp_path):
    clip, processor = tiny.clip()
    folder = tiny.save(clip, processor, tmp_path / "dual")
    scorer = registry.load("crocscore-dual", model=folder, device="cpu")
    assert scorer.name == "crocscore-dual" and scorer.fields()["formula"] == "cosine"
    cosines = scorer.score([tiny.picture(0)], ["a dog"])
    assert -1 <= cosines[0] <= 1


@pytest.mark.parametrize("name", ["crocscore", "crocscore-dual"])
def test_without_weights_it_says_what_to_name(monkeypatch, tmp_path, name):
    monkeypatch.setattr(model, "WEIGHTS", tmp_path)
    monkeypatch.setattr(scorers, "DUAL", tmp_path)
    with pytest.raises(CrocError, match=r"contains no .*weights.* as model="):
        registry.load(name)


@pytest.mark.parametrize(("name", "folder"), [("crocscore", model.WEIGHTS), ("crocscore-dual", scorers.DUAL)])
def test_the_weights_of_the_package_score(name, folder):
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"this checkout holds no {folder.parent.name}/{folder.name}")
    scorer = registry.load(name, device="cpu")
    found = scorer.score([tiny.picture(0)] * 2, ["a red circle", "two blue squares"])
    assert np.isfinite(found).all() and found[0] != found[1]
