"""The command that predicts how well metrics do on given prompts: trust."""

from __future__ import annotations

from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, ManyScorers, Number, json_option
from croc.cli.output import show, write
from croc.errors import InputError


@section("evaluate")
@click.command(
    cls=ManyScorers,
    epilog="""\b
Examples:
  croc trust prompts.txt --scorer crocscore-tiny crocscore-dual
  croc trust prompts.csv --scorer clipscore-b32 --results results/syn --json trust.json""",
)
@click.argument("prompts", type=PATH)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME",
    help="Name of a metric in the results. Repeatable. Default: all metrics in them.",
)
@click.option(
    "--results",
    multiple=True,
    type=PATH,
    metavar="PATH",
    help="Results file, JSON of 'croc evaluate --by property', score table (Parquet), or folder of them. "
    "Repeatable. Default: the sample in the package, which has few checks per property.",
)
@click.option("--prompt-column", metavar="NAME", help="Column of prompts. Default: prompt, text or caption.")
@click.option(
    "--least",
    type=Number(0, 1),
    default=0.75,
    show_default=True,
    help="Name a prompt as one to show to people if the chance of the best metric is below this.",
)
@json_option
def trust(
    prompts: Path,
    scorers: tuple[str, ...],
    results: tuple[Path, ...],
    prompt_column: str | None,
    least: float,
    json_file: Path | None,
) -> None:
    """Predict how well metrics do on your prompts.

    PROMPTS is a text file with a prompt per line, or a table with a column of prompts, in English. Word lists
    find the properties that each prompt depends on (counts, negation, relations, colours, …), and the results
    of each metric by property say how often it is right. The chance is the probability that a correct image
    gets a higher score than an image that is wrong in the weakest of these properties; it holds for images
    like those of the checks. A property without results is unknown.
    """
    from croc.images.pairs import read_prompts
    from croc.rendering.trust import terminal
    from croc.trust.accuracies import SAMPLE, read_accuracies
    from croc.trust.prediction import predict

    texts = read_prompts(prompts, (None, prompt_column))[1]
    if not texts:
        raise InputError(f"{prompts}: no prompt in it")
    report = predict(texts, read_accuracies(results or (SAMPLE,)), scorers, least=least)
    write(json_file, report.to_json() + "\n" if json_file else "")
    show(terminal(report))
