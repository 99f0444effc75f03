"""The commands of this package: train and calibrate; those of the experiments are in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, Integer
from croc.cli.output import echo, log, show
from croc.errors import CrocError
from croc.wording import counted
from crocscore.experiments.commands import experiment, questions_option

__all__ = ["calibrate", "experiment", "train"]


@section("train")
@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="""\b
Examples:
  croc train --config recipe.yaml --learning_rate 1e-4
  croc train --config smolvlm --questions runs/questions --push org/crocscore-smolvlm
  accelerate launch -m croc train --config recipe.yaml""",
)
@click.option(
    "--config",
    required=True,
    metavar="FILE|NAME",
    help="Recipe: a YAML file, or one of the package: tiny, smolvlm, qwen3-vl, phi4.",
)
@click.option(
    "--push",
    metavar="ORG/NAME",
    help="After training, publish the model with its processor, recipe and card to this repository.",
)
@click.option("--private", is_flag=True, help="With --push: only members of the organisation can see it.")
@click.pass_context
def train(ctx: click.Context, config: str, push: str | None, private: bool) -> None:
    """Train a yes/no model on questions made from checks.

    The recipe names the initial model (model), the folder of questions that 'croc build train' made
    (questions), held-out checks that are scored during training (checks), and any setting of TRL's SFTConfig.
    Options that are not listed below override its keys.
    """
    if push is not None:  # before hours of training
        _publish(ctx, folder=Path(), repo=push, check_access=True)
    import os

    from crocscore.training.sft import train as run

    out = run(["--config", config, *ctx.args])
    if int(os.environ.get("RANK", "0")):
        return
    echo(f"wrote {out}")
    if push is not None:
        _publish(ctx, folder=Path(out), repo=push, private=private)


def _publish(ctx: click.Context, **options: Any) -> None:
    """Run ``croc publish model``, a command of another package."""
    group = ctx.find_root().command
    publish = group.get_command(ctx, "publish") if isinstance(group, click.Group) else None
    if publish is None:
        raise CrocError("--push needs the command 'croc publish', which is not installed")
    ctx.invoke(publish, kind="model", **options)


@section("train")
@click.command(epilog="Example: croc calibrate runs/crocscore --questions runs/questions")
@click.argument("model", type=PATH)
@questions_option
@click.option(
    "--split", default="validation", show_default=True, metavar="NAME", help="Split of the questions."
)
@click.option(
    "--max-questions", "at_most", type=Integer(4), help="Maximum number of questions. Default: all."
)
@click.option(
    "--probes",
    is_flag=True,
    help="Calibrate on the probes of the package as well: texts as people type them. Questions and probes "
    "have the same weight.",
)
@click.option(
    "--world",
    multiple=True,
    type=PATH,
    metavar="FOLDER",
    help="Images of the training, as 'croc build scenes' or 'croc build train' makes them. With them the "
    "model can tell which images are unlike all of these (world.json, world.npz). Repeatable.",
)
@click.option("--device", help="Device: cpu, cuda or mps. Default: the best one available.")
def calibrate(
    model: Path,
    questions: Path,
    split: str,
    at_most: int | None,
    probes: bool,
    world: tuple[Path, ...],
    device: str | None,
) -> None:
    """Calibrate the probabilities of a yes/no model.

    MODEL is a folder. The calibration is added to its configuration. The measures (calibration.json) and a
    plot (calibration.png) are added to the folder and to the card.
    """
    from rich.table import Table

    from crocscore.calibration import calibrate as run

    fit = run(model, questions, split=split, at_most=at_most, probes=probes, device=device)
    table = Table(box=None, header_style="bold")
    for column in ("", "σ(margin)", "if calibrated", "fitted, cross-fitted", "if calibrated"):
        table.add_column(column, justify="left" if not column else "right")
    for name, *values in (
        ("Brier score", fit.brier_before, fit.brier_before_expected, fit.brier, fit.brier_expected),
        ("log loss", fit.log_loss_before, fit.log_loss_before_expected, fit.log_loss, fit.log_loss_expected),
        ("expected calibration error", fit.ece_before, fit.ece_before_expected, fit.ece, fit.ece_expected),
    ):
        table.add_row(name, *(f"{value:.4f}" for value in values))
    show([table])
    echo(
        "if calibrated: mean of a perfectly calibrated model with the same probabilities and number of "
        "questions"
    )
    fitted = f"σ({fit.fitted_a:.4g} · margin {fit.fitted_b:+.4g})"
    if fit.improves:
        echo(f"probability: {fitted}, temperature {fit.temperature:.4g}")
    else:
        echo(f"no probability: the fitted {fitted} does not improve the cross-fitted log loss of σ(margin)")
    for one in fit.sources or []:
        echo(
            f"{one.source}: log loss {one.log_loss_before:.4f} for σ(margin), {one.log_loss:.4f} fitted and "
            f"cross-fitted; {counted(one.questions, 'question')} of {counted(one.concepts, 'concept')}"
        )
    size = f"{counted(fit.questions, 'question')} of {counted(fit.concepts, 'concept')}"
    echo(f"AUROC {fit.auroc:.4f}; {size}")
    echo(
        f"ties among {counted(fit.contrasts, 'contrast')}: {fit.ties_fp32:.2%} by fp32 margins, "
        f"{fit.ties_bf16:.2%} by bf16 probabilities"
    )
    log(f"wrote {model / 'config.json'}")
    if world:
        from crocscore.world_fitting import fit_world

        found = fit_world(model, world, device=device)
        echo(
            f"world: {counted(found.images, 'image')}; of {found.held_out:,} images of other concepts, "
            f"{found.quantile:.0%} are within the distance {found.threshold:.4g}"
        )
        log(f"wrote {model / 'world.json'}")
