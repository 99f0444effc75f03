"""Gradio for the pages: theme, uploads, named endpoints and limits.

from croc.rendering import gradio_app

with gr.Blocks() as demo:
    ui = gradio_app.Wiring(demo)
    ...
gradio_app.serve(demo)
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError, MissingExtra
from croc.rendering import fragments as pages
from croc.storage.limits import UPLOAD

if TYPE_CHECKING:
    import gradio as gr

KEPT_SECONDS = 900
"""Uploads older than this, in seconds, are deleted; the check runs three times as often."""

LIMITS = {"model": 1, "draw": 1, "evaluate": 1, "read": 4}
"""How many calls of a kind run at once; the others wait in the queue."""

QUEUE = 64
"""Number of calls that may wait; further ones are refused."""

VISITORS = 10_000
"""Of how many visitors a page knows that they have done something; of the latest ones."""

_TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("pages.css", "tables.css", "cards.css")


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise MissingExtra("a page", "space") from error
    return gradio


FONTS = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
MONO = ("ui-monospace", "Consolas", "Menlo", "monospace")


def theme() -> Any:
    """The theme of the pages: contrasts of at least 4.5 to 1 in light and dark mode, system fonts only."""
    gr = _gradio()
    teal = gr.themes.Color(
        "#eefaf8", "#d5f2ee", "#aee3dc", "#7fd0c6", "#5ac8bd", "#12877c", "#0b6e66", "#095a54", "#084843",
        "#073a36", "#042825", name="croc",
    )  # fmt: skip
    soft, soft_dark = "#505862", "#b3bdc8"
    return gr.themes.Default(
        primary_hue=teal, secondary_hue=teal, neutral_hue=gr.themes.colors.slate, font=FONTS, font_mono=MONO
    ).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#0d1117",
        body_text_color="#1b1f24",
        body_text_color_dark="#e6edf3",
        body_text_color_subdued=soft,
        body_text_color_subdued_dark=soft_dark,
        block_background_fill="#ffffff",
        block_background_fill_dark="#131922",
        block_border_color="#c9d1d9",
        block_border_color_dark="#39424d",
        block_info_text_color=soft,
        block_info_text_color_dark=soft_dark,
        block_label_background_fill="#eefaf8",
        block_label_background_fill_dark="#1b2530",
        block_label_text_color="#084843",
        block_label_text_color_dark="#aee3dc",
        block_title_text_color="#1b1f24",
        block_title_text_color_dark="#e6edf3",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0d1117",
        input_border_color="#7d8792",
        input_border_color_dark="#66717d",
        input_placeholder_color=soft,
        input_placeholder_color_dark=soft_dark,
        button_primary_background_fill="#0b6e66",
        button_primary_background_fill_hover="#095a54",
        button_primary_background_fill_dark="#5ac8bd",
        button_primary_background_fill_hover_dark="#7fd0c6",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#06201d",
        button_secondary_background_fill="#eef1f4",
        button_secondary_background_fill_hover="#dfe4e9",
        button_secondary_background_fill_dark="#212a35",
        button_secondary_background_fill_hover_dark="#2c3744",
        button_secondary_text_color="#1b1f24",
        button_secondary_text_color_dark="#e6edf3",
        link_text_color="#0b6e66",
        link_text_color_dark="#5ac8bd",
        link_text_color_hover="#095a54",
        link_text_color_hover_dark="#7fd0c6",
        link_text_color_visited="#0b6e66",
        link_text_color_visited_dark="#5ac8bd",
        table_even_background_fill="#ffffff",
        table_even_background_fill_dark="#131922",
        table_odd_background_fill="#f6f8fa",
        table_odd_background_fill_dark="#171f29",
        checkbox_border_color="#7d8792",
        checkbox_border_color_dark="#8a95a1",
        checkbox_background_color_selected_dark="#12877c",
        checkbox_label_text_color_selected="#1b1f24",
        checkbox_label_text_color_selected_dark="#e6edf3",
        error_text_color="#9a1c1c",
        error_text_color_dark="#ffb3ad",
    )


@cache
def looks() -> dict[str, Any]:
    """The arguments of ``Blocks.launch`` for the looks of a page: ``theme`` and ``css``."""
    css = "".join((_TEMPLATES / name).read_text("utf-8") for name in _STYLES)
    return {"theme": theme(), "css": css}


def html(value: str = "", elem_id: str | None = None) -> Any:
    """A fragment of :mod:`croc.rendering.fragments`; screen readers announce what replaces it later.

    Args:
        value: the fragment.
        elem_id: of a fragment that events replace.
    """
    # gradio changes the element in place, as a live region needs.
    template = '<div aria-live="polite">${value}</div>' if elem_id else "${value}"
    return _gradio().HTML(value, elem_id=elem_id, html_template=template, padding=False)


def guarded(page: Callable[..., Any], outputs: int = 1) -> Callable[..., Any]:
    """A page function whose expected errors are shown in place of its (first) result."""

    @wraps(page)
    def shown(*inputs: Any) -> Any:
        try:
            return page(*inputs)
        except CrocError as error:
            message = pages.problem(error)
            return message if outputs == 1 else (message, *([None] * (outputs - 1)))

    return shown


class Wiring:
    """Components and events that all pages share.

    Args:
        demo: the page that they are put on.
    """

    def __init__(self, demo: gr.Blocks) -> None:
        self._demo = demo

    def at_once(self, page: Callable[..., Any], outputs: Any, unless: Sequence[Any] = ()) -> None:
        """Fill in what takes too long for the start when somebody opens the page.

        Args:
            page: a function without arguments.
            outputs: the component or components that are filled in.
            unless: events of the visitor, such as ``button.click``. After the first of them nothing is
                filled in, as it would replace the visitor's own results.
        """
        gr = _gradio()
        acted: deque[str] = deque(maxlen=VISITORS)  # a gr.State would hold a connection to each visitor open

        def opened(visitor: Any) -> Any:
            value = page()
            return gr.skip() if visitor.session_hash in acted else value

        def act(visitor: Any) -> None:
            acted.append(visitor.session_hash)

        for function in (opened, act):
            function.__annotations__["visitor"] = gr.Request  # by which gradio knows what to pass
        self._demo.load(opened, None, outputs, api_visibility="private", show_progress="hidden")
        if unless:
            gr.on(list(unless), act, queue=False, show_progress="hidden", api_visibility="private")

    def picture(self, label: str, value: str | None = None) -> Any:
        """An image to upload or paste, as a file that ``fragments.read_picture`` decodes.

        Args:
            label: of the field.
            value: path of the image that is there from the start.
        """
        image = _gradio().Image(
            value, label=label, type="filepath", format="png", sources=["upload", "clipboard"], height=300
        )
        # gradio would decode the image before our limits are checked, with its own error messages.
        image.preprocess = _path_of
        return image

    def on(
        self,
        component: Any,
        page: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Any,
        *,
        limit: str = "read",
        event: str = "click",
    ) -> None:
        """Run a page function on an event, without an endpoint."""
        getattr(component, event)(
            page,
            list(inputs),
            outputs,
            api_name="page",  # otherwise an event could take the name of an endpoint
            api_visibility="private",
            concurrency_id=limit,
            concurrency_limit=LIMITS[limit],
        )

    def endpoint(
        self,
        name: str,
        answer: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Any = None,
        *,
        limit: str = "read",
    ) -> None:
        """Offer a function to programs under ``/name``; its docstring is the documentation.

        Args:
            name: of the endpoint.
            answer: a function of the inputs; the caller gets the message of an expected error.
            inputs: components, whose types the endpoint takes.
            outputs: components; None gives the answer as JSON.
            limit: a key of ``LIMITS``.
        """
        gr = _gradio()

        @wraps(answer)
        def respond(*values: Any) -> Any:
            try:
                response = answer(*values)
            except CrocError as error:
                raise gr.Error(str(error), print_exception=False) from None
            return pages.plain(response) if outputs is None else response

        gr.Button(visible=False).click(
            respond,
            list(inputs),
            gr.JSON(visible=False) if outputs is None else outputs,
            api_name=name,
            concurrency_id=limit,
            concurrency_limit=LIMITS[limit],
        )


def _path_of(payload: Any) -> str | None:
    return None if payload is None else payload.path


def table_upload(ui: Wiring) -> None:
    """Lay out a field for a score table and its results; the endpoint is ``/benchmark``."""
    gr = _gradio()
    html(
        pages.note(
            "Upload the score table of your metric. The file is deleted within twenty minutes; the report "
            "and its downloads exist only in your browser."
        )
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            file = gr.File(label="Score table: Parquet, CSV or TSV", type="filepath", height=160)
        with gr.Column(scale=2, min_width=240):
            by = gr.Dropdown(
                list(pages.COLUMNS),
                multiselect=True,
                label="Group by",
                info="Default: category and property, if the table has them.",
                allow_custom_value=True,
            )
            paper = gr.Checkbox(label="As in the paper: a tie fails, fixed chance level")
    with gr.Row():
        ready = gr.Button("Use the example table")
        button = gr.Button("Evaluate", variant="primary")
    result = html(elem_id="benchmark-result")

    def shown(path: str | None, columns: list[str] | None, published: bool) -> str:
        report = pages.evaluate_upload(path, columns, published)
        return pages.report(report, pages.downloads(report))

    def benchmark(path: str | None, by: list[str] | None, paper: bool) -> dict[str, Any]:
        """Evaluate a score table: scaled accuracy in four directions, intervals, tests, findings.

        Args:
            path: a score table as Parquet, CSV or TSV.
            by: columns to group by, such as topic; by default category and property.
            paper: the published computation instead of the default one.

        Returns:
            The report, as croc evaluate --json writes it.
        """
        return pages.evaluate_upload(path, by, paper).to_dict()

    ui.on(ready, lambda: str(pages.EXAMPLE_TABLE), [], file)
    ui.on(button, guarded(shown), [file, by, paper], result, limit="evaluate")
    ui.endpoint("benchmark", benchmark, [file, by, paper], limit="evaluate")


def serve(demo: gr.Blocks, *, then: Callable[[], Any] | None = None, block: bool = True) -> str:
    """Launch a page with our theme and limits; it makes no requests to other servers.

    Args:
        demo: the page.
        then: called when the page is available, for slow work that is not needed to show it.
        block: return only when the server is closed.

    Returns:
        The page's address.
    """
    demo.queue(max_size=QUEUE, default_concurrency_limit=LIMITS["read"])
    _, address, _ = demo.launch(
        **looks(),
        # For the example table: by default gradio serves files of the working directory only.
        allowed_paths=[str(pages.RESULTS)],
        max_file_size=UPLOAD,
        ssr_mode=False,
        footer_links=["api"],
        run_history=False,
        prevent_thread_lock=True,
        quiet=True,
    )
    print(f"Open {address} in a browser. Press Ctrl-C to stop the server.", flush=True)  # noqa: T201
    if then is not None:
        then()
    if block:
        demo.block_thread()
    return str(address)


def blocks(title: str) -> gr.Blocks:
    """An empty page."""
    # Cached examples depend on the model and the run; gradio would keep them in the working directory.
    os.environ.setdefault("GRADIO_EXAMPLES_CACHE", tempfile.mkdtemp(prefix="croc-examples-"))
    made: gr.Blocks = _gradio().Blocks(
        title=title, analytics_enabled=False, delete_cache=(KEPT_SECONDS // 3, KEPT_SECONDS)
    )
    return made
