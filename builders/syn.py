"""CROCsyn as a dataset: staged parts in, a folder out that ``datasets.load_dataset`` reads.

Build the exact world's checks from nothing, or put a folder of staged parts into shards::

    python builders/syn.py --checks 300 --images 5 --seed 0 --out runs/syn
    python builders/syn.py --staged runs/stage --out runs/syn --train 0.8 --validation 0.1

``croc build syn`` does the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run by path, its own folder comes first on the path; the checkout's root is what it needs.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets

from builders import shards
from builders.assembly import (
    TEST_ONLY,
    BuildReport,
    ChecksBuilder,
    ChecksConfig,
    assemble,
    assemble_staged,
    read_report,
)
from builders.screening import split_of
from croc.checks.schema import CATEGORIES, SUBSETS, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Executor
from croc.jobs.runner import Manifest, read_manifest, run
from croc.tables.metadata import library_versions
from croc_syn.painting.images import Draw, Drawn, image_parts, staged_features
from croc_syn.writing.prompts import EXACT, OTHER, plan_parts, possible, write_prompts

DESCRIPTION = "Contrastive robustness checks of text-to-image metrics, synthetic."
_IMAGES, _PROMPTS, _AUDIT = "images", "prompts", "audit"


class Syn(ChecksBuilder):
    """CROCsyn from staged images; see :class:`builders.assembly.ChecksConfig` for the views."""

    BUILDER_CONFIGS = (
        ChecksConfig(name="all"),
        ChecksConfig(name="mini", mini=True),
        ChecksConfig(name="exact", world="exact"),
        *(ChecksConfig(name=name, subset=name) for name in SUBSETS),
        *(ChecksConfig(name=name, category=name) for name in (*CATEGORIES, OTHER)),
    )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=DESCRIPTION, features=staged_features())


def build_exact(
    out: str | Path,
    *,
    checks: int,
    images: int = 5,
    size: int = 256,
    seed: int = 0,
    taxonomy: str | Path | None = None,
    workers: int = 1,
    noise: float = 0.0,
    subsets: Sequence[str] | None = None,
    properties: Sequence[str] | None = None,
    splits: Mapping[str, float] | None = None,
    only: Sequence[str] | None = None,
    audit_checks: int = 2000,
    progress: bool = True,
    executor: Executor | None = None,
) -> BuildReport:
    """Make a dataset of checks with the exact world: no model, no network, labels that are certain.

    The same arguments give the same bytes on any number of workers. An interrupted build goes on where it was
    when it is called again; until it is finished the folder does not load.

    Args:
        out: the folder; new, or holding this very build, half-done or finished.
        checks: number of checks; specs that the exact world cannot draw are passed over and counted.
        images: images a side.
        size: width and height in pixels.
        seed: decides which checks, prompts and images are made.
        taxonomy: a taxonomy file; None takes the one that comes with the package.
        workers: processes. With more than one, the calling script needs a ``__main__`` guard.
        noise: probability that an image shows the other prompt; ``images_valid`` holds the truth.
        subsets: only these subsets; None takes all.
        properties: only variations of these properties of the taxonomy; None takes all.
        splits: share by split name; None puts everything into ``test``, as a benchmark is for evaluation. A
            concept's hash decides its split, so that more checks never move one.
        only: make the checks of these splits alone; None makes all. They are those that a build of everything
            would have there, drawn from the concepts of these splits.
        audit_checks: how many checks the audit looks at, at most; 0 leaves the audit out.
        progress: show bars.
        executor: what draws the images, see :mod:`croc.jobs.executors`; None takes ``workers`` processes.

    Returns:
        What was built.

    Raises:
        InputError: an argument cannot be used, or the folder holds something else.
    """
    from croc_syn.taxonomy.plan import plan
    from croc_syn.taxonomy.taxonomy import load

    started = time.monotonic()
    folder = Path(out)
    if checks < 1:
        raise InputError(f"checks must be at least 1, not {checks}")
    if subsets and (unknown := sorted(set(subsets) - set(SUBSETS))):
        raise InputError(f"subsets: unknown {', '.join(unknown)}; known are {', '.join(SUBSETS)}")
    ratios = shards.check_ratios(splits or TEST_ONLY)
    drawn = Drawn(images=images, size=size, seed=seed, noise=noise)
    known = load(taxonomy)
    for name in properties or ():
        if name not in known.properties or known.properties[name].exact is None:
            drawable = [item.id for item in known.properties.values() if item.exact]
            close = get_close_matches(name, drawable, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it can draw {', '.join(drawable)}"
            raise InputError(f"the exact world cannot draw the property {name!r}; {hint}")
    specs = plan(known, subsets=tuple(subsets or SUBSETS), exact_only=True)
    if properties:
        specs = [spec for spec in specs if spec.property in properties]
    if only:
        if unknown := sorted(set(only) - set(ratios)):
            raise InputError(f"only: no concept goes into {unknown[0]!r}; the splits are {', '.join(ratios)}")
        specs = [spec for spec in specs if split_of(spec.concept_id, ratios) in only]
    if not specs:
        raise InputError(
            "the exact world can draw nothing of this taxonomy (no property has an `exact` name)"
        )
    chosen, passed_over = possible(specs, checks, seed, known)
    parts = plan_parts(chosen, known)
    recipe = {
        "kind": "syn",
        "text_model": EXACT,
        "image_model": drawn.model,
        "checks": checks,
        **asdict(drawn),
        "splits": ratios,
        "audit_checks": audit_checks,
        "passed_over": passed_over,
        "plan": stable_hash([(part.name, part.payload) for part in parts]),
        "versions": library_versions("pyarrow", "datasets", "resvg_py"),
    }
    if shards.settle(folder, recipe):
        return read_report(folder)
    work = folder / shards.WORK
    prompts = run(
        parts,
        partial(write_prompts, seed=seed),
        work / _PROMPTS,
        suffix=".parquet",
        fingerprint=recipe,
        # A second process takes longer to start than a few thousand pairs take to write.
        executor=local_executor(workers if checks > 20000 else 1),
        progress=progress,
        what="parts of prompts",
    )
    schema = staged_features().arrow_schema
    staged = run(
        image_parts(prompts),
        Draw(prompts.folder, drawn, schema),
        work / _IMAGES,
        suffix=".parquet",
        fingerprint=recipe,
        executor=executor or local_executor(workers),
        progress=progress,
        what="parts of images",
    )
    looker = None
    if audit_checks and not noise:
        looker = partial(_audited, checks=audit_checks, workers=workers, progress=progress)
    return assemble(
        staged,
        folder,
        recipe,
        features=staged_features(),
        audit=looker,
        started=started,
        workers=workers,
        progress=progress,
    )


def _audited(made: Manifest, work: Path, *, checks: int, workers: int, progress: bool) -> dict[str, Any]:
    from croc_syn.audit import audit

    found = audit(
        [made.folder / entry["file"] for entry in shards.data_of(made)],
        work / _AUDIT,
        checks=checks,
        revision=made.sha256[:12],
        workers=workers,
        progress=progress,
    )
    return {**asdict(found), "lines": found.lines()}


def build_staged(staged: str | Path, out: str | Path, **options: Any) -> BuildReport:
    """Put a folder of staged images into shards; the options are those of :func:`assemble_staged`.

    Images by models keep their flags and settings beside them, those of the exact world their truth.
    """
    return assemble_staged("syn", staged, out, _features_of(read_manifest(staged)), **options)


def _features_of(staged: Manifest) -> datasets.Features:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from croc_syn.painting.stage import SETTINGS, painted_features

    if not staged.parts:
        return staged_features()
    file = staged.files()[0]
    try:
        painted = SETTINGS in pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: not a readable staged file ({error})") from None
    return painted_features() if painted else staged_features()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    import argparse

    parser = argparse.ArgumentParser(description="Build CROCsyn: from nothing, or from staged parts.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--staged", type=Path, help="a folder of staged images; without it they are made")
    parser.add_argument("--checks", type=int, default=300)
    parser.add_argument("--images", type=int, default=5, help="images a side")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="probability of a wrong image")
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--train", type=float, default=0.0, help="share of the concepts in the split")
    parser.add_argument("--validation", type=float, default=0.0, help="share of the concepts in the split")
    options = parser.parse_args(arguments)
    shares = {"train": options.train, "validation": options.validation}
    splits = {**shares, "test": 1.0 - sum(shares.values())}
    try:
        if options.staged is not None:
            report = build_staged(options.staged, options.out, splits=splits, workers=options.workers)
        else:
            report = build_exact(
                options.out,
                checks=options.checks,
                images=options.images,
                size=options.size,
                seed=options.seed,
                noise=options.noise,
                taxonomy=options.taxonomy,
                workers=options.workers,
                splits=splits,
            )
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join([str(report.out), *report.lines()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
