"""Plain shapes, and the things that come in several shapes."""

from __future__ import annotations

import math

from croc_syn.world.declarations.kinds.registry import Appearance, kind
from croc_syn.world.declarations.pen import Pen, Point, ring

_BRIGHT = "red orange yellow green turquoise blue purple pink"


def star_points(x: float, y: float, radius: float, tips: int = 5) -> list[Point]:
    """Corners of a star; the first tip is at the top."""
    outer = ring(x, y, radius, tips)
    inner = ring(x, y, radius * 0.45, tips, -90 + 180 / tips)
    return [point for pair in zip(outer, inner, strict=True) for point in pair]


def heart_points(x: float, y: float, radius: float) -> list[Point]:
    """A heart of about the given radius, as a fine polygon."""
    points = []
    for step in range(40):
        t = 2 * math.pi * step / 40
        points.append(
            (
                x + radius * 16 * math.sin(t) ** 3 / 17,
                y
                - radius
                * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
                / 17,
            )
        )
    return points


def crescent_points(x: float, y: float, radius: float) -> list[Point]:
    """A crescent that is open to the right."""
    outer = [
        (x + radius * math.cos(math.radians(a)), y + radius * math.sin(math.radians(a)))
        for a in range(-50, -311, -10)
    ]
    centre, inner = x + radius * 0.45, radius * 0.79
    tip_x, tip_y = outer[-1]
    tip = math.degrees(math.atan2(tip_y - y, tip_x - centre))
    angles = [math.radians(tip + (360 - 2 * tip) * i / 20) for i in range(21)]
    return outer + [(centre + inner * math.cos(a), y + inner * math.sin(a)) for a in angles]


def outline(
    pen: Pen, shape: str, x: float, y: float, r: float, fill: str = "body", width: float = 2.6
) -> None:
    """Draw one of the plain shapes around (x, y), about ``r`` in radius."""
    if shape == "circle":
        pen.ellipse(x, y, r, fill=fill, width=width)
    elif shape == "oval":
        pen.ellipse(x, y, r * 0.68, r * 1.08, fill=fill, width=width)
    elif shape == "square":
        pen.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76, fill=fill, width=width)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x + r * 1.08, y + r * 0.85), (x - r * 1.08, y + r * 0.85)], fill, width)
    elif shape == "star":
        pen.polygon(star_points(x, y, r * 1.1), fill, width)
    elif shape == "heart":
        pen.polygon(heart_points(x, y, r * 1.05), fill, width)
    elif shape == "hexagon":
        pen.polygon(ring(x, y, r * 1.05, 6, 0), fill, width)
    elif shape == "diamond":
        pen.polygon([(x, y - r * 1.15), (x + r * 0.8, y), (x, y + r * 1.15), (x - r * 0.8, y)], fill, width)
    elif shape == "crescent":
        pen.polygon(crescent_points(x + r * 0.2, y, r * 1.08), fill, width)
    elif shape == "cross":
        a, b = r * 0.36, r
        corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a)]
        pen.polygon([(x + u, y + v) for u, v in [*corners, (-b, -a), (-a, -a)]], fill, width)
    else:
        raise ValueError(f"no shape {shape!r}")


def _plain(words: str, shape: str, inner: tuple[float, float, float, float] | None = None) -> None:
    def draw(pen: Pen, appearance: Appearance) -> None:
        outline(pen, shape, 50, 50, 48)

    kind(words, "shapes", _BRIGHT + " brown black grey white", inner=inner)(draw)


_plain("circle/circles", "circle", (0.17, 0.17, 0.83, 0.83))
_plain("square/squares", "square", (0.06, 0.06, 0.94, 0.94))
_plain("triangle/triangles", "triangle", (0.29, 0.48, 0.71, 0.95))
_plain("star/stars", "star")
_plain("heart/hearts", "heart")
_plain("hexagon/hexagons", "hexagon", (0.25, 0.1, 0.75, 0.9))
_plain("diamond/diamonds rhombus/rhombuses", "diamond", (0.27, 0.27, 0.73, 0.73))
_plain("crescent/crescents", "crescent")
_plain("cross/crosses", "cross")
_plain("oval/ovals ellipse/ellipses", "oval", (0.16, 0.16, 0.84, 0.84))


@kind("rectangle/rectangles", "shapes", _BRIGHT + " brown black grey white", inner=(0.04, 0.07, 0.96, 0.93))
def _rectangle(pen: Pen, appearance: Appearance) -> None:
    pen.rect(0, 0, 100, 58)


@kind("pentagon/pentagons", "shapes", _BRIGHT + " brown black grey white", inner=(0.2, 0.3, 0.8, 0.92))
def _pentagon(pen: Pen, appearance: Appearance) -> None:
    pen.polygon(ring(50, 50, 50, 5))


_FORMS = ("circle", "square", "triangle", "star", "heart", "hexagon", "diamond", "oval")


@kind("cookie/cookies biscuit/biscuits", "food", "brown yellow orange", shapes=_FORMS, surface=False)
def _cookie(pen: Pen, appearance: Appearance) -> None:
    outline(pen, appearance.shape, 50, 50, 46)
    for x, y in ((38, 44), (60, 40), (50, 60), (64, 62), (37, 65), (50, 30)):
        pen.dot(x, y, 4.2, "#4a2a18")


@kind("balloon/balloons", "things", _BRIGHT, shapes=_FORMS, flies=True)
def _balloon(pen: Pen, appearance: Appearance) -> None:
    pen.line([(50, 88), (46, 102), (54, 116), (49, 132)], 0.6, "ink", outline=1.2)
    outline(pen, appearance.shape, 50, 44, 44)
    pen.polygon([(45, 94), (55, 94), (50, 82)], "dark", 1.8)
    pen.ellipse(36, 34, 4.5, 9, fill="#ffffff", width=0, turn=24)


@kind("sign/signs", "things", _BRIGHT + " white", shapes=_FORMS)
def _sign(pen: Pen, appearance: Appearance) -> None:
    pen.rect(46, 60, 8, 80, "#8d9299", 2)
    outline(pen, appearance.shape, 50, 46, 46)
    outline(pen, appearance.shape, 50, 46 if appearance.shape != "triangle" else 49, 35, "none", 3.2)


@kind("kite/kites", "things", _BRIGHT, shapes=("diamond", "triangle", "hexagon", "star", "heart"), flies=True)
def _kite(pen: Pen, appearance: Appearance) -> None:
    pen.line([(50, 86), (60, 104), (44, 118), (58, 138)], 1.2, "ink", outline=1.2)
    for x, y in ((57, 102), (47, 117), (57, 134)):
        pen.polygon([(x - 8, y - 4), (x - 8, y + 4), (x + 8, y - 4), (x + 8, y + 4)], "second", 1.6)
    outline(pen, appearance.shape, 50, 46, 44)
    pen.line([(50, 14), (50, 80)], 1, "ink", outline=1)
    pen.line([(26, 46), (74, 46)], 1, "ink", outline=1)


@kind(
    "mirror/mirrors",
    "furniture",
    "brown yellow grey red blue",
    shapes=("circle", "square", "oval", "hexagon", "heart"),
    surface=False,
    unclear="white grey blue turquoise",
)
def _mirror(pen: Pen, appearance: Appearance) -> None:
    outline(pen, appearance.shape, 50, 50, 48)
    outline(pen, appearance.shape, 50, 50, 33, "#cfe9f5", 2)
    pen.line([(40, 58), (58, 36)], 4, "#ffffff", outline=0)
    pen.line([(52, 62), (62, 50)], 3, "#ffffff", outline=0)
