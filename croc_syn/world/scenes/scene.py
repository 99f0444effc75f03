"""A scene: the contents of one image, as data that is stored inside the PNG."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.declarations.styles import STYLES, USUAL

VERSION = "2.0"
"""Version of the exact world, raised by any change of a drawing or a meaning; provenance: ``exact@2.0``."""

SCENE_KEY = b"croc:scene"
_IMAGE_DESCRIPTION = 0x010E  # a tag of EXIF
_WEBP_METHOD = 6  # the smallest files
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Thing:
    """One thing of a scene.

    Attributes:
        kind: id of its kind.
        box: left, top, right, bottom of what is drawn, in image sides (0 to 1, y downwards).
        colour, texture, material, shape, pose: ids of values; shape and pose are "" where the kind has none.
        parts: how many of each part of its kind.
        flip: whether it is drawn facing left.
        tint: selects shades that have no meaning (0 to 255).
    """

    kind: str
    box: tuple[float, float, float, float]
    colour: str
    texture: str = "plain"
    material: str = "paint"
    shape: str = ""
    pose: str = ""
    parts: tuple[tuple[str, int], ...] = ()
    flip: bool = False
    tint: int = 0

    @property
    def size(self) -> float:
        """Geometric mean of the width and height of its box, in image sides."""
        left, top, right, bottom = self.box
        area = (right - left) * (bottom - top)
        return float(area**0.5)


@dataclass(frozen=True)
class Scene:
    """What one image shows.

    Attributes:
        things: from the back to the front.
        setting, lighting, weather: ids of the place and of its lighting and weather; the latter two are ""
            where they cannot be seen.
        shows: ids of kinds that the background itself depicts, so that their number is not certain.
        variant: selects details of the background that have no meaning (0 to 7).
        version: version of the exact world that made it.
        style: id of the drawing style; nothing that is true depends on it.
    """

    things: tuple[Thing, ...]
    setting: str = "plain"
    lighting: str = ""
    weather: str = ""
    shows: tuple[str, ...] = ()
    variant: int = 0
    version: str = VERSION
    style: str = USUAL

    def to_json(self) -> str:
        """The scene as compact, ASCII-only JSON."""
        things = [
            [
                thing.kind,
                list(thing.box),
                thing.colour,
                thing.texture,
                thing.material,
                thing.shape,
                thing.pose,
                dict(thing.parts),
                int(thing.flip),
                thing.tint,
            ]
            for thing in self.things
        ]
        # Scenes of the usual style are written as before there were others.
        style = {} if self.style == USUAL else {"style": self.style}
        return _encode(
            {
                "version": self.version,
                "setting": self.setting,
                "lighting": self.lighting,
                "weather": self.weather,
                "shows": list(self.shows),
                "variant": self.variant,
                "things": things,
                **style,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Scene:
        """Read the output of ``to_json``.

        Raises:
            InputError: the text is not a scene of this world.
        """
        try:
            data = json.loads(text)
            if data["setting"] not in PLACES:
                raise ValueError(f"unknown setting {data['setting']!r}")
            for name, table in lexicon.IMAGE_DIMENSIONS.items():
                if data[name] and data[name] not in table:
                    raise ValueError(f"unknown {name} {data[name]!r}")
            if data["version"] != VERSION:
                raise InputError(
                    f"this scene is of version {data['version']!r} of the exact world; expected {VERSION}"
                )
            style = str(data.get("style", USUAL))
            if style not in STYLES:
                raise ValueError(f"unknown style {style!r}")
            return cls(
                things=tuple(_thing(row) for row in data["things"]),
                setting=str(data["setting"]),
                lighting=str(data["lighting"]),
                weather=str(data["weather"]),
                shows=tuple(str(name) for name in data["shows"]),
                variant=int(data["variant"]),
                version=str(data["version"]),
                style=style,
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise InputError(f"this is not a scene of the exact world: {error!r}") from error


def _thing(row: Any) -> Thing:
    kind, box, colour, texture, material, shape, pose, parts, flip, tint = row
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    left, top, right, bottom = (float(value) for value in box)
    if (
        not all(math.isfinite(value) for value in (left, top, right, bottom))
        or left >= right
        or top >= bottom
    ):
        raise ValueError(f"impossible box {box!r}")
    values = (("colour", colour), ("texture", texture), ("material", material))
    for name, value in values:
        if value not in lexicon.THING_DIMENSIONS[name]:
            raise ValueError(f"unknown {name} {value!r}")
    if pose not in ({known.id for known in KINDS[kind].poses} or {""}):
        raise ValueError(f"unknown pose {pose!r}")
    if shape not in (KINDS[kind].shapes or ("",)):
        raise ValueError(f"unknown shape {shape!r}")
    if dict.fromkeys(parts) != dict.fromkeys(part.word for part in KINDS[kind].parts):
        raise ValueError(f"the parts are not those of a {kind}")
    counts = tuple((str(word), int(count)) for word, count in parts.items())
    for part, (_, count) in zip(KINDS[kind].parts, counts, strict=True):
        if not part.low <= count <= part.high:
            raise ValueError(f"impossible number of {part.plural_word}")
    return Thing(
        kind,
        (left, top, right, bottom),
        colour,
        texture,
        material,
        shape,
        pose,
        counts,
        bool(flip),
        int(tint),
    )


def embed(png: bytes, scene: Scene) -> bytes:
    """Add the scene to a PNG, as a text chunk after its header; no pixel is decoded."""
    body = SCENE_KEY + b"\0" + scene.to_json().encode("ascii")
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    return png[:33] + chunk + png[33:]


def webp_with_scene(png: bytes, scene: Scene, quality: int) -> bytes:
    """Encode a PNG as WebP, with the scene as the description of the image in its EXIF data.

    Args:
        png: the picture; it has no transparent pixel.
        scene: what it shows.
        quality: 1…100; 100 is lossless.
    """
    from PIL import Image

    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = f"{SCENE_KEY.decode()} {scene.to_json()}"
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(
            buffer, "WEBP", quality=quality, method=_WEBP_METHOD, lossless=quality == 100, exif=exif
        )
    return buffer.getvalue()


def read_scene(png: bytes) -> Scene:
    """Read the scene from an image file of the exact world.

    A PNG has it in the text chunk ``croc:scene``, a WebP in the description of its EXIF data.

    Raises:
        InputError: the bytes are not of these formats, are truncated, or contain no scene.
    """
    if png[:4] == b"RIFF" and png[8:12] == b"WEBP":
        return _scene_of_webp(png)
    if png[:8] != _PNG_START:
        raise InputError("no scene can be read: these bytes are not a PNG image")
    at = 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if name == b"tEXt" and body.startswith(SCENE_KEY + b"\0"):
            if len(body) < length:
                break
            return Scene.from_json(body[len(SCENE_KEY) + 1 :])
        at += 12 + length
    raise InputError(
        "this PNG has no text chunk croc:scene: not drawn by the exact world, saved again, or truncated"
    )


def _scene_of_webp(data: bytes) -> Scene:
    at = 12
    while at + 8 <= len(data):
        name, (length,) = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])
        body = data[at + 8 : at + 8 + length]
        if name == b"EXIF" and len(body) == length and (start := body.find(SCENE_KEY + b" ")) >= 0:
            return Scene.from_json(body[start + len(SCENE_KEY) + 1 :].partition(b"\0")[0])
        at += 8 + length + length % 2
    raise InputError("this WebP has no scene: not drawn by the exact world, saved again, or truncated")
