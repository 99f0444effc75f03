"""Vehicles."""

from __future__ import annotations

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, pts, ring, spread

_BRIGHT = "red orange yellow green turquoise blue purple pink"
_GLASS = "#cfeaf7"


def wheel(pen: Pen, x: float, y: float, r: float) -> None:
    """A wheel with a tyre and a hub."""
    pen.ellipse(x, y, r, fill="#34343c", width=1.6, ink="#8a8a92")
    pen.ellipse(x, y, r * 0.45, fill="#d5d8dc", width=0)


def _wheels(pen: Pen, count: int, left: float, right: float, y: float, r: float) -> None:
    for x in spread(left, right, count) if count else []:
        wheel(pen, x, y, min(r, (right - left) / max(1, count - 1) * 0.47 if count > 1 else r))


@kind(
    "car/cars",
    "vehicles",
    _BRIGHT + " white black grey",
    parts=(Part("wheel", 2, 0, 5), Part("window", 2, 1, 3, least=0.28)),
    where="street airport",
)
def _car(pen: Pen, appearance: Appearance) -> None:
    pen.blob(pts("4,48 6,32 26,28 40,10 84,10 102,28 124,33 128,48 122,53 10,53"))
    windows = appearance.parts["window"]
    width = 52 / windows
    for i in range(windows):
        a, b = 38 + i * width + 2, 38 + (i + 1) * width - 2
        lean_a, lean_b = (6 if i == 0 else 0), (8 if i == windows - 1 else 0)
        pen.polygon([(a + lean_a, 15), (b - lean_b, 15), (b, 28), (a, 28)], _GLASS, 1.6)
    pen.ellipse(123, 38, 4, 4, "#ffe9a0", 1.4)
    pen.ellipse(7, 38, 3, 4, "#d83a3a", 1.4)
    _wheels(pen, appearance.parts["wheel"], 28, 103, 53, 13.5)


@kind(
    "bus/buses",
    "vehicles",
    "red yellow orange blue green white",
    parts=(Part("window", 4, 1, 6, least=0.26), Part("wheel", 2, 0, 4), Part("door", 1, 0, 2)),
    resembles="rectangle",
    where="street airport",
)
def _bus(pen: Pen, appearance: Appearance) -> None:
    pen.rect(0, 0, 140, 62, round_by=8)
    doors = appearance.parts["door"]
    for i in range(doors):
        pen.rect(118 - 20 * i, 14, 15, 45, "dark", 1.8)
        pen.line([(125.5 - 20 * i, 15), (125.5 - 20 * i, 58)], 0.6, "ink", outline=1)
    room = 112 - 20 * max(0, doors - 1) if doors else 130
    count = appearance.parts["window"]
    step = room / count
    for i in range(count):
        pen.rect(5 + i * step + 1.5, 10, step - 4, 22, _GLASS, 1.6, round_by=2)
    _wheels(pen, appearance.parts["wheel"], 24, 90, 62, 12)


@kind(
    "lorry/lorries truck/trucks",
    "vehicles",
    _BRIGHT + " white",
    parts=(Part("wheel", 3, 0, 6), Part("light", 1, 0, 3, least=0.32)),
    resembles="rectangle",
    where="street farm harbour",
)
def _lorry(pen: Pen, appearance: Appearance) -> None:
    pen.rect(0, 0, 88, 56, round_by=3)
    for x in (22, 44, 66):
        pen.line([(x, 4), (x, 52)], 0.6, "ink", outline=0.8)
    pen.blob(pts("92,57 92,16 98,11 116,12 124,30 134,34 135,57"))
    pen.polygon(pts("101,16 114,16 121,31 101,31"), _GLASS, 1.6)
    for i in range(appearance.parts["light"]):
        pen.ellipse(
            131,
            41 + 10 * i - 5 * (appearance.parts["light"] - 1),
            4.4,
            fill="#fff3b0",
            width=2.2,
            ink="#2b2b33",
        )
    pen.rect(0, 54, 134, 6, "dark", 1.6)
    _wheels(pen, appearance.parts["wheel"], 16, 114, 62, 11)


@kind(
    "bicycle/bicycles bike/bikes",
    "vehicles",
    _BRIGHT + " black",
    parts=(Part("wheel", 2, 1, 4), Part("saddle", 1, 0, 3, least=0.22)),
    where="street park playground",
    surface=False,
    least=0.24,
)
def _bicycle(pen: Pen, appearance: Appearance) -> None:
    count = appearance.parts["wheel"]
    places = {1: [22.0], 2: [22.0, 98.0], 3: [22.0, 60.0, 98.0], 4: [14.0, 45.0, 76.0, 107.0]}[count]
    radius = {1: 21.0, 2: 21.0, 3: 17.0, 4: 14.0}[count]
    for x in places:
        pen.ellipse(x, 60, radius, fill="none", width=3.4, ink="#34343c")
        for px, py in ring(x, 60, radius - 2, 6):
            pen.line([(x, 60), (px, py)], 0.3, "#8a8f96", outline=0.5, ink="#8a8f96")
        pen.dot(x, 60, 2.6, "#34343c")
    pen.line(pts("22,60 40,26 78,26 52,60 22,60"), 8, smooth=False)
    pen.line(pts("40,26 52,60"), 8)
    pen.line(pts("98,60 76,18"), 8)
    pen.line(pts("76,18 66,15 62,19"), 2.4, "#34343c", outline=1)
    for i in range(appearance.parts["saddle"]):
        x = 37 + 17 * i
        pen.line([(x + 3, 26), (x, 17)], 3)
        pen.line([(x - 6, 15), (x + 6, 15)], 5, "#34343c", outline=1.2)
    pen.ellipse(52, 60, 5, fill="#d5d8dc", width=1.6)
    pen.line(pts("52,60 57,70"), 2, "#34343c", outline=1)


