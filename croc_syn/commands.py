"""The commands of this package: taxonomy, prompts, images, cost, draw, sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, executor_options, key_values, make_executor
from croc.cli.output import show, write


@section("make")
@click.group(cls=CommandGroup)
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
def taxonomy_show(file: Path | None, exact: bool) -> None:
    """Show a taxonomy (default: ours) as a tree."""
    from croc_syn.taxonomy.taxonomy import load, show

    click.echo(show(load(file), exact_only=exact))


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc prompts exact --out runs/prompts
  croc prompts paper --set text.endpoint.base_url=http://localhost:8000/v1 --out runs/prompts
  croc prompts small --checks 20 --text-model Qwen/Qwen2.5-0.5B-Instruct --out runs/prompts
  croc prompts paper --show 1"""
)
@click.argument("preset")
@click.option("--out", type=PATH, help="Folder to make; run again to go on.")
@click.option("--checks", type=click.IntRange(1), help="(spec, generation) pairs, spread evenly.")
@click.option(
    "--text-model", "models", multiple=True, help="Who writes, in place of the preset's; repeatable."
)
@click.option("--subset", "subsets", multiple=True, help="Only this subset; repeatable.")
@click.option("--property", "properties", multiple=True, help="Only variations of this property; repeatable.")
@click.option("--seed", type=click.IntRange(0), help="Another seed, other checks and answers.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the preset, such as text.sampling.temperature=0.8; repeatable.",
)
@executor_options
@click.option("--show", "shown", type=click.IntRange(1), help="Only show so many instructions; asks nobody.")
@click.option("--overwrite", is_flag=True, help="Start from nothing, whatever the folder holds.")
def prompts(
    preset: str,
    out: Path | None,
    checks: int | None,
    models: tuple[str, ...],
    subsets: tuple[str, ...],
    properties: tuple[str, ...],
    seed: int | None,
    settings: tuple[str, ...],
    executor: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    shown: int | None,
    overwrite: bool,
) -> None:
    """Have prompt pairs written, as PRESET says: paper, small, exact, or a YAML file of your own.

    Every answer is checked, asked for again where it cannot be used, and kept with its reason where that does
    not help. How many came of use is shown at the end, and written beside the prompts (yield.csv,
    refusals.csv).
    """
    from croc_syn import presets
    from croc_syn.writing import stage, yields
    from croc_syn.writing.prompts import make_prompts

    given: dict[str, Any] = {
        "specs.checks": checks,
        "text.models": list(models) or None,
        "specs.subsets": list(subsets) or None,
        "specs.properties": list(properties) or None,
        "seed": seed,
    }
    changes = key_values(settings, "--set")
    changes |= {place: value for place, value in given.items() if value is not None}
    if properties and not subsets:
        changes.setdefault("specs.subsets", ["property_variation"])
    chosen = presets.load(preset, changes)
    if shown is not None:
        click.echo(("\n\n" + "─" * 80 + "\n\n").join(stage.instructions(chosen, shown)))
        return
    if out is None:
        raise click.UsageError("give --out FOLDER, or --show N to see instructions only")
    made = make_prompts(
        chosen,
        out,
        workers=workers or 1,
        engine=make_executor(executor, address, workers, gpus_per_worker, gpu=stage.wants_gpu(chosen.text)),
        elsewhere=executor == "ray",
        existing="overwrite" if overwrite else "resume",
    )
    rows = yields.read(made)
    show(list(yields.tables(rows)))
    files = ", ".join(file.name for file in yields.write(rows, out))
    click.echo(f"{out}: {yields.summary(made)}; {files}")


_PRESET = click.option("--preset", default="exact", show_default=True, help="A name, or your own YAML file.")
_SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the preset; repeatable."
)


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc images runs/prompts --preset paper --out runs/images
  croc images runs/prompts --model sd3.5-large --set images.count=3 --set images.quality=95 --out runs/images
  croc images runs/prompts --model ./my-pipeline --set images.pipeline.device=cpu --out runs/images
  croc images runs/prompts --preset paper --executor ray --address ray://head:10001 --out runs/images"""
)
@click.argument("prompts", type=PATH)
@_PRESET
@_SET
@click.option(
    "--model", "models", multiple=True, help="Paint with this one in place of the preset's; repeatable."
)
@executor_options
@click.option("--max-failures", type=click.IntRange(0), help="Stop when more parts fail; default: never.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def images(
    prompts: Path,
    preset: str,
    changes: tuple[str, ...],
    models: tuple[str, ...],
    executor: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    max_failures: int | None,
    out: Path,
) -> None:
    """Make images for a folder of PROMPTS: by diffusion models, a service, or the exact world.

    The folder that it makes is for 'croc build staged syn'. What the filters of the preset find is in columns
    beside the images; no row goes. Run it again to go on after a stop, with any engine and any workers.
    """
    from croc_syn.painting.stage import make_images
    from croc_syn.presets import load

    given = key_values(changes, "--set") | ({"images.models": list(models)} if models else {})
    settings = load(preset, given).images
    settings = settings.model_copy(update={"endpoint": settings.endpoint.shared_out(workers or 1)})
    gpu = any(model.backend == "diffusers" for model in settings.models) and settings.pipeline.device != "cpu"
    made = make_images(
        prompts,
        out,
        settings,
        engine=make_executor(executor, address, workers, gpus_per_worker, gpu=gpu),
        max_failures=max_failures,
    )
    click.echo("\n".join([str(out), *_summary(made)]))


def _summary(made: Any) -> list[str]:
    from collections import Counter

    counts = made.counts
    lines = [f"{counts.get('checks', 0)} checks with {counts.get('images', 0)} images"]
    flagged = {key.removeprefix("flagged_"): n for key, n in counts.items() if key.startswith("flagged_")}
    if flagged:
        named = ", ".join(f"{count} {name}" for name, count in sorted(flagged.items()))
        lines.append(f"flagged, and kept: {named}")
    for key, what in (("lost", "images are not there"), ("dropped", "checks were dropped")):
        total: Counter[str] = Counter()
        for part in made.parts:
            total.update(part["counts"].get(key, {}))
        lines += [f"{count} {what}: {reason}" for reason, count in total.most_common(5)]
    return lines


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc cost paper
  croc cost small --set images.count=10 --gpu a100"""
)
@click.argument("preset")
@_SET
@click.option(
    "--gpu",
    default="h100",
    show_default=True,
    type=click.Choice(["h200", "h100", "a100", "l40s", "rtx4090"]),
    help="Whose hours.",
)
def cost(preset: str, changes: tuple[str, ...], gpu: str) -> None:
    """Reckon what PRESET takes before anything starts: calls, GPU hours, images, disk."""
    from croc_syn.painting.cost import estimate
    from croc_syn.presets import load

    for line in estimate(load(preset, key_values(changes, "--set")), gpu).text():
        click.echo(line)


@section("make")
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


@section("make")
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
