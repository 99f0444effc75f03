"""Scorers: what a metric under test looks like to this program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL.Image import Image


@runtime_checkable
class Scorer(Protocol):
    """A text-to-image metric, wrapped: scores how well each image fits its prompt."""

    name: str

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``).

        Args:
            images: n PIL images in mode RGB.
            prompts: n prompts.

        Returns:
            float64 array of shape (n,); higher means a better match.
        """

    def fields(self) -> dict[str, str]:
        """What the signature of a score table says about this scorer (revision, template, dtype, …)."""
