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
import polars as pl

from croc.checks.schema import DIRECTIONS, Protocol
from croc.errors import InputError
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict import findings, statistics
from croc.verdict.aggregation import CheckVerdicts, average, nanmean
from croc.verdict.directions import scaled_accuracy
from croc.verdict.generator_effects import dependences
from croc.verdict.groups import Group, GroupTests, groups_by
from croc.verdict.position_bias import position_biases
from croc.verdict.records import Comparison, Result, Score, optional
from croc.verdict.report import Average, Dataset, GroupKey, Labels, Report, Settings
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
    tables = read_score_tables(paths, protocol=protocol, groups=settings.by, metrics=metrics, judges=True)
    return evaluate_tables(tables, settings)


def evaluate_tables(tables: Sequence[ScoreTable], settings: Settings | None = None) -> Report:
    """Evaluate score tables that :func:`croc.tables.readers.read_score_tables` read."""
    settings = settings or Settings()
    if tables[0].protocol == "graded":
        raise InputError(
            f"{tables[0].source}: graded checks have no directions; use croc.graded.evaluate "
            "or 'croc evaluate'"
        )
    _require_common_checks(tables)
    published = _default_grouping(tables)
    by = tuple(dict.fromkeys(settings.by)) or published
    column = _macro_column(tables, by, settings)
    if settings.paper:
        by = tuple(dict.fromkeys((*published, *by)))  # the tables of the paper are by subset or category
    groups = _groups(tables, by, column, settings)
    everything = groups[0].verdicts
    metadata = {metric: table.metadata[metric] for table in tables for metric in table.metrics}
    protocol = cast(Protocol, tables[0].protocol)
    checks, concepts = everything.checks["check_id"].n_unique(), int(everything.concept.max()) + 1
    dataset = _dataset_part(metadata.values())
    signature = _signature(protocol, settings, dataset, everything, column)
    results: list[list[Result]] = []
    tests: list[GroupTests] = []
    for group in groups:
        drawn = group.resampled(settings)  # large: those of one group at a time
        results.append(_results(group, settings))
        tests.append(GroupTests.of(group, drawn, settings))
    tested = _Tested.of(tests, settings)
    baselines = {name for name, of_metric in metadata.items() if of_metric.baseline}
    report = Report(
        signature=signature,
        protocol=protocol,
        settings=settings,
        dataset=Dataset(
            dataset.get("dataset") or UNNAMED,
            dataset.get("dataset_revision"),
            dataset.get("dataset_config"),
            dataset.get("dataset_split"),
            _labels(tables),
        ),
        checks=checks,
        concepts=concepts,
        signatures={name: signature | metadata[name].scorer_part for name in everything.metrics},
        results=tuple(itertools.chain.from_iterable(results)),
        scores=tuple(
            score
            for group, of_group in zip(groups, results, strict=True)
            for score in _scores(group, of_group, tested, baselines, column)
        ),
        comparisons=tested.comparisons,
        findings=(),
        dependences=tuple(dependences(groups, settings)),
        missing_scores={
            metric: dict(table.reasons.get(metric, {})) for table in tables for metric in table.metrics
        },
        position_biases=position_biases(tables, settings.level),
        samples=tested.samples,
    )
    one_image = _one_image(tables, everything, tests[0], settings)
    return replace(report, findings=tuple(findings.find(report, tested.tests, one_image)))


def _labels(tables: Sequence[ScoreTable]) -> Labels | None:
    """Where the labels of the checks come from, by the image models that the tables name."""
    if tables[0].protocol == "hum":
        return "human"
    named = [table.frame["image_model"].unique() for table in tables if "image_model" in table.frame.columns]
    models = pl.concat(named).unique().drop_nulls() if named else pl.Series([], dtype=pl.String)
    if not len(models):
        return None
    # Drawings with added noise have wrong labels on purpose.
    certain = models.str.starts_with("exact@") & ~models.str.contains("+noise", literal=True)
    return "certain" if certain.all() else "pseudo"


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
    tests = [GroupTests.of(group, group.resampled(settings), settings) for group in groups]
    tested = _Tested.of(tests, settings)
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
        position_biases=tuple(bias for report in ordered for bias in report.position_biases),
        samples=tested.samples,
    )
    # Sums hold the verdicts of all images; those of one image per side are there in hum alone.
    one_image = tested.tests[0] if joined.protocol == "hum" and not settings.paper else None
    return replace(joined, findings=(*joined.findings, *findings.find(joined, tested.tests, one_image)))


