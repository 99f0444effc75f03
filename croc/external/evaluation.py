"""Scores of new metrics on a benchmark of others: its own standard scores, and this program's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from croc.errors import InputError
from croc.external.benchmark import Benchmark
from croc.external.items import Rated
from croc.external.location import Located, locate
from croc.external.standard import direction_scores
from croc.ratings.correlation import correlate
from croc.ratings.records import Correlations
from croc.tables.pair_tables import select_metrics
from croc.tables.readers import read_pair_table, read_score_tables
from croc.verdict.records import Stored, Text
from croc.wording import counted


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


def evaluate_on(
    benchmark: Benchmark,
    data: Path | None,
    tables: Sequence[Path],
    *,
    revision: str | None = None,
    log: Callable[[str], None],
) -> Evaluation:
    """Evaluate metrics on a benchmark.

    Args:
        benchmark: rated or contrastive.
        data: folder with its files, or a folder above it; None looks in the current folder, then on the Hub.
        tables: pair tables with ``item_id`` for a rated benchmark, score tables whose ``check_id`` is the
            item's for a contrastive one.
        revision: tag or commit on the Hub.
        log: called with the place of the files, unless it was given.

    Raises:
        InputError: a file cannot be used, or a table has no item of the benchmark.
    """
    located = locate(benchmark, data, revision, images=False, log=log)
    if benchmark.kind == "contrastive":
        return _contrastive(benchmark, located, tables)
    assert benchmark.read is not None and benchmark.score is not None
    items = benchmark.read(located.folder)
    joined, notes = join_scores(items, tables)
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


def _contrastive(benchmark: Benchmark, located: Located, tables: Sequence[Path]) -> Evaluation:
    """Standard scores, and accuracy by direction; in parity mode ties and missing scores fail."""
    own, left_out = _items(benchmark, located.folder)
    read = read_score_tables(tables, protocol="hum")
    scored: set[str] = set().union(*(table.frame["check_id"] for table in read))
    if not scored & own:
        raise InputError(f"no check_id of the tables is an item of {benchmark.name}; expected {min(own)!r}")
    if unknown := sorted(scored - own):
        raise InputError(f"check_id {unknown[0]!r} is not an item of {benchmark.name}")
    score = benchmark.score or direction_scores
    notes = [] if scored == own else [f"{len(scored):,} of {counted(len(own), 'item')} have scores."]
    parity = benchmark.parity or (
        "Ties and missing scores fail; by default a tie counts one half and missing scores are left out."
    )
    found = _scores(score(read, "parity"), score(read, "default"))
    return Evaluation(benchmark.name, parity, found, (*left_out, *notes), None)


def _items(benchmark: Benchmark, folder: Path) -> tuple[set[str], tuple[str, ...]]:
    """The ids of the items, and what was left out."""
    if benchmark.pairs is not None:
        pairs = benchmark.pairs(folder)
        return {check.check_id for check in pairs.checks}, pairs.left_out
    assert benchmark.read is not None
    items = benchmark.read(folder)
    return set(items.table["item_id"]), items.left_out


def _scores(parity: Mapping[str, float], default: Mapping[str, float]) -> tuple[StandardScore, ...]:
    """Scores that are defined in one of the modes."""
    names = dict.fromkeys((*parity, *default))
    values = {name: (_finite(parity.get(name)), _finite(default.get(name))) for name in names}
    return tuple(StandardScore(name, *pair) for name, pair in values.items() if pair != (None, None))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
