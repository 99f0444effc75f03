"""Things of everyday life."""

from __future__ import annotations

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.kinds.shapes import outline
from croc_syn.world.declarations.pen import Pen, pts, ring, spread

_BRIGHT = "red orange yellow green turquoise blue purple pink"


@kind("umbrella/umbrellas", "things", _BRIGHT, unclear="wood")
def _umbrella(pen: Pen, appearance: Appearance) -> None:
    pen.line([(50, 6), (50, 84), (54, 92), (62, 92), (66, 84)], 3, "#8a6a4a", outline=1.8)
    pen.line([(50, 2), (50, 12)], 2, "#8a6a4a", outline=1.8)
    pen.blob(
        [
            (2, 52),
            (10, 26),
            (30, 11),
            (50, 8),
            (70, 11),
            (90, 26),
            (98, 52),
            (83, 45),
            (67, 51),
            (50, 45),
            (33, 51),
            (17, 45),
        ]
    )
    for x in (33, 67):
        pen.line([(50, 9), ((x + 50) / 2 + (x - 50) * 0.3, 26), (x, 50)], 0.2, "ink", outline=1)


@kind("ball/balls", "things", _BRIGHT, resembles="circle")
def _ball(pen: Pen, appearance: Appearance) -> None:
    pen.ellipse(50, 50, 46)
    pen.blob(pts("10,66 30,82 50,87 70,82 90,66 78,86 50,95 22,86"), "dark", 0)
    pen.ellipse(34, 26, 10, 6, fill="#ffffff", width=0, turn=-35)


@kind(
    "box/boxes crate/crates",
    "things",
    "brown red blue green yellow",
    inner=(0.09, 0.1, 0.91, 0.92),
    surface=False,
    resembles="square rectangle",
)
def _box(pen: Pen, appearance: Appearance) -> None:
    pen.rect(0, 0, 100, 92)
    pen.rect(8, 8, 84, 77, "dark", 2)
    for x, y in ((4, 4), (96, 4), (4, 88), (96, 88)):
        pen.dot(x, y, 1.8, "#4a4a4a")


@kind(
    "cup/cups mug/mugs",
    "things",
    _BRIGHT + " white",
    parts=(Part("handle", 1, 0, 3),),
    where="kitchen office",
)
def _cup(pen: Pen, appearance: Appearance) -> None:
    handles = appearance.parts["handle"]
    if handles:
        pen.ellipse(82, 46, 15, 17, "none", 6.5, "dark")
    if handles > 1:
        pen.ellipse(12, 46, 15, 17, "none", 6.5, "dark")
    if handles > 2:
        pen.ellipse(47, 2, 14, 15, "none", 6, "dark")
    pen.blob(pts("14,12 80,12 78,60 70,82 47,86 24,82 16,60"))
    pen.ellipse(47, 13, 33, 7, "light", 2)


@kind(
    "book/books",
    "things",
    _BRIGHT + " brown",
    resembles="square rectangle",
    where="classroom office living_room",
)
def _book(pen: Pen, appearance: Appearance) -> None:
    pen.polygon(pts("8,84 80,84 92,72 92,4 84,0 8,4"), "dark")
    pen.polygon(pts("12,78 78,78 88,68 88,8 80,12 12,12"), "#fffdf4", 1.6, "#777064")
    for x in (81, 84.5):
        pen.line([(x, 74 - (x - 80)), (x, 12)], 0.5, "#c9c3b3", outline=0.4, ink="#c9c3b3")
    pen.rect(4, 4, 74, 80, round_by=3)
    pen.line([(15, 6), (15, 82)], 1.4, "ink", outline=0.6)
    pen.rect(28, 18, 38, 16, "second", 1.8, round_by=2)
    pen.line([(34, 24), (60, 24)], 1.2, "#3b3b44", outline=0)
    pen.line([(38, 29), (56, 29)], 1.2, "#3b3b44", outline=0)


@kind(
    "clock/clocks",
    "things",
    _BRIGHT + " white",
    shapes=("circle", "square", "hexagon", "heart", "oval"),
    parts=(Part("hand", 2, 1, 4, least=0.26),),
    surface=False,
    unclear="white",
    where="classroom office kitchen railway",
)
def _clock(pen: Pen, appearance: Appearance) -> None:
    outline(pen, appearance.shape, 50, 50, 48)
    pen.ellipse(50, 50, 27 if appearance.shape in ("oval", "heart") else 36, fill="#ffffff", width=2)
    radius = 22 if appearance.shape in ("oval", "heart") else 30
    for x, y in ring(50, 50, radius, 12):
        pen.dot(x, y, 1.6)
    # No two hands lie on one line, where they would look like one.
    for angle in (-70, 20, 75, 160)[: appearance.parts["hand"]]:
        end = ring(50, 50, radius * 0.85, 1, angle)[0]
        pen.line([(50, 50), end], 2.8, "#2b2b2b", outline=0.6, ink="#2b2b2b")
    pen.dot(50, 50, 3.4, "#c8322b")


