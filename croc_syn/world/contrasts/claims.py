"""Claims about a scene: pairs of a true and a false prompt that differ in one property.

Prompt pairs (:mod:`croc_syn.world.contrasts.prompt_pairs`) come first and are then drawn; claims are about a
scene that exists already, in the same controlled English. One image gives dozens of them, for a model that
learns to read images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from croc.errors import InputError
from croc_syn.world.contrasts.prompt_pairs import Context, stateable
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.language.realisation import (
    adjective_phrase,
    counted_phrase,
    denial_phrases,
    exclusion_phrases,
    layout_phrase,
    negation_phrases,
    noun_phrase,
    part_phrase,
    pose_phrase,
    relation_words,
)
from croc_syn.world.scenes.oracle import RELATION_TESTS, has_attribute, is_arranged, is_visible, satisfies
from croc_syn.world.scenes.scene import Scene, Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

LARGEST_NUMBER = 9
"""The largest number of the controlled English."""

_OPPOSITES = {
    "left_of": "right_of",
    "above": "below",
    "in_front_of": "behind",
    "larger": "smaller",
    "inside": "outside",
    "near": "far",
    "far": "near",
}
"""For each relation that a claim may state, the relation of its false prompt."""

Phrases = tuple[str, str]
"""A true prompt or noun phrase, and a false one."""


@dataclass(frozen=True)
class Claim:
    """Two prompts of which one is true of a scene.

    Attributes:
        true, false: the prompts.
        about: what they differ in, mostly a key of ``CONTRASTS``.
    """

    true: str
    false: str
    about: str


class _SceneFacts:
    """A scene, prepared for the functions that make claims."""

    def __init__(self, scene: Scene, rng: SeededRandom) -> None:
        self.scene, self.rng = scene, rng
        things = [thing for thing in scene.things if thing.kind not in scene.shows]
        self.counts = Counter(thing.kind for thing in things)
        self.things = {kind: [thing for thing in things if thing.kind == kind] for kind in self.counts}
        self.single = [alike[0] for alike in self.things.values() if len(alike) == 1]
        self.absent = [kind for kind in KINDS if kind not in self.counts and kind not in scene.shows]

    def choose_single(self, fits: Callable[[Kind], bool] = lambda kind: True) -> Thing | None:
        """A thing that is the only one of its kind."""
        options = [thing for thing in self.single if fits(KINDS[thing.kind])]
        return self.rng.choice(options) if options else None

    def choose_other(self, options: list[str], value: str) -> str:
        """Another value than the given one."""
        return self.rng.choice([option for option in options if option != value])

    def choose_absent(self, kind: str) -> Kind:
        """A kind that is not in the scene; half of the time one of the same group as ``kind``."""
        similar = [other for other in self.absent if KINDS[other].group == KINDS[kind].group]
        return KINDS[self.rng.choice(similar if similar and self.rng.random() < 0.5 else self.absent)]

    def frame(self, kind: str, phrases: Phrases, singular: bool = True) -> Phrases:
        """Put both noun phrases into one sentence frame, sometimes with the place."""
        place = self.rng.choice(PLACES[self.scene.setting].words) if self.rng.random() < 0.4 else ""
        return Context(KINDS[kind], place, self.rng).frame(phrases, (singular, singular))


Maker = Callable[[_SceneFacts], Phrases | None]
_MAKERS: dict[str, Maker] = {}


def _claim(about: str) -> Callable[[Maker], Maker]:
    """Declare what claims differ in above the function that makes their prompts."""

    def register(make: Maker) -> Maker:
        _MAKERS[about] = make
        return make

    return register


def make_claims(scene: Scene, number: int, rng: SeededRandom, about: Collection[str] = ()) -> list[Claim]:
    """Make true and false prompts about a scene.

    Args:
        scene: the scene.
        number: how many claims at most; everything in ``about`` has its turn before anything is repeated.
        rng: chooses the things, values and words.
        about: what they may differ in; empty allows everything.

    Returns:
        Distinct claims; the oracle has confirmed that ``true`` is true of the scene and ``false`` is not.

    Raises:
        InputError: no claim can differ in one of these.
    """
    if unknown := sorted(set(about) - set(_MAKERS)):
        raise InputError(f"no claim differs in {', '.join(unknown)}; expected {', '.join(_MAKERS)}")
    makers = [name for name in _MAKERS if not about or name in about]
    facts = _SceneFacts(scene, rng)
    claims: dict[Phrases, Claim] = {}
    for turn in range(number if about else 4):
        for name in rng.shuffled(makers):
            if len(claims) >= number:
                return list(claims.values())
            prompts = _MAKERS[name](facts)
            if prompts is None or prompts[0] == prompts[1] or prompts in claims:
                continue
            if satisfies(scene, prompts[0]) and not satisfies(scene, prompts[1]):
                claims[prompts] = Claim(*prompts, name)
        if turn and not claims:
            break
    return list(claims.values())


# Properties of a thing


def _adjective(dimension: str, fits: Callable[[Kind], bool] = lambda kind: True) -> Maker:
    def make(facts: _SceneFacts) -> Phrases | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        kind = facts.rng.choice(list(facts.counts)) if facts.counts else None
        if kind is None or not fits(KINDS[kind]):
            return None
        options = stateable(dimension, KINDS[kind])
        if len(options) < 2:
            return None
        things = facts.things[kind]
        value = _common_value(things, dimension, options)
        if value is None:
            return None
        wrong = facts.choose_other(options, value)
        position = facts.rng.integer(3)
        if len(things) == 1:
            phrases = (
                adjective_phrase(KINDS[kind], values[value], position),
                adjective_phrase(KINDS[kind], values[wrong], position),
            )
        elif len(things) <= LARGEST_NUMBER:
            phrases = (
                counted_phrase(KINDS[kind], len(things), values[value].words[0]),
                counted_phrase(KINDS[kind], len(things), values[wrong].words[0]),
            )
        else:
            return None
        return facts.frame(kind, phrases, len(things) == 1)

    return make


def _common_value(things: list[Thing], dimension: str, options: list[str]) -> str | None:
    """The value that all of the things have, if it is one of the options."""
    return next(
        (v for v in options if all(has_attribute(thing, Attribute(dimension, v)) for thing in things)), None
    )


_claim("colour")(_adjective("colour"))
_claim("size")(_adjective("size"))
_claim("texture")(_adjective("texture", lambda kind: kind.surface))
_claim("material")(_adjective("material", lambda kind: kind.surface))
_claim("shape")(_adjective("shape", lambda kind: len(kind.shapes) > 1))


@_claim("count")
def _count(facts: _SceneFacts) -> Phrases | None:
    options = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    if not options:
        return None
    # Most things are the only one of their kind; a model that sees these alone learns to answer "one".
    several = [kind for kind in options if facts.counts[kind] > 1]
    kind = facts.rng.choice(several if several and facts.rng.random() < 0.75 else options)
    count = facts.counts[kind]
    near = [n for n in range(max(1, count - 2), min(LARGEST_NUMBER, count + 2) + 1) if n != count]
    wrong = facts.rng.choice(near)

    def phrase(n: int) -> str:
        if n == 1 and facts.rng.random() < 0.4:
            return noun_phrase(KINDS[kind])
        return counted_phrase(KINDS[kind], n)

    return Context(KINDS[kind], "", facts.rng).frame((phrase(count), phrase(wrong)), (count == 1, wrong == 1))


@_claim("action")
def _action(facts: _SceneFacts) -> Phrases | None:
    thing = facts.choose_single(lambda kind: len(kind.poses) > 1)
    if thing is None:
        return None
    kind = KINDS[thing.kind]
    wrong = facts.choose_other([pose.id for pose in kind.poses], thing.pose)
    variant = facts.rng.integer(4)
    return facts.frame(kind.id, (pose_phrase(kind, thing.pose, variant), pose_phrase(kind, wrong, variant)))


def _parts(body: bool) -> Maker:
    def make(facts: _SceneFacts) -> Phrases | None:
        options = [
            (thing, part)
            for thing in facts.single
            for part in KINDS[thing.kind].parts
            if part.body == body and is_visible(thing, f"part:{part.word}")
        ]
        if not options:
            return None
        thing, part = facts.rng.choice(options)
        kind, count = KINDS[thing.kind], dict(thing.parts)[part.word]
        wrong = facts.rng.choice([n for n in range(part.low, part.high + 1) if n != count])
        return facts.frame(kind.id, (part_phrase(kind, part, count), part_phrase(kind, part, wrong)))

    return make


_claim("body_part")(_parts(True))
_claim("thing_part")(_parts(False))


# Presence and absence


@_claim("negation")
def _negation(facts: _SceneFacts) -> Phrases | None:
    thing = facts.choose_single()
    if thing is None:
        return None
    kind = KINDS[thing.kind]
    if facts.rng.random() < 0.25:
        same = facts.rng.random() < 0.5
        colours = stateable("colour", kind)
        colour = (
            thing.colour if same and thing.colour in colours else facts.choose_other(colours, thing.colour)
        )
        first, second = denial_phrases(kind, colour)
        first_is_true = colour == thing.colour
    else:
        others = [other for other in facts.single if other is not thing]
        first_is_true = bool(others) and facts.rng.random() < 0.5
        other = KINDS[facts.rng.choice(others).kind] if first_is_true else facts.choose_absent(thing.kind)
        first, second = facts.rng.choice(negation_phrases(kind, other))
    return facts.frame(kind.id, (first, second) if first_is_true else (second, first))


@_claim("presence")
def _presence(facts: _SceneFacts) -> Phrases | None:
    thing = facts.choose_single()
    if thing is None:
        return None
    kind, other = KINDS[thing.kind], facts.choose_absent(thing.kind)
    if facts.rng.random() < 0.3:
        return facts.frame(kind.id, (f"no {other.words[0]}", f"no {kind.words[0]}"))
    return facts.frame(kind.id, (noun_phrase(kind), noun_phrase(other)))


@_claim("entity")
def _entity(facts: _SceneFacts) -> Phrases | None:
    if facts.counts and facts.rng.random() < 0.6:
        return _wrong_noun(facts, facts.rng.choice(list(facts.counts)))
    thing = facts.choose_single()
    if thing is None:
        return None
    kind, other = KINDS[thing.kind], facts.choose_absent(thing.kind)
    return facts.frame(kind.id, exclusion_phrases(kind, other, nothing_else=facts.rng.random() >= 0.5))


def _wrong_noun(facts: _SceneFacts, kind: str) -> Phrases | None:
    """A property that is right with a noun that is wrong: "a red cat" for a red dog."""
    things, other = facts.things[kind], facts.choose_absent(kind)
    if len(things) > LARGEST_NUMBER:
        return None
    options = [
        (values[value], position)
        for dimension, values in lexicon.THING_DIMENSIONS.items()
        for value in values
        if value in stateable(dimension, KINDS[kind]) and value in stateable(dimension, other)
        for position in range(3)
        if all(has_attribute(thing, Attribute(dimension, value)) for thing in things)
    ]
    if not options:
        return None
    value, position = facts.rng.choice(options)
    if len(things) == 1:
        phrases = adjective_phrase(KINDS[kind], value, position), adjective_phrase(other, value, position)
    else:
        word = value.words[0] if facts.rng.random() < 0.5 else ""
        count = len(things)
        phrases = counted_phrase(KINDS[kind], count, word), counted_phrase(other, count, word)
    return facts.frame(kind, phrases, len(things) == 1)


# Two things


def _relation(relations: tuple[str, ...]) -> Maker:
    def make(facts: _SceneFacts) -> Phrases | None:
        things = facts.scene.things
        for first in facts.rng.shuffled(facts.single):
            for second in facts.rng.shuffled(facts.single):
                if first is second:
                    continue
                i, j = things.index(first), things.index(second)
                true = [name for name in relations if RELATION_TESTS[name](facts.scene, (i,), (j,))]
                if true:
                    return _relation_phrases(facts, first, second, facts.rng.choice(true))
        return None

    return make


def _relation_phrases(facts: _SceneFacts, first: Thing, second: Thing, relation: str) -> Phrases:
    one, two = noun_phrase(KINDS[first.kind]), noun_phrase(KINDS[second.kind])
    variant = facts.rng.integer(3)
    right, wrong = relation_words(relation, variant), relation_words(_OPPOSITES[relation], variant)
    reversible = relation in ("left_of", "above", "in_front_of", "larger")
    if reversible and facts.rng.random() < 0.5:
        one, two, right, wrong = two, one, wrong, right
    if reversible and facts.rng.random() < 0.3:
        phrases = (f"{one} {right} {two}", f"{two} {right} {one}")
    elif facts.rng.random() < 0.33:
        phrases = (f"{one} that is {right} {two}", f"{one} that is {wrong} {two}")
    else:
        phrases = (f"{one} {right} {two}", f"{one} {wrong} {two}")
    return facts.frame(first.kind, phrases)


_claim("left_right")(_relation(("left_of",)))
_claim("above_below")(_relation(("above",)))
_claim("front_behind")(_relation(("in_front_of",)))
_claim("inside")(_relation(("inside",)))
_claim("distance")(_relation(("near", "far")))
_claim("size_relation")(_relation(("larger",)))


def _binding(dimension: str) -> Maker:
    def make(facts: _SceneFacts) -> Phrases | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        if len(facts.single) < 2:
            return None
        first, second = facts.rng.shuffled(facts.single)[:2]
        kind, other = KINDS[first.kind], KINDS[second.kind]
        options = [v for v in stateable(dimension, kind) if v in stateable(dimension, other)]
        one, two = (_common_value([thing], dimension, options) for thing in (first, second))
        if one is None or two is None or one == two:
            return None

        def phrase(value: str, other_value: str) -> str:
            first_thing = adjective_phrase(kind, values[value], 0)
            return f"{first_thing} and {adjective_phrase(other, values[other_value], 0)}"

        return facts.frame(kind.id, (phrase(one, two), phrase(two, one)))

    return make


_claim("colour_binding")(_binding("colour"))
_claim("size_binding")(_binding("size"))
_claim("texture_binding")(_binding("texture"))


@_claim("count_binding")
def _count_binding(facts: _SceneFacts) -> Phrases | None:
    options = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    pairs = [(a, b) for a in options for b in options if facts.counts[a] != facts.counts[b]]
    if not pairs:
        return None
    a, b = facts.rng.choice(pairs)
    m, n = facts.counts[a], facts.counts[b]

    def phrase(first: int, second: int) -> str:
        return f"{counted_phrase(KINDS[a], first)} and {counted_phrase(KINDS[b], second)}"

    return Context(KINDS[a], "", facts.rng).frame((phrase(m, n), phrase(n, m)), (m == 1, n == 1))


# Arrangements


@_claim("layout")
def _layout(facts: _SceneFacts) -> Phrases | None:
    for kind, things in facts.things.items():
        if not 3 <= len(things) <= LARGEST_NUMBER:
            continue
        boxes = [thing.box for thing in things]
        right = [name for name in lexicon.LAYOUTS if is_arranged(name, boxes)]
        if not right:
            continue
        wrong = facts.rng.choice([name for name in lexicon.LAYOUTS if name not in right])
        variant = facts.rng.integer(2)
        phrases = (
            layout_phrase(KINDS[kind], len(things), right[0], variant),
            layout_phrase(KINDS[kind], len(things), wrong, variant),
        )
        return facts.frame(kind, phrases, singular=False)
    return None


# The whole image


def _whole_image(dimension: str) -> Maker:
    def make(facts: _SceneFacts) -> Phrases | None:
        values = lexicon.IMAGE_DIMENSIONS[dimension]
        value, thing = getattr(facts.scene, dimension), facts.choose_single()
        if not value or thing is None:
            return None
        phrase = noun_phrase(KINDS[thing.kind])
        other = facts.choose_other(list(values), value)
        right, wrong = facts.rng.choice(values[value].words), facts.rng.choice(values[other].words)
        return facts.frame(thing.kind, (f"{phrase} {right}", f"{phrase} {wrong}"))

    return make


_claim("lighting")(_whole_image("lighting"))
_claim("weather")(_whole_image("weather"))


@_claim("setting")
def _setting(facts: _SceneFacts) -> Phrases | None:
    thing = facts.choose_single()
    if thing is None:
        return None
    setting = facts.scene.setting
    other_setting = facts.rng.choice(
        [name for name, place in PLACES.items() if name != setting and thing.kind not in place.shows]
    )
    right, wrong = facts.rng.choice(PLACES[setting].words), facts.rng.choice(PLACES[other_setting].words)
    phrase = noun_phrase(KINDS[thing.kind])
    if facts.rng.random() < 0.25:
        return f"{right}, there is {phrase}", f"{wrong}, there is {phrase}"
    opener = facts.rng.choice(("", "there is ", "a picture of "))
    return f"{opener}{phrase} {right}", f"{opener}{phrase} {wrong}"
