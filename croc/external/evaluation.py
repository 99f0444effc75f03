"""Scores of new metrics on a benchmark of others: its own standard scores, and this program's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.external.benchmark import Benchmark, require_folder
from croc.external.items import Contrastive, Rated
from croc.ratings.correlation import correlate
from croc.ratings.records import Correlations
from croc.tables.pair_tables import select_metrics
from croc.tables.readers import read_pair_table, read_score_tables
from croc.verdict.records import DIRECTION_NAMES, Stored, Text
from croc.wording import counted

STANDARD = ("text_score", "image_score", "group_score")


@dataclass(frozen=True)
class StandardScore(Stored):
    """A standard score of a benchmark.

    Attributes:
        name: ``METRIC SCORE``.
        parity: as the authors compute it; None where it is undefined.
        default: by this program's defaults.
    """

    name: Text
    parity: float | None
    default: float | None


@dataclass(frozen=True)
class Evaluation(Stored):
    """Metrics on a benchmark.

    Attributes:
        benchmark: its name.
        parity: what the authors' code does that the defaults do not do.
        scores: the standard scores.
        notes: what was left out or not found.
        correlations: by :func:`croc.ratings.correlation.correlate`; None for a contrastive benchmark.
    """

    description: ClassVar[str] = "an evaluation on a benchmark of others"

    benchmark: Text
    parity: Text
    scores: tuple[StandardScore, ...]
    notes: tuple[Text, ...]
    correlations: Correlations | None


def evaluate_on(benchmark: Benchmark, folder: Path, tables: Sequence[Path]) -> Evaluation:
    """Evaluate metrics on a benchmark.

    Args:
        benchmark: rated or contrastive.
        folder: with its files, or a folder above it.
        tables: pair tables with ``item_id`` for a rated benchmark, score tables whose ``check_id`` is the
            item's for a contrastive one.

    Raises:
        InputError: a file cannot be used, or a table has no item of the benchmark.
    """
    items = benchmark.read(require_folder(benchmark, folder))
    if isinstance(items, Contrastive):
        return _contrastive(benchmark, items, tables)
    joined, notes = join_scores(items, tables)
    assert benchmark.score is not None
    parity, default = (benchmark.score(joined, mode) for mode in ("parity", "default"))
    correlations = correlate(joined.table, items.humans[:1], metrics=joined.metrics)
    return Evaluation(
        benchmark.name, benchmark.parity, _scores(parity, default), (*items.left_out, *notes), correlations
    )


def join_scores(items: Rated, tables: Sequence[Path]) -> tuple[Rated, list[str]]:
    """The items of a benchmark with the metrics of pair tables in place of its own.

    Raises:
        InputError: a table cannot be read, has no item of the benchmark, or repeats a metric.
    """
    table = items.table.drop(items.metrics)
    own = set(table.columns) - {"item_id"}
    metrics: list[str] = []
    notes = []
    for path in tables:
        scores = read_pair_table(path)
        scores = scores.drop(name for name in scores.columns if name in own)
        chosen, _ = select_metrics(scores, (), None)
        if repeated := [name for name in chosen if name in metrics]:
            raise InputError(f"{path}: the metric {repeated[0]!r} is also in another table; rename one")
        unknown = scores.join(table, on="item_id", how="anti")
        if len(unknown) == len(scores):
            raise InputError(f"{path}: no item_id is one of the benchmark; expected {table['item_id'][0]!r}")
        if len(unknown):
            notes.append(f"{path.name}: {counted(len(unknown), 'item')} not in the benchmark left out.")
        table = table.join(scores.select("item_id", *chosen), on="item_id", how="left")
        metrics += chosen
    missing = {name: table[name].null_count() for name in metrics}
    if some := [f"{name} {number}" for name, number in missing.items() if number]:
        notes.append(f"Items without a score: {', '.join(some)}.")
    return replace(items, table=table, metrics=tuple(metrics)), notes


def _contrastive(benchmark: Benchmark, items: Contrastive, tables: Sequence[Path]) -> Evaluation:
    """Winoground's scores, and accuracy by direction; in parity mode ties and missing scores fail."""
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Settings

    own = set(items.table["item_id"])
    scored: set[str] = set()
    for table in read_score_tables(tables, protocol="hum"):
        scored |= set(table.frame["check_id"])
    if not scored & own:
        raise InputError(f"no check_id of the tables is an item of {benchmark.name}; expected {min(own)!r}")
    if unknown := sorted(scored - own):
        raise InputError(f"check_id {unknown[0]!r} is not an item of {benchmark.name}")
    found: list[dict[str, float | None]] = []
    for settings in (Settings(paper=True, resamples=0, flips=0), Settings(resamples=0, flips=0)):
        report = evaluate(list(tables), settings=settings, protocol="hum")
        values: dict[str, float | None] = {}
        for score in report.scores:
            if score.group is not None:
                continue
            for name in STANDARD:
                values[f"{score.metric} {name.replace('_', ' ')}"] = getattr(score, name)
            for direction in DIRECTIONS:
                result = report.result(score.metric, direction)
                values[f"{score.metric} {DIRECTION_NAMES[direction]}"] = (
                    None if result is None else result.accuracy
                )
        found.append(values)
    notes = [] if scored == own else [f"{len(scored):,} of {counted(len(own), 'item')} have scores."]
    parity = "Ties and missing scores fail; by default a tie counts one half and missing scores are left out."
    return Evaluation(benchmark.name, parity, _scores(*found), (*items.left_out, *notes), None)


def _scores(
    parity: Mapping[str, float | None], default: Mapping[str, float | None]
) -> tuple[StandardScore, ...]:
    """Scores that are defined in one of the modes."""
    names = dict.fromkeys((*parity, *default))
    values = {name: (_finite(parity.get(name)), _finite(default.get(name))) for name in names}
    return tuple(StandardScore(name, *pair) for name, pair in values.items() if pair != (None, None))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
