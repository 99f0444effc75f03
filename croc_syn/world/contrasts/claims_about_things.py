"""Claims about the properties, number, actions and parts of things, and about the whole image."""

from __future__ import annotations

from collections.abc import Callable

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
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.realisation import (
    adjective_phrase,
    counted_phrase,
    layout_phrase,
    noun_phrase,
    part_phrase,
    pose_phrase,
)
from croc_syn.world.scenes.oracle import is_arranged, is_visible


def _adjective(dimension: str, fits: Callable[[Kind], bool] = lambda kind: True) -> Maker:
    def make(facts: SceneFacts) -> Phrases | None:
        values = lexicon.THING_DIMENSIONS[dimension]
        kind = facts.rng.choice(list(facts.counts)) if facts.counts else None
        if kind is None or not fits(KINDS[kind]):
            return None
        options = stateable(dimension, KINDS[kind])
        if len(options) < 2:
            return None
        things = facts.things[kind]
        value = common_value(things, dimension, options)
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


claim("colour")(_adjective("colour"))
claim("size")(_adjective("size"))
claim("texture")(_adjective("texture", lambda kind: kind.surface))
claim("material")(_adjective("material", lambda kind: kind.surface))
claim("shape")(_adjective("shape", lambda kind: len(kind.shapes) > 1))


@claim("count")
def _count(facts: SceneFacts) -> Phrases | None:
    options = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    if not options:
        return None
    # Most things are the only one of their kind; a model that sees these alone learns to answer "one".
    several = [kind for kind in options if facts.counts[kind] > 1]
    kind = facts.rng.choice(several if several and facts.rng.random() < 0.75 else options)
    count = facts.counts[kind]
    # One more or one less is the number that is hardest to tell apart.
    reach = 1 if facts.rng.random() < 0.7 else 3
    near = [n for n in range(max(1, count - reach), min(LARGEST_NUMBER, count + reach) + 1) if n != count]
    wrong = facts.rng.choice(near)
    values = [v for v in stateable("colour", KINDS[kind]) if facts.rng.random() < 0.3]
    colour = common_value(facts.things[kind], "colour", values) or ""

    def phrase(n: int) -> str:
        if n == 1 and not colour and facts.rng.random() < 0.4:
            return noun_phrase(KINDS[kind])
        return counted_phrase(KINDS[kind], n, colour)

    return Context(KINDS[kind], "", facts.rng).frame((phrase(count), phrase(wrong)), (count == 1, wrong == 1))


@claim("action")
def _action(facts: SceneFacts) -> Phrases | None:
    thing = facts.choose_single(lambda kind: len(kind.poses) > 1)
    if thing is None:
        return None
    kind = KINDS[thing.kind]
    wrong = facts.choose_other([pose.id for pose in kind.poses], thing.pose)
    variant = facts.rng.integer(4)
    return facts.frame(kind.id, (pose_phrase(kind, thing.pose, variant), pose_phrase(kind, wrong, variant)))


def _parts(body: bool) -> Maker:
    def make(facts: SceneFacts) -> Phrases | None:
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


claim("body_part")(_parts(True))
claim("thing_part")(_parts(False))


@claim("layout")
def _layout(facts: SceneFacts) -> Phrases | None:
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


def _whole_image(dimension: str) -> Maker:
    def make(facts: SceneFacts) -> Phrases | None:
        values = lexicon.IMAGE_DIMENSIONS[dimension]
        value, thing = getattr(facts.scene, dimension), facts.choose_single()
        if not value or thing is None:
            return None
        phrase = noun_phrase(KINDS[thing.kind])
        other = facts.choose_other(list(values), value)
        right, wrong = facts.rng.choice(values[value].words), facts.rng.choice(values[other].words)
        return facts.frame(thing.kind, (f"{phrase} {right}", f"{phrase} {wrong}"))

    return make


claim("lighting")(_whole_image("lighting"))
claim("weather")(_whole_image("weather"))


@claim("setting")
def _setting(facts: SceneFacts) -> Phrases | None:
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
