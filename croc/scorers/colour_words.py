"""A scorer without weights: looks for the prompt's colour words among the colours of the image.

It detects a changed colour and nothing else: a reference point between the baselines and real metrics.
The words are the eleven basic colour terms of English (Berlin and Kay 1969) and common names of shades.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL.Image import Image, Resampling

from croc.checks.decoding import to_rgb

SIDE = 64
"""Images are sampled at this many points per side."""

FLOOR = 0.002
"""Share of an image below which a colour counts as absent: a few sampled points."""

# Per basic term: words for it, and sRGB examples from dark to light.
_TERMS: dict[str, tuple[str, str]] = {
    "red": ("red crimson scarlet maroon ruby vermilion", "d62828 e53935 b71c1c ff0000 8b1a1a"),
    "orange": ("orange amber tangerine", "f57c00 ff8c00 ff9f1c e8710a"),
    "yellow": ("yellow golden gold lemon mustard", "fdd835 ffff00 f4d03f ffeb3b e6c200"),
    "green": ("green lime emerald olive teal", "2e7d32 43a047 00ff00 4caf50 8bc34a 1b5e20 808000"),
    "blue": (
        "blue navy azure cyan turquoise indigo",
        "1e88e5 0000ff 1565c0 42a5f5 0d1b6b 29b6f6 0099ff 00ffff",
    ),
    "purple": ("purple violet lilac lavender magenta", "8e24aa 800080 7b1fa2 b39ddb 6a1b9a ba68c8"),
    "pink": ("pink rose fuchsia salmon", "ec407a ffc0cb f48fb1 ff69b4 f8bbd0"),
    "brown": ("brown tan chocolate chestnut beige", "795548 8b4513 5d4037 6d4c41 a0764a 4e342e"),
    "black": ("black", "000000 151515 212121"),
    "white": ("white ivory", "ffffff f7f7f7 fafaf5"),
    "grey": ("grey gray silver", "808080 9e9e9e bdbdbd 616161 d3d3d3"),
}
TERMS: tuple[str, ...] = tuple(_TERMS)
_TERM_OF = {word: i for i, (words, _) in enumerate(_TERMS.values()) for word in words.split()}
_WORD = re.compile(r"[a-z]+")


class ColourWords:
    """Mean evidence for the prompt's colour words: log(1 + share of the image / 0.002), 0 without any."""

    def __init__(self, name: str = "colour-words") -> None:
        self.name = name

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """float64 (n,), 0 to about 6.2."""
        return self.similarity(self.encode_images(images), self.encode_texts(prompts))

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """The share of each basic colour in each image: float64 (n, 11), rows sum to 1."""
        return np.array([_shares(image) for image in images]).reshape(-1, len(TERMS))

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Which colours each prompt names: float64 (n, 11), rows sum to 1, or to 0 without a colour word."""
        named = np.zeros((len(prompts), len(TERMS)))
        for row, prompt in zip(named, prompts, strict=True):
            terms = {_TERM_OF[word] for word in _WORD.findall(prompt.lower()) if word in _TERM_OF}
            row[sorted(terms)] = 1 / max(len(terms), 1)
        return named

    def similarity(self, image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
        """The evidence for row i of both: float64 (n,)."""
        evidence: np.ndarray = (np.log1p(image_features / FLOOR) * text_features).sum(axis=1)
        return evidence

    def fields(self) -> dict[str, str]:
        """The version of the word list and colours."""
        return {"revision": "1"}


def _shares(image: Image) -> np.ndarray:
    # Nearest neighbour: averaging would create colours that the image does not contain.
    small = np.asarray(to_rgb(image).resize((SIDE, SIDE), Resampling.NEAREST), dtype=np.uint8)
    bins = small.reshape(-1, 3) >> 3
    terms = _nearest_terms()[bins[:, 0], bins[:, 1], bins[:, 2]]
    shares: np.ndarray = np.bincount(terms, minlength=len(TERMS)) / len(terms)
    return shares


@cache
def _nearest_terms() -> np.ndarray:
    """Basic term of each of 32³ sRGB cells, by the nearest example in CIELAB: uint8 (32, 32, 32)."""
    axis = np.arange(32) * 8 + 4
    cells = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    owners = [i for i, (_, examples) in enumerate(_TERMS.values()) for _ in examples.split()]
    examples = [list(bytes.fromhex(code)) for _, codes in _TERMS.values() for code in codes.split()]
    to, of = _lab(cells), _lab(np.array(examples))
    distances = ((to[:, None, :] - of[None, :, :]) ** 2).sum(axis=2)
    nearest: np.ndarray = np.array(owners, dtype=np.uint8)[distances.argmin(axis=1)]
    return nearest.reshape(32, 32, 32)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """SRGB 0…255 (n, 3) → CIELAB under D65 (IEC 61966-2-1; CIE 15)."""
    value = rgb / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    cut = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = cut.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
