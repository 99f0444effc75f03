"""Commands of this package: build, demo, publish, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import (
    PATH,
    Integer,
    Number,
    executor_options,
    make_executor,
    out_folder,
    seed_option,
    together,
    workers_option,
)
from croc.cli.output import echo, log
from croc.errors import CrocError
from croc.wording import counted
from croc_syn.world_options import hold_out_option, language_option, style_option, styles_option

_split_options = together(
    click.option(
        "--train",
        default=0.0,
        show_default=True,
        type=Number(0, 1),
        help="Share of the concepts in the split train.",
    ),
    click.option(
        "--validation",
        default=0.0,
        show_default=True,
        type=Number(0, 1),
        help="Share of the concepts in the split validation. All others are in the split test.",
    ),
)
_subset_option = click.option(
    "--subset", "subsets", multiple=True, metavar="NAME", help="Only this subset. Repeatable."
)
_property_option = click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME",
    help="Only checks that vary this property. Repeatable.",
)


_size_option = click.option(
    "--size",
    default=256,
    show_default=True,
    type=Integer(32, 4096),
    help="Width and height of an image in pixels.",
)


@section("make")
@click.group(cls=CommandGroup)
def build() -> None:
    """Build a dataset of checks, questions or scenes.

    The result is a folder that datasets.load_dataset reads.
    """


def _splits(train: float, validation: float) -> dict[str, float] | None:
    if not (train or validation):
        return None
    return {"train": train, "validation": validation, "test": 1.0 - train - validation}


def print_report(out: Path, report: Any) -> None:
    """Print where a dataset was built and what is in it."""
    echo("\n".join([str(out), *report.lines()]))


@build.command(
    "syn",
    epilog="Example: croc build syn --checks 1000 --images 5 --workers 2 --out runs/syn",
)
@click.option(
    "--preset",
    type=click.Choice(["exact"]),
    default="exact",
    show_default=True,
    help="Generator. The exact world draws synthetic scenes from controlled English.",
)
@click.option(
    "--checks",
    default=300,
    show_default=True,
    type=Integer(1),
    help="Number of checks. 'croc plan' computes how many detect a difference between metrics.",
)
@click.option("--images", default=5, show_default=True, type=Integer(1), help="Number of images per prompt.")
@_size_option
@click.option(
    "--webp",
    "quality",
    type=Integer(1, 100),
    metavar="QUALITY",
    help="Write WebP files of this quality, 1 to 100; 100 is lossless. Default: PNG files, which are larger.",
)
@seed_option
@click.option(
    "--label-noise",
    default=0.0,
    show_default=True,
    type=Number(0, 1),
    help="Probability that an image shows the other prompt.",
)
@_subset_option
@_property_option
@click.option(
    "--allocation",
    type=click.Choice(["categories", "subsets"]),
    default="categories",
    show_default=True,
    help="What gets the same number of checks: categories, or subsets as in the paper.",
)
@click.option("--taxonomy", type=PATH, metavar="FILE", help="Taxonomy file. Default: the one in the package.")
@style_option
@language_option
@hold_out_option
@click.option(
    "--held-out-only",
    is_flag=True,
    help="The reverse of --hold-out, for a test: every check contains something of it.",
)
@click.option(
    "--from-probe",
    type=PATH,
    metavar="FOLDER|FILE",
    help="Exactly the checks of a 'croc probe' about weak properties, in place of --checks and --seed.",
)
@_split_options
@click.option("--only", multiple=True, metavar="SPLIT", help="Only checks of this split. Repeatable.")
@executor_options
@out_folder
def build_syn(
    preset: str,
    label_noise: float,
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
    """Build checks like those of CROCsyn with the exact world.

    It needs no model and no network, and the labels are certain.
    """
    from builders.syn import build_exact

    report = build_exact(
        out,
        noise=label_noise,
        subsets=subsets or None,
        properties=properties or None,
        splits=_splits(train, validation),
        only=only or None,
        executor=make_executor(executor, address, workers, gpus_per_worker, gpu=False),
        **options,
    )
    print_report(out, report)


@build.command(
    "graded",
    epilog="Example: croc build graded --graphs 40 --images 3 --out runs/graded",
)
@click.option("--graphs", default=40, show_default=True, type=Integer(1), help="Number of prompts.")
@click.option(
    "--statements",
    default=4,
    show_default=True,
    type=Integer(2, 5),
    help="Number of statements of a prompt that can be false; the images have 0 to so many errors.",
)
@click.option(
    "--images",
    default=3,
    show_default=True,
    type=Integer(1),
    help="Number of images for each set of errors; 4 statements have 16 sets.",
)
@_size_option
@seed_option
@workers_option
@out_folder
def build_graded(workers: int, out: Path, **options: Any) -> None:
    """Build graded checks: images of a prompt with more and more errors.

    The exact world draws them, so the number of errors of every image and their kinds are certain. 'croc
    score' and 'croc evaluate' then show how well metrics order and separate the images.
    """
    from builders import graded
    from croc.jobs.executors import local_executor

    report = graded.build_graded(out, graded.GradedSettings(**options), executor=local_executor(workers))
    print_report(out, report)


@build.command(
    "staged",
    epilog="Example: croc build staged syn runs/images --near-duplicates 4 --out runs/syn",
)
@click.argument("kind", type=click.Choice(["syn", "hum"]))
@click.argument("folder", type=PATH)
@_split_options
@click.option(
    "--near-duplicates",
    "near",
    type=Integer(0, 64),
    metavar="BITS",
    help="Treat images as duplicates if their perceptual hashes differ in at most this number of bits.",
)
@workers_option
@out_folder
def build_staged(
    kind: str, folder: Path, out: Path, train: float, validation: float, near: int | None, workers: int
) -> None:
    """Build a dataset from generated images.

    FOLDER is a folder that 'croc images' made.
    """
    from builders import hum, syn
    from croc.jobs.executors import local_executor

    build = {"syn": syn.build_staged, "hum": hum.build_staged}[kind]
    splits = _splits(train, validation)
    print_report(out, build(folder, out, splits=splits, near=near, executor=local_executor(workers)))


@build.command("hum", epilog="Example: croc build hum --from-release nllg/croc_hum --out runs/hum")
@click.option(
    "--from-release",
    "release",
    required=True,
    metavar="FOLDER|HUB_ID",
    help="Release of the authors: TSV files, and a tar.gz file with the images.",
)
@click.option("--license", help="Licence of the images. Default: unknown.")
@workers_option
@out_folder
def build_hum(release: str, out: Path, license: str | None, workers: int) -> None:
    """Build checks from the authors' release of CROChum."""
    from builders.hum import build_release
    from croc.jobs.executors import local_executor

    print_report(out, build_release(release, out, license=license, executor=local_executor(workers)))


