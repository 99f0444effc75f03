"""The sampler: meaning → scene. What the prompt states is satisfied, everything else is drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.places import CELESTIAL, PLACES
from croc_syn.world.language.meaning import Attribute, Group, Meaning
from croc_syn.world.language.parser import PromptError, parse
from croc_syn.world.scenes.layout import Item, LayoutError, add_distractor, lay_out
from croc_syn.world.scenes.oracle import all_visible, has_attribute, satisfies
from croc_syn.world.scenes.scene import VERSION, Scene, Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

_NATURAL = {
    "wood": ("brown", "brown", "brown", "orange"),
    "stone": ("grey",),
    "metal": ("grey", "grey", "blue", "yellow"),
    "glass": ("turquoise", "blue", "green"),
}
"""By material: usual colours of a thing whose material is stated and whose colour is not."""

_COLOURS, _MATERIALS, _TEXTURES = (
    tuple(table) for table in (lexicon.COLOURS, lexicon.MATERIALS, lexicon.TEXTURES)
)

TRIES = 60
"""Attempts at a layout before an error says that the prompt does not fit into one image."""


def sample(meaning: Meaning | str, seed: int, *, attempt: int = 0, distractors: bool = True) -> Scene:
    """Sample a scene that satisfies a prompt; everything that the prompt leaves open is random.

    Args:
        meaning: a prompt, or its meaning.
        seed: seed of the image.
        attempt: number of the redraw of the same image.
        distractors: whether things that the prompt does not mention may appear.

    Raises:
        PromptError: the prompt is not controlled English, or what it requires does not fit into one image.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    rng = SeededRandom(VERSION, meaning.text or repr(meaning), seed, attempt)
    reason = ""
    for number in range(TRIES):
        try:
            scene = _sample_once(meaning, rng, number / TRIES, distractors)
        except LayoutError as error:
            reason = str(error)
            continue
        if satisfies(scene, meaning) and all_visible(scene):
            return scene
        reason = "no layout was found in which everything can be seen clearly"
    raise PromptError(f"what the prompt requires does not fit into one image: {reason}")


def _sample_once(meaning: Meaning, rng: SeededRandom, effort: float, distractors: bool) -> Scene:
    setting, lighting, weather = _sample_background(meaning, rng)
    mentioned = meaning.mentioned
    items: list[Item] = []
    for index, group in enumerate(meaning.groups):
        shared = rng.random() < 0.6
        first: Thing | None = None
        for _ in range(group.count):
            thing = _sample_thing(group, meaning, rng, like=first if shared else None)
            first = first or thing
            items.append(Item(thing, index))
    horizon = PLACES[setting].horizon
    things = lay_out(meaning, items, rng, horizon, effort)
    shows = set(PLACES[setting].shows)
    if weather == "dry" and not mentioned & CELESTIAL[lighting]:
        shows |= CELESTIAL[lighting]
    if distractors and not meaning.only and effort < 0.8:
        _add_distractors(things, mentioned | shows, rng, horizon, setting)
    return Scene(
        things=tuple(things),
        setting=setting,
        lighting=lighting,
        weather=weather,
        shows=tuple(sorted(shows)),
        variant=rng.integer(8),
    )


