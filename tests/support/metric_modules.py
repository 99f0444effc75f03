"""For tests of the ``evaluate`` modules: pictures, rows of scores, checks, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "crocscore" / "weights" / "tiny" / "model.safetensors"
MODULES = ("croc", "crocscore")


def pictures(n: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(n)]


PROMPTS = ["a red dog", "two cats", "no cat"]

ROWS: dict[str, Any] = {
    "check_id": ["a", "a", "b", "b"],
    "image_side": ["original", "contrast"] * 2,
    "image_index": [0, 0, 0, 0],
    "prompt_score": [0.9, 0.2, 0.5, 0.6],
    "contrast_score": [0.3, 0.8, 0.4, 0.7],
}


def start(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script as somebody with an empty cache, in a folder of their own."""
    (folder / "home").mkdir(exist_ok=True)
    variables = {**os.environ, "HF_HOME": str(folder / "home"), "HF_EVALUATE_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out.strip()


def redness(images: list[Image.Image], prompts: list[str]) -> list[float]:
    return [
        float(np.asarray(image)[..., 0].mean() - np.asarray(image)[..., 2].mean()) * (1 if "red" in p else -1)
        for image, p in zip(images, prompts, strict=True)
    ]


def checks(n: int = 6) -> datasets.Dataset:
    from croc.checks.schema import ContrastCheck, check_features

    sides = [[Image.new("RGB", (8, 8), colour)] for colour in ("red", "blue")]
    rows = [
        ContrastCheck(f"c{i}", f"k{i}", f"red {i}", f"blue {i}", *sides, category="counting").row()
        for i in range(n)
    ]
    return datasets.Dataset.from_list(rows, features=check_features())
