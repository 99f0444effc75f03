"""Scorers that compute a score by hand and note what they were given, in every way that a scorer can work."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shade(image: Image.Image) -> float:
    return float(np.asarray(image)[0, 0, 0])


class Plain:
    """Scores shade · 1000 + length, and notes what it was given."""

    name = "plain"

    def __init__(self) -> None:
        self.batches: list[list[tuple[float, str]]] = []

    def truth(self, image: Image.Image, prompt: str) -> float:
        return shade(image) * 1000 + len(prompt)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        self.batches.append([(shade(i), p) for i, p in zip(images, prompts, strict=True)])
        return np.array([self.truth(i, p) for i, p in zip(images, prompts, strict=True)])

    def fields(self) -> dict[str, str]:
        return {}


class Dual(Plain):
    """The same scores from an encoding of each side."""

    name = "dual"

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.seen_images: Counter[float] = Counter()
        self.seen_texts: Counter[str] = Counter()

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.seen_images.update(map(shade, images))
        return np.array([[shade(i) * 1000] for i in images])

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        self.seen_texts.update(prompts)
        return np.array([[len(p)] for p in prompts])

    def similarity(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left + right)[:, 0] * (1 + self.error)


class Prepared(Dual):
    """Preprocesses by itself, one image at a time."""

    name = "prepared"

    def __init__(self, error: float = 0.0) -> None:
        super().__init__(error)
        self.threads: set[str] = set()

    def prepare_image(self, image: Image.Image) -> float:
        self.threads.add(threading.current_thread().name)
        return shade(image)

    def encode_prepared(self, items: Sequence[float]) -> np.ndarray:
        return np.array([[item * 1000] for item in items])


class Prefix(Plain):
    name = "prefix"

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.error = error
        self.calls: list[tuple[float, tuple[str, ...]]] = []

    def score_prompts(self, image: Image.Image, prompts: Sequence[str]) -> np.ndarray:
        self.calls.append((shade(image), tuple(prompts)))
        return np.array([self.truth(image, p) * (1 + self.error) for p in prompts])


class Together(Prefix):
    name = "together"
    memory = 100
    hates = -1.0

    def score_images_prompts(
        self, images: Sequence[Image.Image], prompts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        if len(images) > self.memory:
            raise RuntimeError("out of memory")
        if self.hates in map(shade, images):
            raise ValueError("not this one")
        return [self.score_prompts(i, p) for i, p in zip(images, prompts, strict=True)]


FILES = {f"k{i}": png(i) for i in range(1, 11)}
WANTED = {key: [f"prompt {key}", "a shared and longer prompt"] for key in FILES}
TRUTH = {
    (key, prompt): int(key[1:]) * 1000.0 + len(prompt)
    for key, prompts in WANTED.items()
    for prompt in prompts
}
