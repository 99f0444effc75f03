"""The oracle and the proof of exclusion."""

from __future__ import annotations

import itertools

import pytest

from croc_syn.world import (
    CONTRASTS,
    KINDS,
    RELATIONS,
    PromptError,
    describe,
    exclusive,
    make_pair,
    parse,
    sample,
    satisfaction_score,
    satisfies,
)
from croc_syn.world.scenes.oracle import hidden_share
from croc_syn.world.scenes.scene import Scene, Thing


def at(kind: str, x: float, y: float, size: float = 0.2, colour: str = "red", **more: object) -> Thing:
    """A square-boxed thing around (x, y)."""
    h = size / 2
    return Thing(kind, (x - h, y - h, x + h, y + h), colour, **more)  # type: ignore[arg-type]


def scene(*things: Thing, **more: str) -> Scene:
    return Scene(things, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("relation", "first", "second", "true"),
    [
        # boxes apart by 0.1, level
        ("left of", (0.3, 0.5), (0.6, 0.5), True),
        ("right of", (0.3, 0.5), (0.6, 0.5), False),
        # boxes touch: neither
        ("left of", (0.4, 0.5), (0.6, 0.5), False),
        ("right of", (0.4, 0.5), (0.6, 0.5), False),
        # boxes apart, but as far down as across: neither left nor above
        ("left of", (0.3, 0.2), (0.6, 0.5), False),
        ("above", (0.3, 0.2), (0.6, 0.5), False),
        ("above", (0.5, 0.2), (0.5, 0.6), True),
        ("below", (0.5, 0.2), (0.5, 0.6), False),
        ("below", (0.5, 0.6), (0.5, 0.2), True),
        # gap of 0.05 is near, of 0.15 neither, of 0.4 far
        ("next to", (0.3, 0.5), (0.55, 0.5), True),
        ("next to", (0.3, 0.5), (0.65, 0.5), False),
        ("far from", (0.3, 0.5), (0.65, 0.5), False),
        ("far from", (0.2, 0.5), (0.8, 0.5), True),
    ],
)
def test_relations_have_margins(relation: str, first: tuple, second: tuple, true: bool):
    drawn = scene(at("circle", *first), at("square", *second))
    assert satisfies(drawn, f"a circle {relation} a square") is true


@pytest.mark.parametrize(
    ("size", "word"),
    [(0.12, "small"), (0.18, None), (0.23, "medium-sized"), (0.30, None), (0.4, "large"), (0.5, None)],
)
def test_sizes_are_absolute_ranges_with_gaps_between(size: float, word: str | None):
    drawn = scene(
        at("heart", 0.25, 0.3, size), at("star", 0.75, 0.3, size / 1.5), at("cross", 0.5, 0.8, size * 1.5)
    )
    for name in ("small", "medium-sized", "large"):
        assert satisfies(drawn, f"a {name} heart") is (name == word)
        assert satisfies(drawn, f"a heart that is not {name}") is (name != word)


@pytest.mark.parametrize(
    ("size", "word", "other", "shown"),
    [
        (0.12, "small", None, False),
        (0.12, "small", 0.15, False),
        (0.12, "small", 0.17, True),
        (0.4, "large", 0.3, False),
        (0.4, "large", 0.28, True),
        (0.23, "medium-sized", 0.4, False),
        (0.23, "medium-sized", 0.12, False),
    ],
)
def test_a_size_needs_something_to_compare_with(size: float, word: str, other: float | None, shown: bool):
    things = [at("heart", 0.3, 0.5, size)] + ([at("star", 0.75, 0.5, other)] if other else [])
    assert satisfies(scene(*things), f"a {word} heart") is shown
    assert not satisfies(scene(*things), "a heart that is not " + word)


@pytest.mark.parametrize(("ratio", "larger"), [(1.5, True), (1.3, False), (1.0, False), (0.6, False)])
def test_larger_means_two_fifths_more(ratio: float, larger: bool):
    drawn = scene(at("heart", 0.25, 0.5, 0.2 * ratio), at("star", 0.75, 0.5, 0.2))
    assert satisfies(drawn, "a heart larger than a star") is larger
    assert satisfies(drawn, "a star smaller than a heart") is larger


def test_counts_are_exact_for_kinds_named_and_open_for_others():
    drawn = scene(at("heart", 0.2, 0.2), at("heart", 0.8, 0.8), at("star", 0.2, 0.8))
    assert satisfies(drawn, "two hearts")
    assert satisfies(drawn, "two hearts and a star")
    assert not satisfies(drawn, "a heart")
    assert not satisfies(drawn, "three hearts")
    assert not satisfies(drawn, "two hearts and nothing else")
    assert not satisfies(drawn, "two hearts and no star")
    assert satisfies(drawn, "two hearts and no blue star")
    assert not satisfies(drawn, "two hearts and no red star")


