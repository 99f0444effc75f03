"""Score tables → a Report: every number, interval, test and finding, computed once.

report = evaluate(["clipscore.parquet", "vqascore.parquet"], settings=Settings(by=("category",)))
report.ranking[0].metric
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from croc.checks.schema import DIRECTIONS, Protocol
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict import findings, statistics
from croc.verdict.aggregation import CheckVerdicts, average, nanmean
from croc.verdict.directions import scaled_accuracy
from croc.verdict.generator_effects import dependences
from croc.verdict.groups import FEWEST_CONCEPTS, Group, GroupTests, groups_by
from croc.verdict.records import Comparison, Result, Score, optional
from croc.verdict.report import Dataset, GroupKey, Report, Settings
from croc.verdict.statistics import Array

UNNAMED = "unnamed"
"""The name of a dataset that no table names."""

_DEFAULT_GROUPING = {"syn": "subset", "hum": "category"}


def evaluate(
    paths: Iterable[Path | str],
    *,
    protocol: str | None = None,
    settings: Settings | None = None,
    metrics: Sequence[str] | None = None,
) -> Report:
    """Evaluate metrics from their score tables.

    Args:
        paths: files or folders.
        protocol: ``syn`` or ``hum``; None takes what the files say.
        settings: see :class:`croc.verdict.report.Settings`.
        metrics: only these.

    Raises:
        InputError: see :func:`croc.tables.readers.read_score_tables`.

    Example:
        >>> evaluate(["clip.parquet", "vqa.parquet"]).scores[0].metric  # doctest: +SKIP
        'VQAScore'
    """
    settings = settings or Settings()
    tables = read_score_tables(paths, protocol=protocol, groups=settings.by, metrics=metrics)
    return evaluate_tables(tables, settings)


def evaluate_tables(tables: Sequence[ScoreTable], settings: Settings | None = None) -> Report:
    """Evaluate score tables that :func:`croc.tables.readers.read_score_tables` read."""
    settings = settings or Settings()
    by = tuple(dict.fromkeys(settings.by)) or _default_grouping(tables)
    groups = _groups(tables, by, paper=settings.paper)
    everything = groups[0].verdicts
    metadata = {metric: table.metadata[metric] for table in tables for metric in table.metrics}
    protocol = cast(Protocol, tables[0].protocol)
    checks, concepts = everything.checks["check_id"].n_unique(), int(everything.concept.max()) + 1
    dataset = _dataset_part(metadata.values())
    signature = _signature(protocol, settings, dataset, checks=checks, concepts=concepts)
    results: list[list[Result]] = []
    tests: list[GroupTests] = []
    for group in groups:
        drawn = group.resampled(settings)  # large: those of one group at a time
        results.append(_results(group, drawn, settings))
        tests.append(GroupTests.of(group, drawn, settings))
    tested = _Tested.of(tests)
    baselines = {name for name, one in metadata.items() if one.baseline}
    report = Report(
        signature=signature,
        protocol=protocol,
        settings=settings,
        dataset=Dataset(
            dataset.get("dataset") or UNNAMED,
            dataset.get("dataset_revision"),
            dataset.get("dataset_config"),
            dataset.get("dataset_split"),
        ),
        checks=checks,
        concepts=concepts,
        signatures={name: signature | metadata[name].scorer_part for name in everything.metrics},
        results=tuple(itertools.chain.from_iterable(results)),
        scores=tuple(
            score
            for group, of_group in zip(groups, results, strict=True)
            for score in _scores(group, of_group, tested, settings, baselines)
        ),
        comparisons=tested.comparisons,
        findings=(),
        dependences=tuple(dependences(groups, settings)),
        missing_scores={
            metric: dict(table.reasons.get(metric, {})) for table in tables for metric in table.metrics
        },
        samples=tested.samples,
    )
    return replace(report, findings=tuple(findings.find(report, tested.tests)))


def join_reports(reports: Sequence[Report], verdicts: CheckVerdicts, settings: Settings) -> Report:
    """Put reports on one metric each side by side: their numbers as they are, with new ranks and tests.

    Args:
        reports: on the same benchmark.
        verdicts: of all their metrics, or sums of verdicts: what the tests between metrics are computed from.
        settings: of the tests; ``by`` names the columns of ``verdicts`` to test by.
    """
    verdicts = verdicts.sorted_by_score()
    groups = [Group(None, None, verdicts)]
    for column in settings.by:
        groups += groups_by(verdicts, column)
    tested = _Tested.of([GroupTests.of(group, group.resampled(settings), settings) for group in groups])
    of_metric = {report.metrics[0]: report for report in reports}
    ordered = [of_metric[name] for name in verdicts.metrics]
    scores = [
        replace(
            score,
            rank=tested.ranks.get(score.metric) if score.group is None and score.scaled is not None else None,
        )
        for report in ordered
        for score in report.scores
    ]
    # All checks first, then one grouping after the other, as in any report.
    order = {key: i for i, key in enumerate(dict.fromkeys((s.group, s.group_value) for s in scores))}
    largest = max(reports, key=lambda report: report.checks)
    joined = replace(
        largest,
        settings=settings,
        concepts=groups[0].concepts,
        signatures={name: of_metric[name].signatures[name] for name in verdicts.metrics},
        results=tuple(result for report in ordered for result in report.results),
        scores=tuple(sorted(scores, key=lambda score: order[score.group, score.group_value])),
        comparisons=tested.comparisons,
        findings=tuple(f for report in ordered for f in report.findings if f.kind == findings.INCOMPLETE),
        dependences=(),
        missing_scores={name: of_metric[name].missing_scores[name] for name in verdicts.metrics},
        samples=tested.samples,
    )
    return replace(joined, findings=(*joined.findings, *findings.find(joined, tested.tests)))


def _groups(tables: Sequence[ScoreTable], by: Sequence[str], *, paper: bool) -> list[Group]:
    """All checks, then the checks by value of each column; the best metric first."""
    verdicts = CheckVerdicts.of(tables, by, paper=paper)
    # A column that varies inside a check splits it: that concerns the groups of this column alone.
    split = [column for column in verdicts.split if column != "text_model"]
    if split:
        verdicts = CheckVerdicts.of(tables, [column for column in by if column not in split], paper=paper)
    verdicts = verdicts.sorted_by_score()
    groups = [Group(None, None, verdicts)]
    for column in by:
        source = verdicts
        if column in split:
            source = CheckVerdicts.of(tables, (column,), paper=paper).ordered(verdicts.metrics)
        groups += groups_by(source, column)
    return groups


def _default_grouping(tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    column = _DEFAULT_GROUPING[tables[0].protocol]
    return (column,) if all(column in table.frame.columns for table in tables) else ()


def _dataset_part(metadata: Iterable[ScoreMetadata]) -> Signature:
    """What the tables say about their dataset, as far as they agree: parts may be of different splits."""
    parts = [part for part in (one.dataset_part for one in metadata) if part.fields]
    common = [pair for pair in parts[0] if all(pair in part.fields for part in parts)] if parts else []
    return Signature(tuple(common)) if common else Signature.of(dataset=UNNAMED)


def _signature(
    protocol: Protocol, settings: Settings, dataset: Signature, *, checks: int, concepts: int
) -> Signature:
    from croc import __version__

    published = "5/6,1/2" if protocol == "syn" else "1/2"
    own = "swap,K" if protocol == "syn" else "1/2"
    program = Signature.of(
        croc=__version__,
        protocol=protocol,
        mode="paper" if settings.paper else "default",
        chance=published if settings.paper else own,
        ties="lose" if settings.paper else "half",
    )
    computation = Signature.of(
        checks=checks,
        concepts=concepts,
        ci=f"bootstrap{settings.resamples}@{settings.level:g}" if settings.resamples else "none",
        test=f"signflip{settings.flips}" if settings.flips else "none",
        seed=settings.seed,
    )
    return program | dataset | computation


# ---- Accuracies ----


def _results(group: Group, drawn: Array | None, settings: Settings) -> list[Result]:
    """A row per metric, direction and text model, and one averaged over the text models."""
    verdicts = group.verdicts
    totals = verdicts.totals
    models = verdicts.text_models
    concepts = None if drawn is None else verdicts.concepts_with_verdict()
    views: list[tuple[str | None, list[int]]] = [(None, list(range(len(models))))]
    authors = set(verdicts.text.tolist())
    views += [(model, [t]) for t, model in enumerate(models) if model is not None and t in authors]
    rows = []
    for model, chosen in views:
        part = totals[chosen]
        accuracy, chance = average(part[..., :3])
        scaled = scaled_accuracy(accuracy, chance)
        known = part[..., 2]
        ties = _ratio(part[..., 3], known)
        low, high, scaled_low, scaled_high = _intervals(
            accuracy,
            chance,
            None if drawn is None else drawn[:, chosen],
            None if concepts is None else concepts[chosen].max(axis=0),
            settings,
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            coverage = part[..., 4].sum(axis=0) / part[..., 5].sum(axis=0)
        rows += [
            Result(
                metric=metric,
                direction=direction,
                group=group.column,
                group_value=group.value,
                text_model=model,
                accuracy=optional(accuracy[m, d]),
                scaled=optional(scaled[m, d]),
                chance=optional(chance[m, d]),
                n=int(known[:, m, d].sum()),
                ties=optional(nanmean(ties[:, m, d], 0)),
                coverage=optional(coverage[m, d]),
                ci_low=optional(low[m, d]),
                ci_high=optional(high[m, d]),
                scaled_ci_low=optional(scaled_low[m, d]),
                scaled_ci_high=optional(scaled_high[m, d]),
            )
            for m, metric in enumerate(verdicts.metrics)
            for d, direction in enumerate(DIRECTIONS)
        ]
    return rows


def _scores(
    group: Group, results: Sequence[Result], tested: _Tested, settings: Settings, baselines: set[str]
) -> list[Score]:
    """A row per metric: the mean over the directions."""
    verdicts = group.verdicts
    observed = verdicts.observed()
    passed = verdicts.group_score()
    samples = tested.samples.get(group.key)
    ends = np.full((2, len(observed)), np.nan)
    if samples is not None and group.concepts >= FEWEST_CONCEPTS:
        ends = np.array(statistics.percentile_interval(nanmean(samples, -1), settings.level))
        for metric, known in _certain_means(results).items():
            ends[:, verdicts.metrics.index(metric)] = known
    ranks = tested.ranks if group.column is None else {}
    totals = verdicts.totals.sum(axis=0)
    ties = nanmean(_ratio(totals[..., 3], totals[..., 2]), -1)
    covered = _ratio(totals[..., 4].sum(axis=-1), totals[..., 5].sum(axis=-1))
    with_value = verdicts.known.any(axis=1).sum(axis=-1)
    return [
        Score(
            metric=metric,
            group=group.column,
            group_value=group.value,
            scaled=optional(observed[m]),
            ci_low=optional(ends[0, m]),
            ci_high=optional(ends[1, m]),
            n=int(with_value[m]),
            group_score=optional(passed[m]),
            ties=optional(ties[m]),
            coverage=optional(covered[m]),
            rank=ranks.get(metric) if not np.isnan(observed[m]) else None,
            baseline=metric in baselines,
            mean_accuracy=_mean_accuracy(results, metric),
        )
        for m, metric in enumerate(verdicts.metrics)
    ]


def _mean_accuracy(results: Sequence[Result], metric: str) -> float | None:
    """The mean of a metric's accuracy over its directions."""
    accuracies = [r.accuracy for r in results if r.metric == metric and r.text_model is None]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return sum(known) / len(known) if known else None