@build.command("train", epilog="Example: croc build train runs/syn --out runs/questions --samples 16000")
@click.argument("checks", type=PATH)
@out_folder
@click.option(
    "--entity-variation",
    default=3000,
    show_default=True,
    type=Integer(0),
    help="Maximum number of checks of entity variation.",
)
@click.option(
    "--entity-placement",
    default=0,
    show_default=True,
    type=Integer(0),
    help="Maximum number of checks of entity placement.",
)
@click.option(
    "--per-property",
    type=Integer(1),
    help="Maximum number of checks per property and split. Default: all.",
)
@click.option("--images", default=1, show_default=True, type=Integer(1), help="Number of images per prompt.")
@click.option(
    "--samples",
    type=Integer(1),
    help="Maximum number of training questions. The paper has 16,000. Default: all.",
)
@click.option(
    "--frames",
    type=click.Choice(["usual", "varied"]),
    default="usual",
    show_default=True,
    help="Wording of prompts of the exact world: varied takes every sentence frame and synonym.",
)
@hold_out_option
@seed_option
@workers_option
def build_train(
    checks: Path,
    out: Path,
    entity_variation: int,
    entity_placement: int,
    per_property: int | None,
    images: int,
    samples: int | None,
    frames: str,
    hold_out: tuple[str, ...],
    seed: int,
    workers: int,
) -> None:
    """Build yes/no questions for training from checks.

    CHECKS is a finished dataset that has a split train.
    """
    from builders import train
    from croc.jobs.executors import local_executor
    from croc_syn.world.language.wording import FRAMES

    caps = {
        "property_variation": None,
        "entity_variation": entity_variation,
        "entity_placement": entity_placement,
    }
    worded = tuple(FRAMES) if frames == "varied" else ()
    selection = train.Selection(caps, per_property, images, samples, seed, worded, hold_out)
    print_report(out, train.build_train(checks, out, selection=selection, executor=local_executor(workers)))


