"""Staged prompts → images by image models: a part is some checks, painted by one model.

The rows are those of :func:`croc_syn.painting.table.painted_features`.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from croc.checks.decoding import perceptual_hash
from croc.checks.schema import SIDES, STYLE, check_id
from croc.errors import InputError
from croc.jobs.paid_calls import Expected
from croc.jobs.parts import Abort, Part
from croc.jobs.runner import Manifest
from croc.storage.files import canonical, file_stem
from croc.storage.parquet import write_parquet
from croc.tables.metadata import library_versions
from croc_syn.model_runtime import load_once
from croc_syn.painting import ImageRequest, PaintedImage, Painter
from croc_syn.painting.encode import encode, format_of
from croc_syn.painting.flags import DUPLICATE, FilteredImage, near_duplicates, run_filters
from croc_syn.painting.settings import Flags, ImageModel, Images
from croc_syn.painting.table import FLAGS, MATCHES, SETTINGS, prompt_rows, with_prompt_rows

if TYPE_CHECKING:
    import pyarrow as pa

_CHECKS_PER_PART = {"diffusers": 16, "endpoint": 1}
_ANY_MODEL = ("", "general", "any")
# Encodings that are queued; more would only take memory.
_QUEUED = 64


# ---- The plan ----


def plan_parts(prompts: Manifest, settings: Images) -> list[Part]:
    """The plan, sorted by model, so that a worker loads each one once.

    A prompt that was written for one image model is painted by that model only; prompts in controlled
    English, and prompts for any model, are painted by every model.

    Raises:
        InputError: there is no prompt for a model, or a file of prompts cannot be read.
    """
    parts: list[Part] = []
    targets = {entry["name"]: _read_targets(prompts.folder / entry["file"]) for entry in prompts.parts}
    for model in settings.models:
        before = len(parts)
        size = settings.checks_per_part or _CHECKS_PER_PART[model.backend]
        painting = {"model": model.name, "image_model": image_model_name(model, settings)}
        for entry in prompts.parts:
            selected = [row for row, target in enumerate(targets[entry["name"]]) if _is_for(target, model)]
            for number, start in enumerate(range(0, len(selected), size)):
                payload = {"prompts": entry["file"], "sha256": entry["sha256"], **painting}
                payload["rows"] = selected[start : start + size]
                name = f"{file_stem(model.name)[:40]}-{entry['name'][:70]}-{number:03d}"
                parts.append(Part(name, payload))
        if len(parts) == before:
            known = sorted({str(target) for column in targets.values() for target in column})
            raise InputError(
                f"{prompts.folder} has no prompts for {model.name}; its prompts are for {', '.join(known)}"
            )
    return parts


def _read_targets(file: Path) -> list[str | None]:
    """For which image model each prompt of a file was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as stored:
            targets: list[str | None] = stored.read(columns=["image_model"])["image_model"].to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{file}: cannot be read as a file of prompts ({error})") from None
    return targets


def _is_for(target: str | None, model: ImageModel) -> bool:
    if target is None or target in _ANY_MODEL or target.startswith("exact@"):
        return True
    return target in (model.name, model.model, model.style) or target.partition("@")[0] == model.model


def fingerprint(prompts: Manifest, settings: Images) -> dict[str, Any]:
    """What the bytes depend on; how fast a service is called does not count."""
    content = settings.model_dump(mode="json", exclude={"endpoint", "noise", "checks_per_part"})
    for model in content["models"]:
        model.pop("cost")
    return {
        "kind": "images",
        "prompts": prompts.sha256,
        "base_url": settings.endpoint.base_url,
        **content,
        "versions": library_versions_of(settings),
    }


def library_versions_of(settings: Images) -> dict[str, str]:
    """Versions of the libraries on which the bytes depend."""
    names = ["pillow", "pyarrow"]
    if any(model.backend == "diffusers" for model in settings.models):
        names += ["diffusers", "torch", "transformers"]
    return dict(_versions(*names))


@cache
def _versions(*names: str) -> dict[str, str]:
    """Looked up once: every row contains them, and a look-up takes milliseconds."""
    return library_versions(*names)


