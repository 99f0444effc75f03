"""Scorers: the interface of this program to the metric under test.

A scorer has ``name``, ``score`` and ``fields``. The following are optional; they save computation, and their
scores are compared with those of ``score`` on the first pairs of a run:

- ``encode_images(images)``, ``encode_texts(prompts)``, ``similarity(image_rows, text_rows)``: arrays with one
  row per item, and one score per row of both; each image and text is encoded once;
- ``prepare_image(image)``, ``encode_prepared(items)``: the two steps of ``encode_images``; the first runs in
  threads ahead of the model;
- ``score_prompts(image, prompts)``: one score per prompt, with the prefix of the image computed once;
- ``score_images_prompts(images, prompts per image)``: the same for several images in one forward pass, as a
  list of arrays.

Others describe the scorer:

- ``truncated(prompts)``: which prompts exceed the window, one bool per prompt; it becomes a column;
- ``usage``: an object whose text is the use of a service so far (calls, tokens, cost); the summary line of a
  run shows it;
- ``use_terms(terms)``: take prices, budget and cache of a run (:class:`croc.jobs.paid_calls.PaidTerms`);
- ``estimate(pairs, images, prompts)``: a sentence about what scoring so many pairs takes of a service, from a
  sample of them; it is shown before the first call;
- ``batch_size``: preferred number of items in one call;
- ``baseline``: True for a baseline, which ignores the image, the prompt or both.

A pairwise judge (:class:`Judge`) compares two prompts or two images in place of scoring; ``croc score`` and
``croc evaluate`` take it beside scorers.

Pairs that cannot be scored are reported with :class:`croc.scorers.pairs.UnscoredPairs`; the others keep their
scores. :mod:`croc.scorers.registry` creates scorers from names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL.Image import Image


@runtime_checkable
class Scorer(Protocol):
    """A text-to-image metric: scores how well each image matches its prompt."""

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
        """The settings of this scorer for the signature of its scores (revision, template, dtype, …)."""


@runtime_checkable
class Judge(Protocol):
    """A pairwise judge: says which of two prompts, or of two images, is the better match.

    It answers in the order in which it is asked; CROC asks every comparison in both orders. Optional:
    ``opposing``, with how many images of the other side each image of a check is compared (None is all), and
    what describes a scorer (see the module).
    """

    name: str

    def choose_prompts(
        self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]
    ) -> np.ndarray:
        """The probability of choosing ``first[i]`` over ``second[i]`` for ``images[i]``: float64 (n,) in 0…1.

        Neighbours that are about one image have the same object.
        """

    def choose_images(
        self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]
    ) -> np.ndarray:
        """The probability of choosing ``first[i]`` over ``second[i]`` for ``prompts[i]``, as above."""

    def fields(self) -> dict[str, str]:
        """The settings of this judge for the signature of its answers."""
