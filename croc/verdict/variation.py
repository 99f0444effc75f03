"""How the results of metrics vary from check to check: what the size of a benchmark follows from.

The variation is estimated from the score tables of a pilot (:func:`read_pilot`), or assumed
(:func:`assumed_basis`). :mod:`croc.verdict.planning` computes plans from it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from croc.errors import InputError
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.verdict.aggregation import CheckVerdicts, average, nanmean
from croc.verdict.directions import scaled_accuracy
from croc.verdict.groups import Group, groups_by
from croc.verdict.intervals import FEWEST_CONCEPTS, PSEUDO_CONCEPT
from croc.verdict.records import Stored
from croc.verdict.report import NO_VALUE
from croc.verdict.statistics import Array
from croc.wording import counted

ACCURACY = 0.8
METRIC_CORRELATION = 0.3
CONCEPT_CORRELATION = 0.2
DIRECTION_CORRELATION = 0.5
CHECKS_PER_CONCEPT = 5.0
"""These five are assumed without a pilot."""


@dataclass(frozen=True)
class Variation(Stored):
    """How the results of metrics vary from check to check, in scaled accuracy.

    Attributes:
        scaled: mean scaled accuracy of a metric.
        direction_variance: variance between checks of a metric's result in one direction.
        mean_variance: variance between checks of its mean over the directions.
        metric_correlation: correlation between the results of two metrics on the same check.
        concept_correlation: correlation between the results of a metric on two checks of one concept.
        difference_concept_correlation: the same of the difference between two metrics.
        checks_per_concept: mean number of checks of a concept.
    """

    description: ClassVar[str] = "a variation of results"

    scaled: Annotated[float, Field(ge=-1, le=1)]
    direction_variance: Annotated[float, Field(gt=0)]
    mean_variance: Annotated[float, Field(gt=0)]
    metric_correlation: Annotated[float, Field(ge=-1, lt=1)]
    concept_correlation: Annotated[float, Field(ge=0, le=1)]
    difference_concept_correlation: Annotated[float, Field(ge=0, le=1)]
    checks_per_concept: Annotated[float, Field(ge=1)]

    def mean_error(self, concepts: int) -> float:
        """Standard error of a metric's mean scaled accuracy with so many concepts."""
        effect = self._design_effect(self.concept_correlation)
        return math.sqrt(self.mean_variance * effect / (concepts * self.checks_per_concept))

    def difference_error(self, concepts: int) -> float:
        """Standard error of the difference between two metrics with so many concepts."""
        variance = 2 * self.mean_variance * (1 - self.metric_correlation)
        effect = self._design_effect(self.difference_concept_correlation)
        return math.sqrt(variance * effect / (concepts * self.checks_per_concept))

    def _design_effect(self, correlation: float) -> float:
        """By how much the variance is larger than with independent checks (Kish 1965)."""
        return 1 + (self.checks_per_concept - 1) * correlation


@dataclass(frozen=True)
class Basis:
    """What a plan is computed from.

    Attributes:
        categories: the variation of each.
        overall: of all checks together.
        metrics: the metrics of the pilot; empty without one.
        not_estimated: what is assumed, because the pilot does not show it.
        sparse: categories of which the pilot has too few concepts; they have the variance of all checks.
    """

    categories: Mapping[str, Variation]
    overall: Variation
    metrics: tuple[str, ...] = ()
    not_estimated: tuple[str, ...] = ()
    sparse: tuple[str, ...] = ()

    def changed(
        self,
        metric_correlation: float | None = None,
        concept_correlation: float | None = None,
        checks_per_concept: float | None = None,
    ) -> Basis:
        """The same with other values of :class:`Variation`; None changes nothing."""
        given = {
            "metric_correlation": metric_correlation,
            "concept_correlation": concept_correlation,
            "difference_concept_correlation": concept_correlation,
            "checks_per_concept": checks_per_concept,
        }
        values = {name: value for name, value in given.items() if value is not None}
        names = {"metric_correlation": _OF_METRICS, "concept_correlation": _OF_CHECKS}
        return replace(
            self,
            categories={name: replace(one, **values) for name, one in self.categories.items()},
            overall=replace(self.overall, **values),
            not_estimated=tuple(
                name for name in self.not_estimated if name not in [names.get(key) for key in values]
            ),
        )


_OF_METRICS, _OF_CHECKS = "the correlation of two metrics", "the correlation of two checks of a concept"


def assumed_variation(accuracy: float = ACCURACY) -> Variation:
    """The variation of metrics with this accuracy in each direction, chance being 1/2."""
    per_direction = 4 * accuracy * (1 - accuracy)
    return Variation(
        scaled=2 * accuracy - 1,
        direction_variance=per_direction,
        mean_variance=per_direction * (1 + 3 * DIRECTION_CORRELATION) / 4,
        metric_correlation=METRIC_CORRELATION,
        concept_correlation=CONCEPT_CORRELATION,
        difference_concept_correlation=CONCEPT_CORRELATION,
        checks_per_concept=CHECKS_PER_CONCEPT,
    )


