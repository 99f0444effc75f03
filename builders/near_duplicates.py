"""Near-duplicate images: perceptual hashes, and all pairs of hashes that differ in a few bits.

A checksum finds equal files; the same picture in another format has another checksum.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from croc.checks.decoding import perceptual_hash as hash_of_image
from croc.errors import InputError

BITS = 64
MOST_BITS = 12
"""Images that differ in more of the 64 bits are unrelated."""


def perceptual_hash(data: Any) -> int:
    """The perceptual hash of an image file: 64 bits, from the lowest frequencies of its grey values.

    Raises:
        MissingExtra: the library ``imagehash`` is not installed.
        InputError: it is not an image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(bytes(data))) as image:
            return hash_of_image(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"an image cannot be read ({error})") from None


def near_pairs(hashes: np.ndarray, distance: int) -> Iterator[tuple[int, int]]:
    """All pairs of hashes that differ in at most ``distance`` bits, each once.

    The 64 bits are cut into distance + 1 bands: two hashes that differ in no more bits agree in at least one
    band, so only those that share a band are compared. If many hashes share one, as those of blank images do,
    the work grows with the square of their number.

    Args:
        hashes: uint64 (n,).
        distance: 0 … 12.

    Yields:
        Positions ``(i, j)`` with ``i < j``.

    Raises:
        InputError: the distance is out of range.
    """
    if not 0 <= distance <= MOST_BITS:
        raise InputError(f"the distance of near duplicates is 0 to {MOST_BITS} bits, not {distance}")
    hashes = np.asarray(hashes, dtype=np.uint64)
    if not len(hashes):
        return
    edges = [BITS * index // (distance + 1) for index in range(distance + 2)]
    pairs: set[tuple[int, int]] = set()
    for low, high in pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order][:1] + np.uint64(1)))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            for one, other in combinations(sorted(order[start:stop].tolist()), 2):
                if (int(hashes[one]) ^ int(hashes[other])).bit_count() <= distance:
                    pairs.add((one, other))
    yield from sorted(pairs)
