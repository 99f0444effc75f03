"""The records that leave a report; each carries the signature under which it holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Result:
    """Accuracy of one metric in one direction on one group of checks.

    Attributes:
        metric: as the table names it.
        direction: one of ``DIRECTIONS``.
        group: column that was grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        text_model: the prompts' author; None is the average over the text models.
        accuracy: mean verdict, 0…1.
        scaled: accuracy against chance, −1…1.
        chance: what a scorer that sees nothing would reach, 0…1.
        n: number of checks with a verdict.
        ties: share of tied comparisons.
        coverage: share of the scores read that are there.
        ci_low: lower end of the interval of ``accuracy``; None with fewer than three concepts.
        ci_high: upper end.
        scaled_ci_low: lower end of the interval of ``scaled``.
        scaled_ci_high: upper end.
        signature: under which settings all this holds.
    """

    metric: str
    direction: str
    group: str | None
    group_value: str | None
    text_model: str | None
    accuracy: float | None
    scaled: float | None
    chance: float | None
    n: int
    ties: float | None
    coverage: float | None
    ci_low: float | None
    ci_high: float | None
    scaled_ci_low: float | None
    scaled_ci_high: float | None
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Score:
    """Mean scaled accuracy over the directions of one metric on one group: the number that ranks metrics.

    Attributes:
        metric: as the table names it.
        group: column that was grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        scaled: mean over the directions that have a verdict, −1…1.
        ci_low: lower end of its interval.
        ci_high: upper end.
        n: number of checks with a verdict in some direction.
        all_passed: share of checks that passed in every direction (the group score); None if unknown.
        ties: share of tied comparisons, mean over the directions.
        coverage: share of the scores read that are there, over all directions.
        rank: cluster in the ranking of all checks, from 1; metrics of one cluster cannot be told apart.
        blind: the metric is a baseline that cannot see the image, the text or either.
        signature: under which settings all this holds.
    """

    metric: str
    group: str | None
    group_value: str | None
    scaled: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    all_passed: float | None
    ties: float | None
    coverage: float | None
    rank: int | None
    blind: bool
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """Paired test between two metrics on their mean scaled accuracy.

    Attributes:
        better: the metric with the higher score.
        worse: the other one.
        group: column that was grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        difference: of the two scores, not negative.
        p: two-sided, from exchanging the two metrics concept by concept.
        p_holm: adjusted over all comparisons of the same grouping.
        detectable: the smallest difference that these data would have shown (level 0.05, power 0.8).
        signature: under which settings all this holds.
    """

    better: str
    worse: str
    group: str | None
    group_value: str | None
    difference: float
    p: float
    p_holm: float
    detectable: float | None
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """Something that the tests show, in words.

    Attributes:
        kind: machine-readable name of the finding.
        text: one sentence for a person.
        metrics: the metrics it is about.
        p: adjusted p value of the test behind it; None for a plain count.
        signature: under which settings it holds.
    """

    kind: str
    text: str
    metrics: tuple[str, ...]
    p: float | None
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Agreement:
    """Do two benchmarks rank the same metrics alike?

    Attributes:
        group_value: the category (or other group) both were compared on; None for all checks.
        metrics: the metrics that both hold.
        tau: Kendall's tau-b of the two rankings, −1…1.
        ci_low: lower end of its interval, the concepts of both benchmarks resampled.
        ci_high: upper end.
        signature: under which settings all this holds.
    """

    group_value: str | None
    metrics: tuple[str, ...]
    tau: float | None
    ci_low: float | None
    ci_high: float | None
    signature: str = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """How far apart one metric's verdicts on two generators are.

    Attributes:
        metric: as the table names it.
        first: mean scaled accuracy on the first generator's checks.
        second: on the second's.
        difference: ``first − second``.
        ci_low: lower end of its interval; None with fewer than three concepts.
        ci_high: upper end.
        p: two-sided, from exchanging the two concept by concept, or by the bootstrap where they share none.
        p_holm: adjusted over all pairs and metrics of the column.
        signature: under which settings all this holds.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    signature: str = field(repr=False)

    def adjusted(self, p_holm: float) -> Difference:
        """The same with its adjusted p value; NaN stands for none."""
        return replace(self, p_holm=None if p_holm != p_holm else float(p_holm))


@dataclass(frozen=True)
class Dependence:
    """Does the verdict depend on which of two generators made the checks?

    Attributes:
        column: ``text_model``, ``image_model`` or ``style``.
        first: the one generator.
        second: the other one.
        paired: whether only specs count that both have, resampled together.
        concepts: how many they share; where unpaired, how many the one with fewer has.
        tau: Kendall's tau-b between the two rankings of the metrics, −1…1; None with fewer than two.
        tau_low: lower end of its interval.
        tau_high: upper end.
        differences: per metric.
    """

    column: str
    first: str
    second: str
    paired: bool
    concepts: int
    tau: float | None
    tau_low: float | None
    tau_high: float | None
    differences: tuple[Difference, ...]

    def with_differences(self, differences: tuple[Difference, ...]) -> Dependence:
        """The same with other differences."""
        return replace(self, differences=differences)
