"""A Report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from croc.checks.schema import DIRECTIONS
from croc.rendering import formats
from croc.rendering.heatmap import heatmap_png
from croc.rendering.latex import latex
from croc.verdict.published import category_panels
from croc.verdict.records import DIRECTION_NAMES, FEW_CHECKS, PositionBias, Result, Score, display_columns
from croc.verdict.report import Report
from croc.wording import counted, signed

if TYPE_CHECKING:
    from jinja2 import Environment

    from croc.verdict.ceilings import Ceilings


def environment() -> Environment:
    """Jinja with the templates and the formats that all pages share; everything is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    made = Environment(
        loader=PackageLoader("croc.rendering", "templates"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
    )
    made.globals |= {
        "adjusted_p": formats.adjusted_p,
        "cell": formats.cell,
        "checks_title": formats.checks_title,
        "cell_interval": formats.cell_interval,
        "group_label": formats.group_label,
        "heat": formats.heat,
        "values_last": formats.values_last,
        "describe_comparison": formats.describe_comparison,
        "describe_correction": formats.describe_correction,
        "count": formats.count,
        "counted": counted,
        "directions": DIRECTIONS,
        "interval": formats.interval,
        "labels": DIRECTION_NAMES,
        "confidence": formats.confidence,
        "few_checks": FEW_CHECKS,
        "metric_label": formats.metric_label,
        "number": signed,
        "p_value": formats.p_value,
        "percent": formats.percent,
        "probability": formats.probability,
        "describe_rank_agreement": formats.describe_rank_agreement,
        "result_columns": display_columns(Result),
        "score_columns": formats.further_columns(Score),
        "text_model_sentences": formats.text_model_sentences,
        "position_bias": formats.POSITION_BIAS,
        "bias_columns": display_columns(PositionBias),
        "tone": formats.tone,
    }
    return made


def findings_page(
    title: str, heading: str, lead: Sequence[str], results: str, shown: Mapping[str, Any]
) -> str:
    """The page of a command that examines metrics; it needs no other file.

    Args:
        title: of the page.
        heading: what the page answers.
        lead: sentences below it.
        results: name of the template of its results, which :func:`findings_section` takes, too.
        shown: what that template shows.
    """
    template = environment().get_template("findings.html")
    return template.render(title=title, heading=heading, lead=lead, results=results, level=2, **shown)


def findings_section(lead: Sequence[str], results: str, shown: Mapping[str, Any]) -> str:
    """The same results as a section of another page: safe HTML. Arguments as of :func:`findings_page`."""
    first = Markup("").join(Markup("<p>{}</p>").format(line) for line in lead)
    return first + Markup(environment().get_template(results).render(level=3, **shown))


@cache
def _templates() -> Environment:
    return environment()


def results_html(report: Report) -> str:
    """The results of a report as a fragment of HTML: tables with the colours of the heatmap.

    A row is a group and a column a metric, so that the page is as wide as there are metrics.
    """
    return _templates().get_template("results.html").render(report=report, panels=category_panels(report))


def ceilings_html(ceilings: Ceilings) -> str:
    """Ceilings on all checks and by group as a fragment of HTML."""
    rendered: str = (
        _templates()
        .get_template("ceilings.html")
        .render(
            ceilings=ceilings,
            columns=formats.CEILING_COLUMNS,
            cells=formats.ceiling_cells,
            mean=formats.ceiling_mean,
            lines=formats.ceiling_lines(ceilings),
        )
    )
    return rendered


def page(report: Report, *, extra: Sequence[tuple[str, str]] = (), others: Sequence[Report] = ()) -> str:
    """The report as one self-contained page, light and dark.

    Args:
        report: what the page is about.
        extra: further sections, (heading, HTML that is already safe).
        others: reports on other benchmarks, shown below on the same page.
    """
    fragments = [results_html(of_benchmark) for of_benchmark in (report, *others)]
    return _templates().get_template("report.html").render(results=fragments, extra=extra)


def write_all(report: Report, folder: Path, name: str = "report", **more: Any) -> list[Path]:
    """Write JSON, LaTeX, the heatmap and the page into a folder.

    Args:
        report: what the files are about.
        folder: created if it does not exist.
        name: of the files, without suffix.
        more: further arguments of :func:`page`.

    Returns:
        The files written: ``NAME.json``, ``NAME.tex``, ``NAME.png``, ``NAME.html``.
    """
    from croc.storage.files import atomic

    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, bytes] = {
        ".json": report.to_json().encode(),
        ".tex": latex(report).encode(),
        ".png": heatmap_png(report),
        ".html": page(report, **more).encode(),
    }
    paths = []
    for suffix, content in contents.items():
        path = folder / f"{name}{suffix}"
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        paths.append(path)
    return paths
