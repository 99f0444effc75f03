"""The checks that each metric failed, by property and with their images: a section of the report's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from croc.errors import InputError
from croc.rendering.fragments import cards, failed_directions, fragment
from croc.results.files import has_values, sample_failures
from croc.verdict.aggregation import CheckVerdicts
from croc.wording import counted

if TYPE_CHECKING:
    from croc.checks.sources import Checks
    from croc.tables.score_tables import ScoreTable
    from croc.verdict.report import Report

HEADING = "Failed checks"
PER_PROPERTY = 2
MOST = 24
"""Checks of a metric; a page holds the images of all metrics."""

_KINDS = ("property", "category")


def failed_checks(report: Report, tables: Sequence[ScoreTable], checks: Checks) -> str:
    """The failed checks of every metric that is no baseline, the worst first in each property.

    Args:
        report: on the tables.
        tables: score tables, with the columns property and category where they have them.
        checks: the dataset that was scored.

    Raises:
        InputError: the dataset has none of the checks of the tables.
    """
    columns = [name for name in _KINDS if all(has_values(table.frame, name) for table in tables)]
    settings = report.settings
    verdicts = CheckVerdicts.of(tables, columns, paper=settings.paper, images=settings.images)
    row_of = {texts.check_id: number for number, texts in enumerate(checks.texts)}
    scored = set(verdicts.checks["check_id"].to_list())
    if not scored & row_of.keys():
        raise InputError(f"{checks.name} has none of the {counted(len(scored), 'check')} of the score tables")
    shown: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for score in report.ranking:
        if score.baseline:
            continue
        number = verdicts.metrics.index(score.metric)
        found = sample_failures(verdicts, number, kinds=_KINDS, per_kind=PER_PROPERTY, most=MOST)
        groups = shown.setdefault(score.metric, {})
        for failure in sorted(found, key=lambda failure: failure.property or failure.category or "~"):
            if failure.check_id in row_of:
                at = row_of[failure.check_id]
                card = cards(checks.read(at, at + 1), {failure.check_id: failed_directions(failure)})
                groups.setdefault(failure.property or failure.category or "other", []).extend(card)
    about = (
        f"Up to {PER_PROPERTY} checks of each property that a metric failed in at least one direction, "
        f"{MOST} in all, with the first image of each side."
    )
    return fragment("failed", shown, about)
