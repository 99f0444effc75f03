"""Decoding of images to upright RGB with 8 bits per channel: one rule for every scorer and every way in.

A path, the bytes of a file, an opened PIL image and an image in memory give the same pixels:

- EXIF orientation is applied, as in image viewers.
- Transparency is composited over white, the background that T2I images are shown on.
- 16-bit and floating-point greys are scaled to 8 bits; CMYK, Lab, palette, grey and bilevel are converted.
- Of an animation the first frame is used.
- An image of more than ``max_pixels`` is an error before any pixel is decoded; so is a truncated file.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from croc.errors import InputError, MissingExtra
from croc.storage.limits import IMAGE_PIXELS

_allocator: Any = Image.core  # type: ignore[attr-defined]
# Limits of the open blocks of `reuse_memory`, after the one that Pillow started with.
_reused: list[int] = [_allocator.get_blocks_max()]


def to_bytes(source: Any) -> bytes:
    """The content of the file of an image.

    Args:
        source: ``{"bytes", "path"}`` as in an undecoded image of ``datasets``, bytes, a path, or a PIL image
            (whose pixels by :func:`to_rgb` are encoded as PNG, since its file is not known).

    Raises:
        InputError: there is no image, or its path is no regular file that can be read.
    """
    if isinstance(source, Mapping):
        if source.get("refused"):  # by croc.checks.rows
            raise InputError(source["refused"])
        source = source["bytes"] if source.get("bytes") is not None else source.get("path")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, Path)):
        return _file_bytes(Path(source))
    if isinstance(source, Image.Image):
        buffer = io.BytesIO()
        # PNG has neither all modes nor the orientation: decoded first, it is seen as its file would be.
        to_rgb(source).save(buffer, "PNG")
        return buffer.getvalue()
    if source is None:
        raise InputError("the image is missing")
    raise InputError(f"an image must be bytes, a path or a PIL image, not {type(source).__name__}")


def _file_bytes(path: Path) -> bytes:
    try:
        # A pipe would wait for ever, and a device such as /dev/zero has no end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"the image file {path} is not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the image file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a null character, or one that is not Unicode
        raise InputError(f"the image file {str(path)!r} cannot be read: {error}") from None


def decode(data: bytes, *, max_pixels: int = IMAGE_PIXELS) -> Image.Image:
    """Decode the content of an image file to RGB with 8 bits per channel.

    Raises:
        InputError: it is not an image, damaged, truncated, or larger than ``max_pixels``.
    """
    if not data:
        raise InputError("the image is empty (0 bytes)")
    with _as_input_error(max_pixels):
        image: Image.Image = Image.open(io.BytesIO(data))
        if image.width * image.height > max_pixels:
            raise InputError(f"the image has {image.width} × {image.height} pixels, more than {max_pixels:,}")
        image.load()
        return _rgb(image)


def count_pixels(data: Any) -> int | None:
    """The number of pixels that an image file says it has; None where its beginning cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data)) as image:
                return int(image.width * image.height)
        except Image.DecompressionBombError:
            return IMAGE_PIXELS + 1
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError):
            return None


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as :func:`decode` returns its file: upright RGB; the image itself where it is that already.

    Raises:
        InputError: it is no PIL image, its file is damaged, or its mode cannot be converted.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"an image must be a PIL image, not {type(image).__name__}")
    with _as_input_error(IMAGE_PIXELS):
        if is_upright_rgb(image):
            return image
        image.load()
        return _rgb(image)


def is_upright_rgb(image: Image.Image) -> bool:
    """Whether :func:`to_rgb` has nothing to do: one opaque upright picture in RGB."""
    return (
        image.mode == "RGB"
        and "transparency" not in image.info
        and not getattr(image, "is_animated", False)
        and image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
    )


@contextmanager
def _as_input_error(max_pixels: int) -> Iterator[None]:
    """Turn what Pillow raises for images that it cannot decode into one sentence."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"the image has more than {max_pixels:,} pixels") from None
    except UnidentifiedImageError:
        raise InputError("the image has an unknown format, or its beginning is damaged") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # which ones a decoder raises for a damaged file is written down nowhere
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise InputError(f"the image cannot be decoded: {reason}") from None


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to upright RGB with 8 bits per channel, transparency over white."""
    if getattr(image, "is_animated", False) and image.tell() != 0:
        image.seek(0)
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        # The same pixels without the file object; copying them would cost a tenth of the decoding.
        return image._new(image.im)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "LAB":
        profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        return image if converted is None else converted
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Premultiplied transparency converts in steps only.
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


@contextmanager
def reuse_memory(images: int) -> Iterator[None]:
    """Let Pillow keep the memory of up to ``images`` freed images and use it for the next ones.

    Otherwise freed memory goes back to the operating system, which clears every page again before the next
    image gets it. The limit holds for the process: the largest of the open blocks counts, and memory beyond
    it is freed when a block is left.
    """
    _reused.append(images)
    _allocator.set_blocks_max(max(_reused))
    try:
        yield
    finally:
        _reused.remove(images)
        _allocator.set_blocks_max(max(_reused))


def perceptual_hash(image: Image.Image) -> int:
    """A hash of 64 bits from the lowest frequencies of the grey values; similar images differ in few bits.

    Raises:
        MissingExtra: the library ``imagehash`` is not installed.
    """
    try:
        import imagehash
    except ImportError:
        raise MissingExtra("a search for near-duplicate images", "dedup") from None
    return int.from_bytes(np.packbits(imagehash.phash(image).hash.ravel()).tobytes(), "big")


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """Scale greys of 16 bits, or floats up to 1, 255 or 65535, to uint8; 0 stays 0."""
    values = values.astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if mode == "F" and values.max(initial=0.0) <= 1.0:
        scaled = values * 255.0
    elif values.max(initial=0.0) <= 255.0 and mode == "F":
        scaled = values
    else:
        scaled = values / 257.0
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
