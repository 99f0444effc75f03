"""The command probe: the weakest properties of a metric, with few checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section
from croc.cli.options import (
    PATH,
    Integer,
    Number,
    json_option,
    out_folder,
    overwrite_option,
    run_options,
    scorer_arguments,
    seed_option,
)
from croc.cli.output import log, show, write


@section("evaluate")
@click.command(
    epilog="""\b
Examples:
  croc probe crocscore --out runs/probe
  croc probe clipscore-b32 --find 3 --max-checks 2000 --out runs/probe
  croc build syn --from-probe runs/probe --images 5 --out runs/regression"""
)
@click.argument("scorer", metavar="SCORER")
@click.option(
    "--max-checks",
    default=600,
    show_default=True,
    type=Integer(1),
    help="Maximum number of checks about all properties, made in rounds of 8. A higher one continues.",
)
@click.option(
    "--find",
    default=1,
    show_default=True,
    type=Integer(1),
    help="Stop when this number of properties is certified as weak.",
)
@click.option(
    "--margin",
    default=0.05,
    show_default=True,
    type=Number(0, 0.49),
    help="How far below the rest the accuracy of a weak property is.",
)
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME",
    help="Only these properties. Repeatable. Default: all that the exact world draws.",
)
@click.option(
    "--detail-checks",
    default=120,
    show_default=True,
    type=Integer(0),
    help="Number of further checks inside each weak property: which values, things and sentences fail.",
)
@click.option(
    "--noun-checks",
    default=0,
    show_default=True,
    type=Integer(0),
    help="Number of further checks about nouns and sentence frames over all properties: which of them fail.",
)
@click.option(
    "--size",
    default=256,
    show_default=True,
    type=Integer(32, 4096),
    help="Width and height of an image in pixels.",
)
@seed_option
@run_options
@overwrite_option
@json_option
@click.option("--plot", type=PATH, metavar="FILE", help="Write a picture of the properties (PNG).")
@click.option("--html", "html_file", type=PATH, metavar="FILE", help="Write a page with all results.")
@out_folder
def probe(
    scorer: str,
    max_checks: int,
    find: int,
    margin: float,
    properties: tuple[str, ...],
    detail_checks: int,
    noun_checks: int,
    size: int,
    seed: int,
    batch_size: int | None,
    max_failures: int | None,
    device: str | None,
    options: tuple[str, ...],
    overwrite: bool,
    paid: dict[str, Any],
    json_file: Path | None,
    plot: Path | None,
    html_file: Path | None,
    out: Path,
) -> None:
    """Find the weakest property of a metric with few checks.

    It chooses each check by the scores so far, and certifies with 95 % confidence what is weaker than the
    rest. Inside a weak property it looks for what fails, and makes a failed check as small as it can. ('croc
    experiment probes' is something else: a fixed list of texts.)
    """
    from croc.jobs.paid_calls import PaidTerms
    from croc.rendering import probe as rendering
    from croc_syn.probe import ProbeSettings, run_probe

    settings = ProbeSettings(max_checks, find, detail_checks, margin, properties, size, seed, noun_checks)
    report = run_probe(
        scorer,
        out,
        settings,
        options=scorer_arguments((scorer,), options, device),
        batch_size=batch_size,
        max_failures=max_failures,
        overwrite=overwrite,
        paid=PaidTerms().changed(paid).in_one_run(),
    )
    write(json_file, report.to_json())
    write(plot, rendering.picture_png(report) if plot else b"")
    if html_file is not None:
        images = {one.image: (out / one.image).read_bytes() for one in report.counterexamples}
        write(html_file, rendering.page(report, images))
    log(f"rounds, results and pictures: {out}")
    if json_file is None or str(json_file) != "-":
        show(rendering.terminal(report))
