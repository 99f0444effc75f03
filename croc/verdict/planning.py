"""How many checks a benchmark needs to detect a difference between metrics, before it is built.

The plan is computed like the minimum detectable difference of a report: paired results of two metrics,
correlated within concepts, an exchange test, and Holm's adjustment over all comparisons. How much results
vary is estimated from the score tables of a pilot, or assumed (:mod:`croc.verdict.variation`).

    plan = plan_for_difference(0.1, assumed_basis(accuracy=0.8, categories=8), Design(metrics=6))
    plan.groups[0].checks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from croc.errors import InputError
from croc.verdict import statistics
from croc.verdict.intervals import FEWEST_CONCEPTS, expected_half_width
from croc.verdict.records import Count, Stored, Text
from croc.verdict.report import Settings
from croc.verdict.variation import Basis, Variation, mean_variation

LARGEST = 1_000_000
"""Maximum number of concepts of a plan."""

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Design(Stored):
    """What is compared, and how.

    Attributes:
        metrics: number of metrics that are compared with each other.
        power: probability with which the difference shall be detected.
        alpha: level of significance.
        level: confidence level of the intervals.
        flips: number of permutations of each test.
    """

    description: ClassVar[str] = "a design"

    metrics: Annotated[int, Field(ge=2)] = 6
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    alpha: Annotated[float, Field(gt=0, lt=1)] = statistics.ALPHA
    level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    flips: Annotated[int, Field(ge=1)] = Settings.flips

    @property
    def pairs(self) -> int:
        """Number of pairs of metrics."""
        return math.comb(self.metrics, 2)


@dataclass(frozen=True)
class PlannedGroup(Stored):
    """The size of one group of checks, and what can be seen with it.

    Attributes:
        name: the category; None for all checks.
        checks: number of checks.
        concepts: number of their concepts.
        tests: number of comparisons that are adjusted together.
        detectable: the smallest true difference between two metrics that is detected with the power of the
            design; None if no difference can be significant.
        half_width: expected half width of the interval of a metric's mean; None below five concepts.
        variation: what this is computed from.
    """

    description: ClassVar[str] = "a planned group"

    name: Text | None
    checks: Count
    concepts: Count
    tests: Count
    detectable: Positive | None
    half_width: Positive | None
    variation: Variation


@dataclass(frozen=True)
class Plan(Stored):
    """The size of a benchmark.

    Attributes:
        difference: the true difference that each category shall detect; None where the checks were given.
        design: what is compared, and how.
        groups: per category.
        total: all checks together.
        pilot: the metrics from whose results the variation was estimated; empty where it is assumed.
        not_estimated: what is assumed, because the pilot does not show it.
        sparse: categories of which the pilot has too few concepts; they have the variance of all checks.
    """

    description: ClassVar[str] = "a plan"

    difference: Positive | None
    design: Design
    groups: tuple[PlannedGroup, ...]
    total: PlannedGroup
    pilot: tuple[Text, ...] = ()
    not_estimated: tuple[Text, ...] = ()
    sparse: tuple[Text, ...] = ()

    def basis_lines(self) -> list[str]:
        """What the plan was computed from, as sentences."""
        one = mean_variation([group.variation for group in self.groups])
        values = (
            f"scaled accuracy {one.scaled:.2f}; correlation of two metrics {one.metric_correlation:.2f}, of "
            f"two checks of a concept {one.concept_correlation:.2f} (of the differences between metrics "
            f"{one.difference_concept_correlation:.2f}); checks per concept: {one.checks_per_concept:.3g}"
        )
        if not self.pilot:
            return [f"Assumed: {values}. Scores of a pilot (--pilot) give estimates."]
        lines = [f"Estimated from the scores of {', '.join(self.pilot)}, mean over the categories: {values}."]
        if self.not_estimated:
            lines.append(f"Assumed, because the pilot does not show it: {', '.join(self.not_estimated)}.")
        if self.sparse:
            lines.append(
                f"The pilot has fewer than {FEWEST_CONCEPTS} concepts of {', '.join(self.sparse)}; the "
                "variance of all its checks is used for them."
            )
        return lines


# ---- The plan ----


def plan_for_difference(difference: float, basis: Basis, design: Design) -> Plan:
    """Plan so many checks that each category detects a difference.

    Args:
        difference: the true difference between the mean scaled accuracies of two metrics.
        basis: how results vary.
        design: what is compared, and how.

    Raises:
        InputError: the comparisons are too many for the number of permutations, or the difference would need
            more than a million concepts.
    """
    tests = design.pairs * len(basis.categories)
    _require_permutations(design, tests)
    groups = []
    for name, variation in basis.categories.items():

        def enough(concepts: int, variation: Variation = variation) -> bool:
            return _detectable(variation, concepts, design, tests) <= difference

        concepts = _fewest(enough)
        if concepts is None:
            raise InputError(
                f"a difference of {difference:g} needs more than {LARGEST:,} concepts per category; plan for "
                "a larger difference"
            )
        groups.append(_group(name, variation, concepts, design, tests))
    return _plan(difference, groups, design, basis)


def plan_for_checks(checks: int, basis: Basis, design: Design) -> Plan:
    """Compute what can be detected with so many checks in each category.

    Args:
        checks: number of checks per category.
        basis: how results vary.
        design: what is compared, and how.

    Raises:
        InputError: the comparisons are too many for the number of permutations.
    """
    tests = design.pairs * len(basis.categories)
    _require_permutations(design, tests)
    groups = []
    for name, variation in basis.categories.items():
        concepts = max(1, round(checks / variation.checks_per_concept))
        variation = replace(variation, checks_per_concept=checks / concepts)
        groups.append(_group(name, variation, concepts, design, tests))
    return _plan(None, groups, design, basis)


def _plan(difference: float | None, groups: Sequence[PlannedGroup], design: Design, basis: Basis) -> Plan:
    checks, concepts = (sum(getattr(group, name) for group in groups) for name in ("checks", "concepts"))
    together = replace(basis.overall, checks_per_concept=checks / concepts)
    total = _group(None, together, concepts, design, design.pairs)
    return Plan(
        difference,
        design,
        tuple(groups),
        replace(total, checks=checks),
        basis.metrics,
        basis.not_estimated,
        basis.sparse,
    )


def _group(name: str | None, variation: Variation, concepts: int, design: Design, tests: int) -> PlannedGroup:
    detectable = _detectable(variation, concepts, design, tests)
    half_width = None
    if concepts >= FEWEST_CONCEPTS:
        mean = variation.mean_error(concepts) ** 2
        half_width = expected_half_width(
            variation.scaled,
            mean * variation.direction_variance / variation.mean_variance,
            mean,
            concepts,
            design.level,
        )
    return PlannedGroup(
        name=name,
        checks=math.ceil(concepts * variation.checks_per_concept - 1e-9),
        concepts=concepts,
        tests=tests,
        detectable=None if math.isinf(detectable) else detectable,
        half_width=half_width,
        variation=variation,
    )


def _detectable(variation: Variation, concepts: int, design: Design, tests: int) -> float:
    return float(
        statistics.minimum_detectable_difference(
            variation.difference_error(concepts),
            concepts=concepts,
            tests=tests,
            flips=design.flips,
            alpha=design.alpha,
            power=design.power,
        )
    )


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of concepts that is enough; None if ``LARGEST`` is not."""
    high = 2
    while not enough(high):
        if high >= LARGEST:
            return None
        high = min(2 * high, LARGEST)
    low = high // 2  # not enough, or 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _require_permutations(design: Design, tests: int) -> None:
    needed = statistics.fewest_permutations(tests, design.alpha)
    if design.flips < needed:
        raise InputError(
            f"with {design.flips:,} permutations none of {tests:,} comparisons can be significant at "
            f"{design.alpha:g}; plan and evaluate with --permutations {needed} or more"
        )
