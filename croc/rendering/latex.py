"""A Report as a LaTeX table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from croc.checks.schema import DIRECTIONS
from croc.rendering.formats import confidence, text_model_sentences
from croc.verdict.published import AVERAGE, CategoryPanel, SubsetTable, category_panels, subset_table
from croc.verdict.records import DIRECTION_NAMES
from croc.verdict.report import Report
from croc.wording import counted

_MOST_VALUES = 12
"""Groupings with more values do not fit on a page."""


def latex(report: Report) -> str:
    r"""The report as a ``booktabs`` table; the signature is in the caption.

    In paper mode the table has the layout of the paper, see :mod:`croc.verdict.published`; other columns that
    the results are broken down by follow in a table of their own.

    Returns:
        LaTeX source of one or two ``table`` floats; needs ``\usepackage{booktabs}``.
    """
    groupings = {column: values for column, values in report.groupings.items() if len(values) <= _MOST_VALUES}
    if table := subset_table(report):
        published, shown = _by_subset(table), "subset"
    elif panels := category_panels(report):
        published, shown = _by_category(panels), "category"
    else:
        return _float(report, *_by_metric(report, groupings))
    others = {column: values for column, values in groupings.items() if column != shown}
    more = "\n" + _float(report, *_by_metric(report, others), label="tab:croc-groups") if others else ""
    return _float(report, *published) + more


def _by_metric(
    report: Report, groupings: Mapping[str, Sequence[str]]
) -> tuple[str, list[str], list[str], str]:
    """A row per metric: mean, directions, and the values of the groupings."""
    spec = "l" + "r" * 5 + "".join("|" + "r" * len(values) for values in groupings.values())
    head = ["Metric", "Mean", *(DIRECTION_NAMES[direction].capitalize() for direction in DIRECTIONS)]
    head += [_name(value) for values in groupings.values() for value in values]
    rows = []
    for score in report.ranking:
        row = [_escape(score.metric), _interval(score.scaled, score.ci_low, score.ci_high)]
        row += [_number(report.scaled(score.metric, direction)) for direction in DIRECTIONS]
        for column, values in groupings.items():
            row += [_number(report.score(score.metric, column, value).scaled) for value in values]
        rows.append(_row(row))
    return spec, [_row(head)], rows, f"{confidence(report)} intervals. "


def _by_subset(table: SubsetTable) -> tuple[str, list[str], list[str], str]:
    """The table of syn: a row per direction and subset, a column per metric, the averages last."""
    rows = []
    for number, ((direction, subset), values) in enumerate(zip(table.cells, table.values, strict=True)):
        first = number == 0 or table.cells[number - 1][0] != direction
        if first and number:
            rows.append(r"\addlinespace")
        label = DIRECTION_NAMES[direction].capitalize() if first else ""
        best = (
            max((value for value in values if value is not None), default=0.0) - 1e-9
        )  # equal up to rounding
        cells = [_number(value, 3, bold=value is not None and value >= best) for value in values]
        rows.append(_row([label, _name(subset), *cells]))
    rows += [r"\midrule", _row([r"\textbf{Average}", "", *(_number(value, 3) for value in table.average)])]
    head = [_row(["Direction", "Subset", *map(_escape, table.metrics)])]
    note = "Average is the mean over the rows; the best metric of a row is bold. "
    return "ll|" + "r" * len(table.metrics), head, rows, note


def _by_category(panels: Sequence[CategoryPanel]) -> tuple[str, list[str], list[str], str]:
    """The heatmaps of hum as numbers: text directions above image directions, metrics × categories."""
    columns = panels[0].categories
    rows = []
    for number, panel in enumerate(panels):
        heading = rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{panel.title.capitalize()}}}}}"
        rows += [*([r"\midrule"] if number else []), rf"{heading} \\"]
        lines = [
            _row([_escape(metric), *map(_number, values)])
            for metric, values in zip(panel.metrics, panel.values, strict=True)
        ]
        rows += [*lines[:-1], r"\addlinespace", lines[-1]]
    note = (
        "A number is the mean of a direction and its inverse; "
        f"{AVERAGE} is the mean over categories, and over metrics. "
    )
    return "l" + "r" * (len(columns) - 1) + "|r", [_row(["Metric", *map(_name, columns)])], rows, note


def _float(
    report: Report,
    spec: str,
    head: Sequence[str],
    rows: Sequence[str],
    note: str,
    *,
    label: str = "tab:croc",
) -> str:
    """A ``table`` float of these rows, with a caption that says what was computed."""
    mode = "published computation" if report.settings.paper else "default mode"
    sentences = (
        f"Scaled accuracy ({report.protocol} protocol, {mode}): 0 is chance level, 1 is perfect; "
        f"{counted(report.checks, 'check')} of {counted(report.concepts, 'concept')}. {note}"
    )
    sentences += "".join(f"{sentence} " for sentence in text_model_sentences(report))
    caption = rf"{_escape(sentences)}\texttt{{\footnotesize {_escape(report.signature.short())}}}"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            *head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _name(value: str) -> str:
    return _escape(value.replace("_", " "))


def _number(value: float | None, digits: int = 2, *, bold: bool = False) -> str:
    if value is None:
        return "--"
    number = f"{round(value, digits) + 0.0:+.{digits}f}"  # no -0.00
    return rf"$\mathbf{{{number}}}$" if bold else f"${number}$"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return _number(value)
    return rf"${value:+.2f}$ {{\scriptsize$[{low:+.2f}, {high:+.2f}]$}}"


_ESCAPES = {
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
    "×": r"$\times$",
    "−": "$-$",
    "\n": " ",
}


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
