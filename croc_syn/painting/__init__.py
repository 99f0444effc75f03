"""Painting: pairs of prompts → images, drawn by the exact world or painted by image models.

In: a folder of staged prompts (:mod:`croc_syn.writing.table`) and the section ``images:`` of a preset.
Out: a folder of Parquet parts, one row per check with the images of both sides
(:mod:`croc_syn.painting.table`).

The modules, in the order in which they use each other:

- ``table``: the columns of the staged table of images, and how the prompts of a part are read;
- ``exact``: the exact world as a painter, with the truth about every image;
- ``settings``: the section ``images:`` of a preset; image models by name, from ``models.yaml``;
- ``encode``: pixels → image files, and defects of pixels;
- ``encodings``: how diffusers' pipelines take prompts that are encoded already, and their guidance;
- ``pipelines``, ``endpoint``: painters for diffusers' pipelines and for services with OpenAI's images API;
- ``flags``: filters that mark images and remove none;
- ``stage``: the parts that image models make;
- ``images``: plans and makes the images of a folder of prompts.

A painter sees prompts and seeds only. A part of the plan, the settings and the model's revision decide what
is made; on a GPU the bytes are the same for the same hardware and libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class ImageRequest:
    """One image to paint."""

    prompt: str
    seed: int


@dataclass
class PaintedImage:
    """The result of a request.

    Attributes:
        pixels: (H, W, 3) uint8, or None where nothing was painted.
        data: the image file, if the painter receives a file rather than pixels.
        flags: known defects, such as ``nsfw`` from a safety checker.
        error: why there is no image.
    """

    pixels: Any = None
    data: bytes | None = None
    flags: list[str] = field(default_factory=list)
    error: str | None = None


class Painter(Protocol):
    """An image model, ready to paint."""

    def paint(self, requests: Sequence[ImageRequest]) -> Iterator[PaintedImage]:
        """Paint all requests; one result per request, in their order, yielded as soon as it is ready.

        Raises:
            croc.jobs.runner.Abort: no request can be painted, for example because the key has expired.
        """
