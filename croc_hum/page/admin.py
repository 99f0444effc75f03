"""The administrator's view: progress, agreement, disputed items, export, import and withdrawal.

Every request contains the token; the server keeps no session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from croc.errors import CrocError, InputError
from croc.wording import counted
from croc_hum.page import exports, fragments
from croc_hum.page.campaign import Campaign
from croc_hum.schema import ANSWERS
from croc_hum.votes import label_studio
from croc_hum.votes.invitations import make_invitations
from croc_hum.votes.store import REASON_CHARACTERS, Store

_MOST_INVITATIONS = 1000


@dataclass(frozen=True)
class Summary:
    """The votes so far.

    Attributes:
        tasks: (task, items, votes, items with enough votes).
        annotators: (pseudonym, votes, median seconds, attention checks passed, last vote).
        agreement: (task, category, scale, items, votes, alpha).
        agreement_message: why there is no agreement, or which annotators may not be independent; else empty.
        disputed: items on which annotators disagree, with their votes in ``item_votes``.
    """

    tasks: Sequence[tuple[Any, ...]]
    annotators: Sequence[tuple[Any, ...]]
    agreement: Sequence[tuple[Any, ...]] = ()
    agreement_message: str = ""
    disputed: Sequence[Mapping[str, Any]] = ()


def summarize(store: Store) -> Summary:
    """Summarize the votes of a store for the administrator."""
    votes = list(store.votes())
    tasks, annotators = _count_items(store, votes), _summarize_annotators(votes)
    if not votes:
        return Summary(tasks, annotators, agreement_message="There are no votes yet.")

    import polars as pl

    from croc_hum.votes.votes import DISPUTED, Rule, check_votes, decide

    frame = check_votes(pl.DataFrame(votes, infer_schema_length=None))
    rule = Rule(min_votes=min(3, store.settings.overlap))
    disputed = [
        {**row, "item_votes": [vote for vote in votes if vote["item_id"] == row["item_id"]]}
        for row in decide(frame, rule).filter(pl.col("why") == DISPUTED).to_dicts()
    ]
    agreement, message = _measure_agreement(frame, rule)
    return Summary(tasks, annotators, agreement, message, disputed)


def _count_items(store: Store, votes: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    counts: dict[str, int] = {}
    for vote in votes:
        if vote["role"] != "adjudicator":
            counts[vote["item_id"]] = counts.get(vote["item_id"], 0) + 1
    items = [item for item in store.items() if not item["attention"]]
    rows = []
    for task in ANSWERS:
        task_counts = [counts.get(item["item_id"], 0) for item in items if item["task"] == task]
        if task_counts:
            complete = sum(count >= store.settings.overlap for count in task_counts)
            rows.append((task, len(task_counts), sum(task_counts), complete))
    return rows


def _summarize_annotators(votes: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    by_annotator: dict[str, list[Mapping[str, Any]]] = {}
    for vote in votes:
        if vote["role"] != "adjudicator":
            by_annotator.setdefault(vote["annotator"], []).append(vote)
    rows = []
    for name, own_votes in sorted(by_annotator.items()):
        passed = [vote["answer"] == vote["expected"] for vote in own_votes if vote["attention"]]
        seconds = sorted(vote["duration_s"] for vote in own_votes if vote["duration_s"] is not None)
        median = f"{seconds[len(seconds) // 2]:.1f}" if seconds else None
        times = [vote["voted_at"] for vote in own_votes if vote["voted_at"] is not None]
        last = max(times).strftime("%Y-%m-%d %H:%M") if times else None
        rows.append((name, len(own_votes), median, f"{sum(passed)} of {len(passed)}", last))
    return rows


def _measure_agreement(votes: Any, rule: Any) -> tuple[list[tuple[Any, ...]], str]:
    from croc_hum.agreement.agreement import AgreementReport
    from croc_hum.agreement.vote_matrix import Settings

    try:
        report = AgreementReport.of(votes, rule, Settings(resamples=0))
    except CrocError as problem:
        return [], f"No agreement yet: {problem}."
    rows = []
    for alpha in report.alphas:
        value = "–" if alpha.alpha.value is None else f"{alpha.alpha.value:.2f}"
        rows.append((alpha.task, alpha.category or "all", alpha.level, alpha.items, alpha.votes, value))
    return rows, " ".join(f"{found.describe()}." for found in report.dependent)


def add_admin_view(gr: Any, demo: Any, campaign: Campaign) -> None:
    """Add the view to the page under ``/admin``."""
    store = campaign.store
    with demo.route("Administration", "/admin", show_in_navbar=False):
        gr.Navbar(visible=False)
        gr.HTML('<section class="text"><h1>Administration</h1></section>', js_on_load=None)
        status = gr.HTML(
            fragments.message("Enter the administrator's token."), elem_id="status", js_on_load=None
        )
        token = gr.Textbox(label="Token", type="password", max_length=200, elem_id="token")
        show = gr.Button("Show", elem_id="show", elem_classes="primary-button")
        with gr.Column(visible=False, elem_id="panel") as panel:
            summary = gr.HTML("", elem_id="summary", js_on_load=None)
            with gr.Column():
                disputed = gr.HTML("", elem_id="disputed", js_on_load=None)
                item_id = gr.Textbox(visible="hidden", label="item")
                reason = gr.Textbox(
                    label="Reason for your decision (optional)",
                    max_length=REASON_CHARACTERS,
                    elem_id="decide-reason",
                )
                rows, answers = {}, {}
                for task, task_answers in ANSWERS.items():
                    with gr.Row(visible=False, elem_classes="answers") as rows[task]:
                        for answer in task_answers:
                            answers[task, answer] = gr.Button(answer, elem_id=f"decide-{task}-{answer}")
            for number, name in enumerate(exports.NAMES):
                export = gr.Button(
                    f"Export {name}", elem_id=f"export-{number}", elem_classes="secondary-button"
                )
                export.click(None, inputs=[token], outputs=[status], js=_export_script(name))
            with gr.Column(visible=campaign.invitations):
                number_wanted = gr.Textbox("20", label="Number of invitation codes", elem_id="invite-number")
                invite = gr.Button("Make invitation codes", elem_id="invite", elem_classes="secondary-button")
                codes = gr.HTML("", elem_id="invitations", js_on_load=None)
            gr.HTML(
                '<div class="text"><label for="import-file">Import from Label Studio (JSON file)</label> '
                '<input id="import-file" type="file" accept="application/json"></div>',
                js_on_load=None,
            )
            content = gr.Textbox(visible="hidden", label="content")
            import_votes = gr.Button("Import votes", elem_id="import", elem_classes="secondary-button")
            pseudonym = gr.Textbox(
                label="Pseudonym of an annotator who withdraws", max_length=60, elem_id="withdraw-name"
            )
            withdraw = gr.Button(
                "Delete this annotator's votes", elem_id="withdraw-annotator", elem_classes="danger-button"
            )

        def show_panel(message: str = "") -> dict[Any, Any]:
            current = summarize(store)
            parts = [
                fragments.table(
                    "Progress",
                    ("task", "items", "votes", f"items with at least {store.settings.overlap} votes"),
                    current.tasks,
                ),
                fragments.table(
                    "Annotators",
                    ("annotator", "votes", "median seconds", "attention checks passed", "last vote (UTC)"),
                    current.annotators,
                ),
                fragments.message(current.agreement_message),
                fragments.table(
                    "Agreement so far (1 is perfect, 0 is chance level, – is undefined)",
                    ("task", "category", "scale", "items", "votes", "Krippendorff’s alpha"),
                    current.agreement,
                )
                if current.agreement
                else "",
            ]
            first = current.disputed[0] if current.disputed else None
            return {
                panel: gr.update(visible=True),
                summary: "".join(parts),
                disputed: fragments.disputed_item(first, len(current.disputed), store),
                item_id: first["item_id"] if first else "",
                **{
                    row: gr.update(visible=first is not None and first["task"] == task)
                    for task, row in rows.items()
                },
                reason: gr.update(value="", visible=first is not None),
                status: fragments.message(f"{message} As of {datetime.now(UTC):%H:%M} UTC.".strip()),
            }

        def authorize(handle: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
            """Run a handler only with the right token, and show its errors."""

            def run(value: Any, *values: Any) -> dict[Any, Any]:
                if (refusal := campaign.refuse_token(value)) is not None:
                    return {
                        status: fragments.message(refusal, error=True),
                        panel: gr.update(visible=False),
                    }
                try:
                    return handle(*values)
                except CrocError as problem:
                    text = str(problem)
                    return {status: fragments.message(f"{text[:1].upper()}{text[1:]}.", error=True)}

            return run

        def on_decide(answer: str) -> Callable[[str, str], dict[Any, Any]]:
            def decide_item(item: str, text: str) -> dict[Any, Any]:
                store.adjudicate(item, answer, text)
                return show_panel("Decision saved.")

            return decide_item

        def on_invite(text: str) -> dict[Any, Any]:
            wanted = int(text) if str(text).isascii() and str(text).isdigit() and len(text) < 6 else 0
            if not 1 <= wanted <= _MOST_INVITATIONS:
                raise InputError(f"the number of invitation codes must be from 1 to {_MOST_INVITATIONS}")
            made = make_invitations(campaign.token, wanted)
            message = f"Made {counted(wanted, 'invitation code')}. Each lets one person begin."
            return {codes: fragments.invitations(made), status: fragments.message(message)}

        def on_import(text: str) -> dict[Any, Any]:
            imported = label_studio.read(text or "", store.secret)
            new = store.add_votes(imported.votes)
            message = (
                f"Imported {counted(new, 'vote')}. Already stored: {len(imported.votes) - new}. Without "
                f"an answer: {imported.skipped}."
            )
            return {**show_panel(message), content: ""}

        def on_withdraw(name: str) -> dict[Any, Any]:
            store.withdraw_annotator(str(name).strip())
            campaign.exports.discard()
            message = "Votes deleted."
            if campaign.mirror is not None and not campaign.mirror.erase():
                message += (
                    " The stored dataset cannot be reached; this is repeated until they are deleted there."
                )
            return {**show_panel(message), pseudonym: ""}

        outputs = [
            status,
            panel,
            summary,
            disputed,
            item_id,
            *rows.values(),
            reason,
            codes,
            content,
            pseudonym,
        ]

        def connect(
            event: Any, handle: Callable[..., dict[Any, Any]], inputs: list[Any], name: str, **options: Any
        ) -> None:
            event(
                authorize(handle),
                inputs=[token, *inputs],
                outputs=outputs,
                api_name=f"admin_{name}",
                api_visibility="undocumented",
                queue=False,
                show_progress="hidden",
                **options,
            )

        connect(show.click, show_panel, [], "show")
        connect(token.submit, show_panel, [], "enter")
        for (task, answer), button in answers.items():
            connect(button.click, on_decide(answer), [item_id, reason], f"decide_{task}_{answer}")
        connect(invite.click, on_invite, [number_wanted], "invite")
        read_file = (
            "async (token, _) => "
            "[token, (await document.getElementById('import-file').files[0]?.text()) ?? '']"
        )
        connect(import_votes.click, on_import, [content], "import", js=read_file)
        connect(withdraw.click, on_withdraw, [pseudonym], "withdraw")


def _export_script(name: str) -> str:
    """JavaScript that fetches an export with the token and saves it."""
    done = fragments.message(f"{name} was exported.")
    failed = fragments.message("REASON", error=True)
    return f"""async (token) => {{
  let reason = "The server did not answer.";
  try {{
    const url = new URL("export/{name}", location.href.replace(/admin\\/?([?#].*)?$/, ""));
    const response = await fetch(url, {{method: "POST", body: JSON.stringify({{token}})}});
    if (response.ok) {{
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = "{name}";
      document.body.append(link); link.click(); link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      return {json.dumps(done)};
    }}
    reason = (await response.json()).detail;
  }} catch {{ }}
  const text = document.createElement("span"); text.textContent = reason;
  return {json.dumps(failed)}.replace("REASON", () => text.innerHTML);
}}"""
