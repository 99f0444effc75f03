"""The ``croc`` command. Options and messages live here; the work is done by the rooms, imported when used."""

from __future__ import annotations

import sys
from typing import Any

import click

from croc import __version__
from croc.cli import hub, hum, images, judge, make, metric, prompts, results, score, space, train
from croc.errors import CrocError


class _Croc(click.Group):
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
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: croc evaluate clip.parquet vqa.parquet --by category --html report.html",
)
@click.version_option(__version__, prog_name="croc")
def main() -> None:
    """Can a text-to-image metric be trusted? Make checks, run metrics on them, read the verdict."""


for command in (
    judge.evaluate,
    judge.agree,
    judge.correlate,
    results.result,
    results.verify_result,
    results.leaderboard,
    score.score,
    score.scorers,
    metric.install_metric,
    make.taxonomy,
    make.build,
    prompts.prompts,
    images.images,
    images.cost,
    make.draw,
    make.sheet,
    make.status,
    make.demo,
    train.train,
    train.calibrate,
    train.experiment,
    hum.hum,
    hub.publish,
    hub.verify,
    space.space,
):
    main.add_command(command)
