"""Pairs of a true and a false prompt about a scene."""

from __future__ import annotations

from collections import Counter

import pytest

from croc.errors import InputError
from croc_syn import world
from croc_syn.world.contrasts.claims import make_claims
from croc_syn.world.scenes.scene import Scene, Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

DRAWN = [
    (key, seed, world.sample(world.make_pair(key, seed=seed).prompt, seed))
    for seed in range(2)
    for key in sorted(world.CONTRASTS)
]


@pytest.mark.world_tables
@pytest.mark.parametrize(("key", "seed", "scene"), DRAWN, ids=[f"{key}-{seed}" for key, seed, _ in DRAWN])
def test_of_each_claim_one_prompt_is_true_and_the_other_false(key: str, seed: int, scene: Scene) -> None:
    found = make_claims(scene, 12, SeededRandom("test", seed))
    assert found
    for claim in found:
        assert world.satisfies(scene, world.parse(claim.true)), claim
        assert not world.satisfies(scene, world.parse(claim.false)), claim
    assert len({(claim.true, claim.false) for claim in found}) == len(found)


def test_every_contrast_of_the_world_is_claimed_somewhere() -> None:
    seen: Counter[str] = Counter()
    for seed in range(3):
        for key in world.CONTRASTS:
            scene = world.sample(world.make_pair(key, seed=seed).prompt, seed)
            seen.update(claim.about for claim in make_claims(scene, 60, SeededRandom("all", key, seed)))
    # The order of roles is claimed as a part of the relations, which are told either way round.
    assert set(world.CONTRASTS) - set(seen) <= {"role_order"}


def test_claims_depend_on_the_random_stream_alone() -> None:
    scene = DRAWN[0][2]
    assert make_claims(scene, 8, SeededRandom("one")) == make_claims(scene, 8, SeededRandom("one"))
    assert make_claims(scene, 8, SeededRandom("one")) != make_claims(scene, 8, SeededRandom("two"))


def test_no_more_than_asked_for_and_none_of_an_empty_scene() -> None:
    assert len(make_claims(DRAWN[0][2], 3, SeededRandom("few"))) == 3
    assert make_claims(Scene(()), 3, SeededRandom("none")) == []


def test_what_two_things_of_a_kind_differ_in_is_not_claimed_of_both() -> None:
    red = Thing("ball", (0.1, 0.4, 0.3, 0.6), "red")
    blue = Thing("ball", (0.6, 0.4, 0.8, 0.6), "blue")
    said = [
        claim for seed in range(5) for claim in make_claims(Scene((red, blue)), 20, SeededRandom("two", seed))
    ]
    assert said
    assert not any(claim.about == "colour" for claim in said)


def test_claims_differ_in_what_is_asked_for() -> None:
    scene = world.sample("a boat with three sails and a cat with two tails", 3)
    said = make_claims(scene, 6, SeededRandom("parts", 0), about=("thing_part", "body_part"))
    assert len(said) == 6
    assert {claim.about for claim in said} == {"thing_part", "body_part"}
    with pytest.raises(InputError, match="no claim differs in taste; expected colour, size"):
        make_claims(scene, 6, SeededRandom("parts", 0), about=("taste",))


def test_claims_about_numbers_are_mostly_about_several_things() -> None:
    scene = world.sample("five dogs and a cat", 3)
    texts = [
        claim.true
        for seed in range(60)
        for claim in make_claims(scene, 12, SeededRandom("count", seed))
        if claim.about == "count"
    ]
    assert len(texts) > 40
    assert sum("dogs" in text for text in texts) > 0.6 * len(texts)
    assert any("cat" in text for text in texts)


def test_a_wrong_noun_with_a_right_property_is_false() -> None:
    found = [
        claim
        for prompt in ("a red dog in a park", "three striped balls")
        for seed in range(40)
        for claim in make_claims(world.sample(prompt, 3), 12, SeededRandom("kind", seed))
        if claim.about == "entity"
    ]
    red = [claim for claim in found if "red dog" in claim.true]
    assert red and all("red" in claim.false and "dog" not in claim.false for claim in red)
    assert any("three" in claim.false and "ball" not in claim.false for claim in found)
