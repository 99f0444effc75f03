"""Furniture and buildings."""

from __future__ import annotations

from croc_syn.world.declarations.kinds.registry import Appearance, Part, kind
from croc_syn.world.declarations.pen import Pen, pts, spread

_BRIGHT = "red orange yellow green turquoise blue purple pink"
_GLASS = "#cfeaf7"
_NO_TEXTURE = "plain striped dotted checked zigzag"
"""What cannot be told on a thing of narrow boards."""


@kind(
    "table/tables",
    "furniture",
    "brown white grey green blue",
    parts=(Part("leg", 4, 1, 7, least=0.18), Part("drawer", 0, 0, 3, least=0.26)),
    top=(0.0, 0.0, 1.0),
    where="kitchen living_room office classroom",
    unclear=_NO_TEXTURE,
)
def _table(pen: Pen, appearance: Appearance) -> None:
    legs = appearance.parts["leg"]
    for x in spread(9, 111, legs):
        pen.rect(x - 4.5, 12, 9, 58)
    pen.rect(0, 0, 120, 15)
    drawers = appearance.parts["drawer"]
    for x in spread(32, 88, drawers) if drawers else []:
        pen.rect(x - 12, 13, 24, 12, "light", 1.8)
        pen.dot(x, 19, 2, "#4a4a4a")


@kind(
    "chair/chairs",
    "furniture",
    "brown red blue green yellow white",
    parts=(Part("leg", 4, 1, 6), Part("slat", 2, 0, 4)),
    top=(0.505, 0.12, 1.0),
    where="kitchen living_room office classroom stage",
    unclear="white " + _NO_TEXTURE,
    least=0.22,
)
def _chair(pen: Pen, appearance: Appearance) -> None:
    for x in spread(7, 57, appearance.parts["leg"]):
        pen.rect(x - 4, 58, 8, 44)
    pen.rect(0, 0, 9, 58)
    pen.rect(55, 0, 9, 58)
    for y in spread(10, 44, appearance.parts["slat"]) if appearance.parts["slat"] else []:
        pen.rect(5, y - 4, 54, 8)
    pen.rect(0, 51, 64, 13, "body")


@kind(
    "bed/beds",
    "furniture",
    _BRIGHT + " white",
    parts=(Part("pillow", 1, 0, 3, least=0.28), Part("leg", 2, 0, 4, least=0.22)),
    top=(0.42, 0.2, 0.92),
    unclear="white brown wood",
    resembles="rectangle",
    where="bedroom",
    least=0.16,
)
def _bed(pen: Pen, appearance: Appearance) -> None:
    legs = appearance.parts["leg"]
    for x in spread(6, 134, legs) if legs else []:
        pen.rect(x - 4, 66, 8, 18, "#7a5230", 2, "#4a2f1a")
    pen.rect(0, 6, 9, 62, "#7a5230", 2, "#4a2f1a", round_by=3)
    pen.rect(131, 30, 9, 38, "#7a5230", 2, "#4a2f1a", round_by=3)
    for i in range(appearance.parts["pillow"]):
        pen.rect(11, 23 - 13 * i, 30, 14, "#fdfdff", 2.2, "#5f5f6b", round_by=5)
    pen.rect(8, 36, 124, 32, "#fdfdff", 2, "#777783", round_by=3)
    pen.rect(38, 36, 95, 32, round_by=3)
    pen.rect(38, 36, 16, 32, "light", 1.8)


@kind(
    "sofa/sofas couch/couches",
    "furniture",
    _BRIGHT + " brown grey",
    parts=(Part("cushion", 3, 1, 5, least=0.32), Part("leg", 2, 0, 4, least=0.28)),
    top=(0.49, 0.16, 0.84),
    where="living_room",
)
def _sofa(pen: Pen, appearance: Appearance) -> None:
    legs = appearance.parts["leg"]
    for x in spread(12, 128, legs) if legs else []:
        pen.rect(x - 4, 62, 8, 14, "#5d4029", 1.8)
    pen.rect(10, 0, 120, 44, round_by=10)
    count = appearance.parts["cushion"]
    for i in range(count):
        width = 104 / count
        pen.rect(18 + i * width + 1, 32, width - 2, 20, "light", 2.4, round_by=6)
    pen.rect(16, 50, 108, 16)
    pen.rect(0, 22, 20, 46, round_by=8)
    pen.rect(120, 22, 20, 46, round_by=8)


