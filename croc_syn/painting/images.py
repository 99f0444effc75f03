"""Staged prompts → staged images: plans and makes the images that a preset asks for.

Images of the exact world come from :mod:`croc_syn.painting.exact`, those of image models from
:mod:`croc_syn.painting.stage`. There is one plan of parts, whichever executor runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from croc.jobs.parts import Executor
from croc.jobs.progress import progress_bar
from croc.jobs.runner import Manifest, Progress, Status, finished, read_manifest, require_parts, run
from croc.tables.metadata import library_versions
from croc.wording import counted
from croc_syn.painting import Painter, exact, stage
from croc_syn.painting.settings import ImageModel, Images
from croc_syn.painting.table import exact_features, painted_features

logger = logging.getLogger(__name__)


def make_images(
    prompts: str | Path,
    out: str | Path,
    settings: Images,
    *,
    executor: Executor | None = None,
    painter: Callable[[ImageModel, Images], Painter] | None = None,
    max_failures: int | None = None,
    progress: bool | Progress = True,
    log: Callable[[str], None] = logger.info,
) -> Manifest:
    """Make the images of a folder of staged prompts, as a folder of staged rows for ``croc build staged``.

    An interrupted run is resumed.

    Args:
        prompts: the folder, finished by :func:`croc_syn.writing.prompts.make_prompts`.
        out: the folder to make.
        settings: the section ``images:`` of a preset; without models the exact world draws.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        painter: makes the painter of a model; None takes the one that its entry names.
        max_failures: stop when more parts than this have failed.
        progress: show images per second and the time left, or a function that is called with the status.
        log: called with an estimate for each model behind a service.

    Raises:
        InputError: the prompts are unfinished, or ``out`` holds other work.
        PartsFailed: some parts failed; the rest is kept.
    """
    manifest = read_manifest(prompts)
    require_parts(manifest)
    make: exact.ExactPartMaker | stage.ImagePartMaker
    if settings.models:
        settings = settings.model_copy(update={"endpoint": settings.endpoint.in_one_run()})
        make = stage.ImagePartMaker(
            manifest.folder,
            settings,
            painted_features().arrow_schema,
            painter or stage.make_painter,
            stage.library_versions_of(settings),
        )
        parts = stage.plan_parts(manifest, settings)
        if painter is None:
            stage.check_ready(settings)
            for sentence in stage.estimates(parts, finished(Path(out)), settings):
                log(sentence)
        fingerprint = stage.fingerprint(manifest, settings)
        checks = sum(len(part.payload["rows"]) for part in parts)
    else:
        drawing = exact.ExactSettings.of(settings)
        make = exact.ExactPartMaker(manifest.folder, drawing, exact_features().arrow_schema)
        parts = exact.plan_parts(manifest)
        fingerprint = {"kind": "images", "prompts": manifest.sha256, **drawing.record()}
        fingerprint["versions"] = library_versions(
            "pyarrow", "resvg_py", *(("pillow",) if drawing.quality else ())
        )
        checks = int(manifest.counts.get("checks", 0))
    with _show_images(2 * settings.count * checks) if progress is True else nullcontext(progress) as show:
        return run(
            parts,
            make,
            out,
            suffix=".parquet",
            fingerprint=fingerprint,
            executor=executor,
            what="parts of images",
            max_failures=max_failures,
            progress=show,
        )


@contextmanager
def _show_images(planned: int) -> Iterator[Progress]:
    """Show the number of images that are made, and an estimate for the remaining parts."""
    with progress_bar("images", "images") as show:

        def update(status: Status) -> None:
            made = int(status.counts.get("images", 0))
            failed = f", {len(status.failed):,} failed" if status.failed else ""
            left = round(planned * status.left / max(status.total, 1))
            show(made, made + left, f"{status.done:,} of {counted(status.total, 'part')}{failed}")

        yield update
