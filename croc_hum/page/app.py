"""The page of an annotator: consent form, items with answer buttons, break, and end.

The server keeps no session. Every request contains the annotator's code and names the offer that it answers,
so a page that was open during a restart of the server continues to work.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError, InputError, MissingExtra
from croc_hum.candidates.prompts import load
from croc_hum.page import fragments
from croc_hum.page.admin import add_admin_view
from croc_hum.page.campaign import Campaign
from croc_hum.votes.store import REASON_CHARACTERS, Offer, Refused

if TYPE_CHECKING:
    import gradio as gr

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
_SESSIONS = 32
_VIEWS = ("welcome", "voting", "pause", "end")


def _import_gradio() -> Any:
    try:
        import gradio
    except ImportError:
        raise MissingExtra("the page for annotators", "space") from None
    return gradio


def build(campaign: Campaign) -> gr.Blocks:
    """Build the page as ``gradio.Blocks``, with the administrator's view under ``/admin``.

    Raises:
        MissingExtra: gradio is not installed.
    """
    gr = _import_gradio()
    store = campaign.store
    with gr.Blocks(title="CROC: label images", analytics_enabled=False, delete_cache=(300, 900)) as demo:
        gr.Navbar(visible=False)
        # A fixed secret, so that the browser can still read its code after the machine has lost its disk. It
        # protects nothing: every page contains it.
        code = gr.BrowserState("", storage_key="croc-code", secret="croc")
        offer_id = gr.Textbox(visible="hidden", label="offer", elem_id="offer")
        status = gr.HTML("", elem_id="status", js_on_load=None)
        with gr.Column(visible=True, elem_id="welcome") as welcome:
            copied = campaign.mirror is not None
            gr.HTML(fragments.consent(campaign.contact, campaign.published, copied=copied), js_on_load=None)
            gr.HTML(fragments.instructions(), js_on_load=None)
            consent = gr.Checkbox(
                False,
                label="I have read this page, I am 18 or older, and I take part voluntarily.",
                elem_id="consent",
            )
            invitation = gr.Textbox(
                label="Invitation code",
                placeholder="join-abcd-…",
                max_length=60,
                visible=campaign.invitations,
                elem_id="invitation",
            )
            begin = gr.Button("Begin", elem_id="begin", elem_classes="primary-button")
            with gr.Accordion("I already have a code", open=False):
                code_input = gr.Textbox(
                    label="Your code", placeholder="abcd-efgh-…", max_length=60, elem_id="code-input"
                )
                use_code = gr.Button(
                    "Resume with this code", elem_id="use-code", elem_classes="secondary-button"
                )
        with gr.Column(visible=False, elem_id="voting") as voting:
            progress = gr.HTML(
                fragments.progress(0, store.settings.batch, store.settings.limit), js_on_load=None
            )
            card = gr.HTML("", elem_id="card", js_on_load=None)
            rows, answers = {}, {}
            for task, buttons in fragments.BUTTONS.items():
                with gr.Row(visible=False, elem_classes="answers", elem_id=f"answers-{task}") as rows[task]:
                    for value, label, key in buttons:
                        name = label if key == label[:1] else f"{label} ({key})"
                        answers[task, value] = gr.Button(name, elem_id=f"{task}-{value}")
            reason = gr.Textbox(
                label="Reason (optional, before you answer; press r to write, Esc to leave the field)",
                max_length=REASON_CHARACTERS,
                lines=1,
                elem_id="reason",
            )
            with gr.Row(elem_id="voting-controls"):
                undo = gr.Button("Undo last answer (b)", elem_id="undo", elem_classes="secondary-button")
                stop = gr.Button("Stop for now", elem_id="stop", elem_classes="secondary-button")
            gr.Checkbox(
                True, label="Keyboard shortcuts", elem_id="shortcuts", container=False, interactive=True
            )
        with gr.Column(visible=False, elem_id="pause") as pause:
            pause_text = gr.HTML("", js_on_load=None)
            pause_resume = gr.Button("Resume", elem_id="pause-resume", elem_classes="primary-button")
            pause_stop = gr.Button("Stop for now", elem_id="pause-stop", elem_classes="secondary-button")
            pause_undo = gr.Button("Undo last answer", elem_id="pause-undo", elem_classes="secondary-button")
        with gr.Column(visible=False, elem_id="end") as end:
            end_text = gr.HTML("", js_on_load=None)
            own_code = gr.HTML("", js_on_load=None)
            end_resume = gr.Button("Resume", elem_id="end-resume", elem_classes="primary-button")
            with gr.Accordion("Withdraw", open=False):
                confirmed = gr.Checkbox(
                    False, label="Yes, delete all my answers.", elem_id="confirm-withdrawal"
                )
                withdraw = gr.Button("Delete my answers", elem_id="withdraw", elem_classes="danger-button")

        views = dict(zip(_VIEWS, (welcome, voting, pause, end), strict=True))

        def show_view(name: str) -> dict[Any, Any]:
            return {column: gr.update(visible=view == name) for view, column in views.items()}

        def show_message(message: str, *, error: bool = False) -> dict[Any, Any]:
            return {status: fragments.message(message, error=error)}

        def show_offer(
            offer: Offer | None, annotator_code: str, message: str = "", vote: str | None = None
        ) -> dict[Any, Any]:
            if offer is None:
                return {**show_end(annotator_code), status: fragments.message(message, vote=vote)}
            task, settings = offer.item["task"], store.settings
            return {
                **show_view("voting"),
                offer_id: offer.offer_id,
                card: fragments.card(offer, load_hints()),
                **{row: gr.update(visible=name == task) for name, row in rows.items()},
                reason: offer.reason or "",
                progress: fragments.progress(
                    store.count_votes(annotator_code), settings.batch, settings.limit
                ),
                status: fragments.message(message or " ", vote=vote, spoken=fragments.spoken_item(offer)),
            }

        def show_end(annotator_code: str, *, stopped: bool = False) -> dict[Any, Any]:
            return {
                **show_view("end"),
                offer_id: "",
                card: "",
                end_text: fragments.end(store.count_votes(annotator_code), stopped=stopped),
                own_code: fragments.own_code(annotator_code),
            }

        def show_errors(handle: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
            def run(*values: Any) -> dict[Any, Any]:
                try:
                    return handle(*values)
                except Refused as problem:
                    text = str(problem)
                    return show_message(f"{text[:1].upper()}{text[1:]}.", error=True)
                except CrocError as problem:  # of the machine: nothing that an annotator could change
                    logger.error("%s", problem)
                    return show_message(
                        "This could not be saved. Please try again in a minute; if it happens again, contact "
                        f"{campaign.contact}.",
                        error=True,
                    )

            return run

        def on_load(annotator_code: str) -> dict[Any, Any]:
            if not annotator_code:
                return show_view("welcome")
            try:
                store.find_annotator(annotator_code)
            except Refused:
                return show_view("welcome")
            return show_offer(store.offer_item(annotator_code), annotator_code)

        def on_begin(agrees: bool, invited_by: str = "") -> dict[Any, Any]:
            if not agrees:
                return show_message("Please read the text and tick the box above the button.", error=True)
            annotator = campaign.admit(invited_by)
            return {
                **show_offer(store.offer_item(annotator.code), annotator.code),
                code: annotator.code,
                invitation: "",
            }

        def on_use_code(text: str) -> dict[Any, Any]:
            annotator_code = str(text).strip().lower()
            return {
                **show_offer(store.offer_item(annotator_code), annotator_code),
                code: annotator_code,
                code_input: "",
            }

        def on_vote(task: str, answer: str, annotator_code: str, offer: str, why: str) -> dict[Any, Any]:
            try:
                vote = store.vote(annotator_code, offer, answer, why)
            except Refused as problem:
                # The page may be out of date (another tab, a long absence): it shows what is open now.
                store.find_annotator(annotator_code)
                current = show_offer(store.offer_item(annotator_code), annotator_code)
                return {**current, **show_message(f"{problem}.", error=True)}
            saved = "Saved."
            if campaign.mirror is not None and campaign.mirror.every_vote and not campaign.mirror.send():
                saved = "Saved here. The copy of the answers cannot be reached now and will follow."
            count = store.count_votes(annotator_code)
            if count % store.settings.batch == 0:
                return {
                    **show_view("pause"),
                    offer_id: "",
                    card: "",
                    reason: "",
                    pause_text: fragments.pause(count),
                    status: fragments.message(saved, vote=vote),
                }
            return show_offer(store.offer_item(annotator_code), annotator_code, saved, vote)

        def on_undo(annotator_code: str) -> dict[Any, Any]:
            offer = store.undo(annotator_code)
            if offer is None:
                return show_message("There is no answer to undo.")
            return show_offer(offer, annotator_code, "Undone. Please answer again.")

        def on_stop(annotator_code: str) -> dict[Any, Any]:
            store.release_items(annotator_code)
            return {**show_end(annotator_code, stopped=True), status: ""}

        def on_withdraw(confirms: bool, annotator_code: str) -> dict[Any, Any]:
            if not confirms:
                return show_message("Please tick the box first.", error=True)
            store.withdraw(annotator_code)
            campaign.exports.discard()
            message = "All your answers have been deleted here."
            if campaign.mirror is not None:
                message += (
                    " The stored dataset has been written again without them."
                    if campaign.mirror.erase()
                    else " The stored dataset cannot be reached now; this is repeated until your answers "
                    f"are deleted there. Keep your code until tomorrow: {annotator_code}. If the page "
                    "still knows it then, please withdraw again."
                )
            return {
                **show_view("welcome"),
                code: "",
                offer_id: "",
                card: "",
                own_code: "",
                confirmed: False,
                consent: False,
                **show_message(message),
            }

        outputs = [
            *views.values(),
            code,
            offer_id,
            status,
            card,
            *rows.values(),
            reason,
            progress,
            pause_text,
            end_text,
            own_code,
            code_input,
            invitation,
            confirmed,
            consent,
        ]

        def connect(
            event: Any, handle: Callable[..., dict[Any, Any]], inputs: list[Any], api_name: str
        ) -> None:
            event(
                show_errors(handle),
                inputs=inputs,
                outputs=outputs,
                api_name=api_name,
                api_visibility="undocumented",
                queue=False,
                show_progress="hidden",
            )

        connect(demo.load, on_load, [code], "load")
        connect(begin.click, on_begin, [consent, invitation], "begin")
        connect(use_code.click, on_use_code, [code_input], "use_code")
        for (task, answer), button in answers.items():
            connect(
                button.click,
                partial(on_vote, task, answer),
                [code, offer_id, reason],
                f"vote_{task}_{answer}",
            )
        connect(undo.click, on_undo, [code], "undo")
        connect(stop.click, on_stop, [code], "stop")
        connect(pause_resume.click, on_load, [code], "pause_resume")
        connect(pause_stop.click, on_stop, [code], "pause_stop")
        connect(pause_undo.click, on_undo, [code], "pause_undo")
        connect(end_resume.click, on_load, [code], "end_resume")
        connect(withdraw.click, on_withdraw, [confirmed, code], "withdraw")

    add_admin_view(gr, demo, campaign)
    return demo


@cache
def load_hints() -> dict[str, str]:
    """What an annotator should look at, by category."""
    return {category: prompts.look_for for category, prompts in load().items()}


def launch(
    campaign: Campaign,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    wait: bool = True,
    ready: Callable[[], Any] | None = None,
) -> Any:
    """Serve the page until the process is stopped; then return, so that the caller can close its files.

    Args:
        campaign: the store and its settings.
        host: address on which the server listens; ``0.0.0.0`` for all.
        port: port on which the server listens.
        wait: return only after the server has stopped.
        ready: called when the page can be opened.

    Returns:
        The value of ``gradio.Blocks.launch``.

    Raises:
        InputError: the port is in use.
    """
    gr = _import_gradio()
    from starlette.middleware import Middleware

    from croc_hum.page.exports import ExportRoute
    from croc_hum.page.guard import Guard
    from croc_hum.page.limits import Recognise

    demo = build(campaign)
    if wait:
        # A Space or a service is stopped with this signal: handle it as Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        launched = demo.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            # Otherwise gradio sends a request to itself and gives up after three seconds on a busy machine.
            _frontend=False,
            footer_links=[],
            theme=gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")),
            # The argument `css` would apply to the page's column only.
            head=f"<style>{(FOLDER / 'style.css').read_text('utf-8')}</style>",
            js=(FOLDER / "keys.js").read_text("utf-8"),
            # Gradio keeps what each session was shown, with the image; the page does not need it.
            state_session_capacity=_SESSIONS,
            app_kwargs={
                "middleware": [
                    Middleware(Guard),
                    Middleware(Recognise, visitors=campaign.visitors, behind_proxy=campaign.behind_proxy),
                    Middleware(ExportRoute, campaign=campaign),
                ],
                "docs_url": None,
                "redoc_url": None,
            },
        )
    except OSError as problem:
        raise InputError(f"cannot listen on port {port} of {host} ({problem})") from None
    if ready is not None:
        ready()
    if wait:
        demo.block_thread()
    return launched
