"""Results of a probe: as a terminal table, as a picture, and as a page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from croc.probe.report import GROUP, Counterexample, Finding, ProbeReport
from croc.rendering.formats import probability
from croc.verdict.intervals import Estimate
from croc.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

SHOWN = 12
"""Findings in the terminal's table."""

NAMED = 5
"""Candidates for the weakest property that are named; of more, their number is given."""


def terminal(report: ProbeReport, limit: int = SHOWN) -> list[RenderableType]:
    """The ranked findings, the counterexamples, and what the numbers mean."""
    shown: list[RenderableType] = [Text(line) for line in summary(report)]
    first = report.findings[:limit]
    title = f"weakest first, {len(first)} of {len(report.findings)} properties and groups"
    shown += [Text(""), _table(first, title)]
    for name, findings in report.details.items():
        shown += [Text(""), _table(findings[:5], f"inside {name}, weakest first")]
    for one in report.counterexamples:
        shown += [Text(""), *(Text(line) for line in counterexample_lines(one))]
    return [*shown, Text(""), *(Text(line) for line in notes(report))]


def _table(findings: tuple[Finding, ...], title: str) -> Table:
    table = Table(box=None, padding=(0, 1), title=title, title_justify="left", title_style="bold")
    for name in ("", "", "accuracy", "", "checks", ""):
        table.add_column(name, justify="right" if name in ("accuracy", "checks") else "left", no_wrap=True)
    for one in findings:
        certified = f"weak, certified after {counted(one.certified, 'check')}" if one.certified else ""
        table.add_row(
            one.kind,
            one.name,
            probability(one.accuracy.value),
            _interval(one.accuracy),
            str(one.checks),
            certified,
        )
    return table


def _interval(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"[{probability(estimate.low)}, {probability(estimate.high)}]"


def summary(report: ProbeReport) -> list[str]:
    """What was found, in sentences."""
    lines = [
        f"{report.metric}: {probability(report.accuracy.value)} of the verdicts on all properties are right "
        f"{_interval(report.accuracy)}, {counted(report.checks, 'check')}"
    ]
    weak = [one.name for one in report.weak]
    if weak:
        lines.append(f"weaker than the rest by more than {report.margin:g}: {', '.join(weak)}")
    else:
        lines.append(f"nothing is certified as weaker than the rest by more than {report.margin:g}")
    if len(report.candidates) == 1:
        lines.append(f"the weakest property is {report.candidates[0]}")
    else:
        named = f": {', '.join(report.candidates)}" if len(report.candidates) <= NAMED else ""
        lines.append(f"the weakest property is one of {len(report.candidates)} that are not excluded{named}")
    return lines


def counterexample_lines(one: Counterexample) -> list[str]:
    """A counterexample in sentences."""
    lines = [
        f"smallest failing check of {one.property_name} ({one.image}): {probability(one.passed)} of the "
        "verdicts are right",
        f"  {one.prompt} | {one.contrast_prompt}",
    ]
    if one.depends_on:
        lines.append(
            f"  it fails with {' and '.join(one.depends_on)}: with each other value that was tried the "
            "metric passes more"
        )
    for influence in one.influences:
        if 0 < influence.passed < influence.tried:
            lines.append(
                f"  {influence.what} {influence.value}: {influence.passed} of {influence.tried} others pass "
                "more"
            )
    return lines


def notes(report: ProbeReport) -> list[str]:
    """What the numbers mean, and what to know about them."""
    lines = [
        f"accuracy: mean of the verdicts in the four directions, 0.50 is chance. Each {report.level:.0%} "
        "interval holds at every moment of the search, so that it may stop or go on at any time.",
        f"weak: all certificates together are right with probability {report.level:.0%}.",
    ]
    if report.missing:
        lines.append(f"{counted(report.missing, 'check')} without a score.")
    return lines


# ---- A picture ----


def picture(report: ProbeReport) -> Figure:
    """Each property with its interval, the weakest at the top."""
    from matplotlib.figure import Figure

    findings = [one for one in report.findings if one.accuracy.value is not None]
    figure = Figure(figsize=(6.4, 1.2 + 0.24 * len(findings)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(reversed(findings)):
        colour = "#b3400a" if one.certified is not None else "#66717f"
        value, low, high = (
            float(end or 0) for end in (one.accuracy.value, one.accuracy.low, one.accuracy.high)
        )
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axes.plot(value, place, "o", color=colour, markersize=4)
    names = [f"{one.name} (group)" if one.kind == GROUP else one.name for one in reversed(findings)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color="#dfe4ea", linewidth=1, zorder=0)
    if report.accuracy.value is not None:
        axes.axvline(report.accuracy.value, color="#0b63b5", linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel("accuracy; grey line: chance, dashed: all properties, red: certified as weak", fontsize=8)
    axes.set_title(f"{report.metric}, {counted(report.checks, 'check')}", fontsize=9)
    return figure


def picture_png(report: ProbeReport, dpi: int = 150) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture(report).savefig(out, format="png", dpi=dpi)
    return out.getvalue()


# ---- A page ----

_STYLE = """
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1d2733; }
body { font: 15px/1.5 system-ui, sans-serif; }
table { border-collapse: collapse; margin: 0 0 1.5rem; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #dfe4ea; }
img { max-width: 100%; height: auto; }
"""


def page(report: ProbeReport, images: Mapping[str, bytes]) -> str:
    """All results as one HTML page that needs no other file.

    Args:
        report: the results.
        images: content of the pictures of the counterexamples, by their name in the report.
    """
    title = f"Weak properties of {html.escape(report.metric)}"
    body = [f"<h1>{title}</h1>", *(f"<p>{html.escape(line)}</p>" for line in summary(report))]
    body.append(_page_picture(picture_png(report, dpi=110), "accuracy of each property with its interval"))
    body += ["<h2>Smallest failing checks</h2>"] if report.counterexamples else []
    for one in report.counterexamples:
        lines = counterexample_lines(one)
        body.append("".join(f"<p>{html.escape(line.strip())}</p>" for line in lines))
        body.append(_page_picture(images[one.image], f"{one.prompt}; {one.contrast_prompt}"))
    for name, findings in report.details.items():
        body += [f"<h2>Inside {html.escape(name)}</h2>", _page_table(findings)]
    body += ["<h2>All properties</h2>", _page_table(report.findings)]
    body += [f"<p>{html.escape(line)}</p>" for line in [*notes(report), str(report.signature)]]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _page_picture(data: bytes, alt: str) -> str:
    source = base64.b64encode(data).decode()
    return f'<p><img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{source}"></p>'


def _page_table(findings: tuple[Finding, ...]) -> str:
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("what", "name", "accuracy", "interval", "checks", "weak")
    )
    rows = []
    for one in findings:
        cells = [html.escape(one.kind), html.escape(one.name), probability(one.accuracy.value)]
        cells += [_interval(one.accuracy), str(one.checks)]
        cells.append("" if one.certified is None else f"after {counted(one.certified, 'check')}")
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