@build.command("nlvr", epilog="Example: croc build nlvr nlvr/dev --out runs/nlvr")
@click.argument("folder", type=PATH)
@out_folder
def build_nlvr(folder: Path, out: Path) -> None:
    """Build checks with human labels from NLVR.

    FOLDER is one split of NLVR: sentences that people wrote about drawn images, and the votes of five raters
    on whether each sentence is true.
    """
    from builders import hum

    print_report(out, hum.build_nlvr(folder, out))


@build.command(
    "scenes",
    epilog="Example: croc build scenes --images 60000 --without runs/test --out runs/scenes",
)
@click.option("--images", default=60_000, show_default=True, type=Integer(1), help="Number of images.")
@click.option(
    "--train",
    default=0.7,
    show_default=True,
    type=Number(0, 1),
    help="Share of the concepts in the split train.",
)
@click.option(
    "--validation",
    default=0.05,
    show_default=True,
    type=Number(0, 1),
    help="Share of the concepts in the split validation.",
)
@click.option(
    "--without",
    multiple=True,
    type=PATH,
    metavar="FOLDER",
    help="Checks whose prompts must not occur in the scenes. Repeatable.",
)
@_property_option
@click.option(
    "--about",
    multiple=True,
    metavar="NAME",
    help="Only pairs of prompts that differ in this property. Repeatable.",
)
@click.option(
    "--frames",
    type=click.Choice(["varied", "usual"]),
    default="varied",
    show_default=True,
    help="Wording of prompts: varied takes every sentence frame and synonym, usual those of checks.",
)
@styles_option
@hold_out_option
@click.option(
    "--unusual",
    default=0.7,
    show_default=True,
    type=Number(0, 1),
    help="Share of the things that get unusual parts, textures or materials.",
)
@click.option(
    "--plain",
    default=0.2,
    show_default=True,
    type=Number(0, 1),
    help="Share of the images with a plain background instead of a place.",
)
@seed_option
@workers_option
@out_folder
def build_scenes(
    images: int,
    train: float,
    validation: float,
    without: tuple[Path, ...],
    properties: tuple[str, ...],
    about: tuple[str, ...],
    frames: str,
    styles: tuple[str, ...],
    hold_out: tuple[str, ...],
    unusual: float,
    plain: float,
    seed: int,
    workers: int,
    out: Path,
) -> None:
    """Build annotated scenes for pretraining a model.

    Each row has an image, the things in it with their boxes and properties, and pairs of a true and a false
    prompt. Only concepts of the split train are drawn. Use the same shares as for the checks.
    """
    from builders import scenes
    from croc.jobs.executors import local_executor

    manifest = scenes.build_scenes(
        out,
        images=images,
        splits={"train": train, "validation": validation, "test": round(1.0 - train - validation, 9)},
        without=without,
        properties=properties,
        settings=scenes.Settings(
            about=about,
            frames=scenes.Settings.frames if frames == "varied" else (),
            unusual=unusual,
            plain=plain,
            seed=seed,
            styles=styles,
            held_out=hold_out,
        ),
        executor=local_executor(workers),
    )
    totals = {name: sum(part["counts"][name] for part in manifest.parts) for name in ("images", "claims")}
    banned = sum(part["counts"]["banned"] for part in manifest.parts)
    pairs = counted(totals["claims"], "prompt pair")
    echo(f"{out}: {counted(totals['images'], 'image')}, {pairs}")
    echo(f"{counted(banned, 'prompt pair')} left out, with a prompt in the checks of --without")


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc demo
  croc demo --nlvr nlvr/dev
  croc demo --build --checks 600"""
)
@click.option(
    "--out", default="demo-out", show_default=True, type=PATH, metavar="FOLDER", help="Output folder."
)
@click.option("--build", "building", is_flag=True, help="Build the checks first, which takes a few minutes.")
@click.option("--checks", type=Integer(20), help="Number of checks to build; implies --build. Default: 600.")
@click.option(
    "--images", type=Integer(1), help="Number of images per prompt to build; implies --build. Default: 3."
)
@click.option(
    "--nlvr",
    type=PATH,
    metavar="FOLDER",
    help="Folder of a split of NLVR. The metrics then also run on its human-labelled checks.",
)
@click.option("--workers", default=2, show_default=True, type=Integer(1), help="Number of processes.")
def demo(
    out: Path, building: bool, checks: int | None, images: int | None, nlvr: Path | None, workers: int
) -> None:
    """Run a small benchmark end to end, offline.

    It runs the two small learned metrics of the package, a metric that compares colours, and three baselines
    on the embedded sample of CROCsyn, evaluates the scores, and writes a report. With --build it makes checks
    with the exact world first.
    """
    from builders.demo import run_demo

    run_demo(out, (checks or 600, images or 3) if building or checks or images else None, nlvr, workers)


@section("share")
@click.command(
    epilog="""\b
