"""Images as metrics see them: whatever the file holds, RGB at 8 bits, upright, the first frame.

One rule for every scorer, so that two metrics never see different pixels of the same file:

- EXIF orientation is applied, as every viewer does.
- Transparency is laid over white, the page that T2I images are shown on.
- 16-bit and floating-point greys are scaled to 8 bits; CMYK, palette, grey and bilevel are converted.
- Of an animation the first frame counts.
- More than ``max_pixels`` is refused before a pixel is decoded, and a truncated file is an error, never grey.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from croc.errors import InputError, MissingExtra

MAX_PIXELS = 64_000_000
"""8,000 × 8,000: four times what any published T2I model draws; more is taken for a decompression bomb."""


def to_bytes(source: Any) -> bytes:
    """The file behind an image of a dataset, as it is stored.

    Args:
        source: ``{"bytes", "path"}`` as ``datasets`` gives an undecoded image, bytes, a path, or a PIL image
            (which is written as PNG, since its file is not known).

    Raises:
        InputError: there is no image, or its file cannot be read.
    """
    if isinstance(source, Mapping):
        source = source["bytes"] if source.get("bytes") is not None else source.get("path")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, Path)):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise InputError(f"the image file {source} cannot be read: {error.strerror}") from None
    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        source.save(buffer, "PNG")
        return buffer.getvalue()
    if source is None:
        raise InputError("the image is missing")
    raise InputError(f"an image is bytes, a path or a PIL image, not {type(source).__name__}")


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An image file's content as an RGB image, 8 bits a channel.

    Raises:
        InputError: it is no image, broken, truncated, or larger than ``max_pixels``.
    """
    if not data:
        raise InputError("the image is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > max_pixels:
            raise InputError(f"the image has {image.width} × {image.height} pixels, more than {max_pixels:,}")
        image.load()
        return rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"the image has more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise InputError("the image is of no known format, or its beginning is broken") from None
    # Pillow's readers raise these, and SyntaxError for a broken PNG, on files that are damaged.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
    ) as error:
        raise InputError(f"the image cannot be decoded: {error}") from None


def rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as upright RGB at 8 bits, transparency over white."""
    if getattr(image, "is_animated", False) and image.tell() != 0:
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def perceptual_hash(image: Image.Image) -> int:
    """64 bits from the lowest frequencies of an RGB image's grey values; nearly equal images differ in few.

    Raises:
        MissingExtra: the library ``imagehash`` is not installed.
    """
    try:
        import imagehash
    except ImportError:
        raise MissingExtra("a search for nearly equal images", "dedup") from None
    return int.from_bytes(np.packbits(imagehash.phash(image).hash.ravel()).tobytes(), "big")


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """Greys of 16 bits, or floats (to 1, 255 or 65535), → uint8; black stays black."""
    values = values.astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if mode == "F" and values.max(initial=0.0) <= 1.0:
        scaled = values * 255.0
    elif values.max(initial=0.0) <= 255.0 and mode == "F":
        scaled = values
    else:
        scaled = values / 257.0
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
