"""Contrasts: pairs of prompts that differ in one property and that no single image can satisfy both.

Both prompts of a pair come from one frame with one value exchanged, the two values are drawn symmetrically,
and a coin then decides which of the two is the original: what a prompt or an image looks like says nothing
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.settings import SETTINGS, TOPICS
from croc_syn.world.language.grammar import parse
from croc_syn.world.language.meaning import exclusive
from croc_syn.world.language.phrases import adjective_phrase, be, counted, noun_phrase, relation_words
from croc_syn.world.scenes.sampler import Dice
from croc_syn.world.scenes.scene import VERSION

TRIES = 40


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in one property.

    Attributes:
        prompt, contrast_prompt: the original and the contrast prompt.
        contrast: key of the contrast.
        value, contrast_value: what differs, in a word, on each side.
    """

    prompt: str
    contrast_prompt: str
    contrast: str
    value: str
    contrast_value: str


@dataclass(frozen=True)
class Context:
    """What a pair is about: the kind it speaks of, the place it is in, and the dice."""

    kind: Kind
    place: str
    dice: Dice
    topic: str | None = None

    def companion(self, fits: Callable[[Kind], bool] = lambda kind: True) -> Kind:
        """Another kind for the same picture."""
        taken = {self.kind.id} | (set(SETTINGS[TOPICS[self.topic].setting].shows) if self.topic else set())
        options = [kind for kind in KINDS.values() if kind.id not in taken and fits(kind)]
        options = options or [kind for kind in KINDS.values() if kind.id not in taken]
        near = [kind for kind in options if self.topic in kind.where]
        return self.dice.pick(near if near and self.dice() < 0.5 else options)

    def two(self, options: tuple[str, ...] | list[str]) -> tuple[str, str]:
        """Two different options, in random order."""
        first = self.dice.below(len(options))
        second = self.dice.below(len(options) - 1)
        return options[first], options[second + (second >= first)]

    def frame(self, first: str, second: str, singular: tuple[bool, bool] = (True, True)) -> tuple[str, str]:
        """Both noun phrases in one frame, with the place."""
        turn = self.dice.below(5)

        def put(text: str, single: bool) -> str:
            place = f" {self.place}" if self.place else ""
            if turn == 0 and self.place:
                return f"{self.place}, there {be(single)} {text}"
            if turn == 1:
                return f"there {be(single)} {text}{place}"
            if turn == 2:
                return f"a picture of {text}{place}"
            return text + place

        return put(first, singular[0]), put(second, singular[1])


Made = tuple[str, str, str, str]


@dataclass(frozen=True)
class Contrast:
    """One way to make a pair.

    Attributes:
        key: its name in the taxonomy.
        category: the hum category it belongs to, or None.
        how: how it contrasts: swap, recount, negate, reorder.
        applies: whether a pair can be made about a kind.
        make: two prompts and the two values.
    """

    key: str
    category: str | None
    how: str
    applies: Callable[[Kind], bool]
    make: Callable[[Context], Made]


_CONTRASTS: dict[str, Contrast] = {}
CONTRASTS: Mapping[str, Contrast] = MappingProxyType(_CONTRASTS)
"""Every contrast, by key."""


def _contrast(
    key: str, category: str | None, how: str, applies: Callable[[Kind], bool] = lambda kind: True
) -> Callable[[Callable[[Context], Made]], Callable[[Context], Made]]:
    def register(make: Callable[[Context], Made]) -> Callable[[Context], Made]:
        _CONTRASTS[key] = Contrast(key, category, how, applies, make)
        return make

    return register


