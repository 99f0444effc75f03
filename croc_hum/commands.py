"""The commands of this package: hum annotate, hum votes, hum agreement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH
from croc.cli.output import show, write
from croc.errors import InputError


@section("people")
@click.group(
    cls=CommandGroup,
    epilog="""\b
The whole way:
  croc hum prompts
  croc hum candidates --images 3 --out runs/candidates
  croc hum annotate runs/candidates --store votes.sqlite
  croc hum votes votes.sqlite --out votes.parquet
  croc hum agreement votes.parquet
  croc hum release votes.parquet --items runs/candidates --out runs/hum""",
)
def hum() -> None:
    """CROChum: people judge candidate images; their votes become checks."""


@hum.command(epilog="Example: croc hum annotate runs/candidates --store votes.sqlite --overlap 3")
@click.argument("items", required=False, type=PATH)
@click.option(
    "--store", "store_path", default="votes.sqlite", show_default=True, type=PATH, help="SQLite file."
)
@click.option("--overlap", type=click.IntRange(1), help="People who judge each item.  [default: 3]")
@click.option("--limit", type=click.IntRange(1), help="Items one annotator judges, at most.")
@click.option("--batch", type=click.IntRange(1), help="Items before a pause is proposed.  [default: 50]")
@click.option(
    "--attention-every", type=click.IntRange(0), help="One attention check in so many.  [default: 20]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7860, show_default=True, type=click.IntRange(1, 65535))
@click.option("--repo", metavar="ORG/NAME", help="Private dataset that keeps a copy; made when not there.")
@click.option(
    "--every", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Minutes between its commits."
)
@click.option("--contact", help="Whom an annotator asks; shown with the consent.")
def annotate(
    items: Path | None,
    store_path: Path,
    overlap: int | None,
    limit: int | None,
    batch: int | None,
    attention_every: int | None,
    host: str,
    port: int,
    repo: str | None,
    every: float,
    contact: str | None,
) -> None:
    """Serve the page for annotators on a file or folder of ITEMS; run again to go on.

    The administrator's view is at /admin; its token comes from CROC_ADMIN_TOKEN, or is made and shown.
    """
    import os
    import secrets
    from contextlib import ExitStack
    from dataclasses import replace

    from croc_hum.page import VERSION, Campaign, launch
    from croc_hum.votes.store import Store, read_items

    with ExitStack() as stack:
        store = stack.enter_context(Store(store_path, version=VERSION))
        wished = {"overlap": overlap, "limit": limit, "batch": batch, "attention_every": attention_every}
        given: dict[str, Any] = {name: value for name, value in wished.items() if value is not None}
        if given:
            store.configure(replace(store.settings, **given))
        if items is not None:
            click.echo(f"{store.add_items(read_items(items))} new items", err=True)
        elif not any(True for _ in store.items()):
            raise InputError(
                f"{store_path}: no items in it yet; give a file of items (croc hum candidates makes one)"
            )
        token = os.environ.get("CROC_ADMIN_TOKEN")
        if not token:
            token = secrets.token_urlsafe(24)
            click.echo(f"administrator's token: {token}", err=True)
        mirror = None
        if repo is not None:
            from croc_hum.votes.hub_copy import Mirror

            mirror = stack.enter_context(Mirror(store, repo, every=every))
        about = {"contact": contact} if contact else {}
        click.echo(f"http://{host}:{port}  (administration: http://{host}:{port}/admin)", err=True)
        launch(Campaign(store, token, mirror, **about), host=host, port=port)


@hum.command(
    epilog="""\b
