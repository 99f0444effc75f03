"""The Report: what score tables say about metrics, with intervals, tests and a signature on every number.

``Report.judge`` computes everything once; the terminal, JSON, LaTeX, the heatmap and the HTML page only
render it (``croc.rendering.render``).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from croc.checks.schema import DIRECTIONS, stable_hash
from croc.errors import InputError
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.verdict import statistics
from croc.verdict.aggregation import Evidence, average, nanmean
from croc.verdict.directions import scaled_accuracy
from croc.verdict.records import Agreement, Comparison, Dependence, Finding, Result, Score
from croc.verdict.statistics import Array

DEFAULT_SEED = 20250511
NO_VALUE = "(none)"
_DEFAULT_GROUP = {"syn": "subset", "hum": "category"}
# Two concepts cannot say how much concepts differ; below this no interval is given.
_FEWEST_CLUSTERS = 3


@dataclass(frozen=True)
class Settings:
    """How a report is computed; all of it stands in the signature.

    Attributes:
        paper: the published computation instead of the default one.
        by: columns to break down by, beside all checks together.
        resamples: of the bootstrap; 0 gives no intervals.
        flips: of the permutation tests; 0 gives no tests and so no clusters and findings.
        seed: of both.
        level: of the intervals.
    """

    paper: bool = False
    by: tuple[str, ...] = ()
    resamples: int = 2_000
    flips: int = 10_000
    seed: int = DEFAULT_SEED
    level: float = 0.95


@dataclass(frozen=True)
class Group:
    """Checks that a report looks at together: all of them, or those with one value in a column."""

    column: str | None
    value: str | None
    evidence: Evidence

    @property
    def key(self) -> tuple[str | None, str | None]:
        """(column, value)."""
        return self.column, self.value

    def seed(self, settings: Settings, use: int) -> Sequence[int]:
        """A stream for each group: its interval does not depend on which other groups are shown."""
        name = 0 if self.column is None else int(stable_hash(self.column, self.value, length=12), 16)
        return [settings.seed, use, name]

    def resampled(self, settings: Settings) -> Array | None:
        """Bootstrapped totals (resamples, T, M, 4, 3), or None without resamples."""
        if not settings.resamples:
            return None
        return self.evidence.bootstrap(settings.resamples, self.seed(settings, 0))


@dataclass(frozen=True)
class GroupTests:
    """The tests of one group: against chance (M, 4), and between metrics (M, M); None without flips.

    ``scores`` (M,) are the mean scaled accuracies; ``directions`` (resamples, M, 4) the resampled scaled
    accuracies, None without resamples.
    """

    group: Group
    scores: Array
    directions: Array | None
    below: Array | None
    above: Array | None
    exchange: Array | None

    @property
    def samples(self) -> Array | None:
        """(resamples, M): the resampled mean scaled accuracies."""
        return None if self.directions is None else nanmean(self.directions, -1)

    @classmethod
    def of(cls, group: Group, samples: Array | None, settings: Settings) -> GroupTests:
        """Run them."""
        scores = group.evidence.observed()
        if not settings.flips:
            return cls(group, scores, samples, None, None, None)
        below, above = group.evidence.excess_test(settings.flips, group.seed(settings, 1))
        exchange = group.evidence.exchange_test(settings.flips, group.seed(settings, 2))
        return cls(group, scores, samples, below, above, exchange)


@dataclass(frozen=True)
class Report:
    """What score tables say about their metrics.

    Attributes:
        protocol: ``syn`` or ``hum``.
        settings: how it was computed.
        metrics: best first.
        results: per metric, direction, group and text model.
        scores: per metric and group, the mean over directions; those of all checks first, best first.
        comparisons: pairwise tests between metrics.
        findings: what the tests show, in words.
        gaps: per metric, how many rows lack a score, by reason.
        n_checks: number of checks.
        n_concepts: number of concepts, the unit of resampling.
        signature: the settings that hold for all numbers; ``signatures`` adds those of each metric.
        signatures: per metric.
        samples: per (group, value): (resamples, M, 4) bootstrapped scaled accuracies of ``metrics``.
        dependences: where the checks are broken down by who generated them, pairs of generators compared.
    """

    protocol: str
    settings: Settings
    metrics: tuple[str, ...]
    results: tuple[Result, ...]
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    gaps: Mapping[str, Mapping[str, int]]
    n_checks: int
    n_concepts: int
    signature: str
    signatures: Mapping[str, str]
    samples: Mapping[tuple[str | None, str | None], Array] = field(repr=False, default_factory=dict)
    dependences: tuple[Dependence, ...] = ()

    @classmethod
    def from_files(
        cls,
        paths: Iterable[Path | str],
        *,
        protocol: str | None = None,
        settings: Settings | None = None,
        metrics: Sequence[str] | None = None,
    ) -> Report:
        """Read score tables and judge them.

        Args:
            paths: files or folders.
            protocol: ``syn`` or ``hum``; None takes what the files say.
            settings: see ``Settings``.
            metrics: only these.

        Raises:
            InputError: see :func:`croc.tables.readers.read_score_tables`.

        Example:
            >>> Report.from_files(["clip.parquet", "vqa.parquet"]).scores[0].metric  # doctest: +SKIP
            'VQAScore'
        """
        settings = settings or Settings()
        tables = read_score_tables(paths, protocol=protocol, groups=settings.by, metrics=metrics)
        return cls.judge(tables, settings)

    @classmethod
    def judge(cls, tables: Sequence[ScoreTable], settings: Settings | None = None) -> Report:
        """Judge score tables that were read with :func:`croc.tables.readers.read_score_tables`."""
        from croc.verdict import findings
        from croc.verdict.generator_effects import dependences

        settings = settings or Settings()
        protocol = tables[0].protocol
        by = tuple(dict.fromkeys(settings.by)) or _default_grouping(tables)
        evidence = Evidence.of(tables, by, paper=settings.paper)
        # A column that varies inside a check splits it: that concerns the groups of this column alone.
        split = [column for column in evidence.split if column != "text_model"]
        if split:
            whole = [column for column in by if column not in split]
            evidence = Evidence.of(tables, whole, paper=settings.paper)
        evidence = evidence.sorted_by_score()
        said = {metric: table.metadata[metric] for table in tables for metric in table.metrics}
        signature = _signature(protocol, settings, evidence, said)
        signatures = {name: f"{signature}|{_scorer_signature(said[name])}" for name in evidence.metrics}
        groups = [Group(None, None, evidence)]
        for column in by:
            source = evidence
            if column in split:
                source = Evidence.of(tables, (column,), paper=settings.paper).ordered(evidence.metrics)
            groups += groups_by(source, column)
        results: list[Result] = []
        scores: list[Score] = []
        samples: dict[tuple[str | None, str | None], Array] = {}
        ends: dict[tuple[str | None, str | None], dict[str, tuple[float, float]]] = {}
        tests: list[GroupTests] = []
        for group in groups:
            drawn = group.resampled(settings)
            found = _results(group, drawn, settings, signatures)
            results += found
            ends[group.key] = _wilson_ends(found)
            if drawn is not None:
                samples[group.key] = scaled_accuracy(*average(drawn))
            tests.append(GroupTests.of(group, samples.get(group.key), settings))
        comparisons = comparisons_of(tests, signatures)
        blind = {name: said[name].blind for name in evidence.metrics}
        for group in groups:
            drawn = samples.get(group.key)
            scores += _group_scores(group, drawn, settings, blind, comparisons, signatures, ends[group.key])
        report = cls(
            protocol,
            settings,
            evidence.metrics,
            tuple(results),
            tuple(scores),
            tuple(comparisons),
            (),
            {metric: table.reasons.get(metric, {}) for table in tables for metric in table.metrics},
            evidence.checks["check_id"].n_unique(),
            int(evidence.concept.max()) + 1,
            signature,
            signatures,
            samples,
            tuple(dependences(groups, settings, signatures)),
        )
        return replace(report, findings=tuple(findings.find(report, tests)))

    def score(self, metric: str, group: str | None = None, group_value: str | None = None) -> Score:
        """The mean scaled accuracy of one metric, on all checks or on one group.

        Raises:
            InputError: the report has no such metric or group.
        """
        for score in self.scores:
            if (score.metric, score.group, score.group_value) == (metric, group, group_value):
                return score
        known = sorted({name for name in self.metrics})
        close = get_close_matches(metric, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close and metric not in known else ""
        raise InputError(
            f"the report has no score of {metric!r} on {group or 'all checks'} {group_value or ''}{hint}"
        )

    def agreement(self, other: Report, group: str | None = None) -> list[Agreement]:
        """Does another benchmark rank the shared metrics alike?

        Args:
            other: report of the other benchmark; its concepts are resampled independently.
            group: a column both are broken down by, to compare value by value; None compares all checks.

        Raises:
            InputError: fewer than two metrics are shared, or neither has intervals to compare by.
        """
        if not (self.samples and other.samples):
            raise InputError("an agreement needs resamples in both reports; give more than 0")
        shared = [name for name in self.metrics if name in other.metrics]
        if len(shared) < 2:
            raise InputError("two rankings can be compared when they share at least two metrics")
        keys = [key for key in self.samples if key[0] == group and key in other.samples]
        out = []
        for key in keys:
            point, drawn = [], []
            for report in (self, other):
                at = [report.metrics.index(name) for name in shared]
                drawn.append(nanmean(report.samples[key][:, at], -1))
                values = [report.score(name, *key).scaled for name in shared]
                point.append(np.array([[np.nan if value is None else value for value in values]]))
            k = min(map(len, drawn))
            # Streams are named after groups, so that both benchmarks may have drawn alike: pair them anew.
            drawn[1] = drawn[1][np.random.default_rng([self.settings.seed, 3]).permutation(len(drawn[1]))]
            tau = float(statistics.rank_agreement(point[0], point[1])[0])
            low, high = statistics.percentile_interval(
                statistics.rank_agreement(drawn[0][:k], drawn[1][:k]), self.settings.level
            )
            out.append(
                Agreement(
                    key[1],
                    tuple(shared),
                    _plain(tau),
                    _plain(low),
                    _plain(high),
                    f"{self.signature} / {other.signature}",
                )
            )
        return out

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; ``results`` is flat, what is unknown is null."""

        def plain(record: Any) -> dict[str, Any]:
            return {name: value for name, value in asdict(record).items() if name != "signature"}

        return {
            "signature": self.signature,
            "protocol": self.protocol,
            "mode": "paper" if self.settings.paper else "default",
            "checks": self.n_checks,
            "concepts": self.n_concepts,
            "signatures": dict(self.signatures),
            "results": [plain(result) for result in self.results],
            "scores": [plain(score) for score in self.scores],
            "comparisons": [plain(comparison) for comparison in self.comparisons],
            "findings": [plain(finding) for finding in self.findings],
            "dependences": [asdict(dependence) for dependence in self.dependences],
            "missing_scores": {metric: dict(reasons) for metric, reasons in self.gaps.items()},
        }

    def to_json(self) -> str:
        """``to_dict`` as text; NaN never occurs in it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)


def groups_by(evidence: Evidence, column: str) -> list[Group]:
    """The checks by value of a column; those without a value are a group of their own beside others."""
    values = evidence.checks[column]
    found = []
    for value in values.drop_nulls().unique().sort():
        members = (values == value).fill_null(False).arg_true().to_numpy()
        found.append(Group(column, str(value), evidence.part(members)))
    if found and values.null_count():
        found.append(Group(column, NO_VALUE, evidence.part(values.is_null().arg_true().to_numpy())))
    return found


def _default_grouping(tables: Sequence[ScoreTable]) -> tuple[str, ...]:
    column = _DEFAULT_GROUP[tables[0].protocol]
    there = all(column in table.frame.columns for table in tables)
    return (column,) if there else ()


def _signature(
    protocol: str, settings: Settings, evidence: Evidence, said: Mapping[str, ScoreMetadata]
) -> str:
    from croc import __version__

    first = next(iter(said.values()))
    data = first.dataset or "unnamed"
    if first.dataset_revision:
        data += f"@{first.dataset_revision[:20]}"
    published = "5/6,1/2" if protocol == "syn" else "1/2"
    fields = {
        "croc": __version__,
        "protocol": protocol,
        "mode": "paper" if settings.paper else "default",
        "chance": published if settings.paper else ("swap,K" if protocol == "syn" else "1/2"),
        "ties": "lose" if settings.paper else "half",
        "data": data,
        "checks": evidence.checks["check_id"].n_unique(),
        "concepts": int(evidence.concept.max()) + 1,
        "ci": f"bootstrap{settings.resamples}@{settings.level:g}" if settings.resamples else "none",
        "test": f"signflip{settings.flips}" if settings.flips else "none",
        "seed": settings.seed,
    }
    return "|".join(f"{name}:{value}" for name, value in fields.items())


def _scorer_signature(said: ScoreMetadata) -> str:
    fields = {
        "scorer": said.scorer,
        "revision": said.scorer_revision or "none",
        "template": stable_hash(said.template, length=8) if said.template else "none",
        "dtype": said.dtype or "unknown",
        "pixels": said.image_processor or "unknown",
    }
    return "|".join(f"{name}:{value}" for name, value in fields.items())


def _plain(value: Any) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number


def _results(
    group: Group, drawn: Array | None, settings: Settings, signatures: Mapping[str, str]
) -> list[Result]:
    """A row per metric, direction and text model, and one averaged over the text models."""
    evidence = group.evidence
    totals = evidence.totals
    models = evidence.text_models
    clusters = None if drawn is None else evidence.clusters_with_verdict()
    views: list[tuple[str | None, list[int]]] = [(None, list(range(len(models))))]
    wrote = set(evidence.text.tolist())
    views += [(model, [t]) for t, model in enumerate(models) if model is not None and t in wrote]
    rows = []
    for model, chosen in views:
        part = totals[chosen]
        accuracy, chance = average(part[..., :3])
        scaled = scaled_accuracy(accuracy, chance)
        verdicts = part[..., 2]
        ties = _ratio(part[..., 3], verdicts)
        low, high, scaled_low, scaled_high = _intervals(
            accuracy,
            chance,
            None if drawn is None else drawn[:, chosen],
            None if clusters is None else clusters[chosen].max(axis=0),
            settings,
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            coverage = part[..., 4].sum(axis=0) / part[..., 5].sum(axis=0)
        for m, metric in enumerate(evidence.metrics):
            for d, direction in enumerate(DIRECTIONS):
                rows.append(
                    Result(
                        metric=metric,
                        direction=direction,
                        group=group.column,
                        group_value=group.value,
                        text_model=model,
                        accuracy=_plain(accuracy[m, d]),
                        scaled=_plain(scaled[m, d]),
                        chance=_plain(chance[m, d]),
                        n=int(verdicts[:, m, d].sum()),
                        ties=_plain(nanmean(ties[:, m, d], 0)),
                        coverage=_plain(coverage[m, d]),
                        ci_low=_plain(low[m, d]),
                        ci_high=_plain(high[m, d]),
                        scaled_ci_low=_plain(scaled_low[m, d]),
                        scaled_ci_high=_plain(scaled_high[m, d]),
                        signature=signatures[metric],
                    )
                )
    return rows


def _wilson_ends(results: Sequence[Result]) -> dict[str, tuple[float, float]]:
    """Interval of the mean of each metric whose directions all passed, or failed, on every concept."""
    found = {}
    for metric in dict.fromkeys(result.metric for result in results):
        mine = [r for r in results if r.metric == metric and r.text_model is None and r.accuracy is not None]
        low = [r.scaled_ci_low for r in mine if r.scaled_ci_low is not None]
        high = [r.scaled_ci_high for r in mine if r.scaled_ci_high is not None]
        if low and len(low) == len(mine) and all(r.accuracy in (0, 1) for r in mine):
            found[metric] = (sum(low) / len(low), sum(high) / len(high))
    return found


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / np.where(denominator == 0, np.nan, denominator)


def _intervals(
    accuracy: Array, chance: Array, drawn: Array | None, clusters: Array | None, settings: Settings
) -> tuple[Array, Array, Array, Array]:
    """Ends of the intervals of accuracy and scaled accuracy, (M, 4) each.

    Where every concept passed, or none did, no resample differs; Wilson's interval over the concepts says
    then what is known.
    """
    if drawn is None or clusters is None:
        empty = np.full(accuracy.shape, np.nan)
        return empty, empty, empty, empty
    sampled, sampled_chance = average(drawn)
    low, high = statistics.percentile_interval(sampled, settings.level)
    scaled_low, scaled_high = statistics.percentile_interval(
        scaled_accuracy(sampled, sampled_chance), settings.level
    )
    extreme = (accuracy == 0) | (accuracy == 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        bottom, top = statistics.wilson_interval(accuracy, clusters, settings.level)
    low, high = np.where(extreme, bottom, low), np.where(extreme, top, high)
    scaled_low = np.where(extreme, scaled_accuracy(bottom, chance), scaled_low)
    scaled_high = np.where(extreme, scaled_accuracy(top, chance), scaled_high)
    few = clusters < _FEWEST_CLUSTERS
    return tuple(np.where(few, np.nan, end) for end in (low, high, scaled_low, scaled_high))  # type: ignore[return-value]


def comparisons_of(tests: Sequence[GroupTests], signatures: Mapping[str, str]) -> list[Comparison]:
    """Every pair in every group; Holm's adjustment over the groups of one grouping."""
    out: list[Comparison] = []
    for column in dict.fromkeys(test.group.column for test in tests):
        family = [test for test in tests if test.group.column == column]
        pairs = [
            (test, a, b)
            for test in family
            if test.exchange is not None
            for a, b in itertools.combinations(range(len(test.scores)), 2)
            if not np.isnan(test.scores[[a, b]]).any()
        ]
        adjusted = statistics.holm([test.exchange[a, b] for test, a, b in pairs if test.exchange is not None])
        for (test, a, b), p_holm in zip(pairs, adjusted, strict=True):
            better, worse = (a, b) if test.scores[a] >= test.scores[b] else (b, a)
            names = test.group.evidence.metrics
            error = (
                None if test.samples is None else np.nanstd(test.samples[:, a] - test.samples[:, b], ddof=1)
            )
            assert test.exchange is not None
            out.append(
                Comparison(
                    names[better],
                    names[worse],
                    *test.group.key,
                    float(test.scores[better] - test.scores[worse]),
                    float(test.exchange[a, b]),
                    float(p_holm),
                    None if error is None else float(statistics.detectable_difference(error)),
                    f"{signatures[names[better]]} / {signatures[names[worse]]}",
                )
            )
    return out