def _certain_means(results: Sequence[Result]) -> dict[str, tuple[float, float]]:
    """Interval of the mean of each metric whose directions all passed, or failed, on every concept."""
    means = {}
    for metric in dict.fromkeys(result.metric for result in results):
        own = [r for r in results if r.metric == metric and r.text_model is None and r.accuracy is not None]
        low = [r.scaled_ci_low for r in own if r.scaled_ci_low is not None]
        high = [r.scaled_ci_high for r in own if r.scaled_ci_high is not None]
        if low and len(low) == len(own) and all(r.accuracy in (0, 1) for r in own):
            means[metric] = (sum(low) / len(low), sum(high) / len(high))
    return means


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / np.where(denominator == 0, np.nan, denominator)


def _intervals(
    accuracy: Array, chance: Array, drawn: Array | None, concepts: Array | None, settings: Settings
) -> tuple[Array, Array, Array, Array]:
    """Ends of the intervals of accuracy and scaled accuracy, (M, 4) each.

    Where every concept passed, or none did, all resamples are equal; Wilson's interval over the concepts is
    given then.
    """
    if drawn is None or concepts is None:
        empty = np.full(accuracy.shape, np.nan)
        return empty, empty, empty, empty
    sampled, sampled_chance = average(drawn)
    low, high = statistics.percentile_interval(sampled, settings.level)
    scaled_low, scaled_high = statistics.percentile_interval(
        scaled_accuracy(sampled, sampled_chance), settings.level
    )
    extreme = (accuracy == 0) | (accuracy == 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        bottom, top = statistics.wilson_interval(accuracy, concepts, settings.level)
    low, high = np.where(extreme, bottom, low), np.where(extreme, top, high)
    scaled_low = np.where(extreme, scaled_accuracy(bottom, chance), scaled_low)
    scaled_high = np.where(extreme, scaled_accuracy(top, chance), scaled_high)
    few = concepts < FEWEST_CONCEPTS
    a, b, c, d = (np.where(few, np.nan, end) for end in (low, high, scaled_low, scaled_high))
    return a, b, c, d


# ---- Tests between metrics ----


@dataclass(frozen=True)
class _Tested:
    """The tests of all groups of a report.

    Attributes:
        tests: per group.
        samples: per group, (resamples, M, 4) resampled scaled accuracies; empty without resamples.
        comparisons: every pair of metrics in every group.
        ranks: of each metric on all checks; empty without tests.
    """

    tests: tuple[GroupTests, ...]
    samples: Mapping[GroupKey, Array]
    comparisons: tuple[Comparison, ...]
    ranks: Mapping[str, int]

    @classmethod
    def of(cls, tests: Sequence[GroupTests]) -> _Tested:
        """Compare the metrics in every group and rank them; the tests of all checks come first."""
        comparisons = _comparisons(tests)
        return cls(
            tuple(tests),
            {test.group.key: test.directions for test in tests if test.directions is not None},
            comparisons,
            _ranks(tests[0].group.verdicts.metrics, tests[0].scores, comparisons),
        )


def _comparisons(tests: Sequence[GroupTests]) -> tuple[Comparison, ...]:
    """Every pair in every group; Holm's adjustment over the groups of one grouping."""
    comparisons: list[Comparison] = []
    for column in dict.fromkeys(test.group.column for test in tests):
        family = [(test, test.exchange) for test in tests if test.group.column == column]
        pairs = [
            (test, a, b, float(exchange[a, b]))
            for test, exchange in family
            if exchange is not None
            for a, b in itertools.combinations(range(len(test.scores)), 2)
            if not np.isnan(test.scores[[a, b]]).any()
        ]
        adjusted = statistics.holm([p for *_, p in pairs])
        for (test, a, b, p), p_holm in zip(pairs, adjusted, strict=True):
            better, worse = (a, b) if test.scores[a] >= test.scores[b] else (b, a)
            names = test.group.verdicts.metrics
            error = (
                None if test.samples is None else np.nanstd(test.samples[:, a] - test.samples[:, b], ddof=1)
            )
            comparisons.append(
                Comparison(
                    better=names[better],
                    worse=names[worse],
                    group=test.group.column,
                    group_value=test.group.value,
                    difference=float(test.scores[better] - test.scores[worse]),
                    p=p,
                    p_holm=float(p_holm),
                    minimum_detectable_difference=(
                        None if error is None else optional(statistics.minimum_detectable_difference(error))
                    ),
                )
            )
    return tuple(comparisons)


def _ranks(metrics: Sequence[str], scores: Array, comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Rank of each metric, given best first, from the tests on all checks; {} without tests."""
    tested = [c for c in comparisons if c.group is None]
    if not tested:
        return {}
    p = np.ones((len(metrics), len(metrics)))
    for c in tested:
        a, b = metrics.index(c.better), metrics.index(c.worse)
        p[a, b] = p[b, a] = c.p_holm
    return dict(zip(metrics, statistics.significance_ranks(scores, p), strict=True))
