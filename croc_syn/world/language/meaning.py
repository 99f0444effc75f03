"""What a prompt requires of an image, and whether one image can satisfy two prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

from croc_syn.world.declarations.kinds import KINDS

MOST_MATCHINGS = 4000
"""With more ways than this to match the things of two prompts, no proof of exclusion is attempted."""


@dataclass(frozen=True)
class Attribute:
    """A thing has a value (or does not have it, where ``positive`` is False).

    ``dimension`` is colour, size, texture, material, shape, pose, or ``part:WORD`` with the count as value;
    of a whole image it is setting, lighting or weather.
    """

    dimension: str
    value: str
    positive: bool = True


@dataclass(frozen=True)
class Group:
    """``count`` things of one kind with the same attributes; ``layout`` is their arrangement, or ""."""

    kind: str
    count: int
    attributes: tuple[Attribute, ...] = ()
    layout: str = ""


@dataclass(frozen=True)
class Absence:
    """No thing of this kind has all of these attributes; without attributes, there is none of the kind."""

    kind: str
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True)
class Link:
    """Every thing of group ``a`` has ``relation`` to every thing of group ``b`` (indices of groups).

    Of each relation and its inverse only one is used: left_of, above, inside, in_front_of, larger, on, and
    the symmetric outside, near and far.
    """

    relation: str
    a: int
    b: int


@dataclass(frozen=True)
class Meaning:
    """The requirements that a prompt states.

    Attributes:
        groups: the things in the image; for each kind mentioned, the counts add up to the exact number.
        absences: what is not in the image.
        links: relations between groups.
        image: attributes of the whole image: setting, lighting, weather.
        only: whether no other kinds are in the image.
        text: the prompt, which seeds the randomness of its images; not part of the meaning.
    """

    groups: tuple[Group, ...] = ()
    absences: tuple[Absence, ...] = ()
    links: tuple[Link, ...] = ()
    image: tuple[Attribute, ...] = ()
    only: bool = False
    text: str = field(default="", compare=False)

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Ids of all kinds that the prompt mentions."""
        return frozenset(group.kind for group in self.groups) | frozenset(a.kind for a in self.absences)

    def totals(self) -> dict[str, int]:
        """Exact number of each kind whose number the prompt fixes."""
        counts: dict[str, int] = {absence.kind: 0 for absence in self.absences if not absence.attributes}
        for group in self.groups:
            counts[group.kind] = counts.get(group.kind, 0) + group.count
        return counts


def compatible(attributes: tuple[Attribute, ...]) -> bool:
    """Whether one thing can have all of these attributes."""
    values: dict[str, str] = {}
    for attribute in attributes:
        if attribute.positive and values.setdefault(attribute.dimension, attribute.value) != attribute.value:
            return False
    return all(a.positive or values.get(a.dimension) != a.value for a in attributes)


def entails(attributes: tuple[Attribute, ...], claim: tuple[Attribute, ...]) -> bool:
    """Whether a thing with ``attributes`` necessarily has all attributes in ``claim``."""
    values = {a.dimension: a.value for a in attributes if a.positive}
    for claimed in claim:
        if claimed in attributes:
            continue
        value = values.get(claimed.dimension)
        if value is None or (value == claimed.value) != claimed.positive:
            return False
    return True


def contradiction(meaning: Meaning) -> str | None:
    """Why no image can satisfy this; None if no contradiction is found (which needs no drawing)."""
    for absence in meaning.absences:
        for group in meaning.groups:
            if group.kind == absence.kind and entails(group.attributes, absence.attributes):
                return f"it both requires and excludes a {KINDS[group.kind].words[0]}"
    for group in meaning.groups:
        if not compatible(group.attributes):
            return f"it gives one {KINDS[group.kind].words[0]} two properties that exclude each other"
    if not compatible(meaning.image):
        return "it gives the whole image two properties that exclude each other"
    if _impossible(_edges(meaning, {i: frozenset([i]) for i in range(len(meaning.groups))})):
        return "its relations contradict each other"
    return None


Edge = tuple[str, frozenset[int], frozenset[int]]


def _edges(meaning: Meaning, members: Mapping[int, frozenset[int]]) -> list[Edge]:
    return [(link.relation, members[link.a], members[link.b]) for link in meaning.links]


# Pairs of relations that, by the oracle's definitions, two groups can never both have.
_CLASH = {
    frozenset(pair)
    for pair in (
        ("left_of", "above"),
        ("left_of", "inside"),
        ("left_of", "in_front_of"),
        ("left_of", "on"),
        ("above", "inside"),
        ("above", "in_front_of"),
        ("outside", "inside"),
        ("outside", "in_front_of"),
        ("near", "far"),
        ("near", "inside"),
        ("far", "inside"),
        ("far", "in_front_of"),
        ("far", "on"),
        ("inside", "on"),
        ("inside", "in_front_of"),
        ("on", "in_front_of"),
    )
}
# Relations that imply a strict order of the things (further left, higher, nearer, smaller box, …), so that
# there can be no cycle of them.
_ORDERS = ({"left_of"}, {"above", "on"}, {"in_front_of"}, {"larger"}, {"inside"})


