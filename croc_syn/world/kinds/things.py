"""Things of everyday life."""

from __future__ import annotations

from croc_syn.world.kinds.base import Look, kind
from croc_syn.world.pen import Pen

_BRIGHT = "red orange yellow green turquoise blue purple pink"


@kind("umbrella/umbrellas", "things", _BRIGHT)
def _umbrella(pen: Pen, look: Look) -> None:
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


@kind("ball/balls", "things", _BRIGHT)
def _ball(pen: Pen, look: Look) -> None:
    pen.ellipse(50, 50, 46)
    pen.line([(8, 32), (34, 46), (66, 46), (92, 32)], 2, "ink", outline=0)
    pen.line([(8, 68), (34, 54), (66, 54), (92, 68)], 2, "ink", outline=0)
    pen.ellipse(34, 26, 10, 6, fill="#ffffff", width=0, turn=-35)


@kind("box/boxes crate/crates", "things", "brown red blue green yellow", inner=(0.09, 0.1, 0.91, 0.92))
def _box(pen: Pen, look: Look) -> None:
    pen.rect(0, 0, 100, 92)
    pen.rect(8, 8, 84, 77, "light", 2)
    for x, y in ((4, 4), (96, 4), (4, 88), (96, 88)):
        pen.dot(x, y, 1.8, "#4a4a4a")
