"""The command that starts one of the web pages on this machine: space."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.options import Integer
from croc.errors import InputError, MissingExtra

PAGES = ("crocscore", "croc", "annotate")


def folder_of(page: str) -> Path:
    """The folder of a page: beside the package in a checkout, inside the package in an installation.

    Raises:
        InputError: this installation does not have it.
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
@click.option(
    "--model", metavar="FOLDER|HUB_ID", help="Model of the CROCScore demo. Default: the one in the package."
)
@click.option("--results", metavar="FOLDER|HUB_ID", help="Results to show. Default: those in the package.")
@click.option(
    "--external-results",
    metavar="FOLDER|HUB_ID",
    help="Results on others' benchmarks to show. Default: those in the package.",
)
@click.option("--checks", metavar="FOLDER|HUB_ID", help="Checks to browse. Default: those in the package.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address on which the server listens.")
@click.option(
    "--port",
    default=7860,
    show_default=True,
    type=Integer(1, 65535),
    help="Port on which the server listens.",
)
def space(
    page: str,
    arguments: tuple[str, ...],
    model: str | None,
    results: str | None,
    external_results: str | None,
    checks: str | None,
    host: str,
    port: int,
) -> None:
    """Start one of the web pages on this machine.

    The pages are crocscore (scores of CROCScore, the benchmark and the leaderboard; the default), croc (the
    evaluate module), and annotate (for annotators). The same pages run as Spaces on the Hub. ARGUMENTS are
    passed to the program of the page.
    """
    folder = folder_of(page)
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        if page != "annotate":
            raise MissingExtra("croc space", "space") from error
    given = {
        "CROCSCORE_MODEL": model,
        "CROC_RESULTS": results,
        "CROC_EXTERNAL_RESULTS": external_results,
        "CROC_CHECKS": checks,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})
    os.environ |= {"GRADIO_SERVER_NAME": host, "GRADIO_SERVER_PORT": str(port)}
    sys.path.insert(0, str(folder))
    sys.argv = [str(folder / "app.py"), *arguments]
    runpy.run_path(str(folder / "app.py"), run_name="__main__")
