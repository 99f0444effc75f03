"""The layout of a scene: positions and sizes for which every stated relation is clearly visible.

Groups are placed one after the other at random positions that the relations allow, with restarts; the oracle
then checks the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from croc.errors import InputError
from croc_syn.world.declarations.kinds import KINDS, draw_sprite
from croc_syn.world.declarations.kinds.registry import HIDING_POSES
from croc_syn.world.declarations.lexicon import GAP, LARGER_BY, SIZE_LIMITS, SIZE_RANGES
from croc_syn.world.declarations.places import Place
from croc_syn.world.language.meaning import Link, Meaning
from croc_syn.world.scenes.oracle import (
    FAR,
    LEAST_HIDDEN,
    LEAST_VISIBLE,
    NEAR,
    STEEPNESS,
    Box,
    apart,
    hidden_share,
    inner_box,
    top_line,
    union,
)
from croc_syn.world.scenes.scene import Thing
from croc_syn.world.scenes.seeded_random import SeededRandom

EDGE = 0.015
"""Smallest distance of a thing from the edge of the image, in image sides."""
SPACE = 0.014
"""Smallest distance of two things that have no relation which brings them together, in image sides."""


class LayoutError(InputError):
    """One attempt at a layout failed; another may succeed."""


@dataclass
class Item:
    """A thing to be placed, and the number of its group."""

    thing: Thing
    group: int


def aspect_ratio(thing: Thing) -> float:
    """Width divided by height of the drawing."""
    sprite = draw_sprite(thing.kind, thing.pose, thing.parts, thing.shape)
    return sprite.width / sprite.height


def extent(thing: Thing, size: float) -> tuple[float, float]:
    """Width and height, in image sides, of a thing drawn at a size."""
    root = math.sqrt(aspect_ratio(thing))
    return size * root, size / root


def lay_out(
    meaning: Meaning, items: list[Item], rng: SeededRandom, place: Place, effort: float
) -> list[Thing]:
    """Place things.

    Args:
        meaning: the groups and their relations.
        items: the things, group by group.
        rng: random numbers.
        place: where the scene is set.
        effort: 0 at the first attempt, near 1 at the last; later attempts draw smaller things in a stricter
            order.

    Returns:
        The things with their boxes, from the back to the front.

    Raises:
        LayoutError: this attempt found no position for something.
    """
    return _Layout(meaning, items, rng, place, effort).solve()


def _rounded(box: Box) -> Box:
    """The box as it is stored with the image; five decimals are a hundredth of a pixel."""
    return round(box[0], 5), round(box[1], 5), round(box[2], 5), round(box[3], 5)


class _Layout:
    def __init__(
        self, meaning: Meaning, items: list[Item], rng: SeededRandom, place: Place, effort: float
    ) -> None:
        self.meaning, self.items, self.rng = meaning, items, rng
        self.effort = effort
        self.place = place
        # Standing on the ground is usual, not required: it is given up when there is little room.
        self.roomy = effort < 0.4 and len(items) < 7
        self.members = [
            [i for i, item in enumerate(items) if item.group == g] for g in range(len(meaning.groups))
        ]
        self.boxes: dict[int, Box] = {}
        self.sizes: dict[int, float] = {}
        self.links = meaning.links

    def solve(self) -> list[Thing]:
        self.columns = self._bands("left_of")
        self.rows = self._bands("above")
        self._choose_sizes()
        for group in self._order():
            self._place_group(group)
        order = self._depth()
        return [replace(self.items[i].thing, box=_rounded(self.boxes[i])) for i in order]

    # Bands

    def _bands(self, relation: str) -> dict[int, tuple[float, float]]:
        """An interval of the image for each group that left_of (above) puts into an order."""
        pairs = [(link.a, link.b) for link in self.links if link.relation == relation]
        level: dict[int, int] = {g: 0 for pair in pairs for g in pair}
        for _ in range(len(level)):
            for a, b in pairs:
                level[b] = max(level[b], level[a] + 1)
        if not level:
            return {}
        count = max(level.values()) + 1
        weights = [1.0 + 0.5 * (self.rng.random() - 0.5) for _ in range(count)]
        for g, at in level.items():
            crowd = math.sqrt(self.meaning.groups[g].count)
            weights[at] = max(weights[at], 0.75 * crowd)
            if any(a.value == "large" and a.positive for a in self.meaning.groups[g].attributes):
                weights[at] *= 1.3
        total, start, ends = sum(weights), 0.0, []
        for weight in weights:
            ends.append((start, start + weight / total))
            start += weight / total
        return {g: (max(EDGE, ends[at][0]), min(1 - EDGE, ends[at][1])) for g, at in level.items()}

    # Sizes

    def _range(self, group: int) -> tuple[float, float]:
        low, high = SIZE_LIMITS
        kind = KINDS[self.meaning.groups[group].kind]
        for attribute in self.meaning.groups[group].attributes:
            low = max(low, kind.least_size(attribute.dimension))
            if attribute.dimension != "size":
                continue
            a, b = SIZE_RANGES[attribute.value]
            if attribute.positive:
                low, high = max(low, a), min(high, b)
            elif attribute.value == "small":
                low = max(low, b + 0.01)
            else:
                high = min(high, a - 0.01)
        for absence in self.meaning.absences:
            if absence.kind == self.meaning.groups[group].kind:
                for attribute in absence.attributes:
                    if attribute.dimension == "size" and attribute.positive:
                        a, b = SIZE_RANGES[attribute.value]
                        low, high = (
                            (max(low, b + 0.01), high)
                            if attribute.value == "small"
                            else (low, min(high, a - 0.01))
                        )
        if low > high:
            raise LayoutError("no size satisfies the prompt")
        return low, high

    def _choose_sizes(self) -> None:
        crowd = len(self.items)
        usual = min(0.46, 0.66 / math.sqrt(crowd)) if crowd else 0.4
        usual *= 1 - 0.35 * self.effort
        size: dict[int, float] = {}
        span = [self._range(g) for g in range(len(self.members))]
        for g, (low, high) in enumerate(span):
            top = min(high, max(low, usual))
            size[g] = self.rng.uniform(min(top, max(low, 0.55 * usual)), top)
        for _ in range(4):
            for link in self.links:
                a, b = link.a, link.b
                if link.relation == "larger" and size[a] < 1.45 * size[b]:
                    size[a] = min(span[a][1], size[b] * self.rng.uniform(1.5, 1.8))
                    if size[a] < (LARGER_BY + 0.05) * size[b]:
                        size[b] = size[a] / (LARGER_BY + 0.05)
                if link.relation == "inside":
                    size[b] = min(span[b][1], max(size[b], self.rng.uniform(0.40, 0.58)))
                if link.relation == "on":
                    size[b] = min(span[b][1], max(size[b], self.rng.uniform(0.32, 0.46)))
                    size[a] = max(span[a][0], min(size[a], self.rng.uniform(0.55, 0.8) * size[b]))
                if link.relation == "in_front_of":
                    size[b] = min(span[b][1], max(size[b], 0.26))
                    size[a] = max(span[a][0], min(max(size[a], 0.8 * size[b]), 1.3 * size[b]))
        for g, (low, high) in enumerate(span):
            if not low - 1e-9 <= size[g] <= high + 1e-9:
                raise LayoutError("the stated sizes contradict each other")
        uniform = {g for link in self.links if link.relation == "larger" for g in (link.a, link.b)}
        uniform |= {g for g, group in enumerate(self.meaning.groups) if group.layout}
        for g, indices in enumerate(self.members):
            for i in indices:
                factor = 1.0 if g in uniform else self.rng.uniform(0.9, 1.1)
                self.sizes[i] = min(span[g][1], max(span[g][0], size[g] * factor))

    # Order

    def _order(self) -> list[int]:
        """Groups in the order of placing: first those that contain, carry or are behind others."""
        needs: dict[int, set[int]] = {g: set() for g in range(len(self.members))}
        for link in self.links:
            if link.relation in ("inside", "on", "in_front_of"):
                needs[link.a].add(link.b)
        order: list[int] = []
        left = sorted(needs, key=lambda _: self.rng.random())
        left.sort(key=lambda g: -sum(self.sizes[i] ** 2 for i in self.members[g]))
        while left:
            ready = next((g for g in left if needs[g] <= set(order)), None)
            if ready is None:
                raise LayoutError("its relations contradict each other")
            order.append(ready)
            left.remove(ready)
        return order

    def _depth(self) -> list[int]:
        before: dict[int, set[int]] = {i: set() for i in range(len(self.items))}
        for link in self.links:
            if link.relation in ("inside", "in_front_of", "on"):
                for a in self.members[link.a]:
                    before[a].update(self.members[link.b])
        order: list[int] = []
        left = sorted(before, key=lambda i: self.boxes[i][3])
        while left:
            ready = next(i for i in left if before[i] <= set(order))
            order.append(ready)
            left.remove(ready)
        return order

    # Positions

    def _place_group(self, group: int) -> None:
        layout = self.meaning.groups[group].layout
        holder = next((link for link in self.links if link.a == group and link.relation == "inside"), None)
        if layout:
            self._arrange(group, layout, self._region(group))
            return
        for link in self.links:
            if link.a == group and link.relation in ("on", "in_front_of"):
                self._place_at(group, link.relation, self.members[link.b][0])
                return
        if holder is not None:
            self._place_inside(group, self.members[holder.b][0])
            return
        for i in self.members[group]:
            self._place_anywhere(i, group)

    def _region(self, group: int) -> Box:
        for link in self.links:
            if link.a == group and link.relation == "inside":
                container = replace(
                    self.items[self.members[link.b][0]].thing, box=self.boxes[self.members[link.b][0]]
                )
                region = inner_box(container)
                assert region is not None
                return region
        x0, x1 = self.columns.get(group, (EDGE, 1 - EDGE))
        y0, y1 = self.rows.get(group, (EDGE, 1 - EDGE))
        for link in self.links:
            # Leave room for the things on top of it.
            if link.relation == "on" and link.b == group:
                tallest = max(extent(self.items[i].thing, self.sizes[i])[1] for i in self.members[link.a])
                y0 = max(y0, EDGE + tallest)
            if link.relation == "in_front_of" and link.b == group:
                y1 = min(y1, 1 - EDGE - 0.06)
        return x0 + (GAP if group in self.columns else 0), y0 + (GAP if group in self.rows else 0), x1, y1

    def _free(self, box: Box, ignore: Sequence[int] = ()) -> bool:
        if box[0] < EDGE or box[1] < EDGE or box[2] > 1 - EDGE or box[3] > 1 - EDGE:
            return False
        return all(i in ignore or apart(box, other) >= SPACE for i, other in self.boxes.items())

    def _place_anywhere(self, i: int, group: int) -> None:
        thing = self.items[i].thing
        x0, y0, x1, y1 = self._region(group)
        low = self._range(group)[0]
        size = self.sizes[i]
        w, h = extent(thing, size)
        if w > x1 - x0 or h > y1 - y0:
            size *= min((x1 - x0) / w, (y1 - y0) / h) * 0.98
            self._shrink(group, i, size, low)
            size = self.sizes[i]
            w, h = extent(thing, size)
        aligned = self._alignment(group)
        levels = self.place.levels(KINDS[thing.kind], thing.pose) if group not in self.rows else None
        if thing.pose in HIDING_POSES:
            levels = self.place.levels(KINDS[thing.kind], thing.pose)
        floats = levels is None and group not in self.rows and self.roomy
        others = self._tests_against_placed(group)
        near = [link for link in self.links if link.relation == "near" and group in (link.a, link.b)]
        for attempt in range(40):
            x = self.rng.uniform(x0, x1 - w)
            y = self.rng.uniform(y0, y1 - h)
            if aligned and attempt < 30:
                axis, centre, reach = aligned
                offset = self.rng.uniform(-0.6, 0.6) * reach * (1 - attempt / 40)
                if axis == "y":
                    y = min(max(centre + offset - h / 2, y0), y1 - h)
                else:
                    x = min(max(centre + offset - w / 2, x0), x1 - w)
            elif levels is not None and (thing.pose in HIDING_POSES or (self.roomy and not near)):
                bottom = self.rng.uniform(max(levels[0], y0 + h), max(levels[0], min(levels[1], y1)))
                y = min(bottom, y1) - h
            elif floats and self.place.horizon is not None:
                y = self.rng.uniform(y0, min(y1 - h, max(y0, self.place.horizon - h * 0.5)))
            if near and attempt < 36:
                beside = self._beside(near, group, w, h)
                if beside is not None:
                    x, y = beside
            box = (x, y, x + w, y + h)
            if self._free(box) and all(test(box) for test in others):
                self.boxes[i] = box
                return
        raise LayoutError(f"there is no room for the {KINDS[thing.kind].words[0]}")

    def _shrink(self, group: int, i: int, size: float, low: float) -> None:
        fixed = any(link.relation == "larger" and link.a == group for link in self.links)
        if size < low or (fixed and size < self.sizes[i] * 0.97):
            raise LayoutError(
                f"there is no room for a {KINDS[self.items[i].thing.kind].words[0]} of that size"
            )
        self.sizes[i] = size

    def _beside(self, near: Sequence[Link], group: int, w: float, h: float) -> tuple[float, float] | None:
        """A position next to a group that was placed; None where none of the links leads to one."""
        for link in near:
            other = link.b if link.a == group else link.a
            placed = [self.boxes[i] for i in self.members[other] if i in self.boxes]
            if placed:
                box = union(placed)
                step = self.rng.uniform(SPACE + 0.004, NEAR * 0.9)
                x = box[2] + step if self.rng.random() < 0.5 else box[0] - step - w
                return x, box[3] - h + self.rng.uniform(-0.04, 0.04)
        return None

    def _alignment(self, group: int) -> tuple[str, float, float] | None:
        """Axis, centre and reach to align with a group that was placed: its height, or its column."""
        for link in self.links:
            if link.relation not in ("left_of", "above") or group not in (link.a, link.b):
                continue
            other = link.b if link.a == group else link.a
            placed = [self.boxes[i] for i in self.members[other] if i in self.boxes]
            if placed:
                box = union(placed)
                if link.relation == "left_of" and group not in self.rows:
                    return "y", (box[1] + box[3]) / 2, 0.35
                if link.relation == "above" and group not in self.columns:
                    return "x", (box[0] + box[2]) / 2, 0.35
        return None

    def _tests_against_placed(self, group: int) -> list[Callable[[Box], bool]]:
        tests: list[Callable[[Box], bool]] = []
        for link in self.links:
            if group not in (link.a, link.b):
                continue
            other = link.b if link.a == group else link.a
            placed = [self.boxes[i] for i in self.members[other] if i in self.boxes]
            if not placed:
                continue
            tests.extend(_box_test(link.relation, link.a == group, box) for box in placed)
            single = len(self.members[link.a]) == len(self.members[link.b]) == 1
            if link.relation in ("left_of", "above") and single:
                tests.append(_direction_test(link.relation, placed[0]))
        return tests

    def _place_at(self, group: int, relation: str, target: int) -> None:
        base = replace(self.items[target].thing, box=self.boxes[target])
        others = self._tests_against_placed(group)
        for i in self.members[group]:
            thing = self.items[i].thing
            w, h = extent(thing, self.sizes[i])
            for attempt in range(40):
                if relation == "on":
                    line = top_line(base)
                    assert line is not None
                    if w > line[2] - line[1]:
                        self._shrink(
                            group, i, self.sizes[i] * (line[2] - line[1]) / w * 0.97, self._range(group)[0]
                        )
                        w, h = extent(thing, self.sizes[i])
                    x, y = self.rng.uniform(line[1], line[2] - w), line[0] - h
                else:
                    x0, _, x1, y1 = base.box
                    side = 1 if self.rng.random() < 0.5 else -1
                    centre = (x0 + x1) / 2 + side * self.rng.uniform(0.2, 0.6) * (x1 - x0 + w) / 2
                    x = centre - w / 2
                    y = y1 + self.rng.uniform(GAP / 2 + 0.003, 0.06 + 0.1 * attempt / 40) - h
                box = (x, y, x + w, y + h)
                if not self._free(box, ignore=[target]):
                    continue
                if relation == "on" or self._partly_hides(base, replace(thing, box=box), others):
                    self.boxes[i] = box
                    break
            else:
                raise LayoutError(f"there is no room for the {KINDS[thing.kind].words[0]}")

    def _partly_hides(self, back: Thing, front: Thing, others: Sequence[Callable[[Box], bool]]) -> bool:
        clear = LEAST_HIDDEN + 0.02 <= hidden_share(back, front) <= 0.98 - LEAST_VISIBLE
        return clear and all(test(front.box) for test in others)

    def _place_inside(self, group: int, target: int) -> None:
        container = replace(self.items[target].thing, box=self.boxes[target])
        region = inner_box(container)
        assert region is not None
        x0, y0, x1, y1 = region
        low = self._range(group)[0]
        inside = [
            i
            for link in self.links
            if link.relation == "inside" and self.members[link.b][0] == target
            for i in self.members[link.a]
        ]
        for i in self.members[group]:
            thing = self.items[i].thing
            room = 0.85 / math.sqrt(len(inside)) * (1 - 0.3 * self.effort)
            w, h = extent(thing, self.sizes[i])
            scale = min(1.0, (x1 - x0) * room / w, (y1 - y0) * room / h)
            if scale < 1.0:
                self._shrink(group, i, self.sizes[i] * scale, low)
                w, h = extent(thing, self.sizes[i])
            for _ in range(40):
                x, y = self.rng.uniform(x0, x1 - w), self.rng.uniform(y0, y1 - h)
                box = (x, y, x + w, y + h)
                if self._free(box, ignore=[target]):
                    self.boxes[i] = box
                    break
            else:
                raise LayoutError(f"there is no room for the {KINDS[thing.kind].words[0]}")

    def _arrange(self, group: int, layout: str, region: Box) -> None:
        indices = self.members[group]
        count = len(indices)
        low = self._range(group)[0]
        x0, y0, x1, y1 = region
        wide, high = x1 - x0, y1 - y0
        room = {
            "row": (wide / count - 0.02, high),
            "column": (wide, high / count - 0.02),
            "diagonal": (wide / count * 0.98 - 0.015, high / count * 0.98 - 0.015),
        }.get(layout, (min(wide, high) / (1 + count / math.pi) - 0.012,) * 2)
        for i in indices:
            w, h = extent(self.items[i].thing, self.sizes[i])
            scale = min(1.0, room[0] / w, room[1] / h)
            if scale < 1.0:
                self._shrink(group, i, self.sizes[i] * scale, low)
        extents = [extent(self.items[i].thing, self.sizes[i]) for i in indices]
        w, h = max(e[0] for e in extents), max(e[1] for e in extents)
        others = self._tests_against_placed(group)
        ignore = [
            self.members[link.b][0] for link in self.links if link.a == group and link.relation == "inside"
        ]
        for _ in range(30):
            stretch = self.rng.uniform(0.0, 0.7)
            step_x = w + 0.016 + stretch * max(0.0, (wide - count * w) / count - 0.016)
            step_y = h + 0.016 + stretch * max(0.0, (high - count * h) / count - 0.016)
            if layout == "row":
                offsets = [(k * step_x, 0.0) for k in range(count)]
            elif layout == "column":
                offsets = [(0.0, k * step_y) for k in range(count)]
            elif layout == "diagonal":
                step_x = step_y = max(w, h, 0.16 / max(1, count - 1)) + 0.016 + 0.3 * stretch * 0.1
                down = self.rng.random() < 0.5
                offsets = [(k * step_x, (k if down else count - 1 - k) * step_y) for k in range(count)]
            else:
                least = (math.hypot(w, h) * 0.5 + 0.012) / math.sin(math.pi / count)
                radius = max(least, 0.11) * (1 + 0.3 * stretch)
                turn = self.rng.uniform(0, 2 * math.pi)
                offsets = [
                    (
                        radius * math.cos(turn + 2 * math.pi * k / count),
                        radius * math.sin(turn + 2 * math.pi * k / count),
                    )
                    for k in range(count)
                ]
            left, top = min(o[0] for o in offsets), min(o[1] for o in offsets)
            across, down_by = max(o[0] for o in offsets) - left + w, max(o[1] for o in offsets) - top + h
            if across > wide or down_by > high:
                continue
            cx = self.rng.uniform(x0, x1 - across) - left + w / 2
            cy = self.rng.uniform(y0, y1 - down_by) - top + h / 2
            boxes = [
                (cx + dx - e[0] / 2, cy + dy - e[1] / 2, cx + dx + e[0] / 2, cy + dy + e[1] / 2)
                for (dx, dy), e in zip(offsets, extents, strict=True)
            ]
            if all(self._free(box, ignore) and all(test(box) for test in others) for box in boxes):
                self.boxes.update(zip(indices, boxes, strict=True))
                return
        raise LayoutError(f"there is no room for the {layout}")


def _box_test(relation: str, first: bool, other: Box) -> Callable[[Box], bool]:
    """The test of a relation for a new box and a placed one; ``first``: the new box is its subject."""
    if relation in ("left_of", "above"):
        low, high = (0, 2) if relation == "left_of" else (1, 3)
        if first:
            return lambda box: box[high] + GAP <= other[low]
        return lambda box: other[high] + GAP <= box[low]
    if relation == "near":
        return lambda box: apart(box, other) <= NEAR
    if relation == "far":
        return lambda box: apart(box, other) >= FAR
    if relation == "outside":
        return lambda box: apart(box, other) >= GAP
    return lambda box: True


def _direction_test(relation: str, other: Box) -> Callable[[Box], bool]:
    def test(box: Box) -> bool:
        across = abs(box[0] + box[2] - other[0] - other[2])
        down = abs(box[1] + box[3] - other[1] - other[3])
        return across >= STEEPNESS * down if relation == "left_of" else down >= STEEPNESS * across

    return test


def add_distractor(
    things: list[Thing],
    thing: Thing,
    rng: SeededRandom,
    place: Place,
    sizes: tuple[float, float] = (0.12, 0.24),
    tries: int = 8,
) -> bool:
    """Add a thing that the prompt does not mention, behind the others.

    Args:
        things: what is in the image; the new thing comes first.
        thing: what to add, without a box.
        rng: random numbers.
        place: where the scene is set.
        sizes: smallest and largest size.
        tries: number of positions that are tried.

    Returns:
        Whether there was room for it.
    """
    w, h = extent(thing, rng.uniform(*sizes))
    levels = place.levels(KINDS[thing.kind], thing.pose)
    low, high = (EDGE, 1 - EDGE - h)
    if levels is not None:
        low, high = max(EDGE, levels[0] - h), min(1 - EDGE, levels[1]) - h
    if w > 1 - 2 * EDGE or low > high:
        return False
    for _ in range(tries):
        x, y = rng.uniform(EDGE, 1 - EDGE - w), rng.uniform(low, high)
        box = (x, y, x + w, y + h)
        if all(apart(box, other.box) >= GAP for other in things):
            things.insert(0, replace(thing, box=_rounded(box)))
            return True
    return False
