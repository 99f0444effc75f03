"""The commands of this package: train, calibrate, experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, key_values
from croc.cli.output import show
from croc.errors import CrocError


@section("train")
@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="""\b
Examples:
  croc train --config recipe.yaml --learning_rate 1e-4
  croc train --config smolvlm --questions runs/questions --push org/crocscore-smolvlm""",
)
@click.option(
    "--config",
    required=True,
    metavar="FILE|NAME",
    help="The recipe: a YAML file, or the name of one of the package: tiny, smolvlm, qwen3-vl, phi4.",
)
@click.option(
    "--push", metavar="ORG/NAME", help="Publish model, processor, recipe and card there afterwards."
)
@click.option("--private", is_flag=True, help="Only members of the organisation may see it.")
@click.pass_context
def train(ctx: click.Context, config: str, push: str | None, private: bool) -> None:
    """Train a yes/no model on questions from checks, with TRL.

    The recipe names the model to start from (model), the folder of questions (questions, made by croc build
    train), held-out checks to score on the way (checks), and any setting of TRL's SFTConfig; options after it
    override its keys. On several GPUs: accelerate launch -m croc train --config FILE
    """
    if push is not None:  # before hours of training
        _publish(ctx, folder=Path(), repo=push, check_access=True)
    import os

    from crocscore.training.sft import train as run

    out = run(["--config", config, *ctx.args])
    if int(os.environ.get("RANK", "0")):
        return
    click.echo(f"wrote {out}")
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
@click.option("--questions", required=True, type=PATH, help="Folder that croc build train finished.")
@click.option("--split", default="validation", show_default=True, help="Split of the questions.")
@click.option("--max", "at_most", type=click.IntRange(4), help="So many questions at most.")
@click.option("--device", help="cpu, cuda, mps; default: the best there is.")
def calibrate(model: Path, questions: Path, split: str, at_most: int | None, device: str | None) -> None:
    """Fit the probabilities of MODEL, a folder, and write them into its configuration.

    Its figures (calibration.json) and plot (calibration.png) go beside the weights and onto the card.
    """
    from rich.table import Table

    from crocscore.calibration import calibrate as run

    found = run(model, questions, split=split, at_most=at_most, device=device)
    table = Table(box=None, header_style="bold")
    for column in ("", "σ(margin)", "calibrated"):
        table.add_column(column, justify="left" if not column else "right")
    for name, before, after in (
        ("expected calibration error", found.ece_before, found.ece),
        ("Brier score", found.brier_before, found.brier),
        ("log loss", found.log_loss_before, found.log_loss),
    ):
        table.add_row(name, f"{before:.4f}", f"{after:.4f}")
    show([table])
    click.echo(f"σ({found.a:.4g} · margin {found.b:+.4g}): temperature {found.temperature:.4g}")
    click.echo(f"AUROC {found.auroc:.4f}; {found.questions} questions of {found.concepts} concepts")
    click.echo(
        f"ties among {found.contrasts} contrasts: {found.ties_fp32:.2%} by fp32 margins, "
        f"{found.ties_bf16:.2%} by bf16 probabilities"
    )
    click.echo(f"wrote {model / 'config.json'}", err=True)


@section("train")
@click.group(cls=CommandGroup)
def experiment() -> None:
    """What a yes/no model learns from contrast: each experiment writes NAME.json and NAME.png."""


def _shared(command: Any) -> Any:
    """The options that the experiments with training share."""
    for option in reversed(
        (
            click.argument("model", type=PATH),
            click.option(
                "--questions", required=True, type=PATH, help="Folder that croc build train finished."
            ),
            click.option("--checks", required=True, help="Held-out checks: a folder or Hub id."),
            click.option("--split", default="test", show_default=True, help="Split of the checks."),
            click.option("--max-checks", default=400, show_default=True, type=click.IntRange(1)),
            click.option("--steps", default=200, show_default=True, type=click.IntRange(1), help="A run."),
            click.option(
                "--batch", default=32, show_default=True, type=click.IntRange(1), help="Questions a step."
            ),
            click.option("--learning-rate", default=3e-4, show_default=True, type=click.FloatRange(0)),
            click.option("--seed", default=0, show_default=True, type=int),
            click.option(
                "--set",
                "settings",
                multiple=True,
                metavar="KEY=VALUE",
                help="A further key of the recipe; repeatable.",
            ),
            click.option("--out", required=True, type=PATH, help="Folder to make; run again to go on."),
        )
    ):
        command = option(command)
    return command


def _experiment(
    name: str, conditions: Any, out: Path, settings: tuple[str, ...], given: dict[str, Any]
) -> None:
    from crocscore.experiments.experiments import Setup, run

    model, questions = str(given.pop("model")), str(given.pop("questions"))
    setup = Setup(model=model, questions=questions, **given, settings=key_values(settings, "--set"))
    click.echo(run(name, setup, out, conditions))


@experiment.command(
    "held-out",
    epilog="Example: croc experiment held-out stage1 --questions questions --checks syn --out held-out",
)
@_shared
@click.option(
    "--leave-out", multiple=True, metavar="NAME", help="A category or property; repeatable; default: four."
)
@click.option(
    "--scenes",
    multiple=True,
    metavar="FOLDER",
    help="Annotated scenes, repeatable: the start is then a reader from nothing behind MODEL's tower that "
    "is taught none of what is left out; each run is taught all but its own.",
)
@click.option(
    "--reading",
    default=1200,
    show_default=True,
    type=click.IntRange(1),
    help="Steps of the start; a third of them more for each run.",
)
def held_out(leave_out: tuple[str, ...], out: Path, settings: tuple[str, ...], **given: Any) -> None:
    """Leave one property out of the training of MODEL at a time, and ask about it afterwards."""
    from crocscore.experiments.experiments import held_out as conditions

    _experiment("held-out", conditions(leave_out) if leave_out else None, out, settings, given)


@experiment.command(
    "learning-curve",
    epilog="Example: croc experiment learning-curve stage1 --questions questions --checks syn --out curve",
)
@_shared
@click.option(
    "--share", "shares", multiple=True, type=click.FloatRange(0, 1, min_open=True), help="Repeatable."
)
def curve(shares: tuple[float, ...], out: Path, settings: tuple[str, ...], **given: Any) -> None:
    """Train MODEL on growing shares of the checks."""
    from crocscore.experiments.experiments import learning_curve as conditions

    _experiment("learning-curve", conditions(shares) if shares else None, out, settings, given)


@experiment.command(
    "label-noise",
    epilog="Example: croc experiment label-noise stage1 --questions questions --checks syn --out noise",
)
@_shared
@click.option("--level", "levels", multiple=True, type=click.FloatRange(0, 1), help="Repeatable.")
def noise(levels: tuple[float, ...], out: Path, settings: tuple[str, ...], **given: Any) -> None:
    """Train MODEL with a share of the answers flipped: what a better image generator would buy."""
    from crocscore.experiments.experiments import label_noise as conditions

    _experiment("label-noise", conditions(levels) if levels else None, out, settings, given)


@experiment.command(
    "zero-shot",
    epilog="Example: croc experiment zero-shot crocscore --checks runs/nlvr --tifa tifa160 --out zero-shot",
)
@click.argument("scorer")
@click.option("--checks", metavar="FOLDER|HUB_ID", help="Checks with labels by people.")
@click.option("--split", help="Split of the checks.")
@click.option("--tifa", type=PATH, help="TIFA160: generated images with ratings by people.")
@click.option("--max-checks", type=click.IntRange(1), help="Number of checks. Default: all.")
@click.option("--out", required=True, type=PATH, help="Folder to make.")
def zero_shot(
    scorer: str,
    checks: str | None,
    split: str | None,
    tifa: Path | None,
    max_checks: int | None,
    out: Path,
) -> None:
    """Judge SCORER, a name or a folder of a yes/no model, on images from outside of its world."""
    from croc.scorers.registry import available, load
    from crocscore.experiments.experiments import zero_shot as run

    spec = "crocscore.scorers:crocscore"
    # A name is a name, whatever folders are called here: in a checkout there is one called crocscore.
    named = scorer in {each.name for each in available()}
    local = Path(scorer).is_dir() and not named
    found = load(spec, model=Path(scorer), name=Path(scorer).name) if local else load(scorer)
    click.echo(run(found, out, checks=checks, split=split, ratings=tifa, max_checks=max_checks))
