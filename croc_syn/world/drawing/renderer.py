"""The renderer: scene → SVG → PNG. Only declared values and numbers enter the markup, no word of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from croc.errors import InputError
from croc_syn.world.declarations.kinds import draw_sprite
from croc_syn.world.declarations.lexicon import COLOURS
from croc_syn.world.declarations.places import draw_background
from croc_syn.world.declarations.styles import USUAL
from croc_syn.world.drawing.styling import Edge, Width, grain, has_grain, styled_background
from croc_syn.world.language.parser import parse
from croc_syn.world.scenes.sampler import sample
from croc_syn.world.scenes.scene import Scene, Thing, embed

SKINS = ("#f6d3b3", "#e8b88f", "#c68a5c", "#8f5d3b", "#5f3d28")
SECONDS = ("#f4c430", "#4aa3df", "#e4572e", "#7fb069", "#f2f2f2", "#b57edc")

_TILE = 24
"""Side of a pattern's tile, in the units of a drawing."""
LEAST_TILE = 11.0
"""Smallest side of a pattern's tile, in hundredths of the image; small things have a coarser pattern."""


def _mix(colour: str, other: str, share: float) -> str:
    a = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    b = [int(other[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(p + (q - p) * share):02x}" for p, q in zip(a, b, strict=True))


@dataclass(frozen=True)
class Drawing:
    """An image and its scene."""

    png: bytes
    scene: Scene


def _shade_of(colour: str) -> float:
    """How much darker the marks on a colour are; a shaded orange must not be brown."""
    return 0.3 if colour in ("orange", "yellow") else 0.45


@lru_cache(maxsize=4096)
def _shades(colour: str, tint: int) -> dict[str, str]:
    """Fills for the roles of a sprite in one colour; the tint changes its brightness a little."""
    base = COLOURS[colour].data
    flat = _mix(base, "#ffffff" if tint & 1 else "#000000", (tint >> 1 & 7) / 7 * 0.07)
    if colour in ("white", "black"):
        flat = base
    ink = (
        "#7b7b86"
        if colour == "black"
        else _mix(flat, "#1c1c28", {"white": 0.55, "yellow": 0.82, "orange": 0.78}.get(colour, 0.68))
    )
    return {
        "flat": flat,
        "body": flat,
        "dark": "#42424c"
        if colour == "black"
        else _mix(flat, "#000000", 0.1 if colour == "white" else 0.45 * _shade_of(colour)),
        "light": {"black": "#50505c", "white": "#eaedf2"}.get(colour) or _mix(flat, "#ffffff", 0.3),
        "ink": ink,
        "line": "#2b2b2b",
        "skin": SKINS[(tint >> 4) % len(SKINS)],
        "second": SECONDS[(tint >> 3) % len(SECONDS)],
    }


@lru_cache(maxsize=2048)
def _surface(colour: str, flat: str, ink: str, texture: str, material: str) -> str:
    """A pattern that fills a sprite with a texture or a material; ``{id}`` is put in later."""
    mark = _mix(flat, "#ffffff", 0.78)
    if colour in ("white", "yellow", "grey", "pink"):
        mark = "#3a3a42" if colour == "yellow" else _mix(flat, "#22222c", 0.62)
    base = f'<rect width="24" height="24" fill="{flat}"/>'
    bar = f'width="24" height="5" fill="{mark}"/>'
    tile = f'width="12" height="12" fill="{mark}"/>'
    marks = {
        "plain": "",
        "striped": f'<rect {bar}<rect y="12" {bar}',
        "dotted": "".join(
            f'<circle cx="{x}" cy="{y}" r="3.3" fill="{mark}"/>'
            for x, y in ((6, 6), (18, 6), (0, 18), (12, 18), (24, 18))
        ),
        "checked": f'<rect {tile}<rect x="12" y="12" {tile}',
        "zigzag": f'<g stroke="{mark}" stroke-width="2.8" fill="none">'
        + "".join(f'<path d="M-4 {y + 5}L4 {y}L12 {y + 5}L20 {y}L28 {y + 5}"/>' for y in (3, 15))
        + "</g>",
    }[texture]
    grain = _grain(material, colour, flat)
    tile = (
        '<pattern id="{id}" width="24" height="24" patternUnits="userSpaceOnUse"'
        ' patternTransform="scale({scale})">'
    )
    return f"{tile}{base}{marks}{grain}</pattern>"


def _grain(material: str, colour: str, flat: str) -> str:
    """The marks of a material over a colour, in a tile of 24 × 24."""
    soft = "#6d6d78" if colour == "black" else _mix(flat, "#2a1505", _shade_of(colour))
    pale = _mix(flat, "#ffffff", 0.45)
    if material == "wood":
        lines = ("M0 0H24", "M0 12H24")
        grain = (
            "M0 5C6 2 12 8 24 5",
            "M0 8.500C8 6 15 10.500 24 8.500",
            "M0 17C9 14.500 14 20 24 17",
            "M0 20.500C8 22 16 18 24 20.500",
        )
        return (
            f'<g fill="none" stroke="{soft}"><g stroke-width="2.4">'
            + "".join(f'<path d="{d}"/>' for d in lines)
            + '</g><g stroke-width="1">'
            + "".join(f'<path d="{d}"/>' for d in grain)
            + '<ellipse cx="8" cy="6" rx="3" ry="1.500"/><ellipse cx="17" cy="18.500" rx="2.400" ry="1.200"/>'
            + "</g></g>"
        )
    if material == "stone":
        stones = (
            "1,1 10,0.5 12,6 9,11 1,10",
            "14,1 22,1 23,8 15,10 13.500,5",
            "2,13 8,12.500 9,18 6,23 1,22",
            "11,13 20,12 23,17 18,22.500 10,22",
        )
        return f'<rect width="24" height="24" fill="{soft}"/>' + "".join(
            f'<polygon points="{points}" fill="{flat if i % 2 else _mix(flat, pale, 0.5)}" stroke="{flat}"/>'
            for i, points in enumerate(stones)
        )
    if material == "wool":
        curls = "".join(
            f'<path d="M{x} {y}a2.600 2.600 0 1 1 3 2.600a4 4 0 0 1 -4.500 -3"/>'
            for y, shift in ((3, 0), (9, 3), (15, 0), (21, 3))
            for x in range(shift, 25, 6)
        )
        yarn = (
            _mix(flat, "#ffffff", 0.6) if colour not in ("white", "yellow", "pink") else _mix(flat, soft, 0.9)
        )
        return f'<g fill="none" stroke="{yarn}" stroke-width="1.700">{curls}</g>'
    return ""


def _sheen(material: str, colour: str, flat: str, width: float, height: float) -> str:
    """A gradient of metal or glass across a whole sprite."""
    dark = (0.9 if colour == "white" else 0.5) * _shade_of(colour)
    pale, deep = _mix(flat, "#ffffff", 0.55), _mix(flat, "#1d2530", dark)
    if colour in ("orange", "yellow"):
        # Darker they would be brown.
        deep = _mix(flat, "#ff5a00" if colour == "orange" else "#e0a000", 0.6)
    stops: tuple[tuple[float, str], ...]
    if material == "metal":
        stops = (
            (0, deep),
            (0.2, pale),
            (0.36, flat),
            (0.52, deep),
            (0.68, pale),
            (0.82, flat),
            (1, deep),
        )
    else:
        clear = _mix(flat, "#ffffff", 0.1)
        stops = tuple(
            (at, "#ffffff" if white else clear)
            for at, white in (
                (0, 0),
                (0.24, 0),
                (0.26, 1),
                (0.36, 1),
                (0.38, 0),
                (0.44, 0),
                (0.46, 1),
                (0.5, 1),
                (0.52, 0),
                (1, 0),
            )
        )
    marks = "".join(f'<stop offset="{at}" stop-color="{colour}"/>' for at, colour in stops)
    return (
        '<linearGradient id="{id}" gradientUnits="userSpaceOnUse" x1="0" y1="0"'
        f' x2="{width:.0f}" y2="{height:.0f}">{marks}</linearGradient>'
    )


def _thing_svg(thing: Thing, number: int, style: str) -> str:
    sprite = draw_sprite(thing.kind, thing.pose, thing.parts, thing.shape)
    fills = dict(_shades(thing.colour, thing.tint))
    seam = {"white": "#a3afc0", "black": "#62626e"}.get(thing.colour) or _mix(fills["flat"], "#ffffff", 0.35)
    if style in ("flat", "blocks"):
        fills["ink"] = _mix(fills["flat"], "#1c1c28", 0.45) if thing.colour != "black" else fills["ink"]
    left, top, right, bottom = thing.box
    sx, sy = 100 * (right - left) / sprite.width, 100 * (bottom - top) / sprite.height
    definition = ""
    plain = thing.texture == "plain" and thing.material == "paint"
    if not plain or has_grain(style):
        name = f"s{number}"
        if plain:
            surface = grain(fills["flat"])
        elif thing.material in ("metal", "glass") and thing.texture == "plain":
            surface = _sheen(thing.material, thing.colour, fills["flat"], sprite.width, sprite.height)
        else:
            surface = _surface(thing.colour, fills["flat"], fills["ink"], thing.texture, thing.material)
        # On a small thing the pattern is coarser, so that it is still seen.
        coarser = max(1.0, LEAST_TILE / (_TILE * min(sx, sy)))
        definition = surface.replace("{id}", name).replace("{scale}", f"{coarser:.3f}")
        fills["body"] = f"url(#{name})"
    start = right + sprite.x0 * sx / 100 if thing.flip else left - sprite.x0 * sx / 100
    across = -sx if thing.flip else sx
    move = f"translate({100 * start:.3f} {100 * top - sprite.y0 * sy:.3f})scale({across:.4f} {sy:.4f})"
    clear = ' fill-opacity=".85"' if thing.material == "glass" else ""
    markup = sprite.svg.format_map({**fills, "edge": Edge(style, fills, seam), "wide": Width(style)})
    return f'{definition}<g transform="{move}"{clear}>{markup}</g>'


def to_svg(scene: Scene, size: int = 256) -> str:
    """A scene as SVG of ``size`` × ``size`` pixels."""
    celestial = "circle" in scene.shows
    background = draw_background(scene.setting, scene.lighting, scene.weather, scene.variant, celestial)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 100 100">',
        styled_background(scene.style, background, scene.lighting, scene.variant),
    ]
    parts += [_thing_svg(thing, number, scene.style) for number, thing in enumerate(scene.things)]
    parts.append("</svg>")
    return "".join(parts)


def rasterise(svg: str) -> bytes:
    """An SVG as PNG bytes; no font of the system is used."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))


def render(scene: Scene, size: int = 256) -> bytes:
    """A scene as PNG bytes that carry the scene in their text chunk ``croc:scene``.

    Raises:
        InputError: the size is not between 16 and 4096 pixels.
    """
    if not 16 <= size <= 4096:
        raise InputError(f"an image side of {size} pixels is not possible; expected 16 to 4096")
    return embed(rasterise(to_svg(scene, size)), scene)


def draw(prompt: str, seed: int, *, size: int = 256, attempt: int = 0, style: str = USUAL) -> Drawing:
    """Draw an image of a prompt; as for an image model, it depends on the prompt and the seed alone.

    Args:
        prompt: controlled English.
        seed: of everything that the prompt leaves open.
        size: width and height in pixels.
        attempt: number of the redraw of the same image.
        style: how it is drawn, one of ``STYLES``; it never changes what is true.

    Raises:
        InputError: there is no such style or size.
        PromptError: the prompt is not controlled English, or does not fit into one image.
    """
    scene = sample(parse(prompt), seed, attempt=attempt, style=style)
    return Drawing(render(scene, size), scene)
