"""People, robots and snowmen."""

from __future__ import annotations

import math

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, Point, Turned, pts, spread

_BRIGHT = "red orange yellow green turquoise blue purple pink"


def _limb(pen: Pen, root: Point, angle: float, bend: float, length: float, width: float, fill: str) -> Point:
    """Draw a limb of two segments from ``root`` and return its end; angles in degrees, 90 is down."""
    first, second = math.radians(angle), math.radians(angle + bend)
    middle = (root[0] + length * 0.5 * math.cos(first), root[1] + length * 0.5 * math.sin(first))
    end = (middle[0] + length * 0.5 * math.cos(second), middle[1] + length * 0.5 * math.sin(second))
    pen.line([root, middle, end], width, fill, smooth=False)
    return end


# pose: angles of the arms (upper, bend) left and right, and of the legs
_ARMS = {
    "standing": ((112, -4), (68, 4)),
    "walking": ((130, -20), (50, 20)),
    "running": ((150, -75), (35, -75)),
    "jumping": ((-130, 0), (-50, 0)),
    "waving": ((112, -4), (-35, -55)),
    "sitting": ((105, -50), (85, -50)),
    "dancing": ((195, 65), (-15, -65)),
    "kicking": ((160, -20), (20, 20)),
    "sleeping": ((112, -4), (68, 4)),
}
_LEGS = {
    "standing": ((98, 0), (82, 0)),
    "walking": ((122, 0), (62, 12)),
    "running": ((138, 25), (38, 62)),
    "jumping": ((150, -75), (30, 75)),
    "waving": ((98, 0), (82, 0)),
    "sitting": ((8, 78), (2, 84)),
    "dancing": ((100, 0), (35, 75)),
    "kicking": ((95, 0), (12, -8)),
    "sleeping": ((98, 0), (82, 0)),
}


