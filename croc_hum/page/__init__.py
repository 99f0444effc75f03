"""The page on which people judge images, and the view of who runs the campaign.

The server keeps no session: every request brings the annotator's code and names the showing it answers, so
that a page that was open while the server was killed simply goes on.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from croc import __version__
from croc.errors import CrocError, InputError, MissingExtra
from croc_hum.page import words
from croc_hum.votes.store import Offer, Refused, Store

if TYPE_CHECKING:
    import gradio as gr

    from croc_hum.votes.hub_copy import Mirror

VERSION = f"{__version__}+{words.VERSION}"
"""What is stored with every vote as its version."""

TOKEN_LETTERS = 16
_VIEWS = ("welcome", "voting", "pause", "end")


@dataclass(frozen=True)
class Campaign:
    """What the page is about.

    Attributes:
        store: items and votes.
        token: opens the administrator's view; at least ``TOKEN_LETTERS`` letters.
        mirror: the private dataset that holds a copy, or None.
        contact: whom an annotator asks.
        published: what happens to the answers, a sentence of the consent.
    """

    store: Store
    token: str
    mirror: Mirror | None = None
    contact: str = "the person who sent you here"
    published: str = (
        "The answers stay with those who run this study. Later they may be published with the images, under "
        "the random names."
    )

    def __post_init__(self) -> None:
        if len(self.token) < TOKEN_LETTERS:
            raise InputError(
                f"the administrator's token (CROC_ADMIN_TOKEN) needs at least {TOKEN_LETTERS} letters"
            )

    def opens(self, token: object) -> bool:
        """Whether a token is the administrator's."""
        return isinstance(token, str) and secrets.compare_digest(
            token.encode("utf-8", "replace"), self.token.encode()
        )


def _gradio() -> Any:
    try:
        import gradio
    except ImportError:
        raise MissingExtra("the page for annotators", "space") from None
    return gradio