def make_pair(
    contrast: str | None,
    *,
    topic: str | None = None,
    entity: str | None = None,
    contrast_topic: str | None = None,
    seed: int,
) -> Pair:
    """A pair of prompts that differ in one property.

    Args:
        contrast: key of the contrast; None picks one that applies to the entity, by the seed.
        topic: where the picture is set; None leaves it open.
        entity: what it is about; None picks a kind.
        contrast_topic: the other place, for the contrast ``setting``.
        seed: different seeds give different pairs.

    Raises:
        InputError: an unknown contrast, topic or entity, or a contrast that does not apply to the entity.
    """
    for name, value, table in (
        ("contrast", contrast, CONTRASTS),
        ("topic", topic, TOPICS),
        ("entity", entity, KINDS),
        ("contrast topic", contrast_topic, TOPICS),
    ):
        if value is not None and value not in table:
            raise InputError(f"the exact world has no {name} {value!r}; it has: {', '.join(sorted(table))}")
    if contrast_topic is not None and contrast not in (None, "setting"):
        raise InputError(f"a contrast topic goes with the contrast 'setting', not with {contrast!r}")
    dice = Dice("pair", VERSION, contrast, topic, entity, contrast_topic, seed)
    shows: set[str] = set()
    for name in (topic, contrast_topic):
        if name is not None:
            shows |= SETTINGS[TOPICS[name].setting].shows
    if entity is not None and entity in shows:
        if contrast == "setting" or topic is None:
            raise InputError(f"{entity!r} cannot be counted where the place itself shows it: topic {topic!r}")
        # The place would leave open how many there are: the pair is about the entity, and says no place.
        topic, shows = None, set()
    if contrast is None:
        contrast = "setting" if contrast_topic is not None else _pick_contrast(entity, topic, dice)
    chosen = CONTRASTS[contrast]
    kinds = [kind for kind in KINDS.values() if chosen.applies(kind) and kind.id not in shows]
    if entity is not None:
        kinds = [kind for kind in kinds if kind.id == entity]
        if not kinds:
            raise InputError(f"the contrast {contrast!r} cannot be made about {entity!r}")
    fitting = [kind for kind in kinds if topic in kind.where]
    for _ in range(TRIES):
        kind = dice.pick(fitting) if fitting and dice() < 0.6 else dice.pick(kinds)
        place = dice.pick(SETTINGS[TOPICS[topic].setting].words) if topic is not None else ""
        context = Context(kind, place, dice, topic)
        made = _settings(context, topic, contrast_topic) if contrast == "setting" else chosen.make(context)
        first, second, value, other = made
        if not exclusive(parse(first), parse(second)):
            continue
        if dice() < 0.5:
            first, second, value, other = second, first, other, value
        return Pair(first, second, contrast, value, other)
    raise InputError(f"no pair that excludes each other was found for {contrast!r}, {entity!r}, {topic!r}")


def _pick_contrast(entity: str | None, topic: str | None, dice: Dice) -> str:
    kind = KINDS[entity] if entity is not None else None
    options = [
        key
        for key, contrast in CONTRASTS.items()
        if (kind is None or contrast.applies(kind)) and not (topic is not None and key == "setting")
    ]
    return dice.pick(options)


# Values of a thing


def _adjective(dimension: str) -> Callable[[Context], Made]:
    def make(context: Context) -> Made:
        values = lexicon.THING_DIMENSIONS[dimension]
        options = [value for value in values if value not in ("plain", "paint")]
        if dimension == "shape":
            options = list(context.kind.shapes)
        first, second = context.two(options)
        place = context.dice.below(3)
        texts = []
        for value in (first, second):
            texts.append(adjective_phrase(context.kind, values[value], place))
        return *context.frame(*texts), first, second

    return make


_contrast("colour", None, "swap")(_adjective("colour"))
_contrast("size", None, "swap")(_adjective("size"))
_contrast("texture", None, "swap", lambda kind: kind.surface)(_adjective("texture"))
_contrast("material", None, "swap", lambda kind: kind.surface)(_adjective("material"))
_contrast("shape", "shapes", "swap", lambda kind: len(kind.shapes) > 1)(_adjective("shape"))


@_contrast("count", "counting", "recount")
def _count(context: Context) -> Made:
    first = 1 + context.dice.below(9)
    options = [n for n in range(max(1, first - 2), min(9, first + 2) + 1) if n != first]
    second = context.dice.pick(options)
    if context.dice() < 0.5:
        first, second = second, first
    texts = [counted(context.kind, n) for n in (first, second)]
    return *context.frame(*texts, (first == 1, second == 1)), str(first), str(second)


