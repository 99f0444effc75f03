"""CROChum: votes, staged checks or the authors' release → a folder that ``datasets.load_dataset`` reads.

The commands are ``croc build hum``, ``croc build staged hum``, ``croc build nlvr`` and ``croc hum release``.
The first is also::

    python -m builders.hum --from-release nllg/croc_hum --out runs/hum
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders import authors_release as releases
from builders import shards
from builders.assembly import TEST_ONLY, BuildReport, assemble, assemble_staged, read_report
from croc.checks.schema import check_features
from croc.external.benchmarks import nlvr
from croc.jobs.executors import on_this_machine
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import read_manifest, run
from croc.storage.files import sha256_of
from croc.storage.parquet import write_parquet
from croc_hum.release.release import VotedCandidates
from croc_hum.votes.votes import Rule, read_votes

NLVR_TITLE = "NLVR as contrastive checks: sentences that people wrote about drawn scenes"

_CHECKS_PER_PART = 50


@shards.one_at_a_time
def build_release(
    source: str | Path,
    out: str | Path,
    *,
    license: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> BuildReport:
    """Build checks from the authors' release.

    An interrupted build is resumed when it is called again.

    Args:
        source: a folder with the release's TSV and tar.gz, or its Hub id.
        out: the folder to make.
        license: licence of the images; None if it is not known.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: table or archive cannot be used, or the folder holds something else.
    """
    started = time.monotonic()
    release, folder = releases.find_release(source), Path(out)
    recipe = {
        "kind": "hum",
        "release": {
            release.table.name: sha256_of(release.table),
            release.archive.name: sha256_of(release.archive),
        },
        "license": license,
        "splits": dict(TEST_ONLY),
    }
    if shards.is_finished(folder, recipe):
        return read_report(folder)
    unpacked = folder / shards.WORK / "archive"
    releases.extract(release.archive, unpacked)
    root = releases.find_root(unpacked, release.entries)
    parts, lost = releases.plan_parts(release, root)
    return _stage_and_assemble(
        folder,
        recipe,
        parts,
        partial(releases.write_checks, root=root, license=license),
        # From then on only the staged parts are read, and disk space may be short.
        staged_callback=partial(shutil.rmtree, unpacked),
        dropped=lost,
        notes=release.notes,
        started=started,
        executor=executor,
        progress=progress,
    )


@shards.one_at_a_time
def build_nlvr(
    source: str | Path, out: str | Path, *, executor: Executor | None = None, progress: bool = True
) -> BuildReport:
    """Build checks from a split of NLVR: sentences by people, votes of several raters, drawn images.

    Args:
        source: a split's folder, such as ``nlvr/dev``.
        out: the folder to make.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: the folder does not hold the split, or ``out`` holds something else.
    """
    started = time.monotonic()
    split, folder = Path(source), Path(out)
    sentences = nlvr.read_sentences(split)
    recipe = {
        "kind": "hum",
        "title": NLVR_TITLE,
        "repo": "croc/nlvr",
        "nlvr": sha256_of(split / f"{split.name}.json"),
        "splits": dict(TEST_ONLY),
    }
    if shards.is_finished(folder, recipe):
        return read_report(folder)
    starts = range(0, len(sentences), _CHECKS_PER_PART)
    return _stage_and_assemble(
        folder,
        recipe,
        [Part(f"{start:05d}", sentences[start : start + _CHECKS_PER_PART]) for start in starts],
        partial(_write_nlvr, split=split),
        notes=[
            f"sentences, images and votes are those of {nlvr.SOURCE}, {nlvr.LICENSE}",
            "a sentence has no contrast prompt: the text directions have nothing to compare",
        ],
        started=started,
        executor=executor,
        progress=progress,
    )


def _write_nlvr(
    payload: Sequence[dict[str, Any]], path: Path, *, split: Path, schema: pa.Schema
) -> dict[str, Any]:
    checks = (nlvr.check_of(sentence, split) for sentence in payload)
    tables = (pa.Table.from_pylist([check.row()], schema=schema) for check in checks)
    return {"checks": write_parquet(tables, path, schema)}


@shards.one_at_a_time
def build_staged(staged: str | Path, out: str | Path, **options: Any) -> BuildReport:
    """Put a folder of staged checks into shards; the options are those of :func:`assemble_staged`."""
    return assemble_staged("hum", read_manifest(staged), out, check_features(), both_sides=False, **options)


@shards.one_at_a_time
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
    """Build checks from the images that annotators voted for.

    An interrupted build is resumed when it is called again.

    Args:
        votes: a file of votes, see :func:`croc_hum.votes.votes.read_votes`.
        items: the candidates: the folder that ``croc hum candidates`` made.
        out: the folder to make.
        rule: when votes decide about an image; the default is three votes, two thirds of which agree.
        task: the task that decides; None takes the only one.
        both_sides: drop checks of which one side has no image left.
        progress: show bars.

    Returns:
        The report; ``images_dropped`` is the number of images that were not released, by reason.

    Raises:
        InputError: votes or items cannot be used, no image is left, or the folder holds something else.
    """
    started = time.monotonic()
    rule, folder = rule or Rule(), Path(out)
    voted = VotedCandidates.of(items, read_votes(votes), rule, task=task)
    files = sorted({candidate.file for candidate in voted.candidates})
    recipe = {
        "kind": "hum",
        "votes": sha256_of(Path(votes)),
        "items": [sha256_of(file) for file in files],
        "rule": rule.fields(),
        "task": voted.task,
        "both_sides": both_sides,
        "splits": dict(TEST_ONLY),
    }
    if shards.is_finished(folder, recipe):
        return read_report(folder)
    starts = range(0, len(voted.candidates), _CHECKS_PER_PART)
    return _stage_and_assemble(
        folder,
        recipe,
        [Part(f"{start:06d}", {"start": start, "stop": start + _CHECKS_PER_PART}) for start in starts],
        partial(_write_voted, voted=voted),
        both_sides=both_sides,
        notes=voted.lines(),
        started=started,
        executor=None,
        progress=progress,
    )


def _write_voted(
    payload: Mapping[str, Any], path: Path, *, voted: VotedCandidates, schema: pa.Schema
) -> dict[str, Any]:
    rows, dropped = [], Counter[str]()
    for candidate in voted.candidates[payload["start"] : payload["stop"]]:
        row, lost = voted.row(candidate)
        rows.append(row)
        dropped.update(lost)
    write_parquet([pa.Table.from_pylist([row], schema=schema) for row in rows], path, schema)
    return {"checks": len(rows), "dropped": dict(dropped)}


def _stage_and_assemble(
    folder: Path,
    recipe: Mapping[str, Any],
    parts: Sequence[Part],
    write: Callable[..., dict[str, Any]],
    *,
    staged_callback: Callable[[], None] | None = None,
    both_sides: bool = False,
    executor: Executor | None,
    progress: bool,
    **options: Any,
) -> BuildReport:
    """Make the staged parts of a build, then the finished folder; further options are those of `assemble`."""
    features = check_features()
    staged = run(
        parts,
        partial(write, schema=features.arrow_schema),
        folder / shards.WORK / "checks",
        suffix=".parquet",
        fingerprint=recipe,
        executor=on_this_machine(executor),
        progress=progress,
        what="parts of checks",
    )
    if staged_callback is not None:
        staged_callback()
    return assemble(
        staged,
        folder,
        recipe,
        features=features,
        both_sides=both_sides,
        executor=executor,
        progress=progress,
        **options,
    )


if __name__ == "__main__":
    import sys

    from croc.cli import main

    main(["build", "hum", *sys.argv[1:]], prog_name="croc")
