"""The recipes for contributors work: their changes apply to the code as it is, and their commands succeed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import copy_checkout

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "docs" / "contributing").glob("add_*.md"))
PROGRAMS = {".venv/bin/python": [sys.executable], ".venv/bin/croc": [sys.executable, "-m", "croc"]}


def code_blocks(page: Path, language: str) -> str:
    return "".join(re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL))


def apply_changes(page: Path, tree: Path, *options: str) -> None:
    """Apply a page's changes; one line of context before and after each has to be as the page shows it."""
    command = ["git", "apply", "-C1", *options, "-"]
    done = subprocess.run(command, input=code_blocks(page, "diff"), cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, f"change the diff of {page.name}: {done.stderr}"


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_the_changes_of_a_recipe_apply_to_the_code_as_it_is(page: Path) -> None:
    assert code_blocks(page, "diff")
    apply_changes(page, ROOT, "--check")


@pytest.mark.slow
@pytest.mark.spread
@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)
def test_the_commands_of_a_recipe_succeed_after_its_changes(page: Path, tmp_path: Path) -> None:
    if "tests/spaces" in code_blocks(page, "console"):
        pytest.importorskip("gradio", reason="needs croc-t2i[space]")
    tree = tmp_path / "tree"
    copy_checkout(tree)
    (tree / "build").mkdir()
    apply_changes(page, tree)
    lines = [line[2:] for line in code_blocks(page, "console").splitlines() if line.startswith("$ ")]
    assert any(" -m pytest " in line for line in lines)
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    for line in lines:
        program, *words = shlex.split(line)
        command = [*PROGRAMS[program], *words]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"


def test_a_change_that_does_not_fit_the_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("one\ntwo\n", "utf-8")
    page = tmp_path / "page.md"
    for context, fits in (("one", True), ("three", False)):
        page.write_text(
            f"```diff\n--- a/file.py\n+++ b/file.py\n@@ -1,2 +1,3 @@\n {context}\n+new\n two\n```\n"
        )
        if fits:
            apply_changes(page, tmp_path, "--check")
        else:
            with pytest.raises(AssertionError, match=r"change the diff of page\.md"):
                apply_changes(page, tmp_path, "--check")
