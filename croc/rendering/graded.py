"""Results on graded checks: as terminal tables and as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from croc.graded.evaluation import GradedReport, GradedScore
from croc.rendering.formats import interval, probability, share_cells
from croc.wording import counted, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.console import RenderableType


def terminal(report: GradedReport) -> list[RenderableType]:
    """The report for the terminal: results by metric, then steps by kind of error."""
    graphs = counted(report.graphs, "error graph")
    head = Text(f"{report.dataset}: {graphs}, {report.level:.0%} intervals over graphs")
    table = Table(box=None, padding=(0, 1))
    for column in ("rank", "metric", "ordering", "", "separation", "", "one error less scores higher", ""):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for score in report.scores:
        table.add_row(
            str(score.rank or ""),
            _name(score),
            signed(score.ordering.value),
            interval(score.ordering.low, score.ordering.high),
            *share_cells(score.separation),
            *share_cells(score.step),
        )
    kinds = list(report.scores[0].by_error)
    steps = Table(
        box=None, padding=(0, 1), title="One error less scores higher, by error", title_justify="left"
    )
    for column in (
        "metric",
        *kinds,
        *(f"error {int(already) + 1}" for already in report.scores[0].by_number),
    ):
        steps.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for score in report.scores:
        values = [estimate.value for estimate in (*score.by_error.values(), *score.by_number.values())]
        steps.add_row(_name(score), *(probability(value) for value in values))
    numbers = list(report.best_of_oracle)
    best = Table(box=None, padding=(0, 1), title="The best of n images has no error", title_justify="left")
    for column in ("metric", *(f"n = {n}" for n in numbers)):
        best.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for score in report.scores:
        best.add_row(_name(score), *(probability(score.best_of[n].value) for n in numbers))
    best.add_row("(always right)", *(probability(report.best_of_oracle[n]) for n in numbers))
    notes = [Text(line) for line in lines(report)]
    return [head, table, Text(""), steps, Text(""), best, Text(""), *notes]


def lines(report: GradedReport) -> list[str]:
    """What the columns mean, and what to know about the numbers."""
    chance = report.scores[0].separation_by_chance
    text = [
        "ordering: Spearman's correlation of score and absence of errors along paths that add one error at a "
        "time; 1 is right, 0 is chance level.",
        "separation: Kolmogorov-Smirnov statistic of images with different numbers of errors; "
        f"{probability(chance)} is expected if errors changed nothing.",
        "best of n: how often the image with the highest score among n images of a prompt has no error; "
        f"random scores have {probability(next(iter(report.best_of_oracle.values())))} for every n.",
    ]
    for score in report.scores:
        if score.missing:
            text.append(f"{score.metric}: {counted(score.missing, 'image')} without a score.")
    return text


def picture(report: GradedReport) -> Figure:
    """Ordering with its interval, the steps by kind of error, and whether the best of n images is right."""
    from matplotlib.figure import Figure

    scores = report.scores
    kinds = list(scores[0].by_error)
    numbers = list(scores[0].by_number)
    figure = Figure(figsize=(12.6, max(2.8, 1.6 + 0.36 * len(scores))), layout="constrained")
    left, right, curves = figure.subplots(1, 3, width_ratios=(1, 1.5, 1.1))
    right.sharey(left)
    places = range(len(scores))
    left.axvline(0, color="#888888", linewidth=1)
    for place, score in zip(places, scores, strict=True):
        ordering = score.ordering
        if ordering.low is not None and ordering.high is not None:
            left.plot((ordering.low, ordering.high), (place, place), color="#0b63b5", linewidth=2)
        if ordering.value is not None:
            left.plot(ordering.value, place, "o", color="#0b63b5", markersize=5)
    left.set_xlim(-1.05, 1.05)
    left.set_xlabel(f"ordering, {report.level:.0%} interval")
    left.set_yticks(places, [_name(score) for score in scores])
    left.invert_yaxis()
    cells = [[estimate.value for estimate in (*s.by_error.values(), *s.by_number.values())] for s in scores]
    image = right.imshow(
        [[float("nan") if value is None else value for value in row] for row in cells],
        cmap="RdBu",
        vmin=0,
        vmax=1,
        aspect="auto",
    )
    right.set_xticks(
        range(len(kinds) + len(numbers)),
        [*kinds, *(f"error {int(n) + 1}" for n in numbers)],
        rotation=40,
        ha="right",
    )
    right.tick_params(labelleft=False)
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            shade = "white" if value is not None and abs(value - 0.5) > 0.3 else "black"
            right.text(column, row, probability(value), ha="center", va="center", fontsize=8, color=shade)
    right.set_title("one error less scores higher (chance level 0.50)", fontsize=9)
    figure.colorbar(image, ax=right, shrink=0.9)
    _draw_best_of(curves, report)
    return figure


def _draw_best_of(axes: Axes, report: GradedReport) -> None:
    """How often the best of n images has no error, over n."""
    numbers = [int(number) for number in report.best_of_oracle]
    oracle = list(report.best_of_oracle.values())
    axes.plot(numbers, oracle, color="black", linewidth=1, linestyle="--", label="always right")
    axes.axhline(oracle[0], color="#888888", linewidth=1, linestyle=":", label="random scores")
    for score in report.scores:
        values = [score.best_of[str(number)].value for number in numbers]
        axes.plot(
            numbers,
            [float("nan") if v is None else v for v in values],
            marker="o",
            markersize=3,
            label=_name(score),
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("n")
    axes.set_title("the best of n images has no error", fontsize=9)
    axes.legend(fontsize=7, frameon=False)


def picture_png(report: GradedReport, dpi: int = 150) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture(report).savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def _name(score: GradedScore) -> str:
    return f"{score.metric} (baseline)" if score.baseline else score.metric
