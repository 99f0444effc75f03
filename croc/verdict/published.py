"""The tables of the paper, from a report in paper mode: what they compare and what they average.

The published code makes a table of directions × subsets for syn, with the mean of each metric, and for hum
two heatmaps of categories, one of the text and one of the image directions. It also correlates the accuracies
of the two text models over all cells. The reference are ``croc_syn/eval_and_plot/eval_to_tex.py`` and
``croc_hum/create_heatmap.py`` of the authors' repository. They round the scaled accuracies of syn to three
decimals before averaging, which is not done here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from croc.checks.schema import DIRECTIONS, SUBSETS
from croc.verdict.records import optional
from croc.verdict.report import Report

AVERAGE = "AVG"
"""The row and the column of averages in a heatmap of hum."""


@dataclass(frozen=True)
class SubsetTable:
    """Scaled accuracies of syn by direction and subset.

    Attributes:
        metrics: M names, best first.
        cells: (direction, subset) of each row.
        values: per row, the scaled accuracies of the metrics.
        average: per metric, the mean over the rows.
    """

    metrics: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    values: tuple[tuple[float | None, ...], ...]
    average: tuple[float | None, ...]


@dataclass(frozen=True)
class CategoryPanel:
    """Scaled accuracies of hum by metric and category, the mean of a direction and its inverse.

    Attributes:
        title: ``text directions`` or ``image directions``.
        metrics: the rows, best first, then ``AVERAGE``.
        categories: the columns, then ``AVERAGE``.
        values: per row; the averages are over categories, and over metrics.
    """

    title: str
    metrics: tuple[str, ...]
    categories: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class TextModelAgreement:
    """Whether the checks of two text models give metrics the same accuracies.

    Attributes:
        first: one text model.
        second: the other one.
        tau: Kendall's tau-b of the accuracies over the cells: metrics × directions × groups.
        cells: number of cells.
    """

    first: str
    second: str
    tau: float | None
    cells: int


def subset_table(report: Report) -> SubsetTable | None:
    """The table of syn; None where the report is another one or has no subsets."""
    if not report.settings.paper or report.protocol != "syn" or "subset" not in report.groupings:
        return None
    subsets = sorted(report.groupings["subset"], key=_position)
    cells = tuple((direction, subset) for direction in DIRECTIONS for subset in subsets)
    values = tuple(
        tuple(report.scaled(metric, direction, "subset", subset) for metric in report.metrics)
        for direction, subset in cells
    )
    average = tuple(_mean(column) for column in zip(*values, strict=True))
    return SubsetTable(report.metrics, cells, values, average)


def category_panels(report: Report) -> tuple[CategoryPanel, ...]:
    """The two heatmaps of hum; none where the report is another one or has no categories."""
    if not report.settings.paper or report.protocol != "hum" or "category" not in report.groupings:
        return ()
    categories = report.groupings["category"]
    panels = []
    for kind in ("text", "image"):
        values = [
            [_pair_mean(report, metric, kind, category) for category in categories]
            for metric in report.metrics
        ]
        values.append([_mean(column) for column in zip(*values, strict=True)])
        rows = tuple((*row, _mean(row)) for row in values)
        panels.append(
            CategoryPanel(f"{kind} directions", (*report.metrics, AVERAGE), (*categories, AVERAGE), rows)
        )
    return tuple(panels)


def text_model_agreements(report: Report) -> tuple[TextModelAgreement, ...]:
    """The agreement of each pair of text models in a report in paper mode that have two cells in common."""
    from scipy.stats import kendalltau

    column = {"syn": "subset", "hum": "category"}[report.protocol]
    if not report.settings.paper or column not in report.groupings:
        return ()
    accuracies: dict[str, dict[tuple[str, ...], float]] = {}
    for result in report.results:
        if result.group == column and result.text_model is not None and result.accuracy is not None:
            cell = (result.metric, result.direction, str(result.group_value))
            accuracies.setdefault(result.text_model, {})[cell] = result.accuracy
    agreements = []
    for first, second in itertools.combinations(sorted(accuracies), 2):
        shared = sorted(accuracies[first].keys() & accuracies[second].keys())
        if len(shared) < 2:
            continue
        tau = kendalltau(*([accuracies[model][cell] for cell in shared] for model in (first, second)))
        agreements.append(TextModelAgreement(first, second, optional(tau.statistic), len(shared)))
    return tuple(agreements)


def _position(subset: str) -> tuple[int, str]:
    return SUBSETS.index(subset) if subset in SUBSETS else len(SUBSETS), subset


def _pair_mean(report: Report, metric: str, kind: str, category: str) -> float | None:
    """The mean of a metric's forward and inverse direction; None where one of them has no value."""
    values = [report.scaled(metric, f"{way}_{kind}", "category", category) for way in ("forward", "inverse")]
    return None if None in values else _mean(values)


def _mean(values: Iterable[float | None]) -> float | None:
    known: Sequence[float] = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
