"""Checks, questions and recipes for trainings that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from builders.syn import build_exact
from builders.train import build_train

QUICK = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 0.01,
    "gradient_checkpointing": False,
    "report_to": "none",
    "logging_steps": 1,
    "save_steps": 2,
    "bf16": False,
    "use_cpu": True,
    "disable_tqdm": True,
    "seed": 0,
}


def checks_and_questions(work: Path, *, checks: int = 16, **options: Any) -> tuple[Path, Path]:
    """A folder of checks with three splits, and one of the questions made from it."""
    splits = {"train": 0.7, "validation": 0.2, "test": 0.1}
    given = {"images": 1, "size": 48, "splits": splits, "progress": False, **options}
    syn = build_exact(work / "syn", checks=checks, **given)
    return syn.out, build_train(syn.out, work / "questions", progress=False).out


def written(path: Path, **recipe: Any) -> list[str]:
    """Write a recipe of few steps beside ``path``; gives the words that name it."""
    merged = QUICK | {"output_dir": str(path.parent / "out")} | recipe
    path.write_text(yaml.safe_dump({k: str(v) if isinstance(v, Path) else v for k, v in merged.items()}))
    return ["--config", str(path)]
