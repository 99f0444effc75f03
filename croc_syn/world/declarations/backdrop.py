"""Vector primitives for backgrounds: pale, flat shapes whose colours depend on the time of day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from croc_syn.world.declarations.pen import Point

_TINTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # lighting: factor and offset of red, green and blue
    "day": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    "night": ((0.36, 0.39, 0.46), (4.0, 8.0, 34.0)),
    "sunset": ((0.86, 0.58, 0.50), (34.0, 22.0, 20.0)),
}


@lru_cache(maxsize=8192)
def tint(colour: str, lighting: str) -> str:
    """A colour ``#rrggbb`` as it looks at a time of day."""
    factors, offsets = _TINTS[lighting]
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    mixed = (min(255, round(p * f + o)) for p, f, o in zip(parts, factors, offsets, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _pairs(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass
class Backdrop:
    """Records one background.

    Attributes:
        lighting: id of the time of day.
        variant: 0 to 7, selects details.
        rng: random numbers for details, seeded by the variant.
        celestial: whether the sky may show a sun, a moon and stars.
    """

    lighting: str
    variant: int
    rng: np.random.Generator
    celestial: bool
    svg: list[str] = field(default_factory=list)

    def colour(self, colour: str) -> str:
        """The colour at this time of day."""
        return tint(colour, self.lighting)

    def rect(self, x: float, y: float, w: float, h: float, fill: str, round_by: float = 0) -> None:
        """A rectangle."""
        corner = f' rx="{round_by:.1f}"' if round_by else ""
        self.svg.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"{corner}'
            f' fill="{self.colour(fill)}"/>'
        )

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """A polygon."""
        self.svg.append(f'<polygon points="{_pairs(points)}" fill="{self.colour(fill)}"/>')

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        """An ellipse."""
        self.svg.append(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{rx:.1f}" ry="{ry:.1f}" fill="{self.colour(fill)}"/>'
        )

    def line(self, points: Sequence[Point], width: float, fill: str) -> None:
        """An open line."""
        self.svg.append(
            f'<polyline points="{_pairs(points)}" fill="none" stroke="{self.colour(fill)}"'
            f' stroke-width="{width:.1f}" stroke-linecap="round" stroke-linejoin="round"/>'
        )

    def glow(self, x: float, y: float, r: float, fill: str) -> None:
        """A disc whose colour does not depend on the time of day: a light."""
        self.svg.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}"/>')

    def glow_rect(self, x: float, y: float, w: float, h: float, fill: str) -> None:
        """A rectangle whose colour does not depend on the time of day: a window."""
        self.svg.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}"/>')

    def sky(self, top: str, low: str, height: float) -> None:
        """A sky down to ``height``, with sun, moon or stars where ``celestial`` allows them."""
        if self.lighting == "day":
            stops = (top, low)
        else:
            stops = ("#101b3f", "#33456f") if self.lighting == "night" else ("#8d6bb0", "#ffb066")
        self.svg.append(
            '<linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">'
            f'<stop offset="0" stop-color="{stops[0]}"/><stop offset="1" stop-color="{stops[1]}"/>'
            f'</linearGradient><rect width="100" height="{height:.1f}" fill="url(#sky)"/>'
        )
        if not self.celestial:
            return
        x = 12.0 + 11 * self.variant
        if self.lighting == "night":
            for _ in range(26):
                self.glow(
                    float(self.rng.uniform(0, 100)), float(self.rng.uniform(0, height - 6)), 0.45, "#f5f2cf"
                )
            self.glow(x, 12, 6, "#f6f0c4")
            self.glow(x + 3, 10.5, 5.2, "#18244a")
        elif self.lighting == "sunset":
            self.glow(x, height - 3, 9, "#ff8a3c")
        else:
            self.glow(x, 11, 6, "#ffe27a")

    def hills(self, y: float, height: float, fill: str) -> None:
        """Rolling hills whose crest is around ``y``."""
        phase = self.variant * 0.9
        crest = [(x, y - height * math.sin(x / 17 + phase) * 0.6) for x in range(0, 101, 4)]
        self.polygon([*crest, (100, 100), (0, 100)], fill)

    def waves(self, y: float, rows: int, fill: str) -> None:
        """Short wave crests in rows from ``y`` down."""
        for row in range(rows):
            for i in range(6):
                x = (i * 18 + row * 9 + self.variant * 3) % 104 - 4
                self.line([(x, y + row * 6), (x + 2.5, y + row * 6 - 1), (x + 5, y + row * 6)], 0.8, fill)

    def weather(self, kind: str) -> None:
        """Rain, snow or fog over what has been drawn so far."""
        if kind == "rain":
            self.svg.append('<rect width="100" height="100" fill="#4d5d75" fill-opacity=".38"/>')
            for x, y in self.scatter(-4, 100, 90):
                self.svg.append(f'<path d="M{x:.1f} {y:.1f}l-1.6 5.4" stroke="#dcebf7" stroke-width=".7"/>')
            for x in range(-6, 110, 14):
                y = 2 + (x * 7 + self.variant) % 4
                self.svg.append(f'<ellipse cx="{x}" cy="{y}" rx="11" ry="6" fill="#6d7889"/>')
        elif kind == "snow":
            self.svg.append('<rect width="100" height="100" fill="#8fa5bd" fill-opacity=".45"/>')
            for i, (x, y) in enumerate(self.scatter(0, 100, 110)):
                self.glow(x, y, 0.7 + 0.35 * (i % 3), "#ffffff")
        elif kind == "fog":
            # The place must be recognised through it, at night as well.
            mist, thick = self.colour("#c9d0d6"), ".5" if self.lighting == "day" else ".3"
            self.svg.append(f'<rect width="100" height="100" fill="{mist}" fill-opacity="{thick}"/>')
            for i in range(6):
                y = 6 + i * 16
                x = (i * 37 + self.variant * 11) % 60 - 20
                self.svg.append(
                    f'<rect x="{x}" y="{y}" width="70" height="5" rx="2.5" fill="{self.colour("#ffffff")}"'
                    ' fill-opacity=".62"/>'
                )

    def scatter(self, low: float, high: float, count: int) -> list[Point]:
        """Random points between two heights."""
        return [(float(x), float(y)) for x, y in self.rng.uniform((0, low), (100, high), (count, 2))]
