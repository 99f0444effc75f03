"""Farm and wild animals."""

from __future__ import annotations

import math

from croc_syn.world.declarations.kinds.pets import FOUR_LEGS, ONE_TAIL, TAIL, draw_legs, draw_tails
from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, pts, ring, spread

_WALK = {"standing": "standing", "running": "running/galloping", "lying": "lying down/lying/sleeping"}
_HORN = Part("horn", 2, 0, 3, body=True, least=0.32)


def _body(pen: Pen, appearance: Appearance, length: float, deep: float, leg: float, width: float) -> float:
    """Draw legs and trunk of a large animal, from 0 to ``length``, and return the level of its back."""
    if appearance.pose == "lying":
        for x in spread(length * 0.12, length * 0.9, appearance.parts["leg"]):
            pen.line([(x - 6, deep * 0.86), (x + 8, deep)], width)
    else:
        draw_legs(
            pen,
            appearance.parts["leg"],
            length * 0.1,
            length * 0.9,
            deep * 0.7,
            deep + leg,
            width,
            appearance.pose,
        )
    pen.ellipse(length / 2, deep / 2, length / 2 + 4, deep / 2)
    return 0.0


def _sleepy_eye(pen: Pen, x: float, y: float, asleep: bool, r: float = 3.2) -> None:
    if asleep:
        pen.line([(x - 3, y), (x, y + 1.5), (x + 3, y)], 0.6, "ink", outline=1.2)
    else:
        pen.eye(x, y, r)


@kind(
    "horse/horses",
    "animals",
    "brown black white grey",
    poses=_WALK,
    parts=(FOUR_LEGS, ONE_TAIL),
    where="farm mountains",
)
def _horse(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["tail"]):
        pen.line([(4, 12), (-14, 16 + 9 * i), (-18 - 4 * i, 46 - 14 * i)], 7, "dark")
    _body(pen, appearance, 84, 40, 44, 8.5)
    pen.polygon(pts("64,8 84,-30 100,-24 88,24"))
    pen.polygon([(68, 4), (62, -4), (80, -38), (88, -32)], "dark")
    pen.blob(pts("82,-36 96,-36 112,-18 118,-8 110,-2 96,-12 84,-20"))
    pen.polygon(pts("84,-34 86,-48 93,-37"))
    _sleepy_eye(pen, 95, -25, appearance.pose == "lying")
    pen.dot(112, -8, 1.6)


@kind(
    "cow/cows",
    "animals",
    "white brown black",
    poses=_WALK,
    parts=(FOUR_LEGS, TAIL, _HORN),
    unclear="plain dotted",
    where="farm",
)
def _cow(pen: Pen, appearance: Appearance) -> None:
    draw_tails(pen, appearance.parts["tail"], (0, 14), 22, 4)
    _body(pen, appearance, 86, 46, 34, 10)
    for x, y, rx, ry in ((22, 16, 13, 8), (52, 28, 12, 9), (40, 8, 7, 4)):
        pen.ellipse(x, y, rx, ry, fill="dark", width=0)
    pen.ellipse(50, 46, 11, 6, "#f4b5bd", 1.6)
    for root in spread(90, 112, appearance.parts["horn"]) if appearance.parts["horn"] else []:
        pen.line([(root, -6), (root + (root - 101) * 0.7, -28)], 5, "#c9a25a", outline=2)
    pen.ellipse(86, 0, 9, 5, turn=-20)
    pen.ellipse(117, 0, 9, 5, turn=20)
    pen.blob(pts("90,-8 101,-12 112,-8 113,12 111,26 101,29 91,26 89,12"))
    pen.ellipse(101, 21, 13, 9, "#f4b5bd", 1.8)
    pen.dot(96, 20, 1.8)
    pen.dot(106, 20, 1.8)
    _sleepy_eye(pen, 96, 3, appearance.pose == "lying")
    _sleepy_eye(pen, 107, 3, appearance.pose == "lying")