def _groups(
    tables: Sequence[ScoreTable], by: Sequence[str], macro_column: str | None, settings: Settings
) -> list[Group]:
    """All checks, then the checks by value of each column; the best metric first."""

    def verdicts_by(columns: Sequence[str]) -> CheckVerdicts:
        return CheckVerdicts.of(tables, columns, paper=settings.paper, images=settings.images)

    columns = list(dict.fromkeys([*by, *([macro_column] if macro_column else [])]))
    verdicts = verdicts_by(columns)
    # A column that varies inside a check splits it: that concerns the groups of this column alone.
    split = [column for column in verdicts.split if column != "text_model"]
    if split:
        verdicts = verdicts_by([column for column in columns if column not in split])
    if macro_column and _average(settings) == "macro":
        if macro_column in split:
            raise InputError(
                f"the macro average needs checks that have one value of {macro_column} each; name another "
                "column first"
            )
        verdicts = verdicts.averaged_over(macro_column)
    verdicts = verdicts.sorted_by_score()
    groups = [Group(None, None, verdicts)]
    for column in by:
        source = verdicts_by((column,)).ordered(verdicts.metrics) if column in split else verdicts
        groups += groups_by(source, column)
    return groups


def _require_common_checks(tables: Sequence[ScoreTable]) -> None:
    """Refuse metrics that were not run on the same checks.

    Raises:
        InputError: two tables have no check in common, or spell ids differently.
    """
    unique = [table.frame["check_id"].unique(maintain_order=True) for table in tables]
    for (first, first_ids), (second, second_ids) in itertools.combinations(
        zip(tables, unique, strict=True), 2
    ):
        if first_ids.equals(second_ids):
            continue
        ids = [first_ids, second_ids]
        shared = first_ids.is_in(second_ids.implode())
        if len(first_ids) and len(second_ids) and not shared.any():
            raise InputError(
                f"{first.source} and {second.source} have no check in common (their first check_id is "
                f"{ids[0][0]!r} and {ids[1][0]!r}); evaluate them separately, or give both the same ids"
            )
        for one, other, sources in ((0, 1, (first, second)), (1, 0, (second, first))):
            # 007 and 7.0 where the other table has 7: one of them was read as text, the other as a number.
            alone = ids[one].filter(~ids[one].is_in(ids[other].implode()))
            spelled = alone.str.replace(r"^0+(\d)", "${1}").str.replace(r"^(\d+)\.0+$", "${1}")
            twins = (spelled != alone) & spelled.is_in(ids[other].implode())
            if twins.any():
                row = int(twins.arg_max() or 0)
                raise InputError(
                    f"check_id {alone[row]!r} of {sources[0].source} is {spelled[row]!r} in "
                    f"{sources[1].source}: one was written as text, the other as a number; write both alike"
                )


def _average(settings: Settings) -> Average:
    return settings.average or ("macro" if settings.paper else "micro")


def _macro_column(tables: Sequence[ScoreTable], by: Sequence[str], settings: Settings) -> str | None:
    """The column whose values are the cells of the macro average; None if there is none.

    Raises:
        InputError: the macro average is asked for and there is no column with values.
    """
    published = _default_grouping(tables)
    columns = published if settings.paper and settings.average is None else by
    if settings.average == "macro" and not any(
        table.frame[columns[0]].count() for table in tables if columns and columns[0] in table.frame.columns
    ):
        raise InputError("the macro average needs a column to break the results down by: name one with 'by'")
    return columns[0] if columns else None


