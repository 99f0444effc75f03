"""Staged prompts → staged images: a part is some checks of one part of prompts, painted by one model.

The rows are those of :mod:`croc_syn.painting.images`, with what the filters found beside the images. There is
one plan of parts, whichever engine runs it.
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from croc.checks.columns import features, pick
from croc.checks.decoding import perceptual_hash
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, IMAGE_COLUMNS, SIDES, STYLE, check_id
from croc.errors import InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Abort, Executor, Part
from croc.jobs.progress import progress_bar
from croc.jobs.runner import Manifest, Progress, Status, read_manifest, run
from croc.jobs.worker_state import keep_one
from croc.storage.files import canonical, file_stem, folder_digest
from croc.storage.parquet import write_parquet
from croc.tables.metadata import library_versions
from croc_syn.painting import Job, Painted, Painter
from croc_syn.painting.encode import format_of, to_file
from croc_syn.painting.flags import DUPLICATE, Shown, judge, near_duplicates
from croc_syn.painting.images import PROMPT_ROWS, Draw, Drawn, image_parts, prompt_rows, staged_features
from croc_syn.painting.settings import Flags, ImageModel, Images

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

FLAGS, MATCHES, SETTINGS = "flags", "match", "image_settings"

_CHECKS_PER_PART = {"diffusers": 16, "endpoint": 1}
_ANY_MODEL = ("", "general", "any")
# Encoded images that wait for nothing but their turn; more would only hold memory.
_WAITING = 64


def painted_features() -> datasets.Features:
    """Columns of the rows: those of a check, per image its flags and what a scorer said, and the settings.

    The flags of an image are one text, with commas between; it is empty for an image without any.
    """
    beside = [f"{column}_{name}" for column in IMAGE_COLUMNS for name in (FLAGS, MATCHES)]
    return features((*CHECK_COLUMNS, *pick(EXTRA_COLUMNS, (STYLE, *beside, SETTINGS))))


def paint_parts(prompts: Manifest, settings: Images) -> list[Part]:
    """The plan: model by model, so that a worker loads each one once.

    A prompt that was written for one image model is painted by that model alone; prompts of the controlled
    grammar, and those for any model, by each.

    Raises:
        InputError: no prompt is there for a model, or a file of prompts cannot be read.
    """
    parts: list[Part] = []
    targets = {entry["name"]: _targets(prompts.folder / entry["file"]) for entry in prompts.parts}
    for model in settings.models:
        before = len(parts)
        size = settings.checks_per_part or _CHECKS_PER_PART[model.backend]
        said = {"model": model.name, "image_model": identity(model, settings)}
        for entry in prompts.parts:
            mine = [row for row, target in enumerate(targets[entry["name"]]) if _fits(target, model)]
            for number, start in enumerate(range(0, len(mine), size)):
                payload = {"prompts": entry["file"], "sha256": entry["sha256"], **said}
                payload["rows"] = mine[start : start + size]
                name = f"{file_stem(model.name)[:40]}-{entry['name'][:70]}-{number:03d}"
                parts.append(Part(name, payload))
        if len(parts) == before:
            wanted = sorted({str(target) for each in targets.values() for target in each})
            raise InputError(
                f"{prompts.folder}: no prompt is for {model.name}; they were written for {', '.join(wanted)}"
            )
    return parts


def fingerprint(prompts: Manifest, settings: Images) -> dict[str, Any]:
    """What the bytes depend on; how fast a service is asked is no part of it."""
    chosen = settings.model_dump(mode="json", exclude={"endpoint", "noise", "checks_per_part"})
    for model in chosen["models"]:
        model.pop("cost")
    return {
        "kind": "images",
        "prompts": prompts.sha256,
        "base_url": settings.endpoint.base_url,
        **chosen,
        "versions": versions(settings),
    }


def versions(settings: Images) -> dict[str, str]:
    """The libraries that decide about the bytes."""
    names = ["pillow", "pyarrow"]
    if any(model.backend == "diffusers" for model in settings.models):
        names += ["diffusers", "torch", "transformers"]
    return dict(_versions(*names))


@cache
def _versions(*names: str) -> dict[str, str]:
    """Looked up once: every row says them, and a look takes milliseconds."""
    return library_versions(*names)


def identity(model: ImageModel, settings: Images) -> str:
    """What the rows call an image model: ``repo@revision``, and what makes its images others."""
    name = f"{model.model}@{model.revision or 'unpinned'}"
    if model.backend == "endpoint":
        name = model.model
    elif Path(model.model).is_dir():
        name = f"{Path(model.model).name}@local:{folder_digest(Path(model.model))}"
    if model.backend == "diffusers":
        if settings.pipeline.quantise != "none":
            name += f"+{settings.pipeline.quantise}"
        if settings.pipeline.cache is not None:
            name += f"+{settings.pipeline.cache['kind']}"
    return name


@dataclass
class Paint:
    """Makes the parts of :func:`paint_parts`; the model stays in the process from part to part.

    Attributes:
        prompts: folder of the prompts' parts.
        settings: what to paint, and how.
        schema: Arrow schema of :func:`painted_features`.
        painter: gives the painter of a model.
        versions: of the libraries where the plan was made; a worker with others stops.
    """

    prompts: Path
    settings: Images
    schema: pa.Schema
    painter: Callable[[ImageModel, Images], Painter] = field(default_factory=lambda: make_painter)
    versions: dict[str, str] = field(default_factory=dict)

    def carried(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with its prompts in it, for a worker that cannot read their folder."""
        return {**payload, PROMPT_ROWS: prompt_rows(payload, self.prompts)}

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Paint one part.

        Returns:
            Counts: ``checks``, ``images``, a count of each flag, ``lost``: how many images for which reason,
            and ``dropped``: how many checks.
        """
        import pyarrow as pa

        self._same_libraries()
        model = next(each for each in self.settings.models if each.name == payload["model"])
        counts: Counter[str] = Counter(checks=0, images=0)
        lost: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        sides = list(self._sides(payload, dropped))
        self._paint(sides, _loaded(self.painter, model, self.settings))
        rows = []
        for _, both in groupby(sides, key=lambda side: side.number):
            pair = list(both)
            lost.update(each.error for side in pair for each in side.painted if each.error is not None)
            counts.update(f"flagged_{flag}" for side in pair for each in side.there for flag in each.flags)
            images = sum(len(side.there) for side in pair)
            if not images:
                reasons = Counter(each.error or "" for side in pair for each in side.painted)
                dropped[f"no image: {reasons.most_common(1)[0][0]}"] += 1
                continue
            counts["checks"] += 1
            counts["images"] += images
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
        """Paint, encode beside the painting, then run the filters."""
        seeds = range(self.settings.first_seed, self.settings.first_seed + self.settings.count)
        jobs = [(side, Job(side.own, seed)) for side in sides for seed in seeds]
        flags = self.settings.flags
        shown: list[Shown] = []
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="encode") as pool:
            results = painter.paint([job for _, job in jobs])
            for (side, job), painted in zip(jobs, results, strict=True):
                side.painted.append(painted)
                side.seeds.append(job.seed)
                side.hashes.append(None)
                side.shown.append(None)
                if painted.error is not None:
                    continue
                if flags.nsfw or flags.contradiction:
                    side.shown[-1] = Shown(painted, side.own, side.other, side.row["property"])
                    shown.append(side.shown[-1])
                waiting.append(pool.submit(self._encode, side, len(side.painted) - 1, flags))
                while len(waiting) > _WAITING or (waiting and waiting[0].done()):
                    waiting.popleft().result()
            for each in waiting:
                each.result()
        judge(shown, flags)
        if flags.near_duplicates is not None:
            for side in sides:
                for painted, near in zip(
                    side.painted, near_duplicates(side.hashes, flags.near_duplicates), strict=True
                ):
                    if near:
                        painted.flags.append(DUPLICATE)

    def _encode(self, side: _Side, place: int, flags: Flags) -> None:
        painted = side.painted[place]
        pixels = painted.pixels
        if painted.data is None or format_of(painted.data) != self.settings.format:
            painted.data = to_file(pixels, self.settings.format, self.settings.quality)
        if flags.near_duplicates is not None:
            side.hashes[place] = perceptual_hash(Image.fromarray(pixels))
        painted.pixels = None  # the file is what is kept

    def _row(self, pair: Sequence[_Side], image_model: str, model: ImageModel) -> dict[str, Any]:
        asked = pair[0].row
        texts = (asked["prompt"], asked["contrast_prompt"])
        row = {name: asked.get(name) for name in self.schema.names}
        row["check_id"] = check_id(
            asked["concept_id"],
            *texts,
            asked["text_model"],
            image_model,
            asked["generation"],
            asked.get(STYLE),
        )
        row |= {"image_model": image_model, "license": model.licence}
        row[SETTINGS] = _settings_text(model, self.settings)
        for prefix, side in zip(("", "contrast_"), pair, strict=True):
            there = [place for place, each in enumerate(side.painted) if each.error is None]
            row[f"{prefix}images"] = [{"bytes": side.painted[i].data, "path": None} for i in there]
            row[f"{prefix}seeds"] = [side.seeds[i] for i in there]
            row[f"{prefix}images_{FLAGS}"] = [",".join(sorted(set(side.painted[i].flags))) for i in there]
            row[f"{prefix}images_{MATCHES}"] = [
                None if (one := side.shown[i]) is None else one.match for i in there
            ]
        return row

    def _same_libraries(self) -> None:
        if self.versions and (here := versions(self.settings)) != self.versions:
            raise Abort(f"a worker has {canonical(here)}, the plan is for {canonical(self.versions)}")


@dataclass
class _Side:
    """One side of a check, while it is painted."""

    number: int
    side: str
    row: Mapping[str, Any]
    painted: list[Painted] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    hashes: list[int | None] = field(default_factory=list)
    shown: list[Shown | None] = field(default_factory=list)

    @property
    def own(self) -> str:
        text: str = self.row["prompt" if self.side == SIDES[0] else "contrast_prompt"]
        return text

    @property
    def other(self) -> str:
        text: str = self.row["contrast_prompt" if self.side == SIDES[0] else "prompt"]
        return text

    @property
    def there(self) -> list[Painted]:
        return [each for each in self.painted if each.error is None]


def make_images(
    prompts: str | Path,
    out: str | Path,
    settings: Images,
    *,
    executor: Executor | None = None,
    workers: int = 1,
    painter: Callable[[ImageModel, Images], Painter] | None = None,
    max_failures: int | None = None,
    progress: bool | Progress = True,
) -> Manifest:
    """Make the images of a folder of staged prompts, as a folder of staged rows for ``croc build staged``.

    Run it again to go on after a stop.

    Args:
        prompts: the folder, finished by :func:`croc.jobs.runner.run`.
        out: the folder to make.
        settings: the section ``images:`` of a preset; without models the exact world draws.
        executor: what makes the parts; None takes this process, or ``workers`` of this machine.
        workers: processes of this machine.
        painter: gives the painter of a model; None takes the one that its entry says.
        max_failures: stop when more parts than this have failed.
        progress: show images a second and the time left, or a function that is called with the status.

    Raises:
        InputError: the prompts are unfinished, or ``out`` holds other work.
        PartsFailed: some parts failed; the rest is kept.
    """
    made = read_manifest(prompts)
    make: Draw | Paint
    if settings.models:
        given = {} if painter is None else {"painter": painter}
        schema = painted_features().arrow_schema
        make = Paint(made.folder, settings, schema, versions=versions(settings), **given)
        parts, of = paint_parts(made, settings), fingerprint(made, settings)
        checks = sum(len(part.payload["rows"]) for part in parts)
    else:
        drawn = Drawn(settings.count, settings.size or 256, settings.first_seed, settings.noise)
        make = Draw(made.folder, drawn, staged_features().arrow_schema)
        parts = image_parts(made)
        of = {"kind": "images", "prompts": made.sha256, **asdict(drawn)}
        of["versions"] = library_versions("pyarrow", "resvg_py")
        checks = int(made.counts.get("checks", 0))
    with _shown(2 * settings.count * checks) if progress is True else nullcontext(progress) as show:
        return run(
            parts,
            make,
            out,
            suffix=".parquet",
            fingerprint=of,
            executor=executor or local_executor(workers),
            what="parts of images",
            max_failures=max_failures,
            progress=show,
        )


@contextmanager
def _shown(planned: int) -> Iterator[Progress]:
    """Progress in images: those that are there, and those of the parts that are left."""
    with progress_bar("images", "images") as show:

        def tell(now: Status) -> None:
            there = int(now.counts.get("images", 0))
            failed = f", {len(now.failed)} failed" if now.failed else ""
            left = round(planned * now.left / max(now.total, 1))
            show(there, there + left, f"{now.done} of {now.total} parts{failed}")

        yield tell


def make_painter(model: ImageModel, settings: Images) -> Painter:
    """The painter of a model."""
    width, height = (settings.size, settings.size) if settings.size else (model.width, model.height)
    if model.backend == "endpoint":
        from croc_syn.painting.endpoint import EndpointPainter

        return EndpointPainter(model, settings.endpoint, width, height, settings.format)
    from croc_syn.painting.pipelines import PipelinePainter

    return PipelinePainter(model, settings.pipeline, width, height, settings.batch_size)


def _loaded(make: Callable[[ImageModel, Images], Painter], model: ImageModel, settings: Images) -> Painter:
    """The painter of a model, kept for the next part; another model takes its place."""
    key = canonical([repr(make), model.model_dump(mode="json"), settings.model_dump(mode="json")])
    return keep_one("croc_syn.painting", key, lambda: make(model, settings))


def _targets(file: Path) -> list[str | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as stored:
            found: list[str | None] = stored.read(columns=["image_model"])["image_model"].to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{file}: not a readable file of prompts ({error})") from None
    return found


def _fits(target: str | None, model: ImageModel) -> bool:
    if target is None or target in _ANY_MODEL or target.startswith("exact@"):
        return True
    return target in (model.name, model.model, model.style) or target.partition("@")[0] == model.model


def _settings_text(model: ImageModel, settings: Images) -> str:
    """How the images of a row were made, as JSON: what ``image_model`` and ``seeds`` do not say."""
    said = {
        "steps": model.steps,
        "guidance": model.guidance,
        "text_tokens": model.text_tokens,
        "width": settings.size or model.width,
        "height": settings.size or model.height,
        "call": model.call,
        "format": settings.format,
        "quality": settings.quality if settings.format != "png" else None,
        "dtype": settings.pipeline.dtype if model.backend == "diffusers" else None,
        "versions": versions(_alone(settings, model)),
    }
    return json.dumps(
        {name: value for name, value in said.items() if value not in (None, {})}, sort_keys=True
    )


def _alone(settings: Images, model: ImageModel) -> Images:
    """The settings with one model alone."""
    return settings.model_copy(update={"models": (model,)})
