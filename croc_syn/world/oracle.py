"""The oracle: whether a scene shows what a prompt says, from the geometry of what is drawn.

Every relation has a margin, so that what is true of the scene is plain to the eye; between a relation and its
opposite lies a zone in which neither holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from croc_syn.world.grammar import parse
from croc_syn.world.kinds import KINDS, figure
from croc_syn.world.lexicon import GAP, LARGER_BY, SIZE_RANGES
from croc_syn.world.meaning import Attribute, Group, Meaning, distributions
from croc_syn.world.scene import Scene, Thing

Box = tuple[float, float, float, float]

STEEPNESS = 1.1
"""Left and right need the centres to be this many times as far apart across as down; above likewise."""
NEAR, FAR = 0.10, 0.24
"""Two boxes are next to each other up to the first distance, far from each other from the second on."""
LEAST_VISIBLE = 0.5
"""Share of a thing's silhouette that must be seen when something stands before it."""
LEAST_HIDDEN = 0.10
"""Share of it that must be hidden for the other to be in front."""
_MASK = 48
_MOST_ASSIGNMENTS = 20000


def union(boxes: Sequence[Box]) -> Box:
    """The box around all boxes."""
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def apart(a: Box, b: Box) -> float:
    """Distance of two boxes: the larger of the gaps across and down; negative when they overlap."""
    return max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3])


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def inner_box(thing: Thing) -> Box | None:
    """The region of a thing that can hold others, in image sides."""
    inner = KINDS[thing.kind].inner
    if inner is None:
        return None
    x0, y0, x1, y1 = thing.box
    w, h = x1 - x0, y1 - y0
    return x0 + inner[0] * w, y0 + inner[1] * h, x0 + inner[2] * w, y0 + inner[3] * h


def top_line(thing: Thing) -> tuple[float, float, float] | None:
    """Level, left and right end of the surface that carries things, in image sides."""
    top = KINDS[thing.kind].top
    if top is None:
        return None
    x0, y0, x1, y1 = thing.box
    left, right = (1 - top[2], 1 - top[1]) if thing.flip else (top[1], top[2])
    return y0 + top[0] * (y1 - y0), x0 + left * (x1 - x0), x0 + right * (x1 - x0)


@lru_cache(maxsize=2048)
def _mask(
    kind: str, pose: str, parts: tuple[tuple[str, int], ...], shape: str, flip: bool
) -> npt.NDArray[np.bool_]:
    """Silhouette of a look, as an array of (_MASK, _MASK), row by row."""
    drawn = figure(kind, pose, parts, shape)
    sx, sy = _MASK / drawn.width, _MASK / drawn.height
    image = Image.new("L", (_MASK, _MASK))
    brush = ImageDraw.Draw(image)
    for polygon in drawn.polygons:
        brush.polygon([((x - drawn.x0) * sx, (y - drawn.y0) * sy) for x, y in polygon], fill=255)
    for points, width in drawn.strokes:
        line = [((x - drawn.x0) * sx, (y - drawn.y0) * sy) for x, y in points]
        brush.line(line, fill=255, width=max(1, round(width * (sx + sy) / 2)), joint="curve")
    mask = np.asarray(image) > 0
    return mask[:, ::-1] if flip else mask


def hidden_share(back: Thing, front: Thing) -> float:
    """Share of the silhouette of ``back`` that the silhouette of ``front`` covers."""
    if apart(back.box, front.box) >= 0:
        return 0.0
    mask = _mask(back.kind, back.pose, back.parts, back.shape, back.flip)
    cover = _mask(front.kind, front.pose, front.parts, front.shape, front.flip)
    steps = (np.arange(_MASK) + 0.5) / _MASK

    def seen(axis: int) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.bool_]]:
        low, high = back.box[axis], back.box[axis + 2]
        start, end = front.box[axis], front.box[axis + 2]
        at = np.floor((low + steps * (high - low) - start) / (end - start) * _MASK).astype(int)
        return np.clip(at, 0, _MASK - 1), (at >= 0) & (at < _MASK)

    (columns, in_x), (rows, in_y) = seen(0), seen(1)
    covered = cover[np.ix_(rows, columns)] & in_y[:, None] & in_x
    return float((mask & covered).sum() / max(1, mask.sum()))


