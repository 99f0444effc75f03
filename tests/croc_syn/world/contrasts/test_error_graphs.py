"""Error graphs: what their images show is certain."""

from __future__ import annotations

import pytest

from croc.errors import InputError
from croc_syn.world import parse, sample, satisfies
from croc_syn.world.contrasts.error_graphs import (
    ERRORS,
    count_errors,
    graph_id,
    make_graph,
    nodes_of,
    sample_node,
)


def test_every_image_satisfies_the_text_of_its_node_alone_and_the_oracle_counts_its_errors() -> None:
    seen: set[str] = set()
    for number in range(8):
        graph = make_graph(0, number)
        seen |= set(graph.kinds)
        assert list(graph.texts) == nodes_of(graph.kinds) and len(graph.texts) == 16
        for node, text in graph.texts.items():
            scene, _ = sample_node(graph, node, number)
            assert [other for other, of in graph.texts.items() if satisfies(scene, of)] == [node]
            assert count_errors(scene, graph.prompt) == len(node)
            assert count_errors(scene, text) == 0
    assert len(seen) >= 5


@pytest.mark.parametrize("statements", [2, 3, 5])
def test_graphs_have_as_many_statements_as_asked_for(statements: int) -> None:
    graph = make_graph(3, 0, statements=statements)
    assert len(graph.kinds) == statements and len(graph.texts) == 2**statements
    assert not {"object", "relation"} <= set(graph.kinds) and set(graph.kinds) <= set(ERRORS)


def test_graphs_depend_on_seed_and_number_alone() -> None:
    assert make_graph(0, 1) == make_graph(0, 1)
    assert len({graph_id(make_graph(seed, number)) for seed in (0, 1) for number in (0, 1, 2)}) == 6


@pytest.mark.parametrize("statements", [1, 6])
def test_too_few_or_many_statements_are_refused(statements: int) -> None:
    with pytest.raises(InputError, match="2 to 5 statements"):
        make_graph(0, 0, statements=statements)


@pytest.mark.parametrize(
    ("shown", "prompt", "errors"),
    [
        ("two red dogs and a cat", "two red dogs and a cat", 0),
        ("three red dogs and a cat", "two red dogs and a cat", 1),
        ("three blue dogs and no cat", "two red dogs and a cat", 3),
        ("two red dogs, by day, at the beach", "two red dogs, at night, at the beach", 1),
        ("a dog to the left of a cat", "a dog to the right of a cat", 1),
        ("a dog and no cat", "a dog to the right of a cat", 1),
    ],
)
def test_errors_are_counted_by_statement(shown: str, prompt: str, errors: int) -> None:
    assert parse(prompt)
    assert count_errors(sample(shown, 0), prompt) == errors
