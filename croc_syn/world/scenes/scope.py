"""What prompts and scenes may be about: a drawing style, and what is held out of a training set.

Nouns, values, sentence frames and compositions (a noun together with a value) can be held out. A training set
then contains no prompt, no claim and no scene with one of them, and a test set can be about nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.declarations.styles import STYLES, USUAL, Style
from croc_syn.world.language.frames import frames_of
from croc_syn.world.language.meaning import Attribute, Group, Meaning
from croc_syn.world.language.parser import parse
from croc_syn.world.language.wording import FRAMES
from croc_syn.world.scenes.oracle import is_arranged
from croc_syn.world.scenes.scene import Scene, Thing

SORTS = ("nouns", "values", "frames", "compositions")
"""What can be held out."""

_LOOKS = ("colour", "texture", "material", "shape", "pose")
"""Properties of one thing that are drawn whether or not a prompt states them."""
_ORDINARY = frozenset(
    {"texture=plain", "material=paint", "lighting=day", "weather=dry", "setting=plain", "count=1"}
) | {f"pose={kind.poses[0].id}" for kind in KINDS.values() if kind.poses}
"""Values of ordinary things and scenes; a share of the values never includes them."""
_FEWEST = 4
"""A share is taken of properties with at least this number of values, so that a contrast remains possible."""


@lru_cache(maxsize=1)
def _values() -> Mapping[str, tuple[str, ...]]:
    """Values by property, each as ``property=value``."""
    tables: dict[str, Iterable[str]] = {name: table for name, table in lexicon.THING_DIMENSIONS.items()}
    tables |= {name: table for name, table in lexicon.IMAGE_DIMENSIONS.items()}
    tables |= {
        "pose": dict.fromkeys(pose.id for kind in KINDS.values() for pose in kind.poses),
        "layout": lexicon.LAYOUTS,
        "relation": lexicon.RELATIONS,
        "setting": PLACES,
        "count": [str(number) for number in range(1, 10)],
    }
    return {name: tuple(f"{name}={value}" for value in values) for name, values in tables.items()}


@lru_cache(maxsize=1)
def _compositions() -> tuple[str, ...]:
    return tuple(
        f"{kind.id}:{name}={value}"
        for kind in KINDS.values()
        for name in _LOOKS
        for value in kind.values(name)
        if f"{name}={value}" not in _ORDINARY
    )


def entries(sort: str) -> tuple[str, ...]:
    """Everything of one sort that can be held out: ids, or ``colour=red``, or ``dog:colour=red``."""
    if sort == "nouns":
        return tuple(KINDS)
    if sort == "values":
        return tuple(value for values in _values().values() for value in values)
    return tuple(FRAMES) if sort == "frames" else _compositions()


def _share_of(sort: str, share: float) -> frozenset[str]:
    """The entries that a share selects: always the same ones, and of a larger share more."""
    groups: Iterable[Sequence[str]] = (entries(sort),)
    if sort == "values":
        open_values = ([v for v in values if v not in _ORDINARY] for values in _values().values())
        groups = [values for values in open_values if len(values) >= _FEWEST]
    chosen: list[str] = []
    for group in groups:
        ranked = sorted(group, key=lambda entry: stable_hash("held out", sort, entry))
        chosen += ranked[: max(1, round(share * len(group)))]
    return frozenset(chosen)


class OutOfScope(InputError):
    """No prompt about this is possible in a scope, or none was found; another seed hardly helps."""


@dataclass(frozen=True)
class HeldOut:
    """What is held out.

    Attributes:
        nouns: ids of kinds.
        values: ``property=value``: colour, size, texture, material, shape, pose, layout, relation, count,
            setting, lighting or weather. ``count=4`` is four things, or four parts of a thing, in a prompt,
            and four things of one kind in a scene.
        frames: names of ``FRAMES`` ("place first").
        compositions: ``noun:property=value``.
    """

    nouns: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    frames: frozenset[str] = frozenset()
    compositions: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.nouns or self.values or self.frames or self.compositions)

    @classmethod
    def of(cls, options: Sequence[str]) -> HeldOut:
        """Read options such as ``nouns=0.2`` (a share) and ``values=colour=red,count=7`` (a list).

        Raises:
            InputError: an option is not of this form, or names something that does not exist.
        """
        chosen: dict[str, frozenset[str]] = {}
        for option in options:
            sort, _, what = option.partition("=")
            if sort not in SORTS or not what:
                raise InputError(
                    f"held out: {option!r}; expected one of {', '.join(SORTS)} with a share or a list, such "
                    "as nouns=0.2 or values=colour=red,count=7"
                )
            if sort in chosen:
                raise InputError(f"held out: {sort} are given twice")
            chosen[sort] = _read_share(sort, what) or _read_list(sort, what)
        return cls(**chosen)

    def as_dict(self) -> dict[str, list[str]]:
        """The entries by sort, for manifests and cards."""
        return {sort: sorted(getattr(self, sort)) for sort in SORTS if getattr(self, sort)}

    def is_in_prompt(self, prompt: str) -> bool:
        """Whether a prompt mentions or uses something that is held out."""
        meaning = parse(prompt)
        if self.nouns & meaning.mentioned or self.frames & frames_of(prompt):
            return True
        if self.values & _stated(meaning):
            return True
        return bool(self.compositions) and any(
            f"{kind}:{attribute.dimension}={attribute.value}" in self.compositions
            for kind, attributes in _phrases(meaning)
            for attribute in attributes
        )

    def is_on(self, thing: Thing) -> bool:
        """Whether a thing is or has something that is held out."""
        if thing.kind in self.nouns:
            return True
        if not self.values and not self.compositions:
            return False
        looks = [f"{name}={getattr(thing, name)}" for name in _LOOKS]
        return any(look in self.values or f"{thing.kind}:{look}" in self.compositions for look in looks)

    def is_in_scene(self, scene: Scene) -> bool:
        """Whether a scene shows something that is held out; sizes and relations count only where stated."""
        if any(self.is_on(thing) for thing in scene.things):
            return True
        whole = {f"{name}={getattr(scene, name)}" for name in ("setting", "lighting", "weather")}
        alike = Counter(thing.kind for thing in scene.things)
        whole |= {f"count={number}" for number in alike.values()}
        if whole & self.values:
            return True
        for layout in (value.removeprefix("layout=") for value in self.values if value.startswith("layout=")):
            for kind in (kind for kind, number in alike.items() if number > 2):
                if is_arranged(layout, [thing.box for thing in scene.things if thing.kind == kind]):
                    return True
        return False


def _phrases(meaning: Meaning) -> list[tuple[str, tuple[Attribute, ...]]]:
    """Kind and attributes of each phrase, of what is absent too."""
    present = [(group.kind, group.attributes) for group in meaning.groups]
    return present + [(absence.kind, absence.attributes) for absence in meaning.absences]


def _stated(meaning: Meaning) -> set[str]:
    """Every value that a prompt states, as ``property=value``."""
    stated = {f"{a.dimension}={a.value}" for a in meaning.image}
    for _, attributes in _phrases(meaning):
        for attribute in attributes:
            name = "count" if attribute.dimension.startswith("part:") else attribute.dimension
            stated.add(f"{name}={attribute.value}")
    groups: tuple[Group, ...] = meaning.groups
    stated |= {f"count={group.count}" for group in groups} | {f"layout={group.layout}" for group in groups}
    for link in meaning.links:
        inverse = lexicon.RELATIONS[link.relation].inverse
        stated |= {f"relation={link.relation}", f"relation={inverse}"}
    return stated


def _read_share(sort: str, text: str) -> frozenset[str]:
    try:
        share = float(text)
    except ValueError:
        return frozenset()
    if not 0 < share < 1:
        raise InputError(f"held out: the share of {sort} must be between 0 and 1, not {text}")
    return _share_of(sort, share)


def _read_list(sort: str, text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(","))
    if unknown := sorted(names - set(entries(sort))):
        known = entries(sort)
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        raise InputError(f"held out: no {unknown[0]!r} among the {sort}; expected {shown}")
    return names


@dataclass(frozen=True)
class Scope:
    """What prompts may be about.

    Attributes:
        style: the drawing style; some styles draw certain kinds only.
        held_out: what is held out.
        only: whether prompts must be about something that is held out, for a test; otherwise they must not.
    """

    style: str = USUAL
    held_out: HeldOut = HeldOut()
    only: bool = False

    def __post_init__(self) -> None:
        if self.only and not self.held_out:
            raise InputError("nothing is held out, so that no prompt can be about it; say what is held out")

    @property
    def drawn_as(self) -> Style:
        """The drawing style."""
        return STYLES[self.style]

    @property
    def avoided(self) -> HeldOut | None:
        """What scenes must not show; None for a test, whose scenes may show anything."""
        return self.held_out if self.held_out and not self.only else None

    def covers(self, entity: str | None, *places: str) -> bool:
        """Whether prompts about an entity and about places are possible at all.

        Args:
            entity: id of a kind, or None.
            places: ids of places.
        """
        style = self.drawn_as
        if entity is not None and style.group and KINDS[entity].group != style.group:
            return False
        if self.avoided is None:
            return True
        if not style.places and any(f"setting={place}" in self.avoided.values for place in places):
            return False
        return entity not in self.avoided.nouns

    def allows(self, prompt: str, contrast_prompt: str) -> bool:
        """Whether a pair of prompts may be used."""
        if not self.held_out:
            return True
        return any(self.held_out.is_in_prompt(text) for text in (prompt, contrast_prompt)) == self.only
