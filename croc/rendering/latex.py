"""A Report as a LaTeX table."""

from __future__ import annotations

from croc.checks.schema import DIRECTIONS
from croc.rendering.formats import confidence
from croc.verdict.records import DIRECTION_NAMES
from croc.verdict.report import Report
from croc.wording import counted

_MOST_VALUES = 12
"""Groupings with more values do not fit on a page."""


def latex(report: Report) -> str:
    r"""The report as a ``booktabs`` table; the signature is in the caption.

    Returns:
        LaTeX source of a ``table`` float; needs ``\usepackage{booktabs}``.
    """
    groupings = {column: values for column, values in report.groupings.items() if len(values) <= _MOST_VALUES}
    spec = "l" + "r" * 5 + "".join("|" + "r" * len(values) for values in groupings.values())
    head = ["Metric", "Mean", *(DIRECTION_NAMES[direction].capitalize() for direction in DIRECTIONS)]
    head += [_escape(value.replace("_", " ")) for values in groupings.values() for value in values]
    lines = []
    for score in report.ranking:
        row = [_escape(score.metric), _interval(score.scaled, score.ci_low, score.ci_high)]
        row += [_number(report.scaled(score.metric, direction)) for direction in DIRECTIONS]
        for column, values in groupings.items():
            row += [_number(report.score(score.metric, column, value).scaled) for value in values]
        lines.append(" & ".join(row) + r" \\")
    mode = "published computation" if report.settings.paper else "default mode"
    caption = (
        f"Scaled accuracy ({report.protocol} protocol, {mode}): 0 is chance level, 1 is perfect; "
        f"{counted(report.checks, 'check')} of {counted(report.concepts, 'concept')}, "
        f"{confidence(report)} intervals. "
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
            rf"\caption{{{caption}\texttt{{\footnotesize {_escape(report.signature.short())}}}}}",
            r"\label{tab:croc}",
            r"\end{table}",
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "--" if value is None else f"${value:+.2f}$"


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
    "\n": " ",
}


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