@lru_cache(maxsize=4096)
def _constraints(attributes: tuple[Attribute, ...]) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The values that are stated, and those that are excluded, by dimension."""
    excluded: dict[str, set[str]] = {}
    for attribute in attributes:
        if not attribute.positive:
            excluded.setdefault(attribute.dimension, set()).add(attribute.value)
    return {a.dimension: a.value for a in attributes if a.positive}, excluded


@lru_cache(maxsize=4096)
def _possible_places(mentioned: frozenset[str], lit: bool, open_air: bool) -> tuple[str, ...]:
    """Places that show none of the kinds; on request with a visible time of day and with weather."""
    return tuple(
        place.id
        for place in PLACES.values()
        if not place.shows & mentioned and (place.lit or not lit) and (place.open_air or not open_air)
    )


def _sample_background(meaning: Meaning, rng: SeededRandom) -> tuple[str, str, str]:
    stated = {a.dimension: a.value for a in meaning.image}
    if "setting" in stated:
        setting = stated["setting"]
    else:
        options = _possible_places(meaning.mentioned, "lighting" in stated, "weather" in stated)
        setting = "plain" if "plain" in options and rng.random() < 0.3 else rng.choice(options)
    place = PLACES[setting]
    for name, possible in (("lighting", place.lit), ("weather", place.open_air)):
        if name in stated and not possible:
            words = lexicon.IMAGE_DIMENSIONS[name][stated[name]].words[0]
            raise PromptError(f'"{words}" cannot be seen "{place.words[0]}"; choose another place')
    lighting, weather = stated.get("lighting"), stated.get("weather")
    if lighting is None:
        usual = rng.random() < 0.7
        lighting = "" if not place.lit else "day" if usual else rng.choice(tuple(lexicon.LIGHTINGS))
    if weather is None:
        usual = rng.random() < 0.88
        weather = "" if not place.open_air else "dry" if usual else rng.choice(tuple(lexicon.WEATHERS))
    return setting, lighting, weather


def _sample_thing(group: Group, meaning: Meaning, rng: SeededRandom, like: Thing | None) -> Thing:
    kind = KINDS[group.kind]
    absences = [a for a in meaning.absences if a.kind == group.kind]
    for _ in range(30):
        thing = _sample_appearance(kind, group.attributes, rng, like)
        # Sizes are part of the layout, which excludes them.
        if not any(
            absence.attributes
            and all(a.dimension != "size" and has_attribute(thing, a) for a in absence.attributes)
            for absence in absences
        ):
            return thing
        like = None
    raise LayoutError(f"no appearance of a {kind.words[0]} satisfies the prompt")


def _sample_appearance(
    kind: Kind, attributes: tuple[Attribute, ...], rng: SeededRandom, like: Thing | None
) -> Thing:
    """A thing without a box; what the attributes leave open is that of ``like``, or random."""
    stated, excluded = _constraints(attributes)

    def choose(
        dimension: str, usual: Sequence[str], every: Sequence[str], how_usual: float, same: str | None
    ) -> str:
        if dimension in stated:
            return stated[dimension]
        options, likely = every, usual
        if dimension in excluded:
            options = [value for value in every if value not in excluded[dimension]]
            likely = [value for value in usual if value not in excluded[dimension]]
            if not options:
                raise LayoutError(f"every {dimension} is excluded")
        if same in options and same is not None:
            return same
        return rng.choice(likely) if likely and rng.random() < how_usual else rng.choice(options)

    natural = _NATURAL.get(stated.get("material", ""), kind.colours)
    colour = choose("colour", natural, _COLOURS, 0.8, like.colour if like else None)
    material = choose("material", ("paint",), _MATERIALS, 0.97, like.material if like else None)
    plain = 0.9 if material == "paint" else 1.0
    texture = choose("texture", ("plain",), _TEXTURES, plain, like.texture if like else None)
    shape = (
        choose("shape", kind.shapes, kind.shapes, 1.0, like.shape if like else None) if kind.shapes else ""
    )
    poses = [pose.id for pose in kind.poses]
    # Legs under a sleeping dog cannot be counted: a stated number of parts needs the usual pose.
    counted = any(name.startswith("part:") for name in (*stated, *excluded))
    pose = choose("pose", poses[:1], poses, 1.0 if counted else 0.3, None) if poses else ""
    parts = []
    for part in kind.parts:
        name, count = f"part:{part.word}", part.usual
        if name in stated or name in excluded:
            span = [str(n) for n in range(part.low, part.high + 1)]
            count = int(choose(name, (str(count),), span, 1.0, None))
        parts.append((part.word, count))
    return Thing(
        kind.id,
        (0.0, 0.0, 0.0, 0.0),
        colour,
        texture,
        material,
        shape,
        pose,
        tuple(parts),
        rng.random() < 0.5,
        rng.integer(256),
    )


@lru_cache(maxsize=4096)
def _possible_distractors(taken: frozenset[str], plain: bool) -> list[Kind]:
    """Kinds that may appear although the prompt does not mention them."""
    # Beside a star-shaped balloon it would not be clear which of them "a star" is.
    shapes = taken & set(lexicon.SHAPES)
    return [
        kind
        for kind in KINDS.values()
        if kind.id not in taken and not shapes & set(kind.shapes) and (plain or kind.group != "shapes")
    ]


def _add_distractors(
    things: list[Thing],
    taken: frozenset[str] | set[str],
    rng: SeededRandom,
    horizon: float | None,
    setting: str,
) -> None:
    number = rng.choice((0, 1, 1, 2, 2, 3)) if len(things) < 7 else rng.integer(2)
    if not number:
        return
    options = _possible_distractors(frozenset(taken), setting == "plain")
    fitting = [kind for kind in options if setting in kind.where]
    for _ in range(number):
        kind = rng.choice(fitting) if fitting and rng.random() < 0.5 else rng.choice(options)
        if any(thing.kind == kind.id for thing in things):
            continue
        add_distractor(things, _sample_appearance(kind, (), rng, None), rng, horizon)
