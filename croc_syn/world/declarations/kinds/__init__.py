"""The kinds of things that can be drawn: one declaration each, in the file of its group."""

# The order of these imports is the order of KINDS, and random choices depend on it.
# isort: off
from croc_syn.world.declarations.kinds import (
    pets,
    food,
    furniture,
    people,
    shapes,
    things,
    vehicles,
    animals,
)
# isort: on

from croc_syn.world.declarations.kinds.registry import (
    KINDS,
    Appearance,
    Kind,
    Part,
    Pose,
    Sprite,
    confusable,
    draw_sprite,
)

__all__ = ["KINDS", "Appearance", "Kind", "Part", "Pose", "Sprite", "confusable", "draw_sprite"]
_GROUPS = (pets, food, furniture, people, shapes, things, vehicles, animals)
