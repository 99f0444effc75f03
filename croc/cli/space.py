"""The command that starts a page on this machine: space."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import click

from croc.cli.command_group import section
from croc.errors import InputError, MissingExtra

PAGES = ("crocscore", "croc", "annotate")


def folder_of(page: str) -> Path:
    """The folder of a page: in a checkout beside the package, in an installation inside of it.

    Raises:
        InputError: this installation does not hold it.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent / "spaces" / page, package / "spaces" / page):
        if (folder / "app.py").is_file():
            return folder
    raise InputError(f"the page {page!r} is not part of this installation")


@section("share")
@click.command(
    epilog="""\b
Examples:
  croc space
  croc space crocscore --model my-run/checkpoint --port 7861
  CROC_ITEMS=runs/candidates CROC_ADMIN_TOKEN=... croc space annotate"""
)
@click.argument("page", default="crocscore", type=click.Choice(PAGES))
@click.argument("arguments", nargs=-1)
@click.option("--model", help="For crocscore: a folder or Hub id; default: the shipped model.")
@click.option("--results", help="Results to show: a folder or Hub dataset; default: the package's.")
@click.option("--checks", help="Checks to browse: a folder, file or Hub id; default: the package's.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7860, show_default=True, type=click.IntRange(1, 65535))
def space(
    page: str,
    arguments: tuple[str, ...],
    model: str | None,
    results: str | None,
    checks: str | None,
    host: str,
    port: int,
) -> None:
    """Start a page on this machine: the CROCScore demo, the benchmark's page, or the annotation page.

    The same folders run as Spaces on the Hub. What follows the page's name goes to its own program.
    """
    folder = folder_of(page)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        if page != "annotate":
            raise MissingExtra("a page", "space") from error
    given = {"CROCSCORE_MODEL": model, "CROC_RESULTS": results, "CROC_CHECKS": checks}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    os.environ |= {"GRADIO_SERVER_NAME": host, "GRADIO_SERVER_PORT": str(port)}
    sys.path.insert(0, str(folder))
    sys.argv = [str(folder / "app.py"), *arguments]
    runpy.run_path(str(folder / "app.py"), run_name="__main__")