def clusters_of(metrics: Sequence[str], comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Cluster of each metric, given best first, from the tests on all checks; {} without tests."""
    tested = [c for c in comparisons if (c.group, c.group_value) == (None, None)]
    if not tested:
        return {}
    p = np.ones((len(metrics), len(metrics)))
    for c in tested:
        a, b = metrics.index(c.better), metrics.index(c.worse)
        p[a, b] = p[b, a] = c.p_holm
    return dict(zip(metrics, statistics.significance_ranks(range(len(metrics)), p), strict=True))


def _group_scores(
    group: Group,
    samples: Array | None,
    settings: Settings,
    blind: Mapping[str, bool],
    comparisons: Sequence[Comparison],
    signatures: Mapping[str, str],
    certain: Mapping[str, tuple[float, float]],
) -> list[Score]:
    evidence = group.evidence
    observed = evidence.observed()
    passed = evidence.all_passed()
    ends = np.full((2, len(observed)), np.nan)
    if samples is not None and len(np.unique(evidence.concept)) >= _FEWEST_CLUSTERS:
        ends = np.array(statistics.percentile_interval(nanmean(samples, -1), settings.level))
        for metric, known in certain.items():
            ends[:, evidence.metrics.index(metric)] = known
    ranks = clusters_of(evidence.metrics, comparisons) if group.column is None else {}
    totals = evidence.totals.sum(axis=0)
    ties = nanmean(_ratio(totals[..., 3], totals[..., 2]), -1)
    covered = _ratio(totals[..., 4].sum(axis=-1), totals[..., 5].sum(axis=-1))
    judged = evidence.known.any(axis=1).sum(axis=-1)
    return [
        Score(
            metric=metric,
            group=group.column,
            group_value=group.value,
            scaled=_plain(observed[m]),
            ci_low=_plain(ends[0, m]),
            ci_high=_plain(ends[1, m]),
            n=int(judged[m]),
            all_passed=_plain(passed[m]),
            ties=_plain(ties[m]),
            coverage=_plain(covered[m]),
            rank=ranks.get(metric) if not np.isnan(observed[m]) else None,
            blind=blind[metric],
            signature=signatures[metric],
        )
        for m, metric in enumerate(evidence.metrics)
    ]
