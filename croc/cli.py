"""The ``croc`` command. Options and messages live here; the work is done by the rooms, imported when used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc import __version__
from croc.errors import CrocError

if TYPE_CHECKING:
    from croc.report import Report, Settings

GROUPINGS = ("subset", "property", "topic", "category", "text_model", "image_model", "entity", "truncated")


class _Croc(click.Group):
    """Turns the project's own errors into one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CrocError as error:
            click.echo(f"croc: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of our output went away, as in `croc … | head`
            sys.stderr.close()
            ctx.exit(1)


@click.group(
    cls=_Croc,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: croc evaluate clip.parquet vqa.parquet --by category --html report.html",
)
@click.version_option(__version__, prog_name="croc")
def main() -> None:
    """Can a text-to-image metric be trusted? Make checks, run metrics on them, read the verdict."""


def _tables_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument(
        "tables", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TABLE..."
    )(command)


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
        click.option("--seed", default=None, type=int, help="Of both; the default is fixed."),
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
    from croc.report import DEFAULT_SEED, Settings

    seed = DEFAULT_SEED if options["seed"] is None else options["seed"]
    return Settings(options["paper"], by, options["resamples"], options["flips"], seed, options["level"])


def _report(tables: tuple[Path, ...], options: dict[str, Any], by: tuple[str, ...] = ()) -> Report:
    from croc.report import Report

    wanted = options["metrics"] or None
    return Report.from_files(
        tables, protocol=options["protocol"], settings=_settings(options, by), metrics=wanted
    )


def _show(parts: list[Any]) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe or a file: no line may be cut to a width nobody has
        console = Console(width=400, soft_wrap=True)
    for part in parts:
        console.print(part)


def _write(path: Path | None, content: str | bytes) -> None:
    if path is None:
        return
    from croc.files import atomic

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    click.echo(f"wrote {path}", err=True)


@main.command(
    epilog="""\b
Examples:
  croc evaluate scores/ --by property
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
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers here.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), help="Write a self-contained page here."
)
@click.option("--latex", "latex_file", type=click.Path(path_type=Path), help="Write a booktabs table here.")
@click.option("--heatmap", "heatmap_file", type=click.Path(path_type=Path), help="Write a PNG here.")
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

    TABLE is a score table (Parquet, CSV, TSV), one of the published TSV files, or a folder of them.
    """
    from croc import render

    report = _report(tables, options, by)
    _show(render.terminal(report))
    _write(json_file, report.to_json() if json_file else "")
    _write(html_file, render.html(report) if html_file else "")
    _write(latex_file, render.latex(report) if latex_file else "")
    _write(heatmap_file, render.heatmap_png(report) if heatmap_file else b"")


@main.command(epilog="Example: croc agree syn_scores/ --with hum_scores/ --by category")
@_tables_argument
@click.option(
    "--with",
    "others",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Score tables of the other benchmark (repeatable).",
)
@click.option("--by", default=None, metavar="COLUMN", help="Compare value by value of this column.")
@_judging
def agree(tables: tuple[Path, ...], others: tuple[Path, ...], by: str | None, **options: Any) -> None:
    """Do two benchmarks rank the same metrics alike? Kendall's tau-b with its interval."""
    from croc import render

    columns = (by,) if by else ()
    first = _report(tables, options, columns)
    second = _report(others, options, columns)
    agreements = first.agreement(second)
    if by:
        agreements += first.agreement(second, by)
    for line in render.agreement_lines(agreements):
        click.echo(line)
    click.echo(agreements[0].signature if agreements else "no group is shared")


@main.command(
    epilog="""\b
Examples:
  croc correlate ratings.csv --human human_avg --cluster prompt
  croc correlate ratings.parquet --human rater_1 --human rater_2 --json corr.json"""
)
@click.argument("table", type=click.Path(path_type=Path))
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
@click.option("--seed", default=None, type=int, help="The default is fixed.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers here.")
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
    from croc.correlation import correlate as compute
    from croc.report import DEFAULT_SEED
    from croc.tables import read_pair_table

    seed = DEFAULT_SEED if seed is None else seed
    found = compute(
        read_pair_table(table),
        humans,
        cluster=cluster,
        metrics=metrics or None,
        resamples=resamples,
        seed=seed,
    )
    _show(found.terminal())
    _write(json_file, found.to_json() if json_file else "")


if __name__ == "__main__":
    main()
