"""The leaderboard: many results files side by side, one ``Report`` for each benchmark.

board = leaderboard(["results"])
board.benchmarks[0].report          # a Report on all metrics of one benchmark, which croc.rendering shows
board.benchmarks[0].rows()          # a row per metric, for a table
board.side_by_side()                # every benchmark in one row per metric
board.agreements                    # how far syn and hum rank the metrics alike
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.results.concept_sums import verdicts_of_sums
from croc.results.files import ResultsFile, read_result
from croc.results.verified import VERIFIED, Verification
from croc.results.weaknesses import AuditFigures, Weaknesses
from croc.storage.files import sha256_of
from croc.tables.signature import Signature
from croc.verdict.directions import symmetric_chance
from croc.verdict.evaluation import join_reports
from croc.verdict.records import Agreement, display_columns
from croc.verdict.report import NO_VALUE, Report, Settings


@dataclass(frozen=True)
class Weakest:
    """The property that a metric handles worst: the one whose interval has the lowest upper end.

    Attributes:
        property: its name.
        scaled: scaled accuracy, with the ends of its interval.
        ci_low, ci_high: None where there are too few concepts.
        source: ``probe`` (a search for it), or ``checks`` (those of the benchmark).
    """

    property: str
    scaled: float
    ci_low: float | None
    ci_high: float | None
    source: Literal["probe", "checks"]


@dataclass(frozen=True)
class Benchmark:
    """All results on one benchmark.

    Attributes:
        report: the metrics side by side, best first, with ranks, paired tests and findings.
        files: the result of each metric of the report.
        verified: how the result of a metric was verified; a metric that is not in it was not verified.
        weaknesses: per metric what ``croc audit-reward`` and ``croc probe`` found, and which of them a keeper
            ran again. They are about the metric, so that the result on another benchmark may have them.
    """

    report: Report
    files: Mapping[str, ResultsFile]
    verified: Mapping[str, Verification] = field(default_factory=dict)
    weaknesses: Mapping[str, tuple[Weaknesses, frozenset[str]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people: protocol and dataset."""
        return f"{self.report.protocol}: {self.report.dataset.name}"

    def groups(self, column: str) -> tuple[str, ...]:
        """The values that the benchmark is broken down by in ``subset``, ``category`` or ``property``."""
        return tuple(sorted(self.report.groupings.get(column, ())))

    def audit(self, metric: str) -> AuditFigures | None:
        """What ``croc audit-reward`` found about a metric; None where it was not run."""
        found = self.weaknesses.get(metric)
        return None if found is None else found[0].audit

    def weakest(self, metric: str) -> Weakest | None:
        """The weakest property of a metric: of ``croc probe``, or else of the checks of the benchmark.

        Properties with fewer than ``FEW_CHECKS`` checks are left out, unless all have so few.
        """
        found = self.weaknesses.get(metric)
        if found is not None and (probe := found[0].probe) is not None:
            return Weakest(probe.property, probe.scaled or 0.0, probe.low, probe.high, "probe")
        scores = [
            score
            for score in self.files[metric].report.scores
            if score.group == "property" and score.group_value != NO_VALUE and score.scaled is not None
        ]
        scores = [score for score in scores if not score.of_few_checks] or scores
        if len(scores) < 2:
            return None
        lowest = min(scores, key=lambda s: (1.0 if s.ci_high is None else s.ci_high, s.scaled, s.group_value))
        return Weakest(str(lowest.group_value), lowest.scaled or 0.0, lowest.ci_low, lowest.ci_high, "checks")

    def ran_again(self, metric: str, part: Literal["audit", "probe"]) -> bool:
        """Whether a run of the keeper agreed with what the metric's author states."""
        found = self.weaknesses.get(metric)
        return found is not None and part in found[1]

    def rows(self, column: str = "category") -> list[dict[str, Any]]:
        """A row per metric, best first: what a table shows.

        Args:
            column: which grouping follows the four directions; each of its values is a key.

        Returns:
            Keys ``rank, metric, scaled, ci_low, ci_high``, the four directions, the values of ``column``,
            the other fields of :class:`croc.verdict.records.Score` that tables show, ``checks, all_checks,
            baseline, verified, trained_on_croc, url, signature``. Scaled accuracies lie in −1…1, shares in
            0…1; None where there is none. ``all_checks`` is the largest number of checks that a metric was
            scored on here: one with fewer ``checks`` was scored on a part of them. ``verified`` is a level of
            :data:`croc.results.verified.LEVELS` or None. ``trained_on_croc`` and ``url`` are statements of
            the result's author. ``best_of_16`` and ``flips`` are what ``croc audit-reward`` found
            (:class:`croc.results.weaknesses.AuditFigures`), ``weakest_property`` and ``weakest_scaled`` what
            :meth:`weakest` returns; None without. ``run_again`` has the parts, ``audit`` and ``probe``, that
            a keeper's run agreed with.
        """
        report = self.report
        rows = []
        for score in report.ranking:
            file = self.files[score.metric]
            directions = {str(d): report.scaled(score.metric, d) for d in DIRECTIONS}
            audit, weakest = self.audit(score.metric), self.weakest(score.metric)
            values = {value: report.find_score(score.metric, column, value) for value in self.groups(column)}
            rows.append(
                {
                    "rank": score.rank,
                    "metric": score.metric,
                    "scaled": score.scaled,
                    "ci_low": score.ci_low,
                    "ci_high": score.ci_high,
                    **directions,
                    **{value: None if found is None else found.scaled for value, found in values.items()},
                    **{name: getattr(score, name) for name in display_columns(type(score))},
                    "checks": file.report.checks,
                    "all_checks": report.checks,
                    "baseline": score.baseline,
                    "verified": verified.level if (verified := self.verified.get(score.metric)) else None,
                    "trained_on_croc": file.trained_on_croc,
                    "url": file.url,
                    "best_of_16": None if audit is None else audit.best_of_16,
                    "flips": None if audit is None else audit.flips,
                    "weakest_property": None if weakest is None else weakest.property,
                    "weakest_scaled": None if weakest is None else weakest.scaled,
                    "run_again": sorted(self.weaknesses[score.metric][1])
                    if score.metric in self.weaknesses
                    else [],
                    "signature": str(file.signature),
                }
            )
        return rows


