"""The command audit-reward: is a metric safe to optimise?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section
from croc.cli.options import (
    PATH,
    Integer,
    json_option,
    out_folder,
    overwrite_option,
    run_options,
    scorer_arguments,
    scoring_settings,
    seed_option,
    workers_option,
)
from croc.cli.output import log, show, write


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc audit-reward crocscore --out runs/audit
  croc audit-reward crocscore crocscore-dual colour-words --html audit.html --out runs/audit
  croc audit-reward my_metric.py:Mine --property count --property negation --search 0 --out runs/audit"""
)
@click.argument("scorers", nargs=-1, required=True, metavar="SCORER...")
@click.option(
    "--prompts", default=2, show_default=True, type=Integer(1), help="Number of prompts per property."
)
@click.option(
    "--candidates",
    default=80,
    show_default=True,
    type=Integer(16),
    help="Number of candidate images per prompt; one in eight is right.",
)
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME",
    help="Only prompts that contrast this property. Repeatable. Default: all.",
)
@click.option(
    "--size",
    default=256,
    show_default=True,
    type=Integer(16, 4096),
    help="Width and height of an image in pixels.",
)
@click.option(
    "--search",
    "searched",
    default=13,
    show_default=True,
    type=Integer(0),
    help="Number of prompts with a search for wrong images that score high; 0 for none.",
)
@click.option("--search-images", default=144, show_default=True, type=Integer(1), help="Images per search.")
@click.option(
    "--attacks",
    default=26,
    show_default=True,
    type=Integer(0),
    help="Number of checks whose pixels are attacked; 0 for none.",
)
@seed_option
@run_options
@overwrite_option
@workers_option
@json_option
@click.option("--plot", type=PATH, metavar="FILE", help="Write a picture of the curves (PNG).")
@click.option(
    "--html",
    "html_file",
    type=PATH,
    metavar="FILE",
    help="Write a page with all results and the wrong images that a search found.",
)
@out_folder
def audit_reward(
    scorers: tuple[str, ...],
    prompts: int,
    candidates: int,
    properties: tuple[str, ...],
    size: int,
    searched: int,
    search_images: int,
    attacks: int,
    seed: int,
    batch_size: int | None,
    max_failures: int | None,
    device: str | None,
    options: tuple[str, ...],
    overwrite: bool,
    paid: dict[str, Any],
    workers: int,
    json_file: Path | None,
    plot: Path | None,
    html_file: Path | None,
    out: Path,
) -> None:
    """Test whether a metric is safe to optimise.

    For each prompt there is a pool of candidate images, few of them right. How often is the one with the
    highest score right, among 1 to 64 candidates? Then a search changes the images with the highest scores,
    and pixels are attacked. --workers is the number of processes that make the images.
    """
    from croc.jobs.executors import local_executor
    from croc.rendering.reward_audit import page, picture_png, terminal
    from croc.reward_audit.folder import images_of_searches
    from croc_syn.reward_audit.audit import AuditSettings, run_audit
    from croc_syn.reward_audit.pixels import PixelSettings
    from croc_syn.reward_audit.pools import PoolSettings
    from croc_syn.reward_audit.search import SearchSettings

    report = run_audit(
        scorers,
        out,
        AuditSettings(
            PoolSettings(prompts, candidates, properties, size, seed),
            SearchSettings(searched, search_images, seed),
            PixelSettings(attacks),
        ),
        scoring=scoring_settings(batch_size, max_failures, overwrite, paid=paid),
        options=scorer_arguments(scorers, options, device),
        executor=local_executor(workers),
    )
    write(json_file, report.to_json())
    write(plot, picture_png(report) if plot else b"")
    write(html_file, page(report, images_of_searches(out, report)) if html_file else "")
    log(f"pools, scores and searches: {out}")
    if json_file is None or str(json_file) != "-":
        show(terminal(report))