Examples:
  croc publish syn runs/syn --repo org/name --dry-run
  croc publish model runs/crocscore --repo org/crocscore --tag v1.0.0"""
)
@click.argument("kind", type=click.Choice(["syn", "hum", "graded", "train", "model", "space"]))
@click.argument("folder", type=PATH)
@click.option(
    "--repo", required=True, metavar="ORG/NAME", help="Repository. It is created if it does not exist."
)
@click.option("--private", is_flag=True, help="Only members of the organisation can see the repository.")
@click.option("--tag", metavar="NAME", help="Tag of this version, such as v1.0.0.")
@click.option(
    "--benchmark",
    is_flag=True,
    help="Add eval.yaml, which declares a dataset of checks as a benchmark with a leaderboard. The Hub must "
    "list croc as an evaluation framework.",
)
@click.option("--dry-run", is_flag=True, help="List every file and print the card, but upload nothing.")
@click.option(
    "--check-access",
    is_flag=True,
    help="Check only the name of the repository and that there is an access token.",
)
def publish(kind: str, folder: Path, check_access: bool, **options: Any) -> None:
    """Publish a finished folder on the Hugging Face Hub.

    KIND is what FOLDER holds: a dataset (syn, hum, graded, train), a model, or a Space. The access token
    comes from HF_TOKEN or 'hf auth login'. Run the command again to resume; no file is uploaded twice.
    """
    from builders import publish as publishing

    if check_access:
        publishing.may_publish(options["repo"])
        return
    publication = publishing.publish(kind, folder, log=log, **options)
    echo("\n".join(publication.lines()))


@section("share")
@click.command(
    epilog="""\b
Examples:
  croc verify runs/syn
  croc verify org/name --revision v1.0.0
  croc verify org/name --digest 1f0c5a7be9d24c36"""
)
@click.argument("target", metavar="FOLDER|ORG/NAME")
@click.option("--revision", metavar="REVISION", help="Tag or commit of the repository.")
@click.option("--images/--no-images", default=True, show_default=True, help="Whether to decode every image.")
@click.option(
    "--digest",
    metavar="DIGEST",
    help="Checksum of the manifest from another place: the output of 'croc publish', or the revision of the "
    "dataset in a signature.",
)
def verify(target: str, revision: str | None, images: bool, digest: str | None) -> None:
    """Verify a dataset in a folder or on the Hub.

    It checks the checksums, columns, splits, images and the card. Whoever replaces the data can replace the
    manifest, too; --digest detects this.
    """
    from builders import verify as verification

    folder = Path(target)
    if folder.is_dir() or target.count("/") != 1:
        problems = verification.verify(folder, images=images, digest=digest)
    else:
        problems = verification.verify_repo(target, revision=revision, images=images, digest=digest)
    if problems:
        raise CrocError("\n  ".join([f"{target}: {counted(len(problems), 'problem')}", *problems]))
    echo(f"{target}: no problems")
