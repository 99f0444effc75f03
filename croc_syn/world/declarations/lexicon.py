"""The words and values of the controlled English; each value is declared once, here.

The parser reads the words, the sampler draws values, the renderer reads ``data``, the oracle the limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Value:
    """One value of a property.

    Attributes:
        id: its name in scenes, tables and the taxonomy.
        words: words that a prompt may use, the usual one first.
        data: what the renderer needs, for example a colour's hex code.
        after: phrases that come after the noun instead of before it ("made of glass").
    """

    id: str
    words: tuple[str, ...]
    data: str = ""
    after: tuple[str, ...] = ()


def _table(*values: Value) -> Mapping[str, Value]:
    return MappingProxyType({value.id: value for value in values})


COLOURS = _table(
    Value("red", ("red", "scarlet", "crimson"), "#dc2f2f"),
    Value("orange", ("orange",), "#f5871f"),
    Value("yellow", ("yellow",), "#f8d22a"),
    Value("green", ("green",), "#3aa648"),
    Value("turquoise", ("turquoise", "teal", "cyan"), "#2cc3bd"),
    Value("blue", ("blue",), "#2f66d8"),
    Value("purple", ("purple", "violet"), "#8140b8"),
    Value("pink", ("pink",), "#f58fbd"),
    Value("brown", ("brown",), "#8a5630"),
    Value("black", ("black",), "#303036"),
    Value("grey", ("grey", "gray"), "#979ca3"),
    Value("white", ("white",), "#fafafa"),
)

SHADES = frozenset({"black", "grey", "white"})
"""Colours without a hue: a pattern mixes them, so that a prompt states them together with it."""

SIZES = _table(
    Value("small", ("small", "little", "tiny")),
    Value("medium", ("medium-sized", "medium", "mid-sized")),
    Value("large", ("large", "big", "huge")),
)

SIZE_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (0.105, 0.16), "medium": (0.20, 0.26), "large": (0.33, 0.48)}
)
"""Size of a thing (geometric mean of its width and height) in image sides; in the gaps it has no name."""

SIZE_LIMITS = (0.105, 0.60)
"""Smallest and largest size that is drawn."""

LARGER_BY = 1.4
"""Smallest ratio of sizes at which one thing is larger than another."""

FEWEST_PIXELS = 112
"""Side of the smallest image in which everything that can be stated can also be seen."""

LEAST_SIZES: Mapping[str, float] = MappingProxyType(
    {"texture": 0.15, "material": 0.15, "shape": 0.12, "pose": 0.13}
)
"""Smallest size of a thing at which a property can be seen; below it, no value is true of the thing.

