"""From the meaning of a prompt to a scene: everything stated is met, everything else is drawn at random."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.settings import CELESTIAL, SETTINGS
from croc_syn.world.language.grammar import PromptError, parse
from croc_syn.world.language.meaning import Attribute, Group, Meaning
from croc_syn.world.scenes.layout import Item, NoRoom, place, place_extra
from croc_syn.world.scenes.oracle import has, hidden_share, holds
from croc_syn.world.scenes.scene import VERSION, Scene, Thing

T = TypeVar("T")

_NATURAL = {
    "wood": ("brown", "brown", "brown", "orange"),
    "stone": ("grey",),
    "metal": ("grey", "grey", "blue", "yellow"),
    "glass": ("turquoise", "blue", "green"),
}
"""Usual colours of a thing of which a material is stated and no colour."""

_COLOURS, _MATERIALS, _TEXTURES = (
    tuple(table) for table in (lexicon.COLOURS, lexicon.MATERIALS, lexicon.TEXTURES)
)

TRIES = 60
"""Layouts tried for one image before the prompt is said not to fit."""


class Dice:
    """Randomness that comes from (prompt, seed, attempt) alone, drawn in blocks because that is cheap."""

    def __init__(self, *names: object) -> None:
        digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode("utf-8", "surrogatepass"))
        self._rng = np.random.default_rng(int.from_bytes(digest.digest()[:16], "big"))
        self._block: list[float] = []

    def __call__(self) -> float:
        """A number from 0 to 1."""
        if not self._block:
            self._block = self._rng.random(256).tolist()
        return self._block.pop()

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        return low + (high - low) * self()

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1."""
        return int(self() * count)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self() * len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order."""
        return sorted(options, key=lambda _: self())


def sample(meaning: Meaning | str, seed: int, *, attempt: int = 0, distractors: bool = True) -> Scene:
    """A scene that shows what the prompt says and is free in everything else.

    Args:
        meaning: a prompt or what ``parse`` made of it.
        seed: the image's seed.
        attempt: counts redraws of the same image.
        distractors: whether things that the prompt does not name may appear.

    Raises:
        PromptError: the prompt is not controlled English, or what it asks for does not fit into one image.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    dice = Dice(VERSION, meaning.text or repr(meaning), seed, attempt)
    reason = ""
    for turn in range(TRIES):
        try:
            scene = _draw_once(meaning, dice, turn / TRIES, distractors)
        except NoRoom as error:
            reason = str(error)
            continue
        if holds(scene, meaning) and readable(scene):
            return scene
        reason = "no arrangement was found that is plain to the eye"
    raise PromptError(f"what the prompt asks for does not fit into one image: {reason}")


def readable(scene: Scene) -> bool:
    """Whether all in a scene can be seen and told apart: in the canvas, apart, never mostly hidden."""
    things = scene.things
    for i, thing in enumerate(things):
        left, top, right, bottom = thing.box
        if left < 0 or top < 0 or right > 1 or bottom > 1:
            return False
        for other in things[i + 1 :]:
            a, b = thing.box, other.box
            if a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]:
                continue
            contained = b[0] >= a[0] and b[1] >= a[1] and b[2] <= a[2] and b[3] <= a[3]
            if not (contained and KINDS[thing.kind].inner) and hidden_share(thing, other) > 0.5:
                return False
    return True


def _draw_once(meaning: Meaning, dice: Dice, effort: float, distractors: bool) -> Scene:
    setting, lighting, weather = _image(meaning, dice)
    named = meaning.named
    items: list[Item] = []
    for index, group in enumerate(meaning.groups):
        shared = dice() < 0.6
        first: Thing | None = None
        for _ in range(group.count):
            thing = _thing(group, meaning, dice, like=first if shared else None)
            first = first or thing
            items.append(Item(thing, index))
    horizon = SETTINGS[setting].horizon
    things = place(meaning, items, dice, horizon, effort)
    shows = set(SETTINGS[setting].shows)
    if weather == "dry" and not named & CELESTIAL[lighting]:
        shows |= CELESTIAL[lighting]
    if distractors and not meaning.only and effort < 0.8:
        _add_distractors(things, named | shows, dice, horizon, setting)
    return Scene(
        things=tuple(things),
        setting=setting,
        lighting=lighting,
        weather=weather,
        shows=tuple(sorted(shows)),
        variant=dice.below(8),
    )


