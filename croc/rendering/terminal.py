"""A Report as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from croc.checks.schema import DIRECTIONS
from croc.rendering.formats import (
    CEILING_COLUMNS,
    POSITION_BIAS,
    adjusted_p,
    ceiling_cells,
    ceiling_lines,
    ceiling_mean,
    cell,
    cell_interval,
    confidence,
    correlation_lines,
    count,
    describe_comparison,
    describe_correction,
    describe_rank_agreement,
    further_columns,
    interval,
    metric_label,
    mode,
    p_value,
    text_model_sentences,
    tone,
)
from croc.verdict.records import (
    DIRECTION_NAMES,
    FEW_CHECKS,
    Dependence,
    PositionBias,
    Score,
    display_columns,
)
from croc.verdict.report import Report
from croc.verdict.statistics import Correction
from croc.wording import counted, signed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from croc.ratings.records import Correlations
    from croc.verdict.ceilings import Ceilings
    from croc.verdict.changes import Changes
    from croc.verdict.planning import Plan, PlannedGroup

_STYLES = {"good": "green", "bad": "red", "": ""}


def terminal(report: Report) -> list[RenderableType]:
    """The report as rich renderables: the ranking, a table per grouping, findings."""
    from rich.text import Text

    parts: list[RenderableType] = [_ranking(report)]
    parts += _position_biases(report)
    for column in report.groupings:
        parts += _grouping(report, column)
    for pair in report.dependences:
        parts += _dependence(pair, report.settings.correction)
    parts += [Text(sentence) for sentence in text_model_sentences(report)]
    if report.findings:
        parts.append(Text("Findings", style="bold"))
        if report.settings.correction != "holm":
            parts.append(Text(describe_correction(report.settings.correction)))
        for finding in report.findings:
            p = "" if finding.p is None else f" (p = {p_value(finding.p)})"
            parts.append(Text(f"• {finding.text}{p}"))
    return parts


def _ranking(report: Report) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    checks = counted(report.checks, "check")
    table = Table(
        title=f"Scaled accuracy, {report.protocol} protocol, {mode(report)}: {checks}",
        title_justify="left",
        caption="0 is chance level, 1 is perfect",
        caption_justify="left",
    )
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for name in ("mean", f"{confidence(report)} interval", *DIRECTION_NAMES.values()):
        table.add_column(name, justify="right", no_wrap=True)
    further = further_columns(Score)
    for column in further.values():
        table.add_column(column.label, justify="right")
    for score in report.ranking:
        table.add_row(
            str(score.rank or ""),
            Text(metric_label(report, score.metric)),
            _number(score.scaled),
            interval(score.ci_low, score.ci_high),
            *(_number(report.scaled(score.metric, direction)) for direction in DIRECTIONS),
            *(cell(score, name) for name in further),
        )
    return table


def _position_biases(report: Report) -> list[RenderableType]:
    """How often pairwise judges follow the position: a row per judge and what it compared."""
    from rich.table import Table
    from rich.text import Text

    if not report.position_biases:
        return []
    table = Table(
        title="Position bias of pairwise judges",
        title_justify="left",
        caption=POSITION_BIAS,
        caption_justify="left",
    )
    table.add_column("judge", no_wrap=True)
    table.add_column("compared", no_wrap=True)
    columns = display_columns(PositionBias)
    for name in (
        *(columns[name].label for name in ("comparisons", "bias")),
        f"{confidence(report)} interval",
        columns["first"].label,
    ):
        table.add_column(name, justify="right")
    for bias in report.position_biases:
        cells = [
            cell(bias, "comparisons"),
            cell(bias, "bias"),
            cell_interval(bias, "bias"),
            cell(bias, "first"),
        ]
        table.add_row(Text(bias.metric), bias.compared, *cells)
    return [table]


def _grouping(report: Report, column: str) -> list[RenderableType]:
    """Metrics across and values down; values of few checks are counted, but for the published computation."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Mean over the directions by {column}"), title_justify="left")
    table.add_column(Text(column), no_wrap=True)
    table.add_column("checks", justify="right")
    for metric in report.metrics:
        table.add_column(Text(metric), justify="right")
    few = []
    for value in report.groupings[column]:
        scores = [report.score(metric, column, value) for metric in report.metrics]
        largest = max(score.n for score in scores)
        if largest < FEW_CHECKS and not report.settings.paper:
            few.append(value)
        else:
            table.add_row(Text(value), count(largest), *(_with_interval(score) for score in scores))
    shown: list[RenderableType] = [table] if table.row_count else []
    if few:
        named = ", ".join(few[:6]) + (f" and {len(few) - 6} more" if len(few) > 6 else "")
        left_out = f"Fewer than {FEW_CHECKS} checks, not shown by {column}: {named}."
        shown.append(Text(left_out, style="dim"))
    return shown