@kind(
    "elephant/elephants",
    "animals",
    "grey grey blue pink",
    poses=_WALK,
    parts=(
        FOUR_LEGS,
        ONE_TAIL,
        Part("tusk", 1, 0, 2, body=True, least=0.34),
        Part("trunk", 1, 1, 2, body=True),
    ),
    where="savannah",
)
def _elephant(pen: Pen, appearance: Appearance) -> None:
    draw_tails(pen, appearance.parts["tail"], (0, 26), 16, 3)
    _body(pen, appearance, 88, 60, 30, 13)
    pen.ellipse(96, 22, 24, 23)
    for i in range(appearance.parts["trunk"]):
        if i == 0:
            pen.line(pts("114,26 122,48 122,70 130,80"), 9)
        else:
            pen.line(pts("114,14 132,8 140,-10 136,-22"), 9)
    for i in range(appearance.parts["tusk"]):
        x, y = 110 - 12 * i, 36 + 7 * i
        pen.line([(x, y), (x + 10, y + 12), (x + 24, y + 10)], 3.4, "#fffbea", outline=1.6)
    pen.blob(pts("74,6 84,-4 94,4 96,24 88,42 76,44 68,28"), "dark")
    _sleepy_eye(pen, 104, 14, appearance.pose == "lying")


@kind("pig/pigs", "animals", "pink pink brown black", poses=_WALK, parts=(FOUR_LEGS, ONE_TAIL), where="farm")
def _pig(pen: Pen, appearance: Appearance) -> None:
    for i in range(appearance.parts["tail"]):
        y = 14 + 11 * i
        pen.line([(0, y), (-9, y - 6), (-6, y + 3), (-14, y - 2)], 2, outline=1.6)
    _body(pen, appearance, 74, 46, 20, 10)
    pen.ellipse(78, 16, 20, 19)
    pen.polygon(pts("64,4 66,-12 78,-2"), "dark")
    pen.polygon(pts("80,-2 92,-12 93,4"), "dark")
    pen.ellipse(90, 20, 9, 8, "light")
    pen.dot(87, 20, 1.8)
    pen.dot(93, 20, 1.8)
    _sleepy_eye(pen, 78, 10, appearance.pose == "lying")


@kind(
    "sheep/sheep",
    "animals",
    "white white black grey brown",
    poses=_WALK,
    parts=(FOUR_LEGS,),
    unclear="black wool",
    where="farm mountains",
)
def _sheep(pen: Pen, appearance: Appearance) -> None:
    if appearance.pose == "lying":
        for x in spread(14, 66, appearance.parts["leg"]):
            pen.line([(x - 4, 44), (x + 8, 50)], 6, "#4a4a52")
    else:
        draw_legs(pen, appearance.parts["leg"], 14, 64, 36, 72, 6, appearance.pose)
    puffs = [(x, y) for x, y in ring(40, 26, 1, 11, 0)]
    wool = []
    for i, (x, y) in enumerate(puffs):
        angle = math.atan2(y - 26, x - 40)
        for radius, shift in ((1.0, -0.14), (1.16, 0.0), (1.0, 0.14)):
            a = angle + shift * 2
            wool.append((40 + 40 * radius * math.cos(a), 26 + 24 * radius * math.sin(a)))
        del i
    pen.blob(wool)
    for x, y in ((24, 20), (44, 14), (36, 34), (58, 30)):
        pen.line([(x - 5, y), (x, y + 4), (x + 5, y)], 0.6, "ink", outline=1)
    pen.ellipse(72, 10, 10, 5, "#4a4a52", 1.8, "#26262c", turn=25)
    pen.ellipse(84, 18, 13, 15, "#4a4a52", 1.8, "#26262c")
    pen.eye(88, 14, 3)


