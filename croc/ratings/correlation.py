"""How well do metrics agree with ratings by people? Correlations, intervals and significance clusters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.tables.delimited import require_cells, to_numbers
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.statistics import CORRELATIONS, Array

if TYPE_CHECKING:
    from rich.console import RenderableType

_KEYS = ("item_id", "system", "prompt")


@dataclass(frozen=True)
class CorrelationResult:
    """Correlation of one metric with one column of ratings.

    Attributes:
        metric: column of the metric.
        human: column of the ratings.
        kind: ``kendall`` (tau-b), ``spearman`` or ``pearson``.
        value: −1…1; None where either is constant.
        ci_low: lower end of its interval, clusters resampled.
        ci_high: upper end.
        rank: significance cluster by this coefficient, from 1.
        n: items with both values.
        signature: under which settings this holds.
    """

    metric: str
    human: str
    kind: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    rank: int | None
    n: int
    signature: str = field(repr=False)


@dataclass(frozen=True)
class CorrelationTest:
    """Paired test whether two metrics correlate differently with the ratings."""

    better: str
    worse: str
    human: str
    kind: str
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Correlations:
    """All correlations of a pair table; each record carries the signature."""

    results: tuple[CorrelationResult, ...]
    tests: tuple[CorrelationTest, ...]
    signature: str

    def get(self, metric: str, human: str, kind: str = "kendall") -> CorrelationResult:
        """One of the results.

        Raises:
            InputError: there is none.
        """
        for result in self.results:
            if (result.metric, result.human, result.kind) == (metric, human, kind):
                return result
        raise InputError(f"no {kind} correlation of {metric!r} with {human!r}")

    def test(self, first: str, second: str, human: str, kind: str = "kendall") -> CorrelationTest:
        """The test between two metrics, in either order.

        Raises:
            InputError: there is none.
        """
        for test in self.tests:
            if {test.better, test.worse} == {first, second} and (test.human, test.kind) == (human, kind):
                return test
        raise InputError(f"no {kind} test of {first!r} against {second!r} with {human!r}")

    def to_json(self) -> str:
        """``signature``, flat ``results`` and ``tests``."""

        def plain(record: Any) -> dict[str, Any]:
            return {name: value for name, value in asdict(record).items() if name != "signature"}

        content = {
            "signature": self.signature,
            "results": [plain(result) for result in self.results],
            "tests": [plain(test) for test in self.tests],
        }
        return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)

    def terminal(self) -> list[RenderableType]:
        """A table per column of ratings, best tau first."""
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = []
        for human in dict.fromkeys(result.human for result in self.results):
            table = Table(title=Text(f"Correlation with {human}"), title_justify="left")
            for name in ("rank", "metric", "Kendall tau-b", "Spearman", "Pearson", "items"):
                table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
            rows = [r for r in self.results if r.human == human and r.kind == "kendall"]
            for row in rows:
                cells = [_cell(self.get(row.metric, human, kind)) for kind in CORRELATIONS]
                table.add_row(str(row.rank or ""), Text(row.metric), *cells, str(row.n))
            parts.append(table)
        parts.append(Text("Metrics of one rank cannot be told apart by tau-b.", style="dim"))
        parts.append(Text(self.signature, style="dim"))
        return parts


def _cell(result: CorrelationResult) -> str:
    if result.value is None:
        return "–"
    ends = "" if result.ci_low is None else f" [{result.ci_low:.3f}, {result.ci_high:.3f}]"
    return f"{result.value:.3f}{ends}".replace("-", "−")


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
        Results (best tau-b first per rating) and paired tests. An item without a value in the metric or the
        rating is left out and ``n`` says so; paired tests use the items that both metrics have.

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
        raise InputError("the table has no column of numbers beside the ratings")
    if not metrics:
        _no_half_columns(table, [name for name in table.columns if name not in (*_KEYS, *humans, cluster)])
    if cluster is not None:
        require_cells(table, (cluster,), "the pair table")
    groups = table[cluster if cluster is not None else "item_id"]
    code = groups.rank("dense").to_numpy().astype(np.int64) - 1
    clusters = int(code.max()) + 1
    rng = np.random.default_rng(seed)
    counts = statistics.resample_counts(clusters, resamples, rng)[:, code]
    signature = str(
        Signature.of(
            croc=__version__,
            task="correlate",
            items=len(table),
            cluster=cluster or "item",
            clusters=clusters,
            ci=f"bootstrap{resamples}@{level:g}",
            seed=seed,
        )
    )
    results: list[CorrelationResult] = []
    tests: list[CorrelationTest] = []
    for human in humans:
        rating = table[human].cast(pl.Float64).to_numpy()
        found, tested = _with_rating(table, human, rating, chosen, counts, level, signature)
        results += found
        tests += tested
    return Correlations(tuple(results), tuple(tests), signature)


def _with_rating(
    table: pl.DataFrame,
    human: str,
    rating: Array,
    metrics: Sequence[str],
    counts: Any,
    level: float,
    signature: str,
) -> tuple[list[CorrelationResult], list[CorrelationTest]]:
    results, tests = [], []
    values = {metric: table[metric].cast(pl.Float64).to_numpy() for metric in metrics}
    ranks_of: dict[str, dict[str, int]] = {}
    points: dict[str, dict[str, float]] = {}
    for kind in CORRELATIONS:
        point, drawn, known = {}, {}, {}
        for metric in metrics:
            known[metric] = ~(np.isnan(values[metric]) | np.isnan(rating))
            use = known[metric]
            point[metric] = statistics.correlation(values[metric][use], rating[use], kind)
            drawn[metric] = statistics.weighted_correlation(
                values[metric][use], rating[use], counts[:, use], kind
            )
        order = sorted(metrics, key=lambda name: -np.nan_to_num(point[name], nan=-9.0))
        tested = []
        for i, better in enumerate(order):
            for worse in order[i + 1 :]:
                both = known[better] & known[worse]
                if np.isnan([point[better], point[worse]]).any():
                    continue
                a, b = drawn[better], drawn[worse]
                difference = point[better] - point[worse]
                if not (np.array_equal(both, known[better]) and np.array_equal(both, known[worse])):
                    pair = [values[name][both] for name in (better, worse)]
                    a, b = (
                        statistics.weighted_correlation(x, rating[both], counts[:, both], kind) for x in pair
                    )
                    first, second = (statistics.correlation(x, rating[both], kind) for x in pair)
                    difference = first - second
                low, high = statistics.percentile_interval(a - b, level)
                tested.append(
                    (better, worse, difference, float(low), float(high), statistics.bootstrap_p(a - b))
                )
        adjusted = statistics.holm([test[-1] for test in tested])
        p = np.ones((len(order), len(order)))
        for test, p_holm in zip(tested, adjusted, strict=True):
            i, j = order.index(test[0]), order.index(test[1])
            p[i, j] = p[j, i] = p_holm
            tests.append(CorrelationTest(test[0], test[1], human, kind, *test[2:], float(p_holm), signature))
        ranks = statistics.significance_ranks(range(len(order)), p)
        ranks_of[kind] = dict(zip(order, ranks, strict=True))
        points[kind] = point
        for metric in order:
            low, high = statistics.percentile_interval(drawn[metric], level)
            constant = np.isnan(point[metric])
            results.append(
                CorrelationResult(
                    metric,
                    human,
                    kind,
                    None if constant else point[metric],
                    None if constant or np.isnan(low) else float(low),
                    None if constant or np.isnan(high) else float(high),
                    None if constant else ranks_of[kind][metric],
                    int(known[metric].sum()),
                    signature,
                )
            )
    return results, tests


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
