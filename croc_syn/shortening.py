"""Make a failed check as small as its failure allows, and find out what the failure depends on.

As in delta debugging (Zeller and Hildebrandt 2002), one part after another is taken away from the prompts and
from the scenes: other things, the place, stated properties that both prompts share, textures. The oracle
keeps the truth (each image shows its own prompt and not the other one); what is taken away stays away if the
metric passes no more of the four directions than before.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from croc.errors import CrocError
from croc.probe.report import Influence
from croc.verdict.directions import directions_of
from croc_syn import world
from croc_syn.contact_sheet import as_picture, card_of
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.language.meaning import Meaning
from croc_syn.world.language.wording import reword
from croc_syn.world.scenes.oracle import all_supported, all_visible
from croc_syn.world.scenes.scene import Scene, Thing, read_scene

Score = Callable[[Sequence[Mapping[str, Any]]], Sequence[list[list[float]] | str]]
"""Per check ``scores[prompt][image]``, or the reason why a score is missing."""

Grid = tuple[tuple[float, float], tuple[float, float]]

MOST = 80
"""Checks that are scored to make one smaller; what it depends on takes some more."""

_WORDINGS = 6
_ALTERNATIVES = 4
_SCALES = {"smaller": 0.65, "larger": 1.5}


@dataclass(frozen=True)
class State:
    """Two prompts and a scene of each."""

    prompts: tuple[str, str]
    scenes: tuple[Scene, Scene]

    def is_true(self) -> bool:
        """Whether each scene shows its own prompt, not the other one, and all that is in it."""
        try:
            meanings = [world.parse(prompt) for prompt in self.prompts]
            return world.exclusive(*meanings) and all(
                world.satisfies(scene, meanings[side])
                and not world.satisfies(scene, meanings[1 - side])
                and all_visible(scene)
                and all_supported(scene)
                for side, scene in enumerate(self.scenes)
            )
        except (CrocError, KeyError):
            return False

    def with_scenes(self, change: Callable[[Scene], Scene]) -> State:
        """With both scenes changed alike."""
        return replace(self, scenes=(change(self.scenes[0]), change(self.scenes[1])))

    def row(self, size: int) -> dict[str, Any]:
        """The state as a check with drawn images."""
        images = [[{"bytes": world.render(scene, size), "path": None}] for scene in self.scenes]
        return {
            "prompt": self.prompts[0],
            "contrast_prompt": self.prompts[1],
            "images": images[0],
            "contrast_images": images[1],
        }


@dataclass(frozen=True)
class Smallest:
    """The smallest form of a failed check.

    Attributes:
        state: its prompts and scenes.
        scores: ``scores[prompt][image]``.
        removed: what was taken away, in order.
        influences: what its result depends on.
        title: of the picture.
        size: of the images.
    """

    state: State
    scores: Grid
    removed: tuple[str, ...]
    influences: tuple[Influence, ...]
    title: str
    size: int

    @property
    def prompts(self) -> tuple[str, str]:
        """Both prompts."""
        return self.state.prompts

    def picture(self) -> bytes:
        """Both images below their prompts as a PNG file."""
        row = {**self.state.row(self.size), "category": None, "property": self.title, "subset": None}
        out = io.BytesIO()
        as_picture([card_of(row, 1)], 1, 240).save(out, format="PNG", optimize=True)
        return out.getvalue()


def shorten(row: Mapping[str, Any], score: Score, size: int) -> Smallest:
    """Shorten a failed check of the exact world.

    Args:
        row: a check with an image of each prompt.
        score: scores checks.
        size: width and height of the images, in pixels.

    Raises:
        CrocError: the check has no scores.
    """
    state = State(
        (row["prompt"], row["contrast_prompt"]),
        (read_scene(row["images"][0]["bytes"]), read_scene(row["contrast_images"][0]["bytes"])),
    )
    shortening = _Shortening(score, size)
    scores = shortening.scores(state)
    if scores is None:
        raise CrocError("a check without scores cannot be shortened")
    removed: list[str] = []
    changed = True
    while changed:
        changed = False
        for what, make in _REMOVALS:
            # Removals refer to the state, so that they are listed anew after each success.
            while (found := shortening.first_failing(make(state), shortening.passed(scores))) is not None:
                state, scores = found
                changed = True
                if what not in removed:
                    removed.append(what)
    return Smallest(
        state, scores, tuple(removed), shortening.influences(state, scores), row.get("property") or "", size
    )


class _Shortening:
    def __init__(self, score: Score, size: int) -> None:
        self.score, self.size = score, size
        self.known: dict[State, Grid | None] = {}

    def scores(self, state: State) -> Grid | None:
        """The scores of a state; None where one is missing."""
        if state not in self.known:
            found = self.score([state.row(self.size)])[0]
            self.known[state] = None if isinstance(found, str) else _grid(found)
        return self.known[state]

    @staticmethod
    def passed(scores: Grid) -> float:
        return float(np.mean(list(directions_of(scores).values())))

    def first_failing(self, states: Iterator[State], most: float) -> tuple[State, Grid] | None:
        """The first true state that passes no more than ``most``."""
        for state in states:
            if len(self.known) >= MOST:
                return None
            if state in self.known or not state.is_true():
                continue
            scores = self.scores(state)
            if scores is not None and self.passed(scores) <= most:
                return state, scores
        return None

    def influences(self, state: State, scores: Grid) -> tuple[Influence, ...]:
        """What other colours, sizes, surfaces, places and words do to the result."""
        found = []
        for what, value, states in _changes(state):
            results: list[bool] = []
            for other in states:
                if (
                    len(results) < _ALTERNATIVES
                    and other.is_true()
                    and (grid := self.scores(other)) is not None
                ):
                    results.append(self.passed(grid) > self.passed(scores))
            if results:
                found.append(Influence(what, value, len(results), sum(results)))
        return tuple(found)


def _grid(scores: list[list[float]]) -> Grid:
    (a, b), (c, d) = scores
    return (a, b), (c, d)


# ---- Removals ----


def _fewer_things(state: State) -> Iterator[State]:
    """Without all that no prompt names, and without each single thing."""
    named = frozenset().union(*(world.parse(prompt).mentioned for prompt in state.prompts))

    def only_named(scene: Scene) -> Scene:
        return replace(scene, things=tuple(thing for thing in scene.things if thing.kind in named))

    if (bare := state.with_scenes(only_named)) != state:
        yield bare
    for side, scene in enumerate(state.scenes):
        for index in range(len(scene.things)):
            smaller = replace(scene, things=scene.things[:index] + scene.things[index + 1 :])
            yield replace(
                state, scenes=(smaller, state.scenes[1]) if side == 0 else (state.scenes[0], smaller)
            )


def _plain_background(state: State) -> Iterator[State]:
    plain = state.with_scenes(
        lambda scene: replace(scene, setting="plain", lighting="", weather="", shows=(), variant=0)
    )
    if plain != state:
        yield plain


def _plain_surfaces(state: State) -> Iterator[State]:
    def plain(scene: Scene) -> Scene:
        return replace(
            scene, things=tuple(replace(thing, texture="plain", material="paint") for thing in scene.things)
        )

    if (changed := state.with_scenes(plain)) != state:
        yield changed


def _same_layout(state: State) -> Iterator[State]:
    """The second scene as the first one, with the looks of its own things."""
    first, second = state.scenes
    looks: dict[str, list[Thing]] = {}
    for thing in second.things:
        looks.setdefault(thing.kind, []).append(thing)
    things = []
    for thing in first.things:
        if not looks.get(thing.kind):
            return
        own = looks[thing.kind].pop(0)
        things.append(replace(own, box=thing.box, flip=thing.flip, tint=thing.tint))
    changed = replace(
        first, things=tuple(things), lighting=second.lighting, weather=second.weather, setting=second.setting
    )
    if changed != second:
        yield replace(state, scenes=(first, changed))


def _same_looks(state: State) -> Iterator[State]:
    """Things of one kind with the same colour in both scenes."""
    colours = {thing.kind: thing.colour for thing in state.scenes[0].things}
    second = replace(
        state.scenes[1],
        things=tuple(
            replace(thing, colour=colours.get(thing.kind, thing.colour)) for thing in state.scenes[1].things
        ),
    )
    if second != state.scenes[1]:
        yield replace(state, scenes=(state.scenes[0], second))


def _shorter_words(state: State) -> Iterator[State]:
    meanings = [world.parse(prompt) for prompt in state.prompts]
    yield from _worded(state, meanings)


def _less_stated(state: State) -> Iterator[State]:
    """Without a part of the meaning that both prompts share."""
    first, second = (world.parse(prompt) for prompt in state.prompts)
    for attribute in first.image:
        if attribute in second.image:
            yield from _worded(state, [_without_image(first, attribute), _without_image(second, attribute)])
    if first.only and second.only:
        yield from _worded(state, [replace(first, only=False), replace(second, only=False)])
    if len(first.groups) != len(second.groups):
        return
    for index, (group, other) in enumerate(zip(first.groups, second.groups, strict=True)):
        for attribute in group.attributes:
            if attribute in other.attributes:
                yield from _worded(
                    state, [_without_attribute(meaning, index, attribute) for meaning in (first, second)]
                )
        if group == other and len(first.groups) > 1 and not (first.links or second.links):
            yield from _worded(
                state,
                [
                    replace(meaning, groups=meaning.groups[:index] + meaning.groups[index + 1 :])
                    for meaning in (first, second)
                ],
            )


def _without_image(meaning: Meaning, attribute: Any) -> Meaning:
    return replace(meaning, image=tuple(one for one in meaning.image if one != attribute))


def _without_attribute(meaning: Meaning, index: int, attribute: Any) -> Meaning:
    groups = list(meaning.groups)
    kept = tuple(one for one in groups[index].attributes if one != attribute)
    groups[index] = replace(groups[index], attributes=kept)
    return replace(meaning, groups=tuple(groups))


def _worded(state: State, meanings: Sequence[Meaning]) -> Iterator[State]:
    """The shortest wordings of two meanings in the same words, if they are shorter than the prompts."""
    words = [
        tuple(reword(replace(meaning, text=""), f"shorten/{seed}", frames=frames) for meaning in meanings)
        for seed in range(_WORDINGS)
        for frames in (("bare", "relation", "no"), ("bare", "relation", "without"))
    ]
    shortest = min((pair for pair in words if all(pair)), key=_length, default=None)
    if shortest is not None and _length(shortest) < _length(state.prompts):
        yield replace(state, prompts=(shortest[0], shortest[1]))


def _length(prompts: Sequence[str]) -> int:
    return sum(map(len, prompts))


_REMOVALS: tuple[tuple[str, Callable[[State], Iterator[State]]], ...] = (
    ("words that both prompts share", _less_stated),
    ("longer wording", _shorter_words),
    ("other things", _fewer_things),
    ("the place", _plain_background),
    ("textures and materials", _plain_surfaces),
    ("the difference of the layouts", _same_layout),
    ("the difference of the colours", _same_looks),
)
"""What is taken away, as people read it, in the order in which it is tried."""


# ---- Influences ----


def _changes(state: State) -> Iterator[tuple[str, str, Iterator[State]]]:
    """What is changed, its value now, and states with other values; most of them may be untrue."""
    named = frozenset().union(*(world.parse(prompt).mentioned for prompt in state.prompts))
    kinds = sorted({thing.kind for scene in state.scenes for thing in scene.things if thing.kind in named})
    for kind in kinds:
        words = KINDS[kind].words[0]
        for dimension in ("colour", "texture", "material"):
            values = {getattr(t, dimension) for scene in state.scenes for t in scene.things if t.kind == kind}
            if len(values) == 1:
                value = values.pop()
                others = [other for other in KINDS[kind].values(dimension) if other != value]
                states = (_with(state, kind, **{dimension: other}) for other in _spread(others))
                yield f"{words}: {dimension}", value, states
        sizes = {_size_word(t) for scene in state.scenes for t in scene.things if t.kind == kind}
        if len(sizes) == 1:
            yield f"{words}: size", sizes.pop(), (_scaled(state, kind, factor) for factor in _SCALES.values())
    settings = {scene.setting for scene in state.scenes}
    if len(settings) == 1:
        setting = settings.pop()
        places = [name for name in world.PLACES if name != setting and not world.PLACES[name].shows]
        states = (
            state.with_scenes(lambda scene, name=name: replace(scene, setting=name, weather="", lighting=""))  # type: ignore[misc]
            for name in _spread(places)
        )
        yield "background", setting, states
    yield "wording", "as it is", _other_words(state)


def _spread(values: Sequence[str]) -> list[str]:
    """Some of the values, evenly spaced; more than needed, since some are not possible."""
    step = max(1, len(values) // (2 * _ALTERNATIVES))
    return list(values)[::step]


def _with(state: State, kind: str, **change: str) -> State:
    return state.with_scenes(
        lambda scene: replace(
            scene,
            things=tuple(replace(t, **change) if t.kind == kind else t for t in scene.things),  # type: ignore[arg-type]
        )
    )


def _scaled(state: State, kind: str, factor: float) -> State:
    def scaled(thing: Thing) -> Thing:
        left, top, right, bottom = thing.box
        middle, half = (left + right) / 2, (right - left) / 2 * factor
        half = min(half, middle, 1 - middle)
        ratio = half / ((right - left) / 2)
        box = (middle - half, bottom - (bottom - top) * ratio, middle + half, bottom)
        return replace(thing, box=tuple(round(value, 4) for value in box))  # type: ignore[arg-type]

    return state.with_scenes(
        lambda scene: replace(scene, things=tuple(scaled(t) if t.kind == kind else t for t in scene.things))
    )


def _size_word(thing: Thing) -> str:
    """The size in words; between two of them, both."""
    below = "small"
    for name, (low, high) in lexicon.SIZE_RANGES.items():
        if thing.size < low:
            return below if below == name else f"{below} to {name}"
        if thing.size <= high:
            return name
        below = name
    return "large"


def _other_words(state: State) -> Iterator[State]:
    meanings = [world.parse(prompt) for prompt in state.prompts]
    for seed in range(2 * _ALTERNATIVES):
        first, second = (reword(meaning, f"other/{seed}") for meaning in meanings)
        if (first, second) != state.prompts:
            yield replace(state, prompts=(first, second))
