"""Comparisons of image models: as terminal tables and as a web page with examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from croc.errors import InputError
from croc.images.comparison import MetricComparison, ModelComparison
from croc.images.prediction_powered import PoweredMean
from croc.rendering.formats import p_value, percent
from croc.rendering.images import value
from croc.rendering.trust import UNKNOWN
from croc.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

SIGNIFICANT = 0.05


def terminal(report: ModelComparison) -> list[RenderableType]:
    """The comparison for the terminal: systems and differences by metric, and how the metrics agree."""
    shown: list[RenderableType] = [
        Text(f"{counted(report.prompts, 'prompt')}, paired; {report.level:.0%} intervals")
    ]
    for comparison in (*report.metrics, *([report.labels] if report.labels else [])):
        shown += [
            Text(f"\n{_title(comparison, report)}", "bold"),
            _systems(comparison),
            _differences(comparison),
        ]
        if report.trust and comparison is not report.labels:
            shown.append(_trust(comparison.metric, report))
    shown += [Text(""), *(Text(line) for line in lines(report))]
    return shown


def _title(comparison: MetricComparison, report: ModelComparison) -> str:
    return f"{comparison.metric} (labels)" if comparison is report.labels else comparison.metric


def _systems(comparison: MetricComparison) -> Table:
    powered = any(system.powered for system in comparison.systems)
    table = Table(box=None, padding=(0, 1))
    extra = ("labels, with the metric", "", "labels alone", "") if powered else ()
    for heading in ("rank", "system", "mean", "", *extra):
        table.add_column(heading, justify="left" if heading == "system" else "right", no_wrap=True)
    for system in comparison.systems:
        cells = [str(system.rank or ""), system.system, value(system.mean), _ends(system.low, system.high)]
        table.add_row(*cells, *_powered(system.powered, powered))
    return table


def _differences(comparison: MetricComparison) -> Table:
    powered = any(difference.powered for difference in comparison.differences)
    table = Table(box=None, padding=(0, 1))
    extra = ("labels, with the metric", "", "labels alone", "", "labels saved") if powered else ()
    for heading in ("difference", "", "", "higher on", "adjusted p", *extra):
        table.add_column(heading, justify="left" if heading == "difference" else "right", no_wrap=True)
    for one in comparison.differences:
        cells = [
            f"{one.first} − {one.second}",
            value(one.difference),
            _ends(one.low, one.high),
            percent(one.wins),
        ]
        saved = (percent(one.powered.saved) if one.powered else "",) if powered else ()
        table.add_row(
            *cells, "" if one.p is None else p_value(one.p), *_powered(one.powered, powered), *saved
        )
    return table


TRUST = ("these prompts depend on", "prompts", "right with probability", "interval", "checks")
"""Columns of the measured trust in a metric."""


def trust_cells(metric: str, report: ModelComparison) -> list[tuple[str, ...]]:
    """For each property that the prompts depend on, how often a metric is right about it, or ``unknown``."""
    rows: list[tuple[str, ...]] = []
    for one in report.trust:
        chance, low, high = one.chance[metric], one.low[metric], one.high[metric]
        known = (
            (f"{chance:.2f}", "" if low is None else f"{low:.2f} … {high:.2f}")
            if chance is not None
            else None
        )
        checks = f"{one.checks[metric]:,}" if known else ""
        rows.append((one.property.replace("_", " "), f"{one.prompts:,}", *(known or (UNKNOWN, "")), checks))
    return rows


def _trust(metric: str, report: ModelComparison) -> Table:
    table = Table(box=None, padding=(0, 1))
    for heading in TRUST:
        table.add_column(heading, justify="left" if heading == TRUST[0] else "right", no_wrap=True)
    for cells in trust_cells(metric, report):
        table.add_row(*cells)
    return table


def _powered(found: PoweredMean | None, shown: bool) -> tuple[str, ...]:
    if not shown:
        return ()
    if found is None:
        return ("", "", "", "")
    alone = _ends(found.labels_low, found.labels_high)
    return value(found.value), _ends(found.low, found.high), value(found.labels_only), alone


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{value(low)} … {value(high)}"


def lines(report: ModelComparison) -> list[str]:
    """What can be said, as sentences."""
    text = []
    for comparison in report.metrics:
        best = [system.system for system in comparison.systems if system.rank == 1]
        if len(best) == 1:
            text.append(f"{comparison.metric}: {best[0]} is better than every other system.")
        elif best:
            text.append(f"{comparison.metric}: {', '.join(best)} are statistically tied for the first rank.")
    for names, tau in report.agreements.items():
        first, _, second = names.partition(" ~ ")
        text.append(f"{first} and {second} rank the systems with Kendall's tau-b {value(tau)}.")
    for metric, number in report.left_out.items():
        text.append(f"{metric}: {counted(number, 'prompt')} left out, because some system has no score.")
    if report.trust:
        text.append(
            "The probability to be right is that of a higher score for a correct image than for one that is "
            "wrong in the property, as measured on checks."
        )
    if report.labels:
        text.append(
            "'labels, with the metric' estimates the mean label of all prompts from those with a label and "
            "the metric (PPI++). It is valid whatever the metric's errors are, if these prompts are a random "
            "sample."
        )
    else:
        text.append("Without labels these are statements about metrics, not about people's judgement.")
    return text


def page(report: ModelComparison, table: pl.DataFrame, read: Callable[[str], bytes]) -> str:
    """A web page: the numbers, and for each pair of systems the images on which they differ most.

    Args:
        report: the comparison.
        table: the pairs, with ``image``.
        read: returns the content of an image by its name in the table.
    """
    from croc.rendering.fragments import thumbnail
    from croc.rendering.page import environment

    def images(prompt: str, system: str) -> dict[str, Any]:
        rows = table.filter((pl.col("prompt") == prompt) & (pl.col("system") == system))
        try:
            picture = thumbnail([read(rows["image"][0])])
        except (InputError, OSError):
            picture = None
        return {"system": system, "picture": picture}

    examples = {
        comparison.metric: [
            {
                "pair": (one.first, one.second),
                "prompts": [
                    (prompt, [images(prompt, one.first), images(prompt, one.second)])
                    for prompt in dict.fromkeys((one.most, one.least))
                ],
            }
            for one in comparison.differences
        ]
        for comparison in report.metrics
    }
    template = environment().get_template("comparison.html")
    return template.render(
        report=report,
        examples=examples,
        lines=lines(report),
        value=value,
        ends=_ends,
        title=_title,
        trust_columns=TRUST,
        trust_cells=trust_cells,
    )
