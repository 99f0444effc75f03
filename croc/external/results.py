"""Results files of others' benchmarks: how well metrics agree with the ratings, from published scores.

A file holds the correlations of all metrics of one benchmark with their intervals, tests and signature, where
the scores come from, and the accuracy of each metric on each prompt, from which rankings are resampled. The
metrics were not run: only the statistics are ours.

    result = make_result(find_benchmark("ts2"), Path("benchmarks"))
    write_result(result, Path("results/ts2.json"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from croc.errors import InputError
from croc.external.benchmark import Benchmark, find_benchmark
from croc.external.ranked import GROUP, PART, RankedItems, ranked_items
from croc.ratings.correlation import correlate
from croc.ratings.groups import Grouped, stack_groups
from croc.ratings.records import KINDS, CorrelationResult, Correlations
from croc.ratings.ties import order_accuracy
from croc.storage.files import atomic, json_lines, read_json
from croc.tables.signature import Signature
from croc.verdict.records import Scaled, Stored, Text
from croc.verdict.statistics import Array

Coefficient = Literal["order", "acc_eq"]
COEFFICIENTS: dict[Coefficient, str] = {
    "order": "share of pairs in the order of people",
    "acc_eq": KINDS["acc_eq"],
}
"""The coefficients whose values on each prompt are stored: :func:`croc.ratings.ties.order_accuracy`, and
pairwise accuracy with calibrated ties."""
KIND: Literal["acc_eq"] = "acc_eq"
"""The coefficient that ranks the metrics of a file, as in ``croc correlate``."""

RECOMPUTED = Path(__file__).with_name("recomputed")
"""The results files of the package."""

STATEMENT = (
    "The scores were published by others. The statistics were computed again from them; the metrics were not "
    "run."
)
_DECIMALS = 4
_PERMUTATIONS = 6_000  # 300 tests, of 25 metrics, can be significant after their adjustment


@dataclass(frozen=True)
class Origin(Stored):
    """Where the scores of a metric come from.

    Attributes:
        metric: its name in the file.
        benchmark: the benchmark whose files have its scores; empty for a table of the user's own.
        url: https address of those files; None for a table of the user's own.
    """

    metric: Text
    benchmark: Text
    url: Annotated[str, Field(max_length=300, pattern=r"^https://[^\s\"'<>]+$")] | None


@dataclass(frozen=True)
class ExternalResults(Stored):
    """Metrics of one benchmark of others.

    Attributes:
        benchmark: its name.
        title: its name in full, with the paper.
        licence: of its files.
        human: column of the ratings.
        statement: what was computed, and what was not.
        correlations: of the metrics with the ratings.
        origins: of every metric.
        part: what the parts are, such as ``task``; empty if there are none.
        prompts: names of the prompts; only images of one prompt are compared.
        parts: the part of each prompt; null if there are none.
        coefficients: per coefficient of ``COEFFICIENTS`` and metric, its value on each prompt; null where it
            is undefined: no two images have a score, or, for ``order``, people order no two.
        format: version of this schema.
    """

    description: ClassVar[str] = "a results file of a benchmark of others"

    benchmark: Text
    title: Text
    licence: Text
    human: Text
    statement: Text
    correlations: Correlations
    origins: tuple[Origin, ...]
    part: Text
    prompts: tuple[Text, ...]
    parts: tuple[Text | None, ...]
    coefficients: Mapping[Coefficient, Mapping[str, tuple[Scaled, ...]]]
    format: Literal[1] = 1

    def to_dict(self) -> dict[str, Any]:
        """The content as JSON values, the format first."""
        return {"format": self.format, **super().to_dict()}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, best first."""
        return tuple(result.metric for result in self.correlations.results if result.kind == KIND)

    def origin(self, metric: str) -> Origin:
        """Where the scores of a metric come from."""
        return next(origin for origin in self.origins if origin.metric == metric)

    def rows(self) -> list[dict[str, Any]]:
        """A row per metric, best first: what a table shows.

        Returns:
            Keys ``rank, metric, order``, the coefficients of :data:`croc.ratings.records.KINDS` with
            ``KIND_ci_low`` and ``KIND_ci_high``, ``n, missing, benchmark, url, signature``. ``order`` is the
            mean over prompts of the share of pairs in the order of people, which ranks metrics in ``croc
            transfer``, also with an interval; ``benchmark`` is the one whose files have the scores.
        """
        found: dict[tuple[str, str], CorrelationResult] = {
            (result.metric, result.kind): result for result in self.correlations.results
        }
        rows = []
        for metric in self.metrics:
            first = found[metric, KIND]
            values: dict[str, Any] = _with_interval("order", self.coefficients["order"][metric])
            for kind in KINDS:
                result = found.get((metric, kind))
                values[kind] = None if result is None else result.value
                values[f"{kind}_ci_low"] = None if result is None else result.ci_low
                values[f"{kind}_ci_high"] = None if result is None else result.ci_high
            origin = self.origin(metric)
            rows.append(
                {
                    "rank": first.rank,
                    "metric": metric,
                    **values,
                    "n": first.n,
                    "missing": first.missing,
                    "benchmark": origin.benchmark,
                    "url": origin.url,
                    "signature": first.signature,
                }
            )
        return rows


