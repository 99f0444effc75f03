"""CROChum as a dataset: votes, staged checks or the authors' release in; a folder for ``load_dataset`` out.

Run::

    python builders/hum.py --from-release nllg/croc_hum --out runs/hum
    python builders/hum.py --staged runs/stage --out runs/hum
    python builders/hum.py --votes votes.parquet --items runs/candidates --out runs/hum

``croc hum release`` does the last.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run by path, its own folder comes first on the path; the checkout's root is what it needs.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets
import pyarrow as pa

from builders import authors_release as releases
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
from croc.checks.schema import CATEGORIES, check_features
from croc.errors import CrocError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Part
from croc.jobs.runner import run
from croc.storage.files import sha256_of
from croc.storage.parquet import write_parquet
from croc_hum.release import nlvr
from croc_hum.release.release import Judged
from croc_hum.votes.votes import Rule, read_votes

NLVR_TITLE = "NLVR as contrastive checks: sentences that people wrote about drawn scenes"
DESCRIPTION = "Contrastive robustness checks of text-to-image metrics, images verified by people."

_CHECKS_PER_PART = 50


class Hum(ChecksBuilder):
    """CROChum from staged checks; a check may have images on one side only."""

    BOTH_SIDES = False
    BUILDER_CONFIGS = (
        ChecksConfig(name="all"),
        ChecksConfig(name="mini", mini=True),
        *(ChecksConfig(name=name, category=name) for name in CATEGORIES),
    )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=DESCRIPTION, features=check_features())


def build_release(
    source: str | Path,
    out: str | Path,
    *,
    license: str | None = None,
    workers: int = 1,
    progress: bool = True,
) -> BuildReport:
    """Make checks of the authors' release.

    An interrupted build goes on where it was when it is called again.

    Args:
        source: a folder with the release's TSV and tar.gz, or its Hub id.
        out: the folder to make.
        license: licence of the images; None says that it is not known.
        workers: processes.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: table or archive cannot be used, or the folder holds something else.
    """
    started = time.monotonic()
    found, folder = releases.find_release(source), Path(out)
    recipe = {
        "kind": "hum",
        "release": {found.table.name: sha256_of(found.table), found.archive.name: sha256_of(found.archive)},
        "license": license,
        "splits": dict(TEST_ONLY),
    }
    if shards.settle(folder, recipe):
        return read_report(folder)
    unpacked = folder / shards.WORK / "archive"
    releases.extract(found.archive, unpacked)
    root = releases.root_of(unpacked, found.entries)
    parts, lost = releases.plan_parts(found, root)
    features = check_features()
    staged = run(
        parts,
        partial(releases.write_checks, root=root, license=license, schema=features.arrow_schema),
        folder / shards.WORK / "checks",
        suffix=".parquet",
        fingerprint=recipe,
        executor=local_executor(workers),
        progress=progress,
        what="parts of checks",
    )
    shutil.rmtree(unpacked)  # from here on only the staged parts are read; the disk may be short
    return assemble(
        staged,
        folder,
        recipe,
        features=features,
        both_sides=False,
        dropped=lost,
        notes=found.notes,
        started=started,
        workers=workers,
        progress=progress,
    )


def build_nlvr(
    source: str | Path, out: str | Path, *, workers: int = 1, progress: bool = True
) -> BuildReport:
    """Make checks of a split of NLVR: sentences by people, votes of several raters, drawn images.

    Args:
        source: a split's folder, such as ``nlvr/dev``.
        out: the folder to make.
        workers: processes.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: the folder does not hold the split, or ``out`` holds something else.
    """
    started = time.monotonic()
    split, folder = Path(source), Path(out)
    count = len(nlvr.load(split))
    recipe = {
        "kind": "hum",
        "title": NLVR_TITLE,
        "repo": "croc/nlvr",
        "nlvr": sha256_of(split / f"{split.name}.json"),
        "splits": dict(TEST_ONLY),
    }
    if shards.settle(folder, recipe):
        return read_report(folder)
    features = check_features()
    starts = range(0, count, _CHECKS_PER_PART)
    staged = run(
        [Part(f"{start:05d}", [start, start + _CHECKS_PER_PART]) for start in starts],
        partial(_write_nlvr, split=split, schema=features.arrow_schema),
        folder / shards.WORK / "checks",
        suffix=".parquet",
        fingerprint=recipe,
        executor=local_executor(workers),
        progress=progress,
        what="parts of checks",
    )
    return assemble(
        staged,
        folder,
        recipe,
        features=features,
        both_sides=False,
        notes=[
            f"sentences, images and votes are those of {nlvr.SOURCE}, {nlvr.LICENSE}",
            "a sentence has no contrast prompt: the text directions have nothing to compare",
        ],
        started=started,
        workers=workers,
        progress=progress,
    )


def _write_nlvr(payload: Sequence[int], path: Path, *, split: Path, schema: pa.Schema) -> dict[str, Any]:
    tables = (
        pa.Table.from_pylist([check.row()], schema=schema) for check in islice(nlvr.checks(split), *payload)
    )
    return {"checks": write_parquet(tables, path, schema)}


def build_staged(staged: str | Path, out: str | Path, **options: Any) -> BuildReport:
    """Put a folder of staged checks into shards; the options are those of :func:`assemble_staged`."""
    return assemble_staged("hum", staged, out, check_features(), both_sides=False, **options)


def build_voted(
    votes: str | Path,
    items: str | Path,
    out: str | Path,
    *,
    rule: Rule | None = None,
    task: str | None = None,
    both_sides: bool = False,
    progress: bool = True,
) -> BuildReport:
    """Make checks of the images that people voted for.

    An interrupted build goes on where it was when it is called again.

    Args:
        votes: a file of votes, see :func:`croc_hum.votes.votes.read_votes`.
        items: the candidates that they are about: the folder that ``croc hum candidates`` made.
        out: the folder to make.
        rule: when votes decide about an image; the default is three votes, two thirds of which agree.
        task: which task decides; None takes the one that was voted on.
        both_sides: leave out checks of which one side has no image left.
        progress: show bars.

    Returns:
        What was built; ``images_dropped`` counts the images that were not released, by reason.

    Raises:
        InputError: votes or items cannot be used, no image is left, or the folder holds something else.
    """
    started = time.monotonic()
    rule, folder = rule or Rule(), Path(out)
    judged = Judged.of(items, read_votes(votes), rule, task=task)
    files = sorted({each.file for each in judged.candidates})
    recipe = {
        "kind": "hum",
        "votes": sha256_of(Path(votes)),
        "items": [sha256_of(file) for file in files],
        "rule": rule.fields(),
        "task": judged.task,
        "both_sides": both_sides,
        "splits": dict(TEST_ONLY),
    }
    if shards.settle(folder, recipe):
        return read_report(folder)
    numbers = range(0, len(judged.candidates), _CHECKS_PER_PART)
    features = check_features()
    staged = run(
        [Part(f"{at:06d}", {"start": at, "stop": at + _CHECKS_PER_PART}) for at in numbers],
        partial(_write_voted, judged=judged, schema=features.arrow_schema),
        folder / shards.WORK / "checks",
        suffix=".parquet",
        fingerprint=recipe,
        progress=progress,
        what="parts of checks",
    )
    return assemble(
        staged,
        folder,
        recipe,
        features=features,
        both_sides=both_sides,
        notes=judged.lines(),
        started=started,
        workers=1,
        progress=progress,
    )


def _write_voted(
    payload: Mapping[str, Any], path: Path, *, judged: Judged, schema: pa.Schema
) -> dict[str, Any]:
    rows, dropped = [], Counter[str]()
    for candidate in judged.candidates[payload["start"] : payload["stop"]]:
        row, lost = judged.row(candidate)
        rows.append(row)
        dropped.update(lost)
    write_parquet([pa.Table.from_pylist([row], schema=schema) for row in rows], path, schema)
    return {"checks": len(rows), "dropped": dict(dropped)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    import argparse

    parser = argparse.ArgumentParser(description="Build CROChum of votes, a release or staged checks.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--from-release", help="a folder with the release's TSV and tar.gz, or its Hub id")
    source.add_argument("--staged", type=Path, help="a folder of staged checks")
    source.add_argument("--votes", type=Path, help="a file of votes")
    parser.add_argument("--items", type=Path, help="the candidates that the votes are about")
    parser.add_argument("--license", help="licence of a release's images")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    if (options.votes is None) != (options.items is None):
        parser.error("--votes and --items belong together")
    try:
        if options.votes is not None:
            report = build_voted(options.votes, options.items, options.out)
        elif options.staged is not None:
            report = build_staged(options.staged, options.out, workers=options.workers)
        else:
            report = build_release(
                options.from_release, options.out, license=options.license, workers=options.workers
            )
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join([str(report.out), *report.lines()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
