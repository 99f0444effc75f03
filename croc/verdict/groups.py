"""Groups of checks that a report looks at together, and the tests of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from croc.checks.schema import stable_hash
from croc.verdict.aggregation import CheckVerdicts, average, nanmean
from croc.verdict.directions import scaled_accuracy
from croc.verdict.report import NO_VALUE, GroupKey, Settings
from croc.verdict.statistics import Array

FEWEST_CONCEPTS = 3
"""Two concepts cannot show how much concepts differ; below this no interval is given."""


@dataclass(frozen=True)
class Group:
    """All checks, or the checks with one value in a column."""

    column: str | None
    value: str | None
    verdicts: CheckVerdicts

    @property
    def key(self) -> GroupKey:
        """(column, value)."""
        return self.column, self.value

    @cached_property
    def concepts(self) -> int:
        """Number of concepts."""
        return len(np.unique(self.verdicts.concept))

    def seed(self, settings: Settings, use: int) -> Sequence[int]:
        """A random stream for each group: its interval does not depend on which other groups are shown."""
        name = 0 if self.column is None else int(stable_hash(self.column, self.value, length=12), 16)
        return [settings.seed, use, name]

    def resampled(self, settings: Settings) -> Array | None:
        """Bootstrapped totals (resamples, T, M, 4, 3), or None without resamples."""
        if not settings.resamples:
            return None
        return self.verdicts.bootstrap(settings.resamples, self.seed(settings, 0))


@dataclass(frozen=True)
class GroupTests:
    """The tests of one group.

    Attributes:
        group: the checks.
        scores: (M,) mean scaled accuracies.
        directions: (resamples, M, 4) resampled scaled accuracies; None without resamples.
        below: (M, 4) p values of the tests for accuracy below chance; None without permutations.
        exchange: (M, M) p values of the tests between metrics; None without permutations.
    """

    group: Group
    scores: Array
    directions: Array | None
    below: Array | None
    exchange: Array | None

    @property
    def samples(self) -> Array | None:
        """(resamples, M): the resampled mean scaled accuracies."""
        return None if self.directions is None else nanmean(self.directions, -1)

    @classmethod
    def of(cls, group: Group, drawn: Array | None, settings: Settings) -> GroupTests:
        """Run the tests of a group, given its bootstrapped totals."""
        verdicts = group.verdicts
        scores = verdicts.observed()
        directions = None if drawn is None else scaled_accuracy(*average(drawn))
        if not settings.flips:
            return cls(group, scores, directions, None, None)
        below = verdicts.below_chance_test(settings.flips, group.seed(settings, 1))
        exchange = verdicts.exchange_test(settings.flips, group.seed(settings, 2))
        return cls(group, scores, directions, below, exchange)


def groups_by(verdicts: CheckVerdicts, column: str) -> list[Group]:
    """The checks by value of a column; those without a value are a group of their own beside others."""
    values = verdicts.checks[column]
    groups = []
    for value in values.drop_nulls().unique().sort():
        members = (values == value).fill_null(False).arg_true().to_numpy()
        groups.append(Group(column, str(value), verdicts.select(members)))
    if groups and values.null_count():
        groups.append(Group(column, NO_VALUE, verdicts.select(values.is_null().arg_true().to_numpy())))
    return groups
