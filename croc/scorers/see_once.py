"""What scorers share that look at an image once, however many prompts are asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.scorers.refusals import check_pairs, refuse_empty, score_batches


class SeeOnce:
    """A scorer of two halves: what it sees of images, and how well prompts match what it saw."""

    batch_size: int

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,) in 0…1.

        Raises:
            RefusedPairs: a prompt is empty, or the scorer cannot ask it; the other scores come with it.
        """
        import torch

        check_pairs(images, prompts)

        def compute(rows: list[int]) -> np.ndarray:
            asked = [prompts[i] for i in rows]
            refuse_empty(asked)
            return self._match(self._see([images[i] for i in rows]), asked)

        with torch.inference_mode():
            return score_batches(len(images), self.batch_size, compute)

    def score_prompts(self, image: Image, prompts: Sequence[str]) -> np.ndarray:
        """Score one image with several prompts, the image encoded once; float64 (len(prompts),)."""
        import torch

        with torch.inference_mode():
            seen = self._see([image])

            def compute(rows: list[int]) -> np.ndarray:
                asked = [prompts[i] for i in rows]
                refuse_empty(asked)
                return self._match(seen.expand(len(asked), -1, -1), asked)

            return score_batches(len(prompts), self.batch_size, compute)

    def _see(self, images: Sequence[Image]) -> Any:
        """What is seen of images: a tensor (n, patches, width)."""
        raise NotImplementedError

    def _match(self, seen: Any, prompts: Sequence[str]) -> np.ndarray:
        """Scores of prompts, each with its row of what was seen."""
        raise NotImplementedError
