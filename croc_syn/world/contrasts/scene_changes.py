"""Changes of a scene, as an optimiser makes them: more things, larger ones, other colours, another style.

Whether a prompt is true afterwards is a question for :func:`judge`, which has a third answer: a relation
that is neither clearly true nor clearly false, a thing too small to show what is stated of it, or three dogs
beside "a dog", which the controlled English reads as one dog and people may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from types import MappingProxyType
from typing import Any

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind, confusable
from croc_syn.world.declarations.places import FALLING, PLACES
from croc_syn.world.declarations.styles import STYLES
from croc_syn.world.language.meaning import Meaning
from croc_syn.world.language.parser import parse
from croc_syn.world.scenes.layout import add_distractor, extent
from croc_syn.world.scenes.oracle import all_supported, all_visible, is_visible, satisfies
from croc_syn.world.scenes.sampler import shown_by_background
from croc_syn.world.scenes.scene import Scene, Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

MOST_THINGS = 14
LEAST_SIZE, LARGEST_SIZE = 0.08, 0.85
_MOST_CHOICES = 200
"""Limit of the ways to choose one thing of each kind; there are more only in a crowd."""
_COPIED, _ADDED = (0.1, 0.32), (0.1, 0.4)  # sizes, in image sides


def judge(scene: Scene, prompt: str, contrast_prompt: str) -> bool | None:
    """Whether a scene shows a prompt: clearly, clearly not, or (None) neither.

    It clearly does not where the contrast prompt is true, which excludes the prompt, or where something is
    false that needs no measuring: a number, a kind, a colour, a place. Where the prompt names one thing and
    is true of one of several, it is neither.
    """
    meaning = parse(prompt)
    if satisfies(scene, meaning):
        return True
    if satisfies(scene, contrast_prompt):
        return False
    unmeasured = _without_measures(meaning)
    if satisfies(scene, unmeasured) or not _shows_what_is_stated(scene, meaning):
        return None
    if any(satisfies(one, unmeasured) for one in _with_one_of_each(scene, meaning)):
        return None
    return False


def _with_one_of_each(scene: Scene, meaning: Meaning) -> Iterator[Scene]:
    """The scene with one thing of each kind that a prompt names once, in every way; none with "only"."""
    several = [
        [thing for thing in scene.things if thing.kind == kind]
        for kind, number in meaning.totals().items()
        if number == 1
    ]
    surplus = [things for things in several if len(things) > 1]
    if not surplus or meaning.only:
        return
    for kept in islice(product(*surplus), _MOST_CHOICES):
        left_out = {id(thing) for things in surplus for thing in things} - {id(thing) for thing in kept}
        yield replace(scene, things=tuple(thing for thing in scene.things if id(thing) not in left_out))


def _without_measures(meaning: Meaning) -> Meaning:
    """What a prompt states besides relations, arrangements and sizes."""
    groups = tuple(
        replace(group, layout="", attributes=tuple(a for a in group.attributes if a.dimension != "size"))
        for group in meaning.groups
    )
    return replace(meaning, groups=groups, links=())


def _shows_what_is_stated(scene: Scene, meaning: Meaning) -> bool:
    """Whether all things of the kinds in question show what is stated of them.

    They must be large enough; and a grey thing with a pattern is neither clearly grey nor clearly not.
    """
    stated = {
        (kind, attribute.dimension, attribute.value)
        for kind, attributes in (
            *((group.kind, group.attributes) for group in meaning.groups),
            *((absence.kind, absence.attributes) for absence in meaning.absences),
        )
        for attribute in attributes
    }
    return all(
        dimension == "size" or (is_visible(thing, dimension) and not _is_mixed(thing, dimension, value))
        for thing in scene.things
        for kind, dimension, value in stated
        if thing.kind == kind
    )


def _is_mixed(thing: Thing, dimension: str, value: str) -> bool:
    """Whether a thing has a colour that is said to be black, grey or white, with a pattern or a material."""
    has_surface = not {thing.texture, thing.material} <= set(lexicon.UNMARKED)
    return dimension == "colour" and value == thing.colour and value in lexicon.SHADES and has_surface


def change_scene(scene: Scene, name: str, prompt: str, rng: SeededRandom) -> Scene | None:
    """A scene after one change; None where the change is impossible there.

    Args:
        scene: the scene.
        name: a key of :data:`SCENE_CHANGES`.
        prompt: what the image is scored with; nothing is added that could be taken for what it mentions.
        rng: random choices.
    """
    meaning = parse(prompt)
    changed = SCENE_CHANGES[name](scene, meaning, rng)
    if changed is None or changed == scene or len(changed.things) > MOST_THINGS:
        return None
    if any(thing.kind in changed.shows for thing in changed.things):
        return None
    return changed if all_visible(changed) and all_supported(changed) else None


def _copy(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """Another thing like one that is there."""
    if not scene.things:
        return None
    return _with(scene, replace(rng.choice(scene.things), flip=rng.random() < 0.5), rng, _COPIED)


def _add(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """A thing of another kind."""
    named = [KINDS[kind] for kind in sorted(meaning.mentioned)]
    shapes = STYLES[scene.style].group == "shapes"
    options = [
        kind
        for kind in KINDS.values()
        if (kind.group == "shapes") == shapes
        and kind.id not in scene.shows
        and (kind.id in meaning.mentioned or not any(confusable(kind, other) for other in named))
    ]
    mentioned = [kind for kind in options if kind.id in meaning.mentioned]
    kind = rng.choice(mentioned if mentioned and rng.random() < 0.4 else options)
    return _with(scene, _usual(kind, meaning, rng), rng, _ADDED)


def _usual(kind: Kind, meaning: Meaning, rng: SeededRandom) -> Thing:
    shapes = [shape for shape in kind.shapes if shape not in meaning.mentioned] or list(kind.shapes)
    return Thing(
        kind.id,
        (0.0, 0.0, 0.0, 0.0),
        rng.choice(kind.colours),
        shape=rng.choice(shapes) if shapes else "",
        pose=kind.poses[0].id if kind.poses else "",
        parts=tuple((part.word, part.usual) for part in kind.parts),
        flip=rng.random() < 0.5,
        tint=rng.integer(256),
    )


def _with(scene: Scene, thing: Thing, rng: SeededRandom, sizes: tuple[float, float]) -> Scene | None:
    things = list(scene.things)
    found = add_distractor(things, thing, rng, PLACES[scene.setting], sizes, tries=20)
    return replace(scene, things=tuple(things)) if found else None


def _remove(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """One thing less."""
    if len(scene.things) < 2:
        return None
    place = rng.integer(len(scene.things))
    return replace(scene, things=(*scene.things[:place], *scene.things[place + 1 :]))


def _resize(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """A larger or a smaller thing, on the same ground."""

    def resized(thing: Thing) -> Thing:
        size = min(max(thing.size * rng.uniform(0.6, 1.9), LEAST_SIZE), LARGEST_SIZE)
        return _placed(thing, size, (thing.box[0] + thing.box[2]) / 2, thing.box[3])

    return _one_changed(scene, rng, resized)


def _move(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """A thing elsewhere on the same ground."""

    def moved(thing: Thing) -> Thing:
        levels = PLACES[scene.setting].levels(KINDS[thing.kind], thing.pose)
        low, high = levels or (thing.box[3] - thing.box[1], 1.0)
        return _placed(thing, thing.size, rng.random(), rng.uniform(low, high))

    return _one_changed(scene, rng, moved)


def _placed(thing: Thing, size: float, centre: float, bottom: float) -> Thing:
    """A thing of a size with its lower edge at ``bottom``, inside the image."""
    width, height = extent(thing, size)
    scale = min(1.0, 0.98 / width, 0.98 / height)
    width, height = width * scale, height * scale
    left = min(max(centre - width / 2, 0.01), 0.99 - width)
    bottom = min(max(bottom, height + 0.01), 0.99)
    return replace(
        thing, box=(round(left, 5), round(bottom - height, 5), round(left + width, 5), round(bottom, 5))
    )


def _repaint(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """Another colour, texture or material of a thing."""

    def repainted(thing: Thing) -> Thing:
        kind = KINDS[thing.kind]
        dimension = rng.choice(("colour", "colour", "texture", "material"))
        values = kind.values(dimension)
        if dimension == "colour":
            values = tuple(lexicon.COLOURS)
        changes: dict[str, Any] = {dimension: rng.choice(values)} if values else {}
        return replace(thing, **changes)

    return _one_changed(scene, rng, repainted)


def _pose(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """Another pose of a thing."""

    def posed(thing: Thing) -> Thing:
        values = KINDS[thing.kind].values("pose")
        return replace(thing, pose=rng.choice(values)) if values else thing

    return _one_changed(scene, rng, lambda thing: _fitted(posed(thing)))


def _fitted(thing: Thing) -> Thing:
    return _placed(thing, thing.size, (thing.box[0] + thing.box[2]) / 2, thing.box[3])


def _one_changed(scene: Scene, rng: SeededRandom, change: Callable[[Thing], Thing]) -> Scene | None:
    if not scene.things:
        return None
    place = rng.integer(len(scene.things))
    things = (*scene.things[:place], change(scene.things[place]), *scene.things[place + 1 :])
    return replace(scene, things=things)


def _style(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """Another drawing style, other shades and details of the background."""
    if STYLES[scene.style].group:
        return None
    free = [style.id for style in STYLES.values() if not style.group]
    things = tuple(replace(thing, tint=rng.integer(256)) for thing in scene.things)
    return replace(scene, style=rng.choice(free), variant=rng.integer(8), things=things)


def _background(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Scene | None:
    """Another place, time of day or weather."""
    style = STYLES[scene.style]
    if style.places:
        return None
    setting = scene.setting if rng.random() < 0.4 else rng.choice(list(PLACES))
    place = PLACES[setting]
    lighting = rng.choice(tuple(lexicon.LIGHTINGS)) if place.lit else ""
    weathers = [name for name in lexicon.WEATHERS if not FALLING.get(name, frozenset()) & meaning.mentioned]
    weather = rng.choice(weathers) if place.open_air else ""
    if not all(place.takes(thing.pose) for thing in scene.things):
        return None
    shows = shown_by_background(place, style, lighting, weather, meaning.mentioned)
    return replace(scene, setting=setting, lighting=lighting, weather=weather, shows=tuple(sorted(shows)))


SCENE_CHANGES: Mapping[str, Callable[[Scene, Meaning, SeededRandom], Scene | None]] = MappingProxyType(
    {
        "copy": _copy,
        "add": _add,
        "remove": _remove,
        "resize": _resize,
        "move": _move,
        "repaint": _repaint,
        "pose": _pose,
        "style": _style,
        "background": _background,
    }
)
"""Every change by name."""
