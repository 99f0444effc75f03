"""Commands that make checks and look at them: taxonomy, build, draw, sheet, status, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from croc.cli.shared import PATH, engine_from, engine_options, show, write
from croc.jobs.progress import spoken


@click.group()
def taxonomy() -> None:
    """What can be contrasted: topics, properties, entities."""


_TAXONOMY_FILE = click.argument("file", required=False, type=PATH)


@taxonomy.command("check", epilog="Example: croc taxonomy check my_taxonomy.yaml")
@_TAXONOMY_FILE
def taxonomy_check(file: Path | None) -> None:
    """Check a taxonomy file (default: ours) and count what is in it."""
    from croc_syn.taxonomy.taxonomy import check

    for key, value in check(file).items():
        click.echo(f"{key}: {value}")


@taxonomy.command("show", epilog="Example: croc taxonomy show --exact")
@_TAXONOMY_FILE
@click.option("--exact", is_flag=True, help="Only what the exact world can draw.")
def taxonomyshow(file: Path | None, exact: bool) -> None:
    """Show a taxonomy (default: ours) as a tree."""
    from croc_syn.taxonomy.taxonomy import load, show

    click.echo(show(load(file), exact_only=exact))


@click.group()
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
@engine_options
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def build_syn(
    preset: str,
    subsets: tuple[str, ...],
    properties: tuple[str, ...],
    train: float,
    validation: float,
    only: tuple[str, ...],
    engine: str,
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
        engine=engine_from(engine, address, workers, gpus_per_worker, gpu=False),
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


@click.command(
    epilog="""\b
Examples:
  croc draw "a small red dog to the left of two blue umbrellas, no cat" -o dog.png
  croc draw "three yellow stars in a row" --count 4 -o stars.png"""
)
@click.argument("prompt")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="PNG file.")
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--size", default=256, show_default=True, type=click.IntRange(16, 4096), help="Pixels.")
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Images, with seeds one after another: NAME-1.png, …",
)
def draw(prompt: str, out: Path, seed: int, size: int, count: int) -> None:
    """Draw a prompt in controlled English, exactly."""
    from croc_syn.world import draw as exact

    for number in range(count):
        path = out if count == 1 else out.with_name(f"{out.stem}-{number + 1}{out.suffix}")
        write(path, exact(prompt, seed + number, size=size).png)


@click.command(epilog="Example: croc sheet runs/syn -o sheet.png --category counting")
@click.argument("folder", type=PATH)
@click.option("-o", "--out", required=True, type=PATH, help="PNG or HTML file.")
@click.option("--checks", default=8, show_default=True, type=click.IntRange(1), help="How many, at most.")
@click.option("--images", default=1, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option(
    "--columns", default=4, show_default=True, type=click.IntRange(1), help="Checks beside each other."
)
@click.option(
    "--width", default=240, show_default=True, type=click.IntRange(16, 2048), help="Pixels an image."
)
@click.option("--subset", help="Only of this subset.")
@click.option("--category", help="Only of this category.")
@click.option("--property", "property_name", help="Only of this property.")
@click.option("--seed", default=0, show_default=True, type=int, help="Another seed, other checks.")
def sheet(folder: Path, out: Path, **options: Any) -> None:
    """Draw a grid of checks, to look at: prompt and image, contrast and image."""
    from croc_syn.contact_sheet import sheet as make

    make(folder, out, **options)
    click.echo(f"wrote {out}", err=True)


@click.command(epilog="Example: croc status runs/syn")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def status(folder: Path) -> None:
    """How far resumable work in a folder is: parts done, failed and left, images a second, time left."""
    from croc.jobs.runner import status as read

    plans = sorted(folder.rglob("plan.json"))
    for plan in plans:
        now = read(plan.parent)
        state = "complete" if now.complete else "running" if now.running else "stopped"
        failed = f", {len(now.failed)} failed" if now.failed else ""
        done = f"{now.done} of {now.total} parts{failed}, {now.left} left"
        click.echo(f"{plan.parent}: {done}, {now.bytes / 1e6:.1f} MB, {state}{_pace(now)}")
        for name, reason in list(now.failed.items())[:10]:
            click.echo(f"  failed: {name}: {reason}")
    if not plans:
        click.echo(
            f"{folder}: no resumable work in it"
            + (", but it is finished" if (folder / "manifest.json").exists() else "")
        )


def _pace(now: Any) -> str:
    """How fast it goes and how long it will take, as far as the last run tells."""
    if now.rate is None or now.complete:
        return ""
    each = now.counts.get("images", 0) / max(now.done, 1)
    speed = f"{now.rate * each:.3g} images/s" if each else f"{now.rate:.3g} parts/s"
    return f", {speed}" + (f", about {spoken(now.eta)} left" if now.eta else "")


_DEMO_PROPERTIES = ("colour", "count", "left_right", "negation", "shape")


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
