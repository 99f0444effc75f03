"""A copy of the checkout, as somebody has it who has just cloned it."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOT_CLONED = {".git", ".venv", ".mypy_cache", "build", "dist", "demo-out", "runs"}


def copy_checkout(tree: Path) -> None:
    """Copy the files of the project to a folder that does not exist yet."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {
            name for name in names if name == "__pycache__" or (Path(folder) == ROOT and name in _NOT_CLONED)
        }

    shutil.copytree(ROOT, tree, ignore=left_out)
