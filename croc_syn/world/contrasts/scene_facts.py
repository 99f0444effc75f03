"""A scene, prepared for the functions that make claims about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from croc_syn.world.contrasts.prompt_pairs import Context
from croc_syn.world.declarations.kinds import KINDS, Kind, confusable
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.scenes.oracle import has_attribute
from croc_syn.world.scenes.scene import Scene, Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

LARGEST_NUMBER = 9
"""The largest number of the controlled English."""

Phrases = tuple[str, str]
"""A true prompt or noun phrase, and a false one."""


class SceneFacts:
    """A scene, prepared for the functions that make claims."""

    def __init__(self, scene: Scene, rng: SeededRandom) -> None:
        self.scene, self.rng = scene, rng
        things = [thing for thing in scene.things if thing.kind not in scene.shows]
        self.counts = Counter(thing.kind for thing in things)
        self.things = {kind: [thing for thing in things if thing.kind == kind] for kind in self.counts}
        self.single = [alike[0] for alike in self.things.values() if len(alike) == 1]
        self.absent = [
            kind.id
            for kind in KINDS.values()
            if kind.id not in scene.shows
            and not any(kind.id == shown or confusable(kind, KINDS[shown]) for shown in self.counts)
        ]

    def choose_single(self, fits: Callable[[Kind], bool] = lambda kind: True) -> Thing | None:
        """A thing that is the only one of its kind."""
        options = [thing for thing in self.single if fits(KINDS[thing.kind])]
        return self.rng.choice(options) if options else None

    def choose_other(self, options: list[str], value: str) -> str:
        """Another value than the given one."""
        return self.rng.choice([option for option in options if option != value])

    def choose_absent(self, kind: str) -> Kind:
        """A kind that is not in the scene; half of the time one of the same group as ``kind``."""
        similar = [other for other in self.absent if KINDS[other].group == KINDS[kind].group]
        return KINDS[self.rng.choice(similar if similar and self.rng.random() < 0.5 else self.absent)]

    def frame(self, kind: str, phrases: Phrases, singular: bool = True) -> Phrases:
        """Put both noun phrases into one sentence frame, sometimes with the place."""
        place = self.rng.choice(PLACES[self.scene.setting].words) if self.rng.random() < 0.4 else ""
        return Context(KINDS[kind], place, self.rng).frame(phrases, (singular, singular))


Maker = Callable[[SceneFacts], Phrases | None]
"""Makes a true and a false prompt, if the scene has what they are about."""

MAKERS: dict[str, Maker] = {}
"""By what the prompts of a claim differ in, the function that makes them."""


def claim(about: str) -> Callable[[Maker], Maker]:
    """Declare what claims differ in above the function that makes their prompts."""

    def register(make: Maker) -> Maker:
        MAKERS[about] = make
        return make

    return register


def common_value(things: Sequence[Thing], dimension: str, options: Sequence[str]) -> str | None:
    """The value that all of the things have, if it is one of the options."""
    return next(
        (v for v in options if all(has_attribute(thing, Attribute(dimension, v)) for thing in things)), None
    )
