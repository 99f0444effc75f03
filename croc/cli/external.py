"""Commands of others' benchmarks: external list, score, evaluate, reproduce, results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import (
    PATH,
    Integer,
    ManyScorers,
    json_option,
    out_folder,
    overwrite_option,
    run_options,
    scorer_arguments,
    scorers_option,
    scoring_settings,
    together,
)
from croc.cli.output import echo, log, show, write
from croc.errors import InputError

_place_options = together(
    click.option(
        "--data",
        "--from",
        "data",
        type=PATH,
        metavar="FOLDER",
        help="Folder with the files, or with a folder of them. Default: the current one if it has them, else "
        "the Hub.",
    ),
    click.option(
        "--revision",
        metavar="REVISION",
        help="Tag or commit on the Hub. Default: the one that 'croc external list' names, else the newest.",
    ),
)


@section("evaluate")
@click.group(cls=CommandGroup)
def external() -> None:
    """Evaluate metrics on others' benchmarks."""


@external.command("list", epilog="Example: croc external list ts2")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def list_benchmarks(names: tuple[str, ...]) -> None:
    """List the benchmarks with their size, licence and source.

    Standard scores and published figures are listed, too. NAME limits the list.
    """
    from croc.external.benchmark import benchmarks, find_benchmark
    from croc.rendering.external import listing

    show(listing([find_benchmark(name) for name in names] or list(benchmarks().values())))


@external.command(
    cls=ManyScorers,
    epilog="""\b
Examples:
  croc external score winoground --scorer clipscore-b32 --out scores/winoground
  croc external score tifa160 --scorer crocscore random --from ../tifa --out scores/tifa160""",
)
@click.argument("name")
@scorers_option
@out_folder
@_place_options
@click.option(
    "--max-items",
    type=Integer(1),
    help="Maximum number of items, in whole groups such as the images of a prompt, evenly spaced.",
)
@run_options
@overwrite_option
def score(
    name: str,
    scorers: tuple[str, ...],
    out: Path,
    data: Path | None,
    revision: str | None,
    max_items: int | None,
    batch_size: int | None,
    max_failures: int | None,
    device: str | None,
    options: tuple[str, ...],
    overwrite: bool,
    paid: dict[str, Any],
) -> None:
    """Run metrics on the images of the benchmark NAME.

    For a contrastive benchmark the output is a score table per metric, which 'croc evaluate' reads, too. For
    a rated one it is a pair table with ratings and a column per metric, which 'croc correlate' reads, too.
    """
    from croc.external.benchmark import find_benchmark
    from croc.external.scoring import score_benchmark

    files = score_benchmark(
        find_benchmark(name),
        scorers,
        out,
        scoring_settings(batch_size, max_failures, overwrite, paid=paid),
        data=data,
        revision=revision,
        max_items=max_items,
        options=scorer_arguments(scorers, options, device),
        log=log,
    )
    for file in files:
        echo(file)


@external.command(
    epilog="""\b
Examples:
  croc external evaluate tifa160 scores.csv --data ../tifa
  croc external evaluate colorswap scores/mine.parquet --data ../colorswap"""
)
@click.argument("name")
@click.argument("tables", nargs=-1, required=True, type=PATH, metavar="TABLE...")
@_place_options
@json_option
def evaluate(
    name: str, tables: tuple[Path, ...], data: Path | None, revision: str | None, json_file: Path | None
) -> None:
    """Evaluate metrics on the benchmark NAME.

    For a rated benchmark, TABLE is a pair table: the benchmark's item_id and a column per metric. For a
    contrastive one it is a score table whose check_id is the item's. The output has the benchmark's standard
    scores as its authors compute them and by default, and for rated ones correlations as in 'croc correlate'.
    """
    from croc.external.benchmark import find_benchmark
    from croc.external.evaluation import evaluate_on
    from croc.rendering.external import evaluation

    found = evaluate_on(find_benchmark(name), data, tables, revision=revision, log=log)
    write(json_file, found.to_json() + "\n")
    show(evaluation(found), [] if found.correlations is None else [found.correlations.signature])


@external.command(
    epilog="""\b
Examples:
  croc external reproduce tifa160 --data ../tifa
  croc external reproduce --all --data benchmarks/ --json figures.json"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="All benchmarks whose files are in the folder.")
@click.option(
    "--data",
    default=Path(),
    type=PATH,
    metavar="FOLDER",
    help="Folder with the files: clones of the repositories that 'croc external list' names, or one of them. "
    "Default: the current one.",
)
@json_option
@click.pass_context
def reproduce(
    context: click.Context, names: tuple[str, ...], every: bool, data: Path, json_file: Path | None
) -> None:
    """Recompute the published figures of benchmarks and compare them.

    A figure is computed as its authors compute it, and also by this program's defaults. Exit code 1 means
    that a figure is not equal at the printed precision, and that no reason for it is known.
    """
    from croc.external.benchmark import benchmarks, find_benchmark
    from croc.external.reproduction import reproduce as recompute
    from croc.rendering.external import reproductions

    if bool(names) == every:
        raise InputError("name the benchmarks, or give --all; 'croc external list' lists them")
    if not data.is_dir():
        raise InputError(f"{data}: no such folder")
    chosen = [find_benchmark(name) for name in names]
    if every:
        chosen = [benchmark for benchmark in benchmarks().values() if benchmark.compute is not None]
        absent = [benchmark.name for benchmark in chosen if benchmark.find(data) is None]
        if absent:
            log(f"not in {data}: {', '.join(absent)}; 'croc external list' says where they come from")
        chosen = [benchmark for benchmark in chosen if benchmark.name not in absent]
        if not chosen:
            raise InputError(f"{data}: no benchmark in this folder")
    found = [recompute(benchmark, data) for benchmark in chosen]
    content = json.dumps([one.to_dict() for one in found], ensure_ascii=False, indent=1, allow_nan=False)
    write(json_file, content + "\n")
    show(reproductions(found))
    if any(one.count("unequal") for one in found):
        context.exit(1)


@external.command(
    epilog="""\b
Examples:
  croc external results ts2 tifa160 --data benchmarks/ --out results/external
  croc external results tifa160 --scores mine.csv --data ../tifa --out results/external"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--data",
    default=Path(),
    type=PATH,
    metavar="FOLDER",
    help="Folder with the files, or with a folder of them. Default: the current one.",
)
@click.option(
    "--scores",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="Pair table with the benchmark's item_id and further metrics. Repeatable; with one NAME.",
)
@click.option("--out", required=True, type=PATH, metavar="FOLDER", help="Output folder, for NAME.json.")
def results(names: tuple[str, ...], data: Path, scores: tuple[Path, ...], out: Path) -> None:
    """Create results files of rated benchmarks from published scores.

    A file holds how well each metric agrees with the ratings, with intervals, tests and signature, and where
    its scores come from; the metrics are not run. 'croc transfer' compares such files.
    """
    from croc.external.benchmark import find_benchmark
    from croc.external.results import make_result, write_result

    if scores and len(names) > 1:
        raise InputError("--scores: give one NAME with it")
    if not data.is_dir():
        raise InputError(f"{data}: no such folder")
    chosen = [find_benchmark(name) for name in names]
    for benchmark in chosen:
        result = make_result(benchmark, data, scores)
        echo(write_result(result, out / f"{benchmark.name}.json"))
