"""Rank agreement between benchmarks as terminal tables, as Markdown and as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from croc.rendering.formats import interval, p_value
from croc.transfer.comparison import SCOPES, Comparison, Scope, Transfer
from croc.transfer.metric_names import Metric, known_metrics
from croc.wording import DASH, counted, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

DPI = 160
_COLUMNS = (
    "first",
    "second",
    "metrics",
    "tau-b",
    "interval",
    "items alone",
    "p",
    "one left out",
    "conclusion",
)
_MOST_DRAWN = 40


def cells(comparison: Comparison) -> tuple[str, ...]:
    """The cells of a comparison: both sides, shared metrics, tau with interval, errors, p, conclusion."""
    share = DASH
    if comparison.error and comparison.item_error is not None:
        share = f"{min(comparison.item_error / comparison.error, 1) ** 2:.0%}"
    known = [value for value in comparison.without if value is not None]
    return (
        comparison.first.label,
        comparison.second.label,
        str(len(comparison.metrics)),
        signed(comparison.tau),
        interval(comparison.ci_low, comparison.ci_high) or DASH,
        share,
        p_value(comparison.p_adjusted),
        f"{signed(min(known))} to {signed(max(known))}" if known else DASH,
        comparison.conclusion,
    )


def transfer(found: Transfer) -> list[RenderableType]:
    """All comparisons for the terminal: a table per scope, and what was not compared."""
    shown: list[RenderableType] = []
    for scope, title in SCOPES.items():
        own = [one for one in found.comparisons if one.scope == scope]
        if not own:
            continue
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
        for name in _COLUMNS:
            left = name in ("first", "second", "conclusion")
            table.add_column(name, justify="left" if left else "right", no_wrap=name != "conclusion")
        for one in own:
            table.add_row(*map(Text, cells(one)), style="" if one.concluded else "dim")
        shown += [table, Text("")]
    shown += [Text(line) for line in lines(found)]
    return shown


def lines(found: Transfer) -> list[str]:
    """What the columns mean, which metrics are shared, and what was left out."""
    said = [
        f"tau-b: rank agreement of the shared metrics, −1 to 1. Interval: {found.level:.0%}, items and "
        f"metrics resampled {found.resamples:,} times; items alone: share of its variance that comes from "
        "the items. p: of independent rankings, adjusted over the rows of a table, and of a benchmark in the "
        "last one. One left out: tau without a metric."
    ]
    if found.match == "method":
        said.append("Metrics of one method with other weights count as shared.")
    for one in found.comparisons:
        if one.scope == "benchmarks" and one.metrics:
            said.append(f"{one.first.label} and {one.second.label} share {', '.join(one.metrics)}.")
        if one.scope == "benchmarks" and one.ambiguous:
            said.append(
                f"{one.first.label} and {one.second.label}: not matched, as one has several metrics of the "
                f"method: {', '.join(one.ambiguous)}."
            )
    said += [f"Only {one.benchmark} has {', '.join(one.names)}." for one in found.unmatched]
    if found.few_shared:
        said.append(
            f"{counted(found.few_shared, 'comparison')} of parts left out: they share fewer than six metrics."
        )
    return [*said, *found.notes]


def markdown(found: Transfer, scope: Scope) -> str:
    """The comparisons of a scope with enough metrics, for the guide."""
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---:|---:|---:|---:|---:|---:|---|"]
    rows += [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells(one))} |"
        for one in found.comparisons
        if one.scope == scope and one.concluded
    ]
    return "\n".join(rows) + "\n"


def markdown_shared(found: Transfer) -> str:
    """How many metrics every two benchmarks share, for the guide."""
    shared = {
        frozenset((one.first.benchmark, one.second.benchmark)): str(len(one.metrics))
        for one in found.comparisons
        if one.scope == "benchmarks"
    }
    names = list(found.signatures)
    rows = [f"| | {' | '.join(f'`{name}`' for name in names)} |", f"|---|{'---:|' * len(names)}"]
    for name in names:
        cells_of = (shared.get(frozenset((name, other)), "") if other != name else "" for other in names)
        rows.append(f"| `{name}` | {' | '.join(cells_of)} |")
    return "\n".join(rows) + "\n"


def markdown_metrics() -> str:
    """The table of metrics that several benchmarks have, or could be thought to have, for the guide."""
    rows = ["| metric | method | what it is | names |", "|---|---|---|---|"]
    names: dict[Metric, list[str]] = {}
    for (benchmark, name), metric in known_metrics().items():
        names.setdefault(metric, []).append(f"{benchmark}: `{name}`")
    for metric, places in names.items():
        rows.append(f"| `{metric.name}` | {metric.method} | {metric.description} | {', '.join(places)} |")
    return "\n".join(rows) + "\n"


def picture(found: Transfer) -> Figure:
    """Draw tau with its interval and with each metric left out, a row per comparison with enough metrics."""
    from matplotlib.figure import Figure as NewFigure

    drawn = [one for one in found.comparisons if one.concluded and one.tau is not None][:_MOST_DRAWN]
    figure = NewFigure(figsize=(8, 1.6 + 0.25 * max(len(drawn), 3)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="0.6", linewidth=1)
    for row, one in enumerate(drawn):
        colour = "#0b6e66" if one.p_adjusted is not None and one.p_adjusted < 0.05 else "0.45"
        if one.ci_low is not None and one.ci_high is not None:
            axis.plot([one.ci_low, one.ci_high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        known = [value for value in one.without if value is not None]
        axis.plot(known, [row] * len(known), "|", color=colour, markersize=9, alpha=0.5)
        axis.plot([one.tau or 0.0], [row], "o", color=colour, markersize=6)
    names = [f"{one.first.label} / {one.second.label} ({len(one.metrics)})" for one in drawn]
    axis.set_yticks(range(len(drawn)), names, fontsize=8)
    for label in axis.get_yticklabels():
        label.set_parse_math(False)  # a dollar in a name does not begin a formula
    axis.set_ylim(max(len(drawn), 1) - 0.4, -0.6)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel(
        f"Kendall's tau-b, {found.level:.0%} interval over items and metrics\nticks: one metric left out",
        fontsize=8,
    )
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    _bare(axis)
    if not drawn:
        axis.text(0, 0, "No two rankings share six metrics.", ha="center", va="center", fontsize=9)
    return figure


def _bare(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def picture_png(found: Transfer, dpi: int = DPI) -> bytes:
    """The picture as PNG bytes, the same for the same comparisons."""
    buffer = io.BytesIO()
    picture(found).savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
