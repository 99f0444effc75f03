"""The images and prompts that both sides score, and random weights; needs numpy, Pillow and torch only."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

PROMPTS = (
    "a red ball left of a blue cube",
    "Two dogs (brown), running; fast!",
    "A Cat sits on the table. It is BLACK.",
    "no people at all, just 3 trees: tall ones",
)
# Width and height: neither square nor of one shape, larger and smaller than the models' inputs, and square.
SIZES = ((400, 300), (280, 420), (256, 256), (150, 90))


def images() -> list[Image.Image]:
    """RGB images with waves, noise and a red rectangle."""
    made = []
    for seed, (width, height) in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width].astype(float)
        channels = [
            127 + 127 * np.sin(x / (9 + seed) + seed),
            127 + 127 * np.cos(y / (7 + seed)),
            255 * x * y / (width * height),
        ]
        pixels = np.stack(channels, axis=-1) + rng.normal(0, 12, (height, width, 3))
        pixels[height // 4 : height // 2, width // 8 : width // 3] = (220, 30, 40)
        made.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return made


def pairs() -> tuple[list[Image.Image], list[str]]:
    """Every image with every prompt, the prompts of an image together."""
    made = images()
    return [image for image in made for _ in PROMPTS], list(PROMPTS) * len(made)


def randomise(model: torch.nn.Module, seed: int, scale: float = 1.0) -> torch.nn.Module:
    """Random weights under which scores differ widely; in evaluation mode.

    Matrices get the standard deviation ``scale`` / √(inputs), embeddings 0.5, biases 0.1; weights of
    normalisation stay near 1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim < 2:
                weight.add_(0.1 * noise)
            elif "embed" in name or "token" in name:
                weight.copy_(0.5 * noise)
            else:
                weight.copy_(noise * scale / weight[0].numel() ** 0.5)
    return model.eval()
