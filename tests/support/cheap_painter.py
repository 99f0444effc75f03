"""A painter without a model: a picture from a hash of prompt and seed, or what a test wants to go wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from croc.checks.schema import stable_hash
from croc_syn.painting import ImageRequest, PaintedImage
from croc_syn.painting.settings import ImageModel, Images

SIDE = 24


def picture(request: ImageRequest) -> np.ndarray:
    """(24, 24, 3) uint8, the same for the same prompt and seed."""
    rng = np.random.default_rng(int(stable_hash(request.prompt, request.seed, length=12), 16))
    return rng.integers(16, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@dataclass
class Cheap:
    """Takes ``seconds`` an image."""

    seconds: float = 0.0
    paints: Callable[[ImageRequest], Any] = picture

    def paint(self, requests: Sequence[ImageRequest]) -> Iterator[PaintedImage]:
        for request in requests:
            time.sleep(self.seconds)
            got = self.paints(request)
            yield got if isinstance(got, PaintedImage) else PaintedImage(pixels=got)


def quick(model: ImageModel, settings: Images) -> Cheap:
    """For the tests' own process."""
    return Cheap()


def steady(model: ImageModel, settings: Images) -> Cheap:
    """10 ms an image: long enough to be killed at it."""
    return Cheap(0.01)


def unhurried(model: ImageModel, settings: Images) -> Cheap:
    """50 ms an image."""
    return Cheap(0.05)


def noting(model: ImageModel, settings: Images) -> Cheap:
    """Leaves the name of the cluster's machine that it paints on in the folder ``CROC_TEST_NOTES``.

    It begins when two machines have: one that starts late would find nothing left to do.
    """
    import ray

    notes = Path(os.environ["CROC_TEST_NOTES"])
    (notes / ray.get_runtime_context().get_node_id()).touch()
    until = time.monotonic() + 120
    while len(list(notes.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    return Cheap(0.05)
