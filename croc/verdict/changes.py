"""Two versions of one metric compared on the same checks: where did it get better or worse?

The versions can also be one metric on prompts of two languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from croc.errors import InputError
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable, languages_of, without_translation
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.records import Count, Distance, Record, Scaled, Stored, Text
from croc.verdict.report import Settings
from croc.verdict.statistics import ALPHA, Correction

OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Change(Record):
    """The change of a metric's mean scaled accuracy on one group of checks.

    Attributes:
        group: column that the checks are grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        checks: number of checks.
        old: score of the old version.
        new: score of the new version.
        difference: ``new − old``.
        ci_low: lower end of its interval; None with fewer than five concepts.
        ci_high: upper end.
        p: two-sided, from exchanging the versions concept by concept.
        p_adjusted: adjusted over the groups of the same column.
    """

    group: Text | None
    group_value: Text | None
    checks: Count
    old: Scaled
    new: Scaled
    difference: Distance
    ci_low: Distance
    ci_high: Distance
    p: Annotated[float, Field(ge=0, le=1)]
    p_adjusted: Annotated[float, Field(ge=0, le=1)]

    @property
    def about(self) -> tuple[str, ...]:
        """Both versions."""
        return (OLD, NEW)

    @property
    def worse(self) -> bool:
        """Whether the new version is significantly worse."""
        return self.p_adjusted < ALPHA and self.difference is not None and self.difference < 0

    @property
    def better(self) -> bool:
        """Whether the new version is significantly better."""
        return self.p_adjusted < ALPHA and self.difference is not None and self.difference > 0


@dataclass(frozen=True)
class Changes(Stored):
    """All changes between two versions of a metric.

    Attributes:
        old: signature of the old version's numbers.
        new: signature of the new version's numbers.
        changes: all checks first, then by group.
        correction: how p values are adjusted, see :func:`croc.verdict.statistics.adjust`.
    """

    description: ClassVar[str] = "a comparison of versions"

    old: Text
    new: Text
    changes: tuple[Change, ...]
    correction: Correction = "holm"

    @property
    def worse(self) -> tuple[Change, ...]:
        """The changes in which the new version is significantly worse."""
        return tuple(change for change in self.changes if change.worse)


def compare_versions(
    old: Path | str, new: Path | str, settings: Settings | None = None, *, metric: str | None = None
) -> Changes:
    """Compare two score tables of one metric.

    Args:
        old: score table of the old version.
        new: of the new version, on the same checks; or of the same metric on their translations.
        settings: see :class:`croc.verdict.report.Settings`; ``resamples`` are not needed.
        metric: its name, where the tables hold several.

    Raises:
        InputError: a table cannot be read or holds several metrics, or the tables are of different datasets
            or have no check in common.
    """
    settings = replace(settings or Settings(), resamples=0)
    if not settings.flips:
        raise InputError("two versions are compared by a permutation test; it needs at least one permutation")
    tables = [_named(path, name, settings.by, metric) for path, name in ((old, OLD), (new, NEW))]
    if languages_of(tables[0]) != languages_of(tables[1]):
        tables = [without_translation(table) for table in tables]
    report = evaluate_tables(tables, settings)
    changes = []
    for pair in report.comparisons:
        scores = [report.score(version, pair.group, pair.group_value) for version in (OLD, NEW)]
        sign = 1 if pair.better == NEW else -1
        ends = [pair.ci_low, pair.ci_high] if sign > 0 else [_minus(pair.ci_high), _minus(pair.ci_low)]
        changes.append(
            Change(
                group=pair.group,
                group_value=pair.group_value,
                checks=max(score.n for score in scores),
                old=scores[0].scaled,
                new=scores[1].scaled,
                difference=sign * pair.difference,
                ci_low=ends[0],
                ci_high=ends[1],
                p=pair.p,
                p_adjusted=pair.p_adjusted,
            )
        )
    return Changes(
        str(report.signatures[OLD]), str(report.signatures[NEW]), tuple(changes), settings.correction
    )


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _named(path: Path | str, name: str, by: Sequence[str], metric: str | None) -> ScoreTable:
    wanted = None if metric is None else [metric]
    tables = read_score_tables([path], groups=by, metrics=wanted, judges=True)
    names = [one for table in tables for one in table.metrics]
    if len(names) != 1:
        shown = ", ".join(names[:5])
        raise InputError(f"{path}: holds {len(names)} metrics ({shown}); name one (--metric)")
    (table,) = tables
    return replace(
        table,
        metrics={name: table.metrics[names[0]]},
        metadata={name: table.metadata[names[0]]},
        reasons={name: dict(table.reasons.get(names[0], {}))},
    )