@dataclass(frozen=True)
class RankAgreement:
    """How far two benchmarks of a leaderboard rank the metrics alike.

    Attributes:
        first: name of one benchmark.
        second: name of the other.
        agreements: on all checks, then per category that both have.
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
        pairs = []
        for syn in (b for b in self.benchmarks if b.report.protocol == "syn"):
            for hum in (b for b in self.benchmarks if b.report.protocol == "hum"):
                if len(set(syn.report.metrics) & set(hum.report.metrics)) < 2:
                    continue
                both = syn.report.agreement(hum.report) + syn.report.agreement(hum.report, "category")
                pairs.append(RankAgreement(syn.name, hum.name, tuple(both)))
        return tuple(pairs)

    def side_by_side(self) -> list[dict[str, Any]]:
        """A row per metric: its scaled accuracy, interval and rank on every benchmark, by benchmark name.

        Returns:
            ``{"metric", "baseline", "trained_on_croc", BENCHMARK: Score or None, …}``, in the order of the
            first benchmark; metrics without a result on it follow.
        """
        rows = []
        for metric in dict.fromkeys(
            name for benchmark in self.benchmarks for name in benchmark.report.metrics
        ):
            scores = {b.name: b.report.find_score(metric, None, None) for b in self.benchmarks}
            files = [benchmark.files[metric] for benchmark in self.benchmarks if metric in benchmark.files]
            rows.append(
                {
                    "metric": metric,
                    "baseline": any(score is not None and score.baseline for score in scores.values()),
                    "trained_on_croc": any(file.trained_on_croc for file in files),
                    **scores,
                }
            )
        return rows


def leaderboard(
    results: Iterable[str | Path | ResultsFile],
    *,
    resamples: int = 2_000,
    flips: int = 10_000,
    verified: Mapping[str, Verification] | None = None,
    only_verified: bool = False,
) -> Leaderboard:
    """Put many results side by side.

    Results on the same checks (protocol, dataset, revision and mode) are compared by the paired tests of a
    report, from the sums that they hold.

    Args:
        results: results, files, or folders whose ``*.json`` are read, subfolders included; files called
            ``verified.json`` are not results.
        resamples: of the bootstrap behind rank agreement and findings.
        flips: of the permutation tests.
        verified: the verified results by the checksum of their files, see
            :func:`croc.results.verified.read_verified`.
        only_verified: leave out what was not verified, with a sentence for each.

    Returns:
        The benchmarks, and a sentence for each file that could not be used. Nothing else is left out.
    """
    by_benchmark: dict[Signature, dict[str, ResultsFile]] = {}
    how: dict[Signature, dict[str, Verification]] = {}
    problems = []
    for source in _sources(results):
        try:
            result = source if isinstance(source, ResultsFile) else read_result(source)
            _check_dataset(result)
            _check_sums(result)
            files = by_benchmark.setdefault(result.benchmark, {})
            if result.metric in files:
                raise InputError(
                    f"there already is a result of {result.metric!r} on {result.report.dataset.name}; keep "
                    "one of them, or rename the metric"
                )
            verification = _verification(source, verified or {})
            if verification is None and only_verified:
                raise InputError("not verified: croc results verify --record lists verified results")
            files[result.metric] = result
            if verification is not None:
                how.setdefault(result.benchmark, {})[result.metric] = verification
        except InputError as problem:
            name = source.metric if isinstance(source, ResultsFile) else str(source)
            message = str(problem)
            problems.append(message if message.startswith(name) else f"{name}: {message}")
    weaknesses = _weaknesses(by_benchmark, how)
    benchmarks = [
        replace(
            _benchmark(files, how.get(key, {}), resamples, flips),
            weaknesses={
                metric: found
                for metric, file in files.items()
                if (found := weaknesses.get((metric, file.signature.scorer))) is not None
            },
        )
        for key, files in by_benchmark.items()
        if files
    ]
    benchmarks.sort(key=lambda b: (b.report.protocol != "syn", -len(b.files), b.name))
    return Leaderboard(tuple(benchmarks), tuple(problems))


def _sources(results: Iterable[str | Path | ResultsFile]) -> list[Path | ResultsFile]:
    sources: list[Path | ResultsFile] = []
    for result in results:
        if isinstance(result, ResultsFile):
            sources.append(result)
        else:
            path = Path(result)
            inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
            sources += [file for file in inside if file.name != VERIFIED]
    return sources


def _verification(source: Path | ResultsFile, verified: Mapping[str, Verification]) -> Verification | None:
    return None if isinstance(source, ResultsFile) or not verified else verified.get(sha256_of(source))


def _weaknesses(
    by_benchmark: Mapping[Signature, Mapping[str, ResultsFile]],
    how: Mapping[Signature, Mapping[str, Verification]],
) -> dict[tuple[str, Signature], tuple[Weaknesses, frozenset[str]]]:
    """Per metric and the scorer's part of its signature, what was found about it; what ran again first."""
    found: dict[tuple[str, Signature], tuple[Weaknesses, frozenset[str]]] = {}
    for key, files in by_benchmark.items():
        for metric, file in files.items():
            if file.weaknesses is None:
                continue
            verified = how.get(key, {}).get(metric)
            runs = frozenset(verified.runs.split(", ") if verified and verified.runs else ())
            about = metric, file.signature.scorer
            if about not in found or len(runs) > len(found[about][1]):
                found[about] = file.weaknesses, runs
    return found


