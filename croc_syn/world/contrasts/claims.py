"""Claims about a scene: pairs of a true and a false prompt that differ in one property.

Contrasts (:mod:`croc_syn.world.contrasts.contrasts`) begin with words and then draw; claims begin with a
scene that is drawn already and state, in the same controlled English, what is true of it and what is not. One
image gives dozens of them, for a model that learns to read images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from croc.errors import InputError
from croc_syn.world.contrasts.contrasts import Context
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.settings import SETTINGS
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.language.phrases import adjective_phrase, counted, noun_phrase, relation_words
from croc_syn.world.scenes.oracle import TESTS, arranged, has, holds
from croc_syn.world.scenes.sampler import Dice
from croc_syn.world.scenes.scene import Scene, Thing

MOST = 9
"""Numbers that the controlled English counts to."""

_SAID = {
    "left_of": "right_of",
    "above": "below",
    "in_front_of": "behind",
    "larger": "smaller",
    "inside": "outside",
    "near": "far",
}


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


Maker = Callable[["_Look"], "tuple[str, str] | None"]
_MAKERS: dict[str, Maker] = {}


def _claim(about: str) -> Callable[[Maker], Maker]:
    def register(make: Maker) -> Maker:
        _MAKERS[about] = make
        return make

    return register


class _Look:
    """A scene with what the makers ask of it."""

    def __init__(self, scene: Scene, dice: Dice) -> None:
        self.scene, self.dice = scene, dice
        seen = [thing for thing in scene.things if thing.kind not in scene.shows]
        self.counts = Counter(thing.kind for thing in seen)
        self.things = {kind: [thing for thing in seen if thing.kind == kind] for kind in self.counts}
        self.single = [things[0] for things in self.things.values() if len(things) == 1]
        self.absent = [kind for kind in KINDS if kind not in self.counts and kind not in scene.shows]

    def one(self, fits: Callable[[Kind], bool] = lambda kind: True) -> Thing | None:
        """A thing that is the only one of its kind."""
        options = [thing for thing in self.single if fits(KINDS[thing.kind])]
        return self.dice.pick(options) if options else None

    def two(self) -> tuple[Thing, Thing] | None:
        """Two different things, each the only one of its kind."""
        return tuple(self.dice.shuffled(self.single)[:2]) if len(self.single) > 1 else None  # type: ignore[return-value]

    def other(self, options: list[str], value: str) -> str:
        """Another value than the given one."""
        return self.dice.pick([option for option in options if option != value])

    def stranger(self, kind: str) -> Kind:
        """A kind that is not there, half the time one that is like a given one."""
        like = [other for other in self.absent if KINDS[other].group == KINDS[kind].group]
        return KINDS[self.dice.pick(like if like and self.dice() < 0.5 else self.absent)]

    def put(self, kind: str, first: str, second: str, single: bool = True) -> tuple[str, str]:
        """Both noun phrases in one frame, now and then with the place."""
        place = self.dice.pick(SETTINGS[self.scene.setting].words) if self.dice() < 0.4 else ""
        return Context(KINDS[kind], place, self.dice).frame(first, second, (single, single))


def claims(scene: Scene, number: int, dice: Dice, about: Collection[str] = ()) -> list[Claim]:
    """True and false prompts about a scene.

    Args:
        scene: what they are about.
        number: how many at most; each thing that can be spoken of gets its turn before any comes again.
        dice: chooses the things, values and words.
        about: what they may differ in; nothing named is everything.

    Returns:
        Different claims; the oracle has said of each that ``true`` holds and ``false`` does not.

    Raises:
        InputError: no claim differs in one of these.
    """
    if unknown := sorted(set(about) - set(_MAKERS)):
        raise InputError(f"no claim differs in {', '.join(unknown)}; there are {', '.join(_MAKERS)}")
    makers = [name for name in _MAKERS if not about or name in about]
    look = _Look(scene, dice)
    found: dict[tuple[str, str], Claim] = {}
    for turn in range(number if about else 4):
        for name in dice.shuffled(makers):
            if len(found) >= number:
                return list(found.values())
            made = _MAKERS[name](look)
            if made is None or made[0] == made[1] or made in found:
                continue
            if holds(scene, made[0]) and not holds(scene, made[1]):
                found[made] = Claim(*made, name)
        if turn and not found:
            break
    return list(found.values())


# A thing and its properties


def _adjective(dimension: str, fits: Callable[[Kind], bool] = lambda kind: True) -> Maker:
    def make(look: _Look) -> tuple[str, str] | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        options = [value for value in values if value not in ("plain", "paint")]
        kind = look.dice.pick(list(look.counts)) if look.counts else None
        if kind is None or not fits(KINDS[kind]):
            return None
        if dimension == "shape":
            options = list(KINDS[kind].shapes)
        things = look.things[kind]
        value = next(
            (v for v in options if all(has(t, Attribute(dimension, v)) for t in things)),
            None,
        )
        if value is None:
            return None
        wrong = look.other(options, value)
        place = look.dice.below(3)
        if len(things) == 1:
            texts = [adjective_phrase(KINDS[kind], values[v], place) for v in (value, wrong)]
        elif len(things) <= MOST:
            texts = [counted(KINDS[kind], len(things), values[v].words[0]) for v in (value, wrong)]
        else:
            return None
        return look.put(kind, texts[0], texts[1], len(things) == 1)

    return make


_claim("colour")(_adjective("colour"))
_claim("size")(_adjective("size"))
_claim("texture")(_adjective("texture", lambda kind: kind.surface))
_claim("material")(_adjective("material", lambda kind: kind.surface))
_claim("shape")(_adjective("shape", lambda kind: len(kind.shapes) > 1))


@_claim("count")
def _count(look: _Look) -> tuple[str, str] | None:
    options = [kind for kind, count in look.counts.items() if count <= MOST]
    if not options:
        return None
    # Most things stand alone; who hears of these alone learns to answer "one" and not to count.
    many = [kind for kind in options if look.counts[kind] > 1]
    kind = look.dice.pick(many if many and look.dice() < 0.75 else options)
    count = look.counts[kind]
    near = [n for n in range(max(1, count - 2), min(MOST, count + 2) + 1) if n != count]
    wrong = look.dice.pick(near)
    texts = []
    for n in (count, wrong):
        texts.append(noun_phrase(KINDS[kind]) if n == 1 and look.dice() < 0.4 else counted(KINDS[kind], n))
    frame = Context(KINDS[kind], "", look.dice).frame(texts[0], texts[1], (count == 1, wrong == 1))
    return frame


@_claim("action")
def _action(look: _Look) -> tuple[str, str] | None:
    thing = look.one(lambda kind: len(kind.poses) > 1)
    if thing is None:
        return None
    poses = {pose.id: pose for pose in KINDS[thing.kind].poses}
    wrong = look.other(list(poses), thing.pose)
    which = look.dice.below(4)
    texts = [
        f"{noun_phrase(KINDS[thing.kind])} {poses[pose].words[which % len(poses[pose].words)]}"
        for pose in (thing.pose, wrong)
    ]
    return look.put(thing.kind, texts[0], texts[1])


def _parts(body: bool) -> Maker:
    def make(look: _Look) -> tuple[str, str] | None:
        thing = look.one(lambda kind: any(part.body == body for part in kind.parts))
        if thing is None:
            return None
        part = look.dice.pick([part for part in KINDS[thing.kind].parts if part.body == body])
        count = dict(thing.parts)[part.word]
        wrong = look.dice.pick([n for n in range(part.low, part.high + 1) if n != count])
        texts = []
        for n in (count, wrong):
            single = n == 1 or (n == 0 and part.usual <= 1)
            words = f"{lexicon.NUMBER_WORDS[n]} {part.word if single else part.plural_word}"
            texts.append(f"{noun_phrase(KINDS[thing.kind])} with {words}")
        return look.put(thing.kind, texts[0], texts[1])

    return make


_claim("body_part")(_parts(True))
_claim("thing_part")(_parts(False))


# What is there and what is not


@_claim("negation")
def _negation(look: _Look) -> tuple[str, str] | None:
    thing = look.one()
    if thing is None:
        return None
    here = noun_phrase(KINDS[thing.kind])
    if look.dice() < 0.25:
        colour = thing.colour if look.dice() < 0.5 else look.other(list(lexicon.COLOURS), thing.colour)
        texts = (f"{here} that is {colour}", f"{here} that is not {colour}")
        right = colour == thing.colour
    else:
        others = [other for other in look.single if other is not thing]
        right = bool(others) and look.dice() < 0.5
        other = KINDS[look.dice.pick(others).kind] if right else look.stranger(thing.kind)
        name, named = other.words[0], noun_phrase(other)
        texts = look.dice.pick(
            (
                (f"{here} and {named}", f"{here} and no {name}"),
                (f"{here} with {named}", f"{here} without {named}"),
                (f"{here}, and there is {named}", f"{here}, and there is no {name}"),
            )
        )
    return look.put(thing.kind, *(texts if right else texts[::-1]))


@_claim("presence")
def _presence(look: _Look) -> tuple[str, str] | None:
    thing = look.one()
    if thing is None:
        return None
    other = look.stranger(thing.kind)
    if look.dice() < 0.3:
        return look.put(thing.kind, f"no {other.words[0]}", f"no {KINDS[thing.kind].words[0]}")
    return look.put(thing.kind, noun_phrase(KINDS[thing.kind]), noun_phrase(other))


@_claim("entity")
def _entity(look: _Look) -> tuple[str, str] | None:
    if look.counts and look.dice() < 0.6:
        return _misnamed(look, look.dice.pick(list(look.counts)))
    thing = look.one()
    if thing is None:
        return None
    kind, other = KINDS[thing.kind], look.stranger(thing.kind)
    if look.dice() < 0.5:
        texts = [f"{noun_phrase(a)} and no {b.words[0]}" for a, b in ((kind, other), (other, kind))]
    else:
        texts = [f"{noun_phrase(a)} and nothing else" for a in (kind, other)]
    return look.put(thing.kind, texts[0], texts[1])


def _misnamed(look: _Look, kind: str) -> tuple[str, str] | None:
    """What is said of a thing is right, but it is another: "a red cat" of a red dog."""
    things, other = look.things[kind], look.stranger(kind)
    if len(things) > MOST:
        return None
    said = [
        (values[value], place)
        for dimension, values in lexicon.THING_DIMENSIONS.items()
        for value in values
        if value not in ("plain", "paint") and (dimension != "shape" or value in other.shapes)
        for place in range(3)
        if all(has(thing, Attribute(dimension, value)) for thing in things)
    ]
    if not said:
        return None
    value, place = look.dice.pick(said)
    if len(things) == 1:
        texts = [adjective_phrase(each, value, place) for each in (KINDS[kind], other)]
    else:
        word = value.words[0] if look.dice() < 0.5 else ""
        texts = [counted(each, len(things), word) for each in (KINDS[kind], other)]
    return look.put(kind, texts[0], texts[1], len(things) == 1)


# Two things


def _relation(relations: tuple[str, ...]) -> Maker:
    def make(look: _Look) -> tuple[str, str] | None:
        for first in look.dice.shuffled(look.single):
            for second in look.dice.shuffled(look.single):
                if first is second:
                    continue
                i, j = look.scene.things.index(first), look.scene.things.index(second)
                true = [name for name in relations if TESTS[name](look.scene, (i,), (j,))]
                if true:
                    return _related(look, first, second, look.dice.pick(true))
        return None

    return make


def _related(look: _Look, first: Thing, second: Thing, relation: str) -> tuple[str, str]:
    opposite = _SAID.get(relation) or next(one for one, other in _SAID.items() if other == relation)
    one, two = noun_phrase(KINDS[first.kind]), noun_phrase(KINDS[second.kind])
    which = look.dice.below(3)
    right, wrong = relation_words(relation, which), relation_words(opposite, which)
    mirrored = relation in ("left_of", "above", "in_front_of", "larger")
    if mirrored and look.dice() < 0.5:
        one, two, right, wrong = two, one, wrong, right
    if mirrored and look.dice() < 0.3:
        texts = (f"{one} {right} {two}", f"{two} {right} {one}")
    elif look.dice() < 0.33:
        texts = (f"{one} that is {right} {two}", f"{one} that is {wrong} {two}")
    else:
        texts = (f"{one} {right} {two}", f"{one} {wrong} {two}")
    return look.put(first.kind, *texts)


_claim("left_right")(_relation(("left_of",)))
_claim("above_below")(_relation(("above",)))
_claim("front_behind")(_relation(("in_front_of",)))
_claim("inside")(_relation(("inside",)))
_claim("distance")(_relation(("near", "far")))
_claim("size_relation")(_relation(("larger",)))


def _binding(dimension: str) -> Maker:
    def make(look: _Look) -> tuple[str, str] | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        options = [value for value in values if value not in ("plain", "paint")]
        pair = look.two()
        if pair is None or not all(dimension == "colour" or KINDS[t.kind].surface for t in pair):
            return None
        told = [next((v for v in options if has(t, Attribute(dimension, v))), None) for t in pair]
        if None in told or told[0] == told[1]:
            return None
        kinds = [KINDS[thing.kind] for thing in pair]
        texts = [
            " and ".join(adjective_phrase(k, values[v], 0) for k, v in zip(kinds, order, strict=True))
            for order in (told, told[::-1])
        ]
        return look.put(pair[0].kind, texts[0], texts[1])

    return make


_claim("colour_binding")(_binding("colour"))
_claim("size_binding")(_binding("size"))
_claim("texture_binding")(_binding("texture"))


@_claim("count_binding")
def _count_binding(look: _Look) -> tuple[str, str] | None:
    options = [kind for kind, count in look.counts.items() if count <= MOST]
    pairs = [(a, b) for a in options for b in options if look.counts[a] != look.counts[b]]
    if not pairs:
        return None
    a, b = look.dice.pick(pairs)
    m, n = look.counts[a], look.counts[b]
    texts = [f"{counted(KINDS[a], x)} and {counted(KINDS[b], y)}" for x, y in ((m, n), (n, m))]
    return Context(KINDS[a], "", look.dice).frame(texts[0], texts[1], (m == 1, n == 1))


# The whole image


@_claim("layout")
def _layout(look: _Look) -> tuple[str, str] | None:
    for kind, things in look.things.items():
        if not 3 <= len(things) <= MOST:
            continue
        boxes = [thing.box for thing in things]
        right = [name for name in lexicon.LAYOUTS if arranged(name, boxes)]
        if not right:
            continue
        wrong = look.dice.pick([name for name in lexicon.LAYOUTS if name not in right])
        which = look.dice.below(2)
        words = [lexicon.LAYOUTS[name].after for name in (right[0], wrong)]
        texts = [f"{counted(KINDS[kind], len(things))} {after[which % len(after)]}" for after in words]
        return look.put(kind, texts[0], texts[1], False)
    return None


def _whole(dimension: str) -> Maker:
    def make(look: _Look) -> tuple[str, str] | None:
        values = lexicon.IMAGE_DIMENSIONS[dimension]
        value, thing = getattr(look.scene, dimension), look.one()
        if not value or thing is None:
            return None
        here = noun_phrase(KINDS[thing.kind])
        texts = [
            f"{here} {look.dice.pick(values[v].words)}" for v in (value, look.other(list(values), value))
        ]
        return look.put(thing.kind, texts[0], texts[1])

    return make


_claim("lighting")(_whole("lighting"))
_claim("weather")(_whole("weather"))


@_claim("setting")
def _setting(look: _Look) -> tuple[str, str] | None:
    thing = look.one()
    if thing is None:
        return None
    here = look.scene.setting
    away = look.dice.pick(
        [name for name, s in SETTINGS.items() if name != here and thing.kind not in s.shows]
    )
    words = [look.dice.pick(SETTINGS[name].words) for name in (here, away)]
    if not all(words):
        return None
    phrase = noun_phrase(KINDS[thing.kind])
    if look.dice() < 0.25:
        return f"{words[0]}, there is {phrase}", f"{words[1]}, there is {phrase}"
    opener = look.dice.pick(("", "there is ", "a picture of "))
    return f"{opener}{phrase} {words[0]}", f"{opener}{phrase} {words[1]}"