@kind(
    "person/people",
    "people",
    _BRIGHT,
    poses={
        "standing": "standing",
        "walking": "walking",
        "running": "running",
        "jumping": "jumping/leaping",
        "waving": "waving",
        "sitting": "sitting",
        "dancing": "dancing",
        "kicking": "kicking",
        "sleeping": "lying down/lying/sleeping",
    },
    parts=(
        Part("arm", 2, 0, 4, body=True),
        Part("leg", 2, 1, 4, body=True),
        Part("head", 1, 1, 2, body=True),
        Part("eye", 2, 1, 3, body=True, least=0.4),
        Part("cap", 0, 0, 1),
    ),
    least=0.18,
    unclear="black white brown wood metal glass stone wool paint",
    where="park street beach kitchen living_room stadium office classroom stage playground",
)
def _person(pen: Pen, appearance: Appearance) -> None:
    arms, legs, heads = appearance.parts["arm"], appearance.parts["leg"], appearance.parts["head"]
    turned = appearance.pose == "sleeping"
    body = Turned(pen, -90) if turned else pen
    (la, lb), (ra, rb) = _LEGS[appearance.pose]
    for i, x in enumerate(spread(-7, 7, legs) if legs > 1 else [0.0]):
        share = i / (legs - 1) if legs > 1 else 0.0
        angle, bend = (la + (ra - la) * share, lb + (rb - lb) * share)
        if legs > 2 and appearance.pose in ("standing", "waving", "sleeping"):
            angle, bend = 125 - 70 * share, 0
        foot = _limb(body, (x, 66), angle, bend, 42, 8, "body")
        body.ellipse(foot[0] + 3, foot[1] + 2, 7, 4, fill="#3b3b44", width=1.4)
    body.rect(-14, 30, 28, 40, round_by=8)
    (ua, ub), (va, vb) = _ARMS[appearance.pose]
    for i in range(arms):
        share = i / (arms - 1) if arms > 1 else 1.0
        left = share < 0.5 or (share == 0.5 and arms > 1 and i % 2 == 0)
        angle, bend = (ua, ub) if left else (va, vb)
        if arms > 2:
            # Like the hands of a clock, so that each can be counted.
            side = [k for k in range(arms) if (k / (arms - 1) < 0.5) == (share < 0.5)]
            step = side.index(i)
            angle, bend = (112 + 52 * step if share < 0.5 else 68 - 52 * (len(side) - 1 - step)), 0
        hand = _limb(body, (-12 if left else 12, 37), angle, bend, 38, 6.5, "body")
        body.ellipse(hand[0], hand[1], 4.6, fill="skin", width=1.6)
    # The number of eyes is that of the person, however many heads there are.
    eyes = appearance.parts["eye"]
    for i, x in enumerate(spread(-15, 15, heads)):
        _head(body, x, 13, eyes // heads + (i < eyes % heads), appearance.parts["cap"], turned)


def _head(pen: Pen, x: float, y: float, eyes: int, cap: int, asleep: bool) -> None:
    pen.ellipse(x, y - 2, 15.5, 15, fill="#54382a")
    pen.ellipse(x, y + 1.5, 13, 13.5, fill="skin", width=1.4)
    pen.blob(
        [(x - 13, y), (x - 11, y - 9), (x, y - 13), (x + 11, y - 9), (x + 13, y), (x, y - 7)], "#54382a", 0
    )
    for at in spread(x - 6.5, x + 6.5, eyes):
        if asleep:
            pen.line([(at - 2, y + 2), (at + 2, y + 2)], 0.8, "#3b2b20", outline=0)
        else:
            pen.eye(at, y + 1.5, 3.4)
    pen.line([(x - 4.5, y + 8), (x, y + 10), (x + 4.5, y + 8)], 1.4, "#8c3b3b", outline=0)
    if cap:
        pen.blob(
            [(x - 15, y - 6), (x - 13, y - 14), (x, y - 19), (x + 13, y - 14), (x + 15, y - 6)], "second", 1.6
        )
        pen.line([(x, y - 6), (x + 24, y - 5)], 3, "second", outline=1.6)


@kind(
    "robot/robots",
    "people",
    "grey blue turquoise orange red",
    poses={"standing": "standing", "waving": "waving", "walking": "walking"},
    parts=(
        Part("arm", 2, 0, 4, least=0.22),
        Part("leg", 2, 1, 3),
        Part("eye", 2, 1, 3, least=0.36),
        Part("antenna", 1, 0, 3, plural="antennas", least=0.3),
        Part("button", 3, 0, 5, least=0.32),
    ),
    unclear="white metal paint plain dotted",
    resembles="square rectangle",
    where="space laboratory office street",
    least=0.14,
)
def _robot(pen: Pen, appearance: Appearance) -> None:
    stride = 15 if appearance.pose == "walking" else 0
    legs = appearance.parts["leg"]
    for i, x in enumerate(spread(-20, 20, legs) if legs > 2 else spread(-14, 14, legs)):
        lean = stride * (1 if i % 2 else -1)
        lift = 9 if stride and i % 2 else 0
        pen.line([(x, 70), (x + lean, 96 - lift)], 7, "dark")
        pen.rect(x + lean - 6, 94 - lift, 14, 8, "dark", round_by=3)
    for i in range(appearance.parts["arm"]):
        side = -1 if i % 2 == 0 else 1
        y = 42 + 15 * (i // 2)
        if appearance.pose == "waving" and i == appearance.parts["arm"] - 1:
            end = (side * 42, y - 30)
        else:
            end = (side * 42, y + 16 - 6 * (i // 2))
        pen.line([(side * 22, y), end], 5, "light")
        pen.ellipse(end[0], end[1], 5.5, fill="dark")
    for x in spread(-12, 12, appearance.parts["antenna"]) if appearance.parts["antenna"] else []:
        pen.line([(x, 0), (x, -11)], 1.4, "dark", outline=1.2)
        pen.ellipse(x, -13, 3.8, fill="second", width=1.4)
    pen.rect(-20, 0, 40, 28, round_by=6)
    pen.rect(-25, 32, 50, 42, round_by=6)
    for x in spread(-12, 12, appearance.parts["eye"]) if appearance.parts["eye"] > 1 else [0.0]:
        pen.eye(x, 11, 6 if appearance.parts["eye"] < 3 else 5)
    pen.rect(-10, 20, 20, 4, "light", 1.4)
    pen.rect(-18, 40, 36, 14, "light", 1.6, round_by=2)
    for x in spread(-16, 16, appearance.parts["button"]) if appearance.parts["button"] else []:
        pen.ellipse(x * 1.15, 64, 4.6, fill="#2b2b33", width=0)


@kind(
    "snowman/snowmen",
    "people",
    "white",
    parts=(Part("button", 3, 0, 5, least=0.4), Part("arm", 2, 0, 4, least=0.28)),
    unclear="black plain dotted wood metal glass stone wool paint",
    resembles="circle",
    where="snow",
)
def _snowman(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["arm"]):
        side, y = (-1 if i % 2 == 0 else 1), 54 + 9 * (i // 2)
        tip = (side * 46, y - 20 + 22 * (i // 2))
        pen.line([(side * 16, y), tip], 2, "#7a5230", outline=1)
        pen.line(
            [((side * 36), y - 13 + 16 * (i // 2)), (side * 44, y - 6 + 14 * (i // 2))],
            1.2,
            "#7a5230",
            outline=1,
        )
    pen.ellipse(0, 96, 31, 28)
    pen.ellipse(0, 56, 23, 22)
    pen.ellipse(0, 22, 17, 17)
    pen.rect(-18, 4, 36, 5, "#33333d", 1.4)
    pen.rect(-11, -16, 22, 21, "#33333d", 1.4)
    pen.rect(-11, -1, 22, 5, "second", 0)
    pen.dot(-5, 18, 2.4)
    pen.dot(7, 18, 2.4)
    pen.polygon(pts("1,23 22,27 1,29"), "#f08a24", 1.2)
    for height in spread(44, 106, appearance.parts["button"]) if appearance.parts["button"] else []:
        pen.dot(0, height, 4.2, "#33333d")