def _impossible(edges: list[Edge]) -> bool:
    for i, (relation, a, b) in enumerate(edges):
        for other, c, d in edges[i + 1 :]:
            if {a, b} == {c, d} and frozenset((relation, other)) in _CLASH:
                return True
    for order in _ORDERS:
        arrows: dict[int, set[int]] = {}
        for relation, a, b in edges:
            if relation in order:
                for x in a:
                    arrows.setdefault(x, set()).update(b)
        if _has_cycle(arrows):
            return True
    # A thing inside another has a smaller box, so it cannot be the larger one.
    inside = {(x, y) for relation, a, b in edges if relation == "inside" for x in a for y in b}
    return any(relation == "larger" and (x, y) in inside for relation, a, b in edges for x in a for y in b)


def _has_cycle(arrows: Mapping[int, set[int]]) -> bool:
    done: set[int] = set()
    for root in arrows:
        path: list[tuple[int, Iterator[int]]] = [(root, iter(arrows[root]))]
        on_path = {root}
        while path:
            node, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif following in on_path:
                return True
            elif following not in done and following in arrows:
                path.append((following, iter(arrows[following])))
                on_path.add(following)
    return False


def distributions(sizes: list[int], labels: list[int], limit: int) -> Iterator[tuple[int, ...]]:
    """All distinct sequences with ``sizes[i]`` times ``labels[i]``; at most ``limit`` of them."""
    counts: dict[int, int] = dict(zip(labels, sizes, strict=True))
    total = sum(sizes)
    produced = 0
    chosen: list[int] = []

    def extend() -> Iterator[tuple[int, ...]]:
        nonlocal produced
        if len(chosen) == total:
            produced += 1
            yield tuple(chosen)
            return
        for label in counts:
            if counts[label] and produced < limit:
                counts[label] -= 1
                chosen.append(label)
                yield from extend()
                chosen.pop()
                counts[label] += 1

    return extend()


def exclusive(first: Meaning, second: Meaning) -> bool:
    """Whether it is proved that no image can satisfy both prompts.

    Sound, not complete: True is a proof, False means that no proof was found. A proof is a number, a place or
    another property of the whole image that differs, or a contradiction in every way of matching the things
    of one prompt with those of the other.
    """
    if not compatible(first.image + second.image):
        return True
    totals, others = first.totals(), second.totals()
    for kind in first.mentioned | second.mentioned:
        number, other_number = totals.get(kind), others.get(kind)
        if number is None and first.only:
            number = 0
        if other_number is None and second.only:
            other_number = 0
        if number is not None and other_number is not None and number != other_number:
            return True
    for meaning, other_meaning in ((first, second), (second, first)):
        for absence in other_meaning.absences:
            for group in meaning.groups:
                if (
                    group.kind == absence.kind
                    and group.count
                    and entails(group.attributes, absence.attributes)
                ):
                    return True
    shared = [kind for kind in totals if kind in others and totals[kind]]
    return bool(shared) and _all_matchings_clash(first, second, shared)


def _all_matchings_clash(first: Meaning, second: Meaning, shared: list[str]) -> bool:
    choices: list[list[tuple[str, tuple[int, ...], tuple[int, ...]]]] = []
    matchings = 1
    for kind in shared:
        things = [i for i, group in enumerate(first.groups) if group.kind == kind for _ in range(group.count)]
        other_groups = [i for i, group in enumerate(second.groups) if group.kind == kind]
        sizes = [second.groups[i].count for i in other_groups]
        options = [
            (kind, tuple(things), labels) for labels in distributions(sizes, other_groups, MOST_MATCHINGS)
        ]
        matchings *= len(options)
        if matchings >= MOST_MATCHINGS:
            return False
        choices.append(options)
    return all(_clash(first, second, matching) for matching in product(*choices))


def _clash(
    first: Meaning, second: Meaning, matching: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
) -> bool:
    members: dict[int, set[int]] = {}
    other_members: dict[int, set[int]] = {}
    number = 0
    absences = first.absences + second.absences
    for kind, labels, other_labels in matching:
        for label, other_label in zip(labels, other_labels, strict=True):
            together = first.groups[label].attributes + second.groups[other_label].attributes
            if not compatible(together):
                return True
            if any(a.kind == kind and entails(together, a.attributes) for a in absences):
                return True
            members.setdefault(label, set()).add(number)
            other_members.setdefault(other_label, set()).add(number)
            number += 1
    for meaning, numbers in ((first, members), (second, other_members)):
        for i, group in enumerate(meaning.groups):
            if i not in numbers:
                numbers[i] = set(range(number, number + group.count))
                number += group.count
    for i, group in enumerate(first.groups):
        for j, counterpart in enumerate(second.groups):
            layouts = {group.layout, counterpart.layout} - {""}
            if len(layouts) == 2 and members[i] == other_members[j]:
                return True
    edges = _edges(first, {i: frozenset(m) for i, m in members.items()})
    edges += _edges(second, {j: frozenset(m) for j, m in other_members.items()})
    return _impossible(edges)
