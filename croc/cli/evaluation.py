"""Commands that compute results from scores: evaluate, agree, correlate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.checks.schema import GROUP_COLUMNS
from croc.cli.command_group import section
from croc.cli.options import PATH, Integer, Number, correction_option, json_option, together
from croc.cli.output import echo, log, show, write
from croc.cli.verbosity import is_quiet
from croc.errors import InputError
from croc.tables.columns import OPTIONAL_COLUMNS

if TYPE_CHECKING:
    from croc.verdict.report import Report

GROUPINGS = (*GROUP_COLUMNS, *(column.name for column in OPTIONAL_COLUMNS if not column.many))

_tables_argument = click.argument("tables", nargs=-1, required=True, type=PATH, metavar="TABLE...")
_report_options = together(
    click.option(
        "--protocol",
        metavar="syn|hum",
        help="Protocol: syn (labels by construction) or hum (human labels). Default: the one in the tables.",
    ),
    click.option(
        "--paper", is_flag=True, help="Compute as in the paper: a tie fails, chance level is 5/6 or 1/2."
    ),
    click.option(
        "--images",
        type=Integer(1),
        metavar="K",
        help="Evaluate syn with K images per side, averaged over all choices of K. Default: all images.",
    ),
    click.option(
        "--average",
        type=click.Choice(["micro", "macro"]),
        help="Mean of a metric: micro pools the checks, macro gives each value of the first --by column the "
        "same weight. Default: micro; with --paper, the published average.",
    ),
    click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric. Repeatable."),
    click.option(
        "--resamples",
        default=2000,
        show_default=True,
        type=Integer(0),
        help="Number of bootstrap resamples, for rank agreement and findings. 0 computes neither.",
    ),
    click.option(
        "--permutations",
        default=10000,
        show_default=True,
        type=Integer(0),
        help="Number of permutations in tests. 0 computes no tests.",
    ),
    click.option("--seed", type=Integer(0), help="Seed of resamples and permutations. Default: a fixed one."),
    click.option(
        "--level",
        default=0.95,
        show_default=True,
        type=Number(0.5, 0.999),
        help="Confidence level of the intervals.",
    ),
)


def _report(tables: tuple[Path, ...], options: dict[str, Any], by: tuple[str, ...] = ()) -> Report | None:
    """The report on score tables; None for graded checks, which have no directions."""
    from rich.console import Console

    from croc.tables.readers import read_score_tables
    from croc.verdict.evaluation import evaluate_tables
    from croc.verdict.report import DEFAULT_SEED, Settings

    settings = Settings(
        paper=options["paper"],
        by=by,
        resamples=options["resamples"],
        flips=options["permutations"],
        seed=DEFAULT_SEED if options["seed"] is None else options["seed"],
        level=options["level"],
        images=options["images"],
        average=options["average"],
        correction=options.get("correction", "holm"),
    )
    with Console(stderr=True, quiet=is_quiet()).status("Evaluating score tables …"):
        read = read_score_tables(
            tables, protocol=options["protocol"], groups=by, metrics=options["metrics"] or None, judges=True
        )
        return None if read[0].protocol == "graded" else evaluate_tables(read, settings)


_NOT_GRADED = (
    *("paper", "images", "average", "by", "correction"),
    *("ceilings", "html", "checks", "audit", "probe", "invariance", "latex"),
)


def _show_graded(tables: tuple[Path, ...], options: dict[str, Any], files: dict[str, Path | None]) -> None:
    """Evaluate tables of graded checks: they have no directions, and so fewer options and formats."""
    from croc.graded import evaluate
    from croc.rendering.graded import picture_png, terminal
    from croc.verdict.report import DEFAULT_SEED

    given = {**options, **files, "correction": options["correction"] != "holm"}
    for option in _NOT_GRADED:
        if given.get(option):
            raise InputError(f"--{option} does not apply to graded checks")
    report = evaluate(
        tables,
        metrics=options["metrics"] or None,
        level=options["level"],
        permutations=options["permutations"],
        seed=DEFAULT_SEED if options["seed"] is None else options["seed"],
    )
    write(files["json"], report.to_json() + "\n")
    write(files["heatmap"], picture_png(report) if files["heatmap"] else b"")
    show(terminal(report), [report.signature])


def _failed_checks(
    report: Report, files: tuple[Path, ...], options: dict[str, Any], dataset: str | None
) -> list[tuple[str, str]]:
    """The section of failed checks; none where it is unknown which dataset was scored."""
    from croc.checks.sources import open_checks
    from croc.rendering.failed_checks import HEADING, failed_checks
    from croc.rendering.fragments import CHECKS
    from croc.results.files import existing_group_columns
    from croc.tables.readers import find_tables, read_score_tables

    found = open_checks(dataset or str(CHECKS))
    if dataset is None and found.revision != report.dataset.revision:
        return []
    columns = [set(existing_group_columns(file)) for file in find_tables(files)]
    tables = read_score_tables(
        files,
        protocol=options["protocol"],
        groups=sorted(set.intersection(*columns) - {"subset"}),
        metrics=options["metrics"] or None,
        judges=True,
    )
    return [(HEADING, failed_checks(report, tables, found))]


def _findings(
    audits: tuple[Path, ...], probes: tuple[Path, ...], invariances: tuple[Path, ...]
) -> list[tuple[str, str]]:
    """The sections of other examinations of the metrics."""
    from croc.invariance import read_invariance
    from croc.probe.report import read_probe
    from croc.rendering import invariance, probe, reward_audit
    from croc.reward_audit.folder import read_audit

    found = [("Safe to optimise?", reward_audit.section(*read_audit(path))) for path in audits]
    for path in probes:
        report, images = read_probe(path)
        found.append((f"Weak properties of {report.metric}", probe.section(report, images)))
    return found + [("Invariance", invariance.section(read_invariance(path))) for path in invariances]


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc evaluate scores/ --by property
  croc evaluate scores/ --by image_model --by text_model
  croc evaluate croc_syn_scores.tsv.gz --paper --json report.json
  croc evaluate scores/ --by property --html report.html --checks runs/syn
  croc evaluate scores/ --html report.html --audit runs/audit --probe runs/probe
  croc evaluate action_*_scores.tsv --protocol hum --html report.html"""
)
@_tables_argument
@_report_options
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help=f"Break results down by this column: {', '.join(GROUPINGS)} or another. Repeatable. "
    "Default: subset for syn, category for hum. The terminal leaves out values of fewer than 10 checks.",
)
@correction_option
@click.option(
    "--ceilings",
    "ceilings_file",
    type=PATH,
    metavar="FILE",
    help="Also show the ceilings of scorers that ignore something, from 'croc ceilings --json'.",
)
@json_option
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a self-contained web page.")
@click.option(
    "--checks",
    metavar="DATASET",
    help="Dataset that was scored: the web page then shows failed checks with their images. Default: the "
    "sample in the package, if the tables are of it.",
)
@click.option(
    "--audit",
    "audits",
    multiple=True,
    type=PATH,
    metavar="FOLDER|FILE",
    help="Folder or JSON of 'croc audit-reward', for a section of the web page. Repeatable.",
)
@click.option(
    "--probe",
    "probes",
    multiple=True,
    type=PATH,
    metavar="FOLDER|FILE",
    help="Folder or JSON of 'croc probe', for a section of the web page. Repeatable.",
)
@click.option(
    "--invariance",
    "invariances",
    multiple=True,
    type=PATH,
    metavar="FOLDER|FILE",
    help="Folder or JSON of 'croc invariance', for a section of the web page. Repeatable.",
)
@click.option("--latex", "latex_file", type=PATH, metavar="FILE", help="Write a LaTeX table (booktabs).")
@click.option("--heatmap", "heatmap_file", type=PATH, metavar="FILE", help="Write a heatmap as PNG.")
def evaluate(
    tables: tuple[Path, ...],
    by: tuple[str, ...],
    ceilings_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    checks: str | None,
    audits: tuple[Path, ...],
    probes: tuple[Path, ...],
    invariances: tuple[Path, ...],
    latex_file: Path | None,
    heatmap_file: Path | None,
    **options: Any,
) -> None:
    """Compute the accuracy of metrics from score tables.

    TABLE is a score table (Parquet, CSV, TSV), one of the published TSV files, or a folder of them. The
    result is the scaled accuracy of each metric in four directions, with confidence intervals, tests between
    metrics, and findings.

    For graded checks ('croc build graded') it is how well each metric orders and separates images with more
    and more errors.

    With --by text_model, image_model or style, the results also show whether the ranking of metrics depends
    on the generator. Differences are paired where the generators share specs.
    """
    from croc.rendering.heatmap import heatmap_png
    from croc.rendering.latex import latex
    from croc.rendering.page import ceilings_html, page
    from croc.rendering.terminal import ceilings, terminal
    from croc.verdict.ceilings import read_ceilings

    report = _report(tables, options, by)
    if report is None:
        files = {"ceilings": ceilings_file, "json": json_file, "html": html_file, "latex": latex_file}
        given = {"by": by, "checks": checks, "audit": audits, "probe": probes, "invariance": invariances}
        _show_graded(tables, options | given, {**files, "heatmap": heatmap_file})
        return
    found = None if ceilings_file is None else read_ceilings(ceilings_file, report)
    extra = [] if found is None else [("Ceilings", ceilings_html(found))]
    if html_file:
        extra += [*_findings(audits, probes, invariances), *_failed_checks(report, tables, options, checks)]
    elif audits or probes or invariances:
        raise InputError("--audit, --probe and --invariance add sections to the web page: give --html, too")
    write(json_file, report.to_json() if json_file else "")
    write(html_file, page(report, extra=extra) if html_file else "")
    write(latex_file, latex(report) if latex_file else "")
    write(heatmap_file, heatmap_png(report) if heatmap_file else b"")
    signatures = [report.signature, *([] if found is None else [found.signature])]
    show([*terminal(report), *([] if found is None else ceilings(found))], signatures)


