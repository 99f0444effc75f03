"""Variants of a check in which something changes that must not change the verdict of a metric.

In: a row of a dataset of checks.
Out: rows with other words of the same meaning, or other images of which the same prompts are true.

Changes of the file (JPEG, a smaller image, a margin, noise) and of the letters apply to all checks. Those of
the words need prompts in controlled English, those of the drawing images of the exact world; the oracle
confirms that in each new drawing its own prompt is true and the other is not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import stable_hash
from croc.errors import CrocError
from croc.invariance.variant_ids import NONE, variant_id
from croc_syn import world
from croc_syn.painting.exact import sample_scene
from croc_syn.world.language.frames import frames_of
from croc_syn.world.language.meaning import Meaning
from croc_syn.world.language.realisation import with_article
from croc_syn.world.language.wording import reword
from croc_syn.world.scenes.scene import Scene, embed, read_scene
from croc_syn.world.scenes.seeded_random import SeededRandom

_TRIES = 24
_MARGIN = 0.1  # of the shorter side
_NOISE = 8.0  # standard deviation, of 255
_JPEG = 30  # quality
_DISTRACTORS = ("umbrella", "key", "balloon", "cup", "book", "lamp", "ball", "star")


class _NotApplicable(Exception):
    """The change is not possible for this check."""


@dataclass(frozen=True)
class Sides:
    """What a change is applied to.

    Attributes:
        prompts: the prompt and the contrast prompt.
        images: bytes of an image of each.
        rng: decides what is open; the same for the same check and change.
    """

    prompts: tuple[str, str]
    images: tuple[bytes, bytes]
    rng: SeededRandom

    def with_images(self, change: Callable[[bytes], bytes]) -> Sides:
        """With both images changed alike."""
        return replace(self, images=(change(self.images[0]), change(self.images[1])))


@dataclass(frozen=True)
class Nuisance:
    """A change that must not matter.

    Attributes:
        name: for options and tables.
        of: what is changed: "letters", "words", "file" or "drawing".
        about: what is done, for people.
        apply: makes the changed sides; raises ``_NotApplicable``.
    """

    name: str
    of: str
    about: str
    apply: Callable[[Sides], Sides]


_NUISANCES: dict[str, Nuisance] = {}


def nuisances() -> Mapping[str, Nuisance]:
    """All changes, by name."""
    return dict(_NUISANCES)


def variants(row: Mapping[str, Any], names: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """The check with its first images, and a row for each change that is possible.

    Args:
        row: a check with images of both prompts.
        names: of the changes.
        seed: decides what is open.

    Yields:
        Rows with one image per side, called as :mod:`croc.invariance.variant_ids` says.
    """
    first = Sides(
        (row["prompt"], row["contrast_prompt"]),
        (to_bytes(row["images"][0]), to_bytes(row["contrast_images"][0])),
        SeededRandom("nuisance", seed, row["check_id"]),
    )
    yield _row(row, NONE, first)
    for name in names:
        sides = replace(first, rng=SeededRandom("nuisance", seed, row["check_id"], name))
        try:
            changed = _NUISANCES[name].apply(sides)
        except (_NotApplicable, CrocError):
            continue
        yield _row(row, name, changed)


def _row(row: Mapping[str, Any], name: str, sides: Sides) -> dict[str, Any]:
    return {
        **row,
        "check_id": variant_id(row["check_id"], name),
        "prompt": sides.prompts[0],
        "contrast_prompt": sides.prompts[1],
        "images": [{"bytes": sides.images[0], "path": None}],
        "contrast_images": [{"bytes": sides.images[1], "path": None}],
        "seeds": (row.get("seeds") or [])[:1],
        "contrast_seeds": (row.get("contrast_seeds") or [])[:1],
    }


def _nuisance(name: str, of: str, about: str) -> Callable[[Callable[[Sides], Sides]], None]:
    def register(apply: Callable[[Sides], Sides]) -> None:
        _NUISANCES[name] = Nuisance(name, of, about, apply)

    return register


# ---- Letters ----


@_nuisance("capitals", "letters", "the prompts in capital letters")
def _capitals(sides: Sides) -> Sides:
    return _with_prompts(sides, lambda text: text.upper())


@_nuisance("full stop", "letters", "a capital letter first and a full stop last")
def _full_stop(sides: Sides) -> Sides:
    return _with_prompts(sides, lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def _with_prompts(sides: Sides, change: Callable[[str], str]) -> Sides:
    prompts = change(sides.prompts[0]), change(sides.prompts[1])
    if prompts == sides.prompts:
        raise _NotApplicable
    return replace(sides, prompts=prompts)


# ---- Words ----


@_nuisance("synonyms", "words", "other words for the same things, in the same sentence frame")
def _synonyms(sides: Sides) -> Sides:
    return _reworded(sides, same_frames=True)


@_nuisance("sentence", "words", "another sentence frame")
def _sentence(sides: Sides) -> Sides:
    return _reworded(sides, same_frames=False)


def _reworded(sides: Sides, *, same_frames: bool) -> Sides:
    """Both prompts worded anew in the same way."""
    meanings = [world.parse(prompt) for prompt in sides.prompts]
    frames = [frames_of(prompt) for prompt in sides.prompts]
    for _ in range(_TRIES):
        seed = str(sides.rng.integer(2**31))
        texts = [reword(meaning, seed) for meaning in meanings]
        changed = [text != prompt for text, prompt in zip(texts, sides.prompts, strict=True)]
        alike = [frames_of(text) == own for text, own in zip(texts, frames, strict=True)]
        if all(changed) and (all(alike) if same_frames else not any(alike)):
            return replace(sides, prompts=(texts[0], texts[1]))
    raise _NotApplicable


@_nuisance("order", "words", "the things named in the opposite order")
def _order(sides: Sides) -> Sides:
    reversed_ = [_reversed(world.parse(prompt)) for prompt in sides.prompts]
    for _ in range(_TRIES):
        seed = str(sides.rng.integer(2**31))
        texts = [reword(meaning, seed, frames=("bare",)) for meaning in reversed_]
        if all(text != prompt for text, prompt in zip(texts, sides.prompts, strict=True)):
            return replace(sides, prompts=(texts[0], texts[1]))
    raise _NotApplicable


def _reversed(meaning: Meaning) -> Meaning:
    if len(meaning.groups) < 2 or meaning.links:
        raise _NotApplicable
    return replace(meaning, groups=tuple(reversed(meaning.groups)))


# ---- Files ----


@_nuisance("jpeg", "file", f"the images as JPEG files of quality {_JPEG}")
def _jpeg(sides: Sides) -> Sides:
    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=_JPEG)
        return decode(out.getvalue())

    return _with_pixels(sides, change)


@_nuisance("half size", "file", "the images with half the width and height")
def _half_size(sides: Sides) -> Sides:
    return _with_pixels(
        sides, lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    )


@_nuisance("margin", "file", f"a grey margin of {_MARGIN:.0%} around the images")
def _margin(sides: Sides) -> Sides:
    def change(image: Image.Image) -> Image.Image:
        return ImageOps.expand(image, round(_MARGIN * min(image.size)), (128, 128, 128))

    return _with_pixels(sides, change)


@_nuisance("noise", "file", f"random noise with a standard deviation of {_NOISE:g} of 255")
def _noise(sides: Sides) -> Sides:
    def change(image: Image.Image) -> Image.Image:
        rng = np.random.default_rng(sides.rng.integer(2**31))
        noisy = np.asarray(image, dtype=np.float64) + rng.normal(0, _NOISE, (image.height, image.width, 3))
        return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))

    return _with_pixels(sides, change)


def _with_pixels(sides: Sides, change: Callable[[Image.Image], Image.Image]) -> Sides:
    """Both images changed and saved without loss; a scene in the file stays there."""

    def changed(data: bytes) -> bytes:
        out = io.BytesIO()
        change(_picture(data)).save(out, format="PNG")
        scene = _scene_of(data)
        return out.getvalue() if scene is None else embed(out.getvalue(), scene)

    return sides.with_images(changed)


def _scene_of(data: bytes) -> Scene | None:
    try:
        return read_scene(data)
    except CrocError:
        return None


# ---- Drawings ----


@_nuisance("details", "drawing", "shades and details of the background that mean nothing")
def _details(sides: Sides) -> Sides:
    shift = 1 + sides.rng.integer(7)

    def change(scene: Scene) -> Scene:
        things = tuple(replace(thing, tint=(thing.tint + 37 * shift) % 256) for thing in scene.things)
        return replace(scene, things=things, variant=(scene.variant + shift) % 8)

    return _same_scene(sides, change)


@_nuisance("redrawn", "drawing", "another drawing of the prompts: all that they do not state is different")
def _redrawn_prompts(sides: Sides) -> Sides:
    return _drawn_anew(sides, sides.prompts)


@_nuisance("distractor", "drawing", "another drawing, with one thing more that neither prompt names")
def _distractor(sides: Sides) -> Sides:
    shown = {thing.kind for data in sides.images for thing in read_scene(data).things}
    for name in sides.rng.shuffled(_DISTRACTORS):
        if name in shown or any(name in prompt for prompt in sides.prompts):
            continue
        drawn = tuple(f"{prompt}, and {with_article(name)}" for prompt in sides.prompts)
        try:
            return _drawn_anew(sides, (drawn[0], drawn[1]))
        except CrocError:
            continue
    raise _NotApplicable


@_nuisance("flat", "drawing", "the same scene as flat shapes without outlines")
def _flat(sides: Sides) -> Sides:
    return _same_scene(sides, lambda scene: replace(scene, style="flat"))


@_nuisance("sketch", "drawing", "the same scene as a sketch")
def _sketch(sides: Sides) -> Sides:
    return _same_scene(sides, lambda scene: replace(scene, style="sketch"))


def _same_scene(sides: Sides, change: Callable[[Scene], Scene]) -> Sides:
    """The same scenes, changed."""
    found = []
    for number, data in enumerate(sides.images):
        scene = change(read_scene(data))
        _require_truth(scene, sides.prompts[number], sides.prompts[1 - number])
        found.append(_drawing(scene, data))
    return replace(sides, images=(found[0], found[1]))


def _drawn_anew(sides: Sides, drawn: tuple[str, str]) -> Sides:
    """Other scenes, drawn from prompts that state more."""
    found = []
    for number, data in enumerate(sides.images):
        own, other = sides.prompts[number], sides.prompts[1 - number]
        place = ("nuisance", stable_hash(drawn[number]), sides.rng.integer(2**31))
        scene, _, _ = sample_scene(drawn[number], other, place, read_scene(data).style)
        _require_truth(scene, own, other)
        found.append(_drawing(scene, data))
    return replace(sides, images=(found[0], found[1]))


def _require_truth(scene: Scene, own: str, other: str) -> None:
    if not world.satisfies(scene, own) or world.satisfies(scene, other):
        raise _NotApplicable


def _drawing(scene: Scene, before: bytes) -> bytes:
    """The drawing of a scene, as large as another image."""
    return embed(world.rasterise(world.to_svg(scene, _picture(before).width)), scene)


@lru_cache(maxsize=2)
def _picture(data: bytes) -> Image.Image:
    """A decoded image; those of one check are asked for by several changes, which leave them as they are."""
    return decode(data)