def mean_variation(variations: Sequence[Variation]) -> Variation:
    """The mean of several variations."""
    names = [item.name for item in fields(Variation)]
    return Variation(**{name: float(np.mean([getattr(one, name) for one in variations])) for name in names})


def assumed_basis(accuracy: float = ACCURACY, categories: int = 8) -> Basis:
    """The same assumed variation in so many categories."""
    one = assumed_variation(accuracy)
    return Basis({f"category {number + 1}": one for number in range(categories)}, one)


def read_pilot(paths: Iterable[Path | str], column: str | None = None) -> Basis:
    """Estimate the variation of results from files.

    Args:
        paths: score tables, or folders of them.
        column: see :func:`pilot_basis`.

    Raises:
        InputError: see :func:`pilot_basis` and :func:`croc.tables.readers.read_score_tables`.
    """
    return pilot_basis(read_score_tables(paths, groups=(column,) if column else (), judges=True), column)


def pilot_basis(tables: Sequence[ScoreTable], column: str | None = None) -> Basis:
    """Estimate the variation of results from the score tables of a pilot.

    Baselines are left out. The correlations are estimated from the categories together: within one category
    a pilot has too few concepts. A category with fewer than five concepts has the variances of all checks.

    Args:
        tables: of one or more metrics on the same checks.
        column: whose values are the categories. By default ``category``; where the tables have none, all
            checks are one category.

    Raises:
        InputError: the pilot has fewer than five concepts, no metric that is not a baseline, or not the
            column.
    """
    baselines = {name for table in tables for name, one in table.metadata.items() if one.baseline}
    if column is not None and not any(column in table.frame.columns for table in tables):
        raise InputError(f"the score tables of the pilot have no column {column!r}")
    column = column or "category"
    verdicts = CheckVerdicts.of(tables, (column,))
    metrics = [name for name in verdicts.metrics if name not in baselines]
    if not metrics:
        raise InputError("a pilot needs the scores of a metric that is not a baseline")
    verdicts = verdicts.ordered(metrics)
    everything = _Components.of(verdicts)
    if everything.concepts < FEWEST_CONCEPTS:
        raise InputError(
            f"the pilot has {counted(everything.concepts, 'concept')}; an estimate needs at least "
            f"{FEWEST_CONCEPTS}"
        )
    groups = groups_by(verdicts, column) if column in verdicts.checks.columns else []
    groups = [group for group in groups if group.value != NO_VALUE] or [Group(None, "all checks", verdicts)]
    parts = {str(group.value): _Components.of(group.verdicts) for group in groups}
    large = [part for part in parts.values() if part.concepts >= FEWEST_CONCEPTS] or [everything]
    within, across = _Correlations.of(large), _Correlations.of([everything])
    sparse = tuple(name for name, part in parts.items() if part.concepts < FEWEST_CONCEPTS)
    categories = {
        name: (everything if name in sparse else part).variation(within) for name, part in parts.items()
    }
    known = {_OF_METRICS: within.metric, _OF_CHECKS: within.concept}
    return Basis(
        categories,
        everything.variation(across),
        tuple(metrics),
        tuple(name for name, value in known.items() if value is None),
        sparse,
    )


