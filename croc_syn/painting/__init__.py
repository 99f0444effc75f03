"""Painting: prompts → images by models, in any number, on one machine or a cluster.

What the modules are for:

- ``models``: image models by name, from ``models.yaml``; one more of a known kind is a few lines of data;
- ``settings``: the section ``images:`` of a preset, checked;
- ``pipelines``: diffusers' pipelines, text embedded once per prompt;
- ``endpoint``: a service with OpenAI's images interface;
- ``encode``: pixels → image files, and what is wrong with pixels;
- ``flags``: filters that mark images and leave them where they are;
- ``stage``: the parts of :mod:`croc.jobs.runner` that come of all this;
- ``cost``: what it will take, before anything starts.

A painter sees prompts and seeds alone. What it makes of one part of the plan is a pure function of that part,
the settings and the model's revision; on a GPU that holds bit for bit with the same hardware and libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """One image to paint."""

    prompt: str
    seed: int


@dataclass
class Painted:
    """What came of a job.

    Attributes:
        pixels: (H, W, 3) uint8, or None where nothing was painted.
        data: the image file, where the painter is given one rather than pixels.
        flags: what is known to be wrong with it, such as ``nsfw`` from a safety checker.
        error: why there is no image.
    """

    pixels: Any = None
    data: bytes | None = None
    flags: list[str] = field(default_factory=list)
    error: str | None = None


class Painter(Protocol):
    """An image model, ready to paint."""

    def paint(self, jobs: Sequence[Job]) -> Iterator[Painted]:
        """Paint all jobs; one result a job, in their order, given as soon as it is there.

        Raises:
            croc.jobs.runner.Abort: no job can be painted, this one or another (a key that has expired).
        """