@section("evaluate")
@click.command(epilog="Example: croc agree syn_scores/ --with hum_scores/ --by category")
@_tables_argument
@click.option(
    "--with",
    "other_tables",
    multiple=True,
    required=True,
    type=PATH,
    metavar="TABLE",
    help="Score table of the other benchmark, or a folder of them. Repeatable.",
)
@click.option("--by", metavar="COLUMN", help="Also compare the rankings within each value of this column.")
@_report_options
def agree(tables: tuple[Path, ...], other_tables: tuple[Path, ...], by: str | None, **options: Any) -> None:
    """Compare how two benchmarks rank the same metrics.

    The measure is Kendall's tau-b with its confidence interval.
    """
    from croc.rendering.formats import agreement_lines

    columns = (by,) if by else ()
    first, second = (_report(files, options, columns) for files in (tables, other_tables))
    if first is None or second is None:
        raise InputError("graded checks have no directions to compare; use 'croc evaluate' for each")
    agreements = first.agreement(second)
    if by:
        agreements += first.agreement(second, by)
    for line in agreement_lines(agreements):
        echo(line)
    if not agreements:
        echo("the two benchmarks have no group of checks in common")
    show([], [one.signature for one in agreements[:1]])


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc correlate ratings.csv --human human_avg
  croc correlate ratings.csv --human human_avg --group none --by category
  croc correlate ratings.parquet --human rater_1 --human rater_2 --json correlation.json"""
)
@click.argument("table", type=PATH)
@click.option(
    "--human",
    "humans",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="Column of human ratings. Repeatable.",
)
@click.option("--metric", "metrics", multiple=True, metavar="COLUMN", help="Only this metric. Repeatable.")
@click.option(
    "--group",
    type=click.Choice(["item", "system", "none"]),
    help="Compare images of one prompt (item), of one system, or all images (none). "
    "Default: item if a prompt has several images, otherwise none.",
)
@click.option(
    "--average",
    type=click.Choice(["mean", "fisher"]),
    default="mean",
    show_default=True,
    help="Average over the groups. fisher averages Spearman's and Pearson's coefficients by Fisher's z.",
)
@click.option(
    "--cluster",
    metavar="COLUMN",
    help="Items with the same value are resampled together. Default: prompt if there is one.",
)
@click.option(
    "--missing",
    type=click.Choice(["drop", "zero", "worst"]),
    default="drop",
    show_default=True,
    help="A missing score: leave the item out, count 0, or count the metric's lowest score.",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Break results down by this column. Repeatable.")
@click.option(
    "--test",
    type=click.Choice(["perm-inputs", "perm-both"]),
    default="perm-inputs",
    show_default=True,
    help="Permutation test: exchange scores by cluster (perm-inputs) or by item (perm-both).",
)
@click.option(
    "--resamples",
    default=2000,
    show_default=True,
    type=Integer(0),
    help="Number of bootstrap resamples. 0 computes no intervals.",
)
@click.option(
    "--permutations",
    default=1000,
    show_default=True,
    type=Integer(0),
    help="Number of permutations in tests. 0 computes no tests, ranks and soft pairwise accuracy.",
)
@click.option("--seed", type=Integer(0), help="Seed of resamples and permutations. Default: a fixed one.")
@correction_option
@json_option
def correlate(
    table: Path,
    humans: tuple[str, ...],
    metrics: tuple[str, ...],
    seed: int | None,
    json_file: Path | None,
    **options: Any,
) -> None:
    """Correlate metrics with human ratings.

    TABLE is a pair table (Parquet, CSV, TSV) with the columns item_id, system and prompt, a column for each
    metric, and a column for each human rating. The result is the pairwise accuracy with calibrated ties,
    Kendall's tau-b, Spearman's rho, Pearson's r and the soft pairwise accuracy of systems, with confidence
    intervals, and which metrics are statistically tied.
    """
    from croc.ratings.correlation import correlate
    from croc.rendering.terminal import correlations
    from croc.tables.readers import read_pair_table
    from croc.verdict.report import DEFAULT_SEED

    found = correlate(
        read_pair_table(table),
        humans,
        metrics=metrics or None,
        seed=DEFAULT_SEED if seed is None else seed,
        **options,
    )
    write(json_file, found.to_json() if json_file else "")
    show(correlations(found), [found.signature])
    if found.ignored:
        names = ", ".join(map(repr, found.ignored))
        log(f"ignored, as they hold text or the index of a data frame: {names}")
