"""Commands of the Hub: publish, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.shared import PATH
from croc.errors import CrocError


@click.command(
    epilog="""\b
Examples:
  croc publish syn runs/syn --repo org/name --dry-run
  croc publish model runs/crocscore --repo org/crocscore --tag v1.0.0"""
)
@click.argument("kind", type=click.Choice(["syn", "hum", "train", "model", "space"]))
@click.argument("folder", type=PATH)
@click.option("--repo", required=True, metavar="ORG/NAME", help="Repository; made when it is not there.")
@click.option("--private", is_flag=True, help="Only members of the organisation may see it.")
@click.option("--tag", help="Name of this version, such as v1.0.0.")
@click.option("--dry-run", is_flag=True, help="Show every file and the card; send nothing.")
def publish(kind: str, folder: Path, **options: Any) -> None:
    """Put a finished FOLDER on the Hub; run again after an interruption, nothing is sent twice.

    The access token comes from HF_TOKEN or 'hf auth login'.
    """
    from builders.publish import publish as send

    done = send(kind, folder, tell=lambda line: click.echo(line, err=True), **options)
    click.echo("\n".join(done.lines()))


@click.command(epilog="Example: croc verify runs/syn")
@click.argument("target", metavar="DIR|ORG/NAME")
@click.option("--revision", help="Tag or commit of a repository.")
@click.option("--images/--no-images", default=True, show_default=True, help="Decode every image too.")
def verify(target: str, revision: str | None, images: bool) -> None:
    """Check a folder of data, or a dataset on the Hub: checksums, columns, splits, images, card."""
    from builders.verify import verify as check
    from builders.verify import verify_repo

    local = Path(target)
    here = local.is_dir() or target.count("/") != 1
    found = check(local, images=images) if here else verify_repo(target, revision=revision, images=images)
    if found:
        shown = "\n  ".join(found)
        raise CrocError(f"{target}: {len(found)} problems\n  {shown}")
    click.echo(f"{target}: all is well")
