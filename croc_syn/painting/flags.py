"""Filters: near-duplicate seeds, NSFW, images that contradict their own prompt. They remove none.

A flag is a word beside its image. The score behind a flag is kept, so that another threshold can be tried
later without a model.
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
from croc_syn.model_runtime import first_line, require_download
from croc_syn.painting import PaintedImage
from croc_syn.painting.settings import Contradiction, Flags, Nsfw

DUPLICATE, UNSAFE, CONTRADICTS = "near_duplicate", "nsfw", "contradicts"
UNJUDGED = "unjudged"
"""Flag of an image for which the scorer gave no score."""


@dataclass
class FilteredImage:
    """An image that the filters see.

    Attributes:
        image: the image, with its file.
        prompt: its own prompt.
        other: the prompt of the other side.
        property: what its check contrasts.
        match: the scorer's result, see ``Contradiction.measure``.
    """

    image: PaintedImage
    prompt: str
    other: str
    property: str | None
    match: float | None = None


def near_duplicates(hashes: Sequence[int | None], bits: int) -> list[bool]:
    """Which images of a prompt are near duplicates of an earlier one; None stands for no image.

    Example:
        >>> near_duplicates([0b0000, 0b1111, None, 0b0001], 1)
        [False, False, False, True]
    """
    kept: list[int] = []
    result = []
    for value in hashes:
        near = value is not None and any((value ^ other).bit_count() <= bits for other in kept)
        result.append(near)
        if value is not None and not near:
            kept.append(value)
    return result


def run_filters(images: Sequence[FilteredImage], settings: Flags) -> None:
    """Run the filters that need a model over all images of a part, and add their flags.

    Raises:
        Abort: a filter's model cannot be loaded.
    """
    if settings.nsfw is not None and images:
        for entry, probability in zip(images, _nsfw_probabilities(images, settings.nsfw), strict=True):
            if probability >= settings.nsfw.threshold and UNSAFE not in entry.image.flags:
                entry.image.flags.append(UNSAFE)
    if settings.contradiction is not None and images:
        _flag_contradictions(images, settings.contradiction)


def _flag_contradictions(images: Sequence[FilteredImage], settings: Contradiction) -> None:
    difference = settings.measure == "difference"
    files = {str(index): entry.image.data or b"" for index, entry in enumerate(images)}
    prompts = {
        str(index): list(dict.fromkeys([entry.prompt, entry.other] if difference else [entry.prompt]))
        for index, entry in enumerate(images)
    }
    key = canonical([settings.scorer, settings.options, settings.batch_size])
    scores = keep_one("croc_syn.painting.flags", key, lambda: _load_scorer(settings)).score(files, prompts)
    for index, entry in enumerate(images):
        score = scores[str(index), entry.prompt]
        other_score = scores[str(index), entry.other] if difference else 0.0
        if isinstance(score, str) or isinstance(other_score, str):
            entry.image.flags.append(UNJUDGED)
            continue
        entry.match = score - other_score
        if entry.match < settings.thresholds.get(entry.property or "", settings.threshold):
            entry.image.flags.append(CONTRADICTS)


def _load_scorer(settings: Contradiction) -> BatchScorer:
    from croc.scorers.registry import load

    try:
        return BatchScorer(load(settings.scorer, **settings.options), batch_size=settings.batch_size)
    except InputError as error:
        raise Abort(f"flags.contradiction: {error}") from error


def _nsfw_probabilities(images: Sequence[FilteredImage], settings: Nsfw) -> np.ndarray:
    import torch

    model, processor, label = _classifier(settings.model, settings.revision, settings.label)
    batches = []
    with torch.inference_mode():
        for start in range(0, len(images), settings.batch_size):
            batch = [decode(entry.image.data or b"") for entry in images[start : start + settings.batch_size]]
            inputs = processor(images=batch, return_tensors="pt").to(model.device)
            batches.append(model(**inputs).logits.float().softmax(-1)[:, label].cpu().numpy())
    probabilities: np.ndarray = np.concatenate(batches)
    return probabilities


@cache
def _classifier(name: str, revision: str | None, label: str) -> Any:
    try:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise MissingExtra("flags.nsfw", "generate") from error
    require_download(name, revision, "config.json", "flags.nsfw")
    try:
        model = AutoModelForImageClassification.from_pretrained(name, revision=revision, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise Abort(f"flags.nsfw: {name} cannot be loaded ({first_line(error, 200)})") from error
    labels: Mapping[str, int] = {str(key).lower(): index for key, index in model.config.label2id.items()}
    if label.lower() not in labels:
        raise Abort(f"flags.nsfw: {name} has no label {label!r}; it has {', '.join(sorted(labels))}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), processor, labels[label.lower()]
