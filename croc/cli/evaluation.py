"""Commands that compute results from scores: evaluate, agree, correlate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.cli.command_group import section
from croc.cli.options import PATH
from croc.cli.output import show, write

if TYPE_CHECKING:
    from croc.verdict.report import Report, Settings

GROUPINGS = (
    "subset",
    "property",
    "topic",
    "category",
    "text_model",
    "image_model",
    "style",
    "entity",
    "truncated",
)


def _tables_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("tables", nargs=-1, required=True, type=PATH, metavar="TABLE...")(command)


def _judging(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that judges score tables."""
    options = (
        click.option(
            "--protocol", metavar="syn|hum", help="How the checks were labelled; default: as the tables say."
        ),
        click.option(
            "--paper", is_flag=True, help="The published computation: ties lose, chance 5/6 and 1/2."
        ),
        click.option("--metric", "metrics", multiple=True, help="Only this metric (repeatable)."),
        click.option(
            "--resamples", default=2000, show_default=True, type=click.IntRange(0), help="Bootstrap; 0: none."
        ),
        click.option(
            "--flips", default=10000, show_default=True, type=click.IntRange(0), help="Permutations; 0: none."
        ),
        click.option("--seed", default=None, type=click.IntRange(0), help="Of both; the default is fixed."),
        click.option(
            "--level",
            default=0.95,
            show_default=True,
            type=click.FloatRange(0.5, 0.999),
            help="Of intervals.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _settings(options: dict[str, Any], by: tuple[str, ...] = ()) -> Settings:
    from croc.verdict.report import DEFAULT_SEED, Settings

    seed = DEFAULT_SEED if options["seed"] is None else options["seed"]
    return Settings(options["paper"], by, options["resamples"], options["flips"], seed, options["level"])


def _report(tables: tuple[Path, ...], options: dict[str, Any], by: tuple[str, ...] = ()) -> Report:
    from rich.console import Console

    from croc.verdict.report import Report

    wanted = options["metrics"] or None
    settings = _settings(options, by)
    with Console(stderr=True).status("Reading and judging score tables …"):
        return Report.from_files(tables, protocol=options["protocol"], settings=settings, metrics=wanted)


@section("judge")
@click.command(
    epilog="""\b
Examples:
  croc evaluate scores/ --by property
  croc evaluate scores/ --by image_model --by text_model
  croc evaluate croc_syn_scores.tsv.gz --paper --json verdict.json
  croc evaluate action_*_scores.tsv --protocol hum --html report.html"""
)
@_tables_argument
@_judging
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help=f"Break down by a column: {', '.join(GROUPINGS)} or another; repeatable.",
)
@click.option("--json", "json_file", type=PATH, help="Write all numbers here.")
@click.option("--html", "html_file", type=PATH, help="Write a self-contained page here.")
@click.option("--latex", "latex_file", type=PATH, help="Write a booktabs table here.")
@click.option("--heatmap", "heatmap_file", type=PATH, help="Write a PNG here.")
def evaluate(
    tables: tuple[Path, ...],
    by: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    latex_file: Path | None,
    heatmap_file: Path | None,
    **options: Any,
) -> None:
    """Judge metrics by their score tables: scaled accuracy in four directions, intervals, tests, findings.

    TABLE is a score table (Parquet, CSV, TSV), one of the published TSV files, or a folder of them. By
    text_model, image_model or style it also says whether the verdict depends on who generated, with the
    intervals of the differences, paired where the specs are the same.
    """
    from croc.rendering import render

    report = _report(tables, options, by)
    show(render.terminal(report))
    write(json_file, report.to_json() if json_file else "")
    write(html_file, render.html(report) if html_file else "")
    write(latex_file, render.latex(report) if latex_file else "")
    write(heatmap_file, render.heatmap_png(report) if heatmap_file else b"")


@section("judge")
@click.command(epilog="Example: croc agree syn_scores/ --with hum_scores/ --by category")
@_tables_argument
@click.option(
    "--with",
    "others",
    multiple=True,
    required=True,
    type=PATH,
    help="Score tables of the other benchmark (repeatable).",
)
@click.option("--by", default=None, metavar="COLUMN", help="Compare value by value of this column.")
@_judging
def agree(tables: tuple[Path, ...], others: tuple[Path, ...], by: str | None, **options: Any) -> None:
    """Do two benchmarks rank the same metrics alike? Kendall's tau-b with its interval."""
    from croc.rendering import render

    columns = (by,) if by else ()
    first = _report(tables, options, columns)
    second = _report(others, options, columns)
    agreements = first.agreement(second)
    if by:
        agreements += first.agreement(second, by)
    for line in render.agreement_lines(agreements):
        click.echo(line)
    click.echo(agreements[0].signature if agreements else "no group is shared")


@section("judge")
@click.command(
    epilog="""\b
Examples:
  croc correlate ratings.csv --human human_avg --cluster prompt
  croc correlate ratings.parquet --human rater_1 --human rater_2 --json corr.json"""
)
@click.argument("table", type=PATH)
@click.option(
    "--human",
    "humans",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="Column of ratings (repeatable).",
)
@click.option(
    "--cluster",
    default=None,
    metavar="COLUMN",
    help="What is resampled together, such as prompt; default: single items.",
)
@click.option("--metric", "metrics", multiple=True, help="Only this column (repeatable).")
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=None, type=click.IntRange(0), help="The default is fixed.")
@click.option("--json", "json_file", type=PATH, help="Write all numbers here.")
def correlate(
    table: Path,
    humans: tuple[str, ...],
    cluster: str | None,
    metrics: tuple[str, ...],
    resamples: int,
    seed: int | None,
    json_file: Path | None,
) -> None:
    """Correlate metrics with human ratings: Kendall tau-b, Spearman, Pearson, intervals, clusters.

    TABLE is a pair table (Parquet, CSV, TSV): item_id, system, prompt, a column per metric and per rating.
    """
    from croc.ratings.correlation import correlate as compute
    from croc.tables.readers import read_pair_table
    from croc.verdict.report import DEFAULT_SEED

    seed = DEFAULT_SEED if seed is None else seed
    found = compute(
        read_pair_table(table),
        humans,
        cluster=cluster,
        metrics=metrics or None,
        resamples=resamples,
        seed=seed,
    )
    show(found.terminal())
    write(json_file, found.to_json() if json_file else "")
