"""Commands of results files: results create, export, verify, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, Integer, Number, key_values
from croc.cli.output import echo, log, show, write
from croc.errors import CrocError, InputError

if TYPE_CHECKING:
    from croc.results.every_eval_ever import Relationship

_SHOWN_PROBLEMS = 10


@section("evaluate")
@click.group(cls=CommandGroup)
def results() -> None:
    """Create, verify and export results files."""


@results.command(
    "create",
    epilog="""\b
Examples:
  croc results create scores/clipscore-b32.parquet --out results/syn
  croc results create scores/mine.parquet --url https://example.org/mine --out results/syn
  croc results create scores/mine.parquet --audit runs/audit --probe runs/probe --out results/syn""",
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
    help="Protocol: syn (labels by construction) or hum (human labels). Default: the one in the table.",
)
@click.option("--metric", metavar="NAME", help="Name of the metric, if the table has several.")
@click.option("--trained-on-croc", is_flag=True, help="Declare that the metric was trained on CROC checks.")
@click.option("--url", metavar="HTTPS", help="Web page of the metric.")
@click.option(
    "--audit",
    type=PATH,
    metavar="FOLDER",
    help="Folder of 'croc audit-reward' of this metric, for the columns 'best-of-16 yield' and 'flips at "
    "4/255'.",
)
@click.option(
    "--probe",
    type=PATH,
    metavar="FOLDER",
    help="Folder of 'croc probe' of this metric, for the column 'weakest property'.",
)
@click.option(
    "--paper", is_flag=True, help="Compute as in the paper: a tie fails, chance level is 5/6 or 1/2."
)
def create(
    table: Path, out: Path, paper: bool, audit: Path | None, probe: Path | None, **options: Any
) -> None:
    """Create a results file from a score TABLE.

    It holds every number with its confidence interval and signature. Submit it together with the table, so
    that 'croc results verify' can compute the numbers again. With --audit or --probe, also submit the file
    TABLE.evidence.zip that is written beside it.
    """
    from croc.results.files import add_weaknesses, make_result, write_result
    from croc.verdict.report import Settings

    result = make_result(table, settings=Settings(paper=paper), **options)
    if audit is not None or probe is not None:
        result = add_weaknesses(result, out, audit=audit, probe=probe)
    echo(write_result(result, out / f"{table.stem}.json"))
    show([], [result.signature])


def _results_files(paths: tuple[Path, ...]) -> list[Path]:
    """The results files that are given, those in folders included."""
    from croc.results.verified import VERIFIED

    files: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        inside = [file for file in inside if file.name != VERIFIED]
        if not inside:
            raise InputError(f"{path}: no results file (.json) in this folder")
        files += inside
    return files


@results.command(
    "verify",
    epilog="""\b
