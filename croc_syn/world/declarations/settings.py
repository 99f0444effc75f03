"""Places: how a topic's background is drawn, and what a prompt says for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from croc_syn.world.declarations.backdrop import Backdrop


@dataclass(frozen=True)
class Setting:
    """One place.

    Attributes:
        id: name in scenes and the taxonomy.
        words: what a prompt may say, the usual first; "" is no phrase.
        draw: draws the background.
        horizon: height (0 to 1, from the top) below which things stand; None when there is no ground.
        open_air: it has a sky, and so weather.
        lit: one sees what time of day it is.
        shows: kinds that the background itself depicts.
    """

    id: str
    words: tuple[str, ...]
    draw: Callable[[Backdrop], None]
    horizon: float | None
    open_air: bool
    lit: bool
    shows: frozenset[str]


_REGISTRY: dict[str, Setting] = {}
SETTINGS: Mapping[str, Setting] = MappingProxyType(_REGISTRY)
"""Every place, by id."""


def setting(
    name: str,
    words: str,
    horizon: float | None,
    *,
    open_air: bool = True,
    lit: bool = True,
    shows: str = "",
) -> Callable[[Callable[[Backdrop], None]], Callable[[Backdrop], None]]:
    """Declare a place above its drawing function; ``words`` are separated by "/", ``shows`` by blanks."""

    def register(draw: Callable[[Backdrop], None]) -> Callable[[Backdrop], None]:
        _REGISTRY[name] = Setting(
            name, tuple(words.split("/")), draw, horizon, open_air, lit, frozenset(shows.split())
        )
        return draw

    return register


@lru_cache(maxsize=4096)
def background(name: str, lighting: str, weather: str, variant: int, celestial: bool) -> str:
    """SVG of a background on a canvas of 100 × 100; ``celestial``: the sky shows sun, moon and stars."""
    place = SETTINGS[name]
    drop = Backdrop(lighting or "day", variant, np.random.default_rng([variant, 7]), celestial)
    place.draw(drop)
    drop.weather(weather)
    return "".join(drop.svg)


CELESTIAL: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "day": frozenset({"circle"}),
        "sunset": frozenset({"circle"}),
        "night": frozenset({"circle", "crescent", "star"}),
    }
)
"""Kinds of plain shapes that sun, moon and stars look like."""


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
    from croc_syn.world.declarations import places  # noqa: F401  its declarations fill SETTINGS
    from croc_syn.world.declarations.kinds import KINDS

    return MappingProxyType(
        {
            name: Topic(name, name, tuple(kind.id for kind in KINDS.values() if name in kind.where))
            for name in SETTINGS
            if name != "plain"
        }
    )


TOPICS = _topics()
"""Every topic that the exact world can draw, by id."""
