"""The fourth tab: metrics side by side, from results files."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr
from shown_checks import known_checks

from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui
from croc.rendering import weaknesses
from croc.rendering.formats import group_label
from croc.results.leaderboard import Benchmark, Leaderboard
from croc.verdict.report import NO_VALUE

ALL = "all checks"
BASELINES, TRAINED = "baselines", "trained on CROC"


@cache
def board() -> Leaderboard:
    """The leaderboard, computed once from the results files."""
    return pages.results_board()


def _benchmark(name: str | None) -> Benchmark:
    return next((known for known in board().benchmarks if known.name == name), board().benchmarks[0])


def _shown(show: list[str] | None, find: str | None) -> pages.Shown:
    return pages.Shown(BASELINES in (show or []), TRAINED in (show or []), find or "")


def page(
    name: str | None,
    group: str | None,
    show: list[str] | None,
    find: str | None,
    column: str | None,
    reverse: bool,
) -> tuple[str, ...]:
    """Ranking, categories, side by side: their rows are in one order."""
    benchmark, shown = _benchmark(name), _shown(show, find)
    chosen = group if group in benchmark.groups("category") else None
    order = pages.Order(column if column in pages.ORDERS else pages.BEST_FIRST.column, bool(reverse))
    return (
        pages.ranking(benchmark, shown, order, group=chosen),
        pages.categories(benchmark, shown, order, group=chosen),
        pages.side_by_side(board(), shown, pages.ordered_metrics(benchmark, order, chosen)),
    )


def gallery(name: str | None, metric: str | None) -> str:
    """Checks that a metric failed."""
    benchmark = _benchmark(name)
    metric = metric if metric in benchmark.files else benchmark.report.metrics[0]
    return pages.failures(benchmark, metric, known_checks())


def endpoint(name: str | None) -> dict[str, Any]:
    """The leaderboard of a benchmark.

    Args:
        name: a benchmark, such as the first one of the answer's list; none takes the first.

    Returns:
        {"benchmarks": all names, "benchmark": this one, "rows": [{"rank", "metric", "scaled", "ci_low",
        "ci_high", a key per direction and category, "n", "group_score", "ties", "coverage", "checks",
        "all_checks", "baseline", "verified", "trained_on_croc", "url", "best_of_16", "flips",
        "weakest_property", "weakest_scaled", "run_again", "signature"}]}, best first.
    """
    benchmark = _benchmark(name)
    return {
        "benchmarks": [benchmark.name for benchmark in board().benchmarks],
        "benchmark": benchmark.name,
        "rows": benchmark.rows(),
    }


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    names = [benchmark.name for benchmark in board().benchmarks]
    if not names:
        webui.html(pages.note("There are no results yet."))
        return
    first = board().benchmarks[0]
    groups = sorted({group for benchmark in board().benchmarks for group in benchmark.groups("category")})
    categories_of = [(ALL, ALL), *((group_label(group), group) for group in groups if group != NO_VALUE)]
    columns = [(label.capitalize(), column) for column, label in pages.ORDERS.items()]
    start = page(names[0], ALL, [BASELINES, TRAINED], "", pages.BEST_FIRST.column, False)
    with gr.Row():
        name = gr.Dropdown(names, value=names[0], label="Benchmark", min_width=240)
        group = gr.Dropdown(categories_of, value=ALL, label="Category", min_width=240)
        column = gr.Dropdown(columns, value=pages.BEST_FIRST.column, label="Sort by", min_width=160)
        reverse = gr.Checkbox(
            label="Reverse order", info="Lowest number or last name first.", min_width=160, container=True
        )
    with gr.Row():
        show = gr.CheckboxGroup([BASELINES, TRAINED], value=[BASELINES, TRAINED], label="Show")
        find = gr.Textbox(label="Find a scorer", placeholder="part of its name", max_lines=1)
    ranking = webui.html(start[0], elem_id="leaderboard-ranking")
    webui.html(
        '<div class="croc"><p class="soft">Baselines ignore the image, the text or '
        "both; scorers trained on CROC have seen checks of this kind. That and the links are "
        "statements of the authors. Results that are not verified are marked.</p>"
        f'<p class="soft">{weaknesses.NOTE}</p>'
        "<h2>By category</h2></div>"
    )
    categories = webui.html(start[1], elem_id="leaderboard-categories")
    webui.html(pages.fragment("heading", "Synthetic and human-labelled checks side by side"))
    sides = webui.html(start[2], elem_id="leaderboard-sides")
    webui.html(pages.fragment("heading", "What the tests show"))
    findings = webui.html(pages.findings(first))
    webui.html(pages.fragment("heading", "Failed checks"))
    metric = gr.Dropdown(list(first.report.metrics), value=first.report.metrics[0], label="Scorer")
    failed = webui.html(gallery(names[0], first.report.metrics[0]), elem_id="leaderboard-failed")
    webui.html(
        '<div class="croc"><h2>Add a scorer</h2><p>Run <code>croc score</code> on the checks and '
        "<code>croc results create</code> on its table, and send both files as a pull request to the results "
        "dataset; with <code>--audit</code> and <code>--probe</code> also the evidence that it writes. "
        "<code>croc results verify</code> computes every number again from the table, compares it with the "
        "dataset, and scores a sample of the checks again.</p></div>"
    )
    tables = [ranking, categories, sides]

    def turn(chosen: str) -> tuple[Any, ...]:
        benchmark = _benchmark(chosen)
        metrics = list(benchmark.report.metrics)
        return (
            gr.Dropdown(choices=metrics, value=metrics[0]),
            pages.findings(benchmark),
            gallery(benchmark.name, metrics[0]),
        )

    inputs = [name, group, show, find, column, reverse]
    for component in inputs:
        ui.on(component, page, inputs, tables, event="change" if component is find else "input")
    ui.on(name, turn, [name], [metric, findings, failed], event="input")
    ui.on(metric, gallery, [name, metric], failed, event="input")
    ui.endpoint("leaderboard", endpoint, [name])
