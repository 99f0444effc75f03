"""A second reader of drawings of the exact world: it reads the SVG and the pixels, never the scene.

Each thing is a group of the SVG. Its kind comes from the geometry of its strokes, its place and its colour
from the pixels that change when the group is taken out. ``decide`` says of a prompt what the drawing shows:
colours, numbers, presence and absence, sizes, positions and arrangements from the pixels; poses, shapes and
parts from the geometry. What it cannot read (textures, materials, places, weather) it leaves undecided.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from croc_syn.world import KINDS, parse, rasterise
from croc_syn.world.declarations.kinds import draw_sprite
from croc_syn.world.declarations.lexicon import COLOURS

_GEOMETRY = ("d", "points", "cx", "cy", "rx", "ry", "x", "y", "width", "height", "transform")
_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Seen:
    """One thing as it was read.

    Attributes:
        kind: id of the kind.
        box: left, top, right, bottom of its pixels, in image sides.
        colours: share of its pixels by the nearest named colour.
        look: pose, shape and number of each part (``part:WORD``), as far as its geometry tells.
    """

    kind: str
    box: tuple[float, float, float, float]
    colours: dict[str, float]
    look: dict[str, str]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB values from 0 to 255, in the last axis."""
    linear = np.asarray(rgb, float) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


_NAMES = list(COLOURS)
_PALETTE = lab(np.array([[int(v.data[i : i + 2], 16) for i in (1, 3, 5)] for v in COLOURS.values()]))


def nearest_colours(pixels: np.ndarray) -> dict[str, float]:
    """Share of pixels (n, 3) by the nearest named colour."""
    if not len(pixels):
        return {}
    near = np.argmin(((lab(pixels)[:, None] - _PALETTE) ** 2).sum(-1), 1)
    return {_NAMES[i]: n / len(pixels) for i, n in Counter(near.tolist()).items()}


