"""The leaderboard: many results files side by side, a ``Report`` for each benchmark.

board = leaderboard(["results"])
board.benchmarks[0].report          # a Report of all metrics on one benchmark, for croc.rendering.render
board.benchmarks[0].rows()          # a row per metric, for a table
board.side_by_side()                # every benchmark in one row per metric
board.agreements                    # do syn and hum rank the metrics alike?
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.results.files import Dataset, ResultFile, read_result
from croc.verdict import findings
from croc.verdict.aggregation import Evidence, average
from croc.verdict.directions import scaled_accuracy
from croc.verdict.records import Agreement, Finding, Result, Score
from croc.verdict.report import Group, GroupTests, Report, Settings, clusters_of, comparisons_of, groups_by

_SUMS = 3  # value, chance and number of verdicts, per direction


@dataclass(frozen=True)
class Benchmark:
    """All results on one benchmark.

    Attributes:
        report: the metrics side by side, best first, with significance clusters, paired tests and findings;
            what ``croc.rendering.render`` shows.
        files: the result of each metric of the report.
        dataset: name and revision of the checks.
    """

    report: Report
    files: Mapping[str, ResultFile]
    dataset: Dataset

    @property
    def name(self) -> str:
        """For people: protocol and dataset."""
        return f"{self.report.protocol}: {self.dataset.name}"

    def groups(self, column: str) -> tuple[str, ...]:
        """The values that the benchmark is broken down by in ``subset``, ``category`` or ``property``."""
        found = {s.group_value for s in self.report.scores if s.group == column and s.group_value is not None}
        return tuple(sorted(found))

    def rows(self, column: str = "category") -> list[dict[str, Any]]:
        """A row per metric, best first: what a table shows.

        Args:
            column: which grouping follows the four directions; each of its values is a key.

        Returns:
            Keys ``rank, metric, scaled, ci_low, ci_high``, the four directions, the values of ``column``,
            ``all_passed, ties, coverage, checks, of, blind, trained_on_croc, url, signature``. Scaled
            accuracies lie in −1…1, shares in 0…1; None where there is none. ``of`` is the largest number of
            checks that a metric was scored on here: one with fewer ``checks`` saw a part of them.
        """
        directions = {
            (result.metric, result.direction): result.scaled
            for result in self.report.results
            if result.group is None and result.text_model is None
        }
        cells = {(s.metric, s.group, s.group_value): s.scaled for s in self.report.scores}
        rows = []
        for metric in self.report.metrics:
            score, file = self.report.score(metric), self.files[metric]
            rows.append(
                {
                    "rank": score.rank,
                    "metric": metric,
                    "scaled": score.scaled,
                    "ci_low": score.ci_low,
                    "ci_high": score.ci_high,
                    **{direction: directions.get((metric, direction)) for direction in DIRECTIONS},
                    **{value: cells.get((metric, column, value)) for value in self.groups(column)},
                    "all_passed": score.all_passed,
                    "ties": score.ties,
                    "coverage": score.coverage,
                    "checks": file.dataset.checks,
                    "of": self.report.n_checks,
                    "blind": file.blind,
                    "trained_on_croc": file.trained_on_croc,
                    "url": file.url,
                    "signature": file.signature,
                }
            )
        return rows


@dataclass(frozen=True)
class RankAgreement:
    """Do two benchmarks of a leaderboard rank the metrics alike?

    Attributes:
        first: name of one benchmark.
        second: name of the other.
        agreements: on all checks, then per category that both have; see
        :class:`croc.verdict.records.Agreement`.
    """

    first: str
    second: str
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Many results.

    Attributes:
        benchmarks: syn first, each with the metrics that have a result on it.
        problems: files that could not be used, a sentence each.
    """

    benchmarks: tuple[Benchmark, ...]
    problems: tuple[str, ...] = ()

    @cached_property
    def agreements(self) -> tuple[RankAgreement, ...]:
        """Kendall's tau-b between every syn and every hum benchmark that share two metrics or more."""
        found = []
        for syn in (b for b in self.benchmarks if b.report.protocol == "syn"):
            for hum in (b for b in self.benchmarks if b.report.protocol == "hum"):
                if len(set(syn.report.metrics) & set(hum.report.metrics)) < 2:
                    continue
                both = syn.report.agreement(hum.report) + syn.report.agreement(hum.report, "category")
                found.append(RankAgreement(syn.name, hum.name, tuple(both)))
        return tuple(found)

    def side_by_side(self) -> list[dict[str, Any]]:
        """A row per metric: its scaled accuracy, interval and rank on every benchmark, by benchmark name.

        Returns:
            ``{"metric", "blind", "trained_on_croc", BENCHMARK: Score or None, …}``, in the order of the first
            benchmark; what it lacks follows.
        """
        metrics = dict.fromkeys(name for each in self.benchmarks for name in each.report.metrics)
        rows = []
        for metric in metrics:
            files = [each.files[metric] for each in self.benchmarks if metric in each.files]
            row: dict[str, Any] = {
                "metric": metric,
                "blind": any(file.blind for file in files),
                "trained_on_croc": any(file.trained_on_croc for file in files),
            }
            for each in self.benchmarks:
                row[each.name] = each.report.score(metric) if metric in each.files else None
            rows.append(row)
        return rows