@dataclass(frozen=True)
class _Components:
    """Sums of squares between and within the concepts of a group of checks.

    Attributes:
        concepts: number of concepts.
        checks: number of checks.
        weight: mean number of checks of a concept, weighted by itself.
        common: the size at which the variance between concepts enters their mean square.
        scaled: mean over the metrics of their mean scaled accuracy.
        direction: mean over metrics and directions of the sum of squares of the checks' results.
        pseudo: square of the pseudo-concept, mean over the metrics.
        means: (metrics, 2) sums of squares between and within concepts of the means over the directions.
        differences: (pairs, 2), of the differences between two metrics.
    """

    concepts: int
    checks: int
    weight: float
    common: float
    scaled: float
    direction: float
    pseudo: float
    means: Array
    differences: Array

    @property
    def total(self) -> float:
        """Sum of squares of the means, mean over the metrics, with the pseudo-concept."""
        return float(self.means.sum(axis=1).mean()) + self.pseudo

    @classmethod
    def of(cls, verdicts: CheckVerdicts) -> _Components:
        used = np.asarray(verdicts.known.any(axis=2))
        verdicts = verdicts.ordered([verdicts.metrics[m] for m in np.flatnonzero(used.any(axis=1))])
        used = used[used.any(axis=1)]
        influence = _influence(verdicts)
        _, concept = np.unique(verdicts.concept, return_inverse=True)
        sizes = np.bincount(concept).astype(float)
        mean = nanmean(np.where(used[:, :, None], influence, np.nan), 1)
        pairs = [mean[a] - mean[b] for a, b in itertools.combinations(range(len(mean)), 2)]
        scaled = verdicts.observed()
        # As in the intervals, a pseudo-concept at chance level keeps a variance where all checks agree.
        pseudo = PSEUDO_CONCEPT * float((sizes**2).sum() / sizes.sum()) * nanmean(scaled**2, 0)
        squares = (influence**2).sum(axis=2) + pseudo
        return cls(
            concepts=len(sizes),
            checks=len(concept),
            weight=float((sizes**2).sum() / sizes.sum()),
            common=float((len(concept) - (sizes**2).sum() / len(concept)) / max(len(sizes) - 1, 1)),
            scaled=float(nanmean(scaled, 0)),
            direction=float(squares[used].mean()) if used.any() else float("nan"),
            pseudo=float(pseudo),
            means=_sums_of_squares(mean, concept, sizes),
            differences=_sums_of_squares(np.array(pairs), concept, sizes) if pairs else np.zeros((0, 2)),
        )

    def variation(self, correlations: _Correlations) -> Variation:
        """The variation, given the correlations."""
        concept = CONCEPT_CORRELATION if correlations.concept is None else correlations.concept
        difference = concept if correlations.difference is None else correlations.difference
        effect = 1 + (self.weight - 1) * concept
        independent = max(self.checks - effect, 1.0)
        return Variation(
            scaled=self.scaled,
            direction_variance=max(self.direction / independent, 1e-9),
            mean_variance=max(self.total / independent, 1e-9),
            metric_correlation=METRIC_CORRELATION if correlations.metric is None else correlations.metric,
            concept_correlation=concept,
            difference_concept_correlation=difference,
            checks_per_concept=self.checks / self.concepts,
        )


@dataclass(frozen=True)
class _Correlations:
    """Correlations that several groups share; None where they are unknown.

    Attributes:
        concept: of the results of a metric on two checks of a concept.
        difference: of the differences between two metrics on two checks of a concept.
        metric: of the results of two metrics on the same check.
    """

    concept: float | None
    difference: float | None
    metric: float | None

    @classmethod
    def of(cls, parts: Sequence[_Components]) -> _Correlations:
        pairs = sum(float(part.differences.sum()) / max(len(part.differences), 1) for part in parts)
        means = sum(part.total for part in parts)
        known = len(parts[0].differences) > 0 and means > 0
        return cls(
            concept=_concept_correlation([(part, part.means) for part in parts]),
            difference=_concept_correlation([(part, part.differences) for part in parts]),
            metric=float(np.clip(1 - pairs / (2 * means), -1, 0.99)) if known else None,
        )


def _concept_correlation(groups: Sequence[tuple[_Components, Array]]) -> float | None:
    """The correlation within concepts by the analysis of variance, pooled over groups; None if unknown."""
    between = total = 0.0
    for part, squares in groups:
        inner = part.checks - part.concepts
        if not len(squares) or part.concepts < 2 or inner < 1:
            continue
        across, inside = squares.mean(axis=0) / [part.concepts - 1, inner]
        component = (across - inside) / part.common
        between += (part.concepts - 1) * component
        total += (part.concepts - 1) * (component + inside)
    return float(np.clip(between / total, 0, 1)) if total > 0 else None


def _influence(verdicts: CheckVerdicts) -> Array:
    """(M, 4, N): how much each check, left out, changes the scaled accuracy, times the number of checks."""
    totals = verdicts.totals[..., :3]
    own = np.stack([verdicts.value, verdicts.chance, verdicts.known.astype(float)], axis=-1)
    full = scaled_accuracy(*average(totals), verdicts.symmetric)
    count = own.shape[2]
    out = np.zeros(own.shape[:3])
    step = max(1, 4_000_000 // max(totals.size, 1))
    for text in range(len(verdicts.text_models)):
        members = np.flatnonzero(verdicts.text == text)
        for begin in range(0, len(members), step):
            chosen = members[begin : begin + step]
            left = np.repeat(totals[None], len(chosen), axis=0)
            left[:, text] -= np.moveaxis(own[:, :, chosen], 2, 0)
            left[:, text][left[:, text][..., 2] < 0.5] = 0.0
            without = scaled_accuracy(*average(left), verdicts.symmetric)
            out[:, :, chosen] = np.moveaxis(np.nan_to_num(full - without) * count, 0, 2)
    return out


def _sums_of_squares(values: Array, concept: NDArray[np.int64], sizes: Array) -> Array:
    """(m, 2): sums of squares of (m, n) values between and within concepts."""
    centered = values - values.mean(axis=1, keepdims=True)
    sums = np.stack([np.bincount(concept, row, len(sizes)) for row in centered])
    between = (sums**2 / sizes).sum(axis=1)
    return np.stack([between, (centered**2).sum(axis=1) - between], axis=1)
