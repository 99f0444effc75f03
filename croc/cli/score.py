"""Commands that run metrics: score, scores export, scores import, scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, executor_options, key_values, make_executor
from croc.cli.output import show
from croc.errors import InputError


class _ManyScorers(click.Command):
    """``DATASET --scorer A B`` means ``DATASET --scorer A --scorer B``, as its usage reads."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        inside = False
        for number, word in enumerate(args):
            if word.startswith("-"):
                inside = word == "--scorer" and number > 0 and not args[0].startswith("-")
            elif inside and spread[-1] != "--scorer":
                spread.append("--scorer")
            spread.append(word)
        return super().parse_args(ctx, spread)


@section("run")
@click.command(
    cls=_ManyScorers,
    epilog="""\b
Examples:
  croc score runs/syn --scorer clipscore-b32 --scorer random --out scores/
  croc score croc/hum --streaming --scorer my_package:MyMetric --out scores/
  croc score croc/syn --scorer pickscore --executor ray --address ray://head:10001 --out scores/""",
)
@click.argument("dataset")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A name of 'croc scorers list' or module:Class; repeatable.",
)
@click.option("--out", required=True, type=PATH, help="Folder of the score tables.")
@click.option("--config", help="Configuration of the dataset.")
@click.option("--split", help="Split of the dataset.")
@click.option("--revision", help="Tag or commit of a Hub dataset.")
@click.option("--streaming", is_flag=True, help="Read a Hub dataset without downloading it first.")
@click.option(
    "--max-checks", type=click.IntRange(1), help="At most so many, evenly spaced; for a first look."
)
@click.option("--protocol", metavar="syn|hum", help="Default: as the checks show.")
@click.option(
    "--batch-size", type=click.IntRange(1), help="Default: each scorer's own; halved when memory runs out."
)
@click.option("--max-failures", type=click.IntRange(0), help="Stop when more pairs fail; default: never.")
@click.option("--device", help="cpu, cuda, mps; default: the best there is.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="For scorers that take it; repeatable.",
)
@executor_options
@click.option("--overwrite", is_flag=True, help="Start anew instead of going on.")
def score(
    dataset: str,
    scorers: tuple[str, ...],
    out: Path,
    device: str | None,
    options: tuple[str, ...],
    executor: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    overwrite: bool,
    **more: Any,
) -> None:
    """Run metrics on DATASET: a folder, a Parquet file or a Hub id. Run it again to go on after a stop."""
    from croc.scorers.registry import takes
    from croc.scoring.run import score_dataset

    given = key_values(options, "--option")
    for key in given:
        if not any(takes(name, key) for name in scorers):
            raise InputError(f"--option {key}: none of {', '.join(scorers)} takes it")
    runner = None
    if executor != "local" or address is not None or (workers or 1) > 1:
        gpu = device != "cpu" and any(takes(name, "device") for name in scorers)
        runner = make_executor(executor, address, workers, gpus_per_worker, gpu=gpu)
    files = score_dataset(
        dataset,
        scorers,
        out,
        existing="overwrite" if overwrite else "resume",
        options=given | ({"device": device} if device else {}),
        engine=runner,
        tell=lambda line: click.echo(line, err=True),
        **more,
    )
    for file in files:
        click.echo(file)


@section("run")
@click.group(cls=CommandGroup)
def scores() -> None:
    """Exchange scores with metrics that run elsewhere."""


@scores.command("export", epilog="Example: croc scores export runs/syn --out pairs")
@click.argument("dataset")
@click.option("--out", required=True, type=PATH, help="Folder of the pairs.")
@click.option("--config", help="Configuration of the dataset.")
@click.option("--split", help="Split of the dataset.")
@click.option("--revision", help="Tag or commit of a Hub dataset.")
@click.option("--streaming", is_flag=True, help="Read a Hub dataset without downloading it first.")
@click.option("--protocol", metavar="syn|hum", help="Default: as the checks show.")
def export_pairs(dataset: str, out: Path, **more: Any) -> None:
    """Write the pairs of DATASET for a metric that needs an environment of its own."""
    from croc.scoring import exchange

    click.echo(exchange.export_pairs(dataset, out, **more))


@scores.command(
    "import",
    epilog="Example: croc scores import pairs pairs/scores.jsonl --name vqascore-flant5-xxl --out scores",
)
@click.argument("folder", type=PATH)
@click.argument("score_file", type=PATH, metavar="SCORES")
@click.option("--name", required=True, help="Name of the metric.")
@click.option("--out", required=True, type=PATH, help="Folder of the score table.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="KEY=VALUE",
    help="What its signature says: revision=…",
)
def import_scores(folder: Path, score_file: Path, name: str, out: Path, fields: tuple[str, ...]) -> None:
    """Make a score table of what a metric elsewhere said about the pairs in FOLDER."""
    from croc.scoring import exchange

    said = {key: str(value) for key, value in key_values(fields, "--field").items()}
    tell = lambda line: click.echo(line, err=True)  # noqa: E731
    click.echo(exchange.import_scores(folder, score_file, out, name=name, fields=said, tell=tell))


@section("run")
@click.group(cls=CommandGroup)
def scorers() -> None:
    """Which metrics there are."""


@scorers.command("list", epilog="Example: croc scorers list --blind")
@click.option("--blind", is_flag=True, help="Only baselines that cannot see.")
def scorers_list(blind: bool) -> None:
    """List the metrics that have a name here."""
    from rich.table import Table

    from croc.scorers.registry import available

    table = Table(box=None, header_style="bold")
    for column in ("name", "model", "what it is", "needs"):
        table.add_column(column, overflow="fold")
    for info in available():
        if info.blind or not blind:
            needs = f"croc-t2i[{info.extra}]" if info.extra else ""
            table.add_row(info.name, info.model or "", info.summary or "", needs)
    show([table])


@scorers.command("show", epilog="Example: croc scorers show clipscore-b32")
@click.argument("name")
def scorers_show(name: str) -> None:
    """Show what is known of one metric: model, revision, licence, source."""
    from dataclasses import asdict

    from croc.scorers.registry import info

    for key, value in asdict(info(name)).items():
        if value not in (None, (), {}):
            click.echo(f"{key + ':':10} {', '.join(value) if isinstance(value, tuple) else value}")