Examples:
  croc results verify results/syn/clipscore-b32.json
  croc results verify results/syn/mine.json --table scores/mine.parquet
  croc results verify submission/ --dataset croc/hum --rescore 50 --record results/verified.json""",
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option(
    "--table",
    type=PATH,
    metavar="FILE",
    help="Score table. Default: the table of the same name in the folder of RESULT.",
)
@click.option(
    "--dataset",
    metavar="FOLDER|HUB_ID",
    help="Also compare the table, check by check, with this dataset: ids, images, concepts, categories, "
    "models.",
)
@click.option("--config", metavar="NAME", help="Configuration of the dataset. Default: its default one.")
@click.option("--split", metavar="NAME", help="Split of the dataset. Default: test, or the only one.")
@click.option("--revision", metavar="REVISION", help="Tag or commit of the dataset.")
@click.option(
    "--rescore",
    type=Integer(1),
    metavar="N",
    help="Also score N random checks again, and compare the scores with those of the table.",
)
@click.option(
    "--scorer",
    metavar="NAME",
    help="Scorer for --rescore, as in 'croc score'. Default: the one that the table names, if it is in 'croc "
    "scorers list'.",
)
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="Argument of the scorer. Repeatable."
)
@click.option(
    "--seed", type=Integer(0), help="Seed of the choice of checks for --rescore. Default: a random one."
)
@click.option(
    "--tolerance",
    default=0.01,
    show_default=True,
    type=Number(0),
    help="Allowed difference of scores for --rescore, in standard deviations.",
)
@click.option(
    "--audit",
    type=PATH,
    metavar="FOLDER",
    help="Also compare with your own run of 'croc audit-reward' of this metric.",
)
@click.option(
    "--probe",
    type=PATH,
    metavar="FOLDER",
    help="Also compare with your own run of 'croc probe' of this metric.",
)
@click.option(
    "--record",
    type=PATH,
    metavar="FILE",
    help="Add the verified results to this list, for 'croc leaderboard --verified'.",
)
def verify(
    paths: tuple[Path, ...],
    table: Path | None,
    dataset: str | None,
    rescore: int | None,
    scorer: str | None,
    options: tuple[str, ...],
    seed: int | None,
    tolerance: float,
    audit: Path | None,
    probe: Path | None,
    record: Path | None,
    **source: Any,
) -> None:
    """Verify results files with their score tables, the dataset, and scores computed again.

    RESULT is a results file, or a folder of them, such as a download of a pull request. Each number that
    differs from the table is an error. With --dataset, so is each row, image or description that differs from
    the dataset, and each check that is missing without being declared. Only --rescore shows that the scores
    are those of the metric; for the results of 'croc audit-reward' and 'croc probe' your own runs with
    --audit and --probe do. The web page of a metric and whether it was trained on CROC cannot be verified.
    """
    import secrets

    from croc.checks.sources import open_checks
    from croc.results.verification import Rescoring, verify_all
    from croc.results.verified import LEVELS
    from croc.results.verified import record as add_to_list

    files = _results_files(paths)
    for name, value in (("table", table), ("audit", audit), ("probe", probe)):
        if value is not None and len(files) > 1:
            raise InputError(f"--{name} {value}: give one results file with it, not {len(files)}")
    needs = {"dataset": [*source, "rescore"], "rescore": ["scorer", "option", "seed"]}
    given = {
        **source,
        "dataset": dataset,
        "rescore": rescore,
        "scorer": scorer,
        "option": options,
        "seed": seed,
    }
    for needed, names in needs.items():
        if not given[needed] and (first := [name for name in names if given[name] not in (None, ())]):
            raise InputError(f"--{first[0]} needs --{needed}")
    checks = None if dataset is None else open_checks(dataset, streaming=True, **source)
    rescoring = None
    if rescore is not None:
        seed = secrets.randbits(32) if seed is None else seed
        rescoring = Rescoring(rescore, seed, scorer, key_values(options, "--option"), tolerance)
        log(f"scoring again with --seed {seed}")
    failures, found = [], {}
    for path in files:
        problems, verification, statements = verify_all(
            path, table, checks, rescoring, audit=audit, probe=probe
        )
        found[path] = verification
        if problems:
            hidden = len(problems) - _SHOWN_PROBLEMS
            more = f"\n  … and {hidden} more" if hidden > 0 else ""
            shown = "\n  ".join(problems[:_SHOWN_PROBLEMS])
            failures.append(f"{path} does not match:\n  {shown}{more}")
        elif verification is not None:
            summary = f"; {verification.summary}" if verification.summary else ""
            echo(f"{path}: {LEVELS[verification.level]}{summary}")
            echo(f"  stated by its author, not verified: {statements}")
    if record is not None:
        add_to_list(record, {path: verification for path, verification in found.items() if path.is_file()})
    if failures:
        raise CrocError("\n".join(failures))


@results.command(
    "export",
    epilog="""\b