Each part has its own limit, ``Part.least``."""

TEXTURES = _table(
    Value("plain", ("plain", "unpatterned"), after=("without a pattern",)),
    Value("striped", ("striped", "stripy"), after=("with stripes",)),
    Value("dotted", ("dotted", "spotted", "polka-dotted"), after=("with dots", "with spots")),
    Value("checked", ("checked", "chequered", "checkered"), after=("with checks",)),
    Value("zigzag", ("zigzag-patterned", "zigzag"), after=("with a zigzag pattern",)),
)

MATERIALS = _table(
    Value("paint", ("painted",)),
    Value("wood", ("wooden",), after=("made of wood",)),
    Value("metal", ("metal", "metallic"), after=("made of metal",)),
    Value("glass", ("glass",), after=("made of glass",)),
    Value("stone", ("stone",), after=("made of stone",)),
    Value("wool", ("woollen", "woolly", "woolen"), after=("made of wool",)),
)

UNMARKED = frozenset({"plain", "paint"})
"""The texture and the material of ordinary things, which prompts do not mention."""

SHAPES = _table(
    Value("circle", ("round", "circular"), after=("in the shape of a circle",)),
    Value("square", ("square",), after=("in the shape of a square",)),
    Value("triangle", ("triangular",), after=("in the shape of a triangle",)),
    Value("star", ("star-shaped",), after=("in the shape of a star",)),
    Value("heart", ("heart-shaped",), after=("in the shape of a heart",)),
    Value("hexagon", ("hexagonal",), after=("in the shape of a hexagon",)),
    Value("diamond", ("diamond-shaped",), after=("in the shape of a diamond",)),
    Value("crescent", ("crescent-shaped",), after=("in the shape of a crescent",)),
    Value("cross", ("cross-shaped",), after=("in the shape of a cross",)),
    Value("oval", ("oval", "egg-shaped"), after=("in the shape of an oval",)),
)

LAYOUTS = _table(
    Value("row", (), after=("in a row", "side by side in a row", "in a horizontal line")),
    Value("column", (), after=("in a column", "in a vertical line", "one above the other")),
    Value("ring", (), after=("in a circle", "in a ring")),
    Value("diagonal", (), after=("in a diagonal line", "along a diagonal")),
)

LIGHTINGS = _table(
    Value("day", ("by day", "in daylight", "during the day", "in the daytime")),
    Value("night", ("at night", "by night", "in the dark", "at night-time")),
    Value("sunset", ("at sunset", "at dusk", "in the evening light")),
)

WEATHERS = _table(
    Value("dry", ("in dry weather",)),
    Value("rain", ("in the rain", "in rainy weather", "while it rains")),
    Value("snow", ("in falling snow", "in a snowfall", "while it snows")),
    Value("fog", ("in the fog", "in foggy weather", "in the mist")),
)

NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        word: number
        for number, words in enumerate(
            (
                ("zero", "0"),
                ("one", "1", "a single"),
                ("two", "2", "a pair of", "a couple of"),
                ("three", "3"),
                ("four", "4"),
                ("five", "5"),
                ("six", "6", "half a dozen"),
                ("seven", "7"),
                ("eight", "8"),
                ("nine", "9"),
            )
        )
        for word in words
    }
)
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

THING_DIMENSIONS: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        "colour": COLOURS,
        "size": SIZES,
        "texture": TEXTURES,
        "material": MATERIALS,
        "shape": SHAPES,
    }
)
"""The properties of a thing that adjectives express; pose and parts are declared with each kind."""

IMAGE_DIMENSIONS: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {"lighting": LIGHTINGS, "weather": WEATHERS}
)
"""The properties of a whole image besides its setting (see ``places``)."""


@dataclass(frozen=True)
class Relation:
    """A relation between two things.

    Attributes:
        id: name in scenes, meanings and the taxonomy.
        words: words that a prompt may use between the two, the usual ones first.
        inverse: the relation that means the same with the two things exchanged, if it has a name.
        axis: what it is about: x, y, depth, containment, scale, support or distance.
    """

    id: str
    words: tuple[str, ...]
    inverse: str | None
    axis: str


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        relation.id: relation
        for relation in (
            Relation("left_of", ("to the left of", "left of", "on the left of"), "right_of", "x"),
            Relation("right_of", ("to the right of", "right of", "on the right of"), "left_of", "x"),
            Relation("above", ("above", "over"), "below", "y"),
            Relation("below", ("below", "beneath", "underneath"), "above", "y"),
            Relation("inside", ("inside", "in", "within", "inside of"), "around", "containment"),
            Relation("outside", ("outside", "outside of"), None, "containment"),
            Relation("around", ("around", "enclosing"), "inside", "containment"),
            Relation("in_front_of", ("in front of",), "behind", "depth"),
            Relation("behind", ("behind", "partly hidden by"), "in_front_of", "depth"),
            Relation("larger", ("larger than", "bigger than"), "smaller", "scale"),
            Relation("smaller", ("smaller than",), "larger", "scale"),
            Relation("on", ("on top of", "on"), "under", "support"),
            Relation("under", ("directly under",), "on", "support"),
            Relation("near", ("next to", "close to", "beside"), "near", "distance"),
            Relation("far", ("far from", "far away from"), "far", "distance"),
        )
    }
)

GAP = 0.02
"""Smallest distance at which two boxes are apart, in image sides."""
