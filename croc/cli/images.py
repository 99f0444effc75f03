"""Commands for own images: score-images, compare-models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.cli.command_group import section
from croc.cli.options import (
    PATH,
    Integer,
    ManyScorers,
    Number,
    json_option,
    overwrite_option,
    run_options,
    scorer_arguments,
    scorers_option,
    scoring_settings,
    together,
)
from croc.cli.output import log, show, write
from croc.errors import InputError

if TYPE_CHECKING:
    from croc.images.pairs import ImagePairs
    from croc.images.scoring import ImageScores

pair_options = together(
    click.option(
        "--prompts",
        type=PATH,
        metavar="FILE",
        help="Table (CSV, TSV, Parquet) of prompts with the name or id of their images, or a text file with "
        "a prompt per line. Images ID.png, ID_0.png or ID/0.png belong to the prompt with that id.",
    ),
    click.option("--prompt", metavar="TEXT", help="Prompt of all images."),
    click.option(
        "--image-column", metavar="NAME", help="Column of images. Default: image, path or the like."
    ),
    click.option(
        "--prompt-column", metavar="NAME", help="Column of prompts. Default: prompt, text or caption."
    ),
    click.option("--split", help="Split of a dataset that has several."),
)


@section("run")
@click.command(
    cls=ManyScorers,
    epilog="""\b
Examples:
  croc score-images renders/ --prompt "a red cat on a blue sofa" --scorer crocscore --out scores.csv
  croc score-images model-a/ model-b/ --prompts prompts.csv --scorer clipscore-b32 --out scores.parquet
  croc score-images pairs.csv --scorer crocscore random --explain --out scores.csv --html sheet.html
  cat pairs.csv | croc score-images - --scorer random --out scores.csv""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@scorers_option
@click.option("--out", required=True, type=PATH, metavar="FILE", help="Table to write: .csv or .parquet.")
@pair_options
@click.option(
    "--html",
    "html_file",
    type=PATH,
    metavar="FILE",
    help="Write a contact sheet, sorted by the first scorer.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Also score each clause of the prompts: columns METRIC_clauses and METRIC_weakest.",
)
@run_options
@overwrite_option
def score_images(
    images: tuple[str, ...],
    scorers: tuple[str, ...],
    out: Path,
    html_file: Path | None,
    explain: bool,
    **options: Any,
) -> None:
    """Score images with their prompts.

    IMAGES are image files or folders of them with --prompt or --prompts, a table of image paths and prompts
    ('-' reads CSV from standard input), a folder saved by datasets, or a dataset on the Hub. The output is
    the table with a column for each metric; the means are printed with intervals over prompts. FILE.parts
    holds what is needed to resume an interrupted run.
    """
    from croc.rendering.images import contact_sheet, terminal

    found, pairs = _score(images, scorers, out, explain=explain, **options)
    write(html_file, contact_sheet(found, pairs.read) if html_file else "")
    show(terminal(found), [f"{name}: {signature}" for name, signature in found.signatures.items()])


def _score(
    images: tuple[str, ...],
    scorers: tuple[str, ...],
    out: Path,
    *,
    batch_size: int | None,
    max_failures: int | None,
    device: str | None,
    options: tuple[str, ...],
    overwrite: bool,
    paid: dict[str, Any],
    explain: bool = False,
    **source: Any,
) -> tuple[ImageScores, ImagePairs]:
    """Score the images that :func:`pair_options` give and write the table."""
    from croc.images.pairs import read_pairs
    from croc.images.scoring import add_worlds, require_format, score_images

    require_format(out)
    given = scorer_arguments(scorers, options, device)
    pairs = read_pairs(images, stdin=sys.stdin.read, **source)
    work = out.with_name(out.name + ".parts")
    settings = scoring_settings(batch_size, max_failures, overwrite, paid=paid)
    found = score_images(pairs, scorers, work, settings, options=given, log=log)
    found = add_worlds(found, pairs, scorers, given)
    if explain:
        from croc.images.explanation import add_clauses

        found = add_clauses(
            found,
            pairs,
            lambda parts: score_images(parts, scorers, work / "clauses", settings, options=given, log=log),
        )
    found.write(out)
    log(f"wrote {out}")
    return found, pairs


