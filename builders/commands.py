"""The commands of this package: build, demo, publish, verify, and those of hum that make a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, executor_options, key_values, make_executor
from croc.cli.output import show
from croc.errors import CrocError, InputError
from croc_hum.commands import decision_options


@section("make")
@click.group(cls=CommandGroup)
def build() -> None:
    """Make a dataset of checks: a folder that datasets.load_dataset reads."""


def _splits(train: float, validation: float) -> dict[str, float] | None:
    if not (train or validation):
        return None
    return {"train": train, "validation": validation, "test": 1.0 - train - validation}


_TRAIN = click.option(
    "--train",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of concepts to train.",
)
_VALIDATION = click.option(
    "--validation",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of concepts to tune.",
)


@build.command(
    "syn",
    epilog="Example: croc build syn --checks 1000 --images 5 --workers 2 --out runs/syn",
)
@click.option(
    "--preset",
    type=click.Choice(["exact"]),
    default="exact",
    show_default=True,
    help="exact: the built-in drawing world.",
)
@click.option("--checks", default=300, show_default=True, type=click.IntRange(1), help="Number of checks.")
@click.option("--images", default=5, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(32, 4096), help="Pixels.")
@click.option("--seed", default=0, show_default=True, type=int)
@click.option(
    "--noise",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Probability that an image shows the other prompt.",
)
@click.option("--subset", "subsets", multiple=True, help="Only this subset; repeatable.")
@click.option("--property", "properties", multiple=True, help="Only variations of this property; repeatable.")
@click.option("--taxonomy", type=PATH, help="Your own taxonomy file.")
@_TRAIN
@_VALIDATION
@click.option("--only", multiple=True, metavar="SPLIT", help="Only checks of this split; repeatable.")
@executor_options
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def build_syn(
    preset: str,
    subsets: tuple[str, ...],
    properties: tuple[str, ...],
    train: float,
    validation: float,
    only: tuple[str, ...],
    executor: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    out: Path,
    **options: Any,
) -> None:
    """Make CROCsyn with the exact world: no model, no network, labels that are certain."""
    from builders.syn import build_exact

    report = build_exact(
        out,
        subsets=subsets or None,
        properties=properties or None,
        splits=_splits(train, validation),
        only=only or None,
        workers=workers or 1,
        engine=make_executor(executor, address, workers, gpus_per_worker, gpu=False),
        **options,
    )
    click.echo("\n".join([str(out), *report.lines()]))


@build.command("staged", epilog="Example: croc build staged syn runs/stage --near 4 --out runs/syn")
@click.argument("kind", type=click.Choice(["syn", "hum"]))
@click.argument("folder", type=PATH)
@_TRAIN
@_VALIDATION
@click.option("--near", type=click.IntRange(0, 64), help="Images so many bits apart count as the same.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def build_staged(kind: str, folder: Path, out: Path, train: float, validation: float, **options: Any) -> None:
    """Put a FOLDER of staged rows, made by a generation, into shards."""
    from builders import hum, syn

    put = {"syn": syn.build_staged, "hum": hum.build_staged}[kind]
    report = put(folder, out, splits=_splits(train, validation), **options)
    click.echo("\n".join([str(out), *report.lines()]))


@build.command("hum", epilog="Example: croc build hum --from-release nllg/croc_hum --out runs/hum")
@click.option(
    "--from-release",
    "release",
    required=True,
    metavar="DIR|REPO",
    help="The authors' TSV and tar.gz of images.",
)
@click.option("--license", help="Licence of the images; default: not known.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def build_hum(release: str, out: Path, **options: Any) -> None:
    """Make hum checks of the authors' CROChum release."""
    from builders.hum import build_release

    click.echo("\n".join([str(out), *build_release(release, out, **options).lines()]))


