"""The records of correlations with ratings, and their form as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from croc.errors import InputError
from croc.tables.signature import Signature
from croc.verdict.records import Count, Distance, Rank, Record, Scaled, Stored, Text

Grouping = Literal["item", "system", "none"]
Kind = Literal["acc_eq", "kendall", "spearman", "pearson", "spa"]

KINDS: Mapping[Kind, str] = {
    "acc_eq": "accuracy with ties",
    "kendall": "Kendall tau-b",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "spa": "soft pairwise accuracy",
}
"""The coefficients as people read them; the first one orders the metrics in tables."""

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class CorrelationResult(Record):
    """Correlation of one metric with one column of ratings.

    Attributes:
        metric: column of the metric.
        human: column of the ratings.
        kind: ``acc_eq`` (pairwise accuracy with calibrated ties, 0…1), ``kendall`` (tau-b), ``spearman``,
            ``pearson`` (−1…1) or ``spa`` (soft pairwise accuracy of systems, 0…1).
        value: the coefficient, or its average over the groups; None where it is undefined.
        ci_low: lower end of its interval, units resampled; None for ``spa`` and with few units.
        ci_high: upper end.
        rank: significance rank by this coefficient, from 1.
        n: items with a rating and a score.
        missing: items with a rating and no score.
        groups: groups with a coefficient, over which the value is the average; None for pooled items and
            for ``spa``.
        threshold: largest difference of two scores that counts as a tie, for ``acc_eq``.
        by: column that the items are broken down by; None for all items.
        by_value: value of that column; None for all items.
    """

    metric: Text
    human: Text
    kind: Kind
    value: Scaled
    ci_low: Scaled
    ci_high: Scaled
    rank: Rank
    n: Count
    missing: Count = 0
    groups: Count | None = None
    threshold: Annotated[float, Field(ge=0)] | None = None
    by: Text | None = None
    by_value: Text | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)


@dataclass(frozen=True)
class CorrelationTest(Record):
    """Paired permutation test whether two metrics correlate differently with the ratings.

    Attributes:
        better: the metric with the higher correlation.
        worse: the other one.
        human: column of the ratings.
        kind: see :class:`CorrelationResult`.
        difference: of the two correlations, on the items that both metrics have.
        ci_low: lower end of its interval, units resampled; None where a correlation has none.
        ci_high: upper end.
        p: two-sided, from exchanging the scores of the two metrics.
        p_adjusted: adjusted over all pairs of one coefficient and column of ratings, and all values of
            ``by``.
        by: column that the items are broken down by; None for all items.
        by_value: value of that column; None for all items.
    """

    better: Text
    worse: Text
    human: Text
    kind: Kind
    difference: Distance
    ci_low: Distance
    ci_high: Distance
    p: Probability
    p_adjusted: Probability
    by: Text | None = None
    by_value: Text | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """Both metrics."""
        return (self.better, self.worse)


@dataclass(frozen=True)
class ConstantGroups(Record):
    """Groups without tau-b, Spearman's and Pearson's coefficient, as all their values are equal.

    Attributes:
        metric: the metric whose scores are equal; None where it is the ratings.
        human: column of the ratings.
        names: the groups.
        total: number of groups with at least two items.
        by: column that the items are broken down by; None for all items.
        by_value: value of that column; None for all items.
    """

    metric: Text | None
    human: Text
    names: tuple[Text, ...]
    total: Count
    by: Text | None = None
    by_value: Text | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """The metric, where it is about one."""
        return () if self.metric is None else (self.metric,)


@dataclass(frozen=True)
class Correlations(Stored):
    """All correlations of a pair table; each record carries the signature.

    Attributes:
        signature: the settings under which the numbers hold.
        results: per rating and coefficient, the best metric first.
        tests: of every two metrics.
        group: ``item`` compares images of one prompt, ``system`` images of one system, ``none`` all images.
        constant_groups: groups that have no coefficient.
        notes: sentences about what was left out.
        ignored: columns that are no metrics: of text, and the index of a data frame.
    """

    description: ClassVar[str] = "correlations"

    signature: Signature
    results: tuple[CorrelationResult, ...]
    tests: tuple[CorrelationTest, ...]
    group: Grouping = "none"
    constant_groups: tuple[ConstantGroups, ...] = ()
    notes: tuple[Text, ...] = ()
    ignored: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        """Give each record its signature: records of a part of the items name the part."""
        for name in ("results", "tests", "constant_groups"):
            signed = tuple(
                replace(record, signature=self._signature_of(record.by, record.by_value))
                for record in getattr(self, name)
            )
            object.__setattr__(self, name, signed)

    def _signature_of(self, by: str | None, value: str | None) -> str:
        if by is None:
            return str(self.signature)
        return str(self.signature | Signature.of(by=f"{by}={value}"))

    @property
    def parts(self) -> tuple[tuple[str | None, str | None], ...]:
        """The pairs of column and value that results are broken down by; (None, None) is all items."""
        return tuple(dict.fromkeys((result.by, result.by_value) for result in self.results))

    def get(
        self, metric: str, human: str, kind: str = "kendall", by: str | None = None, value: str | None = None
    ) -> CorrelationResult:
        """One of the results.

        Raises:
            InputError: there is none.
        """
        for result in self.results:
            key = (result.metric, result.human, result.kind, result.by, result.by_value)
            if key == (metric, human, kind, by, value):
                return result
        raise InputError(f"there is no {kind} correlation of {metric!r} with {human!r}")

    def test(
        self,
        first: str,
        second: str,
        human: str,
        kind: str = "kendall",
        by: str | None = None,
        value: str | None = None,
    ) -> CorrelationTest:
        """The test between two metrics, in either order.

        Raises:
            InputError: there is none.
        """
        for test in self.tests:
            key = (test.human, test.kind, test.by, test.by_value)
            if {test.better, test.worse} == {first, second} and key == (human, kind, by, value):
                return test
        raise InputError(f"there is no {kind} test of {first!r} against {second!r} with {human!r}")
