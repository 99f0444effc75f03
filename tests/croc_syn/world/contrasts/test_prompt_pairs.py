"""Contrasts: both prompts drawable, excluding each other, alike but for the property, no side favoured."""

from __future__ import annotations

import pytest

from croc.errors import InputError
from croc_syn.world import (
    CONTRASTS,
    KINDS,
    PLACES,
    TOPICS,
    all_visible,
    exclusive,
    make_pair,
    parse,
    sample,
    satisfies,
)
from croc_syn.world.language.meaning import Meaning

HUM = {
    "action",
    "body_parts",
    "counting",
    "negation",
    "shapes",
    "size_relation",
    "spatial_relation",
    "things_parts",
}
SEEDS = range(14)


def differences(one: Meaning, other: Meaning) -> set[str]:
    """Where two meanings differ: kind, count, a dimension of a thing, layout, link, absence, only, image."""
    found = set()
    if len(one.groups) == len(other.groups):
        for a, b in zip(one.groups, other.groups, strict=True):
            found |= {"kind"} if a.kind != b.kind else set()
            found |= {"count"} if a.count != b.count else set()
            found |= {"layout"} if a.layout != b.layout else set()
            for attribute in set(a.attributes) ^ set(b.attributes):
                found.add(attribute.dimension.split(":")[0])
    else:
        found.add("groups")
    if set(one.links) != set(other.links):
        found.add("link")
    if set(one.absences) != set(other.absences):
        found.add("absence")
    if one.only != other.only:
        found.add("only")
    for attribute in set(one.image) ^ set(other.image):
        found.add(attribute.dimension)
    return found


# What may differ between the two prompts of each contrast.
MAY_DIFFER = {
    "colour": {"colour"},
    "size": {"size"},
    "texture": {"texture"},
    "material": {"material"},
    "shape": {"shape"},
    "count": {"count"},
    "action": {"pose"},
    "body_part": {"part"},
    "thing_part": {"part"},
    "left_right": {"link"},
    "above_below": {"link"},
    "front_behind": {"link"},
    "inside": {"link"},
    "distance": {"link"},
    "size_relation": {"link"},
    "role_order": {"link", "kind"},
    "colour_binding": {"colour"},
    "size_binding": {"size"},
    "texture_binding": {"texture"},
    "count_binding": {"count"},
    "entity": {"kind", "absence"},
    "layout": {"layout"},
    "lighting": {"lighting"},
    "weather": {"weather"},
    "setting": {"setting"},
}


def test_the_eight_human_categories_can_all_be_drawn():
    assert {contrast.category for contrast in CONTRASTS.values()} - {None} == HUM


@pytest.mark.world_tables
@pytest.mark.parametrize("key", sorted(CONTRASTS))
def test_a_pair_excludes_each_other_and_images_show_their_own_side_only(key: str):
    topics = sorted(TOPICS)
    for seed in SEEDS:
        topic = topics[seed * 5 % len(topics)] if seed % 2 else None
        pair = make_pair(key, topic=topic, seed=seed)
        meanings = parse(pair.prompt), parse(pair.contrast_prompt)
        assert exclusive(*meanings)
        assert pair.value != pair.contrast_value
        for mine, other in (meanings, meanings[::-1]):
            scene = sample(mine, seed)
            assert satisfies(scene, mine) and not satisfies(scene, other) and all_visible(scene)


@pytest.mark.world_tables
@pytest.mark.parametrize("key", sorted(CONTRASTS))
def test_a_pair_differs_in_its_property_alone(key: str):
    for seed in range(30):
        pair = make_pair(key, seed=seed)
        found = differences(parse(pair.prompt), parse(pair.contrast_prompt))
        if key == "negation":
            # A thing against its absence, or a property against its denial.
            assert found in ({"groups", "absence"}, {"colour"})
        elif key == "thing_part":
            assert found == {"part"}
        else:
            assert found and found <= MAY_DIFFER[key], pair