@section("run")
@click.command(
    cls=ManyScorers,
    epilog="""\b
Examples:
  croc compare-models a/ b/ --prompts prompts.csv --scorer crocscore --out scores.csv
  croc compare-models scores.csv --metric crocscore --html comparison.html
  croc compare-models scores.csv --metric crocscore --labels votes.csv""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option(
    "--scorer", "scorers", multiple=True, metavar="NAME", help="Score the images first. Repeatable."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="COLUMN",
    help="Column of scores of a table. Repeatable. Default: the scorers.",
)
@click.option("--out", type=PATH, metavar="FILE", help="Table of scores to write: .csv or .parquet.")
@pair_options
@click.option(
    "--labels",
    type=PATH,
    metavar="FILE",
    help="Human labels of some prompts: a row per label, with image or with system and prompt.",
)
@click.option("--label", metavar="COLUMN", help="Column of labels, in the file of --labels or in the table.")
@click.option(
    "--results",
    multiple=True,
    type=PATH,
    metavar="PATH",
    help="Results of the metrics by property, as 'croc trust' takes them: how often each is right about what "
    "the prompts depend on. Repeatable. Default: the sample in the package.",
)
@click.option(
    "--level", default=0.95, show_default=True, type=Number(0.5, 0.999), help="Confidence level of intervals."
)
@click.option(
    "--permutations",
    default=10_000,
    show_default=True,
    type=Integer(0),
    help="Number of permutations in tests. 0 computes no tests and ranks.",
)
@json_option
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a web page with examples.")
@run_options
@overwrite_option
def compare_models(
    images: tuple[str, ...],
    scorers: tuple[str, ...],
    metrics: tuple[str, ...],
    out: Path | None,
    labels: Path | None,
    label: str | None,
    results: tuple[Path, ...],
    level: float,
    permutations: int,
    json_file: Path | None,
    html_file: Path | None,
    **options: Any,
) -> None:
    """Compare image models by metrics, and by human labels.

    IMAGES are folders, one for each image model, with --prompts and --scorer; or a table with the columns
    system and prompt and a column for each metric, such as 'croc score-images' writes. Models are compared on
    the same prompts; several images of a prompt are averaged. With --labels the mean label of all prompts is
    estimated from a few labels and the metric, so that the interval holds whatever the metric's errors are.
    Beside the ranking stands how often the metric is right about the properties that these prompts depend on.
    """
    from dataclasses import replace

    import polars as pl

    from croc.checks.decoding import to_bytes
    from croc.images.comparison import ADDED, add_labels
    from croc.images.comparison import compare_models as compare
    from croc.images.pairs import read_table
    from croc.rendering.comparison import page, terminal
    from croc.trust.accuracies import SAMPLE, read_accuracies
    from croc.trust.prediction import trust_by_property

    chosen = list(metrics)
    if scorers:
        if out is None:
            raise InputError("give --out FILE for the scores that --scorer computes")
        found, _ = _score(images, scorers, out, **options)
        table, chosen = found.table, [*found.metrics, *metrics]
    elif len(images) != 1:
        raise InputError("several folders need --scorer; without it give one table of scores")
    else:
        table = read_table(Path(images[0]))
        if not chosen:
            raise InputError(
                f"name the columns of scores by --metric; the table has {', '.join(table.columns)}"
            )
    if labels is not None:
        table, label = add_labels(table, read_table(labels), str(labels), label, log), ADDED
    report = compare(table, chosen, label=label, level=level, permutations=permutations)
    accuracies = read_accuracies(results or (SAMPLE,))
    trust = trust_by_property(table["prompt"].drop_nulls(), accuracies, chosen)
    report = replace(report, trust=trust)
    write(json_file, report.to_json() + "\n")
    shown = table if "image" in table.columns else table.with_columns(pl.lit("").alias("image"))
    write(html_file, page(report, shown, lambda image: to_bytes(Path(image))) if html_file else "")
    show(terminal(report), [report.signature])
