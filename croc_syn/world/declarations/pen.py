"""The pen that draws things: vector primitives that also record their bounding box and silhouette.

A drawing function may use any coordinates. The pen keeps the SVG text, the tight bounding box and the
polygons of the silhouette, so that no kind declares a box by hand and the oracle measures what is drawn. A
fill is a fixed colour or a role (``body``, ``dark``, ``light``, ``ink``, ``line``, ``skin``, ``second``), for
which the renderer puts in the colours of each thing. The style decides on outlines, ``{edge:COLOUR}``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]

ROLES = frozenset({"body", "flat", "dark", "light", "ink", "line", "skin", "second", "none"})
OUTLINE = 2.2
"""Width of an outline, in the units of a drawing (most things are about 100 units high)."""

_ARC_STEPS = 20
_CURVE_STEPS = 6


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _paint(role: str) -> str:
    return f"{{{role}}}" if role in ROLES and role != "none" else role


def _edge(ink: str) -> str:
    """The colour of an outline; a style may leave it out."""
    return f"{{edge:{ink}}}"


def _smooth(points: Sequence[Point], closed: bool) -> list[tuple[Point, Point, Point, Point]]:
    """Cubic pieces of the Catmull-Rom curve through ``points``."""
    count = len(points)
    pieces = []
    for i in range(count if closed else count - 1):
        p1, p2 = points[i], points[(i + 1) % count]
        p0 = points[i - 1] if closed or i else p1
        p3 = points[(i + 2) % count] if closed or i + 2 < count else p2
        c1 = (p1[0] + (p2[0] - p0[0]) / 6, p1[1] + (p2[1] - p0[1]) / 6)
        c2 = (p2[0] - (p3[0] - p1[0]) / 6, p2[1] - (p3[1] - p1[1]) / 6)
        pieces.append((p1, c1, c2, p2))
    return pieces


def _flatten(pieces: Iterable[tuple[Point, Point, Point, Point]]) -> list[Point]:
    flat: list[Point] = []
    for a, b, c, d in pieces:
        for step in range(_CURVE_STEPS + 1):
            t = step / _CURVE_STEPS
            u = 1 - t
            k0, k1, k2, k3 = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            flat.append(
                (
                    k0 * a[0] + k1 * b[0] + k2 * c[0] + k3 * d[0],
                    k0 * a[1] + k1 * b[1] + k2 * c[1] + k3 * d[1],
                )
            )
    return flat


@dataclass
class Pen:
    """Records the drawing of one thing."""

    svg: list[str] = field(default_factory=list)
    polygons: list[list[Point]] = field(default_factory=list)
    strokes: list[tuple[list[Point], float]] = field(default_factory=list)
    x0: float = math.inf
    y0: float = math.inf
    x1: float = -math.inf
    y1: float = -math.inf

    def _grow(self, points: Iterable[Point], by: float) -> None:
        for x, y in points:
            self.x0 = min(self.x0, x - by)
            self.x1 = max(self.x1, x + by)
            self.y0 = min(self.y0, y - by)
            self.y1 = max(self.y1, y + by)

    def _closed(self, markup: str, outline: list[Point], fill: str, width: float, ink: str) -> None:
        edge = _edge(ink) if fill != "none" else _paint(ink)
        wide = f"{{wide:{_n(width)}}}" if fill != "none" else _n(width)
        stroke = f' stroke="{edge}" stroke-width="{wide}"' if width else ""
        self.svg.append(f'{markup} fill="{_paint(fill)}"{stroke}/>')
        self._grow(outline, width / 2)
        if fill != "none":
            self.polygons.append(outline)
        else:
            self.strokes.append(([*outline, outline[0]], width))

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        fill: str = "body",
        width: float = OUTLINE,
        ink: str = "ink",
        turn: float = 0.0,
    ) -> None:
        """An ellipse around (x, y), turned by ``turn`` degrees clockwise."""
        ry = rx if ry is None else ry
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        outline = []
        for step in range(_ARC_STEPS):
            angle = 2 * math.pi * step / _ARC_STEPS
            dx, dy = rx * math.cos(angle), ry * math.sin(angle)
            outline.append((x + dx * cos - dy * sin, y + dx * sin + dy * cos))
        rotate = f' transform="rotate({_n(turn)} {_n(x)} {_n(y)})"' if turn else ""
        self._closed(
            f'<ellipse cx="{_n(x)}" cy="{_n(y)}" rx="{_n(rx)}" ry="{_n(ry)}"{rotate}',
            outline,
            fill,
            width,
            ink,
        )

    def rect(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: str = "body",
        width: float = OUTLINE,
        ink: str = "ink",
        round_by: float = 0.0,
    ) -> None:
        """A rectangle with its upper left corner at (x, y)."""
        corner = f' rx="{_n(round_by)}"' if round_by else ""
        self._closed(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}"{corner}',
            [(x, y), (x + w, y), (x + w, y + h), (x, y + h)],
            fill,
            width,
            ink,
        )

    def polygon(
        self, points: Sequence[Point], fill: str = "body", width: float = OUTLINE, ink: str = "ink"
    ) -> None:
        """A closed shape with straight sides."""
        data = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._closed(f'<polygon points="{data}" stroke-linejoin="round"', list(points), fill, width, ink)

    def blob(
        self, points: Sequence[Point], fill: str = "body", width: float = OUTLINE, ink: str = "ink"
    ) -> None:
        """A closed, smooth shape through the points."""
        pieces = _smooth(points, closed=True)
        self._closed(f'<path d="{_curve(pieces)}Z"', _flatten(pieces), fill, width, ink)

    def line(
        self,
        points: Sequence[Point],
        width: float,
        fill: str = "body",
        outline: float = OUTLINE,
        ink: str = "ink",
        smooth: bool = True,
    ) -> None:
        """An open line with round ends (a limb, a tail, a stem); ``outline`` 0 draws it without an edge."""
        if smooth and len(points) > 2:
            pieces = _smooth(points, closed=False)
            data, flat = _curve(pieces), _flatten(pieces)
        else:
            data = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
            flat = list(points)
        whole = width + outline
        common = f'<path d="{data}" fill="none" stroke-linecap="round" stroke-linejoin="round"'
        if outline:
            edge = _edge(ink) if fill != "ink" else _paint(ink)
            self.svg.append(f'{common} stroke="{edge}" stroke-width="{_n(whole)}"/>')
        self.svg.append(f'{common} stroke="{_paint(fill)}" stroke-width="{_n(whole - 2 * outline)}"/>')
        self._grow(flat, whole / 2)
        self.strokes.append((flat, whole))

    def dot(self, x: float, y: float, r: float, fill: str = "#2b2b2b") -> None:
        """A small filled circle without an outline."""
        self.ellipse(x, y, r, fill=fill, width=0)

    def eye(self, x: float, y: float, r: float = 3.4) -> None:
        """An open eye: the white and the pupil."""
        self.ellipse(x, y, r, fill="#ffffff", width=1.2, ink="line")
        self.dot(x + r * 0.15, y, r * 0.55)


class Turned(Pen):
    """A pen that turns what it draws, for example a person who is lying down.

    Args:
        pen: draws the turned shapes.
        degrees: how far, clockwise around the origin.
    """

    def __init__(self, pen: Pen, degrees: float) -> None:
        super().__init__()
        self._pen, self._degrees = pen, degrees
        self._cos, self._sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def _at(self, x: float, y: float) -> Point:
        return x * self._cos - y * self._sin, x * self._sin + y * self._cos

    def ellipse(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        fill: str = "body",
        width: float = OUTLINE,
        ink: str = "ink",
        turn: float = 0.0,
    ) -> None:
        """An ellipse."""
        self._pen.ellipse(*self._at(x, y), rx, ry, fill, width, ink, turn + self._degrees)

    def rect(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        fill: str = "body",
        width: float = OUTLINE,
        ink: str = "ink",
        round_by: float = 0.0,
    ) -> None:
        """A rectangle."""
        corners = [self._at(u, v) for u, v in ((x, y), (x + w, y), (x + w, y + h), (x, y + h))]
        cx, cy = self._at(x + w / 2, y + h / 2)
        corner = f' rx="{_n(round_by)}"' if round_by else ""
        self._pen._closed(
            f'<rect x="{_n(cx - w / 2)}" y="{_n(cy - h / 2)}" width="{_n(w)}" height="{_n(h)}"{corner}'
            f' transform="rotate({_n(self._degrees)} {_n(cx)} {_n(cy)})"',
            corners,
            fill,
            width,
            ink,
        )

    def polygon(
        self, points: Sequence[Point], fill: str = "body", width: float = OUTLINE, ink: str = "ink"
    ) -> None:
        """A closed shape with straight sides."""
        self._pen.polygon([self._at(x, y) for x, y in points], fill, width, ink)

    def blob(
        self, points: Sequence[Point], fill: str = "body", width: float = OUTLINE, ink: str = "ink"
    ) -> None:
        """A closed, smooth shape."""
        self._pen.blob([self._at(x, y) for x, y in points], fill, width, ink)

    def line(
        self,
        points: Sequence[Point],
        width: float,
        fill: str = "body",
        outline: float = OUTLINE,
        ink: str = "ink",
        smooth: bool = True,
    ) -> None:
        """An open line."""
        self._pen.line([self._at(x, y) for x, y in points], width, fill, outline, ink, smooth)


def _curve(pieces: Sequence[tuple[Point, Point, Point, Point]]) -> str:
    start = pieces[0][0]
    return f"M{_n(start[0])} {_n(start[1])}" + "".join(
        f"C{_n(b[0])} {_n(b[1])} {_n(c[0])} {_n(c[1])} {_n(d[0])} {_n(d[1])}" for _, b, c, d in pieces
    )


def ring(x: float, y: float, radius: float, count: int, start: float = -90.0) -> list[Point]:
    """``count`` evenly spaced points on a circle around (x, y); the first at ``start`` degrees (-90: top)."""
    return [
        (
            x + radius * math.cos(math.radians(start + 360 * i / count)),
            y + radius * math.sin(math.radians(start + 360 * i / count)),
        )
        for i in range(count)
    ]


def spread(low: float, high: float, count: int) -> list[float]:
    """``count`` evenly spaced positions from ``low`` to ``high``; a single one is in the middle."""
    if count == 1:
        return [(low + high) / 2]
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def pts(text: str) -> list[Point]:
    """Parse points written as "x,y x,y …"."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]
