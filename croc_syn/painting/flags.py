"""Filters: near-duplicate seeds, NSFW, images that contradict their own prompt. They flag; nothing goes.

A flag is a word beside its image. What a flag rests on is kept beside it, so that another threshold
can be tried later without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from croc.checks.decoding import decode
from croc.errors import InputError, MissingExtra
from croc.jobs.parts import Abort
from croc.jobs.worker_state import keep_one
from croc.scoring.batching import BatchScorer
from croc.storage.files import canonical
from croc_syn.painting import Painted
from croc_syn.painting.settings import Contradiction, Flags, Nsfw

DUPLICATE, UNSAFE, CONTRADICTS = "near_duplicate", "nsfw", "contradicts"
UNJUDGED = "unjudged"
"""The scorer gave no score."""


@dataclass
class Shown:
    """An image among the others of its part.

    Attributes:
        painted: the image, with its file.
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
    if settings.nsfw is not None and images:
        for image, share in zip(images, _unsafe(images, settings.nsfw), strict=True):
            if share >= settings.nsfw.threshold and UNSAFE not in image.painted.flags:
                image.painted.flags.append(UNSAFE)
    if settings.contradiction is not None and images:
        _contradictions(images, settings.contradiction)


def _contradictions(images: Sequence[Shown], settings: Contradiction) -> None:
    apart = settings.measure == "difference"
    files = {str(place): image.painted.data or b"" for place, image in enumerate(images)}
    wanted = {
        str(place): list(dict.fromkeys([image.prompt, image.other] if apart else [image.prompt]))
        for place, image in enumerate(images)
    }
    key = canonical([settings.scorer, settings.options, settings.batch_size])
    scores = keep_one("croc_syn.painting.flags", key, lambda: _load_scorer(settings)).score(files, wanted)
    for place, image in enumerate(images):
        own = scores[str(place), image.prompt]
        other = scores[str(place), image.other] if apart else 0.0
        if isinstance(own, str) or isinstance(other, str):
            image.painted.flags.append(UNJUDGED)
            continue
        image.match = own - other
        if image.match < settings.thresholds.get(image.property or "", settings.threshold):
            image.painted.flags.append(CONTRADICTS)


def _load_scorer(settings: Contradiction) -> BatchScorer:
    from croc.scorers.registry import load

    try:
        return BatchScorer(load(settings.scorer, **settings.options), batch_size=settings.batch_size)
    except InputError as error:
        raise Abort(f"flags.contradiction: {error}") from error


def _unsafe(images: Sequence[Shown], settings: Nsfw) -> np.ndarray:
    import torch

    model, processor, place = _classifier(settings.model, settings.revision, settings.label)
    shares = []
    with torch.inference_mode():
        for start in range(0, len(images), settings.batch_size):
            some = [
                decode(image.painted.data or b"") for image in images[start : start + settings.batch_size]
            ]
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
        raise Abort(f"flags.nsfw: {name} has no label {label!r}; it has {', '.join(sorted(labels))}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), processor, labels[label.lower()]
