"""CROCsyn: specs or staged images → a folder that ``datasets.load_dataset`` reads.

``croc build syn`` makes the checks of the exact world, ``croc build staged syn`` puts a folder of staged
images into shards. The first is also::

    python -m builders.syn --checks 300 --images 5 --out runs/syn
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders import shards
from builders.assembly import TEST_ONLY, BuildReport, assemble, assemble_staged, read_report
from builders.screening import split_of
from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs.parts import Executor
from croc.jobs.runner import Manifest, read_manifest
from croc.probe.report import read_report as read_probe
from croc.tables.metadata import library_versions
from croc_syn import presets
from croc_syn.painting.exact import ExactSettings
from croc_syn.painting.images import make_images
from croc_syn.painting.table import SETTINGS, exact_features, painted_features
from croc_syn.probe_checks import checks_of
from croc_syn.world.declarations.languages import ENGLISH
from croc_syn.writing.prompts import language_record, make_prompts, plan_prompts, scope_record
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import datasets

    from croc_syn.taxonomy.plan import Allocation, Spec

_IMAGES, _PROMPTS, _AUDIT = "images", "prompts", "audit"


@shards.one_at_a_time
def build_exact(
    out: str | Path,
    *,
    checks: int,
    images: int = 5,
    size: int = 256,
    quality: int | None = None,
    seed: int = 0,
    taxonomy: str | Path | None = None,
    executor: Executor | None = None,
    noise: float = 0.0,
    subsets: Sequence[str] | None = None,
    properties: Sequence[str] | None = None,
    allocation: Allocation | None = None,
    splits: Mapping[str, float] | None = None,
    only: Sequence[str] | None = None,
    style: str | None = None,
    language: str = ENGLISH,
    hold_out: Sequence[str] = (),
    held_out_only: bool = False,
    from_probe: str | Path | None = None,
    audit_checks: int = 2000,
    progress: bool = True,
) -> BuildReport:
    """Build a dataset of checks of the exact world: no model, no network, labels that are certain.

    It runs the stages of ``croc prompts exact``, ``croc images`` and ``croc build staged syn`` inside the
    folder, and audits the result. The same arguments give the same bytes for any number of workers. An
    interrupted build is resumed when it is called again; until it is finished the folder does not load.

    Args:
        out: the folder; new, or holding this very build, unfinished or finished.
        checks: number of checks; specs that the exact world cannot draw are passed over and counted.
        images: images per side.
        size: width and height in pixels.
        quality: of WebP files, 1…100, which are smaller; 100 is lossless. None draws PNG files.
        seed: decides which checks, prompts and images are made.
        taxonomy: a taxonomy file; None takes the one that comes with the package.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process. A
            cluster makes prompts and images; what reads the files of the folder runs in this process. With
            worker processes, the calling script needs a ``__main__`` guard.
        noise: probability that an image shows the other prompt; ``images_valid`` holds the truth.
        subsets: only these subsets; None takes all.
        properties: only variations of these properties of the taxonomy; None takes all.
        allocation: what gets the same number of checks: ``categories``, or ``subsets`` as in the paper; None
            takes that of the preset, ``categories``.
        splits: share by split name; None puts everything into ``test``, as a benchmark is for evaluation. A
            concept's hash decides its split, so more checks never move a concept.
        only: make the checks of these splits only; None makes all. They are those that a build of all splits
            would have there, selected from the concepts of these splits.
        style: drawing style, one of ``croc_syn.world.STYLES``; None takes the usual one.
        language: of the prompts, one of ``croc_syn.world.LANGUAGES``; images are those of English.
        hold_out: what no prompt and no image contains, such as ``nouns=0.2`` (a share) or
            ``values=colour=red,count=7`` (a list); see :class:`croc_syn.world.HeldOut`.
        held_out_only: the reverse, for a test: every check is about something in ``hold_out``.
        from_probe: folder or JSON file of ``croc probe``; exactly its checks about weak properties are made,
            with its seed. Then ``checks``, ``seed`` and what selects checks are not used.
        audit_checks: number of checks to audit, at most; 0 omits the audit.
        progress: show bars.

    Raises:
        InputError: an argument cannot be used, or the folder holds something else.
    """
    started = time.monotonic()
    folder = Path(out)
    chosen: list[tuple[Spec, int]] | None = None
    if from_probe is not None:
        if subsets or properties or taxonomy or hold_out:
            raise InputError("a build from a probe has the checks of the probe: select no others")
        report = read_probe(from_probe)
        chosen, seed = checks_of(report), report["seed"]
        checks = len(chosen)
    ratios = shards.check_ratios(splits or TEST_ONLY)
    if only and (unknown := sorted(set(only) - set(ratios))):
        raise InputError(f"only: no concept goes into {unknown[0]!r}; the splits are {', '.join(ratios)}")
    changes = {
        "seed": seed,
        "text.language": language,
        "specs.checks": checks,
        "specs.taxonomy": taxonomy,
        "specs.subsets": subsets,
        "specs.properties": properties,
        "specs.allocation": allocation,
        "images.count": images,
        "images.size": size,
        "images.format": None if quality is None else "webp",
        "images.quality": quality,
        "images.first_seed": seed,
        "images.noise": noise,
        "images.style": style,
        "images.held_out": None if held_out_only else list(hold_out) or None,
        "specs.held_out": list(hold_out) or None,
        "specs.only_held_out": held_out_only,
    }
    preset = presets.load("exact", {key: value for key, value in changes.items() if value is not None})

    def is_wanted(spec: Spec) -> bool:
        return not only or split_of(spec.concept_id, ratios) in only

    plan = plan_prompts(preset, is_wanted, chosen)
    drawing = ExactSettings.of(preset.images)
    recipe = {
        "kind": "syn",
        "text_model": EXACT,
        "image_model": drawing.model,
        "checks": checks,
        **{name: value for name, value in drawing.record().items() if name not in ("style", "held_out")},
        **scope_record(preset.scope),
        **language_record(language),
        "splits": ratios,
        "audit_checks": audit_checks,
        "passed_over": plan.passed_over,
        "plan": stable_hash([(part.name, part.payload) for part in plan.parts]),
        "versions": library_versions("pyarrow", "datasets", "resvg_py"),
    }
    if shards.is_finished(folder, recipe):
        return read_report(folder)
    work = folder / shards.WORK
    make_prompts(preset, work / _PROMPTS, plan=plan, executor=executor, progress=progress)
    staged = make_images(work / _PROMPTS, work / _IMAGES, preset.images, executor=executor, progress=progress)
    audited = audit_checks > 0 and not noise
    return assemble(
        staged,
        folder,
        recipe,
        features=exact_features(),
        audit=partial(_audit, checks=audit_checks, executor=executor, progress=progress) if audited else None,
        started=started,
        executor=executor,
        progress=progress,
    )


def _audit(
    made: Manifest, work: Path, *, checks: int, executor: Executor | None, progress: bool
) -> dict[str, Any]:
    from croc_syn.audit import audit

    result = audit(
        [made.folder / entry["file"] for entry in shards.data_of(made)],
        work / _AUDIT,
        checks=checks,
        revision=made.sha256[:12],
        executor=executor,
        progress=progress,
    )
    return {**asdict(result), "lines": result.lines()}


@shards.one_at_a_time
def build_staged(staged: str | Path, out: str | Path, **options: Any) -> BuildReport:
    """Put a folder of staged images into shards; the options are those of :func:`assemble_staged`.

    Images of image models keep their flags and settings, those of the exact world the truth about them.
    """
    manifest = read_manifest(staged)
    return assemble_staged("syn", manifest, out, _features_of(manifest), **options)


def _features_of(staged: Manifest) -> datasets.Features:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not staged.parts:
        return exact_features()
    file = staged.files()[0]
    try:
        painted = SETTINGS in pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: not a readable staged file ({error})") from None
    return painted_features() if painted else exact_features()


if __name__ == "__main__":
    import sys

    from croc.cli import main

    main(["build", "syn", *sys.argv[1:]], prog_name="croc")
