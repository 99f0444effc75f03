"""The command that plans the size of a benchmark: plan."""

from __future__ import annotations

from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, Integer, Number, json_option
from croc.cli.output import show, write
from croc.errors import InputError


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc plan --difference 0.1
  croc plan --difference 0.05 --categories 1 --metrics 2
  croc plan --difference 0.1 --pilot pilot_scores/ --by category
  croc plan --checks 100 --accuracy 0.9 --correlation 0.5 --json plan.json"""
)
@click.option(
    "--difference",
    type=Number(0, 2, min_open=True),
    help="Difference between the scaled accuracies of two metrics that each category shall detect.",
)
@click.option("--checks", type=Integer(1), help="Number of checks per category: show what they can detect.")
@click.option(
    "--pilot",
    "tables",
    multiple=True,
    type=PATH,
    metavar="TABLE",
    help="Score table of a pilot, or a folder of them: the variation of results is estimated from it. "
    "Repeatable. Without a pilot it is assumed.",
)
@click.option("--by", metavar="COLUMN", help="Column of the pilot with the categories. Default: category.")
@click.option(
    "--accuracy",
    type=Number(0, 1, min_open=True, max_open=True),
    help="Mean accuracy of the metrics, where chance level is 1/2. Default: 0.8.",
)
@click.option(
    "--correlation",
    type=Number(-1, 1, max_open=True),
    help="Correlation between the results of two metrics on one check. Default: 0.3, or the pilot's.",
)
@click.option(
    "--concept-correlation",
    type=Number(0, 1),
    help="Correlation between the results of two checks of one concept. Default: 0.2, or the pilot's.",
)
@click.option(
    "--checks-per-concept",
    type=Number(1),
    help="Mean number of checks of one concept. Default: 5, or the pilot's.",
)
@click.option("--categories", type=Integer(1), help="Number of categories. Default: 8, or the pilot's.")
@click.option(
    "--metrics", default=6, show_default=True, type=Integer(2), help="Number of metrics to compare."
)
@click.option(
    "--power",
    default=0.8,
    show_default=True,
    type=Number(0, 1, min_open=True, max_open=True),
    help="Probability with which the difference shall be detected.",
)
@click.option(
    "--alpha",
    default=0.05,
    show_default=True,
    type=Number(0, 1, min_open=True, max_open=True),
    help="Level of significance, adjusted over all comparisons (Holm).",
)
@click.option(
    "--level",
    default=0.95,
    show_default=True,
    type=Number(0.5, 0.999),
    help="Confidence level of the intervals.",
)
@click.option(
    "--permutations", default=10000, show_default=True, type=Integer(1), help="Number of permutations."
)
@json_option
def plan(
    difference: float | None,
    checks: int | None,
    tables: tuple[Path, ...],
    by: str | None,
    accuracy: float | None,
    correlation: float | None,
    concept_correlation: float | None,
    checks_per_concept: float | None,
    categories: int | None,
    metrics: int,
    power: float,
    alpha: float,
    level: float,
    permutations: int,
    json_file: Path | None,
) -> None:
    """Compute how many checks detect a difference.

    With --difference the result is the number of checks and concepts per category; with --checks it is the
    smallest difference that so many checks detect. Both show the expected half width of the interval of a
    metric. They hold for the tests of 'croc evaluate --by category': metrics are compared in pairs on the
    same checks, and checks of one concept are correlated.
    """
    from croc.rendering.terminal import plan as rendered
    from croc.verdict import variation
    from croc.verdict.planning import Design, plan_for_checks, plan_for_difference

    if (difference is None) == (checks is None):
        raise click.UsageError("give either --difference or --checks")
    if tables:
        if accuracy is not None or categories is not None:
            raise click.UsageError("--accuracy and --categories come from the pilot; leave them out")
        basis = variation.read_pilot(tables, by)
    elif by is not None:
        raise click.UsageError("--by names a column of a pilot; give its score tables with --pilot")
    else:
        basis = variation.assumed_basis(variation.ACCURACY if accuracy is None else accuracy, categories or 8)
    basis = basis.changed(correlation, concept_correlation, checks_per_concept)
    design = Design(metrics=metrics, power=power, alpha=alpha, level=level, flips=permutations)
    if design.power <= design.alpha:
        raise InputError(f"the power is {power:g}; expected more than the level of significance, {alpha:g}")
    if difference is not None:
        found = plan_for_difference(difference, basis, design)
    else:
        found = plan_for_checks(checks or 1, basis, design)
    write(json_file, found.to_json() if json_file else "")
    show(rendered(found))