def build(campaign: Campaign) -> gr.Blocks:
    """The page as ``gradio.Blocks``, with the administrator's view under ``/admin``.

    Raises:
        MissingExtra: gradio is not installed.
    """
    gr = _gradio()
    store = campaign.store
    with gr.Blocks(title="CROC: judge images", analytics_enabled=False, delete_cache=(300, 900)) as demo:
        gr.Navbar(visible=False)
        # The same after the machine has lost its disk: the browser then still reads what it kept. It is no
        # secret, the page carries it.
        code = gr.BrowserState("", storage_key="croc-code", secret="croc")
        shown = gr.Textbox(visible="hidden", label="showing", elem_id="showing")
        status = gr.HTML("", elem_id="status", js_on_load=None)
        with gr.Column(visible=True, elem_id="welcome") as welcome:
            copied = campaign.mirror is not None
            gr.HTML(words.consent(campaign.contact, campaign.published, copied=copied), js_on_load=None)
            gr.HTML(words.instructions(), js_on_load=None)
            agreed = gr.Checkbox(
                False,
                label="I have read this, I am 18 or older, and I take part of my own free will.",
                elem_id="agreed",
            )
            begin = gr.Button("Begin", elem_id="begin", elem_classes="primary-button")
            with gr.Accordion("I have a code from before", open=False):
                typed = gr.Textbox(
                    label="Your code", placeholder="abcd-efgh-…", max_length=60, elem_id="typed"
                )
                resume = gr.Button(
                    "Go on with this code", elem_id="resume-button", elem_classes="plain-button"
                )
        with gr.Column(visible=False, elem_id="voting") as voting:
            bar = gr.HTML(words.progress(0, store.settings.batch, store.settings.limit), js_on_load=None)
            card = gr.HTML("", elem_id="card", js_on_load=None)
            rows, answers = {}, {}
            for task, choices in words.BUTTONS.items():
                with gr.Row(visible=False, elem_classes="answers", elem_id=f"answers-{task}") as rows[task]:
                    for value, label, key in choices:
                        name = label if key == label[:1] else f"{label} ({key})"
                        answers[task, value] = gr.Button(name, elem_id=f"{task}-{value}")
            reason = gr.Textbox(
                label="Reason (optional; key r, then Esc to go back)",
                max_length=1000,
                lines=1,
                elem_id="reason",
            )
            with gr.Row(elem_id="after"):
                back = gr.Button("Back (b)", elem_id="back", elem_classes="plain-button")
                finish = gr.Button("Stop for now", elem_id="finish", elem_classes="plain-button")
            gr.Checkbox(True, label="Keys on", elem_id="keys-on", container=False, interactive=True)
        with gr.Column(visible=False, elem_id="pause") as pause:
            rest = gr.HTML("", js_on_load=None)
            go_on = gr.Button("Go on", elem_id="go-on", elem_classes="primary-button")
            stop = gr.Button("Stop here", elem_id="stop", elem_classes="plain-button")
            pause_back = gr.Button(
                "Back: change the last answer", elem_id="pause-back", elem_classes="plain-button"
            )
        with gr.Column(visible=False, elem_id="end") as end:
            ending = gr.HTML("", js_on_load=None)
            own = gr.HTML("", js_on_load=None)
            again = gr.Button("Go on judging", elem_id="again", elem_classes="primary-button")
            with gr.Accordion("Withdraw", open=False):
                sure = gr.Checkbox(False, label="Yes, delete all my answers.", elem_id="sure")
                withdraw = gr.Button("Delete my answers", elem_id="withdraw", elem_classes="danger-button")

        views = dict(zip(_VIEWS, (welcome, voting, pause, end), strict=True))

        def view(name: str) -> dict[Any, Any]:
            return {column: gr.update(visible=other == name) for other, column in views.items()}

        def say(message: str, *, wrong: bool = False) -> dict[Any, Any]:
            return {status: words.note(message, wrong=wrong)}

        def item(offer: Offer | None, who: str, note: str = "", vote: str | None = None) -> dict[Any, Any]:
            if offer is None:
                return {**finished(who), status: words.note(note, vote=vote)}
            task, settings = offer.item["task"], store.settings
            return {
                **view("voting"),
                shown: offer.offer,
                card: words.card(offer, look_for()),
                **{row: gr.update(visible=name == task) for name, row in rows.items()},
                reason: offer.reason or "",
                bar: words.progress(store.done(who), settings.batch, settings.limit),
                status: words.note(note or " ", vote=vote, then=words.spoken(offer)),
            }

        def finished(who: str) -> dict[Any, Any]:
            count = store.done(who)
            return {
                **view("end"),
                shown: "",
                card: "",
                ending: words.ended(count, whole=True),
                own: words.own_code(who),
            }

        def guarded(act: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
            def run(*values: Any) -> dict[Any, Any]:
                try:
                    return act(*values)
                except CrocError as problem:
                    return say(f"{str(problem)[:1].upper()}{str(problem)[1:]}.", wrong=True)

            return run

        def on_load(who: str) -> dict[Any, Any]:
            if not who:
                return view("welcome")
            try:
                store.who(who)
            except Refused:
                return view("welcome")
            return item(store.next(who), who)

        def on_begin(yes: bool) -> dict[Any, Any]:
            if not yes:
                return say("Please read the text and tick the box above the button.", wrong=True)
            made = store.join()
            return {**item(store.next(made.code), made.code), code: made.code}

        def on_resume(typed_code: str) -> dict[Any, Any]:
            who = str(typed_code).strip().lower()
            return {**item(store.next(who), who), code: who, typed: ""}

        def on_vote(task: str, answer: str, who: str, offer: str, why: str) -> dict[Any, Any]:
            try:
                vote = store.vote(who, offer, answer, why)
            except Refused as problem:
                # The page may be behind (another tab, a long absence): it shows what is open now.
                now = item(store.next(who), who) if store.who(who) else {}
                return {**now, **say(f"{problem}.", wrong=True)}
            count = store.done(who)
            if count % store.settings.batch == 0:
                return {
                    **view("pause"),
                    shown: "",
                    card: "",
                    reason: "",
                    rest: words.paused(count),
                    status: words.note("Saved.", vote=vote),
                }
            return item(store.next(who), who, "Saved.", vote)

        def on_back(who: str) -> dict[Any, Any]:
            offer = store.undo(who)
            if offer is None:
                return say("There is no answer to take back.")
            return item(offer, who, "Taken back; answer again.")

        def on_stop(who: str) -> dict[Any, Any]:
            store.leave(who)
            return {**finished(who), ending: words.ended(store.done(who), whole=False), status: ""}

        def on_withdraw(yes: bool, who: str) -> dict[Any, Any]:
            if not yes:
                return say("Please tick the box first.", wrong=True)
            store.withdraw(who)
            forget()
            told = "All your answers are deleted here."
            if campaign.mirror is not None:
                done = campaign.mirror.erase()
                told += (
                    " The stored data set was written again without them."
                    if done
                    else " The stored data set follows as soon as it can be reached."
                )
            return {
                **view("welcome"),
                code: "",
                shown: "",
                card: "",
                own: "",
                sure: False,
                agreed: False,
                **say(told),
            }

        everything = [
            *views.values(),
            code,
            shown,
            status,
            card,
            *rows.values(),
            reason,
            bar,
            rest,
            ending,
            own,
        ]
        everything += [typed, sure, agreed]
        quiet = {"outputs": everything, "queue": False, "show_progress": "hidden"}

        def wire(event: Any, act: Callable[..., dict[Any, Any]], inputs: list[Any], name: str) -> None:
            event(guarded(act), inputs=inputs, api_name=name, api_visibility="undocumented", **quiet)

        wire(demo.load, on_load, [code], "load")
        wire(begin.click, on_begin, [agreed], "begin")
        wire(resume.click, on_resume, [typed], "resume")
        for (task, answer), button in answers.items():
            wire(button.click, partial(on_vote, task, answer), [code, shown, reason], f"vote_{task}_{answer}")
        wire(back.click, on_back, [code], "back")
        wire(pause_back.click, on_back, [code], "pause_back")
        wire(go_on.click, on_load, [code], "go_on")
        wire(again.click, on_load, [code], "again")
        wire(finish.click, on_stop, [code], "finish")
        wire(stop.click, on_stop, [code], "stop")
        wire(withdraw.click, on_withdraw, [sure, code], "withdraw")

    from croc_hum.page.admin import add_view

    forget = add_view(gr, demo, campaign)
    return demo


@cache
def look_for() -> dict[str, str]:
    """What an annotator looks at, by category."""
    from croc_hum.candidates.prompts import load

    return {category: found.look_for for category, found in load().items()}


def launch(campaign: Campaign, *, host: str = "127.0.0.1", port: int = 7860, wait: bool = True) -> Any:
    """Serve the page until the process is told to end; then it returns, so that what is open can be closed.

    Args:
        campaign: what it is about.
        host: address to listen on; ``0.0.0.0`` for all.
        port: to listen on.
        wait: do not return before the server stops.

    Returns:
        What ``gradio.Blocks.launch`` returns.

    Raises:
        InputError: the port is taken.
    """
    gr = _gradio()
    from starlette.middleware import Middleware

    from croc_hum.page.guard import Guard

    demo = build(campaign)
    plain = ("system-ui", "sans-serif")
    if wait:
        # As Ctrl-C does: a machine that stops a Space, or a service, says so with this signal.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return demo.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=not wait,
            quiet=True,
            share=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            # gradio asks its own address within three seconds, and gives up on a machine that is busy.
            _frontend=False,
            footer_links=[],
            theme=gr.themes.Base(font=plain, font_mono=("ui-monospace", "monospace")),
            # Not as `css`, which reaches only what lies inside the page's column.
            head=f"<style>{(words.HERE / 'style.css').read_text('utf-8')}</style>",
            js=(words.HERE / "keys.js").read_text("utf-8"),
            app_kwargs={"middleware": [Middleware(Guard)], "docs_url": None, "redoc_url": None},
        )
    except OSError as problem:
        raise InputError(f"port {port} of {host}: cannot be served ({problem})") from None
