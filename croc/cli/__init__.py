"""The ``croc`` command: its group, and the commands that need this package alone.

In: the words of a command line. Out: calls of functions of the other packages, imported when a command runs.
The commands of ``croc_syn``, ``croc_hum``, ``crocscore`` and ``builders`` are in their ``commands.py``.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from croc import __version__
from croc.cli.command_group import CommandGroup
from croc.errors import CrocError


class _Croc(CommandGroup):
    """Turns the project's own errors into one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CrocError as error:
            click.echo(f"croc: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of our output went away, as in `croc … | head`
            sys.stderr.close()
            ctx.exit(1)


@click.group(
    cls=_Croc,
    path="",
    own={
        "agree": "croc.cli.evaluation:agree",
        "correlate": "croc.cli.evaluation:correlate",
        "diff": "croc.cli.diff:diff",
        "evaluate": "croc.cli.evaluation:evaluate",
        "import-checkpoint": "croc.cli.import_checkpoint:import_checkpoint",
        "install-metric": "croc.cli.install_metric:install_metric",
        "leaderboard": "croc.cli.results:leaderboard",
        "results": "croc.cli.results:results",
        "score": "croc.cli.score:score",
        "scorers": "croc.cli.score:scorers",
        "scores": "croc.cli.score:scores",
        "space": "croc.cli.space:space",
        "status": "croc.cli.status:status",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  croc demo
  croc score croc/hum --scorer clipscore-b32 --scorer random --out scores/
  croc evaluate scores/ --by category --html report.html""",
)
@click.version_option(__version__, prog_name="croc")
def main() -> None:
    """Test text-to-image metrics with contrastive checks.

    A check has two prompts that differ in one property, and images of both. A good metric gives each image a
    higher score with its own prompt.
    """
