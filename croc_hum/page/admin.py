"""The administrator's view: progress, agreement so far, items to decide, files out and in.

Every request brings the token; the server remembers nobody.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError
from croc_hum.page import words
from croc_hum.schema import ANSWERS
from croc_hum.votes import label_studio
from croc_hum.votes.store import Store

if TYPE_CHECKING:
    from croc_hum.page import Campaign


def survey(store: Store) -> dict[str, Any]:
    """What the view shows, from the votes as they are now.

    Returns:
        ``tasks`` and ``annotators`` (rows of their tables), ``agreement`` (rows, or a sentence), ``divided``
        (items to decide, with their votes).
    """
    import polars as pl

    votes = list(store.votes())
    items = list(store.items())
    overlap = store.settings.overlap
    judged: dict[str, int] = {}
    people: dict[str, list[dict[str, Any]]] = {}
    for vote in votes:
        if vote["role"] != "adjudicator":
            people.setdefault(vote["annotator"], []).append(vote)
            judged[vote["item_id"]] = judged.get(vote["item_id"], 0) + 1
    tasks = []
    for task in ANSWERS:
        mine = [item["item_id"] for item in items if item["task"] == task and not item["attention"]]
        if mine:
            given = [judged.get(item, 0) for item in mine]
            tasks.append((task, len(mine), sum(given), sum(count >= overlap for count in given)))
    annotators = []
    for name, theirs in sorted(people.items()):
        checks = [vote["answer"] == vote["expected"] for vote in theirs if vote["attention"]]
        times = sorted(vote["duration_s"] for vote in theirs if vote["duration_s"] is not None)
        middle = f"{times[len(times) // 2]:.1f}" if times else None
        last = max(vote["voted_at"] for vote in theirs).strftime("%Y-%m-%d %H:%M")
        annotators.append((name, len(theirs), middle, f"{sum(checks)} of {len(checks)}", last))
    agreement: Any = "There are no votes yet."
    divided: list[dict[str, Any]] = []
    if votes:
        from croc_hum.votes.votes import DIVIDED, Rule, decide, table

        frame = table(pl.DataFrame(votes, infer_schema_length=None))
        rule = Rule(min_votes=min(3, overlap))
        open_items = decide(frame, rule).filter(pl.col("why") == DIVIDED)
        for row in open_items.to_dicts():
            votes_here = [vote for vote in votes if vote["item_id"] == row["item_id"]]
            divided.append({**row, "given": votes_here})
        agreement = _agreement(frame, rule)
    return {"tasks": tasks, "annotators": annotators, "agreement": agreement, "divided": divided}


def _agreement(frame: Any, rule: Any) -> Any:
    from croc_hum.agreement.agreement import AgreementReport, Settings

    try:
        report = AgreementReport.of(frame, rule, Settings(resamples=0))
    except CrocError as problem:
        return f"No agreement yet: {problem}."
    rows = []
    for found in report.alphas:
        value = "–" if found.alpha.value is None else f"{found.alpha.value:.2f}"
        rows.append((found.task, found.category or "all", found.level, found.items, found.votes, value))
    return rows


def add_view(gr: Any, demo: Any, campaign: Campaign) -> Callable[[], None]:
    """Put the view under ``/admin``.

    Returns:
        What deletes the files that were made for download; a withdrawal must not leave votes in them.
    """
    store = campaign.store
    exports = Path(tempfile.mkdtemp(prefix="croc-exports-"))
    atexit.register(shutil.rmtree, exports, ignore_errors=True)

    def forget() -> None:
        for file in exports.glob("*"):
            file.unlink(missing_ok=True)

    with demo.route("Administration", "/admin", show_in_navbar=False):
        gr.Navbar(visible=False)
        gr.HTML('<section class="words"><h1>Administration</h1></section>', js_on_load=None)
        status = gr.HTML(words.note("Nothing is shown without the token."), elem_id="status", js_on_load=None)
        token = gr.Textbox(label="Token", type="password", max_length=200, elem_id="token")
        enter = gr.Button("Show", elem_id="enter", elem_classes="primary-button")
        with gr.Column(visible=False, elem_id="panel") as panel:
            numbers = gr.HTML("", elem_id="numbers", js_on_load=None)
            with gr.Column(elem_id="decide"):
                divided = gr.HTML("", elem_id="divided", js_on_load=None)
                current = gr.Textbox(visible="hidden", label="item", elem_id="current")
                rows, deciding = {}, {}
                for task, choices in ANSWERS.items():
                    with gr.Row(visible=False, elem_classes="answers") as rows[task]:
                        for answer in choices:
                            deciding[task, answer] = gr.Button(answer, elem_id=f"decide-{task}-{answer}")
                why = gr.Textbox(label="Reason (optional)", max_length=1000, elem_id="decide-reason")
            export = gr.Button("Make files", elem_id="export", elem_classes="plain-button")
            files = {
                name: gr.DownloadButton(
                    name, visible=False, elem_id=f"file-{place}", elem_classes="plain-button"
                )
                for place, name in enumerate(("votes.parquet", "votes.csv", "label-studio.json"))
            }
            gr.HTML(
                '<div class="words"><label for="brought">Label Studio JSON to bring in</label> '
                '<input id="brought" type="file" accept="application/json"></div>',
                js_on_load=None,
            )
            content = gr.Textbox(visible="hidden", label="content")
            bring = gr.Button("Bring in", elem_id="bring", elem_classes="plain-button")
            name = gr.Textbox(label="Pseudonym to withdraw", max_length=60, elem_id="withdraw-name")
            remove = gr.Button(
                "Delete this annotator's votes", elem_id="remove", elem_classes="danger-button"
            )

        def opened(note: str = "") -> dict[Any, Any]:
            found = survey(store)
            shown = [
                words.table(
                    "Progress",
                    ("task", "items", "votes", f"with {store.settings.overlap} votes"),
                    found["tasks"],
                )
            ]
            people = ("annotator", "votes", "median seconds", "attention checks", "last vote (UTC)")
            shown.append(words.table("Annotators", people, found["annotators"]))
            if isinstance(found["agreement"], str):
                shown.append(f'<p class="note">{words.text(found["agreement"])}</p>')
            else:
                columns = ("task", "category", "scale", "items", "votes", "Krippendorff’s alpha")
                shown.append(words.table("Agreement so far", columns, found["agreement"]))
            first = found["divided"][0] if found["divided"] else None
            return {
                panel: gr.update(visible=True),
                numbers: "".join(shown),
                divided: words.to_decide(first, len(found["divided"]), store),
                current: first["item_id"] if first else "",
                **{
                    row: gr.update(visible=first is not None and first["task"] == task)
                    for task, row in rows.items()
                },
                why: gr.update(value="", visible=bool(first)),
                status: words.note(f"{note} As of {datetime.now(UTC):%H:%M} UTC.".strip()),
            }

        def guarded(act: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
            def run(given: Any, *values: Any) -> dict[Any, Any]:
                if not campaign.opens(given):
                    return {
                        status: words.note("This token is not right.", wrong=True),
                        panel: gr.update(visible=False),
                    }
                try:
                    return act(*values)
                except CrocError as problem:
                    return {status: words.note(f"{problem}.", wrong=True)}

            return run

        def on_decide(answer: str) -> Callable[[str, str], dict[Any, Any]]:
            def act(item: str, reason: str) -> dict[Any, Any]:
                store.adjudicate(item, answer, reason)
                return opened("Decided.")

            return act

        def on_export() -> dict[Any, Any]:
            made = {file: exports / file for file in files}
            count = store.export(made["votes.parquet"])
            label_studio.write_csv(store, made["votes.csv"])
            made["label-studio.json"].write_text(
                json.dumps(label_studio.tasks(store), ensure_ascii=False), "utf-8"
            )
            shown = {button: gr.update(value=str(made[file]), visible=True) for file, button in files.items()}
            return {**shown, status: words.note(f"{count} votes are in the files.")}

        def on_bring(text: str) -> dict[Any, Any]:
            found = label_studio.read(text or "", store.secret)
            new, given = store.add_votes(found.votes), len(found.votes)
            return {
                **opened(
                    f"{new} of {given} votes are new; {found.skipped} more were skipped or had no answer."
                ),
                content: "",
            }

        def on_remove(who: str) -> dict[Any, Any]:
            store.withdraw_name(str(who).strip())
            forget()
            if campaign.mirror is not None:
                campaign.mirror.erase()
            hidden = {button: gr.update(value=None, visible=False) for button in files.values()}
            return {**opened("Deleted."), name: "", **hidden}

        outputs = [
            status,
            panel,
            numbers,
            divided,
            current,
            *rows.values(),
            why,
            *files.values(),
            content,
            name,
        ]

        def wire(
            event: Any, act: Callable[..., dict[Any, Any]], inputs: list[Any], api: str, **more: Any
        ) -> None:
            event(
                guarded(act),
                inputs=[token, *inputs],
                outputs=outputs,
                api_name=f"admin_{api}",
                api_visibility="undocumented",
                queue=False,
                show_progress="hidden",
                **more,
            )

        wire(enter.click, opened, [], "show")
        wire(token.submit, opened, [], "enter")
        for (task, answer), button in deciding.items():
            wire(button.click, on_decide(answer), [current, why], f"decide_{task}_{answer}")
        wire(export.click, on_export, [], "export")
        read = (
            "async (token, _) => [token, (await document.getElementById('brought').files[0]?.text()) ?? '']"
        )
        wire(bring.click, on_bring, [content], "bring", js=read)
        wire(remove.click, on_remove, [name], "remove")
    return forget
