"""Agreement of metrics with people's ratings: correlations, intervals and significance ranks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.ratings.coefficients import CORRELATIONS, Correlation, correlation, weighted_correlation
from croc.tables.delimited import require_cells, to_numbers
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.records import Count, Distance, Rank, Record, Scaled, Stored, Text, optional
from croc.verdict.statistics import Array

KINDS: dict[Correlation, str] = dict(zip(CORRELATIONS, ("Kendall tau-b", "Spearman", "Pearson"), strict=True))
"""The coefficients as people read them."""

_KEYS = ("item_id", "system", "prompt")


@dataclass(frozen=True)
class CorrelationResult(Record):
    """Correlation of one metric with one column of ratings.

    Attributes:
        metric: column of the metric.
        human: column of the ratings.
        kind: ``kendall`` (tau-b), ``spearman`` or ``pearson``.
        value: −1…1; None where either is constant.
        ci_low: lower end of its interval, clusters resampled.
        ci_high: upper end.
        rank: significance rank by this coefficient, from 1.
        n: items with both values.
    """

    metric: Text
    human: Text
    kind: Correlation
    value: Scaled
    ci_low: Scaled
    ci_high: Scaled
    rank: Rank
    n: Count

    @property
    def about(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)


@dataclass(frozen=True)
class CorrelationTest(Record):
    """Paired test whether two metrics correlate differently with the ratings.

    Attributes:
        better: the metric with the higher correlation.
        worse: the other one.
        human: column of the ratings.
        kind: ``kendall`` (tau-b), ``spearman`` or ``pearson``.
        difference: of the two correlations, on the items that both metrics have.
        ci_low: lower end of its interval, clusters resampled.
        ci_high: upper end.
        p: two-sided, from the bootstrap.
        p_holm: adjusted over all pairs of one coefficient and column of ratings.
    """

    better: Text
    worse: Text
    human: Text
    kind: Correlation
    difference: Distance
    ci_low: Distance
    ci_high: Distance
    p: float
    p_holm: float

    @property
    def about(self) -> tuple[str, ...]:
        """Both metrics."""
        return (self.better, self.worse)


@dataclass(frozen=True)
class Correlations(Stored):
    """All correlations of a pair table; each record carries the signature."""

    signature: Signature
    results: tuple[CorrelationResult, ...]
    tests: tuple[CorrelationTest, ...]

    def get(self, metric: str, human: str, kind: str = "kendall") -> CorrelationResult:
        """One of the results.

        Raises:
            InputError: there is none.
        """
        for result in self.results:
            if (result.metric, result.human, result.kind) == (metric, human, kind):
                return result
        raise InputError(f"there is no {kind} correlation of {metric!r} with {human!r}")

    def test(self, first: str, second: str, human: str, kind: str = "kendall") -> CorrelationTest:
        """The test between two metrics, in either order.

        Raises:
            InputError: there is none.
        """
        for test in self.tests:
            if {test.better, test.worse} == {first, second} and (test.human, test.kind) == (human, kind):
                return test
        raise InputError(f"there is no {kind} test of {first!r} against {second!r} with {human!r}")

    def to_json(self) -> str:
        """``signature``, flat ``results`` and ``tests``."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)


def correlate(
    table: pl.DataFrame,
    humans: Sequence[str],
    *,
    cluster: str | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
) -> Correlations:
    """Correlate every metric of a pair table with columns of ratings.

    Args:
        table: see :func:`croc.tables.readers.read_pair_table`.
        humans: columns of ratings.
        cluster: column whose values are resampled together; None resamples single items.
        metrics: columns to correlate; None takes every column of numbers that is no rating.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        level: of the intervals.

    Returns:
        Results (per rating and coefficient, the best first) and paired tests. An item without a value in the
        metric or the rating is left out, and ``n`` counts those that are used; paired tests use the items
        that both metrics have.

    Raises:
        InputError: a column is not there or holds no numbers.
    """
    from croc import __version__

    numeric = [name for name in table.columns if name not in _KEYS and table[name].dtype.is_numeric()]
    humans = list(dict.fromkeys(humans))
    others = [name for name in numeric if name not in humans and name != cluster]
    chosen = list(dict.fromkeys(metrics)) if metrics else others
    for name in (*humans, *chosen):
        _require(name, table, numeric)
    if cluster is not None and cluster not in table.columns:
        _require(cluster, table, table.columns)
    if not chosen:
        raise InputError("the pair table has no column of numbers besides the ratings; add a metric's scores")
    if not metrics:
        _no_half_columns(table, [name for name in table.columns if name not in (*_KEYS, *humans, cluster)])
    if cluster is not None:
        require_cells(table, (cluster,), "the pair table")
    groups = table[cluster if cluster is not None else "item_id"]
    code = groups.rank("dense").to_numpy().astype(np.int64) - 1
    clusters = int(code.max()) + 1
    rng = np.random.default_rng(seed)
    counts = statistics.resample_counts(clusters, resamples, rng)[:, code]
    signature = Signature.of(
        croc=__version__,
        task="correlate",
        items=len(table),
        cluster=cluster or "item",
        clusters=clusters,
        ci=f"bootstrap{resamples}@{level:g}",
        seed=seed,
    )
    results: list[CorrelationResult] = []
    tests: list[CorrelationTest] = []
    for human in humans:
        rating = table[human].cast(pl.Float64).to_numpy()
        for kind in CORRELATIONS:
            measured = [
                _Measured.of(metric, table[metric].cast(pl.Float64).to_numpy(), rating, counts, kind)
                for metric in chosen
            ]
            names, values = [one.metric for one in measured], np.array([one.value for one in measured])
            measured = [measured[m] for m in statistics.best_first(names, values)]
            p, tested = _tests(measured, human, rating, counts, kind, level)
            results += _results(measured, human, kind, p, level)
            tests += tested
    return Correlations(
        signature,
        tuple(replace(result, signature=str(signature)) for result in results),
        tuple(replace(test, signature=str(signature)) for test in tests),
    )