def _with_interval(name: str, values: Sequence[float | None], level: float = 0.95) -> dict[str, Any]:
    """The mean of values over prompts with the interval of Student's t; None without two values."""
    from scipy.stats import t

    known = np.array([value for value in values if value is not None])
    if len(known) < 2:
        return {name: None, f"{name}_ci_low": None, f"{name}_ci_high": None}
    mean = float(known.mean())
    half = float(t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return {name: mean, f"{name}_ci_low": max(mean - half, 0), f"{name}_ci_high": min(mean + half, 1)}


# ---- Making, writing, reading ----


def make_result(benchmark: Benchmark, data: Path, scores: Sequence[Path] = ()) -> ExternalResults:
    """Compute the results of a rated benchmark from its files.

    Args:
        benchmark: a rated one.
        data: folder with its files, or a folder above it.
        scores: pair tables with ``item_id`` and further metrics.

    Raises:
        InputError: see :func:`croc.external.ranked.ranked_items`.
    """
    ranked = ranked_items(benchmark, data, scores)
    items = ranked.items
    # Without systems there is no soft pairwise accuracy: not every set compares systems on the same prompts.
    table = items.table.with_columns(pl.col(GROUP).alias("prompt")).drop("system")
    found = correlate(table, items.humans, metrics=items.metrics, group="item", permutations=_PERMUTATIONS)
    source = Signature.of(dataset=benchmark.name, dataset_revision=benchmark.source.commit)
    found = replace(
        found,
        signature=source | found.signature,
        # Of the other coefficients nobody asks whether two metrics differ, and they would fill the file.
        tests=tuple(test for test in found.tests if test.kind == KIND),
        notes=(*items.left_out, *found.notes),
    )
    prompts = tuple(table["prompt"].unique().sort())
    parts = dict(zip(table["prompt"], table[PART], strict=True))
    thresholds = {one.metric: one.threshold or 0.0 for one in found.results if one.kind == KIND}
    return ExternalResults(
        benchmark=benchmark.name,
        title=benchmark.title,
        licence=benchmark.licence,
        human=items.humans[0],
        statement=STATEMENT,
        correlations=found,
        origins=tuple(_origin(metric, ranked) for metric in items.metrics),
        part=ranked.part,
        prompts=prompts,
        parts=tuple(parts[prompt] for prompt in prompts),
        coefficients={
            kind: {
                metric: tuple(_by_prompt(table, metric, items.humans[0], kind, threshold, prompts))
                for metric, threshold in thresholds.items()
            }
            for kind in COEFFICIENTS
        },
    )


def _origin(metric: str, ranked: RankedItems) -> Origin:
    name = ranked.origin[metric]
    if not name:
        return Origin(metric, "", None)
    source = find_benchmark(name).source
    return Origin(metric, name, f"https://github.com/{source.repository}/tree/{source.commit}")


def _by_prompt(
    table: pl.DataFrame,
    metric: str,
    human: str,
    kind: Coefficient,
    threshold: float,
    prompts: Sequence[str],
) -> list[float | None]:
    """A coefficient of a metric on each prompt."""
    known = table.drop_nulls((metric, human))
    scores, rating = (known[name].cast(pl.Float64).to_numpy() for name in (metric, human))
    place = {prompt: number for number, prompt in enumerate(prompts)}
    code = np.array([place[prompt] for prompt in known["prompt"]], np.int64)
    stacks = stack_groups(code)
    found: list[float | None] = [None] * len(prompts)
    for rows in stacks:
        if kind == "order":
            values = order_accuracy(scores, rating, rows)
        else:
            values = Grouped.of(scores, rating, [rows], kind, threshold).coefficients
        for group, value in zip(rows, values, strict=True):
            found[code[group[0]]] = None if np.isnan(value) else round(float(value), _DECIMALS)
    return found


def coefficient_matrix(result: ExternalResults, kind: Coefficient) -> Array:
    """A coefficient of each metric on each prompt, (metrics, prompts), best metric first; NaN for none."""
    rows = (result.coefficients[kind][metric] for metric in result.metrics)
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def write_result(result: ExternalResults, path: Path) -> Path:
    """Write a results file, atomically; a line per record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(
            json_lines(result.to_dict(), nested=("correlations", "coefficients", *COEFFICIENTS)), "utf-8"
        )
    return path


def read_result(path: Path) -> ExternalResults:
    """Read a results file.

    Raises:
        InputError: it is not there, not of this format, or its numbers do not go together.
    """
    try:
        result = ExternalResults.from_dict(read_json(path, "no such results file"))
        _check(result)
    except InputError as problem:
        message = str(problem)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    return result


def _check(result: ExternalResults) -> None:
    """Refuse a file that was edited: its means are not those of its prompts, or names do not match."""
    names = sorted(result.metrics)
    named: dict[str, list[str]] = {
        "origins": [origin.metric for origin in result.origins],
        **{kind: list(result.coefficients.get(kind, ())) for kind in COEFFICIENTS},
    }
    for what, others in named.items():
        if sorted(others) != names:
            raise InputError(f"{what}: not of the metrics that have correlations; make the file again")
    numbers = {"parts": len(result.parts)}
    for kind, values in result.coefficients.items():
        numbers |= {f"{kind} of {metric!r}": len(own) for metric, own in values.items()}
    for what, number in numbers.items():
        if number != len(result.prompts):
            raise InputError(
                f"{what}: {number} values for {len(result.prompts)} prompts; make the file again"
            )
    for metric, own in zip(result.metrics, coefficient_matrix(result, KIND), strict=True):
        stated = result.correlations.get(metric, result.human, KIND).value
        known = own[~np.isnan(own)]
        computed = float(known.mean()) if len(known) else None
        if stated is None or computed is None or abs(stated - computed) > 10**-_DECIMALS:
            raise InputError(
                f"{metric!r}: states {KINDS[KIND]} {stated}, and its prompts give {computed}; make the file "
                "again from the published scores"
            )
