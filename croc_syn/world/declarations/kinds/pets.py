"""Dogs and cats."""

from __future__ import annotations

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, Point, Turned, spread

FOUR_LEGS = Part("leg", 4, 1, 6, body=True, least=0.22)
TAIL = Part("tail", 1, 0, 2, body=True, least=0.22)
ONE_TAIL = Part("tail", 1, 0, 1, body=True)
_EARS = Part("ear", 2, 1, 3, body=True, least=0.3)
_POSES = {
    "standing": "standing",
    "sitting": "sitting",
    "running": "running",
    "lying": "lying down/lying/sleeping",
    "jumping": "jumping/leaping",
}

LEAP = -27.0
"""Turn of a leaping animal, in degrees."""


def draw_legs(
    pen: Pen, count: int, left: float, right: float, top: float, bottom: float, width: float, pose: str
) -> None:
    """Draw legs under a body, evenly spread so that each can be counted."""
    for i, x in enumerate(spread(left, right, count)):
        middle = (left + right) / 2
        if pose == "running":
            reach = 13 if x > middle else -13
            pen.line([(x, top), (x + reach * 0.8, (top + bottom) / 2), (x + reach * 1.5, bottom - 4)], width)
        elif pose == "jumping":
            reach = 24 if x > middle else -24
            pen.line([(x, top), (x + reach, bottom - 12)], width)
        else:
            pen.line([(x, top), (x + (1 if i % 2 else -1), bottom)], width)


def draw_tails(pen: Pen, count: int, root: Point, length: float, width: float) -> None:
    """Draw up to two tails from ``root`` to the left."""
    x, y = root
    for lift in ((), (-0.45,), (-1.15, 0.25))[count]:
        bend = (x - length * 0.6, y + length * lift * 0.5)
        pen.line([root, bend, (x - length, y + length * (lift - 0.25))], width)


def _dog_head(pen: Pen, x: float, y: float, ears: int, asleep: bool) -> None:
    pen.ellipse(x, y, 17, 15)
    pen.ellipse(x + 14, y + 5, 11, 8)
    pen.ellipse(x + 23, y + 1.5, 4, 3.4, fill="#2b2b2b", width=0)
    pen.line([(x + 12, y + 10), (x + 20, y + 9)], 0.4, "ink", outline=1.2)
    if asleep:
        pen.line([(x + 2, y - 2), (x + 6, y), (x + 10, y - 2)], 0.6, "ink", outline=1.2)
    else:
        pen.eye(x + 6, y - 4, 3.6)
    for i in range(ears):
        at = x - 13 + i * (16 / max(1, ears - 1)) if ears > 1 else x - 9
        pen.blob(
            [(at - 2, y - 13), (at + 6, y - 13), (at + 5, y + 6), (at - 1, y + 11), (at - 6, y + 3)], "dark"
        )


@kind(
    "dog/dogs puppy/puppies",
    "animals",
    "brown black white grey orange yellow",
    poses=_POSES,
    parts=(FOUR_LEGS, TAIL),
    where="park garden living_room street farm beach",
)
def _dog(pen: Pen, appearance: Appearance) -> None:
    legs, tails, ears = appearance.parts["leg"], appearance.parts["tail"], 2
    if appearance.pose == "sitting":
        draw_tails(pen, tails, (18, 84), 22, 5)
        pen.blob([(46, 36), (60, 46), (58, 92), (16, 94), (14, 72), (28, 50)])
        for x in spread(24, 60, legs):
            pen.line([(x, 70), (x + 2, 94)], 8)
        _dog_head(pen, 54, 26, ears, False)
        pen.line([(44, 42), (62, 44)], 4, "second", outline=1.6)
        return
    if appearance.pose == "lying":
        draw_tails(pen, tails, (8, 44), 18, 5)
        for x in spread(20, 84, legs):
            pen.line([(x - 6, 50), (x + 9, 56)], 7)
        pen.ellipse(42, 40, 40, 17)
        _dog_head(pen, 82, 34, ears, True)
        return
    up = 6 if appearance.pose == "jumping" else 0
    pen = Turned(pen, LEAP) if up else pen
    draw_tails(pen, tails, (14, 42 - up / 2), 24, 6)
    draw_legs(pen, legs, 20, 66, 56, 92, 9, appearance.pose)
    pen.blob(
        [
            (10, 44),
            (24, 33),
            (60, 33 - up),
            (80, 34 - up),
            (80, 58 - up),
            (60, 64 - up / 2),
            (20, 64),
            (9, 56),
        ]
    )
    pen.line([(68, 44 - up), (82, 30 - up)], 20)
    pen.line([(69, 33 - up), (82, 46 - up)], 4, "second", outline=1.6)
    _dog_head(pen, 84, 22 - up, ears, False)


