"""Commands of this package in the group hum: prompts, candidates, release, card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from builders.commands import print_report
from croc.cli.options import (
    PATH,
    Integer,
    Number,
    key_values,
    out_folder,
    paid_options,
    preset_changes,
    workers_option,
)
from croc.cli.output import echo, log
from croc.errors import InputError
from croc.wording import counted
from croc_hum.commands import rule_options


@click.command(
    "prompts",
    epilog="""\b
Examples:
  croc hum prompts
  croc hum prompts --list --category negation
  croc hum prompts my_prompts/ --min-pairs 20
  croc hum prompts --schema""",
)
@click.argument("source", required=False, type=PATH)
@click.option("--list", "listed", is_flag=True, help="Also list the pairs.")
@click.option("--category", metavar="NAME", help="Only this category.")
@click.option(
    "--min-pairs",
    default=12,
    show_default=True,
    type=Integer(1),
    help="Minimum number of pairs per category.",
)
@click.option("--schema", is_flag=True, help="Print only the JSON schema of a file of pairs.")
def prompts(source: Path | None, listed: bool, category: str | None, min_pairs: int, schema: bool) -> None:
    """Check prompt pairs and count them.

    SOURCE is a YAML file or a folder of YAML files. Default: the pairs in the package. For pairs marked as
    exact, the exact world must be able to draw both prompts and to prove that no image shows both.
    """
    from croc_hum.candidates.prompts import PromptSet, load

    if schema:
        import json

        echo(json.dumps(PromptSet.model_json_schema(), indent=1))
        return
    from builders.candidates import check_pairs, select_category

    sets = select_category(load(source), category)
    check_pairs(sets, min_pairs)
    for name, prompt_set in sets.items():
        exact = sum(pair.exact for pair in prompt_set.pairs)
        pairs = counted(len(prompt_set.pairs), "pair")
        echo(f"{name}: {pairs}, {exact} exact. {prompt_set.definition}")
        for pair in prompt_set.pairs if listed else ():
            mark = "exact" if pair.exact else "     "
            echo(f"  {pair.id} [{mark}] {pair.property}: {pair.prompt} / {pair.contrast_prompt}")
    total = sum(len(prompt_set.pairs) for prompt_set in sets.values())
    echo(f"{counted(total, 'pair')} in {counted(len(sets), 'category', 'categories')}")


@click.command(
    "candidates",
    epilog="""\b
Examples:
  croc hum candidates --images 5 --out runs/candidates
  croc hum candidates --model flux.1-dev --model sd3.5-large --images 50 --out runs/candidates
  croc hum candidates --preset small --pairs my_prompts/ --out runs/candidates
  croc hum candidates --from-build runs/syn --checks 200 --images 2 --out runs/sample""",
)
@click.option(
    "--pairs",
    type=PATH,
    metavar="FILE|FOLDER",
    help="Prompt pairs: a YAML file or a folder of them. Default: the pairs in the package.",
)
@click.option("--category", metavar="NAME", help="Only this category.")
@click.option(
    "--images",
    type=Integer(1),
    help="Number of images per prompt. Default: 5; with --from-build all of them.",
)
@click.option(
    "--size",
    type=Integer(32, 4096),
    help="Width and height in pixels. Default: set by the image model; the exact world has 256.",
)
@click.option(
    "--label-noise",
    type=Number(0, 1),
    help="Probability that an image of the exact world shows the other prompt.",
)
@click.option(
    "--preset",
    default="exact",
    show_default=True,
    metavar="NAME|FILE",
    help="Preset with the image models: paper, small, open, exact, or a YAML file.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Image model to use in place of the preset's. Repeatable.",
)
@preset_changes
@click.option(
    "--from-build",
    "build",
    type=PATH,
    metavar="FOLDER",
    help="Generate no images; take a sample of this finished dataset.",
)
@click.option(
    "--checks",
    default=200,
    show_default=True,
    type=Integer(1),
    help="With --from-build: maximum number of checks in the sample.",
)
@click.option("--subset", metavar="NAME", help="With --from-build: only this subset.")
@click.option(
    "--property", "varied", metavar="NAME", help="With --from-build: only checks that vary this property."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=Integer(0),
    help="First seed of the images, or random seed of the sample.",
)
@click.option(
    "--task",
    default="shows",
    show_default=True,
    type=click.Choice(["shows", "rating", "preference"]),
    help="Question to annotators: does the image show the prompt, how well does it (1 to 5), or which of two "
    "prompts fits better.",
)
@click.option(
    "--attention",
    default=10,
    show_default=True,
    type=Integer(0),
    help="Number of attention checks to add, which have an obvious answer.",
)
@paid_options
@workers_option
@out_folder
def candidates(
    pairs: Path | None,
    category: str | None,
    images: int | None,
    size: int | None,
    label_noise: float | None,
    preset: str,
    models: tuple[str, ...],
    changes: tuple[str, ...],
    build: Path | None,
    checks: int,
    subset: str | None,
    varied: str | None,
    seed: int,
    task: str,
    attention: int,
    workers: int,
    out: Path,
    paid: dict[str, Any],
) -> None:
    """Generate or sample images for annotators.

    Without --preset and --model the exact world draws the pairs that are marked as exact. With --from-build
    the images are a sample of a finished dataset, to measure its label noise.
    """
    from builders.candidates import of_build, of_pairs, select_category

    if build is not None:
        generation = {
            "--pairs": pairs,
            "--size": size,
            "--label-noise": label_noise,
            "--model": models,
            "--set": changes,
        }
        if unused := [name for name, value in generation.items() if value not in (None, ())]:
            raise InputError(f"{unused[0]}: --from-build generates no images; leave out one of the two")
        sample = of_build(
            build,
            out,
            checks=checks,
            images=images,
            task=task,
            attention=attention,
            where={"category": category, "subset": subset, "property": varied},
            seed=seed,
        )
        print_report(out, sample)
        return
    if subset or varied:
        raise InputError("--subset and --property need --from-build; prompt pairs have a --category")
    from croc.jobs.executors import local_executor
    from croc_hum.candidates.prompts import load
    from croc_syn import presets

    options = {
        "images.count": images,
        "images.size": size,
        "images.noise": label_noise,
        "images.first_seed": seed,
    }
    changed = key_values(changes, "--set")
    changed |= {key: value for key, value in options.items() if value is not None}
    if models:
        changed["images.models"] = list(models)
    settings = presets.load(preset, changed).images
    settings = settings.model_copy(
        update={"endpoint": settings.endpoint.changed(paid).in_one_run().shared_by(workers)}
    )
    candidates = of_pairs(
        select_category(load(pairs), category),
        out,
        settings,
        task=task,
        attention=attention,
        executor=local_executor(workers),
    )
    print_report(out, candidates)


@click.command(
    "release",
    epilog="""\b
