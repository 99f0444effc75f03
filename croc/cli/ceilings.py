"""The command that computes what scorers can reach that ignore part of their input: ceilings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section
from croc.cli.options import Integer, dataset_options, json_option
from croc.cli.output import show, write


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc ceilings runs/syn --by property
  croc ceilings croc/hum --json ceilings.json
  croc evaluate scores/ --ceilings ceilings.json --html report.html"""
)
@click.argument("dataset")
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help="Break results down by this column. Repeatable. Default: subset, category and property.",
)
@dataset_options
@click.option(
    "--max-checks", type=Integer(1), help="Maximum number of checks, evenly spaced over the dataset."
)
@click.option(
    "--protocol",
    metavar="syn|hum",
    help="Protocol: syn (labels by construction) or hum (human labels). Default: derived from the columns.",
)
@json_option
def ceilings(
    dataset: str, by: tuple[str, ...], protocol: str | None, json_file: Path | None, **source: Any
) -> None:
    """Compute the best result of scorers that ignore something.

    DATASET is a folder, a Parquet file, or a Hub id. The scorers are one that ignores the order of words, one
    that ignores numbers, a text-only and an image-only one. No metric of these kinds has a higher scaled
    accuracy, so a metric with a higher one is of another kind.
    """
    from croc.checks.sources import open_checks
    from croc.rendering.terminal import ceilings as tables
    from croc.verdict.ceilings import ceilings as compute

    found = compute(open_checks(dataset, **source), protocol=protocol, by=by or None)
    write(json_file, found.to_json() if json_file else "")
    show(tables(found), [found.signature])