@_contrast("action", "action", "swap", lambda kind: len(kind.poses) > 1)
def _action(context: Context) -> Made:
    poses = {pose.id: pose for pose in context.kind.poses}
    first, second = context.two(list(poses))
    which = context.dice.below(4)
    texts = []
    for key in (first, second):
        words = poses[key].words[which % len(poses[key].words)]
        texts.append(f"{noun_phrase(context.kind)} {words}")
    return *context.frame(*texts), first, second


def _parts(body: bool) -> Callable[[Context], Made]:
    def make(context: Context) -> Made:
        part = context.dice.pick([part for part in context.kind.parts if part.body == body])
        numbers = [str(n) for n in range(part.low, part.high + 1)]
        first, second = context.two(numbers)
        texts = []
        for n in (int(first), int(second)):
            single = n == 1 or (n == 0 and part.usual <= 1)
            words = f"{lexicon.NUMBER_WORDS[n]} {part.word if single else part.plural_word}"
            texts.append(f"{noun_phrase(context.kind)} with {words}")
        return *context.frame(*texts), f"{first} {part.word}", f"{second} {part.word}"

    return make


_contrast("body_part", "body_parts", "recount", lambda k: any(p.body for p in k.parts))(_parts(True))
_contrast("thing_part", "things_parts", "recount", lambda k: any(not p.body for p in k.parts))(_parts(False))


@_contrast("negation", "negation", "negate")
def _negation(context: Context) -> Made:
    turn = context.dice.below(4)
    thing = noun_phrase(context.kind)
    if turn == 3:
        colour = context.dice.pick(list(lexicon.COLOURS))
        texts = (f"{thing} that is {colour}", f"{thing} that is not {colour}")
        return *context.frame(*texts), colour, f"not {colour}"
    other = context.companion()
    name, named = other.words[0], noun_phrase(other)
    if turn == 0:
        texts = (f"{thing} and {named}", f"{thing} and no {name}")
    elif turn == 1:
        texts = (f"{thing} with {named}", f"{thing} without {named}")
    else:
        texts = (f"{thing}, and there is {named}", f"{thing}, and there is no {name}")
    return *context.frame(*texts), other.id, f"no {other.id}"


# Two things


def _relation(
    pairs: tuple[tuple[str, str], ...], fits: Callable[[Kind], bool] = lambda kind: True
) -> Callable[[Context], Made]:
    def make(context: Context) -> Made:
        other = context.companion(fits)
        first, second = context.dice.pick(pairs)
        which, frame = context.dice.below(3), context.dice.below(3)
        texts = []
        for relation in (first, second):
            words = relation_words(relation, which)
            if frame == 0:
                texts.append(f"{noun_phrase(context.kind)} that is {words} {noun_phrase(other)}")
            else:
                texts.append(f"{noun_phrase(context.kind)} {words} {noun_phrase(other)}")
        return *context.frame(*texts), first, second

    return make


_SPATIAL = "spatial_relation"
_contrast("left_right", _SPATIAL, "swap")(_relation((("left_of", "right_of"),)))
_contrast("above_below", _SPATIAL, "swap")(_relation((("above", "below"),)))
_contrast("front_behind", _SPATIAL, "swap")(_relation((("in_front_of", "behind"),)))
_contrast("inside", _SPATIAL, "swap", lambda kind: kind.group != "buildings")(
    _relation((("inside", "outside"),), lambda kind: kind.inner is not None)
)
_contrast("distance", _SPATIAL, "swap")(_relation((("near", "far"),)))
_contrast("size_relation", "size_relation", "swap")(_relation((("larger", "smaller"),)))


@_contrast("role_order", _SPATIAL, "reorder")
def _role_order(context: Context) -> Made:
    other = context.companion()
    words = relation_words(context.dice.pick(("left_of", "above", "in_front_of", "right_of", "below")), 0)
    a, b = noun_phrase(context.kind), noun_phrase(other)
    return (
        *context.frame(f"{a} {words} {b}", f"{b} {words} {a}"),
        f"{context.kind.id} {other.id}",
        f"{other.id} {context.kind.id}",
    )


