"""Annotated scenes, and a tower that was trained on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.scenes import Settings, build_scenes
from crocscore.pretraining.pretrain import main
from crocscore.pretraining.stages import TOWER


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 120 scenes."""
    out = tmp_path_factory.mktemp("scenes") / "scenes"
    splits = {"train": 0.7, "validation": 0.05, "test": 0.25}
    settings = Settings(sizes=(112, 64), claims=5)
    build_scenes(out, images=120, splits=splits, settings=settings, progress=False)
    return out


@pytest.fixture(scope="session")
def tower(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tower after 100 steps."""
    out = tmp_path_factory.mktemp("tower") / "tower"
    given = [
        "--scenes",
        str(folder),
        "--out",
        str(out),
        "--steps",
        "100",
        "--images-per-step",
        "4",
        "--evaluate-every",
        "40",
    ]
    assert main([TOWER, *given, "--warmup-steps", "2", "--close-up-steps", "20"]) == 0
    return out
