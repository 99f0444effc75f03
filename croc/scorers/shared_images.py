"""Scorers that encode an image once and score it with any number of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.scorers.pairs import require_pairs, require_prompts, score_batches


class SharedImageScorer:
    """A scorer in two steps: encode images, then score the encoded images with prompts."""

    batch_size: int

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,) in 0…1.

        Raises:
            UnscoredPairs: a prompt is empty or cannot be scored; the error holds the other scores.
        """
        import torch

        require_pairs(images, prompts)

        def compute(rows: list[int]) -> np.ndarray:
            texts = [prompts[i] for i in rows]
            require_prompts(texts)
            return self._score_encoded(self._encode([images[i] for i in rows]), texts)

        with torch.inference_mode():
            return score_batches(len(images), self.batch_size, compute)

    def score_prompts(self, image: Image, prompts: Sequence[str]) -> np.ndarray:
        """Score one image with several prompts, the image encoded once; float64 (len(prompts),)."""
        import torch

        with torch.inference_mode():
            encoded = self._encode([image])

            def compute(rows: list[int]) -> np.ndarray:
                texts = [prompts[i] for i in rows]
                require_prompts(texts)
                return self._score_encoded(encoded.expand(len(texts), -1, -1), texts)

            return score_batches(len(prompts), self.batch_size, compute)

    def score_images_prompts(
        self, images: Sequence[Image], prompts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Score images with their prompts, each image encoded once and all pairs in common batches.

        Args:
            images: n images.
            prompts: per image, its prompts.

        Returns:
            Per image, float64 (its number of prompts,).

        Raises:
            UnscoredPairs: a prompt is empty or cannot be scored; positions count the prompts of all images.
        """
        import torch

        owner = [i for i, texts in enumerate(prompts) for _ in texts]
        pairs = [text for texts in prompts for text in texts]
        with torch.inference_mode():
            encoded = self._encode(images)

            def compute(rows: list[int]) -> np.ndarray:
                texts = [pairs[i] for i in rows]
                require_prompts(texts)
                return self._score_encoded(encoded[[owner[i] for i in rows]], texts)

            # Of similar length, so that a batch has little padding: the prompts of an image need not meet.
            order = sorted(range(len(pairs)), key=lambda i: len(str(pairs[i])))
            scores = score_batches(len(pairs), self.batch_size, compute, order)
        return np.split(scores, np.cumsum([len(texts) for texts in prompts])[:-1])

    def _encode(self, images: Sequence[Image]) -> Any:
        """Encoded images: a tensor (n, patches, width)."""
        raise NotImplementedError

    def _score_encoded(self, encoded: Any, prompts: Sequence[str]) -> np.ndarray:
        """Score prompt i with row i of encoded images (n, patches, width); float64 (n,)."""
        raise NotImplementedError