@kind(
    "lamp/lamps",
    "furniture",
    "yellow red blue green white purple",
    parts=(Part("shade", 1, 1, 3),),
    unclear="grey",
    resembles="triangle",
    where="living_room bedroom office",
    surface=False,
    least=0.14,
)
def _lamp(pen: Pen, appearance: Appearance) -> None:
    shades = appearance.parts["shade"]
    pen.rect(-3, 20, 6, 80, "#8d8f96", 1.8)
    pen.ellipse(0, 102, 22, 6, "#8d8f96", 2)
    if shades == 1:
        pen.polygon(pts("-14,0 14,0 26,34 -26,34"))
        return
    for x in spread(-26, 26, shades):
        pen.line([(0, 46), (x * 0.8, 40), (x, 28)], 2.4, "#8d8f96", outline=1.4)
        pen.polygon([(x - 6, 4), (x + 6, 4), (x + 12, 27), (x - 12, 27)])


@kind(
    "house/houses",
    "buildings",
    "red yellow white blue orange pink brown",
    parts=(Part("window", 2, 0, 6, least=0.22), Part("door", 1, 0, 2), Part("chimney", 1, 0, 3, least=0.2)),
    unclear="brown",
    resembles="square rectangle triangle",
    where="street farm park lake",
)
def _house(pen: Pen, appearance: Appearance) -> None:
    chimneys, windows, doors = (
        appearance.parts["chimney"],
        appearance.parts["window"],
        appearance.parts["door"],
    )
    for x in {1: (80,), 2: (24, 80), 3: (24, 52, 80)}.get(chimneys, ()):
        pen.rect(x - 6, 2 if x != 52 else -16, 12, 32, "#a65a45", 2)
    pen.rect(6, 40, 92, 70)
    pen.polygon(pts("-4,42 52,-2 108,42"), "#8c4a3c", 2.4, "#4d2820")
    for x in {1: (52,), 2: (28, 76)}.get(doors, ()):
        pen.rect(x - 9, 78, 18, 32, "#70472c", 2)
        pen.dot(x + 5, 95, 1.8, "#ffd84d")
    above = ((24, 48), (68, 48), (46, 48)) if windows != 1 else ((46, 48),)
    places = [*above, *(((13, 76), (79, 76)) if doors == 1 else ((46, 76), (46, 76))), (46, 76)]
    if doors == 0:
        places = [*above, (13, 78), (79, 78), (46, 78)]
    elif windows > 3:
        # Two rows above the doors.
        places = [(x, y) for y in (44, 61) for x in (16, 46, 76)]
    for x, y in places[:windows]:
        tall = 14 if windows > 3 and doors else 20
        pen.rect(x - (0 if tall == 20 else 2), y, 15, tall, _GLASS, 1.8)
        pen.line(
            [(x + 7.5 - (0 if tall == 20 else 2), y), (x + 7.5 - (0 if tall == 20 else 2), y + tall)],
            0.4,
            "ink",
            outline=0.8,
        )


@kind(
    "castle/castles",
    "buildings",
    "grey yellow pink brown blue",
    parts=(Part("tower", 2, 1, 4), Part("flag", 1, 0, 2, least=0.26)),
    where="park lake",
)
def _castle(pen: Pen, appearance: Appearance) -> None:
    towers = appearance.parts["tower"]
    centres = spread(14, 106, towers) if towers > 1 else [60.0]
    for x in (centres[0], centres[-1])[: appearance.parts["flag"]]:
        pen.line([(x, 8), (x, -18)], 1, "#5d4029", outline=1)
        pen.polygon([(x, -18), (x + 15, -13), (x, -8)], "second", 1.6)
    crest = [(4.0, 100.0), (4.0, 46.0)]
    for i in range(6):
        left = 4 + i * 18.7
        crest += [(left, 46), (left + 9.3, 46), (left + 9.3, 54), (left + 18.7, 54)]
    pen.polygon([*crest, (116, 100)])
    for x in centres:
        pen.rect(x - 12, 26, 24, 74)
        pen.polygon([(x - 15, 28), (x, 4), (x + 15, 28)], "dark")
        pen.rect(x - 3, 42, 6, 12, "#3f3f48", 1.2)
    if towers % 2 == 0:
        pen.blob(pts("51,101 51,80 60,71 69,80 69,101"), "#5d4029", 2)


@kind(
    "tent/tents",
    "buildings",
    _BRIGHT,
    parts=(Part("flag", 1, 0, 3),),
    resembles="triangle",
    where="forest park mountains",
)
def _tent(pen: Pen, appearance: Appearance) -> None:
    flags = appearance.parts["flag"]
    for x in {1: (60,), 2: (46, 74), 3: (34, 60, 86)}.get(flags, ()):
        y = 14 + abs(x - 60) * 0.9
        pen.line([(x, y + 14), (x, y - 12)], 1, "#5d4029", outline=1)
        pen.polygon([(x, y - 13), (x + 13, y - 8), (x, y - 4)], "second", 1.6)
    pen.polygon(pts("60,14 118,84 2,84"))
    pen.polygon(pts("60,30 80,84 40,84"), "dark")
    pen.line(pts("60,14 60,84"), 1, "ink", outline=1)
