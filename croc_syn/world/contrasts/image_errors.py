"""Images with one error, as image generators make them: the scene of an image is edited and drawn again.

The image was drawn from a prompt. The edited scene has a wrong number of things, two kinds of things
exchanged, a thing missing or a wrong property, and the oracle confirms that it does not satisfy the prompt.
Everything else stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from croc.errors import InputError
from croc_syn.world.contrasts.prompt_pairs import stateable
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.drawing.renderer import render
from croc_syn.world.language.meaning import Attribute, Meaning
from croc_syn.world.language.parser import parse
from croc_syn.world.scenes.layout import add_distractor, extent
from croc_syn.world.scenes.oracle import all_supported, all_visible, matches, satisfies
from croc_syn.world.scenes.scene import VERSION, Scene, Thing, read_scene
from croc_syn.world.scenes.seeded_random import SeededRandom

Edits = Iterator[Scene]


def draw_with_error(png: bytes, prompt: str, kind: str, seed: int) -> bytes | None:
    """Draw an image of the exact world again with an error.

    Args:
        png: an image of the exact world, which carries its scene.
        prompt: what the image shows.
        kind: a key of :data:`IMAGE_ERRORS`.
        seed: of the random choices.

    Returns:
        A PNG of the same size that carries the edited scene; None if the prompt has no such error that can be
        drawn.

    Raises:
        InputError: an unknown kind of error, or the image carries no scene.
    """
    scene = with_error(read_scene(png), prompt, kind, seed)
    return None if scene is None else render(scene, int.from_bytes(png[16:20], "big"))


def with_error(scene: Scene, prompt: str, kind: str, seed: int) -> Scene | None:
    """A scene that differs from another in one error and so does not satisfy its prompt; None without one.

    Raises:
        InputError: an unknown kind of error.
    """
    if kind not in IMAGE_ERRORS:
        raise InputError(f"no image error is called {kind!r}; expected {', '.join(IMAGE_ERRORS)}")
    meaning = parse(prompt)
    rng = SeededRandom("image error", VERSION, kind, prompt, scene.to_json(), seed)
    for edited in IMAGE_ERRORS[kind](scene, meaning, rng):
        if all_visible(edited) and all_supported(edited) and not satisfies(edited, meaning):
            return edited
    return None


def _stated_kinds(scene: Scene, meaning: Meaning, rng: SeededRandom) -> list[str]:
    """Kinds of which the prompt says that they are there, in random order."""
    return rng.shuffled(sorted({group.kind for group in meaning.groups} & {t.kind for t in scene.things}))


def _wrong_count(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Edits:
    """One more or one less thing of a kind; at least one is left."""
    for kind in _stated_kinds(scene, meaning, rng):
        members = [i for i, thing in enumerate(scene.things) if thing.kind == kind]
        for change in rng.shuffled(("more", "less")):
            if change == "less" and len(members) > 1:
                for left_out in rng.shuffled(members):
                    yield _without(scene, {left_out})
            if change == "more":
                like = scene.things[rng.choice(members)]
                things = list(scene.things)
                copy = replace(like, flip=rng.random() < 0.5)
                place = PLACES[scene.setting]
                for low, high in ((0.7, 1.1), (0.35, 0.7)):  # a smaller one where there is little room
                    sizes = (max(low * like.size, 0.08), max(high * like.size, 0.12))
                    if add_distractor(things, copy, rng, place, sizes, tries=60):
                        yield replace(scene, things=tuple(things))
                        break


def _missing(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Edits:
    """No thing of a kind that the prompt names."""
    for kind in _stated_kinds(scene, meaning, rng):
        yield _without(scene, {i for i, thing in enumerate(scene.things) if thing.kind == kind})


def _wrong_binding(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Edits:
    """Two kinds exchanged: each has the places, the number and the properties of the other."""
    kinds = _stated_kinds(scene, meaning, rng)
    for number, first in enumerate(kinds):
        for second in kinds[number + 1 :]:
            model = {thing.kind: thing for thing in scene.things}
            other = {first: model[second], second: model[first]}
            things = []
            for thing in scene.things:
                if thing.kind in other:
                    own = other[thing.kind]
                    own = replace(thing, kind=own.kind, shape=own.shape, pose=own.pose, parts=own.parts)
                    if not KINDS[own.kind].surface:
                        own = replace(own, texture="plain", material="paint")
                    thing = _fitted(own, thing)
                things.append(thing)
            yield replace(scene, things=tuple(things))


def _wrong_attribute(scene: Scene, meaning: Meaning, rng: SeededRandom) -> Edits:
    """Another value of a property that the prompt states of a thing."""
    stated = [(group.kind, attribute) for group in meaning.groups for attribute in group.attributes]
    for kind, attribute in rng.shuffled([(kind, one) for kind, one in stated if one.positive]):
        fitting = [
            i for i, thing in enumerate(scene.things) if thing.kind == kind and matches(thing, attribute)
        ]
        for place in rng.shuffled(fitting):
            thing = scene.things[place]
            for changed in rng.shuffled(_other_values(thing, attribute)):
                things = (*scene.things[:place], _fitted(changed, thing), *scene.things[place + 1 :])
                yield replace(scene, things=things)


def _other_values(thing: Thing, attribute: Attribute) -> list[Thing]:
    """A thing with every other value of a property; none for a size, which is a matter of the layout."""
    kind, name = KINDS[thing.kind], attribute.dimension
    if name.startswith("part:"):
        part, parts = kind.part(name[5:]), dict(thing.parts)
        numbers = range(part.low, part.high + 1) if part is not None else range(0)
        return [
            replace(thing, parts=tuple((parts | {name[5:]: number}).items()))
            for number in numbers
            if str(number) != attribute.value
        ]
    if name not in ("colour", "texture", "material", "shape", "pose"):
        return []
    values = stateable(name, kind) if name in lexicon.THING_DIMENSIONS else list(kind.values(name))
    changes: list[dict[str, Any]] = [{name: value} for value in values if value != attribute.value]
    return [replace(thing, **change) for change in changes]


def _fitted(thing: Thing, old: Thing) -> Thing:
    """A changed thing with the size of the old one, at its position on the ground, inside the image."""
    width, height = extent(thing, old.size)
    left = min(max((old.box[0] + old.box[2] - width) / 2, 0.0), 1.0 - width)
    bottom = max(old.box[3], height)
    box = (left, bottom - height, left + width, bottom)
    left, top, right, bottom = (round(end, 5) for end in box)
    return replace(thing, box=(left, top, right, bottom))


def _without(scene: Scene, places: set[int]) -> Scene:
    return replace(scene, things=tuple(t for i, t in enumerate(scene.things) if i not in places))


IMAGE_ERRORS: Mapping[str, Callable[[Scene, Meaning, SeededRandom], Edits]] = MappingProxyType(
    {
        "count": _wrong_count,
        "binding": _wrong_binding,
        "missing": _missing,
        "attribute": _wrong_attribute,
    }
)
"""The kinds of error: what each yields are candidates, most likely ones first."""
