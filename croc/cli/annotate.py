"""The page on which people judge images, and the votes in its file: croc hum annotate, votes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import click

from croc.cli.shared import PATH
from croc.errors import InputError


@click.command(epilog="Example: croc hum annotate runs/candidates --store votes.sqlite --overlap 3")
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


@click.command(
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
