"""The sampler: meaning → scene. What the prompt states is satisfied, everything else is drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind, confusable
from croc_syn.world.declarations.kinds.registry import HIDING_POSES
from croc_syn.world.declarations.places import CELESTIAL, FALLING, PLACES, Place
from croc_syn.world.declarations.styles import USUAL, Style, find_style
from croc_syn.world.language.meaning import Attribute, Meaning
from croc_syn.world.language.parser import PromptError, parse
from croc_syn.world.scenes.layout import Item, LayoutError, add_distractor, lay_out
from croc_syn.world.scenes.oracle import all_supported, all_visible, lacks_reference, matches, satisfies
from croc_syn.world.scenes.scene import VERSION, Scene, Thing
from croc_syn.world.scenes.scope import HeldOut
from croc_syn.world.scenes.seeded_random import SeededRandom

_NATURAL = {
    "wood": ("brown", "brown", "brown", "orange"),
    "stone": ("grey",),
    "metal": ("grey", "grey", "blue", "yellow"),
    "glass": ("turquoise", "blue", "green"),
}
"""By material: usual colours of a thing whose material is stated and whose colour is not."""

_COLOURS = tuple(lexicon.COLOURS)
_LARGEST_REFERENCE = 0.45
"""Largest size of a thing that is added to show how small another one is."""

TRIES = 60
"""Attempts at a layout before an error says that the prompt does not fit into one image."""


def sample(
    meaning: Meaning | str,
    seed: int,
    *,
    attempt: int = 0,
    distractors: bool = True,
    style: str = USUAL,
    avoided: HeldOut | None = None,
) -> Scene:
    """Sample a scene that satisfies a prompt; everything that the prompt leaves open is random.

    Args:
        meaning: a prompt, or its meaning.
        seed: seed of the image.
        attempt: number of the redraw of the same image.
        distractors: whether things that the prompt does not mention may appear; what shows how large a thing
            of a stated size is may always.
        style: id of the drawing style.
        avoided: what the scene must not show, because it is held out of a training set.

    Raises:
        PromptError: the prompt is not controlled English, what it requires does not fit into one image, or
            the style does not draw it.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    chosen = find_style(style)
    _refuse_what_it_does_not_draw(chosen, meaning)
    rng = SeededRandom(VERSION, meaning.text or repr(meaning), seed, attempt)
    reason = ""
    for number in range(TRIES):
        try:
            scene = _sample_once(meaning, rng, number / TRIES, distractors, chosen, avoided)
        except LayoutError as error:
            reason = str(error)
            continue
        if avoided is not None and avoided.is_in_scene(scene):
            reason = "every scene showed something that is held out"
            continue
        if satisfies(scene, meaning) and all_visible(scene) and all_supported(scene):
            return scene
        reason = "no layout was found in which everything can be seen clearly"
    raise PromptError(f"what the prompt requires does not fit into one image: {reason}")


def _refuse_what_it_does_not_draw(style: Style, meaning: Meaning) -> None:
    """Raise an error for things and places that are not drawn in a style."""
    for kind in sorted(meaning.mentioned):
        if style.group and KINDS[kind].group != style.group:
            raise PromptError(f"the style {style.id} draws {style.group} only, no {KINDS[kind].plurals[0]}")
        if kind in style.shows:
            words = KINDS[kind].plurals[0]
            raise PromptError(
                f"the style {style.id} already shows {words}, so that their number is not certain"
            )
    for attribute in meaning.image:
        if style.places and not (attribute.dimension == "setting" and attribute.value in style.places):
            words = ", ".join(PLACES[place].words[0] for place in sorted(style.places))
            raise PromptError(f"the style {style.id} draws things {words} only")


def _sample_once(
    meaning: Meaning,
    rng: SeededRandom,
    effort: float,
    distractors: bool,
    style: Style,
    avoided: HeldOut | None,
) -> Scene:
    setting, lighting, weather = _sample_background(meaning, rng, style)
    mentioned = meaning.mentioned
    items: list[Item] = []
    for index, group in enumerate(meaning.groups):
        shared = rng.random() < 0.6
        first: Thing | None = None
        for _ in range(group.count):
            thing = _sample_thing(
                index, meaning, setting, rng, first if shared else None, style.bare, avoided
            )
            first = first or thing
            items.append(Item(thing, index))
    place = PLACES[setting]
    things = lay_out(meaning, items, rng, place, effort)
    shows = shown_by_background(place, style, lighting, weather, mentioned)
    shapes_only = style.group == "shapes"
    options = _possible_distractors(mentioned, shows, setting == "plain", shapes_only)
    if avoided is not None:
        options = [kind for kind in options if kind.id not in avoided.nouns]
    _add_references(things, meaning, options, rng, place, style.bare)
    if distractors and not meaning.only and effort < 0.8:
        _add_distractors(things, mentioned, options, rng, place, style.bare)
    return Scene(
        things=tuple(things),
        setting=setting,
        lighting=lighting,
        weather=weather,
        shows=tuple(sorted(shows)),
        variant=rng.integer(8),
        style=style.id,
    )