@dataclass(frozen=True)
class _Measured:
    """One coefficient of one metric with one column of ratings.

    Attributes:
        metric: its name.
        scores: (n,) of the metric.
        known: (n,) whether an item has a score and a rating.
        value: the coefficient.
        resampled: (k,) the coefficient in each resample.
    """

    metric: str
    scores: Array
    known: Any
    value: float
    resampled: Array

    @classmethod
    def of(cls, metric: str, scores: Array, rating: Array, counts: Any, kind: Correlation) -> _Measured:
        known = ~(np.isnan(scores) | np.isnan(rating))
        return cls(metric, scores, known, *_coefficient(scores, rating, counts, known, kind))


def _coefficient(
    scores: Array, rating: Array, counts: Any, items: Any, kind: Correlation
) -> tuple[float, Array]:
    """The coefficient on some of the items, and in each resample of them."""
    x, y = scores[items], rating[items]
    return (
        correlation(x, y, kind),
        weighted_correlation(x, y, counts[:, items], kind),
    )


def _tests(
    measured: Sequence[_Measured], human: str, rating: Array, counts: Any, kind: Correlation, level: float
) -> tuple[Array, list[CorrelationTest]]:
    """The tests of all pairs of metrics, given best first, and their adjusted p values as a matrix (m, m)."""
    pairs, raw = [], []
    for (i, better), (j, worse) in itertools.combinations(enumerate(measured), 2):
        if np.isnan([better.value, worse.value]).any():
            continue
        first, second = (better.value, better.resampled), (worse.value, worse.resampled)
        both = better.known & worse.known
        if not (np.array_equal(both, better.known) and np.array_equal(both, worse.known)):
            first, second = (_coefficient(one.scores, rating, counts, both, kind) for one in (better, worse))
        differences = first[1] - second[1]
        ends = statistics.percentile_interval(differences, level)
        pairs.append((i, j, first[0] - second[0], float(ends[0]), float(ends[1])))
        raw.append(statistics.bootstrap_p(differences))
    p = np.ones((len(measured), len(measured)))
    tests = []
    for (i, j, difference, low, high), p_raw, p_holm in zip(pairs, raw, statistics.holm(raw), strict=True):
        p[i, j] = p[j, i] = p_holm
        names = measured[i].metric, measured[j].metric
        tests.append(CorrelationTest(*names, human, kind, difference, low, high, p_raw, float(p_holm)))
    return p, tests


def _results(
    measured: Sequence[_Measured], human: str, kind: Correlation, p: Array, level: float
) -> list[CorrelationResult]:
    ranks = statistics.significance_ranks(np.array([one.value for one in measured]), p)
    results = []
    for one, rank in zip(measured, ranks, strict=True):
        low, high = statistics.percentile_interval(one.resampled, level)
        value = optional(one.value)
        ends = (None, None) if value is None else (optional(low), optional(high))
        n = int(one.known.sum())
        results.append(
            CorrelationResult(one.metric, human, kind, value, *ends, None if value is None else rank, n)
        )
    return results


def _require(name: str, table: pl.DataFrame, allowed: Sequence[str]) -> None:
    if name in allowed:
        return
    if name in table.columns:
        if table[name].dtype == pl.String and name not in _KEYS:
            to_numbers(table[name], "the pair table")  # says which row is no number
        raise InputError(f"column {name!r} holds {table[name].dtype} instead of numbers")
    close = get_close_matches(name, table.columns, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(table.columns)}"
    raise InputError(f"no column {name!r}{hint}")


def _no_half_columns(table: pl.DataFrame, names: Sequence[str]) -> None:
    """A column of numbers with one cell of text would be left out of the metrics without a word."""
    for name in names:
        values = table[name]
        if values.dtype != pl.String or not values.cast(pl.Float64, strict=False).is_finite().any():
            continue
        try:
            to_numbers(values, "the pair table")
        except InputError as problem:
            raise InputError(f"{problem}; name the metrics to leave the column out") from None
