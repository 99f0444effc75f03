"""The page on the architecture names files and functions that exist, and shows every stage."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
(DIAGRAM,) = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
NODES = dict(re.findall(r'(\w+)\["([^"]+)"\]', DIAGRAM))


@pytest.mark.parametrize("label", NODES.values())
def test_a_node_is_a_function_of_its_file(label: str) -> None:
    file, name = label.split("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert name in defined


def test_the_path_is_connected_from_the_taxonomy_to_the_leaderboard() -> None:
    arrows = re.findall(r"(\w+)(?:\[[^\]]*\])? -->\|[^|]+\| (\w+)", DIAGRAM)
    assert {name for arrow in arrows for name in arrow} == set(NODES)
    reached = {"taxonomy"}
    for _ in NODES:
        reached |= {end for start, end in arrows if start in reached}
    assert reached == set(NODES)


def test_files_that_the_text_names_exist() -> None:
    text = PAGE.replace(DIAGRAM, "")
    named = re.findall(r"`((?:croc|croc_syn|croc_hum|crocscore|builders|hub_cards)/[\w/]+\.py)`", text)
    assert named
    assert not [file for file in named if not (ROOT / file).is_file()]
