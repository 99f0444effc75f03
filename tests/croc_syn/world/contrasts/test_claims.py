"""Pairs of a true and a false prompt about a scene."""

from __future__ import annotations

from collections import Counter

import pytest

from croc.errors import InputError
from croc_syn import world
from croc_syn.world.contrasts.claims import MIXTURE, Claim, make_claims
from croc_syn.world.contrasts.scene_facts import MAKERS
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
    assert set(seen) == set(MIXTURE) == set(MAKERS)
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
    with pytest.raises(InputError, match="no claim differs in taste; expected count, count_binding"):
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
        if claim.about == "wrong_noun"
    ]
    red = [claim for claim in found if "red dog" in claim.true]
    assert red and all("red" in claim.false and "dog" not in claim.false for claim in red)
    assert any("three" in claim.false and "ball" not in claim.false for claim in found)


def claims_about(about: str, *prompts: str, seeds: int = 40) -> list[Claim]:
    return [
        claim
        for prompt in prompts
        for seed in range(seeds)
        for claim in make_claims(world.sample(prompt, 3), 4, SeededRandom(about, seed), (about,))
    ]


def number_of(text: str) -> int:
    (group,) = world.parse(text).groups
    return group.count


def test_wrong_numbers_are_mostly_one_more_or_one_less_up_to_nine() -> None:
    found = [
        (number_of(claim.true), number_of(claim.false))
        for count in ("three", "six", "eight", "nine")
        for claim in claims_about("count", f"only {count} dogs", seeds=30)
    ]
    differences = Counter(abs(right - wrong) for right, wrong in found)
    assert differences[1] > 0.7 * len(found) and set(differences) == {1, 2, 3}
    assert {right for right, _ in found} == {3, 6, 8, 9} and (9, 8) in found and (8, 9) in found


def test_only_is_false_where_something_is_left_out_or_wrong() -> None:
    found = claims_about("only", "a dog and a cat and nothing else", "three red balls and nothing else")
    assert all("only" in claim.false for claim in found)
    texts = {(claim.true, claim.false) for claim in found}
    assert ("a dog", "only a dog") in texts
    assert any(true.startswith("only") and false in ("only a dog", "only a cat") for true, false in texts)
    assert ("only three balls", "only four balls") in texts


def test_absences_have_several_forms() -> None:
    found = claims_about("negation", "a red dog and a cat in a park")
    meanings = [world.parse(claim.false) for claim in found]
    assert any(len(meaning.absences) == 2 for meaning in meanings)
    assert any(a.attributes for meaning in meanings for a in meaning.absences)
    assert any("that is not" in claim.true + claim.false for claim in found)


def test_of_three_things_one_property_noun_or_number_is_wrong() -> None:
    found = claims_about("three_things", "a red dog, a blue cat, a green box and nothing else")
    changes: Counter[str] = Counter()
    for claim in found:
        right, wrong = (
            {(g.kind, g.count, frozenset(a.value for a in g.attributes)) for g in world.parse(text).groups}
            for text in (claim.true, claim.false)
        )
        assert len(right) == len(wrong) == 3
        kinds = {kind for kind, *_ in wrong} != {kind for kind, *_ in right}
        counts = sorted(count for _, count, _ in right) != sorted(count for _, count, _ in wrong)
        changes["noun" if kinds else "number" if counts else "property"] += 1
    assert min(changes[name] for name in ("noun", "number", "property")) > 10


def test_things_of_a_kind_that_differ_are_told_apart() -> None:
    found = claims_about("distribution", "two red dogs and a blue dog, and nothing else")
    assert {claim.true for claim in found} <= {
        "two red dogs and one blue dog",
        "one blue dog and two red dogs",
    } | {claim.true for claim in found if "red" not in claim.true}
    wrong = {claim.false for claim in found}
    assert "one red dog and two blue dogs" in wrong or "two blue dogs and one red dog" in wrong
    assert wrong & {"three red dogs", "three blue dogs"}


def test_relations_are_about_several_things_too_and_about_wrong_ones() -> None:
    found = claims_about("left_right", "two dogs to the left of three cats, and nothing else")
    assert all("two dogs" in claim.true and "three cats" in claim.true for claim in found)
    assert any("dogs" not in claim.false or "cats" not in claim.false for claim in found)
    assert any("dogs" in claim.false and "cats" in claim.false for claim in found)