@build.command("train", epilog="Example: croc build train runs/syn --out runs/questions --samples 16000")
@click.argument("checks", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
@click.option("--entity-variation", default=3000, show_default=True, type=click.IntRange(0), help="At most.")
@click.option("--entity-placement", default=0, show_default=True, type=click.IntRange(0), help="At most.")
@click.option("--per-property", type=click.IntRange(1), help="Checks of each property and split, at most.")
@click.option("--images", default=1, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option(
    "--samples", type=click.IntRange(1), help="Questions for training, at most; the paper has 16,000."
)
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
def build_train(
    checks: Path,
    out: Path,
    entity_variation: int,
    entity_placement: int,
    per_property: int | None,
    images: int,
    samples: int | None,
    seed: int,
    workers: int,
) -> None:
    """Make yes/no questions for training from a finished folder of CHECKS that has a split train."""
    from builders.train import Selection
    from builders.train import build_train as make

    caps = {
        "property_variation": None,
        "entity_variation": entity_variation,
        "entity_placement": entity_placement,
    }
    selection = Selection(caps, per_property, images, samples, seed)
    report = make(checks, out, selection=selection, workers=workers)
    click.echo("\n".join([str(out), *report.lines()]))


@build.command("nlvr", epilog="Example: croc build nlvr nlvr/dev --out runs/nlvr")
@click.argument("folder", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder to make.")
def build_nlvr(folder: Path, out: Path) -> None:
    """Make hum checks from a split of NLVR: sentences by people, votes of five raters, drawn images."""
    from builders.hum import build_nlvr as make

    click.echo("\n".join([str(out), *make(folder, out).lines()]))


@build.command(
    "scenes",
    epilog="Example: croc build scenes --images 60000 --train 0.7 --without runs/test --out runs/scenes",
)
@click.option("--images", default=60_000, show_default=True, type=click.IntRange(1), help="Number of images.")
@click.option(
    "--train", default=0.7, show_default=True, type=click.FloatRange(0, 1), help="Share of concepts to train."
)
@click.option(
    "--validation",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of concepts to tune.",
)
@click.option(
    "--without", multiple=True, type=PATH, help="Checks whose prompts must not occur: a folder; repeatable."
)
@click.option("--property", "properties", multiple=True, help="Only this property; repeatable.")
@click.option(
    "--about", multiple=True, metavar="PROPERTY", help="Only pairs that differ in this property; repeatable."
)
@click.option(
    "--unusual",
    default=0.7,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of things with unusual parts, texture or material.",
)
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def build_scenes(
    images: int,
    train: float,
    validation: float,
    without: tuple[Path, ...],
    properties: tuple[str, ...],
    about: tuple[str, ...],
    unusual: float,
    seed: int,
    workers: int,
    out: Path,
) -> None:
    """Make annotated scenes, on which an image reader is trained.

    Each row has an image, the things in it with boxes and properties, and pairs of a true and a false prompt.
    Only concepts of the split train are drawn.
    """
    from builders import scenes

    made = scenes.build_scenes(
        out,
        images=images,
        splits={"train": train, "validation": validation, "test": round(1.0 - train - validation, 9)},
        without=without,
        properties=properties,
        settings=scenes.Settings(about=about, unusual=unusual, seed=seed),
        workers=workers,
    )
    totals = {
        name: sum(part["counts"][name] for part in made.parts) for name in ("images", "claims", "banned")
    }
    click.echo(f"{out}: {totals}")


_DEMO_PROPERTIES = ("colour", "count", "left_right", "negation", "shape")


@section("make")
@click.command(epilog="Example: croc demo --out demo-out --nlvr nlvr/dev")
@click.option("--out", default="demo-out", show_default=True, type=PATH, help="Folder to make.")
@click.option("--checks", default=600, show_default=True, type=click.IntRange(20), help="Checks to make.")
@click.option("--images", default=3, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option("--nlvr", type=PATH, help="A split of NLVR, to judge on human-labelled checks too.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
def demo(out: Path, checks: int, images: int, nlvr: Path | None, workers: int) -> None:
    """Walk the whole road offline: make checks, run scorers, judge them, write a report."""
    from builders.syn import build_exact
    from croc.rendering import render
    from croc.scoring.run import score_dataset
    from croc.verdict.report import Report, Settings
    from croc_syn.contact_sheet import sheet as make_sheet

    names = ["colour-words", "random", "prompt-length", "image-only"]
    click.secho("1. Making contrastive checks with the exact world", bold=True, err=True)
    built = build_exact(
        out / "syn", checks=checks, images=images, properties=_DEMO_PROPERTIES, workers=workers
    )
    for line in built.lines():
        click.echo(f"   {line}", err=True)
    import datasets  # after the build: it is slow to import, and the bar should show first

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(out / "syn"), split="test")
    click.echo(f"   datasets.load_dataset({str(out / 'syn')!r}) reads {len(loaded)} rows", err=True)
    make_sheet(out / "syn", out / "sheet.png", checks=8, columns=4)
    click.secho("2. Running scorers", bold=True, err=True)
    tell = lambda line: click.echo(f"   {line}", err=True)  # noqa: E731
    tables = score_dataset(out / "syn", names, out / "scores-syn", tell=tell)
    report = Report.from_files(tables, settings=Settings(by=("property",)))
    others: list[Report] = []
    extra: list[tuple[str, str]] = []
    if nlvr is not None:
        from builders.hum import build_nlvr

        build_nlvr(nlvr, out / "nlvr", progress=False)
        real = Report.from_files(score_dataset(out / "nlvr", names, out / "scores-nlvr", tell=tell))
        others.append(real)
        lines = render.agreement_lines(report.agreement(real))
        extra.append(("Do the benchmarks agree?", "".join(f"<p>{line}</p>" for line in lines)))
    click.secho("3. The verdict", bold=True, err=True)
    for each in (report, *others):
        show(render.terminal(each))
    files = render.write_all(report, out, others=others, extra=extra)
    for each in others:
        files += render.write_all(each, out, name="report-nlvr")
    click.secho(f"Written to {out}: sheet.png, {', '.join(file.name for file in files)}", bold=True, err=True)
    click.echo(f"Open {out / 'report.html'} in a browser.", err=True)


@section("share")
@click.command(
    epilog="""\b
Examples:
  croc publish syn runs/syn --repo org/name --dry-run
  croc publish model runs/crocscore --repo org/crocscore --tag v1.0.0"""
)
@click.argument("kind", type=click.Choice(["syn", "hum", "train", "model", "space"]))
@click.argument("folder", type=PATH)
@click.option("--repo", required=True, metavar="ORG/NAME", help="Repository; made when it is not there.")
@click.option("--private", is_flag=True, help="Only members of the organisation may see it.")
@click.option("--tag", help="Name of this version, such as v1.0.0.")
@click.option("--dry-run", is_flag=True, help="Show every file and the card; send nothing.")
@click.option(
    "--check-access",
    is_flag=True,
    help="Check only the name and that there is an access token, such as before a long training.",
)
def publish(kind: str, folder: Path, check_access: bool, **options: Any) -> None:
    """Put a finished FOLDER on the Hub; run again after an interruption, nothing is sent twice.

    The access token comes from HF_TOKEN or 'hf auth login'.
    """
    from builders.publish import may_publish
    from builders.publish import publish as send

    if check_access:
        may_publish(options["repo"])
        return
    done = send(kind, folder, log=lambda line: click.echo(line, err=True), **options)
    click.echo("\n".join(done.lines()))


@section("share")
@click.command(epilog="Example: croc verify runs/syn")
@click.argument("target", metavar="DIR|ORG/NAME")
@click.option("--revision", help="Tag or commit of a repository.")
@click.option("--images/--no-images", default=True, show_default=True, help="Decode every image too.")
def verify(target: str, revision: str | None, images: bool) -> None:
    """Check a folder of data, or a dataset on the Hub: checksums, columns, splits, images, card."""
    from builders.verify import verify as check
    from builders.verify import verify_repo

    local = Path(target)
    here = local.is_dir() or target.count("/") != 1
    found = check(local, images=images) if here else verify_repo(target, revision=revision, images=images)
    if found:
        shown = "\n  ".join(found)
        raise CrocError(f"{target}: {len(found)} problems\n  {shown}")
    click.echo(f"{target}: all is well")


@click.command(
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
def hum_prompts(source: Path | None, listed: bool, category: str | None, least: int, schema: bool) -> None:
    """Check prompt pairs: a YAML file, or a folder of them (default: ours), and count what is in them.

    Pairs that are said to be exact are put to the exact world: it must be able to draw both prompts and to
    prove that no image shows both.
    """
    from croc_hum.candidates.prompts import PromptSet, load

    if schema:
        import json

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


@click.command(
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
def hum_candidates(
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


@click.command(
    epilog="""\b
Examples:
  croc hum release votes.parquet --items runs/candidates --out runs/hum
  croc hum release votes.parquet --items runs/candidates --min-votes 5 --min-share 0.8 --out runs/hum
  croc verify runs/hum
  croc publish hum runs/hum --repo ORG/hum"""
)
@click.argument("votes", type=PATH)
@click.option("--items", required=True, type=PATH, help="The candidates that the votes are about.")
@decision_options
@click.option(
    "--task",
    type=click.Choice(["shows", "rating", "preference"]),
    help="Which decides; default: the one voted on.",
)
@click.option("--both-sides", is_flag=True, help="Leave out checks of which one side has no image left.")
@click.option("--out", required=True, type=PATH, help="Folder to make.")
def hum_release(
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


@click.command(epilog="Example: croc hum card runs/syn --agreement agreement.json")
@click.argument("build", type=PATH)
@click.option(
    "--agreement",
    required=True,
    type=PATH,
    metavar="JSON",
    help="What 'croc hum agreement --items SAMPLE --json' wrote about a sample of this build.",
)
def hum_card(build: Path, agreement: Path) -> None:
    """Write the label noise of a finished BUILD on its card.

    It is also written to label_noise.json in the build. The data and its manifest stay as they are.
    """
    from builders.candidates import put_on_card
    from croc.storage.files import read_json
    from croc_hum.agreement.label_noise import LabelNoise

    report = read_json(agreement)
    if report is None:
        raise InputError(f"{agreement}: no such file ('croc hum agreement --json' writes it)")
    noise = report.get("noise") if isinstance(report, dict) else None
    if noise is None:
        raise InputError(f"{agreement}: no label noise in it; 'croc hum agreement' measures it with --items")
    put_on_card(build, LabelNoise.from_dict(noise))
    click.echo(f"the label noise is on the card of {build}", err=True)