def _one_image(
    tables: Sequence[ScoreTable], verdicts: CheckVerdicts, overall: GroupTests, settings: Settings
) -> GroupTests | None:
    """All checks with one image per side, for comparing directions; None in the published computation."""
    if settings.paper or not (settings.flips and settings.resamples):
        return None
    if tables[0].protocol == "hum" or verdicts.images[1] <= 1:
        return overall
    single = Group(None, None, CheckVerdicts.of(tables, (), images=1).ordered(verdicts.metrics))
    enough = replace(settings, flips=0, resamples=min(settings.resamples, Settings.resamples))
    return GroupTests.of(single, single.resampled(enough), enough)


def _default_grouping(tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    column = _DEFAULT_GROUPING[tables[0].protocol]
    return (column,) if all(column in table.frame.columns for table in tables) else ()


def _dataset_part(metadata: Iterable[ScoreMetadata]) -> Signature:
    """What the tables say about their dataset, as far as they agree: parts may be of different splits."""
    parts = [part for part in (of_metric.dataset_part for of_metric in metadata) if part.fields]
    common = [pair for pair in parts[0] if all(pair in part.fields for part in parts)] if parts else []
    return Signature(tuple(common)) if common else Signature.of(dataset=UNNAMED)


def _signature(
    protocol: Protocol,
    settings: Settings,
    dataset: Signature,
    verdicts: CheckVerdicts,
    macro_column: str | None,
) -> Signature:
    from croc import __version__

    published = "5/6,1/2" if protocol == "syn" else "1/2"
    default = "swap,K" if protocol == "syn" else "1/2"
    fewest, most = verdicts.images
    program = Signature.of(
        croc=__version__,
        protocol=protocol,
        mode="paper" if settings.paper else "default",
        chance=published if settings.paper else default,
        ties="lose" if settings.paper else "half",
        # The averages over images of hum do not depend on how many there are.
        images=None if protocol == "hum" else f"{most}" if fewest == most else f"{fewest}-{most}",
        average="micro" if verdicts.cell is None else f"macro({macro_column})",
    )
    computation = Signature.of(
        checks=verdicts.checks["check_id"].n_unique(),
        concepts=int(verdicts.concept.max()) + 1,
        ci=f"wilson@{settings.level:g}",
        resamples=settings.resamples,
        test=f"signflip{settings.flips}" if settings.flips else "none",
        correction=None if settings.correction == "holm" else settings.correction,
        seed=settings.seed,
    )
    return program | dataset | computation


# ---- Accuracies ----


def _results(group: Group, settings: Settings) -> list[Result]:
    """A row per metric, direction and text model, and one averaged over the text models."""
    verdicts = group.verdicts
    totals = verdicts.totals
    models = verdicts.text_models
    views: list[tuple[str | None, list[int]]] = [(None, list(range(len(models))))]
    authors = set(verdicts.text.tolist())
    views += [(model, [t]) for t, model in enumerate(models) if model is not None and t in authors]
    rows = []
    for model, chosen in views:
        part = totals[chosen]
        accuracy, chance = average(part[..., :3])
        scaled = scaled_accuracy(accuracy, chance, verdicts.symmetric)
        known = part[..., 2]
        ties = _ratio(part[..., 3], known)
        ends = group.direction_intervals(chosen, settings.level)
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
                ci_low=optional(ends.accuracy[0, m, d]),
                ci_high=optional(ends.accuracy[1, m, d]),
                scaled_ci_low=optional(ends.scaled[0, m, d]),
                scaled_ci_high=optional(ends.scaled[1, m, d]),
            )
            for m, metric in enumerate(verdicts.metrics)
            for d, direction in enumerate(DIRECTIONS)
        ]
    return rows


