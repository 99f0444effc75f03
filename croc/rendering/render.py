"""A Report as a terminal table, LaTeX, a heatmap and a page. Nothing here computes a number."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from croc.verdict.records import Agreement, Dependence, Result, Score
    from croc.verdict.report import Report

LABELS = {
    "forward_text": "text →",
    "inverse_text": "text ←",
    "forward_image": "image →",
    "inverse_image": "image ←",
}
_ACROSS = 26  # values of a grouping in one row of the heatmap
_DPI = 160
_COLOURS = "BrBG"  # diverging, readable by the colour-blind, and no traffic light


def number(value: float | None, digits: int = 2) -> str:
    """A scaled accuracy as text, with its sign; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # no −0.00
    return f"{rounded:+.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """An interval as text; empty where there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def percent(share: float | None) -> str:
    """A share as text; a dash where there is none. Only a full share reads 100%."""
    if share is None:
        return "–"
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{share:.2%}"


def overall(report: Report) -> dict[tuple[str, str], Result]:
    """Results on all checks, averaged over text models, by (metric, direction)."""
    return {
        (result.metric, result.direction): result
        for result in report.results
        if result.group is None and result.text_model is None
    }


def groupings(report: Report) -> dict[str, list[str]]:
    """The columns broken down by, each with its values in order."""
    found: dict[str, dict[str, None]] = {}
    for score in report.scores:
        if score.group is not None and score.group_value is not None:
            found.setdefault(score.group, {})[score.group_value] = None
    return {column: list(values) for column, values in found.items()}


def terminal(report: Report) -> list[RenderableType]:
    """The report as rich renderables: the ranking, a table per grouping, findings, signature."""
    from rich.table import Table
    from rich.text import Text

    mode = "paper mode" if report.settings.paper else "default mode"
    title = f"Scaled accuracy, {report.protocol} protocol, {mode}: {report.n_checks} checks"
    table = Table(title=title, title_justify="left", caption="0 is chance, 1 perfect", caption_justify="left")
    for name in ("rank", "metric"):
        table.add_column(name, justify="right" if name == "rank" else "left", no_wrap=True)
    for name in ("mean", "95% interval" if report.settings.level == 0.95 else "interval", *LABELS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("all passed", justify="right")
    table.add_column("ties", justify="right")
    table.add_column("coverage", justify="right")
    results = overall(report)
    for score in _ranking(report):
        row = [results[score.metric, direction] for direction in DIRECTIONS]
        table.add_row(
            str(score.rank or ""),
            Text(f"{score.metric} (blind)" if score.blind else score.metric),
            Text(number(score.scaled), style=_style(score.scaled)),
            interval(score.ci_low, score.ci_high),
            *(Text(number(result.scaled), style=_style(result.scaled)) for result in row),
            percent(score.all_passed),
            percent(score.ties),
            percent(score.coverage),
        )
    parts: list[RenderableType] = [table]
    for column, values in groupings(report).items():
        parts.append(_group_table(report, column, values))
    for pair in report.dependences:
        parts += _dependence(pair)
    if report.findings:
        parts.append(Text("Findings", style="bold"))
        for finding in report.findings:
            p = f" (p = {finding.p:.2g})" if finding.p is not None else ""
            parts.append(Text(f"• {finding.text}{p}"))
    parts.append(Text(report.signature, style="dim"))
    return parts


def _ranking(report: Report) -> list[Score]:
    return [score for score in report.scores if score.group is None]


def _group_table(report: Report, column: str, values: Sequence[str]) -> RenderableType:
    """Metrics across while they fit, values down: there may be a hundred of them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Mean over directions by {column}"), title_justify="left")
    table.add_column(Text(column), no_wrap=True)
    table.add_column("checks", justify="right")
    for metric in report.metrics:
        table.add_column(Text(metric), justify="right")
    cells = {(score.metric, score.group_value): score for score in report.scores if score.group == column}
    for value in values:
        scores = [cells.get((metric, value)) for metric in report.metrics]
        shown = [score.scaled if score else None for score in scores]
        table.add_row(
            Text(value),
            str(max(score.n for score in scores if score)),
            *(Text(number(v), style=_style(v)) for v in shown),
        )
    return table


def _dependence(pair: Dependence) -> list[RenderableType]:
    """Two generators side by side, a metric a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("metric", no_wrap=True)
    for name in (pair.first, pair.second, "difference", "interval", "p (Holm)"):
        table.add_column(Text(name), justify="right")
    for each in pair.differences:
        table.add_row(
            Text(each.metric),
            *(Text(number(value), style=_style(value)) for value in (each.first, each.second)),
            number(each.difference),
            interval(each.ci_low, each.ci_high),
            "" if each.p_holm is None else f"{each.p_holm:.2g}",
        )
    question = f"Does the verdict depend on the {pair.column}? {comparison_of(pair)}"
    ranks = rank_agreement_of(pair)
    return [Text(question, style="italic"), table, *([Text(ranks)] if ranks else [])]


def comparison_of(pair: Dependence) -> str:
    """On what two generators are compared, as text."""
    on = f"the same {pair.concepts} specs, paired" if pair.paired else "different specs, not paired"
    return f"{pair.first} against {pair.second}, on {on}"


def rank_agreement_of(pair: Dependence) -> str:
    """Whether two generators rank the metrics alike, as text; empty with a single metric."""
    if pair.tau is None:
        return ""
    ends = "" if pair.tau_low is None else f" {interval(pair.tau_low, pair.tau_high)}"
    return f"Rankings of {len(pair.differences)} metrics: Kendall tau-b {number(pair.tau)}{ends}"


def _style(value: float | None) -> str:
    if value is None:
        return "dim"
    return "red" if round(value, 2) < 0 else "green" if value >= 0.5 else ""


# ---- LaTeX ----


def latex(report: Report) -> str:
    r"""The report as a ``booktabs`` table; the signature stands in the caption.

    Returns:
        LaTeX source of a ``table`` float; needs ``\usepackage{booktabs}``.
    """
    results = overall(report)
    columns = {column: values for column, values in groupings(report).items() if len(values) <= 12}
    spec = "l" + "r" * 5 + "".join("|" + "r" * len(values) for values in columns.values())
    head = ["Metric", "Mean", *(_tex_direction(direction) for direction in DIRECTIONS)]
    head += [_escape(value.replace("_", " ")) for values in columns.values() for value in values]
    cells = {(s.metric, s.group, s.group_value): s for s in report.scores}
    lines = []
    for score in _ranking(report):
        row = [_escape(score.metric), _tex_interval(score.scaled, score.ci_low, score.ci_high)]
        row += [_tex_number(results[score.metric, direction].scaled) for direction in DIRECTIONS]
        for column, values in columns.items():
            for value in values:
                cell = cells.get((score.metric, column, value))
                row.append(_tex_number(cell.scaled if cell else None))
        lines.append(" & ".join(row) + r" \\")
    mode = "published computation" if report.settings.paper else "default mode"
    caption = (
        f"Scaled accuracy ({report.protocol} protocol, {mode}): 0 is chance, 1 is perfect; {report.n_checks} "
        f"checks of {report.n_concepts} concepts, {report.settings.level:.0%} intervals, concepts resampled. "
    ).replace("%", r"\%")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{caption}\texttt{{\footnotesize {_escape(report.signature)}}}}}",
            r"\label{tab:croc}",
            r"\end{table}",
            "",
        ]
    )