def image_model_name(model: ImageModel, settings: Images) -> str:
    """The image model in the rows: ``repo@revision``, and settings that change its images."""
    if model.backend == "endpoint":
        return model.model
    name = model.pinned_name()
    if settings.pipeline.quantise != "none":
        name += f"+{settings.pipeline.quantise}"
    if settings.pipeline.cache is not None:
        name += f"+{settings.pipeline.cache['kind']}"
    return name


def check_ready(settings: Images) -> None:
    """Check before the run for what would stop every part of a service: a budget without prices.

    Raises:
        InputError: something is missing; the sentence says what.
    """
    for model in settings.models:
        if model.backend == "endpoint":
            make_painter(model, settings)


def estimates(parts: Sequence[Part], done: Collection[str], settings: Images) -> list[str]:
    """What the parts that are not done will ask of each service, before the first call."""
    sentences = []
    for model in settings.models:
        rows = sum(
            len(part.payload["rows"])
            for part in parts
            if part.payload["model"] == model.name and part.name not in done
        )
        if rows and model.backend == "endpoint":
            images = 2 * settings.count * rows
            expected = Expected(model.name, images, images=images)
            sentences.append(expected.text(settings.endpoint))
    return sentences


# ---- Making a part ----


def make_painter(model: ImageModel, settings: Images) -> Painter:
    """The painter of a model."""
    width, height = settings.size_of(model)
    if model.backend == "endpoint":
        from croc_syn.painting.endpoint import EndpointPainter

        return EndpointPainter(model, settings.endpoint, width, height, settings.format)
    from croc_syn.painting.pipelines import PipelinePainter

    return PipelinePainter(model, settings.pipeline, width, height, settings.batch_size)


