"""Training images that show something else than their prompt, as those of image generators do.

The answers stay as they are, as they would with a generator whose images nobody looked at. The exact world
edits the scene of an image, so that the kind of the error is known.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from croc.checks.schema import stable_hash
from crocscore.probes import WORLD

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("count", "binding", "missing", "attribute")
"""Wrong number of things, two kinds exchanged, a thing missing, a wrong property."""


def image_of(rows: pa.Table) -> list[tuple[Any, ...]]:
    """For each question, which image it is about."""
    names = ("check_id", "image_side", "image_index")
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def with_wrong_images(rows: pa.Table, kind: str, share: float, seed: int) -> pa.Table:
    """Questions of which a share of the images has an error of one kind; ``valid`` is False for those.

    Args:
        rows: questions about images of the exact world.
        kind: one of :data:`KINDS`.
        share: of the images. A prompt may allow no error of the kind: "a dog" has no binding. Its image stays
            as it is, so that the share holds for the images whose prompt allows it.
        seed: of the random choice.

    Raises:
        InputError: an image is not of the exact world.
    """
    import pyarrow as pa

    draw = pkgutil.resolve_name(f"{WORLD}.contrasts.image_errors:draw_with_error")
    images = image_of(rows)
    ordered = sorted(set(images), key=lambda image: stable_hash("wrong image", seed, *image))
    chosen = set(ordered[: round(share * len(ordered))])
    prompts, labels, pixels = (rows[name].to_pylist() for name in ("prompt", "label", "image"))
    drawn: dict[tuple[Any, ...], bytes | None] = {}
    for image, prompt, label, stored in zip(images, prompts, labels, pixels, strict=True):
        if label and image in chosen:  # the prompt that it was made for
            drawn[image] = draw(stored["bytes"], prompt, kind, seed)
    wrong = {image: png for image, png in drawn.items() if png is not None}
    columns = {
        "image": [
            {"bytes": wrong.get(image, stored["bytes"]), "path": None}
            for image, stored in zip(images, pixels, strict=True)
        ],
        "valid": [
            False if image in wrong else valid
            for image, valid in zip(images, rows["valid"].to_pylist(), strict=True)
        ],
    }
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        column = rows.schema.field(place)
        rows = rows.set_column(place, column, pa.array(values, column.type))
    return rows