@kind(
    "boat/boats sailboat/sailboats",
    "vehicles",
    _BRIGHT + " white brown",
    parts=(Part("sail", 2, 0, 3, least=0.18), Part("flag", 1, 0, 2, least=0.28)),
    swims=True,
    resembles="triangle",
    where="sea beach harbour lake",
)
def _boat(pen: Pen, appearance: Appearance) -> None:
    sails = appearance.parts["sail"]
    flags = appearance.parts["flag"]
    pen.line(pts("56,10 56,80"), 3.4, "#8a6a4a", outline=1.6)
    for i in range(flags):
        pen.polygon([(56, 4 + 13 * i), (76, 9 + 13 * i), (56, 14 + 13 * i)], "second", 1.6)
    if sails > 0:
        pen.polygon(pts("60,30 60,74 98,74"), "light")
    if sails > 1:
        pen.polygon(pts("52,18 52,74 16,74"), "#ffffff")
    if sails > 2:
        pen.polygon(pts("14,40 14,74 -10,74"), "light")
    pen.polygon(pts("-10,74 120,74 102,108 12,108"))


@kind(
    "aeroplane/aeroplanes airplane/airplanes plane/planes",
    "vehicles",
    "white blue red yellow turquoise orange",
    parts=(Part("window", 4, 1, 7, least=0.4), Part("engine", 1, 0, 3, least=0.3)),
    flies=True,
    where="airport sky",
)
def _plane(pen: Pen, appearance: Appearance) -> None:
    pen.polygon(pts("8,34 -4,8 10,8 30,32"), "dark")
    pen.blob(pts("2,38 14,30 60,26 108,28 130,40 122,50 80,54 30,50"))
    pen.polygon(pts("112,31 122,37 112,38 106,36"), _GLASS, 1.4)
    for x in spread(34, 96, appearance.parts["window"]):
        pen.ellipse(x, 37, 4, 4, "#9ad3ee", 1.8)
    pen.polygon(pts("52,46 82,46 52,84 38,84"), "dark")
    for i in range(appearance.parts["engine"]):
        pen.rect(66 - 11 * i, 55 + 11 * i, 17, 8, "dark", 2.2, round_by=3.5)


@kind(
    "rocket/rockets spaceship/spaceships",
    "vehicles",
    "white red grey blue orange",
    poses={"standing": "standing", "flying": "flying/taking off"},
    parts=(Part("window", 1, 0, 4, least=0.28), Part("fin", 2, 0, 3)),
    flies=True,
    where="space sky",
)
def _rocket(pen: Pen, appearance: Appearance) -> None:
    if appearance.pose == "flying":
        pen.blob(pts("-12,98 0,94 12,98 8,116 0,134 -8,116"), "#ff8a2a", 1.6, "#c8501a")
        pen.blob(pts("-6,98 0,96 6,98 3,110 0,119 -3,110"), "#ffe066", 0)
    fins = appearance.parts["fin"]
    if fins != 1:
        for side in (-1, 1)[: min(2, fins)]:
            pen.polygon([(side * 16, 62), (side * 34, 86), (side * 34, 102), (side * 14, 90)], "dark")
    pen.blob(pts("0,-6 15,18 20,48 17,78 13,96 -13,96 -17,78 -20,48 -15,18"))
    pen.blob(pts("0,-6 10,8 14,17 0,20 -14,17 -10,8"), "dark")
    for y in spread(34, 78, appearance.parts["window"]) if appearance.parts["window"] else []:
        pen.ellipse(0, y, 7 if appearance.parts["window"] < 4 else 5.5, fill=_GLASS, width=2.4)
    if fins % 2:
        pen.polygon(pts("-4,84 4,84 6,104 -6,104"), "dark")


@kind(
    "train/trains locomotive/locomotives",
    "vehicles",
    "black red green blue orange",
    parts=(Part("wheel", 3, 0, 6), Part("chimney", 1, 0, 3), Part("window", 1, 0, 2, least=0.22)),
    resembles="rectangle",
    where="railway",
)
def _train(pen: Pen, appearance: Appearance) -> None:
    for x in (
        spread(62, 106, appearance.parts["chimney"])
        if appearance.parts["chimney"] > 1
        else [98.0] * appearance.parts["chimney"]
    ):
        pen.polygon([(x - 5, 32), (x - 8, 8), (x + 8, 8), (x + 5, 32)], "dark")
    pen.rect(44, 28, 76, 36, round_by=8)
    pen.rect(4, 8, 44, 58)
    pen.rect(-2, 2, 56, 8, "dark", round_by=2)
    for x in spread(17, 35, appearance.parts["window"]) if appearance.parts["window"] else []:
        pen.rect(x - 7, 18, 14, 18, _GLASS, 1.8)
    pen.ellipse(121, 40, 5, fill="#ffe9a0", width=1.8)
    pen.rect(0, 62, 122, 8, "second", 1.8)
    pen.polygon(pts("122,64 138,82 120,82"), "dark")
    _wheels(pen, appearance.parts["wheel"], 16, 104, 76, 12)
