"""The registry of kinds: its order, which random choices depend on."""

from __future__ import annotations

from itertools import groupby

from croc_syn.world import KINDS, PLACES, TOPICS


def test_kinds_are_in_the_order_of_their_files():
    files = [name for name, _ in groupby(kind.draw.__module__.rpartition(".")[2] for kind in KINDS.values())]
    assert files == ["pets", "food", "furniture", "people", "shapes", "things", "vehicles", "animals"]
    assert list(KINDS)[:3] == ["dog", "cat", "apple"] and list(KINDS)[-1] == "snail"


def test_every_topic_has_a_place_and_kinds_name_places_that_exist():
    assert set(TOPICS) == set(PLACES) - {"plain"}
    assert {place for kind in KINDS.values() for place in kind.where} <= set(PLACES)
