"""Commands of the human-supervised benchmark: croc hum prompts, candidates, annotate, agreement, release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from croc.cli.annotate import annotate, votes
from croc.cli.shared import PATH, key_values, show, write
from croc.errors import InputError


@click.group(
    epilog="""\b
The whole way:
  croc hum prompts
  croc hum candidates --images 3 --out runs/candidates
  croc hum annotate runs/candidates --store votes.sqlite
  croc hum votes votes.sqlite --out votes.parquet
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
@click.option("--show", "listed", is_flag=True, help="List the pairs, too.")
@click.option("--category", help="Only of this category.")
@click.option(
    "--least",
    default=12,
    show_default=True,
    type=click.IntRange(1),
    help="Pairs that each category must have.",
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of a file of pairs, and nothing else.")
def prompts(source: Path | None, listed: bool, category: str | None, least: int, schema: bool) -> None:
    """Check prompt pairs: a YAML file, or a folder of them (default: ours), and count what is in them.

    Pairs that are said to be exact are put to the exact world: it must be able to draw both prompts and to
    prove that no image shows both.
    """
    from croc_hum.candidates.prompts import PromptSet, load

    if schema:
        click.echo(json.dumps(PromptSet.model_json_schema(), indent=1))
        return
    from builders.candidates import check_pairs, chosen

    sets = chosen(load(source), category)
    check_pairs(sets, least)
    for name, one in sets.items():
        exact = sum(pair.exact for pair in one.pairs)
        click.echo(f"{name}: {len(one.pairs)} pairs, {exact} exact. {one.definition}")
        for pair in one.pairs if listed else ():
            mark = "exact" if pair.exact else "     "
            click.echo(f"  {pair.id} [{mark}] {pair.property}: {pair.prompt} / {pair.contrast_prompt}")
    click.echo(f"{sum(len(one.pairs) for one in sets.values())} pairs in {len(sets)} categories")


_TASK = click.option(
    "--task",
    default="shows",
    show_default=True,
    type=click.Choice(["shows", "rating", "preference"]),
    help="Does it show the prompt? How well (1-5)? Which of two prompts fits?",
)


@hum.command(
    epilog="""\b
Examples:
  croc hum candidates --images 5 --out runs/candidates
  croc hum candidates --model flux.1-dev --model sd3.5-large --images 50 --out runs/candidates
  croc hum candidates --preset small --pairs my_prompts/ --out runs/candidates
  croc hum candidates --of runs/syn --checks 200 --images 2 --out runs/sample"""
)
@click.option("--pairs", type=PATH, help="Your own prompt pairs: a YAML file or a folder.  [default: ours]")
@click.option("--category", help="Only of this category.")
@click.option("--images", type=click.IntRange(1), help="Images a side.  [default: 5; of a build: all]")
@click.option("--size", type=click.IntRange(32, 4096), help="Pixels.  [default: the model's own; exact: 256]")
@click.option("--noise", type=click.FloatRange(0, 1), help="Exact world: probability of a wrong image.")
@click.option(
    "--preset", default="exact", show_default=True, help="Who paints: a name, or your own YAML file."
)
@click.option("--model", "models", multiple=True, help="Paint with this one in its place; repeatable.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the preset; repeatable."
)
@click.option("--of", "build", type=PATH, help="Make no images: take a sample of this finished build.")
@click.option(
    "--checks", default=200, show_default=True, type=click.IntRange(1), help="Checks of that sample."
)
@click.option("--subset", help="Of that sample: only this subset.")
@click.option("--property", "contrasted", help="Of that sample: only this property.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="First seed, or the sample's."
)
@_TASK
@click.option(
    "--attention", default=10, show_default=True, type=click.IntRange(0), help="Attention checks among them."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def candidates(
    pairs: Path | None,
    category: str | None,
    images: int | None,
    size: int | None,
    noise: float | None,
    preset: str,
    models: tuple[str, ...],
    changes: tuple[str, ...],
    build: Path | None,
    checks: int,
    subset: str | None,
    contrasted: str | None,
    seed: int,
    task: str,
    attention: int,
    workers: int,
    out: Path,
) -> None:
    """Make images for people to judge: of prompt pairs, or a sample of a build whose labels are in doubt.

    Without a preset or a model the exact world draws, offline; it draws the pairs that are marked exact.
    """
    from builders.candidates import chosen, of_build, of_pairs

    if build is not None:
        painting = {"--pairs": pairs, "--size": size, "--noise": noise, "--model": models, "--set": changes}
        if unfit := [name for name, value in painting.items() if value not in (None, ())]:
            raise InputError(
                f"{unfit[0]}: a sample of a build is taken as it is; leave it out, or leave --of out"
            )
        where = {"category": category, "subset": subset, "property": contrasted}
        sample = of_build(
            build, out, checks=checks, images=images, task=task, attention=attention, where=where, seed=seed
        )
        click.echo("\n".join([str(out), *sample.lines()]))
        return
    if subset or contrasted:
        raise InputError("--subset and --property choose from a build; name it with --of, or use --category")
    from croc_hum.candidates.prompts import load
    from croc_syn.presets import load as load_preset

    given = {"images.count": images, "images.size": size, "images.noise": noise, "images.first_seed": seed}
    settings = key_values(changes, "--set") | {
        name: value for name, value in given.items() if value is not None
    }
    if models:
        settings["images.models"] = list(models)
    made = of_pairs(
        chosen(load(pairs), category),
        out,
        load_preset(preset, settings).images,
        task=task,
        attention=attention,
        workers=workers,
    )
    click.echo("\n".join([str(out), *made.lines()]))


def _ruling(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say when votes decide about an image."""
    options = (
        click.option(
            "--min-votes", default=3, show_default=True, type=click.IntRange(1), help="Votes it needs."
        ),
        click.option(
            "--min-share",
            default=2 / 3,
            show_default="2/3",
            type=click.FloatRange(0.5, 1, min_open=True),
            help="Share of them that must agree; unsure is a vote.",
        ),
        click.option(
            "--method",
            default="majority",
            show_default=True,
            type=click.Choice(["majority", "dawid-skene"]),
            help="Count votes, or weigh annotators by how they err.",
        ),
        click.option(
            "--min-attention",
            default=0.0,
            show_default="all are heard",
            type=click.FloatRange(0, 1),
            help="Share of attention checks that somebody must have passed; others are left out.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@hum.command(
    epilog="""\b
Examples:
  croc hum agreement votes.parquet
  croc hum agreement votes.parquet --html agreement.html --json agreement.json
  croc hum agreement votes.parquet --items runs/candidates --scores scores/
  croc hum agreement votes.parquet --items runs/sample --card runs/syn"""
)
@click.argument("votes", type=PATH)
@click.option(
    "--items", type=PATH, help="The candidates that the votes are about: label noise by property, too."
)
@click.option(
    "--scores",
    multiple=True,
    type=PATH,
    help="Score tables of the candidates: one verdict an annotator, too; repeatable.",
)
@click.option("--card", type=PATH, help="Put the label noise on the card of the build that was sampled.")
@_ruling
@click.option(
    "--resamples", default=1000, show_default=True, type=click.IntRange(0), help="Bootstrap; 0: none."
)
@click.option(
    "--unit",
    default="concept",
    show_default=True,
    type=click.Choice(["concept", "item"]),
    help="What is resampled for alpha; images of a concept are judged alike.",
)
@click.option("--seed", default=None, type=click.IntRange(0), help="Of the bootstrap; the default is fixed.")
@click.option(
    "--level", default=0.95, show_default=True, type=click.FloatRange(0.5, 0.999), help="Of intervals."
)
@click.option("--json", "json_file", type=PATH, help="Write all numbers here.")
@click.option("--html", "html_file", type=PATH, help="Write a self-contained page here.")
def agreement(
    votes: Path,
    items: Path | None,
    scores: tuple[Path, ...],
    card: Path | None,
    min_votes: int,
    min_share: float,
    method: str,
    min_attention: float,
    resamples: int,
    unit: str,
    seed: int | None,
    level: float,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Say how far the annotators of VOTES agree, what they cost, and what their verdict depends on.

    VOTES is what the administrator's page exports: a Parquet, CSV or TSV file. Krippendorff's alpha, pairwise
    kappa, hours and discard rates by category, each annotator against the others.
    """
    from dataclasses import replace

    from croc_hum.agreement import views as agreement_views
    from croc_hum.agreement.agreement import AgreementReport, Settings
    from croc_hum.agreement.label_noise import LabelNoise, read_sample
    from croc_hum.release.release import item_ids
    from croc_hum.votes.votes import Rule, known_items, read_votes

    if card is not None and items is None:
        raise InputError("--card needs --items: the sample that the votes are about")
    rule, found = Rule(min_votes, min_share, method, min_attention), read_votes(votes)
    sample = None if items is None else read_sample(items)
    if items is not None:
        known_items(found, item_ids(items), str(votes))
    settings = Settings(unit, resamples, *(() if seed is None else (seed,)))
    report = AgreementReport.of(found, rule, replace(settings, level=level))
    if sample is not None:
        report = replace(report, noise=LabelNoise.of(found, sample, rule, level=level))
    if scores:
        from croc_hum.agreement.rankings import rankings

        task = sample["task"] if sample else report.groups[0].task
        report = replace(report, rankings=rankings(scores, found, rule, task=task, resamples=resamples))
    show(agreement_views.terminal(report))
    write(json_file, report.to_json() if json_file else "")
    write(html_file, agreement_views.html(report) if html_file else "")
    if card is not None and report.noise is not None:
        from builders.candidates import put_on_card

        put_on_card(card, report.noise)
        click.echo(f"the label noise is on the card of {card}", err=True)


@hum.command(
    epilog="""\b
Examples:
  croc hum release votes.parquet --items runs/candidates --out runs/hum
  croc hum release votes.parquet --items runs/candidates --min-votes 5 --min-share 0.8 --out runs/hum
  croc verify runs/hum
  croc publish hum runs/hum --repo ORG/hum"""
)
@click.argument("votes", type=PATH)
@click.option("--items", required=True, type=PATH, help="The candidates that the votes are about.")
@_ruling
@click.option(
    "--task",
    type=click.Choice(["shows", "rating", "preference"]),
    help="Which decides; default: the one voted on.",
)
@click.option("--both-sides", is_flag=True, help="Leave out checks of which one side has no image left.")
@click.option("--out", required=True, type=PATH, help="Folder to make.")
def release(
    votes: Path,
    items: Path,
    min_votes: int,
    min_share: float,
    method: str,
    min_attention: float,
    task: str | None,
    both_sides: bool,
    out: Path,
) -> None:
    """Make checks of the images that VOTES agree about; an adjudicator's vote settles what they leave open.

    VOTES is what the administrator's page exports: a Parquet, CSV or TSV file. Images that are not released
    are counted with their reasons, on the card too.
    """
    from builders.hum import build_voted
    from croc_hum.votes.votes import Rule

    rule = Rule(min_votes, min_share, method, min_attention)
    report = build_voted(votes, items, out, rule=rule, task=task, both_sides=both_sides)
    click.echo("\n".join([str(out), *report.lines()]))


hum.add_command(annotate)
hum.add_command(votes)
