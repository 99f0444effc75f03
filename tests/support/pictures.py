"""Small pictures for tests that need image files and not what is in them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(number: int, size: int = 12) -> bytes:
    """A small picture of noise; another number, another picture."""
    pixels = np.random.default_rng(number + 10**6).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def claiming_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to have so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
