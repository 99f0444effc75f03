"""Claims about several things: relations, and which thing has which property."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from types import MappingProxyType

from croc_syn.world.contrasts.prompt_pairs import Context, stateable
from croc_syn.world.contrasts.scene_facts import (
    LARGEST_NUMBER,
    Maker,
    Phrases,
    SceneFacts,
    claim,
    common_value,
)
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.language.realisation import (
    adjective_phrase,
    counted_phrase,
    noun_phrase,
    pose_phrase,
    relation_words,
    with_article,
)
from croc_syn.world.scenes.oracle import RELATION_TESTS

_OPPOSITES: Mapping[str, str] = MappingProxyType(
    {
        "left_of": "right_of",
        "above": "below",
        "in_front_of": "behind",
        "larger": "smaller",
        "inside": "outside",
        "near": "far",
        "far": "near",
    }
)
"""For each relation that a claim may state, the relation of its false prompt."""


def _relation(relations: tuple[str, ...], *, of_one: bool = False) -> Maker:
    """Claims about two kinds; ``of_one`` takes kinds with one thing alone."""

    def make(facts: SceneFacts) -> Phrases | None:
        members: dict[str, list[int]] = {}
        for number, thing in enumerate(facts.scene.things):
            members.setdefault(thing.kind, []).append(number)
        kinds = [k for k, n in facts.counts.items() if n == 1 or (not of_one and n <= LARGEST_NUMBER)]
        for first in facts.rng.shuffled(kinds):
            for second in facts.rng.shuffled(kinds):
                if first == second:
                    continue
                a, b = members[first], members[second]
                true = [name for name in relations if RELATION_TESTS[name](facts.scene, a, b)]
                if true:
                    return _relation_phrases(facts, first, second, facts.rng.choice(true))
        return None

    return make


def _relation_phrases(facts: SceneFacts, first: str, second: str, relation: str) -> Phrases:
    one, two = (_counted(facts, kind) for kind in (first, second))
    variant = facts.rng.integer(3)
    right, wrong = relation_words(relation, variant), relation_words(_OPPOSITES[relation], variant)
    reversible = relation in ("left_of", "above", "in_front_of", "larger")
    if facts.rng.random() < 0.2:
        # The relation is right, and one of the two is not in the image.
        other = counted_phrase(facts.choose_absent(first), facts.counts[first])
        phrases = (f"{one} {right} {two}", f"{other} {right} {two}")
        return facts.frame(first, phrases, facts.counts[first] == 1)
    if reversible and facts.rng.random() < 0.5:
        one, two, right, wrong, first = two, one, wrong, right, second
    if reversible and facts.rng.random() < 0.3:
        phrases = (f"{one} {right} {two}", f"{two} {right} {one}")
    else:
        phrases = (f"{one} {right} {two}", f"{one} {wrong} {two}")
    return facts.frame(first, phrases, facts.counts[first] == 1)


def _counted(facts: SceneFacts, kind: str) -> str:
    """All things of a kind: "a dog", "two dogs"."""
    count = facts.counts[kind]
    return noun_phrase(KINDS[kind]) if count == 1 else counted_phrase(KINDS[kind], count)


claim("left_right")(_relation(("left_of",)))
claim("above_below")(_relation(("above",)))
claim("front_behind")(_relation(("in_front_of",), of_one=True))
claim("inside")(_relation(("inside",), of_one=True))
claim("distance")(_relation(("near", "far")))
claim("size_relation")(_relation(("larger",)))


def _binding(dimension: str) -> Maker:
    def make(facts: SceneFacts) -> Phrases | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        if len(facts.single) < 2:
            return None
        first, second = facts.rng.shuffled(facts.single)[:2]
        kind, other = KINDS[first.kind], KINDS[second.kind]
        options = [v for v in stateable(dimension, kind) if v in stateable(dimension, other)]
        one, two = (common_value([thing], dimension, options) for thing in (first, second))
        if one is None or two is None or one == two:
            return None

        def phrase(value: str, other_value: str) -> str:
            first_thing = adjective_phrase(kind, values[value], 0)
            return f"{first_thing} and {adjective_phrase(other, values[other_value], 0)}"

        return facts.frame(kind.id, (phrase(one, two), phrase(two, one)))

    return make


claim("colour_binding")(_binding("colour"))
claim("size_binding")(_binding("size"))
claim("texture_binding")(_binding("texture"))


@claim("action_binding")
def _action_binding(facts: SceneFacts) -> Phrases | None:
    """Which of two things does what: "a sitting dog and a running cat"."""
    able = [thing for thing in facts.single if len(KINDS[thing.kind].poses) > 1]
    if len(able) < 2:
        return None
    first, second = facts.rng.shuffled(able)[:2]
    kind, other = KINDS[first.kind], KINDS[second.kind]
    shared = {pose.id for pose in kind.poses} & {pose.id for pose in other.poses}
    if first.pose == second.pose or not {first.pose, second.pose} <= shared:
        return None
    before, variant = facts.rng.random() < 0.5, facts.rng.integer(4)

    def one(kind: Kind, pose: str) -> str:
        if before:
            word = next(declared.words[0] for declared in kind.poses if declared.id == pose)
            return with_article(f"{word} {kind.words[0]}")
        return pose_phrase(kind, pose, variant)

    phrases = [f"{one(kind, a)} and {one(other, b)}" for a, b in permutations((first.pose, second.pose))]
    return facts.frame(kind.id, (phrases[0], phrases[1]))


@claim("relation_of_alike")
def _relation_of_alike(facts: SceneFacts) -> Phrases | None:
    """Two things of one kind, told apart by their colours: "a red boat to the left of a yellow boat"."""
    members = [n for n, thing in enumerate(facts.scene.things) if facts.counts[thing.kind] == 2]
    kinds = list(dict.fromkeys(facts.scene.things[n].kind for n in members))
    for kind in facts.rng.shuffled(kinds):
        a, b = facts.rng.shuffled([n for n in members if facts.scene.things[n].kind == kind])
        one, two = (facts.scene.things[n].colour for n in (a, b))
        if one == two or not {one, two} <= set(stateable("colour", KINDS[kind])):
            continue
        true = [name for name in ("left_of", "above") if RELATION_TESTS[name](facts.scene, [a], [b])]
        if true:
            words = relation_words(true[0], facts.rng.integer(3))
            texts = [adjective_phrase(KINDS[kind], lexicon.COLOURS[value], 0) for value in (one, two)]
            return facts.frame(kind, (f"{texts[0]} {words} {texts[1]}", f"{texts[1]} {words} {texts[0]}"))
    return None


@claim("count_binding")
def _count_binding(facts: SceneFacts) -> Phrases | None:
    options = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    pairs = [(a, b) for a in options for b in options if facts.counts[a] != facts.counts[b]]
    if not pairs:
        return None
    a, b = facts.rng.choice(pairs)
    m, n = facts.counts[a], facts.counts[b]

    def phrase(first: int, second: int) -> str:
        return f"{counted_phrase(KINDS[a], first)} and {counted_phrase(KINDS[b], second)}"

    return Context(KINDS[a], "", facts.rng).frame((phrase(m, n), phrase(n, m)), (m == 1, n == 1))


@claim("distribution")
def _distribution(facts: SceneFacts) -> Phrases | None:
    """Things of one kind that differ: "two dogs, one red and one blue"."""
    dimensions = ("colour", "colour", "pose", "texture")
    kinds = [kind for kind, count in facts.counts.items() if 2 <= count <= LARGEST_NUMBER]
    for kind in facts.rng.shuffled(kinds):
        dimension = facts.rng.choice(dimensions)
        values = Counter(getattr(thing, dimension) for thing in facts.things[kind])
        if not 2 <= len(values) <= 3 or values.keys() & {"", *lexicon.UNMARKED}:
            continue
        true = list(values.items())
        wrong = list(true)
        change = facts.rng.random()
        (value, count), (other, other_count) = true[:2]
        if count != other_count and change < 0.4:
            wrong[:2] = [(value, other_count), (other, count)]
        elif change < 0.6:
            wrong = [(value, sum(values.values()))]
        else:
            known = [pose.id for pose in KINDS[kind].poses]
            options = known if dimension == "pose" else stateable(dimension, KINDS[kind])
            options = [v for v in options if v not in values]
            if not options:
                continue
            wrong[0] = (facts.rng.choice(options), count)

        def phrase(parts: Sequence[tuple[str, int]], kind: str = kind, dimension: str = dimension) -> str:
            texts = [_with_value(KINDS[kind], n, dimension, value) for value, n in parts]
            return ", ".join(texts[:-1]) + " and " + texts[-1] if len(texts) > 1 else texts[0]

        return phrase(true), phrase(wrong)
    return None


def _with_value(kind: Kind, count: int, dimension: str, value: str) -> str:
    """Some things with a value: "two red dogs", "one dog running"."""
    if dimension == "pose":
        word = next(pose.words[0] for pose in kind.poses if pose.id == value)
        return f"{counted_phrase(kind, count)} {word}"
    return counted_phrase(kind, count, lexicon.THING_DIMENSIONS[dimension][value].words[0])


@claim("three_things")
def _three_things(facts: SceneFacts) -> Phrases | None:
    """Three kinds with a property each, of which the false prompt has one wrong."""
    kinds = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    if len(kinds) < 3:
        return None
    dimensions = ("colour", "colour", "colour", "size", "texture", "")
    chosen: list[tuple[Kind, int, str]] = []
    dimension = facts.rng.choice(dimensions)
    for kind in facts.rng.shuffled(kinds)[:3]:
        values = stateable(dimension, KINDS[kind]) if dimension else []
        value = common_value(facts.things[kind], dimension, values) if dimension else None
        word = lexicon.THING_DIMENSIONS[dimension][value].words[0] if value else ""
        chosen.append((KINDS[kind], facts.counts[kind], word))
    wrong = list(chosen)
    place = facts.rng.integer(3)
    kind_, count, word = chosen[place]
    other = chosen[(place + 1) % 3]
    change = facts.rng.random()
    if word and other[2] and word != other[2] and change < 0.5:
        wrong[place], wrong[(place + 1) % 3] = (kind_, count, other[2]), (*other[:2], word)
    elif change < 0.75:
        wrong[place] = (facts.choose_absent(kind_.id), count, word)
    else:
        more = count == 1 or (count < LARGEST_NUMBER and facts.rng.random() < 0.5)
        wrong[place] = (kind_, count + 1 if more else count - 1, word)

    def phrase(things: Sequence[tuple[Kind, int, str]]) -> str:
        texts = [
            counted_phrase(kind, n, word) if n > 1 else with_article(f"{word} {kind.words[0]}".strip())
            for kind, n, word in things
        ]
        return f"{texts[0]}, {texts[1]} and {texts[2]}"

    return phrase(chosen), phrase(wrong)
