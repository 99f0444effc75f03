"""The command invariance: what must not change the verdicts of a metric."""

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
from croc.cli.output import echo, log, show, write


def _list_changes(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from croc_syn.nuisances import nuisances

        width = max(map(len, nuisances()))
        for name, change in nuisances().items():
            echo(f"{name:<{width}}  {change.about}")
        ctx.exit()


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc invariance crocscore --html invariance.html --out runs/invariance
  croc invariance clipscore-b32 colour-words --checks runs/syn --max-checks 300 --out runs/invariance
  croc invariance my_metric.py:Mine --change capitals --change jpeg --out runs/invariance"""
)
@click.argument("scorers", nargs=-1, required=True, metavar="SCORER...")
@click.option(
    "--checks",
    "dataset",
    metavar="FOLDER|HUB_ID",
    help="Checks to change. Default: the sample of CROCsyn in the package.",
)
@click.option("--split", metavar="NAME", help="Split of the checks. Default: test, or the only one.")
@click.option(
    "--max-checks",
    default=120,
    show_default=True,
    type=Integer(1),
    help="Maximum number of checks, evenly spaced over the dataset.",
)
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="NAME",
    help="Only this change. Repeatable. Default: all of --list-changes.",
)
@click.option(
    "--list-changes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_changes,
    help="List the changes and exit.",
)
@seed_option
@run_options
@overwrite_option
@workers_option
@json_option
@click.option("--plot", type=PATH, metavar="FILE", help="Write a picture of the changed verdicts (PNG).")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a page with all results.")
@out_folder
def invariance(
    scorers: tuple[str, ...],
    dataset: str | None,
    split: str | None,
    max_checks: int,
    changes: tuple[str, ...],
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
    """Test whether a metric changes its verdicts for no reason.

    Each check is scored again in other words, in capital letters, as a JPEG file, in another drawing style,
    with one thing more in the image, and so on. What is true stays true, so a good metric changes none of
    its verdicts. --workers is the number of processes that make the images.
    """
    from croc.checks.names import SYN_SAMPLE
    from croc.jobs.executors import local_executor
    from croc.rendering.invariance import page, picture_png, terminal
    from croc_syn.invariance import InvarianceSettings, run_invariance

    report = run_invariance(
        scorers,
        out,
        InvarianceSettings(max_checks, changes, seed),
        dataset=dataset or str(SYN_SAMPLE),
        split=split,
        scoring=scoring_settings(batch_size, max_failures, overwrite, paid=paid),
        options=scorer_arguments(scorers, options, device),
        executor=local_executor(workers),
    )
    write(json_file, report.to_json())
    write(plot, picture_png(report) if plot else b"")
    write(html_file, page(report) if html_file else "")
    log(f"variants and scores: {out}")
    if json_file is None or str(json_file) != "-":
        show(terminal(report))
