"""Rankings of metrics on benchmarks with their resamples: of results files, tables and published scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from croc.checks.schema import DIRECTIONS, stable_hash
from croc.errors import InputError
from croc.external.benchmark import Benchmark, benchmarks, find_benchmark, require_folder
from croc.external.items import Contrastive
from croc.external.results import (
    COEFFICIENTS,
    Coefficient,
    ExternalResults,
    coefficient_matrix,
    make_result,
)
from croc.external.results import read_result as read_external_result
from croc.results.files import existing_group_columns, has_values
from croc.results.leaderboard import leaderboard
from croc.storage.files import read_json
from croc.tables.readers import find_tables, read_score_tables
from croc.tables.signature import Signature
from croc.transfer.metric_names import CROC, Metric, identify
from croc.verdict.aggregation import nanmean
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import NO_VALUE, Report
from croc.verdict.report import Settings as ReportSettings
from croc.verdict.statistics import Array, resample_counts

CROC_PARTS = ("category", "property")
"""The parts of CROC: categories, and in score tables properties."""

MOST_MISSING = 0.1
"""A metric without a value on a larger share of the items is not ranked: it would be ranked on others."""


@dataclass(frozen=True)
class Ranking:
    """The metrics of a benchmark, or of a part of it.

    Attributes:
        benchmark: its name.
        column: what the part is, such as ``category``; None for all items.
        value: which part; None for all items.
        metrics: (m,).
        names: (m,) their names on the benchmark.
        values: (m,) scores.
        samples: (k, m) scores in each resample of the items. Rankings of the same items are resampled
            together.
        score: what the scores are.
        items: number of prompts, checks or pairs.
    """

    benchmark: str
    column: str | None
    value: str | None
    metrics: tuple[Metric, ...]
    names: tuple[str, ...]
    values: Array
    samples: Array
    score: str
    items: int


@dataclass(frozen=True)
class Source:
    """All rankings of one benchmark.

    Attributes:
        name: of the benchmark.
        whole: on all items; None if fewer than two metrics are ranked there.
        parts: on each part.
        notes: sentences about metrics that are not ranked.
        signature: of its numbers.
    """

    name: str
    whole: Ranking | None
    parts: tuple[Ranking, ...]
    notes: tuple[str, ...]
    signature: str

    @property
    def rankings(self) -> tuple[Ranking, ...]:
        """All of them."""
        return (*(() if self.whole is None else (self.whole,)), *self.parts)


@dataclass(frozen=True)
class Draw:
    """How items are resampled and which coefficient ranks metrics of rated benchmarks."""

    resamples: int = 2_000
    seed: int = 0
    coefficient: Coefficient = "order"


def read_sources(inputs: Sequence[str], data: Path, draw: Draw) -> list[Source]:
    """Read the benchmarks that a person names.

    Args:
        inputs: names of others' benchmarks, results files of CROC and of others' benchmarks, folders of them,
            and score tables of CROC.
        data: folder with the files of others' benchmarks.
        draw: see :class:`Draw`.

    Raises:
        InputError: an input is none of these or cannot be used, or a benchmark is given twice.
    """
    sources: list[Source] = []
    results: list[Path] = []
    tables: list[Path] = []
    for given in inputs:
        path = Path(given)
        if not path.exists():
            if given not in benchmarks() and (path.suffix or len(path.parts) > 1):
                raise InputError(f"{given}: no such file or folder")
            sources.append(read_published(find_benchmark(given), data, draw))
            continue
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if path.is_dir() and not files:
            tables.append(path)
        for file in files:
            if file.suffix != ".json":
                tables.append(file)
            elif _is_external(file):
                sources.append(of_result(read_external_result(file), draw))
            else:
                results.append(file)
    if results:
        board = leaderboard(results, resamples=draw.resamples, flips=0)
        if board.problems:
            raise InputError(board.problems[0])
        sources += [of_report(benchmark.report, draw) for benchmark in board.benchmarks]
    if tables:
        sources += _of_tables(tables, draw)
    names = [source.name for source in sources]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"the benchmark {repeated[0]!r} is given twice; name it once")
    return sources


def _is_external(file: Path) -> bool:
    content = read_json(file, "no such file")
    return isinstance(content, dict) and "benchmark" in content


# ---- CROC ----


def _of_tables(tables: Sequence[Path], draw: Draw) -> list[Source]:
    """The reports on score tables, those of one protocol and dataset together."""
    together: dict[tuple[str | None, ...], list[Path]] = {}
    for path in tables:
        for file in find_tables([path]):
            key: tuple[str | None, ...] = ("text",)
            if file.suffix == ".parquet":
                (table, *_) = read_score_tables([file], judges=True)
                metadata = next(iter(table.metadata.values()))
                key = (table.protocol, metadata.dataset, metadata.dataset_revision)
            together.setdefault(key, []).append(file)
    sources = []
    for files in together.values():
        groups = [name for name in existing_group_columns(files[0]) if name in CROC_PARTS]
        read = read_score_tables(files, groups=groups, judges=True)
        by = tuple(name for name in groups if all(has_values(table.frame, name) for table in read))
        report = evaluate_tables(read, ReportSettings(by=by, resamples=draw.resamples, flips=0))
        sources.append(of_report(report, draw))
    return sources


def of_report(report: Report, draw: Draw) -> Source:
    """The rankings of a report on CROC: on all checks, by category, by property. Baselines are not ranked."""
    kept = [place for place, score in enumerate(report.ranking) if not score.baseline]
    baselines = [score.metric for score in report.ranking if score.baseline]
    name = f"{report.protocol}: {report.dataset.name}"
    metrics = tuple(identify(CROC, report.metrics[place]) for place in kept)
    rankings = []
    for (column, value), samples in report.samples.items():
        # Random streams are named after groups, so that those of two benchmarks may be the same: permute.
        order = np.random.default_rng([draw.seed, _number(name)]).permutation(len(samples))
        if column not in (None, *CROC_PARTS) or value == NO_VALUE:
            continue
        scores = [report.score(report.metrics[place], column, value) for place in kept]
        rankings.append(
            Ranking(
                name,
                column,
                value,
                metrics,
                tuple(report.metrics[place] for place in kept),
                _rounded([np.nan if score.scaled is None else score.scaled for score in scores]),
                _rounded(nanmean(samples[:, kept], -1)[order]),
                "mean scaled accuracy",
                max((score.n for score in scores), default=0),
            )
        )
    notes = (f"Baselines are not ranked: {', '.join(baselines)}.",) if baselines else ()
    return _source(name, rankings, notes, str(report.signature))


# ---- Others' benchmarks ----


def read_published(benchmark: Benchmark, data: Path, draw: Draw) -> Source:
    """The rankings from the published scores or answers of a benchmark.

    Raises:
        InputError: its files cannot be used, or have no scores.
    """
    if benchmark.kind == "rated":
        return of_result(make_result(benchmark, data), draw)
    if benchmark.read is None:
        raise InputError(f"{benchmark.name}: no answers of metrics are published; give results of your own")
    items: Contrastive = benchmark.read(require_folder(benchmark, data))
    return of_answers(benchmark, items, draw)


def of_result(result: ExternalResults, draw: Draw) -> Source:
    """The rankings of a results file: on all prompts and by part."""
    matrix = coefficient_matrix(result, draw.coefficient)
    metrics = [identify(result.origin(name).benchmark, name) for name in result.metrics]
    score = f"{COEFFICIENTS[draw.coefficient]} ({result.human}), mean over prompts"
    return of_items(
        result.benchmark,
        result.metrics,
        metrics,
        matrix,
        result.prompts,
        (result.part, result.parts),
        score,
        str(result.correlations.signature),
        draw,
    )


def of_answers(benchmark: Benchmark, items: Contrastive, draw: Draw) -> Source:
    """The rankings of contrastive answers: the share of right ones, on all items and by category."""
    right = items.table.with_columns(right=pl.mean_horizontal(*DIRECTIONS))
    wide = right.pivot("metric", index=["item_id", "category"], values="right", aggregate_function="mean")
    names = tuple(name for name in wide.columns if name not in ("item_id", "category"))
    return of_items(
        benchmark.name,
        names,
        [identify(benchmark.name, name) for name in names],
        wide.select(names).to_numpy().T,
        wide["item_id"].to_list(),
        ("category", wide["category"].to_list()),
        "share of right answers",
        str(Signature.of(dataset=benchmark.name, dataset_revision=benchmark.source.commit)),
        draw,
    )


def of_items(
    name: str,
    names: Sequence[str],
    metrics: Sequence[Metric],
    matrix: Array,
    items: Sequence[str],
    parts: tuple[str, Sequence[str | None]],
    score: str,
    signature: str,
    draw: Draw,
) -> Source:
    """The rankings of metrics whose score is a mean over items.

    Args:
        name: of the benchmark.
        names: (m,) of the metrics there.
        metrics: (m,).
        matrix: (m, n) value of each metric on each item; NaN for none.
        items: (n,) names of the items; benchmarks with the same ones are resampled together.
        parts: what the parts are, and (n,) the part of each item.
        score: what the scores are.
        signature: of the numbers.
        draw: see :class:`Draw`.
    """
    order = np.argsort(np.array(items), kind="stable")
    matrix, (column, labels) = matrix[:, order], parts
    sorted_parts = [labels[place] for place in order]
    rng = np.random.default_rng([draw.seed, _number(*(items[place] for place in order))])
    counts = resample_counts(len(items), draw.resamples, rng)
    rankings, notes = [], []
    for part in (None, *sorted({label for label in sorted_parts if label is not None})):
        own = np.array([part is None or label == part for label in sorted_parts])
        some = ~np.isnan(matrix[:, own]).all(axis=0)
        missing = np.isnan(matrix[:, own][:, some]).mean(axis=1)
        kept = np.flatnonzero(missing <= MOST_MISSING).tolist()
        if part is None and len(kept) < len(names):
            left = [f"{names[m]} {missing[m]:.0%}" for m in range(len(names)) if m not in kept]
            notes.append(
                f"Metrics without a value on more than {MOST_MISSING:.0%} of the items are not ranked on all "
                f"items: {', '.join(left)}."
            )
        inside = matrix[kept][:, own]
        known = (~np.isnan(inside)).astype(float)
        drawn = counts[:, own].astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            samples = _rounded((drawn @ np.nan_to_num(inside).T) / (drawn @ known.T))
        rankings.append(
            Ranking(
                name,
                None if part is None else column,
                part,
                tuple(metrics[m] for m in kept),
                tuple(names[m] for m in kept),
                _rounded(np.nanmean(inside, axis=1)) if inside.size else np.empty(0),
                samples,
                score,
                int(some.sum()),
            )
        )
    return _source(name, rankings, notes, signature)


def _rounded(values: Any) -> Array:
    """Which of two nearly equal metrics is first must not depend on the order of a sum."""
    rounded: Array = np.rint(np.asarray(values, dtype=np.float64) * 1e9) / 1e9
    return rounded


def _source(name: str, rankings: Sequence[Ranking], notes: Sequence[str], signature: str) -> Source:
    whole = next((one for one in rankings if one.column is None), None)
    columns = [one.column for one in rankings]
    parts = tuple(one for one in rankings if one.column is not None and columns.count(one.column) > 1)
    return Source(name, whole, parts, tuple(notes), signature)


def _number(*names: str) -> int:
    return int(stable_hash(*names, length=12), 16)
