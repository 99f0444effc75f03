"""What is left out of a pretraining is in no pair of prompts that stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from croc.errors import InputError
from croc_syn import world
from croc_syn.world.contrasts.claims import Claim, make_claims
from croc_syn.world.scenes.seeded_random import SeededRandom
from crocscore.experiments.held_out_pretraining import differences
from crocscore.pretraining.batches import COMPOUND, with_compound


@pytest.fixture(scope="module")
def claims() -> list[Claim]:
    found = []
    for seed in range(3):
        for key in sorted(world.CONTRASTS):
            scene = world.sample(world.make_pair(key, seed=seed).prompt, seed)
            found += make_claims(scene, 60, SeededRandom("left out", key, seed))
    return found


Facts = dict[Any, Any]
"""What a prompt says, by what it says it of."""


def numbers(meaning: Any) -> Facts:
    return {(group.kind, group.attributes): group.count for group in meaning.groups}


def values(dimension: str) -> Callable[[Any], Facts]:
    """The values of a dimension by kind, denied ones among them."""

    def read(meaning: Any) -> Facts:
        found: Facts = {}
        for thing in (*meaning.groups, *meaning.absences):
            named = [(each.dimension, each.value) for each in thing.attributes]
            found.setdefault(thing.kind, []).extend(
                each for each in named if each[0].partition(":")[0] == dimension
            )
        return {kind: sorted(named) for kind, named in found.items()}

    return read


def relations(meaning: Any) -> Facts:
    things = [(group.kind, group.attributes) for group in meaning.groups]
    links = [link for link in meaning.links if link.relation not in ("larger", "smaller")]
    return {"relations": sorted((link.relation, things[link.a], things[link.b]) for link in links)}


READ: dict[str, Callable[[Any], Facts]] = {
    "counting": numbers,
    "colour": values("colour"),
    "action": values("pose"),
    "body_parts": values("part"),
    "spatial_relation": relations,
}


def differs(claim: Claim, category: str) -> bool:
    """Whether the prompts say different things of what both name."""
    true, false = (READ[category](world.parse(text)) for text in (claim.true, claim.false))
    return any(true[name] != false[name] for name in true.keys() & false.keys())


@pytest.mark.world_tables
@pytest.mark.parametrize("category", READ)
def test_no_pair_that_stays_differs_in_what_is_left_out(claims: list[Claim], category: str) -> None:
    out = with_compound(set(differences([category], sorted({claim.about for claim in claims}))))
    kept = [claim for claim in claims if claim.about not in out]
    assert len(kept) > 500
    # Parts of things are read with those of bodies.
    bad = [claim for claim in kept if claim.about != "thing_part" and differs(claim, category)]
    assert not bad, bad[:5]


@pytest.mark.world_tables
def test_each_compound_pair_does_differ_in_something_else_at_times(claims: list[Claim]) -> None:
    found = {claim.about for claim in claims for category in READ if differs(claim, category)}
    assert found >= set(COMPOUND)


def test_a_category_or_any_name_of_a_pair_can_be_left_out() -> None:
    known = ["only", "three_things", "texture", "count", "distribution"]
    assert differences(["counting", "texture"], known) == ["count", "texture"]  # of those that there are
    assert differences([], known) == []
    assert with_compound({"texture"}) == {"texture", "beside_presence", "distribution"}
    assert with_compound({"size"}) == {"size", "beside_absence"}
    assert with_compound(set()) == set()
    with pytest.raises(InputError, match="differs in 'taste'"):
        differences(["taste"], known)
