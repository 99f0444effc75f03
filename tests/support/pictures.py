"""Small pictures for tests that need image files and not what is in them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def png(number: int, size: int = 12) -> bytes:
    """A small picture of noise; another number, another picture."""
    pixels = np.random.default_rng(number + 10**6).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