def _check_dataset(result: ResultsFile) -> None:
    """Refuse a result whose dataset is not that of its signature: it was edited by hand."""
    dataset, signature = result.report.dataset, result.report.signature
    if signature.get("dataset") not in (None, dataset.name) or dataset.revision != signature.get(
        "dataset_revision"
    ):
        raise InputError(
            f"the result of {result.metric!r} is on {dataset.name}@{dataset.revision}, and its signature has "
            f"{signature.get('dataset')}@{signature.get('dataset_revision')}; make it again from its table"
        )


def _symmetric(result: ResultsFile) -> NDArray[np.bool_]:
    return symmetric_chance(result.report.protocol, paper=result.report.settings.paper)


def _check_sums(result: ResultsFile) -> None:
    """Refuse a result whose sums give another mean than it states: it was edited by hand."""
    computed = float(verdicts_of_sums({result.metric: result.sums}, _symmetric(result)).observed()[0])
    stated = result.report.score(result.metric).scaled
    same = math.isnan(computed) if stated is None else math.isclose(computed, stated, abs_tol=1e-6)
    if not same:
        raise InputError(
            f"the result of {result.metric!r} states the mean {stated}, and its sums give {computed:.4f}; "
            "make it again from its score table"
        )


def _benchmark(
    files: Mapping[str, ResultsFile], verified: Mapping[str, Verification], resamples: int, flips: int
) -> Benchmark:
    reports = [file.report for file in files.values()]
    largest = max(reports, key=lambda report: report.checks)
    settings = Settings(largest.settings.paper, ("category",), resamples, flips)
    verdicts = verdicts_of_sums(
        {metric: file.sums for metric, file in files.items()}, _symmetric(next(iter(files.values())))
    )
    return Benchmark(join_reports(reports, verdicts, settings), dict(files), dict(verified))