Examples:
  croc hum release votes.parquet --items runs/candidates --out runs/hum
  croc hum release votes.parquet --items runs/candidates --min-votes 5 --min-share 0.8 --out runs/hum
  croc verify runs/hum
  croc publish hum runs/hum --repo ORG/hum""",
)
@click.argument("votes", type=PATH)
@click.option("--items", required=True, type=PATH, metavar="FOLDER", help="Folder of the candidates.")
@rule_options
@click.option(
    "--task",
    type=click.Choice(["shows", "rating", "preference"]),
    help="Task whose votes decide. Default: the only one with votes.",
)
@click.option("--both-sides", is_flag=True, help="Leave out checks without images for one of their prompts.")
@out_folder
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
    """Build checks from the images that show their prompt by the votes.

    VOTES is a file that 'croc hum votes' or the administrator's page exported (Parquet, CSV or TSV). An
    adjudicator decides about images on which the votes do not decide. The output and the card count the
    images that are not released, by reason.
    """
    from builders.hum import build_voted
    from croc_hum.votes.votes import Rule

    rule = Rule(min_votes, min_share, method, min_attention)
    print_report(out, build_voted(votes, items, out, rule=rule, task=task, both_sides=both_sides))


@click.command(
    "card",
    epilog="""\b
Example:
  croc hum agreement votes.parquet --items runs/sample --json agreement.json
  croc hum card runs/syn --agreement agreement.json""",
)
@click.argument("build", type=PATH)
@click.option(
    "--agreement",
    required=True,
    type=PATH,
    metavar="FILE",
    help="JSON that 'croc hum agreement' wrote, with --items, about a sample of this dataset.",
)
def card(build: Path, agreement: Path) -> None:
    """Add the label noise of a dataset to its card.

    BUILD is a finished dataset. The numbers are also written to its label_noise.json. The data and the
    manifest do not change.
    """
    from builders.candidates import add_label_noise
    from croc.storage.files import read_json
    from croc_hum.agreement.label_noise import LabelNoise

    report = read_json(agreement, None, dict[str, Any])
    if report is None:
        raise InputError(f"{agreement}: no such file ('croc hum agreement --json' writes it)")
    noise = report.get("noise")
    if noise is None:
        raise InputError(f"{agreement}: no label noise in it; 'croc hum agreement' measures it with --items")
    add_label_noise(build, LabelNoise.from_dict(noise))
    log(f"the label noise is on the card of {build}")
