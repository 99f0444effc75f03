"""What a kind of thing is, and the registry that every file of drawings adds to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.pen import Pen, Point

HIDING_POSES = frozenset({"lying", "sleeping", "sitting", "swimming"})
"""Poses in which the parts of a thing cannot all be counted, unless it is the usual pose of its kind."""

LOW_POSES = frozenset({"lying", "sleeping", "sitting", "standing", "walking", "running"})
"""Poses that need something to lie, sit or stand on where the place has a ground."""


@dataclass(frozen=True)
class Part:
    """A part that can be counted in the image.

    Attributes:
        word: its noun, singular.
        usual: how many a thing has unless the prompt says otherwise.
        low: the fewest that can be drawn.
        high: the most that can be drawn.
        plural: its plural, where adding an s is not enough.
        body: whether it is a part of a living body (decides the hum category).
        least: smallest size of the thing, in image sides, at which the part can be counted in an image of
            ``lexicon.FEWEST_PIXELS`` pixels a side.
    """

    word: str
    usual: int
    low: int
    high: int
    plural: str = ""
    body: bool = False
    least: float = 0.18

    @property
    def plural_word(self) -> str:
        """The noun for two and more."""
        return self.plural or self.word + "s"


@dataclass(frozen=True)
class Pose:
    """An action that a kind can be shown in: its id, and the words that a prompt may use."""

    id: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Appearance:
    """What a drawing function needs to know: the pose, how many of each part, and the shape."""

    pose: str
    parts: Mapping[str, int]
    shape: str


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its words, its properties, and how it is drawn.

    Attributes:
        id: name in scenes and in the taxonomy.
        draw: draws the thing, facing right, in any coordinates.
        words: singular nouns, the usual one first.
        plurals: their plurals, in the same order.
        group: animals, people, vehicles, furniture, food, plants, things, buildings or shapes.
        colours: the usual colours, from which a colour that the prompt leaves open is mostly drawn.
        poses: the poses it can take, the usual one first; empty when it has no pose.
        parts: the parts that can be counted.
        shapes: the shapes it can take ("a star-shaped cookie").
        inner: region that can contain other things (left, top, right, bottom), as fractions of its box.
        top: surface that can carry a thing (level, left, right), as fractions of its box.
        flies: whether it belongs in the air rather than on the ground.
        swims: whether it belongs in the water where a place has some.
        surface: whether it has an area large enough to show a texture or a material clearly.
        least: smallest size at which its colour can be told, in image sides; 0 for any size that is drawn.
        unclear: ids of colours, textures and materials that cannot be stated of it, because its drawing
            always shows something like them ("a striped ball").
        resembles: ids of shapes that it could be counted as ("a circle" beside a ball).
        where: ids of the places where it is usual; empty means anywhere.
    """

    id: str
    draw: Callable[[Pen, Appearance], None]
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
    swims: bool = False
    surface: bool = True
    least: float = 0.0
    unclear: frozenset[str] = frozenset()
    resembles: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()

    def values(self, dimension: str) -> tuple[str, ...]:
        """Ids of the values of a property that can be stated of this kind, because they can be told from it.

        Args:
            dimension: colour, size, texture, material, shape or pose.
        """
        if dimension == "shape":
            return self.shapes
        if dimension == "pose":
            return tuple(pose.id for pose in self.poses)
        if dimension in ("texture", "material") and not self.surface:
            return ()
        return tuple(value for value in lexicon.THING_DIMENSIONS[dimension] if value not in self.unclear)

    def least_size(self, dimension: str) -> float:
        """Smallest size at which a property, or the number of a part (``part:WORD``), can be seen."""
        if dimension.startswith("part:"):
            part = self.part(dimension[5:])
            return part.least if part is not None else 0.0
        return self.least if dimension == "colour" else lexicon.LEAST_SIZES.get(dimension, 0.0)

    def shows_parts(self, pose: str) -> bool:
        """Whether the parts can be counted in a pose."""
        return not self.poses or pose == self.poses[0].id or pose not in HIDING_POSES

    def part(self, word: str) -> Part | None:
        """The part with this singular noun, if the kind has it."""
        return next((part for part in self.parts if part.word == word), None)


def confusable(first: Kind, second: Kind) -> bool:
    """Whether a thing of one kind could be counted as one of the other: a ball as a circle."""
    return second.id in first.resembles | set(first.shapes) or first.id in second.resembles | set(
        second.shapes
    )


_REGISTRY: dict[str, Kind] = {}
KINDS: Mapping[str, Kind] = MappingProxyType(_REGISTRY)
"""Every kind by id, in the order of declaration; random choices depend on this order."""


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
    swims: bool = False,
    surface: bool = True,
    least: float = 0.0,
    unclear: str = "",
    resembles: str = "",
    where: str = "",
) -> Callable[[Callable[[Pen, Appearance], None]], Callable[[Pen, Appearance], None]]:
    """Declare a kind above its drawing function; the other arguments are those of :class:`Kind`.

    Args:
        words: "dog/dogs puppy/puppies": singular/plural, the usual one first; ``_`` stands for a space.
        group: the group it belongs to.
        colours: usual colours, separated by spaces.
        poses: pose id to its words, separated by "/".
        parts: parts that can be counted.
        shapes: shapes it can take.
        inner: region that can contain things.
        top: surface that carries things.
        flies: whether it belongs in the air.
        swims: whether it belongs in the water.
        surface: whether a texture or a material shows clearly on it.
        least: smallest size at which its colour can be told.
        unclear: ids of values that cannot be stated of it, separated by spaces.
        resembles: ids of shapes that it could be counted as, separated by spaces.
        where: ids of the places where it is usual, separated by spaces.
    """
    pairs = [pair.replace("_", " ").split("/") for pair in words.split()]

    def register(draw: Callable[[Pen, Appearance], None]) -> Callable[[Pen, Appearance], None]:
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
            swims=swims,
            surface=surface,
            least=least,
            unclear=frozenset(unclear.split()),
            resembles=frozenset(resembles.split()),
            where=tuple(where.split()),
        )
        if new.id in _REGISTRY:
            raise ValueError(f"kind {new.id!r} is declared twice")
        _REGISTRY[new.id] = new
        return draw

    return register


@dataclass(frozen=True)
class Sprite:
    """The vector drawing of a kind in one appearance, in its own units.

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
def draw_sprite(kind_id: str, pose: str, parts: tuple[tuple[str, int], ...], shape: str) -> Sprite:
    """Draw a kind in one appearance; results are cached because appearances repeat."""
    declared = KINDS[kind_id]
    counts = {part.word: part.usual for part in declared.parts} | dict(parts)
    pen = Pen()
    declared.draw(pen, Appearance(pose, MappingProxyType(counts), shape))
    return Sprite(
        "".join(pen.svg),
        pen.x0,
        pen.y0,
        pen.x1 - pen.x0,
        pen.y1 - pen.y0,
        tuple(tuple(polygon) for polygon in pen.polygons),
        tuple((tuple(points), width) for points, width in pen.strokes),
    )
