"""Commands that run metrics: score, scores export, scores import, scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import (
    PATH,
    Integer,
    ManyScorers,
    budget_shares,
    dataset_options,
    executor_options,
    key_values,
    make_executor,
    out_folder,
    overwrite_option,
    run_options,
    scorer_arguments,
    scorers_option,
    scoring_settings,
)
from croc.cli.output import echo, log, show
from croc.errors import InputError

_protocol_option = click.option(
    "--protocol",
    metavar="syn|hum",
    help="Protocol: syn (labels by construction) or hum (human labels). Default: derived from the columns.",
)


@section("run")
@click.command(
    cls=ManyScorers,
    epilog="""\b
Examples:
  croc score croc/syn --scorer crocscore --scorer random --out scores/
  croc score runs/syn --scorer clipscore-b32 --scorer random --out scores/
  croc score croc/hum --streaming --scorer my_package:MyMetric --out scores/
  croc score croc/syn --scorer pickscore --executor ray --address ray://head:10001 --out scores/""",
)
@click.argument("dataset")
@scorers_option
@out_folder
@dataset_options
@click.option(
    "--max-checks", type=Integer(1), help="Maximum number of checks, evenly spaced over the dataset."
)
@click.option(
    "--verify",
    is_flag=True,
    help="First compare all bytes of a folder with its manifest, not only sizes and quick checksums.",
)
@_protocol_option
@run_options
@executor_options
@overwrite_option
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
    protocol: str | None,
    batch_size: int | None,
    max_failures: int | None,
    overwrite: bool,
    paid: dict[str, Any],
    **source: Any,
) -> None:
    """Run metrics on a dataset of checks.

    DATASET is a folder, a Parquet file, or a Hub id. Each scorer gets a score table in the output folder.
    Pairwise judges, which compare two prompts or two images, can be among the scorers.
    """
    from croc.scorers.registry import takes
    from croc.scoring.run import score_dataset

    given = scorer_arguments(scorers, options, device, judges=True)
    shares = budget_shares(paid, executor, workers)
    runner = None
    if executor != "local" or address is not None or (workers or 1) > 1:
        gpu = device != "cpu" and any(takes(name, "device") for name in scorers)
        runner = make_executor(executor, address, workers, gpus_per_worker, gpu=gpu)
    files = score_dataset(
        dataset,
        scorers,
        out,
        scoring_settings(batch_size, max_failures, overwrite, protocol, paid=paid, workers=shares),
        options=given,
        executor=runner,
        log=log,
        **source,
    )
    for file in files:
        echo(file)


@section("run")
@click.group(cls=CommandGroup)
def scores() -> None:
    """Exchange pairs and scores with other programs."""


@scores.command("export", epilog="Example: croc scores export runs/syn --out pairs")
@click.argument("dataset")
@out_folder
@dataset_options
@_protocol_option
def export_pairs(dataset: str, out: Path, **options: Any) -> None:
    """Export image-prompt pairs for a metric that runs elsewhere.

    DATASET is a folder, a Parquet file, or a Hub id. Use this for a metric that needs its own environment.
    'croc scores import' reads the scores that it writes.
    """
    from croc.scoring import exchange

    echo(exchange.export_pairs(dataset, out, **options))


@scores.command(
    "import",
    epilog="Example: croc scores import pairs pairs/scores.jsonl --name vqascore-flant5-xxl --out scores",
)
@click.argument("folder", type=PATH, metavar="PAIRS")
@click.argument("score_file", type=PATH, metavar="SCORES")
@click.option("--name", required=True, help="Name of the metric.")
@click.option("--out", required=True, type=PATH, metavar="FOLDER", help="Output folder of the score table.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="KEY=VALUE",
    help="Field of the metric's signature, such as revision=COMMIT. Repeatable.",
)
def import_scores(folder: Path, score_file: Path, name: str, out: Path, fields: tuple[str, ...]) -> None:
    """Import the scores of exported pairs as a score table.

    PAIRS is the folder that 'croc scores export' made. SCORES is a file with a score for each pair_id.
    """
    from croc.scoring import exchange

    texts = {key: str(value) for key, value in key_values(fields, "--field").items()}
    echo(exchange.import_scores(folder, score_file, out, name=name, fields=texts, log=log))


@section("run")
@click.group(cls=CommandGroup)
def scorers() -> None:
    """Show the metrics that can be run by name."""


@scorers.command(
    "list",
    epilog="""\b
Examples:
  croc scorers list --task preference
  croc scorers list --task judge --size small""",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(["alignment", "preference", "judge", "questions"]),
    help="Only metrics of this kind: match of image and prompt, people's preference, grades or "
    "comparisons by a model, answers to questions. Repeatable.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=click.Choice(["small", "medium", "large", "service"]),
    help="Only metrics of this size: up to 1 billion weights, up to 5, more, or a model behind an API. "
    "Repeatable.",
)
@click.option(
    "--baselines", is_flag=True, help="List only baselines, which ignore the image, the prompt or both."
)
def list_scorers(tasks: tuple[str, ...], sizes: tuple[str, ...], baselines: bool) -> None:
    """List all metrics that can be run by name.

    Baselines are no metrics, so --task leaves them out.
    """
    from rich.table import Table

    from croc.scorers.needs import needs_of
    from croc.scorers.registry import available

    table = Table(box=None, header_style="bold")
    for column in ("name", "task", "model", "description", "needs"):
        table.add_column(column, overflow="fold")
    found = [
        info
        for info in available()
        if (info.baseline or not baselines)
        and (not tasks or (info.task in tasks and not info.baseline))
        and (not sizes or info.size in sizes)
    ]
    if not found:
        raise InputError("no metric has all of these properties; leave out an option")
    for info in found:
        needs = "; ".join(needs_of(info))
        task = "baseline" if info.baseline else info.task
        table.add_row(info.name, task, info.model or "", info.summary or "", needs)
    show([table])


@scorers.command("show", epilog="Example: croc scorers show clipscore-b32")
@click.argument("name")
def show_scorer(name: str) -> None:
    """Show the model, revision, licence, source and needs of a metric."""
    from croc.scorers.needs import needs_of
    from croc.scorers.registry import info

    entry = info(name)
    for key, value in entry.model_dump().items():
        if value not in (None, (), {}):
            echo(f"{key + ':':10} {', '.join(value) if isinstance(value, tuple) else value}")
    for need in needs_of(entry):
        echo(f"{'needs:':10} {need}")
