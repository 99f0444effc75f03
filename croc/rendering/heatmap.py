"""A Report as a heatmap: scaled accuracy as colour."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS
from croc.rendering.formats import group_label, metric_label, values_last
from croc.verdict.published import category_panels
from croc.verdict.records import DIRECTION_NAMES
from croc.verdict.report import Report
from croc.wording import signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160
_ACROSS = 26  # maximum number of values of a grouping in one row
_BESIDE = 10  # a grouping with at most this many values is drawn beside the directions
_LONGEST = 40  # characters of a label; a longer one is cut
_PANELS = 40  # panels of a grouping; a longer image is refused by the format and readable by nobody
_COLOURS = "BrBG"  # diverging, and readable by colour-blind people


@dataclass(frozen=True)
class _Panel:
    title: str
    rows: Sequence[str]
    names: Sequence[str]
    values: Sequence[Sequence[float | None]]


def heatmap(report: Report) -> Figure:
    """Draw a row per metric, and a column per direction and per value of each grouping.

    In paper mode, hum has the two panels of the paper in place of the directions and categories, see
    :class:`croc.verdict.published.CategoryPanel`.
    """
    from matplotlib.figure import Figure as NewFigure

    panels = _panels(report)
    beside = len(panels) > 1 and len(panels[1].names) <= _BESIDE
    rows = [panels[:2], *([panel] for panel in panels[2:])] if beside else [[panel] for panel in panels]
    width = max(sum(0.62 * len(panel.names) + 0.5 for panel in row) for row in rows) + 2.4
    height = sum(0.42 * len(row[0].rows) + 1.6 for row in rows)
    figure = NewFigure(figsize=(min(max(width, 6.5), 40), height), layout="constrained")
    grids = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for grid, row in zip(grids, rows, strict=True):
        image: Any = None
        axes = grid.subplots(1, len(row), squeeze=False, width_ratios=[len(panel.names) for panel in row])[0]
        for k, (axis, panel) in enumerate(zip(axes, row, strict=True)):
            image = _draw(axis, panel, panel.rows if k == 0 else [])
        bar = grid.colorbar(image, ax=list(axes), shrink=0.8, pad=0.01)
        bar.set_label("scaled accuracy", fontsize=9)
        bar.outline.set_visible(False)
    figure.supxlabel(
        report.signature.short().replace("|", " | "), fontsize=5.5, color="0.4", wrap=True, parse_math=False
    )
    return figure


def _panels(report: Report) -> list[_Panel]:
    labels = [metric_label(report, metric) for metric in report.metrics]
    panels = [
        _Panel(panel.title, [*labels, *panel.metrics[len(labels) :]], _words(panel.categories), panel.values)
        for panel in category_panels(report)
    ]
    shown = {"category"} if panels else set()
    if not panels:
        directions = []
        for score in report.ranking:
            scaled = [report.scaled(score.metric, direction) for direction in DIRECTIONS]
            directions.append([*scaled, score.scaled])
        panels = [_Panel("by direction", labels, [*DIRECTION_NAMES.values(), "mean"], directions)]
    for column, values in report.groupings.items():
        if column in shown:
            continue
        drawn = values_last(values)[: _PANELS * _ACROSS]
        part = f", {len(drawn)} of {len(values)} values" if len(drawn) < len(values) else ""
        across = math.ceil(len(drawn) / math.ceil(len(drawn) / _ACROSS))  # panels of about the same width
        for begin in range(0, len(drawn), across):
            names = drawn[begin : begin + across]
            panels.append(
                _Panel(
                    f"by {column}{part}" if begin == 0 else f"by {column}, continued",
                    labels,
                    [group_label(name, column) for name in names],
                    [
                        [report.score(metric, column, value).scaled for value in names]
                        for metric in report.metrics
                    ],
                )
            )
    return panels


def _words(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _label(name: str) -> str:
    """A name as a label: one line, of limited length."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _draw(axis: Any, panel: _Panel, labels: Sequence[str]) -> Any:
    """Draw a panel; ``labels`` are the names of its rows, none beside another panel."""
    data = [[float("nan") if value is None else value for value in row] for row in panel.values]
    image = axis.imshow(data, cmap=_COLOURS, vmin=-1, vmax=1, aspect="auto")
    axis.set_title(panel.title, fontsize=10, parse_math=False)
    names, labels = [_label(name) for name in panel.names], [_label(label) for label in labels]
    turned = any(len(name) > 8 for name in names)
    rotation, align = (35, "right") if turned else (0, "center")
    axis.set_xticks(range(len(names)), names, fontsize=8, rotation=rotation, ha=align)
    axis.set_yticks(range(len(labels)), labels, fontsize=9)
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        label.set_parse_math(False)  # a dollar in a name does not begin a formula
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for y, row in enumerate(panel.values):
        for x, value in enumerate(row):
            ink = "white" if value is not None and abs(value) > 0.65 else "black"
            axis.text(x, y, signed(value), ha="center", va="center", fontsize=8, color=ink)
    return image


def heatmap_png(report: Report, dpi: int = DPI) -> bytes:
    """The heatmap as PNG bytes, the same for the same report."""
    buffer = io.BytesIO()
    heatmap(report).savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
