"""The kinds of things that can be drawn: one declaration each, in the file of its group."""

from croc_syn.world.declarations.kinds import (
    animals,
    food,
    furniture,
    people,
    shapes,
    things,
    vehicles,
    wildlife,
)
from croc_syn.world.declarations.kinds.base import KINDS, Figure, Kind, Look, Part, Pose, figure

__all__ = ["KINDS", "Figure", "Kind", "Look", "Part", "Pose", "figure"]
_GROUPS = (animals, food, furniture, people, shapes, things, vehicles, wildlife)
