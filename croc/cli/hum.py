"""Commands of the human-supervised benchmark: croc hum prompts, candidates, annotate, agreement, release."""

from __future__ import annotations

import json
from pathlib import Path

import click

from croc.cli.base import PATH


@click.group(
    epilog="""\b
The whole way:
  croc hum prompts
  croc hum candidates --images 3 --out runs/candidates
  croc hum annotate runs/candidates --store votes.sqlite
  croc hum agreement votes.parquet
  croc hum release votes.parquet --items runs/candidates --out runs/hum"""
)
def hum() -> None:
    """CROChum: people judge candidate images; their votes become checks."""


@hum.command(
    epilog="""\b
Examples:
  croc hum prompts
  croc hum prompts --show --category negation
  croc hum prompts my_prompts/ --least 20
  croc hum prompts --schema"""
)
@click.argument("source", required=False, type=PATH)
@click.option("--show", is_flag=True, help="List the pairs, too.")
@click.option("--category", help="Only of this category.")
@click.option(
    "--least",
    default=12,
    show_default=True,
    type=click.IntRange(1),
    help="Pairs that each category must have.",
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of a file of pairs, and nothing else.")
def prompts(source: Path | None, show: bool, category: str | None, least: int, schema: bool) -> None:
    """Check prompt pairs: a YAML file, or a folder of them (default: ours), and count what is in them.

    Pairs that are said to be exact are put to the exact world: it must be able to draw both prompts and to
    prove that no image shows both.
    """
    from croc_hum.prompts import PromptSet, load

    if schema:
        click.echo(json.dumps(PromptSet.model_json_schema(), indent=1))
        return
    from builders.candidates import check_pairs, chosen

    sets = chosen(load(source), category)
    check_pairs(sets, least)
    for name, one in sets.items():
        exact = sum(pair.exact for pair in one.pairs)
        click.echo(f"{name}: {len(one.pairs)} pairs, {exact} exact. {one.definition}")
        for pair in one.pairs if show else ():
            mark = "exact" if pair.exact else "     "
            click.echo(f"  {pair.id} [{mark}] {pair.property}: {pair.prompt} / {pair.contrast_prompt}")
    click.echo(f"{sum(len(one.pairs) for one in sets.values())} pairs in {len(sets)} categories")