Examples:
  croc results export results/syn/mine.json --format hub --out model/
  croc results export results/ --format every-eval-ever --model org/mine --organization Lab --out eee/""",
)
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["hub", "every-eval-ever"]),
    help="Format: hub is .eval_results/*.yaml for the repository of the metric's model on the Hub; "
    "every-eval-ever is a record for the datastore of Every Eval Ever.",
)
@click.option(
    "--model",
    metavar="DEVELOPER/NAME",
    help="Id of the metric, for every-eval-ever; on the Hub its repository.",
)
@click.option("--organization", metavar="NAME", help="Who evaluated the metric, for every-eval-ever.")
@click.option(
    "--relationship",
    type=click.Choice(["first_party", "third_party", "collaborative", "other"]),
    default="other",
    show_default=True,
    help="Relationship of the organization to the metric's developer, for every-eval-ever.",
)
@click.option("--out", required=True, type=PATH, metavar="FOLDER", help="Output folder.")
def export(
    paths: tuple[Path, ...],
    form: str,
    model: str | None,
    organization: str | None,
    relationship: Relationship,
    out: Path,
) -> None:
    """Write results files in the formats of others.

    RESULT is a results file, or a folder of them, which are then of one metric.
    """
    import time

    from croc.results.every_eval_ever import Provenance
    from croc.results.export import every_eval_ever_files, hub_files
    from croc.results.files import read_result

    read = {path: read_result(path) for path in _results_files(paths)}
    if form == "hub":
        if model or organization:
            raise InputError("--model and --organization go with --format every-eval-ever")
        files = hub_files(read)
    else:
        if model is None or organization is None:
            raise InputError("--format every-eval-ever needs --model and --organization")
        provenance = Provenance(model, organization, relationship, int(time.time()))
        files = every_eval_ever_files(read, provenance)
    for name, content in files.items():
        write(out / name, content)
        echo(out / name)


@section("evaluate")
@click.command(epilog="Example: croc leaderboard results/ --html leaderboard.html")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="RESULT...")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a self-contained web page.")
@click.option(
    "--verified",
    type=PATH,
    metavar="FILE",
    help="List of verified results, from 'croc results verify --record'. Default: none is verified.",
)
@click.option("--only-verified", is_flag=True, help="Leave out results that are not in the list.")
def leaderboard(
    paths: tuple[Path, ...], html_file: Path | None, verified: Path | None, only_verified: bool
) -> None:
    """Rank metrics by their results files.

    RESULT is a results file, or a folder of them. Ranks come from paired tests. Results on syn and hum are
    also compared with each other. Results that were not verified are named.
    """
    from rich.text import Text

    from croc.rendering import weaknesses
    from croc.rendering.formats import agreement_lines
    from croc.rendering.page import page
    from croc.rendering.terminal import terminal
    from croc.results.leaderboard import leaderboard as load
    from croc.results.verified import read_verified

    if only_verified and verified is None:
        raise InputError("--only-verified needs --verified")
    known = {} if verified is None else read_verified(verified)
    board = load(paths, verified=known, only_verified=only_verified)
    for problem in board.problems:
        log(f"ignored: {problem}")
    if not board.benchmarks:
        raise InputError("no results file found; create one with 'croc results create'")
    reports = [benchmark.report for benchmark in board.benchmarks]
    write(html_file, page(reports[0], others=reports[1:]) if html_file else "")
    for benchmark in board.benchmarks:
        heading = Text(f"\n{benchmark.report.dataset.name}", "bold")
        show([heading, *terminal(benchmark.report)], [benchmark.report.signature])
        show(weaknesses.terminal(benchmark))
        trained = [name for name in benchmark.report.metrics if benchmark.files[name].trained_on_croc]
        if trained:
            echo(f"Trained on CROC checks, as their authors state: {', '.join(trained)}")
        if unverified := [name for name in benchmark.report.metrics if name not in benchmark.verified]:
            echo(f"Not verified: {', '.join(unverified)}")
    for pair in board.agreements:
        echo(f"{pair.first} and {pair.second}")
        for line in agreement_lines(pair.agreements):
            echo(f"  {line}")
