"""Groups of checks that a report looks at together, and the tests of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from croc.checks.schema import stable_hash
from croc.verdict.aggregation import CheckVerdicts, nanmean, scaled_per_direction
from croc.verdict.intervals import Intervals, intervals
from croc.verdict.report import NO_VALUE, GroupKey, Settings
from croc.verdict.statistics import Array


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
        """Bootstrapped totals (resamples, C, T, M, 4, 3), or None without resamples."""
        if not settings.resamples:
            return None
        return self.verdicts.bootstrap(settings.resamples, self.seed(settings, 0))

    @cached_property
    def _sums(self) -> Array:
        return self.verdicts.cluster_sums()

    def direction_intervals(self, text_models: Sequence[int], level: float) -> Intervals:
        """Intervals of accuracy and scaled accuracy per direction, on the checks of some text models."""
        pooled = self._sums.sum(axis=1)[:, text_models]
        return intervals(pooled, self.verdicts.symmetric, level)

    def mean_intervals(self, level: float) -> Intervals:
        """Intervals of the mean over cells and directions; a direction of a cell counts as a direction."""
        sums = self._sums
        clusters, cells, texts, metrics, directions, kinds = sums.shape
        flat = np.moveaxis(sums, 1, 3).reshape(clusters, texts, metrics, cells * directions, kinds)
        return intervals(flat, np.tile(self.verdicts.symmetric, cells), level)


@dataclass(frozen=True)
class GroupTests:
    """The tests of one group.

    Attributes:
        group: the checks.
        scores: (M,) mean scaled accuracies.
        intervals: of the means.
        directions: (resamples, M, 4) resampled scaled accuracies; None without resamples.
        below: (M, 4) p values of the tests for accuracy below chance; None without permutations.
        exchange: (M, M) p values of the tests between metrics; None without permutations.
    """

    group: Group
    scores: Array
    intervals: Intervals
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
        directions = None if drawn is None else scaled_per_direction(drawn, verdicts.symmetric)
        of_means = group.mean_intervals(settings.level)
        if not settings.flips:
            return cls(group, scores, of_means, directions, None, None)
        below = verdicts.below_chance_test(settings.flips, group.seed(settings, 1))
        exchange = verdicts.exchange_test(settings.flips, group.seed(settings, 2))
        return cls(group, scores, of_means, directions, below, exchange)


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
