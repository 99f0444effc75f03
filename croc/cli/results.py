"""Commands of results files: results create, results verify, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH
from croc.cli.output import show, write
from croc.errors import CrocError, InputError


@section("judge")
@click.group(cls=CommandGroup)
def results() -> None:
    """Create and verify results files, which a leaderboard reads."""


@results.command(
    "create",
    epilog="""\b
Examples:
  croc results create scores/clipscore-b32.parquet --out results/syn
  croc results create scores/mine.parquet --url https://example.org/mine --out results/syn""",
)
@click.argument("table", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder of the result, NAME.json.")
@click.option("--protocol", metavar="syn|hum", help="Default: as the table says.")
@click.option("--metric", help="Which metric, where the table holds several.")
@click.option("--trained-on-croc", is_flag=True, help="The metric has seen such checks in training.")
@click.option("--url", metavar="HTTPS", help="Where the metric comes from.")
@click.option("--paper", is_flag=True, help="The published computation.")
def create(table: Path, out: Path, paper: bool, **options: Any) -> None:
    """Make a results file of a score TABLE: every number with interval and signature, for a leaderboard.

    Submit it together with the table: 'croc results verify' computes it again from there.
    """
    from croc.results.files import make_result, write_result
    from croc.verdict.report import Settings

    made = make_result(table, settings=Settings(paper=paper), **options)
    click.echo(write_result(made, out / f"{table.stem}.json"))
    click.echo(made.signature, err=True)


@results.command(
    "verify",
    epilog="""\b
Examples:
  croc results verify results/syn/clipscore-b32.json
  croc results verify results/syn/mine.json --table scores/mine.parquet
  croc results verify submission/ --dataset croc/hum""",
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option("--table", type=PATH, help="Its score table; default: the file of that name beside it.")
@click.option("--dataset", help="The checks that it is about, a folder or Hub id: is every one there?")
@click.option("--config", help="Configuration of the dataset.")
@click.option("--split", help="Split of the dataset.")
@click.option("--revision", help="Tag or commit of the dataset.")
def verify(paths: tuple[Path, ...], table: Path | None, dataset: str | None, **options: Any) -> None:
    """Compute each RESULT again from its score table, and refuse what differs.

    RESULT is a results file, or a folder with such files, such as a download of a pull request. With
    --dataset its checks are compared with the dataset's: unknown ones are refused, and it says how many it
    has.
    """
    from croc.checks.sources import open_checks
    from croc.results.files import verify_checks, verify_result

    files: list[Path] = []
    for path in paths:
        found_here = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not found_here:
            raise InputError(f"{path}: no results file (.json) in this folder")
        files += found_here
    if table is not None and len(files) > 1:
        raise InputError(f"--table {table}: give one result with it, not {len(files)}")
    if dataset is None and (given := [f"--{name}" for name, value in options.items() if value]):
        raise InputError(f"{given[0]} is of a dataset; name it with --dataset")
    checks = None if dataset is None else open_checks(dataset, streaming=True, **options)
    wrong = []
    for path in files:
        told = ""
        try:
            found = verify_result(path, table)
            if checks is not None:
                more_found, told = verify_checks(path, table, checks)
                found += more_found
        except InputError as problem:
            found = [str(problem)]
        if found:
            more = f"\n  … and {len(found) - 10} more" if len(found) > 10 else ""
            wrong.append(f"{path} is not what its table gives:\n  " + "\n  ".join(found[:10]) + more)
        else:
            click.echo(f"{path}: follows from its table" + (f"; {told}" if told else ""))
    if wrong:
        raise CrocError("\n".join(wrong))


@section("judge")
@click.command(epilog="Example: croc leaderboard results/")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option("--html", "html_file", type=PATH, help="Write a self-contained page here.")
def leaderboard(paths: tuple[Path, ...], html_file: Path | None) -> None:
    """Put many results side by side: ranks by paired tests, and whether syn and hum rank alike.

    RESULT is a results file, or a folder with such files.
    """
    from croc.rendering import render
    from croc.results.leaderboard import leaderboard as load

    board = load(paths)
    for problem in board.problems:
        click.echo(f"left out: {problem}", err=True)
    if not board.benchmarks:
        raise InputError("there is no results file among these")
    for each in board.benchmarks:
        show([f"\n[bold]{each.dataset.name}[/]", *render.terminal(each.report)])
        if marked := [name for name in each.report.metrics if each.files[name].trained_on_croc]:
            click.echo(f"Trained on such checks: {', '.join(marked)}")
    for pair in board.agreements:
        click.echo(f"{pair.first} and {pair.second}")
        for line in render.agreement_lines(pair.agreements):
            click.echo(f"  {line}")
    reports = [each.report for each in board.benchmarks]
    write(html_file, render.html(reports[0], others=reports[1:]) if html_file else "")
