"""The commands of this package: hum annotate, hum votes, hum agreement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, Integer, Number, json_option, together
from croc.cli.output import echo, log, show, write
from croc.errors import InputError


@section("people")
@click.group(
    cls=CommandGroup,
    epilog="""\b
All steps in order:
  croc hum prompts
  croc hum candidates --images 3 --out runs/candidates
  croc hum annotate runs/candidates --store votes.sqlite
  croc hum votes votes.sqlite --out votes.parquet
  croc hum agreement votes.parquet
  croc hum release votes.parquet --items runs/candidates --out runs/hum""",
)
def hum() -> None:
    """Collect human labels and build checks from them.

    CROChum is made in this way: annotators vote on candidate images, and the images that show their prompt
    become checks.
    """


@hum.command(epilog="Example: croc hum annotate runs/candidates --store votes.sqlite --overlap 3")
@click.argument("items", required=False, type=PATH)
@click.option(
    "--store",
    "store_path",
    default="votes.sqlite",
    show_default=True,
    type=PATH,
    metavar="FILE",
    help="SQLite file that holds the items and the votes.",
)
@click.option("--overlap", type=Integer(1), help="Number of annotators per item. Default: 3.")
@click.option("--limit", type=Integer(1), help="Maximum number of items per annotator. Default: no limit.")
@click.option("--batch", type=Integer(1), help="Number of items before a break is suggested. Default: 50.")
@click.option(
    "--attention-every",
    type=Integer(0),
    help="Show one attention check per this number of items. 0 shows none. Default: 20.",
)
@click.option(
    "--hold",
    type=Integer(1),
    metavar="SECONDS",
    help="An item that stays open longer is returned for other annotators. Default: 300.",
)
@click.option("--invitations", is_flag=True, help="New annotators need an invitation code, made at /admin.")
@click.option(
    "--joins-per-hour",
    default=30,
    show_default=True,
    type=Integer(0),
    help="Maximum number of new annotators per address and hour. 0 sets no limit.",
)
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="A proxy in front of the server appends the address of the browser to X-Forwarded-For.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which the server listens.")
@click.option(
    "--port",
    default=7860,
    show_default=True,
    type=Integer(1, 65535),
    help="Port on which the server listens.",
)
@click.option(
    "--repo",
    metavar="ORG/NAME",
    help="Private dataset on the Hub that keeps a copy of the store. It is created if it does not exist.",
)
@click.option(
    "--commit-every",
    default=5.0,
    show_default=True,
    type=Number(0),
    metavar="MINUTES",
    help="Minutes between two commits of that copy. 0 commits each vote before it is acknowledged.",
)
@click.option("--contact", help="Contact for questions of annotators, shown with the consent form.")
def annotate(
    items: Path | None,
    store_path: Path,
    overlap: int | None,
    limit: int | None,
    batch: int | None,
    attention_every: int | None,
    hold: int | None,
    invitations: bool,
    joins_per_hour: int,
    behind_proxy: bool,
    host: str,
    port: int,
    repo: str | None,
    commit_every: float,
    contact: str | None,
) -> None:
    """Serve the web page on which annotators label images.

    ITEMS is a file or folder of candidates, as 'croc hum candidates' makes it. It can be left out when the
    store already has items. Run the command again to resume a campaign.

    The administrator's page is at /admin. Its token comes from CROC_ADMIN_TOKEN; without one a new token is
    made and printed.
    """
    import os
    import secrets
    from contextlib import ExitStack
    from dataclasses import replace

    from croc.wording import counted
    from croc_hum.page import VERSION, Campaign, launch
    from croc_hum.page.limits import Visitors
    from croc_hum.schema import read_items
    from croc_hum.votes.store import Store

    with ExitStack() as stack:
        store = stack.enter_context(Store(store_path, version=VERSION))
        options = {"overlap": overlap, "limit": limit, "batch": batch, "attention_every": attention_every}
        options["hold_s"] = hold
        changed: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if changed:
            store.configure(replace(store.settings, **changed))
        if items is not None:
            log(f"{counted(store.add_items(read_items(items)), 'new item')}")
        elif not any(True for _ in store.items()):
            raise InputError(
                f"{store_path}: no items in the store; name a file of items ('croc hum candidates' makes one)"
            )
        token = os.environ.get("CROC_ADMIN_TOKEN")
        if not token:
            token = secrets.token_urlsafe(24)
            log(f"administrator's token: {token}")
        mirror = None
        if repo is not None:
            from croc_hum.votes.hub_copy import Mirror

            mirror = stack.enter_context(Mirror(store, repo, every=commit_every))
        page_options: dict[str, Any] = {"contact": contact} if contact else {}
        page_options |= {"invitations": invitations, "behind_proxy": behind_proxy}
        page_options["visitors"] = Visitors(joins_per_hour)
        address = f"http://{host}:{port}"
        launch(
            Campaign(store, token, mirror, **page_options),
            host=host,
            port=port,
            ready=lambda: log(f"{address}  (administration: {address}/admin)"),
        )


@hum.command(
    epilog="""\b