def _scores(
    group: Group,
    results: Sequence[Result],
    tested: _Tested,
    baselines: set[str],
    macro_column: str | None,
) -> list[Score]:
    """A row per metric: the mean over the directions."""
    verdicts = group.verdicts
    micro = replace(verdicts, cell=None).observed()
    macro = np.full(len(micro), np.nan)
    if group.column is None and macro_column in verdicts.checks.columns:
        macro = verdicts.averaged_over(str(macro_column)).observed()
    test = tested.of_group[group.key]
    passed, text_passed, image_passed = map(verdicts.group_score, ((0, 1, 2, 3), (0, 1), (2, 3)))
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
            scaled=optional(test.scores[m]),
            ci_low=optional(test.intervals.mean[0, m]),
            ci_high=optional(test.intervals.mean[1, m]),
            n=int(with_value[m]),
            group_score=optional(passed[m]),
            ties=optional(ties[m]),
            coverage=optional(covered[m]),
            rank=ranks.get(metric) if not np.isnan(test.scores[m]) else None,
            baseline=metric in baselines,
            mean_accuracy=_mean_accuracy(results, metric),
            micro=optional(micro[m]),
            macro=optional(macro[m]),
            text_score=optional(text_passed[m]),
            image_score=optional(image_passed[m]),
        )
        for m, metric in enumerate(verdicts.metrics)
    ]


def _mean_accuracy(results: Sequence[Result], metric: str) -> float | None:
    """The mean of a metric's accuracy over its directions."""
    accuracies = [r.accuracy for r in results if r.metric == metric and r.text_model is None]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return sum(known) / len(known) if known else None


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / np.where(denominator == 0, np.nan, denominator)


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

    @property
    def of_group(self) -> Mapping[GroupKey, GroupTests]:
        """The tests by group."""
        return {test.group.key: test for test in self.tests}

    @classmethod
    def of(cls, tests: Sequence[GroupTests], settings: Settings) -> _Tested:
        """Compare the metrics in every group and rank them; the tests of all checks come first."""
        comparisons = _comparisons(tests, settings)
        return cls(
            tuple(tests),
            {test.group.key: test.directions for test in tests if test.directions is not None},
            comparisons,
            _ranks(tests[0], comparisons),
        )


def _comparisons(tests: Sequence[GroupTests], settings: Settings) -> tuple[Comparison, ...]:
    """Every pair in every group; p values are adjusted over the groups of one grouping."""
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
        adjusted = statistics.adjust([p for *_, p in pairs], settings.correction)
        for (test, a, b, p), p_adjusted in zip(pairs, adjusted, strict=True):
            better, worse = (a, b) if test.scores[a] >= test.scores[b] else (b, a)
            names = test.group.verdicts.metrics
            low, high = test.intervals.of_difference(better, worse)
            comparisons.append(
                Comparison(
                    better=names[better],
                    worse=names[worse],
                    group=test.group.column,
                    group_value=test.group.value,
                    difference=float(test.scores[better] - test.scores[worse]),
                    p=p,
                    p_adjusted=float(p_adjusted),
                    minimum_detectable_difference=_detectable(
                        test, a, b, statistics.first_step(len(pairs), settings.correction), settings.flips
                    ),
                    ci_low=optional(low),
                    ci_high=optional(high),
                )
            )
    return tuple(comparisons)


def _detectable(test: GroupTests, a: int, b: int, tests: float, flips: int) -> float | None:
    """The minimum detectable difference of one of so many tests; None if none can be significant."""
    difference = statistics.minimum_detectable_difference(
        test.intervals.standard_error(a, b),
        concepts=test.group.concepts,
        freedom=float(test.intervals.freedom[[a, b]].min()),
        tests=tests,
        flips=flips,
    )
    return None if np.isinf(difference) else optional(difference)


def _ranks(test: GroupTests, comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Rank of each metric from the tests on all checks; {} without tests.

    A metric that lacks a direction which others have takes no rank: its mean is of other numbers.
    """
    tested = [c for c in comparisons if c.group is None]
    if not tested:
        return {}
    verdicts = test.group.verdicts
    directions = verdicts.known.any(axis=2)
    places = np.flatnonzero((directions == directions.any(axis=0)).all(axis=1))
    names = [verdicts.metrics[m] for m in places]
    p = np.ones((len(names), len(names)))
    for c in tested:
        if c.better in names and c.worse in names:
            a, b = names.index(c.better), names.index(c.worse)
            p[a, b] = p[b, a] = c.p_adjusted
    return dict(zip(names, statistics.significance_ranks(test.scores[places], p), strict=True))