@lru_cache(maxsize=4096)
def _said(attributes: tuple[Attribute, ...]) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The values that are stated, and those that are excluded, by dimension."""
    excluded: dict[str, set[str]] = {}
    for attribute in attributes:
        if not attribute.positive:
            excluded.setdefault(attribute.dimension, set()).add(attribute.value)
    return {a.dimension: a.value for a in attributes if a.positive}, excluded


@lru_cache(maxsize=4096)
def _places(named: frozenset[str], lit: bool, open_air: bool) -> tuple[str, ...]:
    """Places that show none of the named kinds; where asked, with a visible time of day and with weather."""
    return tuple(
        place.id
        for place in SETTINGS.values()
        if not place.shows & named and (place.lit or not lit) and (place.open_air or not open_air)
    )


def _image(meaning: Meaning, dice: Dice) -> tuple[str, str, str]:
    stated = {a.dimension: a.value for a in meaning.image}
    if "setting" in stated:
        setting = stated["setting"]
    else:
        options = _places(meaning.named, "lighting" in stated, "weather" in stated)
        setting = "plain" if "plain" in options and dice() < 0.3 else dice.pick(options)
    place = SETTINGS[setting]
    for name, possible in (("lighting", place.lit), ("weather", place.open_air)):
        if name in stated and not possible:
            words = lexicon.IMAGE_DIMENSIONS[name][stated[name]].words[0]
            raise PromptError(f'"{words}" cannot be seen "{place.words[0]}"; say another place')
    lighting, weather = stated.get("lighting"), stated.get("weather")
    if lighting is None:
        usual = dice() < 0.7
        lighting = "" if not place.lit else "day" if usual else dice.pick(tuple(lexicon.LIGHTINGS))
    if weather is None:
        usual = dice() < 0.88
        weather = "" if not place.open_air else "dry" if usual else dice.pick(tuple(lexicon.WEATHERS))
    return setting, lighting, weather


def _thing(group: Group, meaning: Meaning, dice: Dice, like: Thing | None) -> Thing:
    kind = KINDS[group.kind]
    said = group.attributes
    absences = [a for a in meaning.absences if a.kind == group.kind]
    for _ in range(30):
        thing = _look(kind, said, dice, like)
        # Sizes are drawn with the layout, which excludes them there.
        if not any(
            absence.attributes and all(a.dimension != "size" and has(thing, a) for a in absence.attributes)
            for absence in absences
        ):
            return thing
        like = None
    raise NoRoom(f"no look of a {kind.words[0]} is left")


def _look(kind: Kind, said: tuple[Attribute, ...], dice: Dice, like: Thing | None) -> Thing:
    stated, excluded = _said(said)

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
                raise NoRoom(f"every {dimension} is excluded")
        if same in options and same is not None:
            return same
        return dice.pick(likely) if likely and dice() < how_usual else dice.pick(options)

    natural = _NATURAL.get(stated.get("material", ""), kind.colours)
    colour = choose("colour", natural, _COLOURS, 0.8, like.colour if like else None)
    material = choose("material", ("paint",), _MATERIALS, 0.97, like.material if like else None)
    plain = 0.9 if material == "paint" else 1.0
    texture = choose("texture", ("plain",), _TEXTURES, plain, like.texture if like else None)
    shape = (
        choose("shape", kind.shapes, kind.shapes, 1.0, like.shape if like else None) if kind.shapes else ""
    )
    poses = [pose.id for pose in kind.poses]
    # Legs under a sleeping dog cannot be counted: with a number of parts stated, the usual pose shows them.
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
        dice() < 0.5,
        dice.below(256),
    )


@lru_cache(maxsize=4096)
def _bystanders(taken: frozenset[str], plain: bool) -> list[Kind]:
    """Kinds that may appear unasked beside those that are taken."""
    # A star-shaped balloon beside "a star" would leave it open which of them is meant.
    shapes = taken & set(lexicon.SHAPES)
    return [
        kind
        for kind in KINDS.values()
        if kind.id not in taken and not shapes & set(kind.shapes) and (plain or kind.group != "shapes")
    ]


def _add_distractors(
    things: list[Thing], taken: frozenset[str] | set[str], dice: Dice, horizon: float | None, setting: str
) -> None:
    wanted = dice.pick((0, 1, 1, 2, 2, 3)) if len(things) < 7 else dice.below(2)
    if not wanted:
        return
    options = _bystanders(frozenset(taken), setting == "plain")
    fitting = [kind for kind in options if setting in kind.where]
    for _ in range(wanted):
        kind = dice.pick(fitting) if fitting and dice() < 0.5 else dice.pick(options)
        if any(thing.kind == kind.id for thing in things):
            continue
        place_extra(things, _look(kind, (), dice, None), dice, horizon)
