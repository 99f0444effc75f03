"""Baselines: scorers that ignore the image, the prompt or both.

A metric must score above them to show that it uses both. All are functions of pixels and prompt only: they
return the same numbers on every machine, in every order and batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image


class Random:
    """A uniform number in [0, 1) from a hash of the image's pixels, the prompt and a seed."""

    baseline = True

    def __init__(self, seed: int = 0, name: str = "random") -> None:
        self.name, self.seed = name, seed

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """float64 (n,), uniform in [0, 1)."""
        return self.similarity(self.encode_images(images), self.encode_texts(prompts))

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """A digest of each image's pixels: uint8 (n, 32)."""
        return np.array([_pixels(image) for image in images], dtype=np.uint8).reshape(-1, 32)

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """A digest of each prompt: uint8 (n, 32)."""
        return np.array([_text(prompt) for prompt in prompts], dtype=np.uint8).reshape(-1, 32)

    def similarity(self, image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
        """The hash of row i of both, as a number: float64 (n,) in [0, 1)."""
        return _uniform(self.seed, image_features, text_features)

    def fields(self) -> dict[str, str]:
        """The seed."""
        return {"seed": str(self.seed)}


class TextOnly(Random):
    """A uniform number in [0, 1) from a hash of the prompt and a seed; it ignores the image."""

    def __init__(self, seed: int = 0, name: str = "text-only") -> None:
        super().__init__(seed, name)

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Empty rows: uint8 (n, 0)."""
        return np.zeros((len(images), 0), dtype=np.uint8)


class ImageOnly(Random):
    """A uniform number in [0, 1) from a hash of the image's pixels and a seed; it ignores the prompt."""

    def __init__(self, seed: int = 0, name: str = "image-only") -> None:
        super().__init__(seed, name)

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Empty rows: uint8 (n, 0)."""
        return np.zeros((len(prompts), 0), dtype=np.uint8)


class Constant:
    """The same score for every pair: every comparison is a tie."""

    baseline = True

    def __init__(self, value: float = 0.0, name: str = "constant") -> None:
        self.name, self.value = name, float(value)

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """float64 (n,) of the constant."""
        return np.full(len(prompts), self.value)

    def fields(self) -> dict[str, str]:
        """The constant."""
        return {"value": repr(self.value)}


class PromptLength:
    """The number of characters of the prompt: a metric that prefers long prompts."""

    baseline = True

    def __init__(self, name: str = "prompt-length") -> None:
        self.name = name

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """float64 (n,), Unicode code points."""
        return np.array([len(prompt) for prompt in prompts], dtype=np.float64)

    def fields(self) -> dict[str, str]:
        """No settings."""
        return {}


def _pixels(image: Image) -> np.ndarray:
    content = hashlib.sha256(f"{image.mode} {image.size}\n".encode())
    content.update(image.tobytes())
    return np.frombuffer(content.digest(), dtype=np.uint8)


def _text(prompt: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest(), dtype=np.uint8)


def _uniform(seed: int, *columns: np.ndarray) -> np.ndarray:
    rows = zip(*(np.ascontiguousarray(column) for column in columns), strict=True)
    prefix = f"croc {seed}\n".encode()
    digests = [hashlib.sha256(prefix + b"|".join(part.tobytes() for part in row)).digest() for row in rows]
    # 53 bits are what a float64 holds exactly below 1.
    return np.array([int.from_bytes(digest[:8], "big") >> 11 for digest in digests], dtype=np.float64) / 2**53