def test_phrases_of_one_kind_need_an_assignment():
    drawn = scene(at("heart", 0.2, 0.5, colour="red"), at("heart", 0.8, 0.5, colour="blue"))
    assert satisfies(drawn, "a blue heart and a heart")
    assert satisfies(drawn, "a red heart to the left of a blue heart")
    assert not satisfies(drawn, "a blue heart to the left of a red heart")
    assert not satisfies(drawn, "two red hearts")
    assert not satisfies(drawn, "a red heart")


def test_inside_needs_the_whole_thing_in_the_inner_region():
    box = at("box", 0.5, 0.5, 0.6)
    assert satisfies(scene(box, at("heart", 0.5, 0.5, 0.2)), "a heart inside a box")
    assert not satisfies(scene(box, at("heart", 0.25, 0.5, 0.2)), "a heart inside a box")
    assert not satisfies(scene(at("heart", 0.5, 0.5, 0.2), box), "a heart inside a box")
    assert satisfies(scene(at("box", 0.3, 0.5, 0.4), at("heart", 0.8, 0.5)), "a heart outside a box")


def test_in_front_needs_a_visible_overlap_that_hides_less_than_half():
    def front(shift: float) -> Scene:
        return scene(at("square", 0.4, 0.5, 0.3), at("square", 0.4 + shift, 0.55, 0.3), at("star", 0.8, 0.1))

    behind, before = front(0.2).things[:2]
    # The squares are 0.3 wide: a shift by 0.2 covers a third of the width and 5/6 of the height.
    assert hidden_share(behind, before) == pytest.approx(1 / 3 * 5 / 6, abs=0.04)
    assert satisfies(
        scene(at("circle", 0.4, 0.5, 0.3), at("square", 0.6, 0.55, 0.3)), "a square in front of a circle"
    )
    assert satisfies(
        scene(at("circle", 0.4, 0.5, 0.3), at("square", 0.6, 0.55, 0.3)), "a circle behind a square"
    )
    assert not satisfies(
        scene(at("square", 0.6, 0.55, 0.3), at("circle", 0.4, 0.5, 0.3)), "a square in front of a circle"
    )
    # Almost wholly hidden, and hardly touched.
    assert not satisfies(
        scene(at("circle", 0.4, 0.5, 0.3), at("square", 0.42, 0.55, 0.3)), "a circle behind a square"
    )
    assert not satisfies(
        scene(at("circle", 0.4, 0.5, 0.3), at("square", 0.69, 0.55, 0.3)), "a circle behind a square"
    )


def test_the_image_as_a_whole_is_judged():
    drawn = scene(at("heart", 0.5, 0.5), setting="park", lighting="night", weather="dry")
    assert satisfies(drawn, "a heart in a park at night")
    assert not satisfies(drawn, "a heart in a park by day")
    assert not satisfies(drawn, "a heart at the beach")
    assert not satisfies(drawn, "a heart in the rain")


def test_a_kind_that_the_background_shows_is_never_certain():
    drawn = scene(at("heart", 0.5, 0.5), setting="space", shows=("star", "circle"))  # type: ignore[arg-type]
    assert not satisfies(drawn, "a heart and no star")
    assert satisfies(drawn, "a heart")


@pytest.mark.parametrize(
    ("layout", "places", "true"),
    [
        ("in a row", [(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)], True),
        ("in a row", [(0.2, 0.5), (0.5, 0.6), (0.8, 0.5)], False),
        ("in a column", [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)], True),
        ("in a diagonal line", [(0.2, 0.2), (0.5, 0.5), (0.8, 0.8)], True),
        ("in a diagonal line", [(0.2, 0.2), (0.5, 0.8), (0.8, 0.5)], False),
        ("in a circle", [(0.5, 0.2), (0.24, 0.65), (0.76, 0.65)], True),
        ("in a circle", [(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)], False),
    ],
)
def test_arrangements(layout: str, places: list, true: bool):
    drawn = scene(*(at("heart", x, y, 0.12) for x, y in places))
    assert satisfies(drawn, f"three hearts {layout}") is true


def test_the_score_is_positive_exactly_where_the_prompt_is_satisfied():
    drawn = scene(at("heart", 0.2, 0.5), at("star", 0.8, 0.5, colour="blue"))
    for prompt in (
        "a red heart",
        "a blue heart",
        "a heart left of a star",
        "two stars",
        "a star and no heart",
    ):
        assert (satisfaction_score(drawn, prompt) > 0) == satisfies(drawn, prompt)
    assert satisfaction_score(drawn, "a red heart and a green star") > satisfaction_score(
        drawn, "a blue heart and two green stars"
    )


