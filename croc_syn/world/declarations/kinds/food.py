"""Food, and plants."""

from __future__ import annotations

import math

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, pts, ring, spread

_BRIGHT = "red orange yellow green turquoise blue purple pink"
_WOOD = "#8a5a33"


@kind(
    "apple/apples",
    "food",
    "red green yellow",
    parts=(Part("leaf", 1, 0, 3, plural="leaves"),),
    resembles="circle",
    where="kitchen farm",
)
def _apple(pen: Pen, appearance: Appearance) -> None:
    pen.line(pts("50,22 52,10 57,2"), 3, _WOOD, outline=1.6)
    for i in range(appearance.parts["leaf"]):
        side, y = (1, -1, 1)[i], (12, 13, 2)[i]
        pen.ellipse(51 + side * 16, y, 13, 5.5, "#55a84f", 1.6, turn=-22 * side)
    pen.blob(pts("50,24 68,17 88,28 92,54 80,84 62,95 50,91 38,95 20,84 8,54 12,28 32,17"))
    pen.ellipse(27, 42, 6, 12, "#ffffff", 0, turn=20)


@kind("banana/bananas", "food", "yellow green", where="kitchen")
def _banana(pen: Pen, appearance: Appearance) -> None:
    pen.blob(pts("8,14 18,10 24,38 44,60 76,66 98,58 101,66 82,84 50,86 22,68 8,40"))
    pen.line(pts("14,26 26,56 50,72 84,72"), 0.6, "ink", outline=1)
    pen.polygon(pts("8,15 10,2 18,1 18,12"), "#6b4a26", 1.4)
    pen.polygon(pts("97,57 106,57 103,67"), "#6b4a26", 1.2)


@kind(
    "carrot/carrots",
    "food",
    "orange purple",
    parts=(Part("leaf", 3, 1, 5, plural="leaves"),),
    resembles="triangle",
    where="kitchen farm",
)
def _carrot(pen: Pen, appearance: Appearance) -> None:
    for x in spread(-22, 22, appearance.parts["leaf"]) if appearance.parts["leaf"] > 1 else [0.0]:
        pen.line([(0, 28), (x * 0.6, 10), (x, -6)], 5, "#4f9e45", outline=1.6)
    pen.blob(pts("-18,32 0,24 18,32 16,56 6,88 0,108 -6,88 -16,56"))
    for x, y, w in ((-14, 46, 9), (5, 58, 8), (-9, 72, 7), (2, 84, 5)):
        pen.line([(x, y), (x + w, y + 1)], 0.6, "ink", outline=1)


@kind(
    "cake/cakes",
    "food",
    "pink brown white yellow purple turquoise",
    parts=(Part("candle", 3, 0, 9, least=0.18), Part("tier", 2, 1, 3)),
    resembles="rectangle",
    where="kitchen",
)
def _cake(pen: Pen, appearance: Appearance) -> None:
    tiers, candles = appearance.parts["tier"], appearance.parts["candle"]
    top_width = 104 - 22 * (tiers - 1)
    top = 84 - 34 * tiers
    for x in spread(52 - top_width / 2 + 8, 52 + top_width / 2 - 8, candles) if candles else []:
        pen.rect(x - 2.1, top - 20, 4.2, 22, "second", 1.2)
        pen.blob(
            [(x - 3, top - 24), (x, top - 33), (x + 3, top - 24), (x, top - 21)], "#ffb52e", 1, "#d8621a"
        )
    for tier in range(tiers):
        w, y = 104 - 22 * tier, 84 - 34 * (tier + 1)
        pen.rect(52 - w / 2, y, w, 36, round_by=4)
        edge = [(52 - w / 2, y + 2)]
        steps = 6
        for i in range(steps):
            edge.append((52 - w / 2 + w * (i + 0.5) / steps, y + (17 if i % 2 else 12)))
        edge.append((52 + w / 2, y + 2))
        pen.polygon(edge, "light", 1.6)
    pen.rect(-6, 84, 116, 6, "#e8e8ee", 1.8, ink="#777783", round_by=3)


@kind(
    "pizza/pizzas",
    "food",
    "yellow orange red",
    parts=(Part("olive", 4, 0, 8, least=0.2),),
    surface=False,
    unclear="brown red",
    resembles="circle",
    where="kitchen",
)
def _pizza(pen: Pen, appearance: Appearance) -> None:
    pen.ellipse(50, 50, 48, fill="#cf8f4a")
    pen.ellipse(50, 50, 41, width=1.6)
    count = appearance.parts["olive"]
    for x, y in ring(50, 50, 25, count, -60) if count else []:
        pen.ellipse(x, y, 6.4, fill="#35402b", width=1, ink="#222a1a")
        pen.dot(x, y, 2.3, "#e8d58c")


