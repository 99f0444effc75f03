"""The second tab: two prompts by two images, and which of the four directions pass."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import gradio as gr
from PIL import Image
from served_model import MODEL, gpu

from croc.errors import InputError
from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui
from croc.verdict.directions import directions_of

SIZE = 512  # pixels


@gpu
def matrix(images: list[Any], prompts: list[str]) -> tuple[Any, Any, list[bool]]:
    """Margin and probability of every prompt on every image, and which images the model does not know."""
    return *MODEL.matrix(images, prompts), [MODEL.is_outside(image) for image in images]


def _read(prompt_a: str, prompt_b: str) -> list[str]:
    prompts = []
    for name, prompt in (("A", prompt_a), ("B", prompt_b)):
        try:
            prompts += pages.read_prompts(prompt, most=1)
        except InputError as problem:
            raise InputError(f"Prompt {name}: {problem}") from None
    return prompts


def _scores(prompt_a: str, prompt_b: str, image_a: str | None, image_b: str | None) -> dict[str, Any]:
    return _scores_of(
        _read(prompt_a, prompt_b),
        [pages.read_picture(image_a, "image A"), pages.read_picture(image_b, "image B")],
    )


def _scores_of(prompts: list[str], images: list[Any]) -> dict[str, Any]:
    margins, probabilities, outside = matrix(images, prompts)
    return {
        "prompts": prompts,
        "margins": margins,
        "probabilities": [
            [None if unknown else value for value, unknown in zip(row, outside, strict=True)]
            for row in probabilities
        ],
        "directions": directions_of(margins),
        "outside": outside,
    }


def page(prompt_a: str, prompt_b: str, image_a: str | None, image_b: str | None) -> str:
    """The matrix of scores, and which directions pass."""
    images = [pages.read_picture(image_a, "image A"), pages.read_picture(image_b, "image B")]
    return _page_of(_read(prompt_a, prompt_b), images)


def _page_of(prompts: list[str], images: list[Any]) -> str:
    found = _scores_of(prompts, images)
    return pages.contrast(
        (prompts[0], prompts[1]),
        found["margins"],
        found["probabilities"],
        found["directions"],
        _remark(*prompts),
        found["outside"],
    )


@cache
def opening() -> tuple[str, Any, Any]:
    """The first ready pair, drawn and scored for the first visitor: the result, image A, image B."""
    prompts = next(iter(ready().values()))
    _, *images = draw(*prompts, 1)
    return _page_of(list(prompts), images), *images


def endpoint(prompt_a: str, prompt_b: str, image_a: str | None, image_b: str | None) -> dict[str, Any]:
    """Score two prompts on two images and list which of the four directions pass.

    Args:
        prompt_a: the prompt that image A was made for.
        prompt_b: the prompt that image B was made for.
        image_a: an image.
        image_b: an image.

    Returns:
        {"prompts", "margins": [prompt][image], "probabilities": the same, null for an image that is unlike
        all that the model was trained on and for a model without a calibration, "outside": for each image
        whether it is, "directions": {"forward_text", "inverse_text", "forward_image", "inverse_image"}}; a
        direction is 1 passed, 0 failed, 0.5 a tie.
    """
    return _scores(prompt_a, prompt_b, image_a, image_b)


def _remark(prompt_a: str, prompt_b: str) -> str:
    """Whether the prompts exclude each other, where the exact world can read them."""
    from croc_syn.world import PromptError, exclusive, parse

    try:
        both = parse(prompt_a), parse(prompt_b)
    except PromptError:
        return ""
    if exclusive(*both):
        return "No image can show both prompts: a fair check."
    return "One image could show both prompts, so a metric that fails here need not be wrong."


def draw(prompt_a: str, prompt_b: str, seed: float) -> tuple[str, Any, Any]:
    """Draw both prompts with the exact world.

    Args:
        prompt_a: controlled English; see the guide of the exact world.
        prompt_b: controlled English; an image of it must not show prompt A as well.
        seed: another seed gives other images.

    Returns:
        A remark, image A, image B.
    """
    from croc_syn.painting.exact import sample_scene
    from croc_syn.world import PromptError, parse, rasterise, to_svg

    prompts = _read(prompt_a, prompt_b)
    for name, prompt in zip("AB", prompts, strict=True):
        try:
            parse(prompt)
        except PromptError as problem:
            raise InputError(f"Prompt {name} cannot be drawn: {problem}") from None
    images = []
    for side, (own, other) in enumerate((prompts, prompts[::-1])):
        scene, _, _ = sample_scene(own, other, ("page", int(seed or 0), side))
        images.append(Image.open(io.BytesIO(rasterise(to_svg(scene, SIZE)))).convert("RGB"))
    return pages.note(f"Both are drawn. {_remark(*prompts)}"), *images


def draw_endpoint(prompt_a: str, prompt_b: str, seed: float) -> tuple[Any, Any]:
    """Draw two prompts of controlled English, so that neither image shows the other prompt.

    Args:
        prompt_a: controlled English; see the guide of the exact world.
        prompt_b: the same, with one thing changed.
        seed: another seed gives other images.

    Returns:
        Image A and image B.
    """
    return draw(prompt_a, prompt_b, seed)[1:]


def ready() -> dict[str, tuple[str, str]]:
    """Pairs to start from: those of CROChum's categories that the exact world can draw."""
    from croc_hum.candidates.prompts import load

    return {
        f"{category.replace('_', ' ')}: {pair.prompt}": (pair.prompt, pair.contrast_prompt)
        for category, found in load().items()
        for pair in found.pairs
        if pair.exact
    }


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    pairs = ready()
    first = next(iter(pairs))
    webui.html(
        pages.note(
            "Two prompts that differ in one thing, and an image of each. A metric that can be trusted "
            "passes all four directions."
        )
    )
    choice = gr.Dropdown(
        list(pairs),
        value=first,
        label="Ready pair",
        info="By category; it is drawn for you.",
        filterable=True,
    )
    with gr.Row(equal_height=False):
        with gr.Column(min_width=260):
            prompt_a = gr.Textbox(pairs[first][0], label="Prompt A", lines=2)
            image_a = ui.picture("Image A")
        with gr.Column(min_width=260):
            prompt_b = gr.Textbox(pairs[first][1], label="Prompt B", lines=2)
            image_b = ui.picture("Image B")
    with gr.Row():
        seed = gr.Number(1, label="Seed of the drawing", precision=0, minimum=0, maximum=1_000_000)
        drawing = gr.Button("Draw it")
        button = gr.Button("Score the contrast", variant="primary")
    result = webui.html(elem_id="contrast-result")
    both = [prompt_a, prompt_b]
    shown = webui.guarded(draw, 3)

    def start(name: str | None, number: float) -> tuple[Any, ...]:
        if name not in pairs:
            return tuple(gr.skip() for _ in range(5))
        return (*pairs[name], *shown(*pairs[name], number))

    ui.at_once(
        webui.guarded(opening, 3),
        [result, image_a, image_b],
        unless=[button.click, drawing.click, choice.input, image_a.input, image_b.input],
    )
    ui.on(choice, start, [choice, seed], [*both, result, image_a, image_b], limit="draw", event="input")
    ui.on(drawing, shown, [*both, seed], [result, image_a, image_b], limit="draw")
    ui.on(button, webui.guarded(page), [*both, image_a, image_b], result, limit="model")
    ui.endpoint("contrast", endpoint, [*both, image_a, image_b], limit="model")
    pictures = [gr.Image(visible=False, format="png") for _ in range(2)]
    ui.endpoint("draw", draw_endpoint, [*both, seed], pictures, limit="draw")