EXCLUSIVE = [
    ("a red dog", "a blue dog"),
    ("a dog", "two dogs"),
    ("a dog", "no dog"),
    ("a dog", "a cat and nothing else"),
    ("a dog left of a cat", "a cat left of a dog"),
    ("a dog left of a cat", "a dog above a cat"),
    ("a dog left of a cat and the cat is left of a bird", "a cat, and a bird left of a dog"),
    ("a red dog and a blue cat", "a blue dog and a red cat"),
    ("a red dog and a blue dog", "two red dogs"),
    ("a red dog left of a blue dog", "a blue dog left of a red dog"),
    ("a dog that is red", "a dog that is not red"),
    ("a red dog", "no red dog"),
    ("a dog in a park", "a dog at the beach"),
    ("a dog at night", "a cat by day"),
    ("three dogs in a row", "three dogs in a column"),
    ("a dog inside a box", "a dog outside a box"),
    ("a dog with three legs", "a dog with four legs"),
]
COMPATIBLE = [
    ("a red dog", "a small dog"),
    ("a dog", "a cat"),
    ("a dog and no cat", "a dog and no bird"),
    ("a dog left of a cat", "a dog left of a bird"),
    ("a red dog and a dog", "a blue dog and a dog"),
    ("a red dog and a blue dog", "a blue dog and a dog"),
    ("no red dog", "a blue dog"),
    ("three dogs in a row", "three dogs and three cats in a column"),
    ("a dog larger than a cat", "a dog left of a cat"),
    ("a red dog left of a dog", "a dog left of a red dog"),
]


@pytest.mark.parametrize(("one", "other"), EXCLUSIVE)
def test_exclusion_is_proved(one: str, other: str):
    assert exclusive(parse(one), parse(other))
    assert exclusive(parse(other), parse(one))


@pytest.mark.parametrize(("one", "other"), COMPATIBLE)
def test_exclusion_is_denied_where_one_image_can_show_both(one: str, other: str):
    assert not exclusive(parse(one), parse(other))
    assert not exclusive(parse(other), parse(one))


def test_red_dog_left_of_dog_both_ways_needs_two_red_dogs():
    drawn = scene(at("heart", 0.2, 0.5, colour="red"), at("heart", 0.8, 0.5, colour="red"))
    assert satisfies(drawn, "a red heart left of a heart")
    assert satisfies(drawn, "a heart left of a red heart")


def _prompts() -> list[str]:
    things = ["a red dog", "a blue dog", "a dog", "two dogs", "a red dog and a blue dog", "a small dog"]
    others = ["a cat", "a red cat", "no cat", "no red cat", "two cats"]
    relations = ["left of", "right of", "above", "larger than", "next to", "far from", "in front of"]
    prompts = [*things, *(f"{a} and {b}" for a, b in itertools.product(things, others))]
    prompts += [f"{a} {r} {b}" for a, r, b in itertools.product(things[:3], relations, ["a cat", "a dog"])]
    prompts += [
        "two dogs in a row",
        "two dogs in a column",
        "a dog in a park",
        "a dog on the beach",
        "only a dog",
    ]
    return prompts


def test_a_scene_of_one_prompt_never_satisfies_an_excluded_one():
    prompts = _prompts()
    meanings = {prompt: parse(prompt) for prompt in prompts}
    proved = 0
    for prompt, meaning in meanings.items():
        scenes = [sample(meaning, seed) for seed in range(3)]
        for other in meanings.values():
            if exclusive(meaning, other):
                proved += 1
                assert not any(satisfies(drawn, other) for drawn in scenes), (prompt, other.text)
    assert proved > len(prompts) ** 2 / 4


def test_two_true_descriptions_of_one_scene_never_exclude_each_other():
    keys = sorted(CONTRASTS)
    for seed in range(260):
        drawn = sample(make_pair(keys[seed % len(keys)], seed=seed).prompt, seed)
        texts = [describe(drawn, k, detail=detail) for k, detail in enumerate((1.0, 0.7, 0.4, 0.4))]
        for one, other in itertools.combinations(texts, 2):
            assert not exclusive(parse(one), parse(other)), (one, other)


def test_the_oracle_refuses_what_is_not_controlled_english():
    with pytest.raises(PromptError):
        satisfies(scene(at("heart", 0.5, 0.5)), "a heart colour red")


@pytest.mark.slow
@pytest.mark.world_tables
@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_every_relation_can_be_drawn_between_all_kinds(relation: str):
    words = RELATIONS[relation].words[0]
    for number, (a, b) in enumerate(itertools.permutations(KINDS.values(), 2)):
        holder = a if relation in ("around", "under") else b
        if relation in ("inside", "outside", "around") and holder.inner is None:
            continue
        if relation in ("on", "under") and holder.top is None:
            continue
        meaning = parse(f"a {a.words[0]} {words} a {b.words[0]}")
        assert satisfies(sample(meaning, number), meaning)