# Relations: every test gets the scene and the indices of the two sets of things.


def _left_of(scene: Scene, a: Sequence[int], b: Sequence[int]) -> bool:
    here, there = (union([scene.things[i].box for i in side]) for side in (a, b))
    (ax, ay), (bx, by) = _centre(here), _centre(there)
    return here[2] + GAP <= there[0] and bx - ax >= STEEPNESS * abs(by - ay)


def _above(scene: Scene, a: Sequence[int], b: Sequence[int]) -> bool:
    here, there = (union([scene.things[i].box for i in side]) for side in (a, b))
    (ax, ay), (bx, by) = _centre(here), _centre(there)
    return here[3] + GAP <= there[1] and by - ay >= STEEPNESS * abs(bx - ax)


def _inside_one(scene: Scene, i: int, j: int) -> bool:
    region, box = inner_box(scene.things[j]), scene.things[i].box
    if region is None or i < j:
        return False
    return box[0] >= region[0] and box[1] >= region[1] and box[2] <= region[2] and box[3] <= region[3]


def _in_front_one(scene: Scene, i: int, j: int) -> bool:
    front, back = scene.things[i], scene.things[j]
    if i < j or apart(front.box, back.box) >= 0 or front.box[3] < back.box[3] + GAP / 2:
        return False
    return LEAST_HIDDEN <= hidden_share(back, front) <= 1 - LEAST_VISIBLE


def _on_one(scene: Scene, i: int, j: int) -> bool:
    line, box = top_line(scene.things[j]), scene.things[i].box
    if line is None or line[0] + 0.03 > scene.things[j].box[3]:
        return False
    return abs(box[3] - line[0]) <= 0.012 and box[0] >= line[1] - 0.005 and box[2] <= line[2] + 0.005


def _apart_by(low: float, high: float) -> Callable[[Scene, int, int], bool]:
    def test(scene: Scene, i: int, j: int) -> bool:
        return low <= apart(scene.things[i].box, scene.things[j].box) <= high

    return test


def _larger_one(scene: Scene, i: int, j: int) -> bool:
    return scene.things[i].size >= LARGER_BY * scene.things[j].size


def _pairwise(
    test: Callable[[Scene, int, int], bool],
) -> Callable[[Scene, Sequence[int], Sequence[int]], bool]:
    return lambda scene, a, b: all(test(scene, i, j) for i in a for j in b)


TESTS: dict[str, Callable[[Scene, Sequence[int], Sequence[int]], bool]] = {
    "left_of": _left_of,
    "above": _above,
    "inside": _pairwise(_inside_one),
    "outside": _pairwise(_apart_by(GAP, 9.0)),
    "in_front_of": _pairwise(_in_front_one),
    "larger": _pairwise(_larger_one),
    "on": _pairwise(_on_one),
    "near": _pairwise(_apart_by(GAP / 2, NEAR)),
    "far": _pairwise(_apart_by(FAR, 9.0)),
}


def arranged(layout: str, boxes: Sequence[Box]) -> bool:
    """Whether boxes stand in a row, a column, a diagonal line or a circle."""
    centres = [_centre(box) for box in boxes]
    xs, ys = [c[0] for c in centres], [c[1] for c in centres]
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    if layout == "row":
        return high <= 0.03 and wide >= 0.1
    if layout == "column":
        return wide <= 0.03 and high >= 0.1
    if layout == "diagonal":
        if min(wide, high) < 0.15 or max(wide, high) > 2 * min(wide, high):
            return False
        order = sorted(centres)
        (x0, y0), (x1, y1) = order[0], order[-1]
        if abs(y1 - y0) < high - 0.03:
            return False
        return all(abs(y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0))) <= 0.03 for x, y in order)
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    radii = [((cx - x) ** 2 + (cy - y) ** 2) ** 0.5 for cx, cy in centres]
    if len(boxes) < 3 or min(wide, high) < 0.15 or max(radii) - min(radii) > 0.04:
        return False
    return all(abs(a[0] - b[0]) + abs(a[1] - b[1]) >= 0.06 for a, b in combinations(centres, 2))


