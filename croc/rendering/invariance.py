"""Results on invariance: as terminal tables, as a picture, and as a page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from croc.invariance.evaluation import ChangeScore, InvarianceReport
from croc.rendering.formats import data_uri, probability, share_cells
from croc.rendering.page import findings_page, findings_section
from croc.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

_RESULTS = "invariance_results.html"


def terminal(report: InvarianceReport) -> list[RenderableType]:
    """A table per metric, and what its columns mean."""
    shown: list[RenderableType] = [Text(_head(report))]
    for metric in report.metrics:
        table = Table(
            box=None,
            padding=(0, 1),
            title=f"{metric.metric}: {probability(metric.accuracy)} of the verdicts are right",
            title_justify="left",
            title_style="bold",
        )
        for name in ("change", "changed verdicts", "", "error / change", "", "then right", "checks"):
            table.add_column(name, justify="left" if name == "change" else "right", no_wrap=True)
        for score in metric.changes:
            table.add_row(
                score.change,
                *share_cells(score.flips),
                *ratio_cells(score),
                probability(score.accuracy),
                str(score.checks),
            )
        shown += [Text(""), table]
    return [*shown, Text(""), *(Text(line) for line in lines(report))]


def _head(report: InvarianceReport) -> str:
    return (
        f"{report.dataset}: {counted(report.checks, 'check')} of {counted(report.concepts, 'concept')}, "
        f"{report.level:.0%} intervals over concepts"
    )


def ratio_cells(score: ChangeScore) -> tuple[str, str]:
    """What an error does beside a change, and its interval; a dash where there is none."""
    ratio = score.ratio
    if ratio.value is None:
        return "–", ""
    return f"{ratio.value:.1f}", "" if ratio.low is None else f"[{ratio.low:.1f}, {ratio.high:.1f}]"


def lines(report: InvarianceReport) -> list[str]:
    """What the columns mean, and what to know about the numbers."""
    text = [
        "changed verdicts: share of the verdicts in the four directions that change although nothing that is "
        "true changes; 0 is right, 0.50 is random.",
        "error / change: mean loss of score by the wrong prompt, over the root mean square of what the "
        "change does to a score; below 1 the change matters more than an error. –: nothing changes, or "
        "errors lower no scores.",
    ]
    for metric in report.metrics:
        if metric.missing:
            text.append(f"{metric.metric}: {counted(metric.missing, 'variant')} without a score.")
    return text


def picture(report: InvarianceReport) -> Figure:
    """Changed verdicts of each metric by change."""
    from matplotlib.figure import Figure

    changes = report.changes
    found = {
        (metric.metric, score.change): score.flips.value
        for metric in report.metrics
        for score in metric.changes
    }
    names = [metric.metric for metric in report.metrics]
    cells = [[found.get((name, change)) for change in changes] for name in names]
    figure = Figure(figsize=(2.6 + 0.62 * len(changes), 1.9 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        [[float("nan") if value is None else value for value in row] for row in cells],
        cmap="Reds",
        vmin=0,
        vmax=0.5,
        aspect="auto",
    )
    axes.set_xticks(range(len(changes)), changes, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            shade = "white" if value is not None and value > 0.3 else "black"
            axes.text(column, row, probability(value), ha="center", va="center", fontsize=8, color=shade)
    axes.set_title("share of verdicts that change; 0 is right", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.9)
    return figure


def picture_png(report: InvarianceReport, dpi: int = 150) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture(report).savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def page(report: InvarianceReport) -> str:
    """All results as one HTML page that needs no other file."""
    names = ", ".join(metric.metric for metric in report.metrics)
    heading = "Does the verdict change when nothing true changes?"
    return findings_page(f"Invariance: {names}", heading, [_head(report)], _RESULTS, _shown(report))


def section(report: InvarianceReport) -> str:
    """The results as a section of another page: safe HTML."""
    return findings_section([_head(report)], _RESULTS, _shown(report))


def _shown(report: InvarianceReport) -> dict[str, Any]:
    return {
        "report": report,
        "picture": data_uri(picture_png(report, dpi=110), "image/png"),
        "share_cells": share_cells,
        "ratio_cells": ratio_cells,
        "lines": lines(report),
    }
