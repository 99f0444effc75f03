"""The first tab: how well does an image show a prompt, and which part of it not?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from served_model import MODEL, gpu

from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui

EXAMPLES = Path(__file__).parent / "examples"
# Image, a prompt that is true of it, one that is not; both prompts have up to 60 characters together, as
# gradio cuts what is longer in the list of examples. Each image was drawn by the exact world.
READY = (
    ("dog.png", "a red dog in a park", "a blue dog in a park"),
    ("cat.png", "a cat to the left of a house", "a cat to the right of a house"),
    ("horse.png", "a horse in the snow", "a horse at the beach"),
)


def examples() -> list[tuple[str, str]]:
    """The examples as the fields take them: the path of the image, and the prompts, one per line."""
    return [(str(EXAMPLES / name), f"{true}\n{false}") for name, true, false in READY]


@gpu
def explain(image: Any, prompts: list[str]) -> list[Any]:
    """Margin, probability and clauses of every prompt; a warning if the model does not know such images."""
    return MODEL.explain(image, prompts)


def page(path: str | None, text: str) -> str:
    """Prompts best first, with their clauses coloured."""
    found = explain(pages.read_picture(path), pages.read_prompts(text))
    outside = any(explanation.warning for explanation in found)
    return pages.explanations(found, calibrated=MODEL.calibrated, outside=outside)


@cache
def opening() -> str:
    """The scores of the first example, computed for the first visitor."""
    return page(*examples()[0])


def endpoint(path: str | None, text: str) -> dict[str, Any]:
    """Score prompts on one image: margin, probability, and the same for each clause.

    Args:
        path: the image.
        text: prompts, one a line, at most 8.

    Returns:
        {"model", "calibrated", "prompts": [{"prompt", "margin", "probability", "clauses": [{"text", "start",
        "end", "margin", "probability"}], "world_distance", "warning"}]} in the order given. For an image that
        is unlike all that the model was trained on, probabilities are null and there is a warning; without a
        calibration they are null.
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
    webui.html(
        pages.note(
            "An example is scored: the first prompt is true of the image, the second is not. Replace the "
            "image and the prompts with your own."
        )
    )
    first_image, first_prompts = examples()[0]
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            image = ui.picture("Image", first_image)
            text = gr.Textbox(
                first_prompts,
                label="Prompts",
                info="One a line, at most 8. Several are ranked.",
                lines=3,
                max_lines=8,
                placeholder="a red dog to the left of two blue umbrellas, and no cat",
            )
            button = gr.Button("Score", variant="primary")
        with gr.Column(scale=5, min_width=280):
            result = webui.html(pages.note("The example is being scored …"), elem_id="score-result")
    shown = webui.guarded(page)
    ready = gr.Examples(
        [list(example) for example in examples()],
        [image, text],
        [result],
        shown,
        cache_examples=True,
        cache_mode="lazy",
        label="Examples, drawn by the exact world",
        elem_id="score-examples",
        api_visibility="private",
    )
    ui.at_once(webui.guarded(opening), result, unless=[button.click, ready.dataset.click])
    ui.on(button, shown, [image, text], result, limit="model")
    ui.endpoint("score", endpoint, [image, text], limit="model")
