"""Commands of results files: results create, results verify, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH
from croc.cli.output import echo, show, write
from croc.errors import CrocError, InputError

_SHOWN_PROBLEMS = 10


@section("evaluate")
@click.group(cls=CommandGroup)
def results() -> None:
    """Create and verify results files for a leaderboard."""


@results.command(
    "create",
    epilog="""\b
Examples:
  croc results create scores/clipscore-b32.parquet --out results/syn
  croc results create scores/mine.parquet --url https://example.org/mine --out results/syn""",
)
@click.argument("table", type=PATH)
@click.option(
    "--out",
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Output folder. The file has the name of the table and ends in .json.",
)
@click.option(
    "--protocol",
    metavar="syn|hum",
    help="Protocol: syn (pseudo-labels) or hum (human labels). Default: the one in the table.",
)
@click.option("--metric", metavar="NAME", help="Name of the metric, if the table has several.")
@click.option("--trained-on-croc", is_flag=True, help="Declare that the metric was trained on CROC checks.")
@click.option("--url", metavar="HTTPS", help="Web page of the metric.")
@click.option(
    "--paper", is_flag=True, help="Compute as in the paper: a tie fails, chance level is 5/6 or 1/2."
)
def create(table: Path, out: Path, paper: bool, **options: Any) -> None:
    """Create a results file from a score TABLE.

    It holds every number with its confidence interval and signature. Submit it together with the table, so
    that 'croc results verify' can compute the numbers again.
    """
    from croc.results.files import make_result, write_result
    from croc.verdict.report import Settings

    result = make_result(table, settings=Settings(paper=paper), **options)
    echo(write_result(result, out / f"{table.stem}.json"))
    echo(result.signature, err=True)


@results.command(
    "verify",
    epilog="""\b
Examples:
  croc results verify results/syn/clipscore-b32.json
  croc results verify results/syn/mine.json --table scores/mine.parquet
  croc results verify submission/ --dataset croc/hum""",
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option(
    "--table",
    type=PATH,
    metavar="FILE",
    help="Score table. Default: the table of the same name in the folder of RESULT.",
)
@click.option(
    "--dataset", metavar="FOLDER|HUB_ID", help="Also compare the checks with those of this dataset."
)
@click.option("--config", metavar="NAME", help="Configuration of the dataset. Default: its default one.")
@click.option("--split", metavar="NAME", help="Split of the dataset. Default: test, or the only one.")
@click.option("--revision", metavar="REVISION", help="Tag or commit of the dataset.")
def verify(paths: tuple[Path, ...], table: Path | None, dataset: str | None, **options: Any) -> None:
    """Compute results files again from their score tables.

    RESULT is a results file, or a folder of them, such as a download of a pull request. Each number that
    differs is an error. With --dataset, checks that are not in the dataset are also errors, and the output
    gives the number of checks of the dataset that are in the table.
    """
    from croc.checks.sources import open_checks
    from croc.results.files import verify_checks, verify_result

    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no results file (.json) in this folder")
        files += inside
    if table is not None and len(files) > 1:
        raise InputError(f"--table {table}: give one results file with it, not {len(files)}")
    if dataset is None and (given := [f"--{name}" for name, value in options.items() if value]):
        raise InputError(f"{given[0]} needs --dataset")
    checks = None if dataset is None else open_checks(dataset, streaming=True, **options)
    failures = []
    for path in files:
        summary = ""
        try:
            problems = verify_result(path, table)
            if checks is not None:
                unknown, summary = verify_checks(path, table, checks)
                problems += unknown
        except InputError as problem:
            problems = [str(problem)]
        if problems:
            hidden = len(problems) - _SHOWN_PROBLEMS
            more = f"\n  … and {hidden} more" if hidden > 0 else ""
            shown = "\n  ".join(problems[:_SHOWN_PROBLEMS])
            failures.append(f"{path} does not match its score table:\n  {shown}{more}")
        else:
            echo(f"{path}: verified" + (f"; {summary}" if summary else ""))
    if failures:
        raise CrocError("\n".join(failures))


@section("evaluate")
@click.command(epilog="Example: croc leaderboard results/ --html leaderboard.html")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a self-contained web page.")
def leaderboard(paths: tuple[Path, ...], html_file: Path | None) -> None:
    """Rank metrics by their results files.

    RESULT is a results file, or a folder of them. Ranks come from paired tests. Results on syn and hum are
    also compared with each other.
    """
    from rich.text import Text

    from croc.rendering.formats import agreement_lines
    from croc.rendering.page import page
    from croc.rendering.terminal import terminal
    from croc.results.leaderboard import leaderboard as load

    board = load(paths)
    for problem in board.problems:
        echo(f"ignored: {problem}", err=True)
    if not board.benchmarks:
        raise InputError("no results file found; create one with 'croc results create'")
    reports = [benchmark.report for benchmark in board.benchmarks]
    write(html_file, page(reports[0], others=reports[1:]) if html_file else "")
    for benchmark in board.benchmarks:
        heading = Text(f"\n{benchmark.report.dataset.name}", "bold")
        show([heading, *terminal(benchmark.report)])
        trained = [name for name in benchmark.report.metrics if benchmark.files[name].trained_on_croc]
        if trained:
            echo(f"Trained on CROC checks: {', '.join(trained)}")
    for pair in board.agreements:
        echo(f"{pair.first} and {pair.second}")
        for line in agreement_lines(pair.agreements):
            echo(f"  {line}")