Examples:
  croc hum votes votes.sqlite --out votes.parquet
  croc hum votes votes.sqlite --out tasks.json
  croc hum votes votes.sqlite --bring labelled.json --out votes.parquet"""
)
@click.argument("store", type=PATH)
@click.option("--out", type=PATH, help="Parquet, CSV, or JSON for Label Studio, with the images.")
@click.option("--bring", type=PATH, help="First take in the votes of a JSON file of Label Studio.")
def votes(store: Path, out: Path | None, bring: Path | None) -> None:
    """Take the votes out of the STORE of a campaign, and bring in those that were given in Label Studio.

    Beside JSON lies the labelling interface for it (.xml). The page may be served meanwhile.
    """
    import json

    from croc.storage.files import atomic
    from croc_hum.votes import label_studio
    from croc_hum.votes.store import Store

    if not store.is_file():
        raise InputError(f"{store}: there is no such store (croc hum annotate makes one)")
    if out is not None and out.suffix not in (".parquet", ".csv", ".json"):
        raise InputError(f"{out}: the name ends in .parquet, .csv or .json")
    with Store(store) as opened:
        if bring is not None:
            try:
                found = label_studio.read(bring.read_text("utf-8"), opened.secret)
            except (OSError, UnicodeDecodeError) as problem:
                raise InputError(f"{bring}: cannot be read ({problem})") from None
            new = opened.add_votes(found.votes)
            click.echo(f"{new} of {len(found.votes)} votes are new; {found.skipped} had no answer", err=True)
        if out is None:
            return
        if out.suffix == ".parquet":
            count = opened.export(out)
        elif out.suffix == ".csv":
            count = label_studio.write_csv(opened, out)
        else:
            tasks = label_studio.tasks(opened, images=True)
            count = sum(len(task["annotations"]) for task in tasks)
            for file, text in ((out, json.dumps(tasks)), (out.with_suffix(".xml"), label_studio.CONFIG)):
                with atomic(file) as temporary:
                    temporary.write_text(text, "utf-8")
        click.echo(f"{out}: {count} votes")


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say when votes decide about an image."""
    options = (
        click.option(
            "--min-votes", default=3, show_default=True, type=click.IntRange(1), help="Votes it needs."
        ),
        click.option(
            "--min-share",
            default=2 / 3,
            show_default="2/3",
            type=click.FloatRange(0.5, 1, min_open=True),
            help="Share of them that must agree; unsure is a vote.",
        ),
        click.option(
            "--method",
            default="majority",
            show_default=True,
            type=click.Choice(["majority", "dawid-skene"]),
            help="Count votes, or weigh annotators by how they err.",
        ),
        click.option(
            "--min-attention",
            default=0.0,
            show_default="all are heard",
            type=click.FloatRange(0, 1),
            help="Share of attention checks that somebody must have passed; others are left out.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


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
    "--items", type=PATH, help="The candidates that the votes are about: label noise by property, too."
)
@click.option(
    "--scores",
    multiple=True,
    type=PATH,
    help="Score tables of the candidates: one verdict an annotator, too; repeatable.",
)
@decision_options
@click.option(
    "--resamples", default=1000, show_default=True, type=click.IntRange(0), help="Bootstrap; 0: none."
)
@click.option(
    "--unit",
    default="concept",
    show_default=True,
    type=click.Choice(["concept", "item"]),
    help="What is resampled for alpha; images of a concept are judged alike.",
)
@click.option("--seed", default=None, type=click.IntRange(0), help="Of the bootstrap; the default is fixed.")
@click.option(
    "--level", default=0.95, show_default=True, type=click.FloatRange(0.5, 0.999), help="Of intervals."
)
@click.option("--json", "json_file", type=PATH, help="Write all numbers here.")
@click.option("--html", "html_file", type=PATH, help="Write a self-contained page here.")
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
    """Say how far the annotators of VOTES agree, what they cost, and what their verdict depends on.

    VOTES is what the administrator's page exports: a Parquet, CSV or TSV file. Krippendorff's alpha, pairwise
    kappa, hours and discard rates by category, each annotator against the others.
    """
    from dataclasses import replace

    from croc_hum.agreement import views as agreement_views
    from croc_hum.agreement.agreement import AgreementReport, Settings
    from croc_hum.agreement.label_noise import LabelNoise, read_sample
    from croc_hum.release.release import item_ids
    from croc_hum.votes.votes import Rule, known_items, read_votes

    rule, found = Rule(min_votes, min_share, method, min_attention), read_votes(votes)
    sample = None if items is None else read_sample(items)
    if items is not None:
        known_items(found, item_ids(items), str(votes))
    settings = Settings(unit, resamples, *(() if seed is None else (seed,)))
    report = AgreementReport.of(found, rule, replace(settings, level=level))
    if sample is not None:
        report = replace(report, noise=LabelNoise.of(found, sample, rule, level=level))
    if scores:
        from croc_hum.agreement.rankings import rankings

        task = sample["task"] if sample else report.groups[0].task
        report = replace(report, rankings=rankings(scores, found, rule, task=task, resamples=resamples))
    show(agreement_views.terminal(report))
    write(json_file, report.to_json() if json_file else "")
    write(html_file, agreement_views.html(report) if html_file else "")
