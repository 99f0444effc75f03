"""The drawing styles: how scenes look, never what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from croc.errors import InputError


@dataclass(frozen=True)
class Style:
    """One drawing style.

    Attributes:
        id: name in scenes, options and manifests.
        summary: what it looks like.
        group: the only group of kinds that it draws; "" for all.
        places: ids of the only places that it draws; empty for all.
        shows: ids of kinds that its background itself depicts.
        bare: whether things have a texture or a material only where the prompt states one.
    """

    id: str
    summary: str
    group: str = ""
    places: frozenset[str] = frozenset()
    shows: frozenset[str] = frozenset()
    bare: bool = False


USUAL = "outlined"
"""The style of scenes for which none is chosen."""

STYLES: Mapping[str, Style] = MappingProxyType(
    {
        style.id: style
        for style in (
            Style(USUAL, "a cartoon with dark outlines and shaded skies"),
            Style("flat", "flat shapes without outlines, as if cut from paper"),
            Style("sketch", "rough strokes of crayon on paper"),
            Style(
                "blocks",
                "coloured shapes on grey panels, like the images of NLVR",
                group="shapes",
                places=frozenset({"plain"}),
                shows=frozenset({"rectangle"}),
                bare=True,
            ),
        )
    }
)
"""Every style by id."""


def find_style(name: str) -> Style:
    """The style of a name.

    Raises:
        InputError: there is none of this name.
    """
    if name not in STYLES:
        raise InputError(f"no drawing style {name!r}; expected {', '.join(STYLES)}")
    return STYLES[name]
