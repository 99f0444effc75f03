"""Gradients of scores with respect to pixels, of scorers whose model runs in torch.

For images at the size that the model reads, so that nothing is resized between a pixel and its gradient.
Dual encoders and yes/no models have them where their processor gives one tensor ``pixel_values`` of fixed
size; of a scorer of another kind, the optional method ``pixel_gradients(images, prompts)`` is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.yes_no import YesNo

_STEP = 1.01 / 255
"""Largest change of an image that is read again, in 0…1: the rounding of pixels."""


class PixelGradients:
    """The gradients of one scorer; :meth:`of` finds out whether it has any."""

    def __init__(self, scorer: Any) -> None:
        self.scorer = scorer

    @classmethod
    def of(cls, scorer: Any, images: Sequence[Image.Image]) -> PixelGradients | None:
        """The gradients of a scorer; None where it has none.

        Args:
            scorer: the metric.
            images: some images, to see whether the model reads its own images unchanged.
        """
        if callable(getattr(scorer, "pixel_gradients", None)):
            return cls(scorer)
        if not isinstance(scorer, (DualEncoder, YesNo)) or not _runs_in_torch(scorer):
            return None
        found = cls(scorer)
        try:
            read = found._pixels(images)
            again = found._pixels(found.model_images(images))
        except (KeyError, ValueError):
            return None
        if read.shape != again.shape or float((read - again).abs().max()) > _STEP:
            return None
        return found

    def model_images(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Images as the model reads them: at its size, with 8 bits per channel."""
        if not isinstance(self.scorer, (DualEncoder, YesNo)):
            return list(images)
        values = (self._pixels(images).permute(0, 2, 3, 1).clamp(0, 1) * 255).round()
        return [Image.fromarray(rows) for rows in values.cpu().numpy().astype(np.uint8)]

    def __call__(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """The gradient of each score with respect to the pixels of its image.

        Args:
            images: n images of :meth:`model_images`.
            prompts: n prompts.

        Returns:
            float32 (n, h, w, 3), per 1/255.
        """
        if not isinstance(self.scorer, (DualEncoder, YesNo)):
            return np.asarray(self.scorer.pixel_gradients(images, prompts), dtype=np.float32)
        import torch

        with torch.enable_grad():
            pixels = self._pixels(images).detach().clone().requires_grad_(True)
            mean, deviation = self._normalisation(pixels)
            scores = self._scores(images, prompts, (pixels - mean) / deviation)
            (found,) = torch.autograd.grad(scores.sum(), pixels)
        return np.asarray(found.permute(0, 2, 3, 1).float().cpu().numpy() / 255, dtype=np.float32)

    def _scores(self, images: Sequence[Image.Image], prompts: Sequence[str], values: Any) -> Any:
        import torch

        scorer = self.scorer
        dtype = scorer.checkpoint.dtype
        if isinstance(scorer, YesNo):
            logits = scorer.read_logits(images, prompts, pixel_values=values.to(dtype))
            yes, no = scorer.answer_ids
            return logits[:, yes] - logits[:, no]
        found = scorer.checkpoint.model.get_image_features(pixel_values=values.to(dtype))
        rows = getattr(found, "pooler_output", found).float()
        texts = torch.as_tensor(scorer.encode_texts(list(prompts))).to(rows.device)
        return (rows / rows.norm(dim=-1, keepdim=True) * texts).sum(dim=-1)

    def _pixels(self, images: Sequence[Image.Image]) -> Any:
        """What the model reads, without its normalisation: float32 (n, 3, h, w) in 0…1."""
        scorer = self.scorer
        resized = scorer.resized(images) if isinstance(scorer, YesNo) else list(images)
        found = scorer.checkpoint.pixels(resized)
        values = found["pixel_values"].float()
        if values.ndim != 4 or values.shape[1] != 3 or set(found) - {"pixel_values"}:
            raise ValueError("the model reads no single image of fixed size")
        mean, deviation = self._normalisation(values)
        return values * deviation + mean

    def _normalisation(self, like: Any) -> tuple[Any, Any]:
        import torch

        processor = self.scorer.checkpoint.processor.image_processor
        mean, deviation = (
            torch.tensor(list(values), dtype=torch.float32, device=like.device).view(1, 3, 1, 1)
            for values in (processor.image_mean, processor.image_std)
        )
        return mean, deviation


def _runs_in_torch(scorer: Any) -> bool:
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        return False
    return isinstance(scorer.checkpoint.model, torch.nn.Module)
