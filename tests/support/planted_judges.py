"""Pairwise judges whose answers are known, and checks that they are asked about."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}


def picture(colour: str, shade: int) -> bytes:
    """A PNG in a colour; the shade makes it a file of its own."""
    buffer = io.BytesIO()
    red, _, blue = COLOURS[colour]
    Image.new("RGB", (8, 8), (red, shade, blue)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(n: int = 12, k: int = 1, **changes: Any) -> list[dict[str, Any]]:
    """Checks of hum, each a concept of its own: a red thing against a blue one, k images and k + 1 images."""

    def images(colour: str, i: int, count: int) -> list[dict[str, Any]]:
        return [{"bytes": picture(colour, 10 * i + j), "path": None} for j in range(count)]

    return [
        {
            "check_id": f"c{i:02}",
            "concept_id": f"concept {i:02}",
            "category": "counting" if i % 2 else "action",
            "prompt": f"red thing {i}",
            "contrast_prompt": f"blue thing {i}",
            "images": images("red", i, k),
            "contrast_images": images("blue", i, k + 1),
            **changes,
        }
        for i in range(n)
    ]


def is_match(image: Image.Image, prompt: str) -> bool:
    """Whether a picture has the colour of a prompt."""
    red, _, blue = np.asarray(image)[0, 0]
    return prompt.startswith("red") == bool(red > blue)


class Planted:
    """A judge whose preference for what stands first is ``first``, and for the match ``match``, in logits."""

    def __init__(self, match: float, first: float, name: str = "planted") -> None:
        self.match, self.first, self.name = match, first, name
        self.asked: list[tuple[Any, ...]] = []

    def choose_prompts(
        self, images: Sequence[Image.Image], first: Sequence[str], second: Sequence[str]
    ) -> Any:
        self.asked += zip(map(seen, images), first, second, strict=True)
        return self._probability([is_match(image, a) for image, a in zip(images, first, strict=True)])

    def choose_images(
        self, prompts: Sequence[str], first: Sequence[Image.Image], second: Sequence[Image.Image]
    ) -> Any:
        self.asked += zip(prompts, map(seen, first), map(seen, second), strict=True)
        return self._probability([is_match(a, prompt) for prompt, a in zip(prompts, first, strict=True)])

    def _probability(self, first_matches: Sequence[bool]) -> Any:
        sign = 2.0 * np.array(first_matches) - 1
        return 1 / (1 + np.exp(-(sign * self.match + self.first)))

    def fields(self) -> dict[str, str]:
        return {"revision": f"{self.match:g}, {self.first:g}"}


def seen(image: Image.Image) -> str:
    """The colour and the shade of a picture: ``red 10``."""
    red, shade, blue = np.asarray(image)[0, 0]
    return f"{'red' if red > blue else 'blue'} {shade}"
