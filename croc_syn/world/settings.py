"""Places: how a topic's background is drawn, and what a prompt says for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from croc_syn.world.backdrop import Backdrop


@dataclass(frozen=True)
class Setting:
    """One place.

    Attributes:
        id: name in scenes and the taxonomy.
        words: what a prompt may say, the usual first; "" is no phrase.
        draw: draws the background.
        horizon: height (0 to 1, from the top) below which things stand; None when there is no ground.
        indoor: it is a room: no weather inside.
        shows: kinds that the background itself depicts.
    """

    id: str
    words: tuple[str, ...]
    draw: Callable[[Backdrop], None]
    horizon: float | None
    indoor: bool
    shows: frozenset[str]


_REGISTRY: dict[str, Setting] = {}
SETTINGS: Mapping[str, Setting] = MappingProxyType(_REGISTRY)
"""Every place, by id."""


def setting(
    name: str, words: str, horizon: float | None, *, indoor: bool = False, shows: str = ""
) -> Callable[[Callable[[Backdrop], None]], Callable[[Backdrop], None]]:
    """Declare a place above its drawing function; ``words`` are separated by "/"."""

    def register(draw: Callable[[Backdrop], None]) -> Callable[[Backdrop], None]:
        _REGISTRY[name] = Setting(
            name, tuple(words.split("/")), draw, horizon, indoor, frozenset(shows.split())
        )
        return draw

    return register


@lru_cache(maxsize=4096)
def background(name: str, lighting: str, weather: str, variant: int, celestial: bool) -> str:
    """SVG of a background on a canvas of 100 × 100."""
    place = SETTINGS[name]
    drop = Backdrop(lighting, variant, np.random.default_rng([variant, 7]), celestial and not place.indoor)
    place.draw(drop)
    return "".join(drop.svg)


@setting("plain", "on a plain background/in front of a plain wall", None)
def _plain(b: Backdrop) -> None:
    b.rect(
        0,
        0,
        100,
        100,
        ("#eef2f7", "#f7efe2", "#eaf5ea", "#f6ebf3", "#e6f3f5", "#f2f2ee", "#f5f0fa", "#fbf6df")[b.variant],
    )


@setting("park", "in a park/in the park", 0.5)
def _park(b: Backdrop) -> None:
    b.sky("#bfe3f7", "#e9f6fb", 52)
    b.hills(46, 6, "#a9d49a")
    b.rect(0, 52, 100, 48, "#b9dd9f")
    b.path([(30, 100), (40, 80), (58, 68), (60, 54), (64, 54), (70, 70), (58, 84), (58, 100)], "#e8dcc0")


@setting("beach", "at the beach/on the beach/on a beach", 0.6)
def _beach(b: Backdrop) -> None:
    b.sky("#a9dcf5", "#e4f5fb", 40)
    b.rect(0, 38, 100, 32, "#6fc3dc")
    b.waves(44, 3, "#8fd3e6")
    b.path([(0, 64), (25, 59), (50, 63), (75, 58), (100, 62), (100, 100), (0, 100)], "#f3e2b3")


@dataclass(frozen=True)
class Topic:
    """A topic that can be drawn: its place, and the kinds one expects there.

    Attributes:
        id: name in the taxonomy.
        setting: id of the place.
        kinds: ids of kinds that fit.
    """

    id: str
    setting: str
    kinds: tuple[str, ...]


def _topics() -> Mapping[str, Topic]:
    from croc_syn.world.kinds import KINDS

    return MappingProxyType(
        {
            name: Topic(name, name, tuple(kind.id for kind in KINDS.values() if name in kind.where))
            for name in SETTINGS
            if name != "plain"
        }
    )


TOPICS = _topics()
"""Every topic that the exact world can draw, by id."""
