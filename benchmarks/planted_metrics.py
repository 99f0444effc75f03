"""Scorers of ``planted_metrics.yaml``: metrics whose flaws are known, because they are planted.

They read the scene of an image of the exact world, which must stand in ``image.info`` under ``SCENE``, and
its pixels. They are no scorers for ``croc score``, which hands over pixels only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL.Image import Image

from croc_syn.world import Scene, parse, satisfaction_score, satisfies
from croc_syn.world.language.meaning import Meaning
from croc_syn.world.scenes.oracle import RELATION_TESTS, is_true_of, matches

FILE = Path(__file__).with_suffix(".yaml")
SCENE = "croc:scene"
"""Key of ``image.info``."""
MISSED = 0.2
"""Share of the pairs of which a metric with the term ``missed`` sees nothing."""


class Seen:
    """An image with its scene, and a prompt with its meaning."""

    def __init__(self, image: Image, prompt: str) -> None:
        self.image, self.prompt = image, prompt
        self.scene: Scene = image.info[SCENE]
        self.meaning: Meaning = parse(prompt)
        self.pixels = np.asarray(image.convert("RGB").reduce(max(1, image.width // 64)), dtype=float) / 255

    def uniform(self, *names: str) -> float:
        """A number in 0…1 from a hash of names."""
        digest = hashlib.sha256("|".join(names).encode()).digest()
        return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48

    @property
    def key(self) -> str:
        """The image and the prompt."""
        return f"{hashlib.sha256(self.image.tobytes()).hexdigest()} {self.prompt}"


def _noise(seen: Seen) -> float:
    first, second = seen.uniform("noise", seen.key), seen.uniform("angle", seen.key)
    return float(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))  # Box and Muller 1958


def _saturation(seen: Seen) -> float:
    high, low = seen.pixels.max(axis=2), seen.pixels.min(axis=2)
    return float(((high - low) / np.maximum(high, 1e-6)).mean())


def _edges(seen: Seen) -> float:
    grey = seen.pixels.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _covered(seen: Seen) -> float:
    return sum(thing.size**2 for thing in seen.scene.things)


def _nouns(seen: Seen) -> float:
    named = {group.kind for group in seen.meaning.groups}
    return float(np.mean([kind in {thing.kind for thing in seen.scene.things} for kind in sorted(named)]))


def _satisfied(change: Callable[[Meaning], Meaning]) -> Callable[[Seen], float]:
    return lambda seen: float(satisfies(seen.scene, change(seen.meaning)))


def _positive(meaning: Meaning) -> Meaning:
    groups = tuple(
        replace(group, attributes=tuple(one for one in group.attributes if one.positive))
        for group in meaning.groups
    )
    return replace(meaning, groups=groups, absences=(), only=False)


def _without_attributes(meaning: Meaning) -> Meaning:
    return replace(meaning, groups=tuple(replace(group, attributes=()) for group in meaning.groups))


def _without_relations(meaning: Meaning) -> Meaning:
    groups = tuple(replace(group, layout="") for group in meaning.groups)
    return replace(meaning, groups=groups, links=())


def _without_binding(seen: Seen) -> float:
    stated = [attribute for group in seen.meaning.groups for attribute in group.attributes]
    anywhere = all(any(matches(thing, one) for thing in seen.scene.things) for one in stated)
    return float(anywhere and satisfies(seen.scene, _without_attributes(seen.meaning)))


def _without_counts(seen: Seen) -> float:
    """Whether each phrase is true of some thing, and each relation of some two."""
    scene, meaning = seen.scene, seen.meaning
    fitting = [
        [
            i
            for i, thing in enumerate(scene.things)
            if thing.kind == group.kind
            and all(
                is_true_of(scene, i, one, {a.dimension for a in group.attributes}) for one in group.attributes
            )
        ]
        for group in meaning.groups
    ]
    related = all(
        any(RELATION_TESTS[link.relation](scene, [i], [j]) for i in fitting[link.a] for j in fitting[link.b])
        for link in meaning.links
    )
    rest = replace(meaning, groups=(), links=(), only=False)
    return float(all(fitting) and related and satisfies(scene, rest))


TERMS: Mapping[str, Callable[[Seen], float]] = {
    "truth": lambda seen: float(satisfies(seen.scene, seen.meaning)),
    "graded": lambda seen: satisfaction_score(seen.scene, seen.meaning),
    "missed": lambda seen: float(
        satisfies(seen.scene, seen.meaning) and seen.uniform("missed", seen.key) < MISSED
    ),
    "noise": _noise,
    "prompt": lambda seen: seen.uniform("prompt", seen.prompt),
    "things": lambda seen: float(len(seen.scene.things)),
    "saturation": _saturation,
    "brightness": lambda seen: float(seen.pixels.mean()),
    "contrast": lambda seen: float(seen.pixels.mean(axis=2).std()),
    "edges": _edges,
    "largest": lambda seen: max((thing.size for thing in seen.scene.things), default=0.0),
    "covered": _covered,
    "nouns": _nouns,
    "without_negation": _satisfied(_positive),
    "without_counts": _without_counts,
    "without_relations": _satisfied(_without_relations),
    "without_attributes": _satisfied(_without_attributes),
    "without_binding": _without_binding,
    "without_background": _satisfied(lambda meaning: replace(meaning, image=())),
}

TRANSFORMS: Mapping[str, Callable[[float], float]] = {
    "none": lambda score: score,
    "exponential": lambda score: float(np.exp(3 * score)),
    "cube": lambda score: score**3,
    "squashed": lambda score: float(np.tanh(score)),
    "shifted": lambda score: score - 1000.0,
    "steps": lambda score: round(4 * score) / 4 if score <= 0 else 1.0,
}


class PlantedMetric:
    """A metric of the file.

    Args:
        name: its name.
        terms: weights by name in :data:`TERMS`.
        transform: one of :data:`TRANSFORMS`.
        sound: whether it is meant to be safe.
    """

    def __init__(self, name: str, terms: Mapping[str, float], sound: bool, transform: str = "none") -> None:
        self.name, self.terms, self.sound = name, dict(terms), sound
        self.transform = TRANSFORMS[transform]

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """float64 (n,)."""
        pairs = zip(images, prompts, strict=True)
        return np.array([self.of(Seen(image, prompt)) for image, prompt in pairs], dtype=float)

    def of(self, seen: Seen) -> float:
        """The score of one pair."""
        return self.transform(sum(weight * TERMS[name](seen) for name, weight in self.terms.items()))

    def fields(self) -> dict[str, str]:
        """The terms."""
        return {name: f"{weight:g}" for name, weight in self.terms.items()}


def planted() -> tuple[list[PlantedMetric], Mapping[str, Any]]:
    """The metrics of the file, and how they are labelled."""
    content = yaml.safe_load(FILE.read_text("utf-8"))
    return [PlantedMetric(**entry) for entry in content["metrics"]], content["label"]