Examples:
  croc hum votes votes.sqlite --out votes.parquet
  croc hum votes votes.sqlite --out tasks.json
  croc hum votes votes.sqlite --import labelled.json --out votes.parquet"""
)
@click.argument("store", type=PATH)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    help="Output file: .parquet, .csv, or .json (tasks of Label Studio with the images).",
)
@click.option(
    "--import",
    "labelled",
    type=PATH,
    metavar="FILE",
    help="First add the votes in this JSON file from Label Studio to the store.",
)
def votes(store: Path, out: Path | None, labelled: Path | None) -> None:
    """Export the votes of a campaign, or import votes.

    STORE is the SQLite file of 'croc hum annotate', which may run at the same time. With a .json file, the
    labelling interface for Label Studio is written beside it (.xml).
    """
    import json

    from croc.storage.files import atomic
    from croc.storage.text_files import read_text
    from croc.wording import counted
    from croc_hum.votes import label_studio
    from croc_hum.votes.store import Store

    if not store.is_file():
        raise InputError(f"{store}: no such file ('croc hum annotate' makes it)")
    if out is not None and out.suffix not in (".parquet", ".csv", ".json"):
        raise InputError(f"{out}: the name must end in .parquet, .csv or .json")
    with Store(store) as votes_store:
        if labelled is not None:
            imported = label_studio.read(read_text(labelled), votes_store.secret, str(labelled))
            new = votes_store.add_votes(imported.votes)
            log(
                f"{new} of {counted(len(imported.votes), 'vote')} are new; annotations without an answer: "
                f"{imported.skipped}"
            )
        if out is None:
            return
        if out.suffix == ".parquet":
            total = votes_store.export(out)
        elif out.suffix == ".csv":
            total = label_studio.write_csv(votes_store, out)
        else:
            tasks = label_studio.tasks(votes_store, images=True)
            total = sum(len(task["annotations"]) for task in tasks)
            for file, text in ((out, json.dumps(tasks)), (out.with_suffix(".xml"), label_studio.CONFIG)):
                with atomic(file) as temporary:
                    temporary.write_text(text, "utf-8")
        echo(f"{out}: {counted(total, 'vote')}")


rule_options = together(
    click.option(
        "--min-votes",
        default=3,
        show_default=True,
        type=Integer(1),
        help="Number of votes that an image needs.",
    ),
    click.option(
        "--min-share",
        default=2 / 3,
        type=Number(0.5, 1, min_open=True),
        help="Share of the votes that must agree. 'Unsure' counts as a vote. Default: 2/3.",
    ),
    click.option(
        "--method",
        default="majority",
        show_default=True,
        type=click.Choice(["majority", "dawid-skene"]),
        help="Count votes, or weight annotators by their estimated error rates.",
    ),
    click.option(
        "--min-attention",
        default=0.0,
        type=Number(0, 1),
        help="Exclude annotators who pass a smaller share of the attention checks. Default: 0.",
    ),
)
"""Options of the rule by which votes decide about an image."""


@hum.command(
    epilog="""\b
Examples:
  croc hum agreement votes.parquet
  croc hum agreement votes.parquet --html agreement.html --json agreement.json
  croc hum agreement votes.parquet --items runs/candidates --scores scores/
  croc hum agreement votes.parquet --items runs/sample --json agreement.json
  croc hum card runs/syn --agreement agreement.json"""
)
@click.argument("votes", type=PATH)
@click.option(
    "--items",
    type=PATH,
    metavar="FOLDER",
    help="Folder of the candidates. With it the label noise of each property is measured, too.",
)
@click.option(
    "--scores",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="Score table of the candidates. With it metrics are ranked by the votes of each annotator. "
    "Repeatable.",
)
@rule_options
@click.option(
    "--resamples",
    default=1000,
    show_default=True,
    type=Integer(0),
    help="Number of bootstrap resamples. 0 computes no intervals.",
)
@click.option(
    "--unit",
    default="concept",
    show_default=True,
    type=click.Choice(["concept", "item"]),
    help="What is resampled for alpha. Votes on images of one concept are correlated.",
)
@click.option("--seed", type=Integer(0), help="Seed of the resamples. Default: a fixed one.")
@click.option(
    "--level",
    default=0.95,
    show_default=True,
    type=Number(0.5, 0.999),
    help="Confidence level of the intervals.",
)
@json_option
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a self-contained web page.")
def agreement(
    votes: Path,
    items: Path | None,
    scores: tuple[Path, ...],
    min_votes: int,
    min_share: float,
    method: str,
    min_attention: float,
    resamples: int,
    unit: str,
    seed: int | None,
    level: float,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Measure the agreement of annotators.

    VOTES is a file that 'croc hum votes' or the administrator's page exported (Parquet, CSV or TSV). The
    report contains Krippendorff's alpha, kappa for each pair of annotators, working hours, discard rates by
    category, and a comparison of each annotator with the others.
    """
    from dataclasses import replace

    from croc_hum.agreement import views as agreement_views
    from croc_hum.agreement.agreement import AgreementReport
    from croc_hum.agreement.label_noise import LabelNoise, read_sample
    from croc_hum.agreement.vote_matrix import Settings
    from croc_hum.release.release import read_item_ids
    from croc_hum.votes.votes import Rule, read_votes, require_known_items

    rule, frame = Rule(min_votes, min_share, method, min_attention), read_votes(votes)
    sample = None if items is None else read_sample(items)
    if items is not None:
        require_known_items(frame, read_item_ids(items), str(votes))
    settings = Settings(unit, resamples, *(() if seed is None else (seed,)))
    report = AgreementReport.of(frame, rule, replace(settings, level=level))
    if sample is not None:
        report = replace(report, noise=LabelNoise.of(frame, sample, rule, level=level))
    if scores:
        from croc_hum.agreement.rankings import rank_by_annotator

        task = sample["task"] if sample else report.groups[0].task
        report = replace(
            report, rankings=rank_by_annotator(scores, frame, rule, task=task, resamples=resamples)
        )
    write(json_file, report.to_json() if json_file else "")
    write(html_file, agreement_views.html(report) if html_file else "")
    show(agreement_views.terminal(report), [report.signature])