def pixels_of(svg: str) -> np.ndarray:
    """The drawing as an array of (height, width, 3)."""
    with Image.open(io.BytesIO(rasterise(svg))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def _strokes(markup: ET.Element) -> frozenset[str]:
    shapes = (element for element in markup.iter() if element is not markup)
    return frozenset(
        element.tag.removeprefix(_SVG) + "|" + "|".join(element.get(name, "") for name in _GEOMETRY)
        for element in shapes
        if any(element.get(name) for name in _GEOMETRY)
    )


@cache
def _templates() -> list[tuple[str, dict[str, str], frozenset[str]]]:
    """Geometry of each kind in each pose and shape, with each number of each part."""
    templates = []
    for kind in KINDS.values():
        usual = {part.word: part.usual for part in kind.parts}
        varied = [usual] + [
            usual | {part.word: n}
            for part in kind.parts
            for n in range(part.low, part.high + 1)
            if n != part.usual
        ]
        for pose in [pose.id for pose in kind.poses] or [""]:
            for shape in kind.shapes or ("",):
                for parts in varied:
                    svg = draw_sprite(kind.id, pose, tuple(parts.items()), shape).svg
                    group = ET.fromstring(f'<g xmlns="http://www.w3.org/2000/svg">{svg}</g>')
                    look = {f"part:{word}": str(n) for word, n in parts.items()}
                    templates.append((kind.id, look | {"pose": pose, "shape": shape}, _strokes(group)))
    return templates


@cache
def _match(strokes: frozenset[str]) -> tuple[str, dict[str, str]]:
    """Kind and look of the template with the most strokes in common."""
    kind, look, _ = max(_templates(), key=lambda t: len(t[2] & strokes) / max(1, len(t[2] | strokes)))
    return kind, look


def read(svg: str) -> list[Seen]:
    """The things of a drawing, from the back to the front."""
    root = ET.fromstring(svg)
    groups = [
        child for child in root if child.tag == f"{_SVG}g" and "translate" in child.get("transform", "")
    ]
    whole = pixels_of(svg)
    side = whole.shape[0]
    things = []
    for group in groups:
        at = list(root).index(group)
        root.remove(group)
        changed = np.abs(whole - pixels_of(ET.tostring(root, encoding="unicode"))).max(-1) > 6
        root.insert(at, group)
        kind, look = _match(_strokes(group))
        ys, xs = np.nonzero(changed)
        box = (xs.min() / side, ys.min() / side, (xs.max() + 1) / side, (ys.max() + 1) / side)
        things.append(Seen(kind, tuple(map(float, box)), nearest_colours(whole[changed]), look))
    return things


_GREYS = ("black", "grey", "white")


def main_colour(seen: Seen) -> str:
    """The stateable colour of a thing: that of most pixels, where a hue counts before a shade of grey.

    Outlines and shadows are grey; a thing is called grey only where less than a seventh of it has a hue.
    """
    possible = KINDS[seen.kind].values("colour")
    hues = {name: seen.colours.get(name, 0.0) for name in possible if name not in _GREYS}
    hue = max(hues, key=lambda name: hues[name])
    if hues[hue] > 1 / 7:
        return hue
    return max(possible, key=lambda name: seen.colours.get(name, 0.0))


def decide(things: list[Seen], prompt: str) -> bool | None:
    """Whether a drawing shows a prompt, by numbers, colours, parts and positions.

    Returns:
        False where one of them contradicts the prompt; None where nothing of the prompt could be read beyond
        the presence of its things; else True.
    """
    meaning = parse(prompt)
    counts = Counter(thing.kind for thing in things)
    if any(counts[kind] != number for kind, number in meaning.totals().items()):
        return False
    if meaning.only and set(counts) - set(meaning.totals()):
        return False
    # The phrase that each thing is about; two phrases about one kind are not told apart.
    members = {i: [t for t in things if t.kind == group.kind] for i, group in enumerate(meaning.groups)}
    single = Counter(group.kind for group in meaning.groups)
    decided = bool(meaning.absences) or meaning.only or any(group.count > 1 for group in meaning.groups)
    for i, group in enumerate(meaning.groups):
        if single[group.kind] > 1:
            continue
        for attribute in group.attributes:
            if attribute.dimension == "colour":
                right = all((main_colour(t) == attribute.value) == attribute.positive for t in members[i])
            elif attribute.dimension == "size":
                right = all((_size_word(t.box) == attribute.value) == attribute.positive for t in members[i])
            elif attribute.dimension in members[i][0].look:
                looks = [t.look[attribute.dimension] for t in members[i]]
                right = all((look == attribute.value) == attribute.positive for look in looks)
            else:
                continue
            decided = True
            if not right:
                return False
        if group.layout:
            decided = True
            if _layout([t.box for t in members[i]]) != group.layout:
                return False
    for link in meaning.links:
        test = _POSITIONS.get(link.relation)
        if test is None or single[meaning.groups[link.a].kind] + single[meaning.groups[link.b].kind] > 2:
            continue
        decided = True
        if not all(test(a.box, b.box) for a in members[link.a] for b in members[link.b]):
            return False
    return True if decided else None


def _size(box: tuple[float, float, float, float]) -> float:
    return ((box[2] - box[0]) * (box[3] - box[1])) ** 0.5


def _size_word(box: tuple[float, float, float, float]) -> str:
    return "small" if _size(box) < 0.18 else "medium" if _size(box) < 0.3 else "large"


def _layout(boxes: list[tuple[float, float, float, float]]) -> str:
    """The arrangement of boxes: a row, a column, a diagonal line, or else a ring."""
    centres = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes])
    wide, high = np.ptp(centres, axis=0)
    if high < 0.06 or wide < 0.06:
        return "row" if high < wide else "column"
    return "diagonal" if abs(np.corrcoef(centres.T)[0, 1]) > 0.95 else "ring"


def _gap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3])


_POSITIONS = {
    "left_of": lambda a, b: a[2] < b[0],
    "above": lambda a, b: a[3] < b[1],
    "larger": lambda a, b: _size(a) > 1.2 * _size(b),
    "inside": lambda a, b: a[0] > b[0] and a[1] > b[1] and a[2] < b[2] and a[3] < b[3],
    "outside": lambda a, b: _gap(a, b) > 0,
    "near": lambda a, b: _gap(a, b) < 0.17,
    "far": lambda a, b: _gap(a, b) > 0.17,
    "in_front_of": lambda a, b: _gap(a, b) < 0.02 and a[3] >= b[3],
}
