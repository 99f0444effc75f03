"""The command transfer: rank agreement between benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, Integer, Number, correction_option, json_option
from croc.cli.output import show, write
from croc.errors import InputError

if TYPE_CHECKING:
    from croc.external.results import Coefficient
    from croc.transfer.metric_names import Match
    from croc.verdict.statistics import Correction


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc transfer scores-syn/ scores-hum/
  croc transfer results/syn/ ts2 tifa160 --data benchmarks/ --plot transfer.png
  croc transfer results/external/ --match method --json transfer.json"""
)
@click.argument("inputs", nargs=-1, required=True, metavar="RESULTS...")
@click.option(
    "--data",
    default=Path(),
    type=PATH,
    metavar="FOLDER",
    help="Folder with the files of others' benchmarks that are given by name, see 'croc external list'. "
    "Default: the current one.",
)
@click.option(
    "--match",
    default="metric",
    show_default=True,
    type=click.Choice(["metric", "method"]),
    help="Which metrics are the same: metric needs the same weights; method also matches one method with "
    "other weights, where each benchmark has one metric of it.",
)
@click.option(
    "--coefficient",
    default="order",
    show_default=True,
    type=click.Choice(["order", "acc_eq"]),
    help="What ranks the metrics of a rated benchmark, as a mean over prompts: order is the share of pairs "
    "of images that are in the order of people, acc_eq the accuracy with calibrated ties.",
)
@click.option("--resamples", default=2000, show_default=True, type=Integer(100), help="Number of resamples.")
@click.option("--seed", default=0, show_default=True, type=Integer(0), help="Seed of the resamples.")
@click.option(
    "--level",
    default=0.95,
    show_default=True,
    type=Number(0.5, 0.999),
    help="Confidence level of the intervals.",
)
@correction_option
@click.option("--plot", type=PATH, metavar="FILE", help="Draw the agreements with intervals (PNG).")
@json_option
def transfer(
    inputs: tuple[str, ...],
    data: Path,
    match: Match,
    coefficient: Coefficient,
    resamples: int,
    seed: int,
    level: float,
    correction: Correction,
    plot: Path | None,
    json_file: Path | None,
) -> None:
    """Compare the rankings of metrics on several benchmarks.

    RESULTS are score tables or results files of CROC, results files of 'croc external results', folders of
    these, or names of others' benchmarks. The output is Kendall's tau-b of every two benchmarks over the
    metrics that both have, of their parts, such as categories, and of the parts of each. Intervals resample
    prompts or concepts, and metrics. With fewer than six shared metrics nothing is concluded.
    """
    from croc.rendering.transfer import picture_png
    from croc.rendering.transfer import transfer as tables
    from croc.transfer.comparison import compare
    from croc.transfer.rankings import Draw, read_sources

    if not data.is_dir():
        raise InputError(f"{data}: no such folder")
    sources = read_sources(inputs, data, Draw(resamples, seed, coefficient))
    found = compare(sources, match=match, level=level, seed=seed, correction=correction)
    write(json_file, found.to_json() + "\n")
    write(plot, picture_png(found) if plot else b"")
    show(tables(found), [f"{name}: {signature}" for name, signature in found.signatures.items()])
