"""The fifth tab: the checks themselves."""

from __future__ import annotations

from typing import Any

import gradio as gr
from shown_checks import checks

from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui
from croc.wording import counted

ANY = "any"
FILTERS = ("category", "property", "topic")
A_PAGE = 12


def _values(column: str) -> list[str]:
    return sorted({row[column] for row in checks() if row[column]})


def _chosen(category: str | None, prop: str | None, topic: str | None) -> list[dict[str, Any]]:
    wanted = {
        column: value
        for column, value in zip(FILTERS, (category, prop, topic), strict=True)
        if value not in (None, ANY)
    }
    return [row for row in checks() if all(row[column] == value for column, value in wanted.items())]


def _slice(found: list[Any], number: float | None) -> tuple[list[Any], int, int]:
    last = max(1, -(-len(found) // A_PAGE))
    at = min(max(1, int(number or 1)), last)
    return found[(at - 1) * A_PAGE : at * A_PAGE], at, last


def page(category: str | None, prop: str | None, topic: str | None, number: float | None) -> str:
    """A page of checks."""
    found = _chosen(category, prop, topic)
    rows, at, last = _slice(found, number)
    return pages.checks(
        rows,
        f"{counted(len(found), 'check')}, page {at} of {last}." if found else "No check matches all filters.",
    )


def endpoint(category: str | None, prop: str | None, topic: str | None, number: float) -> dict[str, Any]:
    """Checks by category, property and topic, twelve at a time.

    Args:
        category: one of the eight, or any.
        prop: a property of the taxonomy, or any.
        topic: a topic of the taxonomy, or any.
        number: which page, from 1.

    Returns:
        {"found": how many, "page", "pages", "checks": [{"check_id", "prompt", "contrast_prompt", "category",
        "property", "topic"}]}.
    """
    found = _chosen(category, prop, topic)
    rows, at, last = _slice(found, number)
    columns = ("check_id", "prompt", "contrast_prompt", *FILTERS)
    return {
        "found": len(found),
        "page": at,
        "pages": last,
        "checks": [{column: row[column] for column in columns} for row in rows],
    }


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    with gr.Row():
        fields = [
            gr.Dropdown([ANY, *_values(column)], value=ANY, label=column.capitalize(), min_width=160)
            for column in FILTERS
        ]
        number = gr.Number(1, label="Page", precision=0, minimum=1, min_width=120)
    shown = webui.html(page(ANY, ANY, ANY, 1), elem_id="browse-result")
    with gr.Row():
        back, on = gr.Button("Previous page"), gr.Button("Next page")

    def first(*values: Any) -> tuple[str, int]:
        return page(*values, 1), 1

    def step(by: int, *values: Any) -> tuple[str, int]:
        _, at, last = _slice(_chosen(*values[:3]), (values[3] or 1) + by)
        return page(*values[:3], at), min(at, last)

    for field in fields:
        ui.on(field, first, fields, [shown, number], event="input")
    ui.on(number, page, [*fields, number], shown, event="submit")
    ui.on(back, lambda *values: step(-1, *values), [*fields, number], [shown, number])
    ui.on(on, lambda *values: step(1, *values), [*fields, number], [shown, number])
    ui.endpoint("browse", endpoint, [*fields, number])