def _dependence(pair: Dependence, correction: Correction) -> list[RenderableType]:
    """The results of each metric for two generators."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("metric", no_wrap=True)
    for name in (pair.first, pair.second, "difference", "interval", adjusted_p(correction)):
        table.add_column(Text(name), justify="right")
    for difference in pair.differences:
        table.add_row(
            Text(difference.metric),
            _number(difference.first),
            _number(difference.second),
            signed(difference.difference),
            interval(difference.ci_low, difference.ci_high),
            p_value(difference.p_adjusted),
        )
    question = Text(
        f"Do the results depend on the {pair.column}? {describe_comparison(pair)}", style="italic"
    )
    ranks = describe_rank_agreement(pair)
    return [question, table, *([Text(ranks)] if ranks else [])]


def changes(found: Changes) -> list[RenderableType]:
    """The changes between two versions of a metric: a row per group."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Mean scaled accuracy, new against old", title_justify="left")
    table.add_column("checks of", no_wrap=True)
    for name in ("checks", "old", "new", "difference", "interval", adjusted_p(found.correction), ""):
        table.add_column(name, justify="right", no_wrap=True)
    for change in found.changes:
        name = "all" if change.group is None else f"{change.group} {change.group_value}"
        outcome = "better" if change.better else "worse" if change.worse else ""
        table.add_row(
            Text(name),
            count(change.checks),
            signed(change.old),
            signed(change.new),
            signed(change.difference),
            interval(change.ci_low, change.ci_high),
            p_value(change.p_adjusted),
            Text(outcome, style={"better": "green", "worse": "red"}.get(outcome, "")),
        )
    note = [Text(describe_correction(found.correction))] if found.correction != "holm" else []
    return [table, *note]


def plan(found: Plan) -> list[RenderableType]:
    """The size of a benchmark: a row per category, one for all checks, and what it was computed from."""
    from rich.table import Table
    from rich.text import Text

    design = found.design
    title = "Checks that detect" if found.difference is not None else "What the checks detect"
    goal = "" if found.difference is None else f" a difference of {found.difference:g} in each category"
    table = Table(title=f"{title}{goal}", title_justify="left")
    table.add_column("category", no_wrap=True)
    for name in ("checks", "concepts", "detectable difference", f"{design.level:.0%} interval"):
        table.add_column(name, justify="right", no_wrap=True)
    first = found.groups[0]
    if len(found.groups) > 1 and not found.pilot:  # they are all alike
        table.add_row(f"each of {len(found.groups)}", *_planned(first))
    else:
        for group in found.groups:
            table.add_row(Text(group.name or ""), *_planned(group))
    table.add_section()
    table.add_row("all checks", *_planned(found.total))
    categories = counted(len(found.groups), "category", "categories")
    lines = [
        f"Detected with probability {design.power:g} at level {design.alpha:g}, adjusted over "
        f"{counted(first.tests, 'comparison')} ({counted(design.metrics, 'metric')}, {categories}), and over "
        f"{found.total.tests:,} on all checks.",
        *found.basis_lines(),
    ]
    return [table, *map(Text, lines)]


def _planned(group: PlannedGroup) -> tuple[str, ...]:
    detectable = "–" if group.detectable is None else f"{group.detectable:.3f}"
    half_width = "–" if group.half_width is None else f"± {group.half_width:.3f}"
    return count(group.checks), count(group.concepts), detectable, half_width


def ceilings(found: Ceilings) -> list[RenderableType]:
    """The ceilings of a dataset: all numbers on all checks, then the means by group."""
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    table = Table(
        title=f"Highest scaled accuracy: {counted(found.overall[0].checks, 'check')}", title_justify="left"
    )
    table.add_column("scorer", no_wrap=True)
    for name in CEILING_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for ceiling in found.overall:
        table.add_row(ceiling.scorer, *ceiling_cells(ceiling))
    parts.append(table)
    for column, values in found.groupings.items():
        table = Table(title=Text(f"Highest mean over the directions by {column}"), title_justify="left")
        table.add_column(Text(column), no_wrap=True)
        for name in ("checks", *(ceiling.scorer for ceiling in found.overall)):
            table.add_column(name, justify="right")
        for value, of_value in values.items():
            means = (ceiling_mean(ceiling) for ceiling in of_value)
            table.add_row(Text(value), count(of_value[0].checks), *means)
        parts.append(table)
    parts += [Text(line) for line in ceiling_lines(found)]
    return parts


def _with_interval(score: Score) -> Text:
    from rich.text import Text

    if score.of_few_checks:
        return Text(signed(score.scaled), style="dim")
    ends = "" if score.ci_low is None else f" {interval(score.ci_low, score.ci_high)}"
    return _number(score.scaled) + Text(ends, style="dim")


def _number(value: float | None) -> Text:
    from rich.text import Text

    return Text(signed(value), style="dim" if value is None else _STYLES[tone(value)])


def correlations(report: Correlations) -> list[RenderableType]:
    """Correlations with ratings: a table per column of ratings and part, notes."""
    from rich.table import Table
    from rich.text import Text

    from croc.ratings.records import KINDS

    parts: list[RenderableType] = []
    for human in dict.fromkeys(result.human for result in report.results):
        for by, value in report.parts:
            results = [
                result
                for result in report.results
                if (result.human, result.by, result.by_value) == (human, by, value)
            ]
            kinds = [kind for kind in KINDS if any(result.kind == kind for result in results)]
            cells = {(result.metric, result.kind): result for result in results}
            part = "" if by is None else f", {by} {value}"
            table = Table(title=Text(f"Correlation with {human}{part}"), title_justify="left")
            for name in ("rank", "metric", *(KINDS[kind] for kind in kinds), "items"):
                table.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
            for row in (result for result in results if result.kind == kinds[0]):
                coefficients = (cells[row.metric, kind] for kind in kinds)
                table.add_row(
                    str(row.rank or ""),
                    Text(row.metric),
                    *(
                        _coefficient(coefficient.value, coefficient.ci_low, coefficient.ci_high)
                        for coefficient in coefficients
                    ),
                    count(row.n),
                )
            parts.append(table)
    parts += [Text(line) for line in correlation_lines(report)]
    parts.append(
        Text("Metrics with the same rank are statistically tied in accuracy with ties.", style="dim")
    )
    return parts


def _coefficient(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    limits = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return f"{value:.3f}{limits}".replace("-", "−")
