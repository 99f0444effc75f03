"""Every two benchmarks compared over the metrics that they share, as records."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from croc.transfer.agreement import FEWEST_METRICS, agreement, smallest_significant
from croc.transfer.metric_names import Match, shared_metrics
from croc.transfer.rankings import Ranking, Source
from croc.verdict import statistics
from croc.verdict.records import Count, Scaled, Share, Stored, Text, optional
from croc.verdict.statistics import Correction
from croc.wording import counted

Scope = Literal["benchmarks", "parts", "within"]
SCOPES: dict[Scope, str] = {
    "benchmarks": "Between benchmarks",
    "parts": "Between parts of benchmarks",
    "within": "Between parts of one benchmark",
}
"""What is compared, as people read it."""

ALPHA = 0.05


@dataclass(frozen=True)
class Side(Stored):
    """One of two rankings.

    Attributes:
        benchmark: its name.
        column: what the part is; None for all items.
        value: which part; None for all items.
        score: what ranks the metrics.
        items: number of prompts, checks or pairs.
        names: the shared metrics as they are called there.
        values: their scores.
    """

    benchmark: Text
    column: Text | None
    value: Text | None
    score: Text
    items: Count
    names: tuple[Text, ...]
    values: tuple[float | None, ...]

    @property
    def label(self) -> str:
        """The benchmark, with the part."""
        return self.benchmark if self.value is None else f"{self.benchmark}, {self.value}"


@dataclass(frozen=True)
class Comparison(Stored):
    """Rank agreement of two rankings.

    Attributes:
        scope: what is compared, see ``SCOPES``.
        first: one ranking.
        second: the other.
        metrics: the shared metrics.
        ambiguous: methods that were not matched, as one of the two has several metrics of them.
        tau: Kendall's tau-b; None with fewer than two shared metrics or equal scores.
        ci_low: lower end of its interval, items and metrics resampled; None with fewer than six metrics.
        ci_high: upper end.
        error: standard error, items and metrics resampled.
        item_error: standard error, items resampled only.
        p: two-sided, of independent rankings; None with fewer than six metrics.
        p_adjusted: adjusted over the comparisons of one scope, and of one benchmark where it is of its parts.
        smallest_significant: the smallest absolute tau that so many metrics can show, before the adjustment.
        without: tau without each of the shared metrics; empty with fewer than six.
        conclusion: in words.
    """

    scope: Scope
    first: Side
    second: Side
    metrics: tuple[Text, ...]
    ambiguous: tuple[Text, ...]
    tau: Scaled
    ci_low: Scaled
    ci_high: Scaled
    error: float | None
    item_error: float | None
    p: Share
    p_adjusted: Share
    smallest_significant: Scaled
    without: tuple[Scaled, ...]
    conclusion: Text

    @property
    def concluded(self) -> bool:
        """Whether there are enough metrics for a conclusion."""
        return len(self.metrics) >= FEWEST_METRICS


@dataclass(frozen=True)
class Unmatched(Stored):
    """Metrics of a benchmark that no other one has.

    Attributes:
        benchmark: its name.
        names: the metrics as they are called there.
    """

    benchmark: Text
    names: tuple[Text, ...]


@dataclass(frozen=True)
class Transfer(Stored):
    """Rank agreement of several benchmarks.

    Attributes:
        level: of the intervals.
        resamples: of items and metrics.
        seed: of the resamples.
        match: whether metrics of one method with other weights were matched.
        correction: of the p values.
        signatures: of the numbers of each benchmark.
        comparisons: of every two benchmarks, of their parts, and of the parts of each.
        unmatched: metrics that only one benchmark has.
        few_shared: number of comparisons of parts that are left out, as they share fewer than six metrics.
        notes: sentences about what was not ranked.
    """

    description: ClassVar[str] = "a comparison of benchmarks"

    level: float
    resamples: Count
    seed: Count
    match: Match
    correction: Correction
    signatures: dict[Text, Text]
    comparisons: tuple[Comparison, ...]
    unmatched: tuple[Unmatched, ...]
    few_shared: Count
    notes: tuple[Text, ...]


def compare(
    sources: Sequence[Source],
    *,
    match: Match = "metric",
    level: float = 0.95,
    seed: int = 0,
    correction: Correction = "holm",
) -> Transfer:
    """Compare every two benchmarks, and the parts of each.

    Args:
        sources: the benchmarks.
        match: ``metric`` needs the same weights; ``method`` also matches the same method with other weights.
        level: of the intervals.
        seed: of the resamples of metrics.
        correction: of the p values, see :class:`Comparison`.
    """
    found = [_compare(scope, first, second, match, level, seed) for scope, first, second in _pairs(sources)]
    of_few = sum(one.scope != "benchmarks" and not one.concluded for one, _ in found)
    found = [(one, p) for one, p in found if one.scope == "benchmarks" or one.concluded]
    comparisons: list[Comparison] = []
    for family in dict.fromkeys(_family(one) for one, _ in found):
        own = [pair for pair in found if _family(pair[0]) == family]
        adjusted = statistics.adjust([p for _, p in own], correction)
        comparisons += [_concluded(one, p, q) for (one, p), q in zip(own, adjusted, strict=True)]
    return Transfer(
        level=level,
        resamples=min((len(ranking.samples) for source in sources for ranking in source.rankings), default=0),
        seed=seed,
        match=match,
        correction=correction,
        signatures={source.name: source.signature for source in sources},
        comparisons=tuple(comparisons),
        unmatched=tuple(_unmatched(sources, match)),
        few_shared=of_few,
        notes=tuple(f"{source.name}: {note}" for source in sources for note in source.notes),
    )


def _family(comparison: Comparison) -> tuple[str, str]:
    """Comparisons of one family are adjusted together."""
    return comparison.scope, comparison.first.benchmark if comparison.scope == "within" else ""


def _pairs(sources: Sequence[Source]) -> Iterator[tuple[Scope, Ranking, Ranking]]:
    """Benchmarks with each other; parts of one name; a part with a whole; parts of one benchmark."""
    for first, second in itertools.combinations(sources, 2):
        if first.whole is not None and second.whole is not None:
            yield "benchmarks", first.whole, second.whole
        common = [
            (one, other)
            for one in first.parts
            for other in second.parts
            if (one.column, one.value) == (other.column, other.value)
        ]
        for one, other in common:
            yield "parts", one, other
        taken = {(one.column, one.value) for one, _ in common}
        if second.whole is not None:
            for one in first.parts:
                if (one.column, one.value) not in taken:
                    yield "parts", one, second.whole
        if first.whole is not None:
            for other in second.parts:
                if (other.column, other.value) not in taken:
                    yield "parts", first.whole, other
    for source in sources:
        for one, other in itertools.combinations(source.parts, 2):
            # Dozens of properties would be thousands of pairs.
            if one.column == other.column != "property":
                yield "within", one, other


def _compare(
    scope: Scope, first: Ranking, second: Ranking, match: Match, level: float, seed: int
) -> tuple[Comparison, float]:
    """The comparison, not yet concluded, and its p value."""
    shared = shared_metrics(first.metrics, second.metrics, match)
    sides = []
    values, samples = [], []
    resamples = min(len(first.samples), len(second.samples))
    for number, ranking in enumerate((first, second)):
        places = np.array([pair[number] for pair in shared.places], int)
        values.append(ranking.values[places])
        samples.append(ranking.samples[:resamples, places])
        sides.append(
            Side(
                benchmark=ranking.benchmark,
                column=ranking.column,
                value=ranking.value,
                score=ranking.score,
                items=ranking.items,
                names=tuple(ranking.names[place] for place in places),
                values=tuple(optional(ranking.values[place]) for place in places),
            )
        )
    metrics = len(shared.names)
    found = agreement((values[0], values[1]), (samples[0], samples[1]), level, seed)
    smallest = smallest_significant(metrics) if metrics >= FEWEST_METRICS else float("nan")
    comparison = Comparison(
        scope=scope,
        first=sides[0],
        second=sides[1],
        metrics=shared.names,
        ambiguous=shared.ambiguous,
        tau=optional(found.tau),
        ci_low=optional(found.low),
        ci_high=optional(found.high),
        error=optional(found.error),
        item_error=optional(found.item_error),
        p=optional(found.p),
        p_adjusted=None,
        smallest_significant=optional(smallest),
        without=tuple(map(optional, found.without)) if metrics >= FEWEST_METRICS else (),
        conclusion="",
    )
    return comparison, found.p


def _concluded(comparison: Comparison, p: float, adjusted: float) -> Comparison:
    return replace(
        comparison, p_adjusted=optional(adjusted), conclusion=conclusion(comparison, float(adjusted))
    )


def conclusion(comparison: Comparison, p_adjusted: float) -> str:
    """What can be concluded, in a sentence."""
    number = len(comparison.metrics)
    if number < FEWEST_METRICS:
        return f"Nothing: {counted(number, 'shared metric')}, and at least {FEWEST_METRICS} are needed."
    if comparison.tau is None:
        return "Nothing: all metrics have one score on a benchmark."
    if p_adjusted < ALPHA:
        if comparison.ci_low is not None and comparison.ci_low > 0:
            return "They rank metrics alike."
        if comparison.ci_high is not None and comparison.ci_high < 0:
            return "They rank metrics in reverse."
        return "The orders are not independent, and the interval includes 0."
    return (
        f"No agreement is shown. With {number} metrics a single test needs a tau of at least "
        f"{comparison.smallest_significant:.2f}, and several tests more."
    )


def _unmatched(sources: Sequence[Source], match: Match) -> Iterator[Unmatched]:
    """Metrics of each benchmark that no other one has, in no part."""
    everything = [
        {m: name for r in source.rankings for m, name in zip(r.metrics, r.names, strict=True)}
        for source in sources
    ]
    for number, (source, own) in enumerate(zip(sources, everything, strict=True)):
        others = [metric for i, theirs in enumerate(everything) if i != number for metric in theirs]
        shared = shared_metrics(list(own), others, "metric").places
        matched = {place for place, _ in shared}
        if match == "method":
            methods = {metric.method for metric in others}
            matched |= {place for place, metric in enumerate(own) if metric.method in methods}
        left = tuple(name for place, name in enumerate(own.values()) if place not in matched)
        if left and len(sources) > 1:
            yield Unmatched(source.name, left)
