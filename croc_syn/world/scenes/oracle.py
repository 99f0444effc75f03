"""The oracle: whether a scene satisfies a prompt, from the geometry of what is drawn.

Every relation has a margin, so that what is true of the scene can be seen clearly; between a relation and its
opposite there is a zone in which neither is true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from croc_syn.world.declarations.kinds import KINDS, draw_sprite
from croc_syn.world.declarations.kinds.registry import HIDING_POSES
from croc_syn.world.declarations.lexicon import GAP, LARGER_BY, SHADES, SIZE_RANGES, UNMARKED
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Attribute, Group, Meaning
from croc_syn.world.language.parser import parse
from croc_syn.world.scenes.scene import Scene, Thing

Box = tuple[float, float, float, float]

STEEPNESS = 1.1
"""Left of: horizontal over vertical distance of the centres is at least this; above: the inverse ratio."""
NEAR, FAR = 0.10, 0.24
"""Two boxes are next to each other up to the first distance, far from each other from the second on."""
LEAST_VISIBLE = 0.5
"""Share of a thing's silhouette that must be visible when another thing is in front of it."""
MOST_HIDDEN_OF_PARTS = 0.02
"""Share of a thing that another may hide while its parts can still be counted."""
LEAST_HIDDEN = 0.10
"""Share of it that must be hidden for the other thing to be in front of it."""
_MASK = 48
"""Side of a silhouette mask, in pixels."""
_MOST_STEPS = 200_000
"""Limit of the search for an assignment; only prompts with many similar phrases in relations come near it."""


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around all boxes."""
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def apart(a: Box, b: Box) -> float:
    """Distance of two boxes: the larger of the horizontal and vertical gap; negative where they overlap."""
    return max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3])


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def inner_box(thing: Thing) -> Box | None:
    """The region of a thing that can contain others, in image sides; None where it cannot."""
    inner = KINDS[thing.kind].inner
    if inner is None:
        return None
    x0, y0, x1, y1 = thing.box
    w, h = x1 - x0, y1 - y0
    return x0 + inner[0] * w, y0 + inner[1] * h, x0 + inner[2] * w, y0 + inner[3] * h


def top_line(thing: Thing) -> tuple[float, float, float] | None:
    """Level, left and right end of the surface that carries things, in image sides; None without one."""
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
    """Silhouette of an appearance: an array of (_MASK, _MASK), row by row."""
    sprite = draw_sprite(kind, pose, parts, shape)
    sx, sy = _MASK / sprite.width, _MASK / sprite.height
    image = Image.new("L", (_MASK, _MASK))
    brush = ImageDraw.Draw(image)
    for polygon in sprite.polygons:
        brush.polygon([((x - sprite.x0) * sx, (y - sprite.y0) * sy) for x, y in polygon], fill=255)
    for points, width in sprite.strokes:
        line = [((x - sprite.x0) * sx, (y - sprite.y0) * sy) for x, y in points]
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


def all_visible(scene: Scene) -> bool:
    """Whether everything in a scene can be seen: inside the image, and not mostly hidden by another thing."""
    things = scene.things
    for i, thing in enumerate(things):
        left, top, right, bottom = thing.box
        if left < 0 or top < 0 or right > 1 or bottom > 1:
            return False
        for other in things[i + 1 :]:
            a, b = thing.box, other.box
            if a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]:
                continue
            contained = b[0] >= a[0] and b[1] >= a[1] and b[2] <= a[2] and b[3] <= a[3]
            if not (contained and KINDS[thing.kind].inner) and hidden_share(thing, other) > 0.5:
                return False
    return True


def all_supported(scene: Scene) -> bool:
    """Whether everything that lies, sits or swims does so on the ground, in the water or on another thing."""
    place = PLACES[scene.setting]
    for i, thing in enumerate(scene.things):
        if thing.pose not in HIDING_POSES:
            continue
        span = place.levels(KINDS[thing.kind], thing.pose)
        if span is None or span[0] <= thing.box[3] <= span[1]:
            continue
        if not any(_on_one(scene, i, j) or _inside_one(scene, i, j) for j in range(len(scene.things))):
            return False
    return True


# Relations: a test takes the scene and the indices of the things of both groups.


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


RELATION_TESTS: dict[str, Callable[[Scene, Sequence[int], Sequence[int]], bool]] = {
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


def is_arranged(layout: str, boxes: Sequence[Box]) -> bool:
    """Whether boxes form a row, a column, a diagonal line or a circle."""
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


def has_attribute(thing: Thing, attribute: Attribute) -> bool:
    """Whether an attribute is true of a thing and can be seen at its size and in its pose."""
    return is_visible(thing, attribute.dimension) and matches(thing, attribute)


def is_visible(thing: Thing, dimension: str) -> bool:
    """Whether a thing is large enough to show a property, and its pose shows its parts."""
    kind = KINDS[thing.kind]
    if dimension.startswith("part:") and not kind.shows_parts(thing.pose):
        return False
    return thing.size >= kind.least_size(dimension)


def matches(thing: Thing, attribute: Attribute) -> bool:
    """Whether a thing has the value of an attribute, whether or not that can be seen."""
    if attribute.dimension == "size":
        low, high = SIZE_RANGES[attribute.value]
        return (low <= thing.size <= high) == attribute.positive
    if attribute.dimension.startswith("part:"):
        value = str(dict(thing.parts).get(attribute.dimension[5:], -1))
    else:
        value = getattr(thing, attribute.dimension)
    return (value == attribute.value) == attribute.positive


def _fits(scene: Scene, i: int, group: Group) -> bool:
    stated = {attribute.dimension for attribute in group.attributes}
    return all(is_true_of(scene, i, attribute, stated) for attribute in group.attributes)


def is_true_of(scene: Scene, i: int, attribute: Attribute, stated: Collection[str] = ()) -> bool:
    """Whether thing ``i`` of a scene has an attribute and the image shows it.

    Parts must not be hidden by another thing, a size needs something in the image to compare with, and black,
    grey and white are stated of a thing with a pattern or a material only together with it.

    Args:
        scene: what the image shows.
        i: number of the thing.
        attribute: what is stated.
        stated: every property that the same phrase states.
    """
    thing = scene.things[i]
    if not has_attribute(thing, attribute):
        return False
    if attribute.dimension == "colour" and {thing.colour, attribute.value} & SHADES:
        surface = {"texture": thing.texture, "material": thing.material}
        return all(value in UNMARKED or name in stated for name, value in surface.items())
    if attribute.dimension.startswith("part:"):
        return all(hidden_share(thing, other) <= MOST_HIDDEN_OF_PARTS for other in scene.things[i + 1 :])
    if attribute.dimension == "size" and attribute.positive:
        return lacks_reference(scene.things, thing) is None
    return True


def lacks_reference(things: Sequence[Thing], thing: Thing) -> tuple[float, float] | None:
    """Sizes of a thing that would have to be in the image to show how large another one is.

    A small thing is seen to be small beside one that is larger by the factor ``LARGER_BY``, a large thing
    beside one that is smaller, a medium-sized thing beside both.

    Args:
        things: everything in the image.
        thing: the one whose size is stated.

    Returns:
        Smallest and largest size of what is missing; None if nothing is.
    """
    low, high = SIZE_RANGES["medium"]
    larger, smaller = thing.size * LARGER_BY, thing.size / LARGER_BY
    if thing.size <= high and all(other.size < larger for other in things):
        return larger, 1.0
    if thing.size >= low and all(other.size > smaller for other in things):
        return 0.0, smaller
    return None


def _counts_agree(scene: Scene, meaning: Meaning) -> bool:
    numbers: dict[str, int] = {}
    for thing in scene.things:
        numbers[thing.kind] = numbers.get(thing.kind, 0) + 1
    totals = meaning.totals()
    if any(numbers.get(kind, 0) != count for kind, count in totals.items()):
        return False
    return not meaning.only or set(numbers) <= set(totals)


def _whole_image(scene: Scene, meaning: Meaning) -> list[bool]:
    """For each requirement that needs no assignment of things to phrases, whether it is met."""
    met = [not meaning.mentioned & set(scene.shows), _counts_agree(scene, meaning)]
    for attribute in meaning.image:
        met.append((getattr(scene, attribute.dimension) == attribute.value) == attribute.positive)
    for absence in meaning.absences:
        things = (thing for thing in scene.things if thing.kind == absence.kind)
        met.append(not any(all(matches(thing, a) for a in absence.attributes) for thing in things))
    return met


class _Assignment:
    """The search for an assignment: which things of a scene the phrases of a prompt are about."""

    def __init__(self, scene: Scene, meaning: Meaning) -> None:
        self.scene, self.groups, self.links = scene, meaning.groups, meaning.links
        kinds = list(enumerate(thing.kind for thing in scene.things))
        self.fitting = [
            [i for i, kind in kinds if kind == g.kind and _fits(scene, i, g)] for g in self.groups
        ]
        related = {g for link in self.links for g in (link.a, link.b)}
        related |= {g for g, group in enumerate(self.groups) if group.layout}
        self.order = sorted(related, key=lambda g: len(self.fitting[g]))
        self.unrelated = [g for g in range(len(self.groups)) if g not in related]
        self.members: dict[int, tuple[int, ...]] = {}
        self.steps = 0

    def exists(self) -> bool:
        """Whether every phrase has its own things, with all its properties, arrangements and relations."""
        enough = all(len(fit) >= group.count for fit, group in zip(self.fitting, self.groups, strict=True))
        return enough and self._place(0, frozenset())

    def _place(self, depth: int, used: frozenset[int]) -> bool:
        if depth == len(self.order):
            return self.matched(self.unrelated, used) == sum(self.groups[g].count for g in self.unrelated)
        g = self.order[depth]
        group = self.groups[g]
        for chosen in combinations([i for i in self.fitting[g] if i not in used], group.count):
            self.steps += 1
            if self.steps > _MOST_STEPS:
                break
            self.members[g] = chosen
            if self._plausible(g, group) and self._place(depth + 1, used | set(chosen)):
                return True
        self.members.pop(g, None)
        return False

    def _plausible(self, g: int, group: Group) -> bool:
        chosen = self.members[g]
        if group.layout and not is_arranged(group.layout, [self.scene.things[i].box for i in chosen]):
            return False
        return all(
            self.true(link.relation, link.a, link.b)
            for link in self.links
            if g in (link.a, link.b) and link.a in self.members and link.b in self.members
        )

    def true(self, relation: str, a: int, b: int) -> bool:
        """Whether the things chosen for two phrases have a relation."""
        return RELATION_TESTS[relation](self.scene, self.members[a], self.members[b])

    def matched(self, groups: Sequence[int], used: frozenset[int]) -> int:
        """Size of a maximum matching of these phrases' slots with fitting things (augmenting paths)."""
        slots = [g for g in groups for _ in range(self.groups[g].count)]
        slot_of: dict[int, int] = {}

        def assign(slot: int, visited: set[int]) -> bool:
            for i in self.fitting[slots[slot]]:
                if i in used or i in visited:
                    continue
                visited.add(i)
                if i not in slot_of or assign(slot_of[i], visited):
                    slot_of[i] = slot
                    return True
            return False

        return sum(assign(slot, set()) for slot in range(len(slots)))


def satisfies(scene: Scene, meaning: Meaning | str) -> bool:
    """Whether the image of a scene satisfies a prompt.

    Raises:
        PromptError: the prompt is not controlled English.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    return all(_whole_image(scene, meaning)) and _Assignment(scene, meaning).exists()


def satisfaction_score(scene: Scene, meaning: Meaning | str) -> float:
    """How well a scene satisfies a prompt: 1 if it does, else minus the share of requirements not met.

    The value is above 0 exactly where :func:`satisfies` is True. Elsewhere, properties are counted for the
    best matching of phrases with things, relations for the first things that fit.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    if satisfies(scene, meaning):
        return 1.0
    general = _whole_image(scene, meaning)
    search = _Assignment(scene, meaning)
    slots = sum(group.count for group in meaning.groups)
    met = sum(general) + search.matched(range(len(meaning.groups)), frozenset())
    for g, group in enumerate(meaning.groups):
        fitting = search.fitting[g][: group.count]
        if len(fitting) == group.count:
            search.members[g] = tuple(fitting)
    met += sum(
        search.true(link.relation, link.a, link.b)
        for link in meaning.links
        if link.a in search.members and link.b in search.members
    )
    required = len(general) + slots + len(meaning.links) + 1
    return met / required - 1.0
