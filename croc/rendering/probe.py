"""Results of a probe: as a terminal table, as a picture, and as a page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from croc.probe.report import GROUP, Counterexample, Finding, ProbeReport
from croc.rendering.formats import data_uri, probability, share_cells
from croc.rendering.page import findings_page, findings_section
from croc.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

SHOWN = 12
"""Findings in the terminal's table."""

NOUNS = 8
"""Nouns and frames there."""

NAMED = 5
"""Candidates for the weakest property that are named; of more, their number is given."""

_RESULTS = "probe_results.html"


def terminal(report: ProbeReport, limit: int = SHOWN) -> list[RenderableType]:
    """The ranked findings, the counterexamples, and what the numbers mean."""
    shown: list[RenderableType] = [Text(line) for line in summary(report)]
    first = report.findings[:limit]
    title = f"weakest first, {len(first)} of {len(report.findings)} properties and groups"
    shown += [Text(""), _table(first, title)]
    if report.nouns:
        shown += [Text(""), _table(report.nouns[:NOUNS], "nouns and frames, weakest first")]
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
            *share_cells(one.accuracy),
            str(one.checks),
            certified,
        )
    return table


def summary(report: ProbeReport) -> list[str]:
    """What was found, in sentences."""
    lines = [
        f"{report.metric}: {' '.join(share_cells(report.accuracy))} of the verdicts on all properties are "
        f"right, {counted(report.checks, 'check')}"
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
        "weak: all certificates of properties and groups together are right with probability "
        f"{report.level:.0%}; those inside a property, and the candidates, each have their own "
        f"{report.level:.0%}.",
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


def page(report: ProbeReport, images: Mapping[str, bytes]) -> str:
    """All results as one HTML page that needs no other file.

    Args:
        report: the results.
        images: content of the pictures of the counterexamples, by their name in the report.
    """
    title = f"Weak properties of {report.metric}"
    return findings_page(title, title, summary(report), _RESULTS, _shown(report, images))


def section(report: ProbeReport, images: Mapping[str, bytes]) -> str:
    """The results as a section of another page: HTML that is safe.

    Args:
        report: the results.
        images: as of :func:`page`; counterexamples without a picture are left out.
    """
    return findings_section(summary(report), _RESULTS, _shown(report, images))


def _shown(report: ProbeReport, images: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "report": report,
        "picture": data_uri(picture_png(report, dpi=110), "image/png"),
        "examples": [
            (one, counterexample_lines(one), data_uri(images[one.image], "image/png"))
            for one in report.counterexamples
            if one.image in images
        ],
        "notes": notes(report),
        "share_cells": share_cells,
    }
