"""What a kind of thing is, and the registry that every drawing file adds to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from croc_syn.world.declarations.pen import Pen, Point


@dataclass(frozen=True)
class Part:
    """A part that can be counted in the picture.

    Attributes:
        word: its noun, singular; ``plural`` where an s is not enough.
        usual: how many a thing has when nothing is said.
        low: the fewest that can be drawn.
        high: the most that can be drawn.
        body: it is a part of a living body (for the hum category).
    """

    word: str
    usual: int
    low: int
    high: int
    plural: str = ""
    body: bool = False

    @property
    def plural_word(self) -> str:
        """The noun for two and more."""
        return self.plural or self.word + "s"


@dataclass(frozen=True)
class Pose:
    """An action that a kind can be shown in: its id, and what a prompt may say."""

    id: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """What a drawing function is asked for: the pose, how many of each part, and the shape."""

    pose: str
    parts: Mapping[str, int]
    shape: str


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its words, what can be said of it, and how it is drawn.

    Attributes:
        id: name in scenes and the taxonomy.
        draw: draws the thing, facing right, in any coordinates.
        words: singular nouns, the usual first.
        plurals: their plurals, in the same order.
        group: animals, people, vehicles, furniture, food, plants, things, buildings, shapes.
        colours: the usual colours, from which an unstated one is mostly drawn.
        poses: what it can do; the first is the usual one; empty when it has only one look.
        parts: what can be counted on it.
        shapes: forms it can take ("a star-shaped cookie").
        inner: as fractions of its box, the region that can hold other things.
        top: as a fraction of its height, the level of the surface that can carry a thing.
        flies: it belongs in the air rather than on the ground.
        surface: whether it has a plane large enough that a texture or a material is plain to see.
        where: ids of settings where one expects it; empty means anywhere.
    """

    id: str
    draw: Callable[[Pen, Look], None]
    words: tuple[str, ...]
    plurals: tuple[str, ...]
    group: str
    colours: tuple[str, ...]
    poses: tuple[Pose, ...] = ()
    parts: tuple[Part, ...] = ()
    shapes: tuple[str, ...] = ()
    inner: tuple[float, float, float, float] | None = None
    top: tuple[float, float, float] | None = None
    flies: bool = False
    surface: bool = True
    where: tuple[str, ...] = ()

    def part(self, word: str) -> Part | None:
        """The part with this singular noun, if the kind has it."""
        return next((part for part in self.parts if part.word == word), None)


_REGISTRY: dict[str, Kind] = {}
KINDS: Mapping[str, Kind] = MappingProxyType(_REGISTRY)
"""Every kind, by id."""


def kind(
    words: str,
    group: str,
    colours: str,
    *,
    poses: Mapping[str, str] | None = None,
    parts: tuple[Part, ...] = (),
    shapes: tuple[str, ...] = (),
    inner: tuple[float, float, float, float] | None = None,
    top: tuple[float, float, float] | None = None,
    flies: bool = False,
    surface: bool = True,
    where: str = "",
) -> Callable[[Callable[[Pen, Look], None]], Callable[[Pen, Look], None]]:
    """Declare a kind above its drawing function.

    Args:
        words: "dog/dogs puppy/puppies": singular/plural, the usual first; ``_`` stands for a blank.
        group: the group it belongs to.
        colours: usual colours, separated by blanks.
        poses: pose id to its words, separated by "/".
        parts: parts that can be counted.
        shapes: forms it can take.
        inner: region that can hold things (left, top, right, bottom), fractions of the box.
        top: (level, left, right) of a surface that carries things, fractions of the box.
        flies: it belongs in the air.
        surface: whether a texture or a material is plain to see on it.
        where: settings where one expects it, separated by blanks.
    """
    pairs = [pair.replace("_", " ").split("/") for pair in words.split()]

    def register(draw: Callable[[Pen, Look], None]) -> Callable[[Pen, Look], None]:
        new = Kind(
            id=pairs[0][0].replace(" ", "_"),
            draw=draw,
            words=tuple(pair[0] for pair in pairs),
            plurals=tuple(pair[1] for pair in pairs),
            group=group,
            colours=tuple(colours.split()),
            poses=tuple(Pose(key, tuple(text.split("/"))) for key, text in (poses or {}).items()),
            parts=parts,
            shapes=shapes,
            inner=inner,
            top=top,
            flies=flies,
            surface=surface,
            where=tuple(where.split()),
        )
        if new.id in _REGISTRY:
            raise ValueError(f"kind {new.id!r} is declared twice")
        _REGISTRY[new.id] = new
        return draw

    return register


@dataclass(frozen=True)
class Figure:
    """A drawn look of a kind, in its own units.

    Attributes:
        svg: markup with the roles of fills as format fields.
        x0, y0, width, height: tight box of what is drawn.
        polygons, strokes: the silhouette, for masks.
    """

    svg: str
    x0: float
    y0: float
    width: float
    height: float
    polygons: tuple[tuple[Point, ...], ...] = field(repr=False)
    strokes: tuple[tuple[tuple[Point, ...], float], ...] = field(repr=False)


@lru_cache(maxsize=4096)
def figure(kind_id: str, pose: str, parts: tuple[tuple[str, int], ...], shape: str) -> Figure:
    """The drawing of one look; looks repeat, so they are kept."""
    declared = KINDS[kind_id]
    counts = {part.word: part.usual for part in declared.parts} | dict(parts)
    pen = Pen()
    declared.draw(pen, Look(pose, MappingProxyType(counts), shape))
    return Figure(
        "".join(pen.svg),
        pen.x0,
        pen.y0,
        pen.x1 - pen.x0,
        pen.y1 - pen.y0,
        tuple(tuple(polygon) for polygon in pen.polygons),
        tuple((tuple(points), width) for points, width in pen.strokes),
    )