@kind(
    "rabbit/rabbits",
    "animals",
    "white grey brown",
    poses={"sitting": "sitting", "jumping": "jumping/leaping", "lying": "lying down/lying/sleeping"},
    parts=(Part("ear", 2, 1, 4, body=True, least=0.2), TAIL),
    where="park garden forest farm",
)
def _rabbit(pen: Pen, appearance: Appearance) -> None:
    tails = appearance.parts["tail"]
    if appearance.pose == "sitting":
        for i in range(tails):
            pen.ellipse(2 - 3 * i, 82 - 17 * i, 8.5, fill="#ffffff")
        pen.blob(pts("34,44 50,50 56,78 52,94 10,94 6,74 16,54"))
        pen.ellipse(24, 80, 16, 14)
        pen.ellipse(28, 93, 15, 5)
        pen.ellipse(50, 92, 9, 5)
        hx, hy = 46.0, 36.0
    else:
        stretched = appearance.pose == "jumping"
        for i in range(tails):
            pen.ellipse(-2, 56 - 16 * i, 8.5, fill="#ffffff")
        if stretched:
            pen.line(pts("14,62 -6,80 -18,84"), 8)
            pen.line(pts("62,60 80,74 90,74"), 7)
        pen.ellipse(36, 54 if stretched else 64, 37, 19, turn=-14 if stretched else 0)
        if not stretched:
            pen.ellipse(24, 82, 16, 5)
            pen.ellipse(64, 82, 14, 5)
        hx, hy = (76.0, 36.0) if stretched else (74.0, 56.0)
    for i, x in enumerate(spread(hx - 11, hx + 6, appearance.parts["ear"])):
        lean = (x - hx) * 0.5 - 4
        width = 6.5 if appearance.parts["ear"] < 4 else 4.6
        pen.ellipse(x + lean * 0.4, hy - 29, width, 21, turn=lean * 2)
        pen.ellipse(x + lean * 0.4, hy - 28, width * 0.45, 14, "#f5a8ba", 0, turn=lean * 2)
        del i
    pen.ellipse(hx, hy, 19, 16)
    _sleepy_eye(pen, hx + 6, hy - 3, appearance.pose == "lying", 3.6)
    pen.ellipse(hx + 17, hy + 2, 3, 2.4, "#e77f93", 0)


@kind(
    "bird/birds",
    "animals",
    "blue red yellow brown green turquoise",
    poses={"standing": "standing/perching", "flying": "flying"},
    parts=(Part("leg", 2, 1, 4, body=True, least=0.28),),
    flies=True,
    where="park garden sky forest",
)
def _bird(pen: Pen, appearance: Appearance) -> None:
    pen.polygon(pts("14,48 -16,40 -14,54 -8,62 16,60"), "dark")
    for x in spread(30, 54, appearance.parts["leg"]):
        if appearance.pose == "flying":
            pen.line([(x - 6, 68), (x - 18, 80)], 1.6, "#e08a1e", outline=0.8)
        else:
            pen.line([(x, 70), (x, 92)], 1.6, "#e08a1e", outline=0.8)
            pen.line([(x - 4, 93), (x + 6, 93)], 1.6, "#e08a1e", outline=0.8)
    flying = appearance.pose == "flying"
    if flying:
        pen.polygon(pts("34,46 26,-2 44,6 54,44"), "dark")
    pen.blob(pts("10,56 26,40 52,32 72,44 70,62 50,76 26,74"))
    pen.ellipse(72, 32, 19, 18)
    pen.polygon(pts("88,26 108,33 88,39"), "#f3a32a", 1.8)
    pen.eye(78, 27, 4)
    if flying:
        pen.polygon(pts("28,54 4,96 28,98 50,58"), "light")
    else:
        pen.ellipse(36, 54, 20, 9, "dark", turn=12)


