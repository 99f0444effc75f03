"""Evaluate score tables of graded checks: ordering, separation, and steps by kind of error.

A graph has a node per set of errors. A path begins at the images without an error and adds one error at a
time. A step compares the images of a node with those that have one error more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from croc import __version__
from croc.checks.schema import split_errors
from croc.errors import InputError
from croc.graded.formulas import (
    best_of,
    different_errors,
    ordering,
    probability_higher,
    separation,
    separation_by_chance,
)
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict.aggregation import nanmean
from croc.verdict.intervals import FEWEST_CONCEPTS, Estimate, Intervals, intervals
from croc.verdict.report import DEFAULT_SEED
from croc.verdict.statistics import Array, best_first, exchange_test, significance_ranks

Node = tuple[str, ...]
BEST_OF = (1, 2, 4, 8, 16, 32, 64)
"""Of how many images the best one is looked at, as far as a graph has so many."""

NODE = "property_path"
"""The column that says which errors the images of a row have."""


@dataclass(frozen=True)
class GradedScore:
    """The results of one metric.

    Attributes:
        metric: its name.
        rank: 1 for the best; metrics that are statistically tied in ordering share a rank.
        ordering: mean Spearman correlation of score and absence of errors along the paths, -1 to 1. A path
            with constant scores counts as 0.
        separation: mean Kolmogorov-Smirnov statistic of nodes with different numbers of errors, 0 to 1.
        separation_by_chance: its expectation if the errors changed nothing.
        step: probability that an image scores higher than one with one error more; a tie counts half.
        by_error: the same by kind of the error that is added.
        by_number: the same by number of errors that are there already.
        best_of: by n, how often the image with the highest score among n images of a prompt has no error,
            over all choices of n images without replacement.
        images: number of images with a score.
        missing: number of images without one.
        baseline: whether it ignores image or text on purpose.
    """

    metric: str
    rank: int | None
    ordering: Estimate
    separation: Estimate
    separation_by_chance: float | None
    step: Estimate
    by_error: Mapping[str, Estimate]
    by_number: Mapping[str, Estimate]
    best_of: Mapping[str, Estimate]
    images: int
    missing: int
    baseline: bool


@dataclass(frozen=True)
class GradedReport:
    """The results of some metrics on graded checks.

    Attributes:
        signature: what the numbers depend on.
        dataset: its name.
        graphs: number of prompts.
        level: of confidence.
        scores: best ordering first.
        best_of_oracle: by n, how often at least one of n images has no error: the best that a metric can do.
            That of 1 is what random scores reach for every n.
        p_values: adjusted p values (Holm) of the exchange tests between orderings, by ``METRIC > METRIC``.
    """

    signature: Signature
    dataset: str
    graphs: int
    level: float
    scores: tuple[GradedScore, ...]
    best_of_oracle: Mapping[str, float]
    p_values: Mapping[str, float]

    def to_json(self) -> str:
        """All numbers as JSON."""
        return json.dumps({**asdict(self), "signature": str(self.signature)}, indent=1, ensure_ascii=False)


def evaluate(
    paths: Iterable[Path | str],
    *,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    permutations: int = 10_000,
    seed: int = DEFAULT_SEED,
) -> GradedReport:
    """Evaluate score tables of graded checks.

    Args:
        paths: files, or folders of them.
        metrics: only these; None takes all.
        level: of confidence.
        permutations: number of permutations in tests; 0 makes no tests.
        seed: of the permutations.

    Raises:
        InputError: a file cannot be read, or its checks are not graded.
    """
    tables = read_score_tables(paths, groups=(NODE,), metrics=metrics)
    return evaluate_tables(tables, level=level, permutations=permutations, seed=seed)


def evaluate_tables(
    tables: Sequence[ScoreTable], *, level: float = 0.95, permutations: int = 10_000, seed: int = DEFAULT_SEED
) -> GradedReport:
    """Evaluate score tables that are read already; see :func:`evaluate`.

    Raises:
        InputError: the checks are not graded, or a graph has no images without errors.
    """
    for table in tables:
        if table.protocol != "graded":
            raise InputError(f"{table.source}: not graded checks (protocol {table.protocol})")
    names = [metric for table in tables for metric in table.metrics]
    graphs = _graphs(tables, names)
    kinds = sorted({kind for graph in graphs.values() for node in graph for kind in node})
    most = max(len(node) for graph in graphs.values() for node in graph)
    smallest = min(sum(scores.shape[1] for scores in graph.values()) for graph in graphs.values())
    numbers = [number for number in BEST_OF if number <= smallest]
    columns = ["ordering", "separation", "step", *kinds, *(str(number) for number in range(most))]
    columns += [f"best of {number}" for number in numbers]
    best, oracles = zip(*(_best_of(graph, numbers) for graph in graphs.values()), strict=True)
    statistics = [_statistics(graph, kinds, most) for graph in graphs.values()]
    rows = np.concatenate([np.stack(statistics), np.stack(best)], axis=2)  # (graphs, metrics, columns)
    oracle = np.mean(oracles, axis=0)
    found = _intervals(rows, level)
    means = nanmean(rows, 0)
    chance = _chance(graphs.values())
    ranks, p_values = _ranks(names, rows[:, :, 0], means[:, 0], permutations, seed)
    baselines = {name for table in tables for name in table.metrics if table.metadata[name].baseline}
    images = {name: (0, 0) for name in names}
    for table in tables:
        for name, (column, _) in table.metrics.items():
            known = len(table.frame) - table.frame[column].null_count()
            images[name] = (known, len(table.frame) - known)

    def estimate(metric: int, column: str) -> Estimate:
        at = columns.index(column)
        low, high = (None, None)
        if len(rows) >= FEWEST_CONCEPTS:
            ends = found.scaled if column == "ordering" else found.accuracy
            low, high = (_number(end) for end in ends[:, metric, at])
        return Estimate(_number(means[metric, at]), low, high)

    scores = [
        GradedScore(
            name,
            ranks.get(name),
            estimate(m, "ordering"),
            estimate(m, "separation"),
            chance,
            estimate(m, "step"),
            {kind: estimate(m, kind) for kind in kinds},
            {str(number): estimate(m, str(number)) for number in range(most)},
            {str(number): estimate(m, f"best of {number}") for number in numbers},
            *images[name],
            name in baselines,
        )
        for m, name in enumerate(names)
    ]
    metadata = tables[0].metadata[names[0]]
    return GradedReport(
        Signature.of(
            croc=__version__,
            task="graded",
            dataset=metadata.dataset,
            dataset_revision=metadata.dataset_revision,
            graphs=len(graphs),
            level=level,
            permutations=permutations,
            seed=seed,
        ),
        metadata.dataset or "unnamed",
        len(graphs),
        level,
        tuple(scores[m] for m in best_first(names, means[:, 0])),
        {str(number): float(value) for number, value in zip(numbers, oracle, strict=True)},
        p_values,
    )


def paths_of(nodes: Iterable[Node]) -> list[tuple[Node, ...]]:
    """All paths: from no error on, each node has one error more than the one before it.

    A path ends where no node of the graph continues it.
    """
    known = set(nodes)
    paths: list[tuple[Node, ...]] = []

    def extend(path: tuple[Node, ...]) -> None:
        following = [node for node in sorted(known) if _is_step(path[-1], node)]
        if not following and len(path) > 1:
            paths.append(path)
        for node in following:
            extend((*path, node))

    if () in known:
        extend(((),))
    return paths


def _is_step(node: Node, worse: Node) -> bool:
    return len(worse) == len(node) + 1 and set(node) < set(worse)


def _graphs(tables: Sequence[ScoreTable], names: Sequence[str]) -> dict[str, dict[Node, Array]]:
    """By graph and node the scores (metrics, images)."""
    keys = ["concept_id", NODE, "check_id", "image_index"]
    wide: pl.DataFrame | None = None
    for table in tables:
        scores = {name: column for name, (column, _) in table.metrics.items()}
        frame = table.frame.filter(pl.col("image_side") == "original").select(
            *keys, *(pl.col(column).alias(f"score {name}") for name, column in scores.items())
        )
        if frame.select(pl.any_horizontal(pl.col("concept_id", NODE).is_null()).any()).item():
            raise InputError(
                f"{table.source}: a row without concept_id or {NODE}, which name graph and errors"
            )
        wide = frame if wide is None else wide.join(frame, on=keys, how="full", coalesce=True)
    assert wide is not None
    columns = [f"score {name}" for name in names]
    graphs: dict[str, dict[Node, Array]] = {}
    for (graph, errors), rows in wide.sort(keys).group_by(["concept_id", NODE], maintain_order=True):
        scores_of = rows.select(pl.col(columns).cast(pl.Float64).fill_null(np.nan)).to_numpy().T
        graphs.setdefault(str(graph), {})[split_errors(str(errors))] = scores_of
    for graph, nodes in graphs.items():
        if () not in nodes or len(nodes) == 1:
            raise InputError(
                f"{tables[0].source}: graph {graph!r} needs images without errors ('none' in {NODE}) and "
                "images with errors"
            )
    return graphs


def _statistics(graph: Mapping[Node, Array], kinds: Sequence[str], most: int) -> Array:
    """(metrics, columns) of one graph: ordering, separation, step, steps by kind and by number of errors."""
    errors = {node: len(node) for node in graph}
    metrics = len(next(iter(graph.values())))
    ordered = ordering(graph, errors, paths_of(graph), constant=0.0)
    separated, _ = separation(graph, different_errors(errors))
    steps = [
        (next(iter(set(worse) - set(node))), len(node), probability_higher(graph[node], graph[worse]))
        for node in graph
        for worse in graph
        if _is_step(node, worse)
    ]

    def mean(chosen: list[Array]) -> Array:
        return nanmean(np.stack(chosen), 0) if chosen else np.full(metrics, np.nan)

    columns = [ordered, separated, mean([value for *_, value in steps])]
    columns += [mean([value for kind, _, value in steps if kind == wanted]) for wanted in kinds]
    columns += [mean([value for _, number, value in steps if number == wanted]) for wanted in range(most)]
    return np.stack(columns, axis=1)


def _best_of(graph: Mapping[Node, Array], numbers: Sequence[int]) -> tuple[Array, Array]:
    """(metrics, numbers) of one graph, and (numbers,) of a metric that is always right."""
    scores = np.concatenate(list(graph.values()), axis=1)
    right = np.concatenate([np.full(values.shape[1], not node) for node, values in graph.items()])
    found = np.stack([best_of(scores, right, number) for number in numbers], axis=1)
    return found, np.array([best_of(right[None].astype(float), right, number)[0] for number in numbers])


def _intervals(rows: Array, level: float) -> Intervals:
    """Intervals over graphs, see :mod:`croc.verdict.intervals`: every column is a share, chance is a half."""
    shares = rows.copy()
    shares[:, :, 0] = (rows[:, :, 0] + 1) / 2  # a correlation, from -1 to 1
    known = ~np.isnan(shares)
    sums = np.stack([np.where(known, shares, 0.0), known * 0.5, known.astype(float)], axis=-1)
    return intervals(sums[:, None], np.ones(rows.shape[2], bool), level)


def _chance(graphs: Iterable[Mapping[Node, Array]]) -> float | None:
    values = [
        separation_by_chance(graph[a].shape[1], graph[b].shape[1])
        for graph in graphs
        for a, b in different_errors({node: len(node) for node in graph})
    ]
    return float(np.mean(values)) if values else None


def _ranks(
    names: Sequence[str], orderings: Array, means: Array, permutations: int, seed: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Ranks and p values by the exchange test of the orderings, graph by graph."""
    if not permutations or len(names) < 2:
        return {}, {}
    order = best_first(names, means)
    p = exchange_test(orderings[:, order], permutations, seed)
    ranks = significance_ranks(means[order], p)
    sorted_names = [names[metric] for metric in order]
    named = {
        f"{first} > {second}": float(p[a, a + 1 + b])
        for a, first in enumerate(sorted_names)
        for b, second in enumerate(sorted_names[a + 1 :])
    }
    return dict(zip(sorted_names, ranks, strict=True)), named


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
