"""The places where a scene can be set, one declaration each, and the taxonomy topics that are drawn there.

A background shows no kind that can be counted, unless its ``shows`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from croc_syn.world.declarations.backdrop import Backdrop
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.kinds.registry import LOW_POSES
from croc_syn.world.declarations.pen import pts


@dataclass(frozen=True)
class Place:
    """A place where a scene can be set.

    Attributes:
        id: name in scenes (``Scene.setting``) and in the taxonomy.
        words: phrases that a prompt may use, the usual one first.
        draw: draws the background.
        horizon: height (0 to 1, from the top) below which things stand; None without ground.
        open_air: whether it has a sky, and so weather.
        lit: whether the time of day can be seen.
        shows: ids of kinds that the background itself depicts, shapes included.
        water: levels (0 to 1, from the top) between which things swim; None without water.
    """

    id: str
    words: tuple[str, ...]
    draw: Callable[[Backdrop], None]
    horizon: float | None
    open_air: bool
    lit: bool
    shows: frozenset[str]
    water: tuple[float, float] | None

    def levels(self, kind: Kind, pose: str) -> tuple[float, float] | None:
        """Levels (0 to 1, from the top) between which the lower edge of a thing is; None for anywhere."""
        if self.water is not None and (kind.swims or pose == "swimming"):
            return self.water
        if self.horizon is None or kind.flies or pose in ("jumping", "flying"):
            return None
        return self.horizon + 0.03, 1.0

    def takes(self, pose: str) -> bool:
        """Whether things can be in a pose there: nothing swims without water or stands without ground."""
        if pose == "swimming":
            return self.water is not None
        return self.id == "plain" or self.horizon is not None or pose not in LOW_POSES


_REGISTRY: dict[str, Place] = {}
PLACES: Mapping[str, Place] = MappingProxyType(_REGISTRY)
"""Every place by id, in the order of declaration; random choices depend on this order."""


def place(
    name: str,
    words: str,
    horizon: float | None,
    *,
    open_air: bool = True,
    lit: bool = True,
    shows: str = "",
    water: tuple[float, float] | None = None,
) -> Callable[[Callable[[Backdrop], None]], Callable[[Backdrop], None]]:
    """Declare a place above its drawing function; ``words`` are separated by "/", ``shows`` by spaces."""

    def register(draw: Callable[[Backdrop], None]) -> Callable[[Backdrop], None]:
        _REGISTRY[name] = Place(
            name, tuple(words.split("/")), draw, horizon, open_air, lit, frozenset(shows.split()), water
        )
        return draw

    return register


@lru_cache(maxsize=4096)
def draw_background(name: str, lighting: str, weather: str, variant: int, celestial: bool) -> str:
    """SVG of a background on a canvas of 100 × 100; ``celestial``: the sky shows sun, moon and stars."""
    backdrop = Backdrop(lighting or "day", variant, np.random.default_rng([variant, 7]), celestial)
    PLACES[name].draw(backdrop)
    backdrop.weather(weather)
    return "".join(backdrop.svg)


CELESTIAL: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "day": frozenset({"circle"}),
        "sunset": frozenset({"circle"}),
        "night": frozenset({"circle", "crescent", "star"}),
    }
)
"""By lighting: ids of the plain shapes that sun, moon and stars look like."""

FALLING: Mapping[str, frozenset[str]] = MappingProxyType(
    {"rain": frozenset({"oval"}), "snow": frozenset({"circle"}), "fog": frozenset({"oval", "rectangle"})}
)
"""By weather: ids of the plain shapes that clouds, flakes and banks of fog look like."""


_PLAIN = ("#eef2f7", "#f7efe2", "#eaf5ea", "#f6ebf3", "#e6f3f5", "#f2f2ee", "#f5f0fa", "#fbf6df")


@place("plain", "on a plain background/in front of a plain wall", None, open_air=False, lit=False)
def _plain(b: Backdrop) -> None:
    b.rect(0, 0, 100, 100, _PLAIN[b.variant])


@place("park", "in a park/in the park", 0.5)
def _park(b: Backdrop) -> None:
    b.sky("#bfe3f7", "#e9f6fb", 56)
    b.hills(47, 6, "#a9d49a")
    b.rect(0, 54, 100, 46, "#b9dd9f")
    b.polygon(pts("30,100 40,82 57,70 60,56 64,56 70,71 58,86 60,100"), "#e8dcc0")
    for x in range(2, 100, 7):
        b.line([(x, 54), (x, 48)], 0.9, "#c9a878")
    b.line([(0, 50), (100, 50)], 0.9, "#c9a878")


@place("garden", "in a garden/in the garden", 0.48, shows="rectangle")
def _garden(b: Backdrop) -> None:
    b.sky("#c5e7f5", "#eef8fa", 40)
    for i in range(11):
        b.ellipse(i * 10, 42 + (i % 2) * 2, 9, 11, "#8fc383")
    b.rect(0, 46, 100, 54, "#c2e3a4")
    for x, y in b.scatter(56, 98, 26):
        b.line([(x, y), (x + 1, y - 2.5)], 0.6, "#9bc97f")
    for y in (62, 78):
        b.polygon([(0, y), (26, y), (24, y + 8), (0, y + 8)], "#cfae86")


@place("forest", "in a forest/in the forest/in the woods", 0.6, shows="tree triangle")
def _forest(b: Backdrop) -> None:
    b.sky("#d3ecdf", "#eef7ee", 70)
    for row, (base, height, fill) in enumerate(((58, 38, "#b5d8bd"), (66, 46, "#92c3a0"))):
        for i in range(8):
            x = i * 14 + row * 7 + (b.variant * 3 + i * i * 5) % 6 - 4
            for k in range(3):
                top = base - height + k * height * 0.24
                wide = 4.5 + 2.4 * k
                b.polygon([(x, top), (x + wide, top + height * 0.38), (x - wide, top + height * 0.38)], fill)
            b.rect(x - 1, base - 8, 2, 10, "#b79d80")
    b.rect(0, 64, 100, 36, "#bfd9a8")


@place("beach", "at the beach/on the beach/on a beach", 0.6, water=(0.44, 0.62))
def _beach(b: Backdrop) -> None:
    b.sky("#a9dcf5", "#e4f5fb", 40)
    b.rect(0, 38, 100, 34, "#6fc3dc")
    b.waves(44, 3, "#9adbeb")
    b.polygon(pts("0,64 25,59 50,63 75,58 100,62 100,100 0,100"), "#f3e2b3")
    for x, y in b.scatter(68, 99, 24):
        b.ellipse(x, y, 0.5, 0.4, "#dcc58c")


@place("sea", "on the sea/at sea/on the open sea", 0.42, water=(0.46, 1.0))
def _sea(b: Backdrop) -> None:
    b.sky("#b5def6", "#e8f6fc", 42)
    b.rect(0, 40, 100, 60, "#7cc4e0")
    b.waves(48, 9, "#a7daed")


@place(
    "underwater",
    "under water/under the sea/on the sea floor",
    0.86,
    open_air=False,
    lit=False,
    shows="circle",
    water=(0.05, 1.0),
)
def _underwater(b: Backdrop) -> None:
    for i, fill in enumerate(("#a6e1ee", "#93d6e8", "#80cae1", "#6dbdd9")):
        b.rect(0, i * 25, 100, 26, fill)
    for i in range(7):
        x = 6 + i * 15 + b.variant
        b.line([(x, 92), (x + 2, 84), (x - 2, 77), (x + 1, 70 - (i % 3) * 4)], 1.6, "#5da98a")
    b.polygon(pts("0,91 30,87 60,92 100,88 100,100 0,100"), "#ecdcae")
    for left, top in b.scatter(5, 80, 14):
        b.ellipse(left, top, 1.0, 1.0, "#d5f3f9")


@place("desert", "in a desert/in the desert", 0.5)
def _desert(b: Backdrop) -> None:
    b.sky("#c9e6f2", "#fbf0d4", 60)
    b.hills(54, 10, "#f0d193")
    b.polygon(pts("0,66 30,56 64,68 100,58 100,100 0,100"), "#f6dfab")
    b.polygon(pts("0,84 40,74 100,88 100,100 0,100"), "#eccf92")


@place("snow", "in the snow/in a snowy field/on a snowy field", 0.48, shows="oval")
def _snow(b: Backdrop) -> None:
    b.sky("#bcd7ea", "#e8f1f7", 56)
    b.hills(48, 8, "#dde9f2")
    b.polygon(pts("0,58 35,52 70,58 100,53 100,100 0,100"), "#f1f6fa")
    for x, y in b.scatter(60, 98, 16):
        b.ellipse(x, y, 3.2, 0.8, "#dfeaf3")


@place("mountains", "in the mountains/in front of mountains", 0.62, shows="triangle")
def _mountains(b: Backdrop) -> None:
    b.sky("#bcdff5", "#eef7fb", 66)
    shift = b.variant * 2
    for x, top, wide, fill in ((14, 22, 34, "#a7b6c8"), (82, 18, 40, "#a7b6c8"), (48, 30, 34, "#93a5ba")):
        x = x + shift - 7
        b.polygon([(x, top), (x + wide, 70), (x - wide, 70)], fill)
        b.polygon(
            [
                (x, top),
                (x + wide * 0.26, top + 12),
                (x + 3, top + 9),
                (x - 4, top + 13),
                (x - wide * 0.25, top + 12),
            ],
            "#f6f9fc",
        )
    b.rect(0, 62, 100, 38, "#b7d79b")


@place("farm", "on a farm/at a farm", 0.5, shows="house rectangle square cross")
def _farm(b: Backdrop) -> None:
    b.sky("#c3e4f5", "#f1f8f4", 54)
    b.hills(48, 5, "#cbdc8c")
    for i in range(7):
        b.polygon([(i * 16 - 8, 100), (i * 16 + 2, 100), (45 + i * 2.4, 54), (43.5 + i * 2.4, 54)], "#d8c07a")
    b.rect(0, 52, 100, 4, "#a9c86d")
    b.rect(4, 26, 22, 26, "#c96a5a")
    b.polygon(pts("2,27 8,17 22,17 28,27"), "#8f4a41")
    b.rect(10, 38, 10, 14, "#f3e6da")
    b.line([(10, 38), (20, 52)], 0.7, "#c96a5a")
    b.line([(20, 38), (10, 52)], 0.7, "#c96a5a")


@place("street", "in a street/in the street/in a city street", 0.6, shows="house rectangle square")
def _street(b: Backdrop) -> None:
    b.sky("#c6e0f0", "#edf4f8", 66)
    fills = ("#c8ccd8", "#d8cfc6", "#bfc9cf", "#d3c8d2")
    x = -4.0
    for i in range(7):
        tall = 24 + (i * 13 + b.variant * 7) % 26
        b.rect(x, 66 - tall, 15, tall, fills[(i + b.variant) % 4])
        for k in range(int(tall // 8)):
            for dx in (2.6, 8.4):
                b.glow_rect(
                    x + dx, 66 - tall + 3 + k * 8, 4, 4, "#eef3f8" if b.lighting == "day" else "#d9b65f"
                )
        x += 15.5
    b.rect(0, 66, 100, 8, "#d9d9d6")
    b.rect(0, 74, 100, 26, "#9fa3aa")
    for i in range(5):
        b.rect(4 + i * 21, 86, 11, 1.8, "#f2f0e6")


@place("sky", "in the sky/up in the sky", None, shows="oval")
def _sky(b: Backdrop) -> None:
    b.sky("#8ecbf2", "#dff1fb", 100)
    for i in range(4):
        x, y = (b.variant * 9 + i * 31) % 96, 14 + i * 24
        for dx, dy, r in ((-7, 1, 5), (0, -2, 7), (8, 1, 5)):
            b.ellipse(x + dx, y + dy, r, r * 0.7, "#ffffff")
        b.rect(x - 11, y + 1, 24, 4, "#ffffff", 2)


@place("space", "in outer space/in space", None, open_air=False, lit=False, shows="star circle oval")
def _space(b: Backdrop) -> None:
    b.svg.append('<rect width="100" height="100" fill="#232a55"/>')
    for i, (x, y) in enumerate(b.scatter(0, 100, 46)):
        b.glow(x, y, 0.35 + (i % 3) * 0.2, "#f3f0d8")
    x = 12 + b.variant * 10
    b.glow(x, 15, 8, "#8f84c9")
    b.svg.append(
        f'<ellipse cx="{x}" cy="15" rx="14" ry="3.4" fill="none" stroke="#c9bfe8" stroke-width="1.4"'
        f' transform="rotate(-14 {x} 15)"/>'
    )


@place("lake", "at a lake/by a lake/on a lake", 0.5, shows="oval", water=(0.56, 0.78))
def _lake(b: Backdrop) -> None:
    b.sky("#c2e3f5", "#eef7f7", 48)
    b.hills(42, 7, "#a9cfa4")
    b.rect(0, 48, 100, 52, "#b9dca0")
    b.ellipse(50, 66, 60, 15, "#8ccbe2")
    for i in range(4):
        b.line([(14 + i * 21, 62 + i % 2 * 6), (24 + i * 21, 62 + i % 2 * 6)], 0.8, "#b3deed")


@place("harbour", "in a harbour/at a harbour", 0.6, shows="rectangle", water=(0.48, 0.68))
def _harbour(b: Backdrop) -> None:
    b.sky("#bddcee", "#ecf4f8", 46)
    b.rect(0, 42, 100, 30, "#82bfd6")
    b.waves(48, 4, "#a9d5e4")
    b.rect(0, 70, 100, 30, "#c8bba8")
    for i in range(9):
        b.rect(i * 12 - 1, 66, 3, 12, "#8d7558")
    b.rect(0, 70, 100, 2, "#b2a28a")
    b.line([(86, 46), (86, 10), (62, 10)], 1.8, "#d9974f")
    b.line([(66, 10), (66, 24)], 0.8, "#8d8f96")


@place("road", "on a country road/on the road", 0.52, shows="triangle rectangle")
def _road(b: Backdrop) -> None:
    b.sky("#c0e2f5", "#eef7fa", 54)
    b.hills(48, 6, "#b3d292")
    b.rect(0, 54, 100, 46, "#c7dfa5")
    b.polygon(pts("47,52 53,52 88,100 12,100"), "#a5a8ae")
    for y0, y1, w in ((56, 60, 0.4), (66, 72, 0.7), (80, 90, 1.1)):
        b.polygon([(50 - w, y0), (50 + w, y0), (50 + w * 1.5, y1), (50 - w * 1.5, y1)], "#fbf7e4")


@place("railway", "at a railway station/at a station", 0.58, shows="rectangle")
def _railway(b: Backdrop) -> None:
    b.sky("#cfe4ee", "#f1f6f7", 56)
    b.rect(0, 24, 100, 5, "#9d6f62")
    for x in (8, 36, 64, 92):
        b.rect(x, 28, 2.4, 34, "#b98f82")
    b.rect(0, 52, 100, 14, "#dccfbd")
    b.rect(0, 66, 100, 34, "#c2bbb0")
    for i in range(13):
        b.rect(i * 8.4, 78, 3, 14, "#8f7860")
    for y in (80, 88):
        b.rect(0, y, 100, 1.6, "#80848b")


@place("airport", "at an airport/at the airport", 0.52, shows="rectangle")
def _airport(b: Backdrop) -> None:
    b.sky("#bfe0f4", "#eef6fa", 56)
    b.rect(56, 38, 46, 18, "#d9dee6")
    for i in range(6):
        b.rect(58 + i * 7.4, 41, 5, 7, "#a9cfe4")
    b.rect(20, 26, 5, 30, "#c8ced8")
    b.polygon(pts("15,17 30,17 27,27 18,27"), "#9fc4da")
    b.rect(0, 55, 100, 45, "#b3c8a0")
    b.rect(0, 66, 100, 22, "#a4a8af")
    for i in range(6):
        b.rect(2 + i * 17, 76, 10, 1.8, "#fbf7e4")


@place("savannah", "in the savannah/on the savannah", 0.5)
def _savannah(b: Backdrop) -> None:
    b.sky("#f3dfae", "#fbf1d6", 54)
    b.hills(50, 5, "#d9c37c")
    b.rect(0, 54, 100, 46, "#e6d190")
    for x, y in b.scatter(58, 99, 34):
        b.line([(x - 1, y - 3), (x, y), (x + 1, y - 3)], 0.5, "#c2a95e")


@place("playground", "at a playground/on a playground", 0.52, shows="triangle rectangle oval")
def _playground(b: Backdrop) -> None:
    b.sky("#c3e6f6", "#f0f9f9", 56)
    b.rect(0, 54, 100, 46, "#bfe0a2")
    b.ellipse(50, 82, 56, 16, "#f0dfb4")
    b.line([(6, 62), (14, 24), (22, 62)], 1.6, "#e0866a")
    b.line([(36, 62), (44, 24), (52, 62)], 1.6, "#e0866a")
    b.line([(14, 24), (44, 24)], 1.6, "#e0866a")
    for x in (24, 34):
        b.line([(x - 2.4, 24), (x - 2.4, 50), (x + 2.4, 50), (x + 2.4, 24)], 0.7, "#7f8b99")
    b.polygon(pts("72,30 78,30 98,60 92,60"), "#86b5e0")
    b.line([(73, 30), (73, 62)], 1.4, "#7f8b99")


@place("stadium", "in a stadium/at a stadium", 0.5, shows="rectangle square")
def _stadium(b: Backdrop) -> None:
    b.sky("#c3def0", "#eaf4f9", 26)
    for i in range(4):
        b.rect(0, 20 + i * 8, 100, 8, ("#d6a3a0", "#c9cfdb", "#a9bfd9", "#d9d2b5")[(i + b.variant) % 4])
        b.rect(0, 20 + i * 8, 100, 0.8, "#f7f7f5")
    for i in range(7):
        b.rect(i * 15, 52, 15, 48, "#a3d38d" if i % 2 else "#b4dd9f")
    b.rect(0, 58, 100, 1.2, "#fafdf6")
    b.line([(50, 59), (50, 100)], 1.2, "#fafdf6")


def _room(b: Backdrop, wall: tuple[str, str, str, str], floor: str) -> None:
    b.rect(0, 0, 100, 66, wall[b.variant % 4])
    b.rect(0, 66, 100, 34, floor)
    b.rect(0, 64.5, 100, 2, "#fbfaf6")


def _window(b: Backdrop, x: float, y: float, w: float, h: float) -> None:
    b.rect(x - 1.5, y - 1.5, w + 3, h + 3, "#fbfaf6")
    b.glow_rect(x, y, w, h, {"day": "#c4e6f7", "night": "#17224a", "sunset": "#ffb274"}[b.lighting])
    b.rect(x + w / 2 - 0.5, y, 1, h, "#fbfaf6")


@place("kitchen", "in a kitchen/in the kitchen", 0.62, open_air=False, shows="square rectangle")
def _kitchen(b: Backdrop) -> None:
    b.rect(0, 0, 100, 72, ("#f3ead6", "#e3efe9", "#f2e4de", "#e6ebf3")[b.variant % 4])
    for i in range(10):
        for k in range(2):
            b.rect(i * 10 + 0.4, 32 + k * 9, 9.2, 8.2, "#fbfaf6")
    b.rect(4, 4, 30, 22, "#d8b48a")
    b.rect(18.6, 4, 0.8, 22, "#b98f63")
    b.rect(62, 4, 34, 22, "#d8b48a")
    b.rect(78.6, 4, 0.8, 22, "#b98f63")
    _window(b, 40, 5, 16, 20)
    b.rect(0, 50, 100, 3, "#b9a48c")
    b.rect(0, 53, 100, 20, "#e2cba9")
    for i in range(5):
        b.rect(i * 20 + 1, 54.5, 18, 16.5, "#d8bd96")
        b.rect(i * 20 + 8, 56.5, 4, 1, "#8f7a5e")
    for i in range(10):
        for k in range(3):
            b.rect(i * 10, 73 + k * 9, 10, 9, "#e9e4da" if (i + k) % 2 else "#d4ccbe")


@place(
    "living_room",
    "in a living room/in the living room",
    0.64,
    open_air=False,
    shows="rectangle square triangle oval",
)
def _living_room(b: Backdrop) -> None:
    _room(b, ("#efe3d3", "#dfe8e2", "#e6dfec", "#f1e6c9"), "#cfa97c")
    for i in range(6):
        b.line([(0, 70 + i * 6), (100, 70 + i * 6)], 0.4, "#bb9468")
    _window(b, 62, 10, 26, 28)
    for x in (58, 89):
        b.rect(x, 6, 6, 42, "#c98f8f")
    b.rect(57, 5, 39, 1.6, "#9a7654")
    b.rect(14, 14, 24, 17, "#a67c52")
    b.rect(16, 16, 20, 13, "#a9c9d6")
    b.polygon(pts("16,29 23,21 29,26 33,23 36,29"), "#8fb58a")
    b.ellipse(50, 87, 40, 10, "#d79a84")
    b.ellipse(50, 87, 33, 7.4, "#e3b3a0")


@place("bedroom", "in a bedroom/in the bedroom", 0.64, open_air=False, shows="rectangle square oval")
def _bedroom(b: Backdrop) -> None:
    _room(b, ("#dfe3f1", "#f0e0e6", "#e2eee6", "#efe9d6"), "#d9c2a6")
    for i in range(14):
        b.rect(i * 7.4, 0, 2.2, 64, ("#d2d8eb", "#e8d2db", "#d3e5d9", "#e6ddc2")[b.variant % 4])
    _window(b, 12, 10, 24, 26)
    b.rect(66, 20, 26, 45, "#b98e62")
    b.rect(78.6, 20, 0.8, 45, "#8f6a45")
    for x in (76.5, 80.6):
        b.rect(x, 40, 1.2, 5, "#6d5136")
    b.ellipse(48, 86, 34, 9, "#b9c3e0")


@place("office", "in an office/at the office", 0.64, open_air=False, shows="rectangle square")
def _office(b: Backdrop) -> None:
    _room(b, ("#e4e8ec", "#e8e6de", "#dfe7ea", "#ebe5ea"), "#aeb6bf")
    for x in (4, 36, 68):
        _window(b, x, 9, 26, 30)
        for k in range(5):
            b.rect(x, 11 + k * 3, 26, 0.7, "#fbfaf6")
    b.rect(76, 46, 20, 20, "#98a2ad")
    for k in range(3):
        b.rect(77.5, 47.5 + k * 6, 17, 4.6, "#b4bdc6")
        b.rect(84, 49 + k * 6, 4, 1, "#6f7882")


@place("classroom", "in a classroom/in the classroom", 0.64, open_air=False, lit=False, shows="rectangle")
def _classroom(b: Backdrop) -> None:
    _room(b, ("#f1ead9", "#e4edf0", "#eee3d6", "#e6ede0"), "#c9ad86")
    b.rect(14, 9, 66, 37, "#a87f52")
    b.rect(16, 11, 62, 33, "#4d7a64")
    b.line([(24, 20), (34, 20), (34, 26)], 0.9, "#e6efe6")
    b.line([(42, 19), (66, 19)], 0.8, "#e6efe6")
    b.line([(42, 25), (60, 25)], 0.8, "#e6efe6")
    b.line([(24, 34), (52, 34)], 0.8, "#e6efe6")
    b.rect(14, 46, 66, 2, "#c79c69")


@place("stage", "on a stage/on the stage", 0.68, open_air=False, lit=False, shows="rectangle")
def _stage(b: Backdrop) -> None:
    b.rect(0, 0, 100, 72, "#d9c7b4")
    for i in range(5):
        for x in (i * 5, 76 + i * 5):
            b.rect(x, 0, 5, 74, "#b9514f" if i % 2 else "#cb6461")
    for i in range(10):
        b.ellipse(i * 11.1, 3, 7, 9, "#b9514f" if i % 2 else "#cb6461")
    b.rect(0, 72, 100, 28, "#c39a6b")
    for i in range(8):
        b.line([(i * 14, 72), (i * 18 - 14, 100)], 0.5, "#a97f52")


@place(
    "laboratory",
    "in a laboratory/in the laboratory",
    0.64,
    open_air=False,
    lit=False,
    shows="triangle rectangle",
)
def _laboratory(b: Backdrop) -> None:
    _room(b, ("#e3edf0", "#e8ecf4", "#e6f0ea", "#eeeef0"), "#c5ccd3")
    b.rect(6, 20, 40, 1.6, "#8f9aa5")
    b.rect(54, 20, 40, 1.6, "#8f9aa5")
    for i, fill in enumerate(("#8fd0b4", "#e8a0a0", "#a0b9e8", "#e8d78f", "#c9a0e0", "#93d3df")):
        x = 9 + i * 6.4 + (10 if i > 2 else 0) + (i > 2) * 20
        b.polygon(
            [(x + 1.4, 9), (x + 3, 9), (x + 3, 13), (x + 5.2, 20), (x - 0.8, 20), (x + 1.4, 13)], "#f4fafb"
        )
        b.polygon([(x + 0.4, 16.4), (x + 4, 16.4), (x + 5.2, 20), (x - 0.8, 20)], fill)
    b.rect(0, 50, 100, 3, "#f5f7f9")
    b.rect(0, 53, 100, 13, "#aab6c1")


@place(
    "museum", "in a museum/in the museum", 0.66, open_air=False, lit=False, shows="rectangle square triangle"
)
def _museum(b: Backdrop) -> None:
    _room(b, ("#e9e3da", "#dde3e8", "#ece0e0", "#e2e8df"), "#bfa98d")
    for x, y, w, h, fill in (
        (8, 12, 22, 28, "#8fb3c4"),
        (40, 16, 26, 18, "#c9b27e"),
        (76, 11, 17, 30, "#b48fae"),
    ):
        b.rect(x - 2, y - 2, w + 4, h + 4, "#b08a45")
        b.rect(x, y, w, h, fill)
        b.polygon(
            [
                (x, y + h),
                (x, y + h * 0.65),
                (x + w * 0.5, y + h * 0.45),
                (x + w, y + h * 0.7),
                (x + w, y + h),
            ],
            "#e9e0c9",
        )
    b.line([(0, 74), (50, 78), (100, 74)], 0.9, "#a33f3f")


@dataclass(frozen=True)
class Topic:
    """A taxonomy topic that the exact world can draw.

    Attributes:
        id: name in the taxonomy.
        place: id of the place.
        kinds: ids of the kinds that are usual there.
    """

    id: str
    place: str
    kinds: tuple[str, ...]


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        name: Topic(name, name, tuple(kind.id for kind in KINDS.values() if name in kind.where))
        for name in PLACES
        if name != "plain"
    }
)
"""Every topic that the exact world can draw, by id."""