@pytest.mark.world_tables
@pytest.mark.parametrize("key", sorted(CONTRASTS))
def test_neither_side_can_be_told_from_the_text(key: str):
    pairs = [make_pair(key, seed=seed) for seed in range(240)]
    longer = sum(
        (len(p.prompt) > len(p.contrast_prompt)) - (len(p.prompt) < len(p.contrast_prompt)) for p in pairs
    )
    later = sum((p.prompt > p.contrast_prompt) - (p.prompt < p.contrast_prompt) for p in pairs)
    # 240 fair coins: the sum of ±1 has a standard deviation of 15.5; 4 of them are 62.
    assert abs(longer) < 62 and abs(later) < 62
    no = sum((" no " in p.prompt) - (" no " in p.contrast_prompt) for p in pairs)
    assert abs(no) < 62


def test_pairs_are_deterministic_and_differ_by_seed():
    assert make_pair("colour", seed=1) == make_pair("colour", seed=1)
    assert len({make_pair("colour", seed=seed).prompt for seed in range(60)}) > 45


@pytest.mark.world_tables
@pytest.mark.parametrize("entity", sorted(KINDS))
def test_every_entity_has_contrasts_and_can_be_placed(entity: str):
    pair = make_pair(None, entity=entity, seed=3)
    assert pair.contrast in CONTRASTS
    words = KINDS[entity].words + KINDS[entity].plurals
    assert any(word in pair.prompt + pair.contrast_prompt for word in words)
    one, two = [topic for topic in TOPICS if entity not in PLACES[TOPICS[topic].place].shows][:2]
    pair = make_pair("setting", entity=entity, topic=one, contrast_topic=two, seed=1)
    assert {pair.value, pair.contrast_value} == {one, two}


@pytest.mark.world_tables
@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_every_topic_has_every_contrast(topic: str):
    for number, key in enumerate(sorted(CONTRASTS)):
        pair = make_pair(key, topic=topic, seed=number)
        for prompt in (pair.prompt, pair.contrast_prompt):
            sample(prompt, 1)


def test_a_topic_stands_in_the_prompt_of_its_pairs():
    pair = make_pair("colour", topic="beach", seed=5)
    assert any(word in pair.prompt for word in PLACES["beach"].words)
    assert any(word in pair.contrast_prompt for word in PLACES["beach"].words)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"contrast": "colours"}, "no contrast 'colours'"),
        ({"contrast": "colour", "entity": "dragon"}, "no entity 'dragon'"),
        ({"contrast": "colour", "topic": "mars"}, "no topic 'mars'"),
        ({"contrast": "action", "entity": "apple"}, "does not apply to 'apple'"),
        (
            {"contrast": "colour", "topic": "park", "contrast_topic": "beach"},
            "needs the contrast 'setting'",
        ),
        ({"contrast": "setting", "topic": "park", "contrast_topic": "park"}, "the same place"),
        (
            {"contrast": "setting", "topic": "forest", "contrast_topic": "park", "entity": "tree"},
            "cannot be counted",
        ),
    ],
)
def test_what_cannot_be_contrasted_is_an_input_error(arguments: dict, said: str):
    with pytest.raises(InputError, match=said):
        make_pair(**arguments, seed=0)


@pytest.mark.slow
@pytest.mark.world_tables
@pytest.mark.parametrize("key", sorted(CONTRASTS))
def test_thousands_of_pairs_can_be_drawn(key: str):
    topics = [None, *sorted(TOPICS)]
    for seed in range(1200):
        pair = make_pair(key, topic=topics[seed % len(topics)], seed=seed)
        one, other = parse(pair.prompt), parse(pair.contrast_prompt)
        for mine, theirs in ((one, other), (other, one)):
            scene = sample(mine, seed)
            assert satisfies(scene, mine) and not satisfies(scene, theirs)
