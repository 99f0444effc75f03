"""The command that reports on resumable work: status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from croc.cli.command_group import section
from croc.cli.output import echo
from croc.wording import counted

if TYPE_CHECKING:
    from croc.jobs.runner import Status

_SHOWN_FAILURES = 10


@section("run")
@click.command(epilog="Example: croc status runs/syn")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def status(folder: Path) -> None:
    """Show the progress of resumable work in a folder.

    For each job in FOLDER it prints the numbers of parts done, failed and left, the size of the files, the
    speed, and an estimate of the time left.
    """
    from croc.jobs.runner import status as read

    plans = sorted(folder.rglob("plan.json"))
    for plan in plans:
        job = read(plan.parent)
        state = "complete" if job.complete else "running" if job.running else "stopped"
        failed = f", {len(job.failed):,} failed" if job.failed else ""
        done = f"{job.done:,} of {counted(job.total, 'part')}{failed}, {job.left:,} left"
        echo(f"{plan.parent}: {done}, {job.bytes / 1e6:.1f} MB, {state}{_speed(job)}")
        for name, reason in list(job.failed.items())[:_SHOWN_FAILURES]:
            echo(f"  failed: {name}: {reason}")
    if not plans:
        finished = (folder / "manifest.json").exists()
        echo(f"{folder}: no resumable work" + (", but a finished dataset" if finished else ""))


def _speed(job: Status) -> str:
    """The speed of the last run and the time left, if they are known."""
    from croc.jobs.progress import format_duration

    if job.rate is None or job.complete:
        return ""
    images_per_part = job.counts.get("images", 0) / max(job.done, 1)
    speed = f"{job.rate * images_per_part:.3g} images/s" if images_per_part else f"{job.rate:.3g} parts/s"
    return f", {speed}" + (f", about {format_duration(job.eta)} left" if job.eta else "")
