"""Correlation of metrics with people's ratings: coefficients, intervals, tests and significance ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.ratings import soft_pairwise_accuracy as spa
from croc.ratings.groups import Grouped, Rows, constant_groups, mean_coefficient, stack_groups
from croc.ratings.layout import MIN_UNITS, SOURCE, Layout, Settings, interval_level, number_values
from croc.ratings.permutation import draw_swaps, exchange, exchange_p
from croc.ratings.raters import find_dependent_raters
from croc.ratings.records import (
    KINDS,
    ConstantGroups,
    CorrelationResult,
    Correlations,
    CorrelationTest,
    Kind,
)
from croc.ratings.ties import MAX_PAIRS, calibrate_ties
from croc.tables.delimited import require_cells
from croc.tables.pair_tables import PAIR_KEYS, require_groups, select_metrics
from croc.verdict import statistics
from croc.verdict.records import optional
from croc.verdict.statistics import Array
from croc.wording import counted


def correlate(
    table: pl.DataFrame,
    humans: Sequence[str],
    *,
    metrics: Sequence[str] | None = None,
    settings: Settings | None = None,
    **more: Any,
) -> Correlations:
    """Correlate every metric of a pair table with columns of ratings.

    Args:
        table: see :func:`croc.tables.readers.read_pair_table`.
        humans: columns of ratings.
        metrics: columns to correlate; None takes every column of numbers that is no rating.
        settings: see :class:`Settings`.
        **more: single settings by name.

    Returns:
        Results (per rating and coefficient, the best first) and paired tests. Paired tests use the items that
        both metrics have.

    Raises:
        InputError: a column is not there or holds no numbers; a rating has no value at all; the items cannot
            be grouped as asked.
    """
    settings = replace(settings or Settings(), **more)
    humans = list(dict.fromkeys(humans))
    others = [name for name in (settings.cluster, *settings.by) if name is not None]
    for name in (*others, *(key for key in PAIR_KEYS if key in table.columns)):
        require_groups(name, table)
    chosen, ignored = select_metrics(table, humans, metrics, others)
    notes: list[str] = []
    columns = {name: _finite(table[name]) for name in (*humans, *chosen)}
    for human in humans:
        if np.isnan(columns[human]).all():
            raise InputError(f"{SOURCE}, column {human!r}: there is no rating")
    if empty := [name for name in chosen if np.isnan(columns[name]).all()]:
        notes.append(f"Metrics without a finite score have no result: {', '.join(map(repr, empty))}.")
    for group in find_dependent_raters(np.stack([columns[human] for human in humans]), humans):
        notes.append(f"{group.describe()}.")
    layout = Layout.of(table, settings)
    results: list[CorrelationResult] = []
    tests: list[CorrelationTest] = []
    constant: list[ConstantGroups] = []
    for human in humans:
        parts = [
            _Part.of(by, value, rows, human, chosen, columns, layout)
            for by, value, rows in _split(table, settings.by)
        ]
        notes += parts[0].missing_notes()
        for kind in KINDS:
            rankings = [part.ranking(kind) for part in parts]
            notes += rankings[0].notes
            p = [pair.p for ranking in rankings for pair in ranking.pairs]
            notes += _too_few_permutations(len(p), settings)
            adjusted = iter(statistics.adjust(p, settings.correction))
            for ranking in rankings:
                found, tested = ranking.records([float(next(adjusted)) for _ in ranking.pairs])
                results += found
                tests += tested
        constant += [group for part in parts for group in part.constant_groups()]
    return Correlations(
        layout.signature(len(table)),
        tuple(results),
        tuple(tests),
        layout.group,
        tuple(constant),
        tuple(dict.fromkeys((*notes, *layout.notes))),
        tuple(ignored),
    )


def _too_few_permutations(tests: int, settings: Settings) -> list[str]:
    """A sentence if not even the smallest p value could be significant after its adjustment."""
    if not tests or not settings.permutations:
        return []
    needed = statistics.fewest_permutations(statistics.first_step(tests, settings.correction))
    if settings.permutations >= needed:
        return []
    return [
        f"No difference can be significant: {counted(tests, 'pair')} of metrics and "
        f"{settings.permutations:,} permutations; take at least {needed:,}."
    ]


@dataclass(frozen=True)
class _Pair:
    """Two metrics of a ranking, the better first, with their difference, its interval and the p value."""

    first: int
    second: int
    difference: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class _Measured:
    """One coefficient of one metric.

    Attributes:
        metric: its name.
        value: the coefficient, or its average over the groups.
        resampled: (k,) the value in each resample; empty for no interval.
        units: number of units that have a part in it.
        groups: number of groups with a coefficient; None for pooled items.
        threshold: of ties.
    """

    metric: str
    value: float
    resampled: Array
    units: int = 0
    groups: int | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class _Ranking:
    """The metrics by one coefficient, the best first, and the tests of every two."""

    part: _Part
    kind: Kind
    measured: Sequence[_Measured]
    pairs: Sequence[_Pair]
    notes: Sequence[str] = ()

    def records(self, adjusted: Sequence[float]) -> tuple[list[CorrelationResult], list[CorrelationTest]]:
        """The records, given the adjusted p values of the pairs."""
        part, kind = self.part, self.kind
        p = np.ones((len(self.measured), len(self.measured)))
        tests = []
        for pair, p_adjusted in zip(self.pairs, adjusted, strict=True):
            p[pair.first, pair.second] = p[pair.second, pair.first] = p_adjusted
            names = self.measured[pair.first].metric, self.measured[pair.second].metric
            ends = pair.low, pair.high
            tests.append(
                CorrelationTest(
                    *names, part.human, kind, pair.difference, *ends, pair.p, p_adjusted, part.by, part.value
                )
            )
        ranks = statistics.significance_ranks(np.array([one.value for one in self.measured]), p)
        results = []
        for one, rank in zip(self.measured, ranks, strict=True):
            value = optional(one.value)
            low, high = (None, None) if value is None else part.interval(one.resampled, one.units)
            scores = part.scores[one.metric]
            results.append(
                CorrelationResult(
                    one.metric,
                    part.human,
                    kind,
                    value,
                    low,
                    high,
                    rank=None if value is None or not self.layout.settings.permutations else rank,
                    n=int((~np.isnan(scores)).sum()),
                    missing=part.missing[one.metric],
                    groups=one.groups,
                    threshold=None if one.threshold is None else optional(one.threshold),
                    by=part.by,
                    by_value=part.value,
                )
            )
        return results, tests

    @property
    def layout(self) -> Layout:
        return self.part.layout


@dataclass(frozen=True)
class _Part:
    """The rated items of the table, or of one value of a column, and one column of ratings.

    Attributes:
        by: column that the items are broken down by; None for all items.
        value: its value.
        human: column of the ratings.
        layout: of the table.
        rows: (n,) row of the table of each item.
        rating: (n,).
        scores: (n,) of each metric; NaN where there is none, after ``Settings.missing``.
        missing: number of rated items without a score, by metric.
        unrated: number of items without a rating.
        unit: (n,) number of the unit of each item.
        counts: (k, units) how often each unit is drawn; None for no intervals.
        keep: (k, units) which units keep their scores in each permutation; None for no tests.
    """

    by: str | None
    value: str | None
    human: str
    layout: Layout
    rows: Rows
    rating: Array
    scores: dict[str, Array]
    missing: dict[str, int]
    unrated: int
    unit: Rows
    counts: Any
    keep: Any

    @classmethod
    def of(
        cls,
        by: str | None,
        value: str | None,
        rows: Rows,
        human: str,
        metrics: Sequence[str],
        columns: dict[str, Array],
        layout: Layout,
    ) -> _Part:
        settings = layout.settings
        rated = rows[~np.isnan(columns[human][rows])]
        scores = {name: columns[name][rated] for name in metrics}
        missing = {name: int(np.isnan(own).sum()) for name, own in scores.items()}
        if settings.missing != "drop":
            for name, own in scores.items():
                whole = columns[name]
                if not np.isnan(whole).all():
                    filled = 0.0 if settings.missing == "zero" else float(np.nanmin(whole))
                    scores[name] = np.where(np.isnan(own), filled, own)
        units, unit = np.unique(layout.unit[rated], return_inverse=True)
        counts = keep = None
        if settings.resamples and len(units) >= MIN_UNITS:
            rng = np.random.default_rng(settings.seed)
            counts = statistics.resample_counts(len(units), settings.resamples, rng)
        if settings.permutations:
            exchanged = len(units) if layout.settings.test == "perm-inputs" else len(rated)
            keep = draw_swaps(exchanged, settings.permutations, np.random.default_rng([settings.seed, 1]))
        unrated = len(rows) - len(rated)
        rating = columns[human][rated]
        return cls(by, value, human, layout, rated, rating, scores, missing, unrated, unit, counts, keep)

    def interval(self, resampled: Array, units: int) -> tuple[float | None, float | None]:
        if not len(resampled):
            return None, None
        level = interval_level(self.layout.settings.level, units)
        low, high = statistics.percentile_interval(resampled, level)
        return optional(low), optional(high)

    def missing_notes(self) -> list[str]:
        """Sentences about missing ratings and scores."""
        notes = []
        if self.unrated:
            notes.append(f"{counted(self.unrated, 'item')} without a rating in {self.human!r} left out.")
        some = [f"{name} {number}" for name, number in self.missing.items() if 0 < number < len(self.rows)]
        if some:
            meaning = {
                "drop": "are left out",
                "zero": "count as 0",
                "worst": "count as the lowest score of the metric",
            }[self.layout.settings.missing]
            notes.append(f"Missing scores {meaning}: {', '.join(some)}.")
        return notes

    def constant_groups(self) -> Iterator[ConstantGroups]:
        """Groups in which all ratings, or else all scores of a metric, are equal."""
        if self.layout.group == "none":
            return
        equal_ratings: set[int] = set()
        for metric, values in ((None, self.rating), *self.scores.items()):
            known = np.flatnonzero(~np.isnan(values))
            code = self.layout.code[self.rows[known]]
            stacks = stack_groups(code)
            constant = {int(code[row]) for row in constant_groups(values[known], stacks)} - equal_ratings
            if metric is None:
                equal_ratings = constant
            if constant:
                names = tuple(self.layout.names[code] for code in sorted(constant))
                total = sum(map(len, stacks))
                yield ConstantGroups(metric, self.human, names, total, self.by, self.value)

    # ---- One coefficient ----

    def ranking(self, kind: Kind) -> _Ranking:
        """The metrics by one coefficient."""
        if kind == "spa":
            return self._system_ranking()
        average = self.layout.settings.average
        notes: list[str] = []
        grouped = {name: self._grouped(kind, ~np.isnan(own), name) for name, own in self.scores.items()}
        measured = [self._measure(name, one) for name, one in grouped.items()]
        measured = _best_first(measured)
        if kind == "acc_eq" and any(too_many_pairs(one) for one in grouped.values()):
            notes.append(
                f"There is no accuracy with ties, as more than {MAX_PAIRS:,} pairs would be compared; group "
                "the items by prompt."
            )
        undefined = [one.metric for one in measured if np.isnan(one.value)]
        perfect = [name for name in undefined if (np.abs(grouped[name].coefficients) > 1 - 1e-12).any()]
        if average == "fisher" and perfect:
            notes.append(
                f"{KINDS[kind]} of {', '.join(map(repr, perfect))} is 1 or −1 in some groups, which has no "
                "Fisher z; use the plain mean."
            )
        pairs = []
        for (i, better), (j, worse) in itertools.combinations(enumerate(measured), 2):
            if self.keep is not None and not np.isnan([better.value, worse.value]).any():
                pair = self._pair(i, j, (better, worse), grouped, kind)
                pairs += [] if pair is None else [pair]
        return _Ranking(self, kind, measured, pairs, notes)

    def _grouped(self, kind: Kind, known: Any, metric: str) -> Grouped:
        items = np.flatnonzero(known)
        scores, rating = self.scores[metric][items], self.rating[items]
        stacks = stack_groups(self.layout.code[self.rows[items]])
        assert kind != "spa"
        threshold = calibrate_ties(scores, rating, stacks).threshold if kind == "acc_eq" else 0.0
        return Grouped.of(scores, rating, stacks, kind, threshold)

    def _measure(self, metric: str, grouped: Grouped) -> _Measured:
        return self._resampled(metric, grouped, np.flatnonzero(~np.isnan(self.scores[metric])))

    def _resampled(self, metric: str, grouped: Grouped, items: Rows) -> _Measured:
        average = self.layout.settings.average
        value = float(mean_coefficient(grouped.coefficients, average, grouped.kind))
        resampled = np.empty(0)
        used = [group for rows in grouped.stacks for group in rows]
        used = [group for group, one in zip(used, grouped.coefficients, strict=True) if not np.isnan(one)]
        units = len(np.unique(self.unit[items][np.concatenate(used)])) if used else 0
        if self.counts is not None and units >= MIN_UNITS and not np.isnan(value):
            resampled = grouped.resampled(self.counts, self.unit[items], average)
        groups = None if self.layout.group == "none" else int((~np.isnan(grouped.coefficients)).sum())
        threshold = grouped.threshold if grouped.kind == "acc_eq" else None
        return _Measured(metric, value, resampled, units, groups, threshold)

    def _pair(
        self, i: int, j: int, measured: tuple[_Measured, _Measured], grouped: dict[str, Grouped], kind: Kind
    ) -> _Pair | None:
        known = [~np.isnan(self.scores[one.metric]) for one in measured]
        both = known[0] & known[1]
        items = np.flatnonzero(both)
        compared, curves = [], []
        for one, own in zip(measured, known, strict=True):
            again, resampled = grouped[one.metric], one
            if not np.array_equal(both, own):
                again = self._grouped(kind, both, one.metric)
                resampled = self._resampled(one.metric, again, items)
            compared.append(again)
            curves.append(resampled)
        difference = curves[0].value - curves[1].value
        if np.isnan(difference):
            return None
        low = high = None
        if all(len(one.resampled) for one in curves):
            units = min(one.units for one in curves)
            low, high = self.interval(curves[0].resampled - curves[1].resampled, units)
        unit = self.unit[items] if self.layout.settings.test == "perm-inputs" else items
        first, second = exchange(compared[0], compared[1], self.keep, unit, self.layout.settings.average)
        return _Pair(i, j, difference, low, high, exchange_p(difference, first - second))

    # ---- Soft pairwise accuracy ----

    def _system_ranking(self) -> _Ranking:
        layout, settings = self.layout, self.layout.settings
        if layout.system is None or layout.prompt is None or not settings.permutations or not len(self.rows):
            return _Ranking(self, "spa", [], [])
        _, system = np.unique(layout.system[self.rows], return_inverse=True)
        _, prompt = np.unique(layout.prompt[self.rows], return_inverse=True)
        shape = int(system.max()) + 1, int(prompt.max()) + 1
        if min(shape) < 2:
            return _Ranking(self, "spa", [], [])
        signs = spa.draw_signs(settings.permutations, shape[1], np.random.default_rng([settings.seed, 2]))
        rating = spa.system_matrix(self.rating, system, prompt, shape)
        matrices = {name: spa.system_matrix(own, system, prompt, shape) for name, own in self.scores.items()}
        measured = [
            _Measured(name, spa.soft_pairwise_accuracy(own, rating, signs), np.empty(0))
            for name, own in matrices.items()
        ]
        measured = _best_first(measured)
        whole = layout.settings.test == "perm-inputs"
        rng = np.random.default_rng([settings.seed, 3])
        drawn = draw_swaps(shape[1] if whole else shape[0] * shape[1], settings.permutations, rng)
        keep = drawn if whole else drawn.reshape(-1, *shape)
        pairs = []
        for (i, better), (j, worse) in itertools.combinations(enumerate(measured), 2):
            if np.isnan([better.value, worse.value]).any():
                continue
            scores = matrices[better.metric], matrices[worse.metric]
            p = spa.exchange_test(scores, rating, keep)
            if np.isnan(p):
                continue
            pairs.append(_Pair(i, j, better.value - worse.value, None, None, p))
        return _Ranking(self, "spa", measured, pairs)


def _best_first(measured: Sequence[_Measured]) -> list[_Measured]:
    names, values = [one.metric for one in measured], np.array([one.value for one in measured])
    return [measured[m] for m in statistics.best_first(names, values)]


def too_many_pairs(grouped: Grouped) -> bool:
    """Whether no threshold of ties was searched."""
    return bool(len(grouped.coefficients)) and bool(np.isnan(grouped.threshold))


def _split(table: pl.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str | None, str | None, Rows]]:
    """All rows, then those of each value of each column."""
    yield None, None, np.arange(len(table))
    for name in columns:
        require_cells(table, (name,), SOURCE)
        code, values = number_values(table[name])
        for number, value in enumerate(values):
            yield name, value, np.flatnonzero(code == number)


def _finite(values: pl.Series) -> Array:
    numbers = values.cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)
