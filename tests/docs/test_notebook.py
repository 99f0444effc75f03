"""The notebook runs from its first cell to its last in a kernel of its own, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel, of the extra dev")
pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    few = "assert not [score for score in report.scores if score.group and score.of_few_checks]"
    notebook.cells.append(nbformat.v4.new_code_cell(few))
    return nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()


def shown(notebook: Any) -> list[tuple[str, int]]:
    """Per code cell what it prints, and how many images it shows."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            text = "".join(out.text for out in cell.outputs if out.get("name") == "stdout")
            images = sum("image/png" in out.get("data", {}) for out in cell.outputs)
            found.append((text, images))
    return found


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


def test_it_shows_checks_a_ranking_a_plot_and_the_scores_of_an_image(executed: Any) -> None:
    _, (checks, both), _, (ranking, _), (_, plot), (own, image), _ = shown(executed)
    assert re.search(r"^352 checks; this one differs in \w+$", checks, re.MULTILINE)
    assert both == 2
    names = [line.split()[0] for line in ranking.splitlines() if not line.startswith("-")]
    assert names[0] == "crocscore-tiny"
    assert set(names) == {"crocscore-tiny", "colour-words", "random"}
    assert plot == image == 1
    right, wrong = (float(line.split()[0]) for line in own.splitlines())
    assert right > 0 > wrong
