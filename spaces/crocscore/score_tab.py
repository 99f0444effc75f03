"""The first tab: how well does an image show a prompt, and which part of it not?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from served_model import MODEL, gpu

from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui

EXAMPLES = Path(__file__).parent / "examples"
# Up to 60 characters: gradio cuts what is longer in the list of examples.
READY = (
    ("dog.png", "a red dog in a park\na blue dog in a park\na red cat"),
    ("kitchen.png", "three apples, and no cup\ntwo apples, and a cup"),
    ("snow.png", "a striped ball to the left of a house, at night, in the snow"),
)


@gpu
def explain(image: Any, prompts: list[str]) -> list[Any]:
    """Margin, probability and clauses of every prompt."""
    return MODEL.explain(image, prompts)


def page(path: str | None, text: str) -> str:
    """Prompts best first, with their clauses coloured."""
    found = explain(pages.read_picture(path), pages.read_prompts(text))
    return pages.explanations(found, calibrated=MODEL.calibrated)


def endpoint(path: str | None, text: str) -> dict[str, Any]:
    """Score prompts on one image: margin, probability, and the same for each clause.

    Args:
        path: the image.
        text: prompts, one a line, at most 8.

    Returns:
        {"model", "calibrated", "prompts": [{"prompt", "margin", "probability", "clauses": [{"text", "start",
        "end", "margin", "probability"}]}]} in the order given.
    """
    from dataclasses import asdict

    found = explain(pages.read_picture(path), pages.read_prompts(text))
    return {
        "model": MODEL.name,
        "calibrated": MODEL.calibrated,
        "prompts": [asdict(explanation) for explanation in found],
    }


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            image = ui.picture("Image")
            text = gr.Textbox(
                label="Prompts",
                info="One a line, at most 8. Several are ranked.",
                lines=3,
                max_lines=8,
                placeholder="a red dog to the left of two blue umbrellas, and no cat",
            )
            button = gr.Button("Score", variant="primary")
        with gr.Column(scale=5, min_width=280):
            result = webui.html(pages.note("The answer appears here."), elem_id="score-result")
    shown = webui.guarded(page)
    gr.Examples(
        [[str(EXAMPLES / name), prompts] for name, prompts in READY if (EXAMPLES / name).is_file()],
        [image, text],
        [result],
        shown,
        cache_examples=True,
        cache_mode="lazy",
        label="Examples, drawn by the exact world",
        api_visibility="private",
    )
    ui.on(button, shown, [image, text], result, limit="model")
    ui.endpoint("score", endpoint, [image, text], limit="model")