def leaderboard(
    results: Iterable[str | Path | ResultFile], *, resamples: int = 2_000, flips: int = 10_000
) -> Leaderboard:
    """Put many results side by side.

    Results on the same checks (protocol, dataset, revision and mode) are compared by the paired tests of a
    report, from the sums that they hold.

    Args:
        results: results, files, or folders whose ``*.json`` are read, folders inside included.
        resamples: of the bootstrap behind rank agreement and findings.
        flips: of the permutation tests.

    Returns:
        The benchmarks, and a sentence for each file that could not be used. Nothing else is left out.
    """
    found: dict[str, dict[str, ResultFile]] = {}
    problems = []
    for source, read in _opened(results):
        try:
            result = read() if callable(read) else read
            _consistent(result)
            there = found.setdefault(result.benchmark, {})
            if result.metric in there:
                raise InputError(
                    f"{result.metric!r} has a result on {result.dataset.name} already; keep one, or rename it"
                )
            there[result.metric] = result
        except InputError as problem:
            said = str(problem)
            problems.append(said if said.startswith(str(source)) else f"{source}: {said}")
    benchmarks = [_benchmark(files, resamples, flips) for files in found.values()]
    benchmarks.sort(key=lambda each: (each.report.protocol != "syn", -len(each.files), each.name))
    return Leaderboard(tuple(benchmarks), tuple(problems))


def _opened(results: Iterable[str | Path | ResultFile]) -> list[tuple[str, Any]]:
    opened: list[tuple[str, Any]] = []
    for each in results:
        if isinstance(each, ResultFile):
            opened.append((each.metric, each))
            continue
        path = Path(each)
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        opened += [(str(file), partial(read_result, file)) for file in files]
    return opened


def _consistent(result: ResultFile) -> None:
    """A result whose sums give another mean than it states was edited by hand."""
    evidence = _evidence([result])
    observed = float(evidence.observed()[0])
    stated = next((s.scaled for s in result.scores if s.group is None), None)
    same = math.isnan(observed) if stated is None else math.isclose(observed, stated, abs_tol=1e-6)
    if not same:
        raise InputError(f"the result of {result.metric!r} states {stated}, and its sums give {observed:.4f}")


def _evidence(files: Sequence[ResultFile]) -> Evidence:
    """The sums of several results, lined up: a row per concept, category and text model, not per check."""
    rows = [{(r.concept, r.category, r.text_model): r.sums for r in file.evidence} for file in files]
    for file, own in zip(files, rows, strict=True):
        if len(own) != len(file.evidence) or not own:
            raise InputError(f"the result of {file.metric!r} has no sums, or some concept twice")
    keys = sorted(set().union(*rows), key=lambda key: tuple((part is None, part or "") for part in key))
    nothing = (0.0,) * (_SUMS * len(DIRECTIONS))
    sums = np.array([[own.get(key, nothing) for key in keys] for own in rows])
    value, chance, known = np.moveaxis(
        sums.reshape(len(files), len(keys), len(DIRECTIONS), _SUMS), (3, 2), (0, 2)
    )
    checks = pl.DataFrame(
        keys, schema=dict.fromkeys(("concept_id", "category", "text_model"), pl.String), orient="row"
    )
    models = tuple(checks["text_model"].unique().sort(nulls_last=True))
    empty = np.zeros_like(value)
    return Evidence(
        metrics=tuple(file.metric for file in files),
        checks=checks,
        concept=checks["concept_id"].rank("dense").to_numpy().astype(np.int64) - 1,
        text=np.array([models.index(model) for model in checks["text_model"]]),
        text_models=models,
        known=known,
        value=value,
        chance=chance,
        tie=empty,
        present=empty,
        expected=empty,
    )


def _benchmark(files: Mapping[str, ResultFile], resamples: int, flips: int) -> Benchmark:
    first = max(files.values(), key=lambda file: file.dataset.checks)
    settings = Settings(first.computation.paper, ("category",), resamples, flips)
    evidence = _evidence(list(files.values())).sorted_by_score()
    metrics = evidence.metrics
    signatures = {name: files[name].signature for name in metrics}
    groups = [Group(None, None, evidence), *groups_by(evidence, "category")]
    samples = {}
    tests = []
    for group in groups:
        if (drawn := group.resampled(settings)) is not None:
            samples[group.key] = scaled_accuracy(*average(drawn))
        tests.append(GroupTests.of(group, samples.get(group.key), settings))
    comparisons = comparisons_of(tests, signatures)
    ranks = clusters_of(metrics, comparisons)
    scores = [
        Score(
            metric=name,
            **score.model_dump(),
            rank=ranks.get(name) if score.group is None and score.scaled is not None else None,
            blind=files[name].blind,
            signature=signatures[name],
        )
        for name in metrics
        for score in files[name].scores
    ]
    results = [
        Result(metric=name, **result.model_dump(), signature=signatures[name])
        for name in metrics
        for result in files[name].results
    ]
    # All checks first, then a grouping after the other, as in any report.
    order = {key: i for i, key in enumerate(dict.fromkeys((s.group, s.group_value) for s in scores))}
    scores.sort(key=lambda s: order[s.group, s.group_value])
    report = Report(
        protocol=first.protocol,
        settings=settings,
        metrics=metrics,
        results=tuple(results),
        scores=tuple(scores),
        comparisons=tuple(comparisons),
        findings=(),
        gaps={name: dict(files[name].missing_scores) for name in metrics},
        n_checks=first.dataset.checks,
        n_concepts=len(set(evidence.concept.tolist())),
        signature=first.signature.split("|scorer:")[0],
        signatures=signatures,
        samples=samples,
    )
    incomplete = [
        Finding(each.kind, each.text, (name,), each.p, signatures[name])
        for name in metrics
        for each in files[name].findings
        if each.kind == "incomplete"
    ]
    found = (*incomplete, *findings.find(report, tests))
    return Benchmark(replace(report, findings=found), dict(files), first.dataset)
