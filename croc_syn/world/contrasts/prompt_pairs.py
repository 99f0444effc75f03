"""Prompt pairs that differ in one property, and that no single image can satisfy.

Both prompts of a pair come from one sentence frame with one value exchanged. The two values are drawn
symmetrically, and a fair coin decides which prompt is the original, so that neither the text nor the image
alone tells which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind, confusable
from croc_syn.world.declarations.places import FALLING, PLACES, TOPICS
from croc_syn.world.declarations.styles import STYLES, USUAL, Style
from croc_syn.world.language.meaning import exclusive
from croc_syn.world.language.parser import parse
from croc_syn.world.language.realisation import (
    adjective_phrase,
    counted_phrase,
    denial_phrases,
    exclusion_phrases,
    form_of_be,
    layout_phrase,
    negation_phrases,
    noun_phrase,
    part_phrase,
    pose_phrase,
    relation_words,
)
from croc_syn.world.scenes.scene import VERSION
from croc_syn.world.scenes.scope import OutOfScope, Scope
from croc_syn.world.scenes.seeded_random import SeededRandom

_OF_PLACES = {"setting", "lighting", "weather"}
"""Contrasts of the whole image, which need a place."""

TRIES = 40
"""Attempts at a pair whose prompts exclude each other."""
TRIES_OF_A_TEST = 120
"""The same where prompts also have to be about something that is held out; no other seed is tried then."""


@dataclass(frozen=True)
class Pair:
    """Two prompts that differ in one property.

    Attributes:
        prompt, contrast_prompt: the original prompt and the contrast prompt.
        contrast: key of the contrast.
        value, contrast_value: the two values of the property.
    """

    prompt: str
    contrast_prompt: str
    contrast: str
    value: str
    contrast_value: str


@dataclass(frozen=True)
class Context:
    """What a pair is about.

    Attributes:
        kind: the kind of thing.
        place: the phrase for the place; "" for none.
        rng: random numbers.
        topic: id of the topic, if there is one.
        style: the drawing style, which may draw certain kinds only.
    """

    kind: Kind
    place: str
    rng: SeededRandom
    topic: str | None = None
    style: Style = STYLES[USUAL]

    def choose_companion(self, fits: Callable[[Kind], bool] = lambda kind: True) -> Kind:
        """Another kind for the same image, from the suitable ones if there are any."""
        taken = (
            {self.kind.id}
            | self.style.shows
            | (set(PLACES[TOPICS[self.topic].place].shows) if self.topic else set())
        )
        free = [
            kind
            for kind in KINDS.values()
            if kind.id not in taken
            and not confusable(kind, self.kind)
            and self.style.group in ("", kind.group)
        ]
        options = [kind for kind in free if fits(kind)] or free
        usual = [kind for kind in options if self.topic in kind.where]
        return self.rng.choice(usual if usual and self.rng.random() < 0.5 else options)

    def choose_two(self, options: Sequence[str]) -> tuple[str, str]:
        """Two different options, in random order."""
        first = self.rng.integer(len(options))
        second = self.rng.integer(len(options) - 1)
        return options[first], options[second + (second >= first)]

    def frame(self, phrases: tuple[str, str], singular: tuple[bool, bool] = (True, True)) -> tuple[str, str]:
        """Put two noun phrases into one sentence frame, with the place.

        Args:
            phrases: the noun phrases.
            singular: whether each needs "is" rather than "are".
        """
        frame = self.rng.integer(5)

        def fill(text: str, single: bool) -> str:
            place = f" {self.place}" if self.place else ""
            if frame == 0 and self.place:
                return f"{self.place}, there {form_of_be(single)} {text}"
            if frame == 1:
                return f"there {form_of_be(single)} {text}{place}"
            if frame == 2:
                return f"a picture of {text}{place}"
            return text + place

        return fill(phrases[0], singular[0]), fill(phrases[1], singular[1])


Candidate = tuple[str, str, str, str]
"""Two prompts and their values, before it is checked that the prompts exclude each other."""


@dataclass(frozen=True)
class Contrast:
    """A property in which the prompts of a pair differ.

    Attributes:
        key: name in the taxonomy.
        category: its hum category, or None.
        how: how the prompts differ: swap, recount, negate or reorder.
        applies: whether a pair can be made about a kind.
        make: makes two prompts and the two values.
    """

    key: str
    category: str | None
    how: str
    applies: Callable[[Kind], bool]
    make: Callable[[Context], Candidate]


_CONTRASTS: dict[str, Contrast] = {}
CONTRASTS: Mapping[str, Contrast] = MappingProxyType(_CONTRASTS)
"""Every contrast, by key."""


def _contrast(
    key: str, category: str | None, how: str, applies: Callable[[Kind], bool] = lambda kind: True
) -> Callable[[Callable[[Context], Candidate]], Callable[[Context], Candidate]]:
    """Declare a contrast above the function that makes its prompts."""

    def register(make: Callable[[Context], Candidate]) -> Callable[[Context], Candidate]:
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
    scope: Scope | None = None,
) -> Pair:
    """Make two prompts that differ in one property and exclude each other.

    Args:
        contrast: key of the contrast; None chooses one that applies to the entity.
        topic: topic whose place the prompts name; None leaves the place open.
        entity: kind of thing; None chooses one.
        contrast_topic: the other topic, for the contrast ``setting``.
        seed: of the random choices.
        scope: what the prompts may be about; None is anything. A style without places drops the topic.

    Raises:
        InputError: an unknown contrast, topic or entity, or a contrast that does not apply to the entity.
        OutOfScope: nothing like this is in the scope, or in a test, whose prompts have to be about something
            that is held out, :data:`TRIES_OF_A_TEST` pairs are not.
    """
    tables: tuple[tuple[str, str | None, Collection[str]], ...] = (
        ("contrast", contrast, CONTRASTS),
        ("topic", topic, TOPICS),
        ("entity", entity, KINDS),
        ("contrast topic", contrast_topic, TOPICS),
    )
    for name, value, table in tables:
        if value is not None and value not in table:
            known = ", ".join(sorted(table))
            raise InputError(f"the exact world has no {name} {value!r}; expected one of {known}")
    if contrast_topic is not None and contrast not in (None, "setting"):
        raise InputError(f"a contrast topic needs the contrast 'setting', not {contrast!r}")
    rng = SeededRandom("pair", VERSION, contrast, topic, entity, contrast_topic, seed)
    scope = scope or Scope()
    style = scope.drawn_as
    places = [TOPICS[name].place for name in (topic, contrast_topic) if name is not None]
    if not scope.covers(entity, *places):
        raise OutOfScope(f"held out, or not drawn in the style {style.id}: {entity or ', '.join(places)}")
    shows = set(style.shows)
    if style.places:
        if contrast in _OF_PLACES:
            raise OutOfScope(
                f"the style {style.id} draws no places, so that no pair can differ in {contrast}"
            )
        topic = None
    for known_topic in (topic, contrast_topic):
        if known_topic is not None:
            shows |= PLACES[TOPICS[known_topic].place].shows
    if entity is not None and entity in shows:
        if contrast == "setting" or topic is None:
            raise InputError(f"{entity!r} cannot be counted in a place that shows it (topic {topic!r})")
        # In this place the number would not be certain: the prompts are about the entity and name no place.
        topic, shows = None, set(style.shows)
    if contrast is None:
        contrast = "setting" if contrast_topic is not None else _choose_contrast(entity, topic, rng, style)
    chosen = CONTRASTS[contrast]
    kinds = [kind for kind in KINDS.values() if chosen.applies(kind) and kind.id not in shows]
    kinds = [kind for kind in kinds if style.group in ("", kind.group)]
    if not kinds:
        raise OutOfScope(f"the style {style.id} draws nothing to which the contrast {contrast!r} applies")
    # Most of the others would be refused below.
    if scope.only:
        concerned = scope.held_out.nouns | {name.split(":")[0] for name in scope.held_out.compositions}
        kinds = [kind for kind in kinds if kind.id in concerned] or kinds
    else:
        kinds = [kind for kind in kinds if kind.id not in scope.held_out.nouns] or kinds
    if entity is not None:
        kinds = [kind for kind in kinds if kind.id == entity]
        if not kinds:
            raise InputError(f"the contrast {contrast!r} does not apply to {entity!r}")
    fitting = [kind for kind in kinds if topic in kind.where]
    for _ in range(TRIES_OF_A_TEST if scope.only else TRIES):
        kind = rng.choice(fitting) if fitting and rng.random() < 0.6 else rng.choice(kinds)
        place = rng.choice(PLACES[TOPICS[topic].place].words) if topic is not None else ""
        context = Context(kind, place, rng, topic, style)
        candidate = _two_places(context, contrast_topic) if contrast == "setting" else chosen.make(context)
        first, second, first_value, second_value = candidate
        if not exclusive(parse(first), parse(second)) or not scope.allows(first, second):
            continue
        if rng.random() < 0.5:
            first, second, first_value, second_value = second, first, second_value, first_value
        return Pair(first, second, contrast, first_value, second_value)
    about = f"contrast {contrast!r}, entity {entity!r}, topic {topic!r}"
    if scope.only:
        raise OutOfScope(f"no two prompts about what is held out were found for {about}")
    raise InputError(f"no two prompts that exclude each other were found for {about}")


def _choose_contrast(entity: str | None, topic: str | None, rng: SeededRandom, style: Style) -> str:
    kind = KINDS[entity] if entity is not None else None
    excluded = _OF_PLACES if style.places else {"setting"} if topic is not None else set()
    options = [
        key
        for key, contrast in CONTRASTS.items()
        if (kind is None or contrast.applies(kind)) and key not in excluded
    ]
    return rng.choice(options)


# Properties of a thing


def stateable(dimension: str, kind: Kind) -> list[str]:
    """Values of a property that a prompt may state of a kind, without those that are never mentioned."""
    return [value for value in kind.values(dimension) if value not in lexicon.UNMARKED]


def _adjective(dimension: str) -> Callable[[Context], Candidate]:
    def make(context: Context) -> Candidate:
        values = lexicon.THING_DIMENSIONS[dimension]
        first, second = context.choose_two(stateable(dimension, context.kind))
        position = context.rng.integer(3)
        phrases = (
            adjective_phrase(context.kind, values[first], position),
            adjective_phrase(context.kind, values[second], position),
        )
        return *context.frame(phrases), first, second

    return make


_contrast("colour", None, "swap")(_adjective("colour"))
_contrast("size", None, "swap")(_adjective("size"))
_contrast("texture", None, "swap", lambda kind: len(stateable("texture", kind)) > 1)(_adjective("texture"))
_contrast("material", None, "swap", lambda kind: len(stateable("material", kind)) > 1)(_adjective("material"))
_contrast("shape", "shapes", "swap", lambda kind: len(kind.shapes) > 1)(_adjective("shape"))


@_contrast("count", "counting", "recount")
def _count(context: Context) -> Candidate:
    first = 1 + context.rng.integer(9)
    options = [n for n in range(max(1, first - 2), min(9, first + 2) + 1) if n != first]
    second = context.rng.choice(options)
    if context.rng.random() < 0.5:
        first, second = second, first
    phrases = (counted_phrase(context.kind, first), counted_phrase(context.kind, second))
    return *context.frame(phrases, (first == 1, second == 1)), str(first), str(second)


@_contrast("action", "action", "swap", lambda kind: len(kind.poses) > 1)
def _action(context: Context) -> Candidate:
    poses = [pose.id for pose in context.kind.poses]
    if context.topic is not None:
        possible = [pose for pose in poses if PLACES[TOPICS[context.topic].place].takes(pose)]
        if len(possible) > 1:
            poses = possible
        else:
            context = replace(context, place="", topic=None)
    first, second = context.choose_two(poses)
    variant = context.rng.integer(4)
    phrases = pose_phrase(context.kind, first, variant), pose_phrase(context.kind, second, variant)
    return *context.frame(phrases), first, second


def _parts(body: bool) -> Callable[[Context], Candidate]:
    def make(context: Context) -> Candidate:
        part = context.rng.choice([part for part in context.kind.parts if part.body == body])
        numbers = [str(n) for n in range(part.low, part.high + 1)]
        first, second = context.choose_two(numbers)
        phrases = part_phrase(context.kind, part, int(first)), part_phrase(context.kind, part, int(second))
        return *context.frame(phrases), f"{first} {part.word}", f"{second} {part.word}"

    return make


_contrast("body_part", "body_parts", "recount", lambda k: any(p.body for p in k.parts))(_parts(True))
_contrast("thing_part", "things_parts", "recount", lambda k: any(not p.body for p in k.parts))(_parts(False))


@_contrast("negation", "negation", "negate")
def _negation(context: Context) -> Candidate:
    form = context.rng.integer(4)
    if form == 3:
        colour = context.rng.choice(stateable("colour", context.kind))
        return *context.frame(denial_phrases(context.kind, colour)), colour, f"not {colour}"
    other = context.choose_companion()
    return *context.frame(negation_phrases(context.kind, other)[form]), other.id, f"no {other.id}"


# Two things


def _relation(
    pairs: tuple[tuple[str, str], ...], fits: Callable[[Kind], bool] = lambda kind: True
) -> Callable[[Context], Candidate]:
    def make(context: Context) -> Candidate:
        other = context.choose_companion(fits)
        first, second = context.rng.choice(pairs)
        variant, form = context.rng.integer(3), context.rng.integer(3)
        that_is = "that is " if form == 0 else ""

        def phrase(relation: str) -> str:
            words = relation_words(relation, variant)
            return f"{noun_phrase(context.kind)} {that_is}{words} {noun_phrase(other)}"

        return *context.frame((phrase(first), phrase(second))), first, second

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
def _role_order(context: Context) -> Candidate:
    other = context.choose_companion()
    words = relation_words(context.rng.choice(("left_of", "above", "in_front_of", "right_of", "below")), 0)
    a, b = noun_phrase(context.kind), noun_phrase(other)
    return (
        *context.frame((f"{a} {words} {b}", f"{b} {words} {a}")),
        f"{context.kind.id} {other.id}",
        f"{other.id} {context.kind.id}",
    )


def _binding(dimension: str) -> Callable[[Context], Candidate]:
    def make(context: Context) -> Candidate:
        if dimension == "count":
            other = context.choose_companion()
            numbers = [str(n) for n in range(1, 6)]
            first, second = context.choose_two(numbers)

            def phrase(one: str, two: str) -> str:
                return f"{counted_phrase(context.kind, int(one))} and {counted_phrase(other, int(two))}"

            singular = (first == "1", second == "1")
        else:
            values = lexicon.THING_DIMENSIONS[dimension]
            own = stateable(dimension, context.kind)
            other = context.choose_companion(lambda kind: len(set(own) & set(stateable(dimension, kind))) > 1)
            first, second = context.choose_two([v for v in own if v in stateable(dimension, other)])

            def phrase(one: str, two: str) -> str:
                first_thing = adjective_phrase(context.kind, values[one], 0)
                return f"{first_thing} and {adjective_phrase(other, values[two], 0)}"

            singular = (True, True)
        phrases = phrase(first, second), phrase(second, first)
        return *context.frame(phrases, singular), f"{first} {second}", f"{second} {first}"

    return make


_contrast("colour_binding", None, "reorder")(_binding("colour"))
_contrast("size_binding", None, "reorder")(_binding("size"))
_contrast("texture_binding", None, "reorder", lambda kind: len(stateable("texture", kind)) > 2)(
    _binding("texture")
)
_contrast("count_binding", "counting", "reorder")(_binding("count"))


@_contrast("entity", None, "swap")
def _entity(context: Context) -> Candidate:
    other = context.choose_companion(lambda kind: kind.group == context.kind.group)
    phrases = exclusion_phrases(context.kind, other, nothing_else=context.rng.random() >= 0.5)
    return *context.frame(phrases), context.kind.id, other.id


@_contrast("layout", None, "swap")
def _layout(context: Context) -> Candidate:
    count = 3 + context.rng.integer(3)
    first, second = context.choose_two(list(lexicon.LAYOUTS))
    variant = context.rng.integer(2)
    phrases = (
        layout_phrase(context.kind, count, first, variant),
        layout_phrase(context.kind, count, second, variant),
    )
    return *context.frame(phrases, (False, False)), first, second


# The whole image


def _whole_image(dimension: str) -> Callable[[Context], Candidate]:
    def make(context: Context) -> Candidate:
        if context.topic is not None:
            place = PLACES[TOPICS[context.topic].place]
            if not (place.lit if dimension == "lighting" else place.open_air):
                context = replace(context, place="", topic=None)
        values = lexicon.IMAGE_DIMENSIONS[dimension]
        first, second = context.choose_two(list(values))
        thing = noun_phrase(context.kind)
        phrases = f"{thing} {values[first].words[0]}", f"{thing} {values[second].words[0]}"
        return *context.frame(phrases), first, second

    return make


_contrast("lighting", None, "swap")(_whole_image("lighting"))
_contrast("weather", None, "swap", lambda kind: not any(kind.id in falling for falling in FALLING.values()))(
    _whole_image("weather")
)


def _two_places(context: Context, contrast_topic: str | None) -> Candidate:
    """Prompts that differ in their place; a topic that is not given is chosen."""
    topic = context.topic
    options = [key for key, t in TOPICS.items() if context.kind.id not in PLACES[t.place].shows]
    first = topic if topic is not None else context.rng.choice(options)
    first_place = TOPICS[first].place
    others = [key for key in options if TOPICS[key].place != first_place]
    second = contrast_topic if contrast_topic is not None else context.rng.choice(others)
    if TOPICS[second].place == first_place:
        raise InputError(f"the topics {first!r} and {second!r} have the same place in the exact world")
    thing = noun_phrase(context.kind)
    variant, frame = context.rng.integer(4), context.rng.integer(4)

    def prompt(key: str) -> str:
        words = PLACES[TOPICS[key].place].words
        where = words[variant % len(words)]
        if frame == 0:
            return f"{where}, there is {thing}"
        opener = ("", "there is ", "a picture of ")[frame - 1]
        return f"{opener}{thing} {where}"

    return prompt(first), prompt(second), first, second


@_contrast("setting", None, "swap")
def _setting(context: Context) -> Candidate:
    return _two_places(context, None)
