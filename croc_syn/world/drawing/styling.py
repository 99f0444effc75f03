"""What a drawing style changes: outlines, plain surfaces, and the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from croc_syn.world.declarations.backdrop import tint

_PENCIL = "#46403c"
_PAPER = "#fdf8ec"
_STROKES = 150
"""Number of crayon strokes over a background."""

_PANELS = (((0.0, 100.0),), ((0.0, 49.0), (51.0, 49.0)), ((0.0, 32.0), (34.0, 32.0), (68.0, 32.0)))
"""Left edges and widths of the grey panels."""


@dataclass(frozen=True)
class Edge:
    """The colour of outlines, as the field ``{edge:COLOUR}`` of a sprite.

    Attributes:
        style: id of the drawing style.
        fills: colours of the roles.
        seam: the colour that separates the surfaces of one thing where there are no outlines.
    """

    style: str
    fills: Mapping[str, str]
    seam: str

    def __format__(self, ink: str) -> str:
        if self.style == "sketch" and ink == "ink":
            return f'{_PENCIL}" stroke-dasharray="11 1.4 6 .8'
        if ink == "line" or self.style not in ("flat", "blocks"):
            return self.fills.get(ink, ink)
        return self.seam if ink == "ink" and self.style == "flat" else "none"


@dataclass(frozen=True)
class Width:
    """The width of outlines, as the field ``{wide:NUMBER}`` of a sprite."""

    style: str

    def __format__(self, width: str) -> str:
        return f"{float(width) * 0.6:.2f}" if self.style == "flat" else width


def has_grain(style: str) -> bool:
    """Whether plain surfaces show the grain of paper."""
    return style == "sketch"


@lru_cache(maxsize=64)
def grain(flat: str) -> str:
    """A pattern of a colour with short scratches in every direction; ``{id}`` and ``{scale}`` come later."""
    rng = np.random.default_rng(5)
    scratches = "".join(
        f"M{x:.1f} {y:.1f}l{3 * np.cos(turn):.1f} {3 * np.sin(turn):.1f}"
        for x, y, turn in rng.uniform((0, 0, 0), (24, 24, 2 * np.pi), (34, 3))
    )
    return (
        '<pattern id="{id}" width="24" height="24" patternUnits="userSpaceOnUse"'
        ' patternTransform="scale({scale})">'
        f'<rect width="24" height="24" fill="{flat}"/>'
        f'<path d="{scratches}" stroke="{_PAPER}" stroke-width=".8" stroke-opacity=".5" fill="none"/>'
        "</pattern>"
    )


@lru_cache(maxsize=32)
def _crayon(lighting: str, variant: int) -> str:
    """Paper that shines through a background, in level strokes, so that they do not look like rain."""
    paper = tint(_PAPER, lighting)
    rng = np.random.default_rng([variant, 11])
    strokes = "".join(
        f"M{x:.1f} {y:.1f}l{length:.1f} {-0.1 * length:.1f}"
        for x, y, length in rng.uniform((-6, 0, 6), (100, 102, 20), (_STROKES, 3))
    )
    return (
        f'<rect width="100" height="100" fill="{paper}" fill-opacity=".22"/>'
        f'<path d="{strokes}" stroke="{paper}" stroke-width="1.1" stroke-opacity=".5" fill="none"/>'
    )


def styled_background(style: str, background: str, lighting: str, variant: int) -> str:
    """The background in a style, with what the things of the style refer to.

    Args:
        style: id of the drawing style.
        background: SVG of the place on a canvas of 100 × 100.
        lighting: id of the time of day, or "".
        variant: selects details, 0 to 7.
    """
    if style == "sketch":
        return background + _crayon(lighting or "day", variant)
    if style == "flat":
        wash = tint("#ffffff", lighting or "day")
        return f'{background}<rect width="100" height="100" fill="{wash}" fill-opacity=".28"/>'
    if style == "blocks":
        panels = _PANELS[variant % len(_PANELS)]
        grey = ("#d3d3d3", "#c9c9cc", "#dadad6")[variant % 3]
        return '<rect width="100" height="100" fill="#ffffff"/>' + "".join(
            f'<rect x="{left:g}" y="0" width="{width:g}" height="100" fill="{grey}"/>'
            for left, width in panels
        )
    return background
