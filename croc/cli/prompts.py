"""The command that has prompts written: by language models, or in the exact world's controlled English."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.shared import PATH, engine_from, engine_options, key_values, show


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
@engine_options
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
    engine: str,
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
        engine=engine_from(engine, address, workers, gpus_per_worker, gpu=stage.wants_gpu(chosen.text)),
        elsewhere=engine == "ray",
        existing="overwrite" if overwrite else "resume",
    )
    rows = yields.read(made)
    show(list(yields.tables(rows)))
    files = ", ".join(file.name for file in yields.write(rows, out))
    click.echo(f"{out}: {yields.summary(made)}; {files}")
