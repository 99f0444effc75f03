"""Nearly equal images: hashes of pictures that a person would call the same, and the search for pairs."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from builders.near_duplicates import near_pairs, perceptual_hash
from croc.errors import InputError, MissingExtra

pytest.importorskip("imagehash")


def gradient(seed: int, size: int = 96) -> Image.Image:
    """A smooth picture, as photographs are: few low frequencies."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_the_same_picture_saved_again_is_near_and_another_is_far():
    first, other = gradient(1), gradient(2)
    mine = perceptual_hash(saved(first, "PNG"))
    for again in (
        saved(first, "JPEG", quality=70),
        saved(first.resize((60, 60)), "PNG"),
        saved(first, "WEBP"),
    ):
        assert (mine ^ perceptual_hash(again)).bit_count() <= 6
    # Two unrelated hashes differ in 32 bits on average.
    assert (mine ^ perceptual_hash(saved(other, "PNG"))).bit_count() > 12


@pytest.mark.parametrize("distance", [0, 1, 3, 7, 12])
def test_the_pairs_are_those_that_comparing_all_with_all_finds(distance):
    random = np.random.default_rng(distance)
    hashes = random.integers(0, 2**63, 150, dtype=np.uint64)
    # Relatives of some, from equal to further away than asked for.
    for index in range(0, 100, 2):
        flips = random.choice(64, size=int(random.integers(0, distance + 3)), replace=False)
        mask = sum(1 << int(bit) for bit in flips)
        hashes[index + 1] = np.uint64(int(hashes[index]) ^ mask)
    expected = [
        (i, j)
        for i in range(150)
        for j in range(i + 1, 150)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
    ]
    assert len(expected) >= 5
    assert list(near_pairs(hashes, distance)) == expected


def test_no_hashes_have_no_pairs():
    assert list(near_pairs(np.zeros(0, dtype=np.uint64), 3)) == []


@pytest.mark.parametrize("distance", [-1, 13])
def test_a_distance_that_means_nothing_is_refused(distance):
    with pytest.raises(InputError, match="0 to 12 bits"):
        list(near_pairs(np.zeros(2, dtype=np.uint64), distance))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(MissingExtra, match=r"croc-t2i\[dedup\]"):
        perceptual_hash(saved(gradient(1), "PNG"))


def test_what_is_no_image_has_no_hash():
    with pytest.raises(InputError, match="cannot be read"):
        perceptual_hash(b"<html>")
