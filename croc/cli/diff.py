"""The command that compares two versions of a metric: diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, Integer, correction_option, json_option
from croc.cli.output import show, write

if TYPE_CHECKING:
    from croc.verdict.statistics import Correction


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc diff scores-v1/mine.parquet scores-v2/mine.parquet --by property
  croc diff old.parquet new.parquet --by category --fail-if-worse
  croc diff scores-en/crocscore.parquet scores-de/crocscore.parquet --by property"""
)
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option("--by", multiple=True, metavar="COLUMN", help="Also compare by this column. Repeatable.")
@click.option("--metric", metavar="NAME", help="Name of the metric, if the tables have several.")
@click.option(
    "--images", type=Integer(1), metavar="K", help="Evaluate syn with K images per side. Default: all."
)
@click.option(
    "--permutations", default=10000, show_default=True, type=Integer(1), help="Number of permutations."
)
@click.option("--seed", type=Integer(0), help="Seed of the permutations. Default: a fixed one.")
@correction_option
@click.option("--fail-if-worse", is_flag=True, help="Exit with code 1 if the metric is worse anywhere.")
@json_option
@click.pass_context
def diff(
    context: click.Context,
    old: Path,
    new: Path,
    by: tuple[str, ...],
    metric: str | None,
    images: int | None,
    permutations: int,
    seed: int | None,
    correction: Correction,
    fail_if_worse: bool,
    json_file: Path | None,
) -> None:
    """Compare two versions of a metric on the same checks.

    OLD and NEW are score tables of the two versions, or of one metric on the same checks in two languages
    ('croc build syn --language'). The differences are paired by concept. Better and worse are significant at
    0.05, adjusted over the values of a column.
    """
    from croc.rendering.terminal import changes
    from croc.verdict.changes import compare_versions
    from croc.verdict.report import DEFAULT_SEED, Settings

    settings = Settings(
        by=by,
        flips=permutations,
        seed=DEFAULT_SEED if seed is None else seed,
        images=images,
        correction=correction,
    )
    found = compare_versions(old, new, settings, metric=metric)
    write(json_file, found.to_json() if json_file else "")
    show(changes(found), [f"old: {found.old}", f"new: {found.new}"])
    if fail_if_worse and found.worse:
        context.exit(1)
