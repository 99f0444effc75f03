"""Scorers: what a metric under test looks like to this program.

A scorer needs ``name``, ``score`` and ``fields``. What else it offers is used when it is there, and compared
with ``score`` on the first pairs of a run:

- ``encode_images(images)``, ``encode_texts(prompts)``, ``similarity(image_rows, text_rows)``: arrays with a
  row an item, and a score per row of both; then each image and text is encoded once;
- ``prepare_image(image)``, ``encode_prepared(items)``: the two halves of ``encode_images``; the first then
  runs in threads ahead of the model;
- ``score_prompts(image, prompts)``: one score a prompt, the image's prefix computed once;
- ``score_images_prompts(images, prompts of each image)``: the same for several images in one pass, as a list
  of arrays;
- ``truncated(prompts)``: which prompts do not fit the window, a bool each; it becomes a column to group by;
- ``usage``: an object whose text says what was asked of a service so far (requests, tokens, cost); the
  summary line of a run shows it;
- ``batch_size``: how many items it likes in one call;
- ``blind``: True for a baseline that cannot see the image, the text, or either.

A pair that cannot be scored is reported with :class:`croc.scorers.refusals.RefusedPairs`; the others keep
their scores. How a name becomes a scorer is in :mod:`croc.scorers.registry`.
"""

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