def _tex_direction(direction: str) -> str:
    way, what = direction.split("_")
    arrow = r"$\rightarrow$" if way == "forward" else r"$\leftarrow$"
    return f"{what.capitalize()} {arrow}"


def _tex_number(value: float | None) -> str:
    return "--" if value is None else f"${value:+.2f}$"


def _tex_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _tex_number(value)
    return rf"${value:+.2f}$ {{\scriptsize$[{low:+.2f}, {high:+.2f}]$}}"


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after the end of a row, a bracket or a star would be its argument
    "*": "{*}",
    "\n": " ",
}


def _escape(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


# ---- Heatmap ----


def heatmap(report: Report) -> Figure:
    """Metrics down, directions and the values of each grouping across; scaled accuracy as colour."""
    from matplotlib.figure import Figure as NewFigure

    results = overall(report)
    ranking = _ranking(report)
    panels: list[tuple[str, list[str], list[list[float | None]]]] = []
    directions = [[results[s.metric, d].scaled for d in DIRECTIONS] + [s.scaled] for s in ranking]
    panels.append(("direction", [*LABELS.values(), "mean"], directions))
    cells = {(s.metric, s.group, s.group_value): s.scaled for s in report.scores}
    for column, values in groupings(report).items():
        names = [value.replace("_", " ") for value in values]
        for begin in range(0, len(values), _ACROSS):
            some = slice(begin, begin + _ACROSS)
            found = [[cells.get((s.metric, column, value)) for value in values[some]] for s in ranking]
            panels.append((column if begin == 0 else f"{column}, continued", names[some], found))
    beside = len(panels) > 1 and len(panels[1][1]) <= 10  # a short grouping fits beside the directions
    rows = [panels[:2], *([panel] for panel in panels[2:])] if beside else [[panel] for panel in panels]
    width = max(sum(0.62 * len(panel[1]) + 0.5 for panel in row) for row in rows) + 2.4
    height = sum(0.42 * len(ranking) + 1.6 for _ in rows)
    figure = NewFigure(figsize=(min(max(width, 6.5), 40), height), layout="constrained")
    grids = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for grid, row in zip(grids, rows, strict=True):
        image: Any = None
        axes = grid.subplots(1, len(row), squeeze=False, width_ratios=[len(panel[1]) for panel in row])[0]
        for k, (axis, (title, names, cell_values)) in enumerate(zip(axes, row, strict=True)):
            data = [[float("nan") if v is None else v for v in line] for line in cell_values]
            image = axis.imshow(data, cmap=_COLOURS, vmin=-1, vmax=1, aspect="auto")
            axis.set_title(f"by {title}", fontsize=10, parse_math=False)
            turned = any(len(name) > 8 for name in names)
            rotation, align = (35, "right") if turned else (0, "center")
            axis.set_xticks(range(len(names)), names, fontsize=8, rotation=rotation, ha=align)
            labels = [f"{s.metric} (blind)" if s.blind else s.metric for s in ranking] if k == 0 else []
            axis.set_yticks(range(len(labels)), labels, fontsize=9)
            for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
                label.set_parse_math(False)  # a name with a dollar is no formula
            axis.tick_params(length=0)
            for spine in axis.spines.values():
                spine.set_visible(False)
            for y, line in enumerate(cell_values):
                for x, value in enumerate(line):
                    ink = "white" if value is not None and abs(value) > 0.65 else "black"
                    axis.text(x, y, number(value), ha="center", va="center", fontsize=8, color=ink)
        bar = grid.colorbar(image, ax=list(axes), shrink=0.8, pad=0.01)
        bar.set_label("scaled accuracy", fontsize=9)
        bar.outline.set_visible(False)
    figure.supxlabel(
        report.signature.replace("|", " | "), fontsize=5.5, color="0.4", wrap=True, parse_math=False
    )
    return figure


def heatmap_png(report: Report, dpi: int = _DPI) -> bytes:
    """The heatmap as PNG bytes, the same for the same report."""
    buffer = io.BytesIO()
    heatmap(report).savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


# ---- Page ----


def environment() -> Environment:
    """Jinja with the templates and the words that every page shares; everything is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    made = Environment(
        loader=PackageLoader("croc.rendering", "templates"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
    )
    made.globals |= {
        "number": number,
        "interval": interval,
        "percent": percent,
        "labels": LABELS,
        "directions": DIRECTIONS,
        "comparison_of": comparison_of,
        "rank_agreement_of": rank_agreement_of,
    }
    return made


def view(report: Report) -> dict[str, Any]:
    """What the template of a verdict reads: the records of a report by their places on the page."""
    picture = heatmap_png(report)
    return {
        "report": report,
        "ranking": _ranking(report),
        "results": overall(report),
        "groupings": groupings(report),
        "cells": {(s.metric, s.group, s.group_value): s for s in report.scores},
        "picture": base64.b64encode(picture).decode(),
        "width": int.from_bytes(picture[16:20], "big") * 100 // _DPI,  # as PNG's first chunk says
    }


def html(report: Report, *, extra: Sequence[tuple[str, str]] = (), others: Sequence[Report] = ()) -> str:
    """The report as one self-contained page, light and dark.

    Args:
        report: what the page is about.
        extra: further sections, (heading, HTML that is already safe).
        others: reports on other benchmarks, shown below on the same page.
    """
    views = [view(each) for each in (report, *others)]
    return environment().get_template("report.html").render(views=views, extra=extra)


def agreement_lines(agreements: Sequence[Agreement]) -> list[str]:
    """Rank agreement as sentences."""
    lines = []
    for one in agreements:
        where = f" on {one.group_value}" if one.group_value else ""
        tau = "undefined" if one.tau is None else f"{one.tau:.2f} {interval(one.ci_low, one.ci_high)}"
        lines.append(f"Rankings of {len(one.metrics)} metrics{where}: Kendall tau-b {tau}")
    return lines


def write_all(report: Report, folder: Path, name: str = "report", **page: Any) -> list[Path]:
    """Write JSON, LaTeX, the heatmap and the page into a folder.

    Returns:
        The files written: ``NAME.json``, ``NAME.tex``, ``NAME.png``, ``NAME.html``.
    """
    from croc.storage.files import atomic

    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, bytes] = {
        ".json": report.to_json().encode(),
        ".tex": latex(report).encode(),
        ".png": heatmap_png(report),
        ".html": html(report, **page).encode(),
    }
    paths = []
    for suffix, data in made.items():
        path = folder / f"{name}{suffix}"
        with atomic(path) as temporary:
            temporary.write_bytes(data)
        paths.append(path)
    return paths
