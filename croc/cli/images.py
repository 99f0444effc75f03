"""Commands that make images and say what it takes: images, cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.shared import PATH, engine_from, engine_options, key_values

_PRESET = click.option("--preset", default="exact", show_default=True, help="A name, or your own YAML file.")
_SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the preset; repeatable."
)


@click.command(
    epilog="""\b
Examples:
  croc images runs/prompts --preset paper --out runs/images
  croc images runs/prompts --model sd3.5-large --set images.count=3 --set images.quality=95 --out runs/images
  croc images runs/prompts --model ./my-pipeline --set images.pipeline.device=cpu --out runs/images
  croc images runs/prompts --preset paper --engine ray --address ray://head:10001 --out runs/images"""
)
@click.argument("prompts", type=PATH)
@_PRESET
@_SET
@click.option(
    "--model", "models", multiple=True, help="Paint with this one in place of the preset's; repeatable."
)
@engine_options
@click.option("--max-failures", type=click.IntRange(0), help="Stop when more parts fail; default: never.")
@click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on.")
def images(
    prompts: Path,
    preset: str,
    changes: tuple[str, ...],
    models: tuple[str, ...],
    engine: str,
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
        engine=engine_from(engine, address, workers, gpus_per_worker, gpu=gpu),
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
