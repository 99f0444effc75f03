"""The ``croc`` command: its group, and the commands that need this package alone.

In: the words of a command line. Out: calls of functions of the other packages, imported when a command runs.
The commands of ``croc_syn``, ``croc_hum``, ``crocscore`` and ``builders`` are in their ``commands.py``.
"""

from __future__ import annotations

import io
import sys
import time
import traceback
from typing import Any

import click

from croc import __version__
from croc.cli.command_group import CommandGroup, packages
from croc.cli.failures import close_output, describe
from croc.cli.output import echo, log, prepare_streams
from croc.cli.verbosity import add_options, is_verbose

_DEBUG = "croc.debug"


class _Croc(CommandGroup):
    """Turns every error into one sentence and an exit code, see :mod:`croc.cli.failures`."""

    def invoke(self, ctx: click.Context) -> Any:
        prepare_streams()
        try:
            start = time.monotonic()
            result = super().invoke(ctx)
            sys.stdout.flush()  # what cannot be written fails here, not when Python ends
            if is_verbose():
                log(f"finished in {time.monotonic() - start:.3g} s")
            return result
        except click.ClickException as error:
            shown = io.StringIO()
            error.show(shown)
            echo(shown.getvalue().rstrip(), err=True)
            ctx.exit(error.exit_code)
        except (click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:  # the reader of our output went away, as in `croc … | head`
            close_output()
            ctx.exit(1)
        except BaseException as error:
            if ctx.meta.get(_DEBUG):
                echo(traceback.format_exc(), err=True)
            failure = describe(error, self.distribution_of(ctx, ctx.invoked_subcommand))
            _flush()
            echo(f"croc: {failure.sentence}", err=True)
            ctx.exit(failure.code)


def _flush() -> None:
    """Write what is left of the output, before the sentence about the error."""
    try:
        sys.stdout.flush()
    except OSError:
        close_output()


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value


@click.group(
    cls=_Croc,
    path="",
    own={
        "agree": "croc.cli.evaluation:agree",
        "ceilings": "croc.cli.ceilings:ceilings",
        "correlate": "croc.cli.evaluation:correlate",
        "diff": "croc.cli.diff:diff",
        "evaluate": "croc.cli.evaluation:evaluate",
        "external": "croc.cli.external:external",
        "import-checkpoint": "croc.cli.import_checkpoint:import_checkpoint",
        "install": "croc.cli.install:install_command",
        "leaderboard": "croc.cli.results:leaderboard",
        "plan": "croc.cli.plan:plan",
        "results": "croc.cli.results:results",
        "score": "croc.cli.score:score",
        "compare-models": "croc.cli.images:compare_models",
        "score-images": "croc.cli.images:score_images",
        "scorers": "croc.cli.score:scorers",
        "scores": "croc.cli.score:scores",
        "space": "croc.cli.space:space",
        "status": "croc.cli.status:status",
        "transfer": "croc.cli.transfer:transfer",
        "trust": "croc.cli.trust:trust",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  croc demo
  croc score croc/syn --scorer crocscore --scorer random --out scores/
  croc evaluate scores/ --by category --html report.html""",
)
@click.version_option(__version__, prog_name="croc")
@click.option(
    "--debug",
    is_flag=True,
    envvar="CROC_DEBUG",
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error. Also: CROC_DEBUG=1.",
)
def main() -> None:
    """Test text-to-image metrics with contrastive checks.

    A check has two prompts that differ in one property, and images of both. A good metric gives each image a
    higher score with its own prompt.
    """


add_options(main, packages, hidden=False)