@kind(
    "hat/hats",
    "things",
    "black brown red blue green purple",
    parts=(Part("feather", 0, 0, 3, least=0.24),),
    where="street stage",
)
def _hat(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["feather"]):
        pen.line([(68 - 4 * i, 50), (80 - 15 * i, 20), (92 - 22 * i, -8)], 6, "second", outline=1.6)
    pen.blob(pts("24,56 26,14 40,6 50,10 60,6 74,14 76,56"))
    pen.rect(24, 42, 52, 11, "second", 1.8)
    pen.ellipse(50, 58, 50, 9)


@kind(
    "key/keys",
    "things",
    "yellow grey brown orange",
    parts=(Part("tooth", 2, 1, 4, plural="teeth"),),
    surface=False,
    least=0.14,
)
def _key(pen: Pen, appearance: Appearance) -> None:
    for x in spread(60, 92, appearance.parts["tooth"]) if appearance.parts["tooth"] > 1 else [88.0]:
        pen.rect(x - 3, 26, 6, 17)
    pen.rect(38, 20, 62, 9, round_by=3)
    pen.ellipse(22, 24, 16, fill="none", width=12, ink="ink")
    pen.ellipse(22, 24, 16, fill="none", width=8, ink="body")


@kind(
    "guitar/guitars",
    "things",
    "brown red orange black blue",
    parts=(Part("sound hole", 1, 0, 2),),
    unclear="white brown wood",
    where="stage",
)
def _guitar(pen: Pen, appearance: Appearance) -> None:
    pen.rect(44, -46, 12, 76, "#6b4326", 2)
    pen.polygon(pts("41,-66 59,-66 57,-44 43,-44"), "#54331c", 2)
    pen.blob(pts("50,20 70,22 76,36 70,50 82,66 80,88 50,98 20,88 18,66 30,50 24,36 30,22"))
    for y in ((), (56,), (36, 64))[appearance.parts["sound hole"]]:
        pen.ellipse(50, y, 10.5, fill="#3a2416", width=2)
    pen.rect(38, 80, 24, 5, "#3a2416", 0)
    for x in (46, 48.7, 51.3, 54):
        pen.line([(x, -58), (x, 81)], 0.7, "#f4f0e2", outline=0)


@kind(
    "drum/drums",
    "things",
    _BRIGHT,
    parts=(Part("stick", 2, 0, 3),),
    unclear="white plain zigzag",
    where="stage",
)
def _drum(pen: Pen, appearance: Appearance) -> None:
    pen.rect(6, 20, 88, 52)
    pen.ellipse(50, 72, 44, 10)
    pen.rect(7.2, 58, 85.6, 14, "body", 0)
    for x in (10, 37, 64):
        pen.line([(x, 28), (x + 13, 74), (x + 26, 28)], 1.6, "#fdf6dd", outline=0.6, smooth=False)
    pen.ellipse(50, 20, 44, 11, "#fbf7ea", 2.4)
    for x, a, b in ((36, 20, -12), (60, 84, -14), (48, 52, -22))[: appearance.parts["stick"]]:
        pen.line([(x, 19), (a, b)], 3, "#c99a5b", outline=1.6)
        pen.ellipse(a, b, 4.5, fill="#c99a5b", width=1.6)


@kind(
    "cage/cages",
    "things",
    "grey yellow brown black blue",
    inner=(0.09, 0.2, 0.91, 0.9),
    parts=(Part("bar", 5, 2, 8),),
    surface=False,
    unclear="white",
    resembles="square rectangle",
    least=0.2,
)
def _cage(pen: Pen, appearance: Appearance) -> None:
    pen.rect(4, 14, 92, 80, "#fbfbf5", 1)
    for x in spread(10, 90, appearance.parts["bar"]):
        pen.line([(x, 14), (x, 92)], 4.4, "body", outline=1)
    pen.ellipse(50, 2, 7, 8, "none", 4, "body")
    pen.rect(0, 6, 100, 12, round_by=4)
    pen.rect(0, 88, 100, 13, round_by=4)


@kind(
    "basket/baskets",
    "things",
    "brown yellow orange green",
    inner=(0.1, 0.3, 0.9, 0.93),
    parts=(Part("handle", 1, 0, 2),),
    surface=False,
)
def _basket(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["handle"]):
        pen.ellipse(60, 30, 42 - 13 * i, 36 - 13 * i, "none", 5, "dark")
    pen.polygon(pts("0,26 120,26 112,96 8,96"))
    pen.polygon(pts("10,34 110,34 104,90 16,90"), "dark", 1.8)
    pen.rect(-3, 22, 126, 9, round_by=4)