def _binding(dimension: str) -> Callable[[Context], Made]:
    def make(context: Context) -> Made:
        other = context.companion(lambda kind: kind.surface)
        if dimension == "count":
            first, second = (int(n) for n in context.two([str(n) for n in range(1, 6)]))
            texts = [
                f"{counted(context.kind, m)} and {counted(other, n)}"
                for m, n in ((first, second), (second, first))
            ]
            single = (first == 1, second == 1)
            return *context.frame(texts[0], texts[1], single), f"{first} {second}", f"{second} {first}"
        values = lexicon.THING_DIMENSIONS[dimension]
        v, w = context.two([value for value in values if value not in ("plain", "paint")])
        texts = [
            f"{adjective_phrase(context.kind, values[x], 0)} and {adjective_phrase(other, values[y], 0)}"
            for x, y in ((v, w), (w, v))
        ]
        return *context.frame(texts[0], texts[1]), f"{v} {w}", f"{w} {v}"

    return make


_contrast("colour_binding", None, "reorder")(_binding("colour"))
_contrast("size_binding", None, "reorder")(_binding("size"))
_contrast("texture_binding", None, "reorder", lambda kind: kind.surface)(_binding("texture"))
_contrast("count_binding", "counting", "reorder")(_binding("count"))


@_contrast("entity", None, "swap")
def _entity(context: Context) -> Made:
    other = context.companion(lambda kind: kind.group == context.kind.group)
    if context.dice() < 0.5:
        texts = [
            f"{noun_phrase(a)} and no {b.words[0]}" for a, b in ((context.kind, other), (other, context.kind))
        ]
    else:
        texts = [f"{noun_phrase(a)} and nothing else" for a in (context.kind, other)]
    return *context.frame(texts[0], texts[1]), context.kind.id, other.id


@_contrast("layout", None, "swap")
def _layout(context: Context) -> Made:
    count = 3 + context.dice.below(3)
    first, second = context.two(list(lexicon.LAYOUTS))
    which = context.dice.below(2)
    texts = []
    for key in (first, second):
        after = lexicon.LAYOUTS[key].after
        texts.append(f"{counted(context.kind, count)} {after[which % len(after)]}")
    return *context.frame(texts[0], texts[1], (False, False)), first, second


# The whole image


def _whole(dimension: str) -> Callable[[Context], Made]:
    def make(context: Context) -> Made:
        if context.topic is not None:
            place = SETTINGS[TOPICS[context.topic].setting]
            if not (place.lit if dimension == "lighting" else place.open_air):
                context = replace(context, place="", topic=None)
        values = lexicon.IMAGE_DIMENSIONS[dimension]
        first, second = context.two(list(values))
        thing = noun_phrase(context.kind)
        texts = [f"{thing} {values[key].words[0]}" for key in (first, second)]
        return *context.frame(texts[0], texts[1]), first, second

    return make


_contrast("lighting", None, "swap")(_whole("lighting"))
_contrast("weather", None, "swap")(_whole("weather"))


def _settings(context: Context, topic: str | None, contrast_topic: str | None) -> Made:
    options = [key for key, t in TOPICS.items() if context.kind.id not in SETTINGS[t.setting].shows]
    first = topic if topic is not None else context.dice.pick(options)
    first_setting = TOPICS[first].setting
    others = [key for key in options if TOPICS[key].setting != first_setting]
    second = contrast_topic if contrast_topic is not None else context.dice.pick(others)
    if TOPICS[second].setting == first_setting:
        raise InputError(f"the topics {first!r} and {second!r} are the same place in the exact world")
    thing = noun_phrase(context.kind)
    which, turn = context.dice.below(4), context.dice.below(4)
    texts = []
    for key in (first, second):
        words = SETTINGS[TOPICS[key].setting].words
        where = words[which % len(words)]
        if turn == 0:
            texts.append(f"{where}, there is {thing}")
        else:
            opener = ("", "there is ", "a picture of ")[turn - 1]
            texts.append(f"{opener}{thing} {where}")
    return texts[0], texts[1], first, second


@_contrast("setting", None, "swap")
def _setting(context: Context) -> Made:
    return _settings(context, context.topic, None)
