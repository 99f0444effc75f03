"""Further phrases of the controlled English, by what they mean.

People use them; the parser reads them like the declared words. Prompts of CROCsyn are written with the
declared words alone, so that they stay as they are; :mod:`croc_syn.world.language.wording` writes these too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import Kind

Synonyms = Mapping[str, tuple[str, ...]]


def _table(text: str) -> Synonyms:
    """Lines of "id: phrase | phrase"."""
    lines = (line.split(":", 1) for line in text.strip().splitlines())
    return MappingProxyType({name.strip(): tuple(p.strip() for p in rest.split("|")) for name, rest in lines})


NOUNS = _table("""
sofa: settee/settees
rabbit: bunny/bunnies
person: human/humans
car: automobile/automobiles
lorry: van/vans
boat: sailing boat/sailing boats
horse: pony/ponies
house: home/homes
box: carton/cartons
umbrella: parasol/parasols
""")
"""By kind, "singular/plural"."""


def nouns(kind: Kind) -> list[tuple[str, str]]:
    """Every noun for a kind, declared or not: its singular and its plural."""
    pairs = [*zip(kind.words, kind.plurals, strict=True)]
    for pair in NOUNS.get(kind.id, ()):
        one, _, many = pair.partition("/")
        pairs.append((one, many))
    return pairs


BEFORE = _table("""
small: miniature
large: giant | enormous | gigantic
striped: stripe-patterned
dotted: polka dotted | dotty
circle: circle-shaped | round-shaped
square: square-shaped
triangle: triangle-shaped | triangle shaped
star: star shaped
heart: heart shaped
hexagon: hexagon-shaped
diamond: diamond shaped
crescent: crescent shaped
cross: cross shaped
oval: oval-shaped | egg shaped
""")
"""By value, adjectives before the noun."""

AFTER: Synonyms = MappingProxyType(
    {
        **_table("""
plain: with no pattern
striped: with a striped pattern
dotted: with polka dots | with a dotted pattern
checked: with a checked pattern
zigzag: with zigzags
"""),
        **{
            name: (f"made from {word}", f"made out of {word}")
            for name, word in (("wood", "wood"), ("metal", "metal"), ("glass", "glass"), ("stone", "stone"))
        },
        "wool": ("made from wool", "made out of wool"),
        **{
            name: (f"shaped like {value.after[0].removeprefix('in the shape of ')}",)
            for name, value in lexicon.SHAPES.items()
        },
    }
)
"""By value, phrases after the noun."""

LAYOUTS = _table("""
row: arranged in a row | in one row
column: arranged in a column | stacked in a column
ring: arranged in a circle | forming a circle
diagonal: arranged in a diagonal line
""")

WHOLE_IMAGE = _table("""
day: in the day | at daytime
night: in the night | during the night | at nighttime
sunset: in the evening
rain: in rain | on a rainy day | while it is raining
snow: while it is snowing | while snow is falling
fog: in fog | on a foggy day | in mist
""")

RELATIONS = _table("""
left_of: on the left side of | to the left side of
right_of: on the right side of | to the right side of
below: under | lower than
above: higher than
inside: enclosed by
around: surrounding | containing
behind: partially hidden by
in_front_of: partly hiding
larger: larger in size than | bigger in size than
smaller: smaller in size than
on: on the top of
near: near | near to | by | adjacent to | alongside
far: a long way from | far off from
""")

OPENERS = (
    *("a photo of", "a photo that shows", "a photograph of", "a picture containing", "an image containing"),
    *("picture of", "image of", "photo of", "drawing of", "a drawing that shows", "a drawing with"),
    *(
        "the picture contains",
        "the image contains",
        "the scene shows",
        "this picture shows",
        "this image shows",
    ),
    *(
        "it shows",
        "this is a picture of",
        "this is an image of",
        "this is",
        "i see",
        "i can see",
        "we can see",
    ),
    *("a scene that shows", "a scene of", "in the picture there is", "in the picture there are"),
    *(
        "in this picture there is",
        "in this picture there are",
        "in the image there is",
        "in the image there are",
    ),
)
"""What comes before the first thing."""

ONLY = ("nothing except", "nothing other than", "solely")

NONE = ("not a", "not an", "no sign of a", "no sign of an", "not one")

WITH = (
    "with",
    "having",
    "wearing",
    "that has",
    "that have",
    "which has",
    "which have",
    "who has",
    "has",
    "have",
)
WITHOUT = (
    *("that does not have a", "that does not have any", "that do not have any", "does not have a"),
    *("does not have any", "do not have any", "which does not have any", "that lacks", "lacking"),
)
"""Before parts of a thing, besides the declared ones."""

AND = ("as well as", "along with", "together with", "plus", "and also", "and then")

THERE = ("you can see", "one can see", "we can see", "i can see", "you see", "sits", "stands")
"""Verbs after a relation or a side that comes first: "to the left of a cat you can see a dog"."""

PRESENT = (
    *("is present", "is visible", "is shown", "is here", "is there", "can be seen"),
    *("are present", "are visible", "are shown", "are here", "are there"),
    *("is in the picture", "is in the image", "is in this picture", "in the picture", "in the image"),
    *("are in the picture", "are in the image", "are in this picture", "in this picture"),
)
ABSENT = (
    *("is absent", "is missing", "is not present", "is not visible", "is not shown", "is not here"),
    *("are absent", "are missing", "are not present", "are not visible", "are not shown", "are not here"),
    *("is not in the picture", "is not in the image", "are not in the picture", "are not in the image"),
    *("cannot be seen", "can not be seen"),
)
"""What makes the things before it present or absent: "a cat is missing"."""

SIDES = _table("""
left: on the left | on the left side | on the left-hand side | at the left
right: on the right | on the right side | on the right-hand side | at the right
top: at the top | on top | in the upper part
bottom: at the bottom | in the lower part
""")
"""Where two things are in an image: "a dog on the left and a cat on the right"."""

GROUP_OF = ("a group of", "a total of", "a set of")
"""Before a number of two or more."""
