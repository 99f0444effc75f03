"""Scores of metrics on the images of others' benchmarks: by the engine of ``croc score``, resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from croc.checks.rows import Row, check_row
from croc.checks.schema import IMAGE_COLUMNS, stable_hash
from croc.checks.sources import Checks, CheckTexts
from croc.errors import InputError
from croc.external.benchmark import Benchmark
from croc.external.images import Image, Pairs
from croc.external.items import Rated
from croc.external.location import Located, locate
from croc.images.scoring import join_scores
from croc.scoring.run import ScoringSettings, score_dataset
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.wording import counted

TABLES = "score-tables"
"""Folder of the score tables of a rated benchmark, from which its pair table is made."""


def score_benchmark(
    benchmark: Benchmark,
    scorers: Sequence[Any],
    out: Path,
    settings: ScoringSettings | None = None,
    *,
    data: Path | None = None,
    revision: str | None = None,
    max_items: int | None = None,
    options: Mapping[str, Any] | None = None,
    log: Callable[[str], None],
) -> list[Path]:
    """Run scorers on the images of a benchmark.

    Args:
        benchmark: one with images.
        scorers: as :func:`croc.scoring.run.score_dataset` takes them.
        out: folder of the tables; an interrupted run is resumed in it.
        settings: batch size, resume, progress; None takes the defaults.
        data: folder with the files; None looks in the current folder, then on the Hub.
        revision: tag or commit on the Hub.
        max_items: largest number of items; see :func:`sample`.
        options: arguments for those scorers that take them.
        log: called with remarks and with one summary line per scorer.

    Returns:
        Of a contrastive benchmark the score table of each scorer, of a rated one its pair table, which has a
        column for every scorer in the folder.

    Raises:
        InputError: the files, a scorer or an option cannot be used, or ``out`` holds other work.
        CrocError: a scorer breaks its contract, or too many pairs failed.
    """
    if benchmark.pairs is None:
        raise InputError(
            f"{benchmark.name}: its images are not read; 'croc external list' names those to score"
        )
    located = locate(benchmark, data, revision, images=True, log=log)
    pairs = benchmark.pairs(located.folder)
    for note in pairs.left_out:
        log(note)
    _count_missing(benchmark, pairs, log)
    checks = open_pairs(benchmark, pairs, located)
    if max_items is not None:
        checks = checks.select(sample([check.concept_id for check in pairs.checks], max_items))
    settings = replace(settings or ScoringSettings(), protocol="hum")  # labels by people, no subsets
    rated = benchmark.kind == "rated"
    folder = out / TABLES if rated else out
    files = score_dataset(checks, scorers, folder, settings, options=options, log=log)
    if not rated:
        return files
    assert benchmark.read is not None
    file = out / f"{benchmark.name}.parquet"
    write_pairs(benchmark.read(located.folder), read_score_tables([folder]), file)
    return [file]


def sample(groups: Sequence[str | None], number: int) -> list[int]:
    """Items of whole groups, such as the images of a prompt, evenly spaced over all groups.

    Args:
        groups: of each item.
        number: largest number of items. A group that is larger by itself is cut.

    Returns:
        The numbers of the items, in order.

    >>> sample(["a", "a", "b", "b", "c", "c", "d", "d"], 5)
    [0, 1, 4, 5]
    """
    members: dict[str | None, list[int]] = {}
    for item, group in enumerate(groups):
        members.setdefault(group, []).append(item)
    wanted = min(len(members), max(1, len(members) * number // max(len(groups), 1)))
    kinds = list(members.values())
    found: list[int] = []
    for n in range(wanted):
        chosen = kinds[n * len(kinds) // wanted]
        if found and len(found) + len(chosen) > number:
            break
        found += chosen
    return sorted(found[:number])


def open_pairs(benchmark: Benchmark, pairs: Pairs, located: Located) -> Checks:
    """The pairs of a benchmark as checks that can be read in slices.

    Raises:
        InputError: there are none, or two items have the same id.
    """
    if not pairs.checks:
        raise InputError(f"{located.folder}: {benchmark.name} has no items here")
    texts = [CheckTexts(check.check_id, None, check.prompt, check.contrast_prompt) for check in pairs.checks]
    revision = located.commit or f"texts:{stable_hash(*texts, length=16)}"

    def read(start: int, stop: int) -> list[Row]:
        return [_row(pairs.checks[number]) for number in range(start, stop)]

    return Checks(located.name, revision, texts, read, pinned=located.commit is not None)


def _row(check: Any) -> Row:
    images = {side: [_undecoded(image) for image in getattr(check, side)] for side in IMAGE_COLUMNS}
    return check_row(check.row() | images, f"item {check.check_id!r}")


def _undecoded(image: Image) -> dict[str, Any]:
    if isinstance(image, Path):
        return {"bytes": None, "path": str(image)}
    try:
        return {"bytes": image.read(), "path": None}
    except InputError as problem:  # a pair without a score, with its reason
        return {"refused": str(problem)}


def _count_missing(benchmark: Benchmark, pairs: Pairs, log: Callable[[str], None]) -> None:
    """Count image files that are not there.

    Raises:
        InputError: none is there.
    """
    images = list(dict.fromkeys(pairs.images()))
    missing = [image for image in images if isinstance(image, Path) and not image.is_file()]
    if not missing:
        return
    if len(missing) == len(images):
        raise InputError(f"{missing[0]}: no such file, and no other image; {benchmark.describe_images()}")
    log(
        f"{len(missing):,} of {counted(len(images), 'image')} missing, such as {missing[0]}; their pairs "
        "have no score"
    )


def write_pairs(items: Rated, tables: Sequence[ScoreTable], file: Path) -> None:
    """Write the pair table of a rated benchmark, as ``croc correlate`` reads it.

    Args:
        items: the benchmark.
        tables: score tables whose ``check_id`` is the item's; items in none of them are left out.
        file: the Parquet file: ``item_id``, ``system``, ``prompt``, the ratings, a column per metric and
            ``failure``, why a score is missing. Its metadata have the signature of each metric.

    Raises:
        InputError: a metric has the name of a column.
    """
    table = items.table.select("item_id", "system", "prompt", *items.humans)
    scored = pl.concat([scores.frame["check_id"] for scores in tables]).unique()
    join_scores(table.filter(pl.col("item_id").is_in(scored.implode())), tables).write(file)
