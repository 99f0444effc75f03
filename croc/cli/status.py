"""The command that reports on resumable work: status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section


@section("run")
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
    from croc.jobs.progress import spoken

    if now.rate is None or now.complete:
        return ""
    each = now.counts.get("images", 0) / max(now.done, 1)
    speed = f"{now.rate * each:.3g} images/s" if each else f"{now.rate:.3g} parts/s"
    return f", {speed}" + (f", about {spoken(now.eta)} left" if now.eta else "")
