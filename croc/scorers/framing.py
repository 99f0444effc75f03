"""How an image that is not square is fitted into a model's square input, where the image processor differs.

Image processors crop the middle (CLIP) or squash (BLIP). Two metrics do neither:

- ``square``: padded to a square in the colour of the normalisation's mean before the image processor, as in
  LLaVA 1.5 and its VQAScore;
- ``letterbox``: the longer side resized to the input (bicubic, with antialiasing, on float values), the rest
  black, as in HPS v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

FRAMINGS = ("square", "letterbox")


def padded_square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """An RGB image in the middle of the smallest square that contains it.

    Args:
        image: the image.
        mean: of the normalisation, in 0…1; the colour of the rest is ⌊255 · mean⌋.
    """
    side = max(image.size)
    if image.size == (side, side):
        return image
    red, green, blue = (int(255 * value) for value in mean)
    square = Image.new("RGB", (side, side), (red, green, blue))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def letterboxed(image: Image.Image, side: int, mean: Sequence[float], std: Sequence[float]) -> Any:
    """An RGB image as a normalised float32 tensor (3, side, side), its longer side resized to ``side``."""
    import torch

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    scale = side / max(image.size)
    height, width = round(image.height * scale), round(image.width * scale)
    if scale != 1.0:
        pixels = torch.nn.functional.interpolate(
            pixels[None], size=(height, width), mode="bicubic", align_corners=False, antialias=True
        )[0]
    left, top = (side - width) // 2, (side - height) // 2
    pixels = torch.nn.functional.pad(pixels, (left, side - width - left, top, side - height - top))
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
