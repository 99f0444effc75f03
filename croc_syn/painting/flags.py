"""Filters: near-duplicate seeds, NSFW, images that contradict their own prompt. They flag; nothing goes.

A flag is a word in the list of its image. What a flag rests on is kept beside it, so that another threshold
can be tried later without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from croc.errors import InputError, MissingExtra
from croc.parts import Abort
from croc.scorers.refusals import RefusedPairs
from croc_syn.painting import Painted
from croc_syn.painting.settings import Contradiction, Flags, Nsfw

DUPLICATE, UNSAFE, CONTRADICTS = "near_duplicate", "nsfw", "contradicts"
UNJUDGED = "unjudged"
"""The scorer gave no number."""


@dataclass
class Shown:
    """An image among the others of its part.

    Attributes:
        painted: the image.
        prompt: its own.
        other: that of the other side.
        property: what its check contrasts.
        match: what the scorer said, see ``Contradiction.measure``.
    """

    painted: Painted
    prompt: str
    other: str
    property: str | None
    match: float | None = None
    picture: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.painted.pixels is not None:
            self.picture = Image.fromarray(np.asarray(self.painted.pixels))


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits from the lowest frequencies of an image's grey values."""
    try:
        import imagehash
    except ImportError:
        raise MissingExtra("a search for nearly equal images", "dedup") from None
    return int.from_bytes(np.packbits(imagehash.phash(Image.fromarray(pixels)).hash.ravel()).tobytes(), "big")


def near_duplicates(hashes: Sequence[int | None], bits: int) -> list[bool]:
    """Which images of a prompt are nearly an earlier one of it; None stands for no image.

    Example:
        >>> near_duplicates([0b0000, 0b1111, None, 0b0001], 1)
        [False, False, False, True]
    """
    kept: list[int] = []
    found = []
    for mine in hashes:
        near = mine is not None and any((mine ^ other).bit_count() <= bits for other in kept)
        found.append(near)
        if mine is not None and not near:
            kept.append(mine)
    return found


def judge(images: Sequence[Shown], settings: Flags) -> None:
    """Run the models among the filters over all images of a part, and add their flags.

    Raises:
        Abort: a filter's model cannot be loaded.
    """
    there = [image for image in images if image.picture is not None]
    if settings.nsfw is not None and there:
        for image, share in zip(there, _unsafe(there, settings.nsfw), strict=True):
            if share >= settings.nsfw.threshold and UNSAFE not in image.painted.flags:
                image.painted.flags.append(UNSAFE)
    if settings.contradiction is not None and there:
        _contradictions(there, settings.contradiction)


def _contradictions(images: Sequence[Shown], settings: Contradiction) -> None:
    scorer = _scorer(settings.scorer, tuple(sorted(settings.options.items())))
    matches = _scores(scorer, [(image.picture, image.prompt) for image in images], settings.batch_size)
    if settings.measure == "difference":
        matches = matches - _scores(
            scorer, [(image.picture, image.other) for image in images], settings.batch_size
        )
    for image, match in zip(images, matches, strict=True):
        if not np.isfinite(match):
            image.painted.flags.append(UNJUDGED)
            continue
        image.match = float(match)
        if image.match < settings.thresholds.get(image.property or "", settings.threshold):
            image.painted.flags.append(CONTRADICTS)


def _scores(scorer: Any, pairs: Sequence[tuple[Any, str]], size: int) -> np.ndarray:
    """(n,) scores; NaN where the scorer refuses a pair."""
    out = np.full(len(pairs), np.nan)
    for start in range(0, len(pairs), size):
        some = list(range(start, min(start + size, len(pairs))))
        while some:
            images, prompts = zip(*(pairs[i] for i in some), strict=True)
            try:
                out[some] = np.asarray(scorer.score(list(images), list(prompts)), float).reshape(len(some))
                break
            except RefusedPairs as refused:
                some = [number for place, number in enumerate(some) if place not in refused.reasons]
    return out


@cache
def _scorer(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    from croc.scorers.registry import load

    try:
        return load(name, **dict(options))
    except InputError as error:
        raise Abort(f"flags.contradiction: {error}") from error


def _unsafe(images: Sequence[Shown], settings: Nsfw) -> np.ndarray:
    import torch

    model, processor, place = _classifier(settings.model, settings.revision, settings.label)
    shares = []
    with torch.inference_mode():
        for start in range(0, len(images), settings.batch_size):
            some = [image.picture for image in images[start : start + settings.batch_size]]
            inputs = processor(images=some, return_tensors="pt").to(model.device)
            shares.append(model(**inputs).logits.float().softmax(-1)[:, place].cpu().numpy())
    found: np.ndarray = np.concatenate(shares)
    return found


@cache
def _classifier(name: str, revision: str | None, label: str) -> Any:
    try:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise MissingExtra("flags.nsfw", "generate") from error
    try:
        model = AutoModelForImageClassification.from_pretrained(name, revision=revision, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0][:200]
        raise Abort(f"flags.nsfw: {name} cannot be loaded ({reason})") from error
    labels: Mapping[str, int] = {str(key).lower(): place for key, place in model.config.label2id.items()}
    if label.lower() not in labels:
        raise Abort(f"flags.nsfw: {name} has no label {label!r}; it has {', '.join(labels)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), processor, labels[label.lower()]
