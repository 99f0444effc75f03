"""Prompt pairs → images: the second staged table of a build, one row a check with the images of both sides.

A stage of :mod:`croc.jobs.runner`: each part of prompts becomes one Parquet file with the columns of
:func:`staged_features`. Every image is put to the oracle with both prompts before it is kept, so a label is
never taken on trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.columns import features, pick
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, SIDES, check_id, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest
from croc.storage.parquet import write_parquet
from croc_syn import world
from croc_syn.world.scenes.scene import embed
from croc_syn.writing.prompts import EXACT, SAID

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

TRIES = 40
"""Images drawn for one place before the check is given up."""

LICENSE = "apache-2.0"
PROMPT_ROWS = "prompt_rows"
TRUTH = ("images_valid", "contrast_images_valid")
"""Per image, whether it shows what its own prompt says; false only where generator noise was asked for."""


@dataclass(frozen=True)
class Drawn:
    """Settings that the exact world's images depend on.

    Attributes:
        images: K, images a side.
        size: width and height in pixels.
        seed: seed of the build.
        noise: probability that the contrasted property is drawn wrong: the image shows the other prompt.
    """

    images: int = 5
    size: int = 256
    seed: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.images < 1:
            raise InputError(f"images a side must be at least 1, not {self.images}")
        if not 16 <= self.size <= 4096:
            raise InputError(f"size is 16 to 4096 pixels, not {self.size}")
        if not 0.0 <= self.noise <= 1.0:
            raise InputError(f"noise is a probability between 0 and 1, not {self.noise}")

    @property
    def model(self) -> str:
        """What the rows call the image model; noise makes it another one."""
        return f"{EXACT}+noise={self.noise:g}" if self.noise else EXACT


def staged_features() -> datasets.Features:
    """Columns of the finished rows: those of a check, and the truth about every image."""
    return features((*CHECK_COLUMNS, *pick(EXTRA_COLUMNS, TRUTH)))


def image_parts(prompts: Manifest) -> list[Part]:
    """A part of images for every part of prompts, tied to its content by the checksum."""
    return [
        Part(entry["name"], {"prompts": entry["file"], "sha256": entry["sha256"]}) for entry in prompts.parts
    ]


def write_images(
    payload: Mapping[str, Any], path: Path, *, prompts: Path, settings: Drawn, schema: pa.Schema
) -> dict[str, Any]:
    """Make one part: draw the images of every check in a part of prompts.

    Args:
        payload: what :func:`image_parts` wrote.
        path: the Parquet file.
        prompts: the folder of the prompts' parts.
        settings: how to draw.
        schema: Arrow schema of :func:`staged_features`; handed over, as making it takes a worker a second.

    Returns:
        Counts: ``checks``, ``images``, ``redraws``, ``noisy``, and ``dropped``: how many for which reason.
    """
    import pyarrow as pa

    counts: dict[str, Any] = {"checks": 0, "images": 0, "redraws": 0, "noisy": 0}
    dropped: dict[str, int] = {}
    rows, waiting = [], []
    for prompt_row in prompt_rows(payload, prompts):
        reason = prompt_row["error"]
        if reason is None:
            try:
                row, drawings, redraws = planned_row(prompt_row, settings)
            except CrocError as error:
                reason = str(error)
        if reason is not None:
            dropped[reason] = dropped.get(reason, 0) + 1
            continue
        rows.append({name: row.get(name) for name in schema.names})
        waiting += drawings
        counts["checks"] += 1
        counts["images"] += 2 * settings.images
        counts["redraws"] += redraws
        counts["noisy"] += sum(not valid for name in TRUTH for valid in row[name])
    # All scenes first, all pixels after: taking turns makes scenes three times as slow, in cold caches.
    for drawing in waiting:
        drawing.finish()
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return {**counts, "dropped": dropped}


def prompt_rows(payload: Mapping[str, Any], prompts: Path) -> list[dict[str, Any]]:
    """The rows of prompts of a part: those that the payload carries, or those that it names."""
    import pyarrow.parquet as pq

    if PROMPT_ROWS in payload:
        carried: list[dict[str, Any]] = payload[PROMPT_ROWS]
        return carried
    with pq.ParquetFile(prompts / payload["prompts"]) as stored:
        columns = [name for name in stored.schema_arrow.names if name not in SAID]
        table = stored.read(columns, use_threads=False)
    chosen: list[dict[str, Any]] = (table.take(payload["rows"]) if "rows" in payload else table).to_pylist()
    return chosen


@dataclass(frozen=True)
class Draw:
    """Makes the parts of :func:`image_parts` for an engine; see :func:`write_images`."""

    prompts: Path
    settings: Drawn
    schema: pa.Schema

    def carried(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with its prompts in it, for a worker that cannot read their folder."""
        return {**payload, PROMPT_ROWS: prompt_rows(payload, self.prompts)}

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Draw one part."""
        return write_images(payload, path, prompts=self.prompts, settings=self.settings, schema=self.schema)


@dataclass(frozen=True)
class Waiting:
    """An image whose content is decided and whose pixels are still to be made."""

    image: dict[str, Any]
    svg: str
    scene: world.Scene

    def finish(self) -> None:
        """Make the pixels; ``image["bytes"]`` holds them then."""
        self.image["bytes"] = embed(world.rasterise(self.svg), self.scene)


def check_row(prompts: Mapping[str, Any], settings: Drawn) -> tuple[dict[str, Any], int]:
    """Draw both sides of one check.

    Args:
        prompts: a row of a staged table of prompts, without an error.
        settings: how to draw.

    Returns:
        The row, and how many images were drawn in vain.

    Raises:
        CrocError: no image that fits was found.
    """
    row, drawings, redraws = planned_row(prompts, settings)
    for drawing in drawings:
        drawing.finish()
    return row, redraws


def planned_row(prompts: Mapping[str, Any], settings: Drawn) -> tuple[dict[str, Any], list[Waiting], int]:
    """Decide both sides of one check; the images of the row get their bytes when the drawings are finished.

    Args:
        prompts: a row of a staged table of prompts, without an error.
        settings: how to draw.

    Returns:
        The row, its drawings, and how many scenes were made in vain.

    Raises:
        CrocError: no scene that fits was found.
    """
    row = {**prompts, "image_model": settings.model, "license": LICENSE}
    if settings.noise:
        models = (prompts["text_model"], settings.model)
        row["check_id"] = check_id(
            prompts["concept_id"],
            prompts["prompt"],
            prompts["contrast_prompt"],
            *models,
            prompts["generation"],
        )
    both = (prompts["prompt"], prompts["contrast_prompt"])
    redraws = 0
    drawings: list[Waiting] = []
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        own, other = both if side == "original" else both[::-1]
        images, seeds, valid = [], [], []
        for index in range(settings.images):
            place = (settings.seed, prompts["check_id"], side, index)
            right = not _coin(settings.noise, place)
            shown = (own, other) if right else (other, own)
            scene, seed, vain = fitting_scene(*shown, place)
            redraws += vain
            images.append({"bytes": None, "path": None})
            drawings.append(Waiting(images[-1], world.to_svg(scene, settings.size), scene))
            seeds.append(seed)
            valid.append(right)
        row |= {f"{prefix}images": images, f"{prefix}seeds": seeds, f"{prefix}images_valid": valid}
    return row, drawings, redraws


def fitting_scene(prompt: str, other: str, place: tuple[Any, ...]) -> tuple[world.Scene, int, int]:
    """Make scenes until the oracle says that one shows ``prompt`` and does not show ``other``.

    Args:
        prompt: what is drawn.
        other: what must not be true of the image; a distractor may have made it so.
        place: JSON values that name the image's place: the seeds come from them.

    Returns:
        The scene, the seed with which ``world.draw`` makes it, and the number of tries in vain.

    Raises:
        CrocError: none of ``TRIES`` scenes fits.
    """
    for attempt in range(TRIES):
        seed = int(stable_hash("image", *place, attempt, length=8), 16)
        scene = world.sample(prompt, seed)
        if world.satisfies(scene, prompt) and not world.satisfies(scene, other):
            return scene, seed, attempt
    raise CrocError("no image was found that shows its own prompt and not the other")


def _coin(probability: float, place: tuple[Any, ...]) -> bool:
    return probability > 0 and int(stable_hash("noise", *place, length=13), 16) < probability * 16**13