@kind(
    "duck/ducks",
    "animals",
    "yellow white brown green",
    poses={"standing": "standing", "swimming": "swimming"},
    parts=(Part("leg", 2, 1, 4, body=True, least=0.28), Part("wing", 1, 0, 1, body=True, least=0.26)),
    where="lake farm park",
)
def _duck(pen: Pen, appearance: Appearance) -> None:
    if appearance.pose == "standing":
        for x in spread(32, 60, appearance.parts["leg"]):
            pen.line([(x, 74), (x, 90)], 2.4, "#ef8a1d", outline=1)
            pen.polygon([(x - 4, 95), (x, 88), (x + 10, 95)], "#ef8a1d", 1.6)
    pen.blob(pts("0,44 14,48 40,46 62,42 82,54 74,74 44,80 16,74"))
    pen.line(pts("66,52 72,34"), 16)
    pen.ellipse(76, 22, 18, 17)
    pen.blob(pts("90,18 110,22 112,28 92,31"), "#ef8a1d", 1.8)
    pen.eye(81, 17, 3.8)
    if appearance.parts["wing"]:
        pen.blob(pts("20,54 48,52 58,60 40,70 24,66"), "dark")
    if appearance.pose == "swimming":
        for y, a, b in ((76, -10, 96), (86, 4, 82)):
            wave = [(a + (b - a) * i / 8, y + (3 if i % 2 else 0)) for i in range(9)]
            pen.line(wave, 3, "#4aa3d8", outline=0.8, ink="#2f7fb0")


@kind(
    "fish/fish fish/fishes",
    "animals",
    "orange blue yellow red purple turquoise pink",
    # "Fins" alone could include the tail fin.
    parts=(Part("back fin", 1, 0, 3, body=True), Part("eye", 1, 1, 3, body=True, least=0.32), TAIL),
    swims=True,
    resembles="oval",
    where="underwater sea lake",
)
def _fish(pen: Pen, appearance: Appearance) -> None:
    fins = appearance.parts["back fin"]
    tails = appearance.parts["tail"]
    for y in spread(22, 58, tails) if tails else []:
        size = 22 if tails == 1 else 13
        pen.polygon([(18, y * 0.3 + 28), (-12, y - size), (-4, y), (-12, y + size)], "dark")
    wide = 10.0 if fins < 3 else 8.0
    for x in spread(34, 72, fins) if fins > 1 else [50.0] * fins:
        pen.polygon([(x - wide, 22), (x - wide * 0.4, -7), (x + wide, 22)], "dark")
    pen.polygon(pts("42,62 46,83 62,63"), "dark")
    pen.blob(pts("6,40 24,22 54,13 84,22 102,40 84,58 54,67 24,58"))
    pen.line(pts("72,22 66,40 72,58"), 0.8, "ink", outline=1.4)
    for i in range(appearance.parts["eye"]):
        pen.eye(87 - 13 * i if i < 2 else 82, 32 if i < 2 else 47, 5.4)
    pen.line(pts("100,42 93,45"), 0.5, "ink", outline=1.2)


@kind(
    "butterfly/butterflies",
    "animals",
    "orange blue yellow pink purple turquoise red",
    parts=(
        Part("wing", 4, 1, 6, body=True),
        Part("antenna", 2, 0, 4, plural="antennas", body=True, least=0.24),
    ),
    flies=True,
    unclear="plain dotted",
    where="garden park forest",
)
def _butterfly(pen: Pen, appearance: Appearance) -> None:
    count = appearance.parts["wing"]
    right = (count + 1) // 2
    for side, number in ((1, right), (-1, count - right)):
        for angle in {0: [], 1: [-20], 2: [-38, 32], 3: [-52, -5, 42]}[number]:
            a = math.radians(angle)
            length = 27 if number < 3 else 25
            x, y = side * (length + 2) * math.cos(a), 2 + (length + 2) * math.sin(a)
            wide = 17 if number < 3 else 11
            pen.ellipse(x, y, length, wide, turn=angle * side if side > 0 else -angle)
            pen.ellipse(x + side * 8 * math.cos(a), y + 8 * math.sin(a), 7, 5, "light", 0, turn=side * angle)
    for x in spread(-14, 14, appearance.parts["antenna"]) if appearance.parts["antenna"] else []:
        pen.line([(0, -24), (x * 0.6, -38), (x * 1.5, -48)], 1.6, "#3a3030", outline=0.8)
        pen.dot(x * 1.5, -48, 3.2, "#3a3030")
    pen.ellipse(0, 4, 5, 25, "#4b3a33", 1.8)
    pen.ellipse(0, -23, 6.5, 6.5, "#4b3a33", 1.8)


