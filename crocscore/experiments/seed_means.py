"""Means over the seeds of a training, with intervals over seeds and concepts.

Two things vary: which concepts the checks are of, and how a training turns out. The part of the concepts is
the package's own interval of the metric that averages the verdicts of all seeds; that of the seeds is
Student's interval of the mean of their results. Both are independent, so that their arms are added in
quadrature (MOVER, Zou and Donner 2008). With three seeds the quantile is 4.3: few seeds give wide intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from croc.tables.score_tables import ScoreTable
from croc.verdict.aggregation import CheckVerdicts
from croc.verdict.groups import Group, groups_by

BY = ("category", "property")
"""Columns that results are broken down by."""

LEVEL = 0.95
_ARRAYS = ("known", "value", "chance", "tie", "present", "expected")


class Runs:
    """The verdicts of several runs on the same checks.

    Args:
        tables: the score table of each run, by its name.
    """

    def __init__(self, tables: Mapping[str, ScoreTable]) -> None:
        self._names = list(tables)
        self._verdicts = CheckVerdicts.of(list(tables.values()), BY)
        metrics = [next(iter(table.metrics)) for table in tables.values()]
        self._place = {
            name: self._verdicts.metrics.index(one) for name, one in zip(self._names, metrics, strict=True)
        }

    def mean(self, runs: Sequence[str]) -> dict[str, Any]:
        """The mean over runs that differ in their seed, for all checks and for each group of them.

        Returns:
            ``scaled``, ``low`` and ``high``; ``seed_sd``, the standard deviation over the runs; ``checks``;
            and ``groups`` with the same keys, ``group`` and ``value``.
        """
        whole, *rest = ({**group, **found} for group, found in self._each([runs]))
        return _without_group(whole) | {"groups": rest}

    def difference(self, runs: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
        """The difference of two such means; runs in the same place of both lists have the same seed.

        A single run, such as the initial model, is compared with all of the other side.

        Returns:
            As :meth:`mean`.
        """
        number = max(len(runs), len(others))
        runs, others = (side if len(side) > 1 else [*side] * number for side in (runs, others))
        whole, *rest = ({**group, **found} for group, found in self._each([runs, others]))
        return _without_group(whole) | {"groups": rest}

    def _each(
        self, sides: Sequence[Sequence[str]]
    ) -> Iterator[tuple[dict[str, str | None], dict[str, float | int | None]]]:
        groups = [Group(None, None, self._verdicts)]
        for column in BY:
            if column in self._verdicts.checks.columns:
                groups += groups_by(self._verdicts, column)
        for group in groups:
            names = {"group": group.column, "value": group.value}
            yield names, self._measure(group.verdicts, sides)

    def _measure(
        self, verdicts: CheckVerdicts, sides: Sequence[Sequence[str]]
    ) -> dict[str, float | int | None]:
        observed = verdicts.observed()
        each = np.array([[observed[self._place[name]] for name in side] for side in sides])
        averaged = _averaged(verdicts, [[self._place[name] for name in side] for side in sides])
        concepts = Group(None, None, averaged).mean_intervals(LEVEL)
        if len(sides) == 2:
            results, estimate = each[0] - each[1], float(concepts.estimate[0] - concepts.estimate[1])
            low, high = concepts.of_difference(0, 1)
            bound = 2.0
        else:
            results, estimate = each[0], float(concepts.estimate[0])
            low, high = (float(end) for end in concepts.mean[:, 0])
            bound = 1.0
        mean, of_seeds, deviation = float(results.mean()), 0.0, None
        if len(results) > 1:
            from scipy.special import stdtrit

            deviation = float(results.std(ddof=1))
            of_seeds = float(stdtrit(len(results) - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(len(results))
        arms = [math.hypot(estimate - low, of_seeds), math.hypot(high - estimate, of_seeds)]
        found = {
            "scaled": mean,
            "low": max(mean - arms[0], -bound),
            "high": min(mean + arms[1], bound),
            "seed_sd": deviation,
            "checks": len(verdicts.checks),
        }
        return {
            name: None if isinstance(one, float) and math.isnan(one) else one for name, one in found.items()
        }


def _averaged(verdicts: CheckVerdicts, sides: Sequence[Sequence[int]]) -> CheckVerdicts:
    """Verdicts of one metric per side, each the mean of several."""
    arrays: dict[str, Any] = {
        name: np.stack([getattr(verdicts, name)[list(side)].mean(axis=0) for side in sides])
        for name in _ARRAYS
    }
    arrays["known"] = arrays["known"] > 0
    return replace(verdicts, metrics=tuple(str(number) for number in range(len(sides))), **arrays)


def _without_group(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ("group", "value")}


def of_group(mean: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The part of a mean that is about a category, or about a property if no category has this name."""
    for column in BY:
        for cell in mean["groups"]:
            if cell["group"] == column and cell["value"] == name:
                return dict(cell)
    return None