def has(thing: Thing, attribute: Attribute) -> bool:
    """Whether a thing agrees with what is said of it."""
    if attribute.dimension == "size":
        low, high = SIZE_RANGES[attribute.value]
        return (low <= thing.size <= high) == attribute.positive
    if attribute.dimension.startswith("part:"):
        value = str(dict(thing.parts).get(attribute.dimension[5:], -1))
    else:
        value = getattr(thing, attribute.dimension)
    return (value == attribute.value) == attribute.positive


def _fits(thing: Thing, group: Group) -> bool:
    return all(has(thing, attribute) for attribute in group.attributes)


def _counts_agree(scene: Scene, meaning: Meaning) -> bool:
    numbers: dict[str, int] = {}
    for thing in scene.things:
        numbers[thing.kind] = numbers.get(thing.kind, 0) + 1
    totals = meaning.totals()
    if any(numbers.get(kind, 0) != count for kind, count in totals.items()):
        return False
    return not meaning.only or set(numbers) <= set(totals)


def _requirements(scene: Scene, meaning: Meaning) -> tuple[int, int]:
    """How many requirements the scene meets, at best over the assignments, and how many there are."""
    met = needed = 0

    def judge(truth: bool) -> None:
        nonlocal met, needed
        needed += 1
        met += truth

    judge(not meaning.named & set(scene.shows))
    for attribute in meaning.image:
        judge((getattr(scene, attribute.dimension) == attribute.value) == attribute.positive)
    for absence in meaning.absences:
        judge(
            not any(
                thing.kind == absence.kind and all(has(thing, a) for a in absence.attributes)
                for thing in scene.things
            )
        )
    judge(_counts_agree(scene, meaning))
    best = 0
    wanted = sum(group.count + bool(group.layout) for group in meaning.groups) + len(meaning.links)
    for members in _assignments(scene, meaning):
        best = max(best, _agreement(scene, meaning, members))
        if best == wanted:
            break
    return met + best, needed + wanted


def _assignments(scene: Scene, meaning: Meaning) -> list[dict[int, list[int]]]:
    """Ways to give the things of the scene to the groups of the prompt."""
    options: list[list[dict[int, list[int]]]] = []
    for kind in {group.kind for group in meaning.groups}:
        things = [i for i, thing in enumerate(scene.things) if thing.kind == kind]
        groups = [g for g, group in enumerate(meaning.groups) if group.kind == kind]
        sizes = [meaning.groups[g].count for g in groups]
        if len(things) != sum(sizes):
            options.append([{g: [] for g in groups}])
            continue
        found = []
        for labels in distributions(sizes, groups, _MOST_ASSIGNMENTS):
            found.append(
                {g: [t for t, label in zip(things, labels, strict=True) if label == g] for g in groups}
            )
        options.append(found)
    ways = 1
    for option in options:
        ways *= len(option)
    if ways > _MOST_ASSIGNMENTS:
        return []
    return [{g: m for part in choice for g, m in part.items()} for choice in product(*options)]


def _agreement(scene: Scene, meaning: Meaning, members: dict[int, list[int]]) -> int:
    met = 0
    for g, group in enumerate(meaning.groups):
        met += sum(_fits(scene.things[i], group) for i in members[g])
        if group.layout and len(members[g]) > 1:
            met += arranged(group.layout, [scene.things[i].box for i in members[g]])
    for link in meaning.links:
        a, b = members[link.a], members[link.b]
        met += bool(a and b) and TESTS[link.relation](scene, a, b)
    return met


def holds(scene: Scene, meaning: Meaning | str) -> bool:
    """Whether the image of this scene shows what the prompt says: the oracle.

    Raises:
        PromptError: the prompt is not controlled English.
    """
    met, needed = _requirements(scene, parse(meaning) if isinstance(meaning, str) else meaning)
    return met == needed


def margin(scene: Scene, meaning: Meaning | str) -> float:
    """How well a scene agrees with a prompt: 1 when it holds, else minus the share of requirements not met.

    The value is above 0 exactly when ``holds`` is true.
    """
    met, needed = _requirements(scene, parse(meaning) if isinstance(meaning, str) else meaning)
    return 1.0 if met == needed else met / needed - 1.0