@kind(
    "ice_cream/ice_creams",
    "food",
    "pink brown white yellow turquoise green",
    parts=(Part("scoop", 2, 1, 4), Part("cherry", 0, 0, 1, plural="cherries")),
    unclear="orange brown plain checked",
    resembles="triangle circle",
    where="beach street",
)
def _ice_cream(pen: Pen, appearance: Appearance) -> None:
    scoops = appearance.parts["scoop"]
    pen.polygon(pts("-20,0 20,0 0,62"), "#e0a557", 2, "#7a5230")
    for a, b in ((-12, 8), (-3, 16), (12, -8), (3, -16)):
        pen.line([(a, 1), (a + b * 0.5, 24)], 0.4, "#a8722f", outline=0.6, ink="#a8722f")
    for i in range(scoops):
        pen.ellipse(0, -10 - 27 * i, 23 - 1.5 * i, 19)
        pen.ellipse(-8, -16 - 27 * i, 4, 2.6, "#ffffff", 0, turn=-30)
    if appearance.parts["cherry"]:
        y = -36 - 27 * (scoops - 1)
        pen.line([(0, y - 4), (6, y - 16)], 0.8, "#6b4a26", outline=1)
        pen.ellipse(0, y, 6.5, fill="#c3213a", width=1.4)


@kind(
    "mushroom/mushrooms toadstool/toadstools",
    "plants",
    "red brown orange purple",
    parts=(Part("spot", 5, 0, 7, least=0.28),),
    surface=False,
    unclear="white",
    where="forest garden",
)
def _mushroom(pen: Pen, appearance: Appearance) -> None:
    pen.blob(pts("36,48 64,48 62,76 70,98 30,98 38,76"), "#f3ead8", 2, "#8a7a63")
    pen.blob(pts("2,54 10,26 30,8 50,3 70,8 90,26 98,54 72,60 50,61 28,60"))
    spots = ((50, 20), (28, 34), (72, 34), (50, 44), (14, 48), (86, 48), (34, 52))
    for x, y in spots[: appearance.parts["spot"]]:
        pen.ellipse(x, y, 6.2, 5.6, "#fffdf5", 1.2)


@kind(
    "tree/trees",
    "plants",
    "green green green yellow orange red",
    parts=(Part("nest", 0, 0, 3, least=0.22), Part("branch", 0, 0, 4, plural="branches", least=0.26)),
    unclear="brown wood",
    where="park garden farm street lake",
)
def _tree(pen: Pen, appearance: Appearance) -> None:
    pen.polygon(pts("41,70 59,70 63,128 37,128"), _WOOD, 2.2, "#4a2f1a")
    for i in range(appearance.parts["branch"]):
        side, y = (-1 if i % 2 else 1), 92 + 13 * (i // 2)
        pen.line(
            [(50 + side * 8, y + 6), (50 + side * 24, y), (50 + side * 34, y - 8)], 3.4, _WOOD, outline=1.6
        )
    crown = "16,74 2,56 8,36 20,30 26,12 50,2 74,12 80,30 92,36 98,56 84,74 66,82 50,78 34,82"
    pen.blob(pts(crown))
    for x, y in ((30, 34), (66, 30), (50, 54), (24, 58), (76, 56)):
        pen.line([(x - 6, y), (x, y + 4), (x + 6, y)], 0.6, "dark", outline=1.2, ink="dark")
    for x, y in ((50, 30), (26, 46), (74, 46))[: appearance.parts["nest"]]:
        pen.blob([(x - 11, y - 3), (x, y), (x + 11, y - 3), (x + 7, y + 7), (x - 7, y + 7)], "#a87f4c", 1.8)
        for dx in (-4, 0, 4):
            pen.ellipse(x + dx, y - 3, 2.6, 3.2, "#f2efe4", 0.8)


@kind(
    "flower/flowers",
    "plants",
    "red yellow pink purple white blue orange",
    parts=(Part("petal", 6, 3, 9), Part("leaf", 2, 0, 4, plural="leaves")),
    surface=False,
    resembles="circle",
    where="park garden farm",
)
def _flower(pen: Pen, appearance: Appearance) -> None:
    pen.line(pts("50,40 51,80 50,116"), 3.4, "#4f9e45", outline=1.6)
    for i in range(appearance.parts["leaf"]):
        side, height = (1 if i % 2 else -1), 98 - 17 * (i // 2)
        pen.ellipse(50 + side * 14, height, 13, 5.5, "#57b04d", 1.6, turn=-28 * side)
    petals = appearance.parts["petal"]
    width = min(15.0, 27 * math.sin(math.pi / petals) * 0.93)
    for i, (x, y) in enumerate(ring(50, 36, 24, petals)):
        pen.ellipse(x, y, 15, width, turn=-90 + 360 * i / petals)
    pen.ellipse(50, 36, 11, fill="#f9c62e", width=1.8)


@kind(
    "cactus/cacti",
    "plants",
    "green",
    parts=(Part("arm", 2, 0, 4), Part("blossom", 0, 0, 1)),
    unclear="brown orange plain striped",
    where="desert",
)
def _cactus(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["arm"]):
        side, level = (-1 if i % 2 == 0 else 1), (70 if i < 2 else 40) - (8 if i % 2 else 0)
        reach = 33 if i < 2 else 25
        pen.line([(50, level), (50 + side * reach, level), (50 + side * reach, level - 22)], 10, smooth=False)
    pen.line(pts("50,18 50,96"), 24)
    for x in (44.0, 50.0, 56.0):
        pen.line([(x, 16), (x, 96)], 0.4, "dark", outline=0.8, ink="dark")
    if appearance.parts["blossom"]:
        for x, y in ring(50, 6, 6, 5):
            pen.ellipse(x, y, 4.6, fill="#ef5fa7", width=1)
        pen.dot(50, 6, 3, "#ffd84d")
    pen.polygon(pts("28,98 72,98 66,122 34,122"), "#c8693a", 2, "#6b3318")
