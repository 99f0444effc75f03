"""The random numbers of the exact world: a stream that depends on its names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class SeededRandom:
    """A random stream seeded by the SHA-256 of ``names``, for example (prompt, seed, attempt).

    Numbers are drawn in blocks of 256, which is faster than one by one.
    """

    def __init__(self, *names: object) -> None:
        digest = hashlib.sha256("\x1f".join(str(name) for name in names).encode("utf-8", "surrogatepass"))
        self._generator = np.random.default_rng(int.from_bytes(digest.digest()[:16], "big"))
        self._block: list[float] = []

    def random(self) -> float:
        """A number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(256).tolist()
        return self._block.pop()

    def uniform(self, low: float, high: float) -> float:
        """A number in [``low``, ``high``)."""
        return low + (high - low) * self.random()

    def integer(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1."""
        return int(self.random() * count)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.random() * len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in random order."""
        return sorted(options, key=lambda _: self.random())