@kind(
    "turtle/turtles tortoise/tortoises",
    "animals",
    "green brown",
    poses={"standing": "standing", "lying": "lying down/lying/sleeping"},
    parts=(FOUR_LEGS, ONE_TAIL),
    unclear="green plain dotted checked",
    resembles="hexagon",
    where="beach desert underwater",
)
def _turtle(pen: Pen, appearance: Appearance) -> None:
    skin = "#9cc069"
    for i in range(appearance.parts["tail"]):
        pen.polygon([(8, 44 + 8 * i), (-12, 48 + 9 * i), (10, 54 + 8 * i)], skin, 1.8)
    lying = appearance.pose == "lying"
    for x in spread(18, 80, appearance.parts["leg"]):
        pen.line([(x, 50), (x + 2, 53 if lying else 74)], 9, skin)
    head = 49 if lying else 32
    pen.line([(86, 48), (100, head + 4)], 11, skin)
    pen.ellipse(108, head, 14, 11, skin)
    _sleepy_eye(pen, 112, head - 3, lying)
    pen.blob(pts("2,54 8,30 28,12 50,6 72,12 92,30 98,54"))
    pen.rect(0, 50, 100, 8, "dark", round_by=4)
    for x, y in ((28, 34), (50, 26), (72, 34), (40, 44), (61, 44)):
        pen.polygon(ring(x, y, 8, 6, 0), "light", 1.6)


@kind(
    "octopus/octopuses",
    "animals",
    "purple pink orange red blue",
    parts=(Part("arm", 8, 3, 9, body=True), Part("eye", 2, 1, 3, body=True, least=0.3)),
    swims=True,
    where="underwater sea",
)
def _octopus(pen: Pen, appearance: Appearance) -> None:
    for x in spread(-46, 46, appearance.parts["arm"]):
        pen.line([(x * 0.45, 36), (x * 0.75, 62), (x, 78), (x * 1.1 + (3 if x > 0 else -3), 88)], 5.5)
    pen.blob(pts("0,-22 24,-14 34,10 28,34 20,48 -20,48 -28,34 -34,10 -24,-14"))
    for x in spread(-12, 12, appearance.parts["eye"]):
        pen.eye(x * 1.2, 12, 6.6)
    pen.line(pts("-8,29 0,33 8,29"), 0.8, "ink", outline=1.4)


@kind(
    "snail/snails",
    "animals",
    "brown orange pink yellow blue",
    parts=(Part("horn", 2, 0, 4, body=True, least=0.22),),
    unclear="white brown yellow",
    where="garden forest",
)
def _snail(pen: Pen, appearance: Appearance) -> None:
    for x in spread(88, 108, appearance.parts["horn"]) if appearance.parts["horn"] else []:
        pen.line([(98 + (x - 98) * 0.4, 46), (98 + (x - 98) * 1.5, 24)], 2, "#c9a963", outline=1.6)
        pen.dot(98 + (x - 98) * 1.5, 22, 3.6, "#3a3030")
    pen.blob(pts("-12,84 10,76 60,76 84,66 88,48 100,42 108,52 104,74 88,86"), "#e5cf9f", 2, "#8a6f43")
    pen.ellipse(40, 48, 36, 34)
    pen.line(
        [
            (40 + r * math.cos(t), 50 + r * math.sin(t))
            for r, t in ((28 - 2.6 * i, 0.5 - 0.9 * i) for i in range(11))
        ],
        2,
        "dark",
        outline=0.6,
    )
    pen.eye(100, 52, 2.6)