def shown_by_background(
    place: Place, style: Style, lighting: str, weather: str, mentioned: frozenset[str]
) -> frozenset[str]:
    """Kinds that the background itself depicts; sun, moon and stars are left out of a sky if mentioned."""
    shows = place.shows | style.shows | FALLING.get(weather, frozenset())
    if weather == "dry" and not mentioned & CELESTIAL[lighting]:
        shows |= CELESTIAL[lighting]
    return shows


@lru_cache(maxsize=4096)
def _constraints(attributes: tuple[Attribute, ...]) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The values that are stated, and those that are excluded, by dimension."""
    excluded: dict[str, set[str]] = {}
    for attribute in attributes:
        if not attribute.positive:
            excluded.setdefault(attribute.dimension, set()).add(attribute.value)
    return {a.dimension: a.value for a in attributes if a.positive}, excluded


@lru_cache(maxsize=4096)
def _possible_places(
    mentioned: frozenset[str], lit: bool, open_air: bool, poses: frozenset[str], among: frozenset[str]
) -> tuple[str, ...]:
    """Places that show none of the kinds and take the poses; on request with a time of day and weather."""
    return tuple(
        place.id
        for place in PLACES.values()
        if (not among or place.id in among)
        and not place.shows & mentioned
        and (place.lit or not lit)
        and (place.open_air or not open_air)
        and all(place.takes(pose) for pose in poses)
    )


def _sample_background(meaning: Meaning, rng: SeededRandom, style: Style) -> tuple[str, str, str]:
    stated = {a.dimension: a.value for a in meaning.image}
    poses = frozenset(
        a.value for group in meaning.groups for a in group.attributes if a.dimension == "pose" and a.positive
    )
    if "setting" in stated:
        setting = stated["setting"]
    else:
        options = _possible_places(
            meaning.mentioned, "lighting" in stated, "weather" in stated, poses, style.places
        )
        if not options:
            raise PromptError("no place shows what the prompt requires and nothing else of its kinds")
        setting = "plain" if "plain" in options and rng.random() < 0.3 else rng.choice(options)
    place = PLACES[setting]
    for name, possible in (("lighting", place.lit), ("weather", place.open_air)):
        if name in stated and not possible:
            words = lexicon.IMAGE_DIMENSIONS[name][stated[name]].words[0]
            raise PromptError(f'"{words}" cannot be seen "{place.words[0]}"; choose another place')
    for pose in sorted(poses):
        if not place.takes(pose):
            raise PromptError(f'nothing can be drawn {pose} "{place.words[0]}"; choose another place')
    clear = [name for name in lexicon.WEATHERS if not FALLING.get(name, frozenset()) & meaning.mentioned]
    lighting, weather = stated.get("lighting"), stated.get("weather")
    if weather is not None and weather not in clear:
        kind = KINDS[min(FALLING[weather] & meaning.mentioned)]
        words = lexicon.WEATHERS[weather].words[0]
        raise PromptError(f'"{words}" already shows {kind.plurals[0]}, so that their number cannot be stated')
    if lighting is None:
        usual = rng.random() < 0.7
        lighting = "" if not place.lit else "day" if usual else rng.choice(tuple(lexicon.LIGHTINGS))
    if weather is None:
        usual = rng.random() < 0.88
        weather = "" if not place.open_air else "dry" if usual else rng.choice(clear)
    return setting, lighting, weather


def _sample_thing(
    index: int,
    meaning: Meaning,
    setting: str,
    rng: SeededRandom,
    like: Thing | None,
    bare: bool,
    avoided: HeldOut | None,
) -> Thing:
    group = meaning.groups[index]
    kind = KINDS[group.kind]
    poses = _free_poses(kind, PLACES[setting], floating=_is_placed_by_a_relation(index, meaning))
    absences = [a for a in meaning.absences if a.kind == group.kind]
    for _ in range(30):
        thing = _sample_appearance(kind, group.attributes, rng, like, poses, meaning.mentioned, bare)
        if avoided is not None and avoided.is_on(thing):
            like = None
            continue
        # Sizes are part of the layout, which excludes them.
        if not any(
            absence.attributes
            and all(a.dimension != "size" and matches(thing, a) for a in absence.attributes)
            for absence in absences
        ):
            return thing
        like = None
    raise LayoutError(f"no appearance of a {kind.words[0]} satisfies the prompt")


@lru_cache(maxsize=4096)
def _free_poses(kind: Kind, place: Place, floating: bool) -> tuple[str, ...]:
    """Poses that a kind may have where the prompt states none; ``floating``: it may be in mid-air."""
    poses = kind.values("pose")
    if floating:
        return tuple(pose for pose in poses if pose not in HIDING_POSES)[:1] or poses[:1]
    return tuple(pose for pose in poses if place.takes(pose)) or poses[:1]


def _is_placed_by_a_relation(index: int, meaning: Meaning) -> bool:
    """Whether a phrase's things may be in mid-air, because of an arrangement or of what they are above."""
    if meaning.groups[index].layout or sum(group.count for group in meaning.groups) >= 7:
        return True
    return any(
        link.relation in ("above", "on", "inside") and index in (link.a, link.b) for link in meaning.links
    )