def _cat_head(pen: Pen, x: float, y: float, ears: int, asleep: bool) -> None:
    for at in spread(x - 12, x + 12, ears):
        lean = (at - x) * 0.3
        pen.polygon([(at - 9, y - 8), (at + lean, y - 33), (at + 9, y - 8)])
        pen.polygon([(at - 5, y - 10), (at + lean * 0.8, y - 26), (at + 5, y - 10)], "#f3a6b4", 0)
    pen.ellipse(x, y, 19, 16)
    for side in (-1, 1):
        if asleep:
            pen.line(
                [(x + side * 7 - 4, y - 2), (x + side * 7, y), (x + side * 7 + 4, y - 2)],
                0.6,
                "ink",
                outline=1.2,
            )
        else:
            pen.ellipse(x + side * 7, y - 2, 3.6, 4.6, "#c9e265", 1.2)
            pen.ellipse(x + side * 7, y - 2, 1.3, 3.8, "#2b2b2b", 0)
        for tilt in (-2, 3):
            pen.line([(x + side * 7, y + 6), (x + side * 25, y + 5 + tilt)], 0.2, "ink", outline=0.7)
    pen.polygon([(x - 3, y + 4), (x + 3, y + 4), (x, y + 7.5)], "#e77f93", 0)
    pen.line(
        [(x - 5, y + 8), (x - 2.5, y + 10.5), (x, y + 8.5), (x + 2.5, y + 10.5), (x + 5, y + 8)],
        0.3,
        "ink",
        outline=1,
    )


@kind(
    "cat/cats kitten/kittens",
    "animals",
    "orange grey black white brown",
    poses=_POSES,
    parts=(FOUR_LEGS, TAIL, _EARS),
    where="living_room garden street farm bedroom kitchen",
)
def _cat(pen: Pen, appearance: Appearance) -> None:
    legs, tails, ears = appearance.parts["leg"], appearance.parts["tail"], appearance.parts["ear"]
    if appearance.pose == "sitting":
        for i in range(tails):
            side = 1 if i else -1
            pen.line(
                [(40 + side * 18, 88), (40 + side * 40, 84), (40 + side * 44, 68), (40 + side * 34, 58)], 5
            )
        pen.blob([(42, 36), (58, 56), (62, 94), (16, 94), (18, 62), (30, 42)])
        for x in spread(24, 56, legs):
            pen.line([(x, 74), (x, 93)], 6)
        _cat_head(pen, 40, 28, ears, False)
        return
    if appearance.pose == "lying":
        for i in range(tails):
            pen.line([(8, 46 - i * 8), (-14, 50 - i * 26), (-24, 44 - i * 42)], 5)
        for x in spread(14, 66, legs):
            pen.line([(x, 52), (x + 11, 57)], 6)
        pen.ellipse(36, 42, 36, 17)
        _cat_head(pen, 74, 38, ears, True)
        return
    up = 8 if appearance.pose == "jumping" else 0
    pen = Turned(pen, LEAP) if up else pen
    for i in range(tails):
        pen.line([(14, 44), (-8, 38 + i * 14), (-14, 12 + i * 50), (-4, 4 + i * 70)], 5)
    draw_legs(pen, legs, 18, 64, 54, 88, 7, appearance.pose)
    pen.blob(
        [(8, 46), (20, 36), (56, 36 - up), (74, 36 - up), (76, 54 - up), (58, 61 - up / 2), (20, 61), (8, 56)]
    )
    _cat_head(pen, 82, 30 - up, ears, False)
