"""The commands of this package: taxonomy, prompts, images, cost, draw, sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import (
    PATH,
    Integer,
    budget_shares,
    executor_options,
    key_values,
    log_usage,
    make_executor,
    out_folder,
    paid_options,
    preset_changes,
    price_option,
    seed_option,
)
from croc.cli.output import echo, log, show, write
from croc.wording import counted
from croc_syn.world_options import language_option, style_option

_taxonomy_file = click.argument("file", required=False, type=PATH)
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


@section("make")
@click.group(cls=CommandGroup)
def taxonomy() -> None:
    """Check and show a taxonomy of properties and entities."""


@taxonomy.command("check", epilog="Example: croc taxonomy check my_taxonomy.yaml")
@_taxonomy_file
def check_taxonomy(file: Path | None) -> None:
    """Check a taxonomy file and count its entries.

    FILE is a YAML file. Default: the taxonomy of the package.
    """
    from croc_syn.taxonomy.taxonomy import check

    for key, value in check(file).items():
        echo(f"{key}: {value}")


@taxonomy.command("show", epilog="Example: croc taxonomy show --exact")
@_taxonomy_file
@click.option("--exact", is_flag=True, help="Show only what the exact world can draw.")
def show_taxonomy(file: Path | None, exact: bool) -> None:
    """Show a taxonomy as a tree.

    FILE is a YAML file. Default: the taxonomy of the package.
    """
    from croc_syn.taxonomy import taxonomy as taxonomies

    echo(taxonomies.show(taxonomies.load(file), exact_only=exact))


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
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="Output folder. Run the same command again to resume an interrupted run.",
)
@click.option(
    "--checks", type=Integer(1), help="Number of checks, evenly spaced over the plan. Default: all."
)
@click.option(
    "--text-model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Language model to use in place of the preset's. Repeatable.",
)
@_subset_option
@_property_option
@click.option(
    "--seed", type=Integer(0), help="Random seed of the checks and the responses. Default: the preset's."
)
@preset_changes
@paid_options
@executor_options
@click.option(
    "--show",
    "number_shown",
    type=Integer(1),
    help="Print this number of requests to the language model without sending them.",
)
@click.option("--overwrite", is_flag=True, help="Delete earlier prompts instead of resuming.")
def prompts(
    preset: str,
    out: Path | None,
    checks: int | None,
    models: tuple[str, ...],
    subsets: tuple[str, ...],
    properties: tuple[str, ...],
    seed: int | None,
    changes: tuple[str, ...],
    executor: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    number_shown: int | None,
    overwrite: bool,
    paid: dict[str, Any],
) -> None:
    """Generate prompt pairs with language models or a grammar.

    PRESET is paper or small (language models), exact (a grammar of controlled English), or a YAML file.

    Each response of a language model is checked. If it is refused, it is requested again, and finally
    recorded with the reason. At the end the yield is printed, and written to yield.csv and refusals.csv in
    the output folder.
    """
    from croc_syn import presets
    from croc_syn.writing import yields
    from croc_syn.writing.prompts import first_instructions, make_prompts
    from croc_syn.writing.stage import needs_gpu

    options: dict[str, Any] = {
        "specs.checks": checks,
        "text.models": list(models) or None,
        "specs.subsets": list(subsets) or None,
        "specs.properties": list(properties) or None,
        "seed": seed,
    }
    changed = key_values(changes, "--set")
    changed |= {key: value for key, value in options.items() if value is not None}
    if properties and not subsets:
        changed.setdefault("specs.subsets", ["property_variation"])
    settings = presets.load(preset, changed)
    if number_shown is not None:
        echo(("\n\n" + "─" * 80 + "\n\n").join(first_instructions(settings, number_shown)))
        return
    if out is None:
        raise click.UsageError("give --out FOLDER, or --show N to print requests only")
    endpoint = settings.text.endpoint.changed(paid).in_one_run()
    text = settings.text.model_copy(update={"endpoint": endpoint})
    text = text.shared_by(budget_shares(paid, executor, workers))
    settings = settings.model_copy(update={"text": text})
    manifest = make_prompts(
        settings,
        out,
        executor=make_executor(executor, address, workers, gpus_per_worker, gpu=needs_gpu(settings.text)),
        keep_responses=executor != "ray",
        existing="overwrite" if overwrite else "resume",
        log=log,
    )
    rows = yields.read(manifest)
    files = ", ".join(file.name for file in yields.write(rows, out))
    show(list(yields.tables(rows)))
    echo(f"{out}: {yields.summary(manifest)}; {files}")
    log_usage(endpoint.run)


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
@click.option(
    "--preset",
    default="exact",
    show_default=True,
    metavar="NAME|FILE",
    help="Preset: paper, small, open, exact, or a YAML file.",
)
@preset_changes
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Image model to use in place of the preset's. Repeatable.",
)
@paid_options
@executor_options
@click.option(
    "--max-failures", type=Integer(0), help="Stop if more than this number of parts fail. Default: no limit."
)
@out_folder
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
    paid: dict[str, Any],
) -> None:
    """Generate images for a folder of prompt pairs.

    PROMPTS is a folder that 'croc prompts' made. The images come from diffusion models, an image service, or
    the exact world. Use 'croc build staged syn' to make a dataset from the output folder.

    The filters of the preset only flag images, in separate columns. A run can be resumed with another
    executor and another number of workers.
    """
    from croc_syn import presets
    from croc_syn.painting.images import make_images

    changed = key_values(changes, "--set") | ({"images.models": list(models)} if models else {})
    settings = presets.load(preset, changed).images
    endpoint = settings.endpoint.changed(paid).in_one_run()
    shares = budget_shares(paid, executor, workers)
    settings = settings.model_copy(update={"endpoint": endpoint.shared_by(shares)})
    gpu = any(model.backend == "diffusers" for model in settings.models) and settings.pipeline.device != "cpu"
    manifest = make_images(
        prompts,
        out,
        settings,
        executor=make_executor(executor, address, workers, gpus_per_worker, gpu=gpu),
        max_failures=max_failures,
        log=log,
    )
    echo("\n".join([str(out), *_image_counts(manifest)]))
    log_usage(endpoint.run)


def _image_counts(manifest: Any) -> list[str]:
    """How many images were made, flagged and lost, and the most frequent reasons."""
    from collections import Counter

    counts = manifest.counts
    lines = [f"{counted(counts.get('checks', 0), 'check')} with {counted(counts.get('images', 0), 'image')}"]
    flags = {key.removeprefix("flagged_"): n for key, n in counts.items() if key.startswith("flagged_")}
    if flags:
        lines.append("flagged: " + ", ".join(f"{n} {flag}" for flag, n in sorted(flags.items())))
    for key, noun, what in (("lost", "image", "missing"), ("dropped", "check", "dropped")):
        reasons: Counter[str] = Counter()
        for part in manifest.parts:
            reasons.update(part["counts"].get(key, {}))
        lines += [f"{counted(n, noun)} {what}: {reason}" for reason, n in reasons.most_common(5)]
    return lines


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc cost paper
  croc cost small --set images.count=10 --gpu a100
  croc cost paper --price input=0.5 --price output=1.5"""
)
@click.argument("preset")
@preset_changes
@price_option
@click.option(
    "--gpu",
    default="h100",
    show_default=True,
    type=click.Choice(["h200", "h100", "a100", "l40s", "rtx4090"]),
    help="GPU for which the hours are estimated.",
)
def cost(preset: str, changes: tuple[str, ...], prices: tuple[str, ...], gpu: str) -> None:
    """Estimate calls, GPU hours, disk and cost beforehand.

    PRESET is paper, small, open, exact, or a YAML file. 'croc plan' computes how many checks detect a
    difference between metrics.
    """
    from croc_syn import presets
    from croc_syn.cost import estimate

    given = {"prices": key_values(prices, "--price")}
    settings = presets.load(preset, key_values(changes, "--set"))
    sections = {
        name: section.model_copy(update={"endpoint": section.endpoint.changed(given)})
        for name, section in (("text", settings.text), ("images", settings.images))
    }
    for line in estimate(settings.model_copy(update=sections), gpu).text():
        echo(line)


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc draw "a small red dog to the left of two blue umbrellas, no cat" -o dog.png
  croc draw "three yellow stars in a row" --count 4 -o stars.png
  croc draw "zwei rote Hunde in einem Park" --language de -o hunde.png"""
)
@click.argument("prompt")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Output file (PNG).",
)
@seed_option
@click.option(
    "--size",
    default=256,
    show_default=True,
    type=Integer(16, 4096),
    help="Width and height in pixels.",
)
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=Integer(1, 1000),
    help="Number of images, with consecutive seeds. Several are called NAME-1.png, NAME-2.png, ….",
)
@style_option
@language_option
def draw(prompt: str, out: Path, seed: int, size: int, count: int, style: str, language: str) -> None:
    """Draw a prompt in a controlled language.

    The exact world draws synthetic scenes that show the prompt with certainty. It needs no model. A prompt
    that is not in the controlled language is an error. Prompts with the same meaning in other languages than
    English give the same image.
    """
    from croc_syn import world
    from croc_syn.world.declarations.languages import ENGLISH

    if language != ENGLISH:
        prompt = world.parse_translation(prompt, language).text
    for number in range(count):
        path = out if count == 1 else out.with_name(f"{out.stem}-{number + 1}{out.suffix}")
        write(path, world.draw(prompt, seed + number, size=size, style=style).png)


@section("make")
@click.command(epilog="Example: croc sheet runs/syn -o sheet.png --category counting")
@click.argument("folder", type=PATH)
@click.option("-o", "--out", required=True, type=PATH, metavar="FILE", help="Output file (PNG or HTML).")
@click.option("--checks", default=8, show_default=True, type=Integer(1), help="Maximum number of checks.")
@click.option("--images", default=1, show_default=True, type=Integer(1), help="Number of images per prompt.")
@click.option("--columns", default=4, show_default=True, type=Integer(1), help="Checks per row.")
@click.option(
    "--width",
    default=240,
    show_default=True,
    type=Integer(16, 2048),
    help="Width of an image in pixels.",
)
@click.option("--subset", metavar="NAME", help="Only checks of this subset.")
@click.option("--category", metavar="NAME", help="Only checks of this category.")
@click.option("--property", "property_name", metavar="NAME", help="Only checks that vary this property.")
@seed_option
def sheet(folder: Path, out: Path, **options: Any) -> None:
    """Draw a contact sheet of checks.

    FOLDER is a finished dataset. Each cell shows a prompt with its image, and the contrast prompt with its
    image. Change the seed to see other checks.
    """
    from croc_syn.contact_sheet import sheet as draw_sheet

    draw_sheet(folder, out, **options)
    log(f"wrote {out}")