def _sample_appearance(
    kind: Kind,
    attributes: tuple[Attribute, ...],
    rng: SeededRandom,
    like: Thing | None,
    poses: Sequence[str],
    mentioned: frozenset[str],
    bare: bool,
) -> Thing:
    """A thing without a box; what the attributes leave open is that of ``like``, or random.

    Args:
        kind: of the thing.
        attributes: what is stated.
        rng: random numbers.
        like: a thing of the same phrase, or None.
        poses: the poses it may have unless one is stated.
        mentioned: kinds that the prompt mentions; it takes the shape of none of them.
        bare: whether it has no texture and no material unless one is stated.
    """
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
    materials = tuple(dict.fromkeys(("paint", *kind.values("material"))))
    # A pattern would mix black, grey and white.
    clear = (
        bare or stated.get("colour") in lexicon.SHADES or bool(excluded.get("colour", set()) & lexicon.SHADES)
    )
    material = choose(
        "material", ("paint",), materials, 1.0 if clear else 0.97, like.material if like else None
    )
    plain = 0.9 if material == "paint" and not clear else 1.0
    textures = tuple(dict.fromkeys(("plain", *kind.values("texture"))))
    texture = choose("texture", ("plain",), textures, plain, like.texture if like else None)
    shapes = [shape for shape in kind.shapes if shape not in mentioned] or kind.shapes
    shape = choose("shape", shapes, shapes, 1.0, like.shape if like else None) if kind.shapes else ""
    # Legs under a sleeping dog cannot be counted: a stated number of parts needs the usual pose.
    counted = any(name.startswith("part:") for name in (*stated, *excluded))
    usual = kind.values("pose")[:1]
    likely = [pose for pose in poses if pose in usual] or poses[:1]
    options = usual if counted else poses
    pose = choose("pose", usual if counted else likely, options, 0.3, None) if usual else ""
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
def _possible_distractors(
    mentioned: frozenset[str], shows: frozenset[str], plain: bool, shapes_only: bool
) -> list[Kind]:
    """Kinds that may appear although the prompt does not mention them."""
    return [
        kind
        for kind in KINDS.values()
        if kind.id not in mentioned | shows
        # Beside a star-shaped balloon it would not be clear which of them "a star" is.
        and not any(confusable(kind, KINDS[known]) for known in mentioned)
        and (plain if kind.group == "shapes" else not shapes_only)
    ]


def _add_references(
    things: list[Thing],
    meaning: Meaning,
    options: Sequence[Kind],
    rng: SeededRandom,
    place: Place,
    bare: bool,
) -> None:
    """Add what shows how large the things of a stated size are, where nothing in the image does."""
    sizes = {a.value for g in meaning.groups for a in g.attributes if a.dimension == "size" and a.positive}
    kinds = {g.kind for g in meaning.groups if any(a.dimension == "size" for a in g.attributes)}
    if not sizes or not options:
        return
    for _ in range(4):
        missing = (lacks_reference(things, thing) for thing in things if thing.kind in kinds)
        span = next((sizes for sizes in missing if sizes is not None), None)
        if span is None:
            return
        if meaning.only:
            raise LayoutError("nothing else may be in the image, so that nothing shows how large a thing is")
        low = max(span[0] * 1.02, lexicon.SIZE_LIMITS[0])
        high = min(span[1] * 0.98, _LARGEST_REFERENCE, low + 0.12)
        kind = rng.choice(options)
        if low > high or any(thing.kind == kind.id for thing in things):
            continue
        thing = _sample_appearance(
            kind, (), rng, None, _free_poses(kind, place, False), meaning.mentioned, bare
        )
        add_distractor(things, thing, rng, place, (low, high), tries=30)


def _add_distractors(
    things: list[Thing],
    mentioned: frozenset[str],
    options: Sequence[Kind],
    rng: SeededRandom,
    place: Place,
    bare: bool,
) -> None:
    number = rng.choice((0, 1, 1, 2, 2, 3)) if len(things) < 7 else rng.integer(2)
    if not number or not options:
        return
    fitting = [kind for kind in options if place.id in kind.where]
    for _ in range(number):
        kind = rng.choice(fitting) if fitting and rng.random() < 0.5 else rng.choice(options)
        if any(thing.kind == kind.id for thing in things):
            continue
        thing = _sample_appearance(kind, (), rng, None, _free_poses(kind, place, False), mentioned, bare)
        add_distractor(things, thing, rng, place)
