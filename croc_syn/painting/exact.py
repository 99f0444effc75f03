"""The exact world as a painter: images whose content is certain.

The oracle is asked about every image with both prompts before it is kept, so no label is taken on trust.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import SIDES, check_id, stable_hash, translated_id
from croc.errors import CrocError, InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest
from croc.storage.parquet import write_parquet
from croc_syn import world
from croc_syn.painting.table import TRUTH, prompt_rows, with_prompt_rows
from croc_syn.world.declarations.styles import find_style
from croc_syn.world.scenes.scene import embed, webp_with_scene
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

    from croc_syn.painting.settings import Images

TRIES = 40
"""Maximum number of scenes sampled for one image; then the check fails."""

LICENSE = "apache-2.0"


@dataclass(frozen=True)
class ExactSettings:
    """Settings on which the images of the exact world depend.

    Attributes:
        images: K, images per side.
        size: width and height in pixels.
        seed: of the images.
        noise: probability that an image shows the other prompt.
        style: drawing style, one of ``world.STYLES``.
        held_out: what no image shows, as options of :class:`croc_syn.world.HeldOut`.
        quality: of WebP files, 1…100; 100 is lossless. None draws PNG files.
    """

    images: int = 5
    size: int = 256
    seed: int = 0
    noise: float = 0.0
    style: str = world.USUAL
    held_out: tuple[str, ...] = ()
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise InputError(f"images per side must be at least 1, not {self.images}")
        if not 16 <= self.size <= 4096:
            raise InputError(f"size must be 16 to 4096 pixels, not {self.size}")
        if not 0.0 <= self.noise <= 1.0:
            raise InputError(f"noise must be a probability between 0 and 1, not {self.noise}")
        find_style(self.style)

    @classmethod
    def of(cls, settings: Images) -> ExactSettings:
        """The settings in the section ``images:`` of a preset.

        Raises:
            InputError: the format is one that holds no scene.
        """
        # The default of image models is WebP; a preset without a format has PNG files here.
        format = settings.format if "format" in settings.model_fields_set else "png"
        if format == "jpeg":
            raise InputError("images.format: the exact world draws png or webp, which can hold its scene")
        return cls(
            settings.count,
            settings.size or 256,
            settings.first_seed,
            settings.noise,
            settings.style,
            settings.held_out,
            settings.quality if format == "webp" else None,
        )

    def record(self) -> dict[str, Any]:
        """The settings for a recipe or a fingerprint; without what is newer and not used."""
        return {name: value for name, value in asdict(self).items() if name != "quality" or value is not None}

    @property
    def model(self) -> str:
        """The exact world in the column ``image_model``; with other settings it is another model."""
        style = f"+style={self.style}" if self.style != world.USUAL else ""
        held_out = f"+without={stable_hash(self.avoided.as_dict(), length=8)}" if self.avoided else ""
        return EXACT + style + held_out + (f"+noise={self.noise:g}" if self.noise else "")

    @property
    def avoided(self) -> world.HeldOut | None:
        """What no image shows."""
        return world.HeldOut.of(self.held_out) if self.held_out else None


def plan_parts(prompts: Manifest) -> list[Part]:
    """A part of images for every part of prompts, tied to its content by the checksum."""
    return [
        Part(entry["name"], {"prompts": entry["file"], "sha256": entry["sha256"]}) for entry in prompts.parts
    ]


@dataclass(frozen=True)
class ExactPartMaker:
    """Makes the parts of :func:`plan_parts`.

    Attributes:
        prompts: the folder of prompts.
        settings: how images are drawn.
        schema: Arrow schema of :func:`croc_syn.painting.table.exact_features`; making it takes a worker a
            second.
    """

    prompts: Path
    settings: ExactSettings
    schema: pa.Schema

    def carried(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with its rows of prompts in it, for a worker that cannot read their folder."""
        return with_prompt_rows(payload, self.prompts)

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Make one part: draw the images of every check in a part of prompts.

        Returns:
            Counts: ``checks``, ``images``, ``redraws``, ``noisy``, and ``dropped``: how many for which
            reason.
        """
        import pyarrow as pa

        counts: Counter[str] = Counter(checks=0, images=0, redraws=0, noisy=0)
        dropped: Counter[str] = Counter()
        rows: list[dict[str, Any]] = []
        images: list[_PlannedImage] = []
        for prompt_row in prompt_rows(payload, self.prompts):
            reason = prompt_row["error"]
            if reason is None:
                try:
                    check = plan_check(prompt_row, self.settings)
                except CrocError as error:
                    reason = str(error)
            if reason is not None:
                dropped[reason] += 1
                continue
            rows.append({name: check.row.get(name) for name in self.schema.names})
            images += check.images
            counts["checks"] += 1
            counts["images"] += len(check.images)
            counts["redraws"] += check.redraws
            counts["noisy"] += sum(not valid for name in TRUTH for valid in check.row[name])
        # First all scenes, then all pixels: alternating makes scenes three times as slow, because of the
        # caches.
        for image in images:
            image.rasterise()
        write_parquet([pa.Table.from_pylist(rows, schema=self.schema)], path, self.schema)
        return {**counts, "dropped": dict(dropped)}


@dataclass(frozen=True)
class _PlannedImage:
    """An image whose scene is known and whose pixels are not made yet."""

    image: dict[str, Any]
    svg: str
    scene: world.Scene
    quality: int | None

    def rasterise(self) -> None:
        """Make the pixels and store the file in ``image["bytes"]``."""
        png = world.rasterise(self.svg)
        if self.quality is None:
            self.image["bytes"] = embed(png, self.scene)
        else:
            self.image["bytes"] = webp_with_scene(png, self.scene, self.quality)


@dataclass(frozen=True)
class PlannedCheck:
    """A check whose scenes are known.

    Attributes:
        row: the finished row, except for the bytes of its images.
        images: its images, in the order of the row.
        redraws: number of scenes that were not kept.
    """

    row: dict[str, Any]
    images: list[_PlannedImage]
    redraws: int

    def rasterise(self) -> dict[str, Any]:
        """Make the pixels of all images.

        Returns:
            The finished row.
        """
        for image in self.images:
            image.rasterise()
        return self.row


def plan_check(prompts: Mapping[str, Any], settings: ExactSettings) -> PlannedCheck:
    """Find the scenes of both sides of one check.

    Args:
        prompts: a row of the staged table of prompts, without an error.
        settings: how images are drawn.

    Raises:
        CrocError: no scene that fits was found.
    """
    # Images are drawn from the English prompts, so that those of all languages are the same.
    first, second = (prompts.get(f"source_{name}") or prompts[name] for name in ("prompt", "contrast_prompt"))
    both = (first, second)
    source = prompts.get("source_id") or prompts["check_id"]
    row = {**prompts, "image_model": settings.model, "license": LICENSE}
    if settings.model != EXACT:
        models = (prompts["text_model"], settings.model)
        own = check_id(prompts["concept_id"], *both, *models, prompts["generation"])
        row["check_id"] = translated_id(own, prompts["language"])
    redraws, avoided = 0, settings.avoided
    planned: list[_PlannedImage] = []
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        prompt, other = both if side == "original" else both[::-1]
        images, seeds, valid = [], [], []
        for index in range(settings.images):
            place = (settings.seed, source, side, index)
            right = not _is_noisy(settings.noise, place)
            scene, seed, rejected = sample_scene(
                *((prompt, other) if right else (other, prompt)), place, settings.style, avoided
            )
            redraws += rejected
            images.append({"bytes": None, "path": None})
            svg = world.to_svg(scene, settings.size)
            planned.append(_PlannedImage(images[-1], svg, scene, settings.quality))
            seeds.append(seed)
            valid.append(right)
        row |= {f"{prefix}images": images, f"{prefix}seeds": seeds, f"{prefix}images_valid": valid}
    return PlannedCheck(row, planned, redraws)


def sample_scene(
    prompt: str | world.Meaning,
    other: str,
    place: tuple[Any, ...],
    style: str = world.USUAL,
    avoided: world.HeldOut | None = None,
) -> tuple[world.Scene, int, int]:
    """Sample scenes until the oracle confirms that one shows ``prompt`` and does not show ``other``.

    Args:
        prompt: what is drawn; a prompt, or what it requires.
        other: what must not be true of the image; a distractor may have made it so.
        place: JSON values that name the image; the seeds come from them.
        style: drawing style.
        avoided: what the scene must not show.

    Returns:
        The scene, the seed with which ``world.draw`` makes it, and the number of scenes that were rejected.

    Raises:
        CrocError: none of ``TRIES`` scenes fits.
    """
    for attempt in range(TRIES):
        seed = int(stable_hash("image", *place, attempt, length=8), 16)
        scene = world.sample(prompt, seed, style=style, avoided=avoided)
        if world.satisfies(scene, prompt) and not world.satisfies(scene, other):
            return scene, seed, attempt
    raise CrocError("no image was found that shows its own prompt and not the other")


def _is_noisy(probability: float, place: tuple[Any, ...]) -> bool:
    return probability > 0 and int(stable_hash("noise", *place, length=13), 16) < probability * 16**13
