"""Pixels → image files, and defects of pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

FORMATS = {"webp": "WEBP", "png": "PNG", "jpeg": "JPEG"}

BLACK, NAN = "black", "nan"

# An image that is darker everywhere is black: a safety checker paints 0, a failed model a few levels of
# noise.
_DARK = 8
# Pillow's default takes twice the time for files that are 2 % smaller.
_WEBP_METHOD = 2


def encode(pixels: np.ndarray, format: str, quality: int) -> bytes:
    """An image file; the same bytes for the same pixels and the same version of Pillow.

    Args:
        pixels: (H, W, 3) uint8.
        format: ``webp``, ``png`` or ``jpeg``.
        quality: 1…100 for WebP and JPEG; WebP at 100 is lossless.
    """
    options: dict[str, Any] = {}
    if format == "webp":
        options = {"quality": quality, "method": _WEBP_METHOD, "lossless": quality == 100}
    elif format == "jpeg":
        options = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, FORMATS[format], **options)
    return buffer.getvalue()


def format_of(data: bytes) -> str | None:
    """The format of an image file by its first bytes; None for formats that are not written here."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def to_pixels(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Floats as bytes, and flags for defects.

    Args:
        values: (H, W, 3) floats in 0…1, or (H, W, 4) with transparency, which is laid over white; values that
            are not finite become 0 and are flagged.

    Returns:
        (H, W, 3) uint8, and flags.
    """
    flags = []
    if not np.isfinite(values).all():
        flags.append(NAN)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    values = np.clip(values, 0.0, 1.0)
    if values.shape[-1] == 4:
        alpha = values[..., 3:]
        values = values[..., :3] * alpha + (1 - alpha)
    pixels = np.rint(values * 255).astype(np.uint8)
    if is_nearly_black(pixels):
        flags.append(BLACK)
    return pixels, flags


def is_nearly_black(pixels: np.ndarray) -> bool:
    """Whether no pixel of an image is brighter than a few levels of 255."""
    return bool(pixels.max(initial=0) < _DARK)
