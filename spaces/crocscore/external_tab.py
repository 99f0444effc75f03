"""The tab of others' benchmarks: metrics that people know, by their agreement with people's ratings."""

from __future__ import annotations

from typing import Any

import gradio as gr

from croc.external.results import ExternalResults
from croc.rendering import external_fragments as pages
from croc.rendering import gradio_app as webui
from croc.rendering.fragments import note


def _results() -> tuple[tuple[ExternalResults, ...], tuple[str, ...]]:
    return pages.external_results(pages.external_folder())


def _result(name: str | None) -> ExternalResults:
    found, _ = _results()
    return next((result for result in found if result.benchmark == name), found[0])


def endpoint(name: str | None) -> dict[str, Any]:
    """Metrics on a benchmark of others, by their agreement with people's ratings.

    Args:
        name: a benchmark, such as the first one of the answer's list; none takes the first.

    Returns:
        {"benchmarks": all names, "benchmark": this one, "statement", "rows": [{"rank", "metric", "order",
        "acc_eq", "kendall", "spearman", "pearson", each with "_ci_low" and "_ci_high", "n", "missing",
        "benchmark", "url", "signature"}]}, best first.
    """
    found, _ = _results()
    if not found:
        return {"benchmarks": [], "benchmark": None, "statement": "", "rows": []}
    result = _result(name)
    return {
        "benchmarks": [one.benchmark for one in found],
        "benchmark": result.benchmark,
        "statement": result.statement,
        "rows": result.rows(),
    }


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    found, problems = _results()
    if not found:
        webui.html(note("There are no results yet."))
        return
    names = [(result.title, result.benchmark) for result in found]
    with gr.Row():
        name = gr.Dropdown(names, value=found[0].benchmark, label="Benchmark of others", min_width=240)
        find = gr.Textbox(label="Find a metric", placeholder="part of its name", max_lines=1)
    ranking = webui.html(pages.external_ranking(found[0]), elem_id="external-ranking")
    about = webui.html(pages.external_about(found[0], problems), elem_id="external-about")
    ui.on(
        name,
        lambda chosen, part: (
            pages.external_ranking(_result(chosen), part or ""),
            pages.external_about(_result(chosen), problems),
        ),
        [name, find],
        [ranking, about],
        event="input",
    )
    ui.on(
        find,
        lambda chosen, part: pages.external_ranking(_result(chosen), part or ""),
        [name, find],
        ranking,
        event="change",
    )
    ui.endpoint("external", endpoint, [name])