@dataclass
class ImagePartMaker:
    """Makes the parts of :func:`plan_parts`; the model stays in the process from part to part.

    Attributes:
        prompts: folder of the prompts' parts.
        settings: what is painted, and how.
        schema: Arrow schema of :func:`croc_syn.painting.table.painted_features`.
        painter: makes the painter of a model.
        versions: of the libraries where the plan was made; a worker with others stops.
    """

    prompts: Path
    settings: Images
    schema: pa.Schema
    painter: Callable[[ImageModel, Images], Painter] = field(default_factory=lambda: make_painter)
    versions: dict[str, str] = field(default_factory=dict)

    def carried(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with its rows of prompts in it, for a worker that cannot read their folder."""
        return with_prompt_rows(payload, self.prompts)

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Make one part.

        Returns:
            Counts: ``checks``, ``images``, a count of each flag, ``lost``: how many images for which reason,
            and ``dropped``: how many checks.
        """
        import pyarrow as pa

        self._require_same_versions()
        model = next(model for model in self.settings.models if model.name == payload["model"])
        counts: Counter[str] = Counter(checks=0, images=0)
        lost: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        sides = list(self._sides(payload, dropped))
        self._paint(sides, load_once(self.painter, model, self.settings))
        rows = []
        for _, both in groupby(sides, key=lambda side: side.number):
            pair = list(both)
            errors = [image.error for side in pair for image in side.images if image.error is not None]
            lost.update(errors)
            counts.update(
                f"flagged_{flag}" for side in pair for i in side.painted for flag in side.images[i].flags
            )
            painted = sum(len(side.painted) for side in pair)
            if not painted:
                dropped[f"no image: {Counter(errors).most_common(1)[0][0]}"] += 1
                continue
            counts["checks"] += 1
            counts["images"] += painted
            rows.append(self._row(pair, payload["image_model"], model))
        write_parquet([pa.Table.from_pylist(rows, schema=self.schema)], path, self.schema)
        return {**counts, "lost": dict(lost), "dropped": dict(dropped)}

    def _sides(self, payload: Mapping[str, Any], dropped: Counter[str]) -> Iterator[_Side]:
        for number, row in enumerate(prompt_rows(payload, self.prompts)):
            if row.get("error") is not None or not row["prompt"] or not row["contrast_prompt"]:
                dropped[row.get("error") or "a prompt is missing"] += 1
                continue
            for side in SIDES:
                yield _Side(number, side, row)

    def _paint(self, sides: Sequence[_Side], painter: Painter) -> None:
        """Paint, encode in the background, then run the filters."""
        seeds = range(self.settings.first_seed, self.settings.first_seed + self.settings.count)
        requests = [(side, ImageRequest(side.own, seed)) for side in sides for seed in seeds]
        flags = self.settings.flags
        filtered: list[FilteredImage] = []
        encodings: deque[Future[None]] = deque()
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="encode") as pool:
            results = painter.paint([request for _, request in requests])
            for (side, request), image in zip(requests, results, strict=True):
                side.images.append(image)
                side.seeds.append(request.seed)
                side.hashes.append(None)
                side.filtered.append(None)
                if image.error is not None:
                    continue
                if flags.nsfw or flags.contradiction:
                    entry = FilteredImage(image, side.own, side.other, side.row["property"])
                    side.filtered[-1] = entry
                    filtered.append(entry)
                encodings.append(pool.submit(self._encode, side, len(side.images) - 1, flags))
                while len(encodings) > _QUEUED or (encodings and encodings[0].done()):
                    encodings.popleft().result()
            for encoding in encodings:
                encoding.result()
        run_filters(filtered, flags)
        if flags.near_duplicates is not None:
            for side in sides:
                near = near_duplicates(side.hashes, flags.near_duplicates)
                for image, is_near in zip(side.images, near, strict=True):
                    if is_near:
                        image.flags.append(DUPLICATE)

    def _encode(self, side: _Side, index: int, flags: Flags) -> None:
        image = side.images[index]
        pixels = image.pixels
        if image.data is None or format_of(image.data) != self.settings.format:
            image.data = encode(pixels, self.settings.format, self.settings.quality)
        if flags.near_duplicates is not None:
            side.hashes[index] = perceptual_hash(Image.fromarray(pixels))
        image.pixels = None  # only the file is kept

    def _row(self, pair: Sequence[_Side], image_model: str, model: ImageModel) -> dict[str, Any]:
        prompts = pair[0].row
        row = {name: prompts.get(name) for name in self.schema.names}
        row["check_id"] = check_id(
            prompts["concept_id"],
            prompts["prompt"],
            prompts["contrast_prompt"],
            prompts["text_model"],
            image_model,
            prompts["generation"],
            prompts.get(STYLE),
        )
        row |= {"image_model": image_model, "license": model.licence}
        row[SETTINGS] = _settings_json(model, self.settings)
        for prefix, side in zip(("", "contrast_"), pair, strict=True):
            painted = side.painted
            row[f"{prefix}images"] = [{"bytes": side.images[i].data, "path": None} for i in painted]
            row[f"{prefix}seeds"] = [side.seeds[i] for i in painted]
            row[f"{prefix}images_{FLAGS}"] = [",".join(sorted(set(side.images[i].flags))) for i in painted]
            row[f"{prefix}images_{MATCHES}"] = [
                None if (entry := side.filtered[i]) is None else entry.match for i in painted
            ]
        return row

    def _require_same_versions(self) -> None:
        if self.versions and (installed := library_versions_of(self.settings)) != self.versions:
            raise Abort(f"a worker has {canonical(installed)}, the plan is for {canonical(self.versions)}")


@dataclass
class _Side:
    """One side of a check, while it is painted; the lists have one entry per requested image."""

    number: int
    side: str
    row: Mapping[str, Any]
    images: list[PaintedImage] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    hashes: list[int | None] = field(default_factory=list)
    filtered: list[FilteredImage | None] = field(default_factory=list)

    @property
    def own(self) -> str:
        text: str = self.row["prompt" if self.side == SIDES[0] else "contrast_prompt"]
        return text

    @property
    def other(self) -> str:
        text: str = self.row["contrast_prompt" if self.side == SIDES[0] else "prompt"]
        return text

    @property
    def painted(self) -> list[int]:
        """Positions of the images that were painted."""
        return [index for index, image in enumerate(self.images) if image.error is None]


def _settings_json(model: ImageModel, settings: Images) -> str:
    """How the images of a row were made, as JSON: everything except ``image_model`` and ``seeds``."""
    width, height = settings.size_of(model)
    content = {
        "steps": model.steps,
        "guidance": model.guidance,
        "text_tokens": model.text_tokens,
        "width": width,
        "height": height,
        "call": model.call,
        "format": settings.format,
        "quality": settings.quality if settings.format != "png" else None,
        "dtype": settings.pipeline.dtype if model.backend == "diffusers" else None,
        "versions": library_versions_of(settings.model_copy(update={"models": (model,)})),
    }
    return json.dumps(
        {name: value for name, value in content.items() if value not in (None, {})}, sort_keys=True
    )
