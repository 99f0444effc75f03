"""The commands of this package: train, calibrate, experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, Integer, Number, key_values, out_folder, seed_option, together
from croc.cli.output import echo, log, show
from croc.errors import CrocError
from croc.wording import counted

if TYPE_CHECKING:
    from croc.scorers import Scorer

_questions_option = click.option(
    "--questions",
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Folder of questions that 'croc build train' made.",
)


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
@_questions_option
@click.option(
    "--split", default="validation", show_default=True, metavar="NAME", help="Split of the questions."
)
@click.option(
    "--max-questions", "at_most", type=Integer(4), help="Maximum number of questions. Default: all."
)
@click.option("--device", help="Device: cpu, cuda or mps. Default: the best one available.")
def calibrate(model: Path, questions: Path, split: str, at_most: int | None, device: str | None) -> None:
    """Calibrate the probabilities of a yes/no model.

    MODEL is a folder. The calibration is added to its configuration. The measures (calibration.json) and a
    plot (calibration.png) are added to the folder and to the card.
    """
    from rich.table import Table

    from crocscore.calibration import calibrate as run

    fit = run(model, questions, split=split, at_most=at_most, device=device)
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
        echo(f"probability: σ(margin); the fitted {fitted} does not improve the cross-fitted log loss")
    size = f"{counted(fit.questions, 'question')} of {counted(fit.concepts, 'concept')}"
    echo(f"AUROC {fit.auroc:.4f}; {size}")
    echo(
        f"ties among {counted(fit.contrasts, 'contrast')}: {fit.ties_fp32:.2%} by fp32 margins, "
        f"{fit.ties_bf16:.2%} by bf16 probabilities"
    )
    log(f"wrote {model / 'config.json'}")


@section("train")
@click.group(cls=CommandGroup)
def experiment() -> None:
    """Measure what a yes/no model learns from checks.

    Each experiment writes its results as NAME.json and a plot as NAME.png.
    """


_training_options = together(
    click.argument("model", type=PATH),
    _questions_option,
    click.option("--checks", required=True, metavar="FOLDER|HUB_ID", help="Held-out checks."),
    click.option("--split", default="test", show_default=True, metavar="NAME", help="Split of the checks."),
    click.option(
        "--max-checks",
        default=400,
        show_default=True,
        type=Integer(1),
        help="Maximum number of checks.",
    ),
    click.option(
        "--steps",
        default=200,
        show_default=True,
        type=Integer(1),
        help="Training steps per run.",
    ),
    click.option(
        "--batch", default=32, show_default=True, type=Integer(1), help="Questions per training step."
    ),
    click.option(
        "--learning-rate",
        default=3e-4,
        show_default=True,
        type=Number(0),
        help="Highest learning rate.",
    ),
    seed_option,
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a key of the recipe. Repeatable.",
    ),
    out_folder,
)


def _experiment(
    name: str, conditions: Any, out: Path, settings: tuple[str, ...], options: dict[str, Any]
) -> None:
    from crocscore.experiments.training_runs import Setup, run

    model, questions = str(options.pop("model")), str(options.pop("questions"))
    setup = Setup(model=model, questions=questions, **options, settings=key_values(settings, "--set"))
    echo(run(name, setup, out, conditions))


@experiment.command(
    "held-out",
    epilog="Example: croc experiment held-out stage1 --questions questions --checks syn --out held-out",
)
@_training_options
@click.option(
    "--leave-out",
    multiple=True,
    metavar="NAME",
    help="Category or property to leave out. Repeatable. "
    "Default: negation, counting, colour, spatial_relation.",
)
@click.option(
    "--scenes",
    multiple=True,
    metavar="FOLDER",
    help="Annotated scenes that 'croc build scenes' made. Repeatable. With them only the image tower of "
    "MODEL is used. A new language model is first trained on the scenes without any of the properties to "
    "leave out; each run then adds all of them except its own.",
)
@click.option(
    "--scene-steps",
    default=1200,
    show_default=True,
    type=Integer(1),
    help="Training steps on the scenes. Each run adds a third of this number.",
)
def held_out(leave_out: tuple[str, ...], out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Leave a property out of training and test on it.

    MODEL is the folder of the initial model.
    """
    from crocscore.experiments.training_runs import held_out as conditions

    _experiment("held-out", conditions(leave_out) if leave_out else None, out, settings, options)


@experiment.command(
    "learning-curve",
    epilog="Example: croc experiment learning-curve stage1 --questions questions --checks syn --out curve",
)
@_training_options
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=Number(0, 1, min_open=True),
    help="Share of the checks. Repeatable. Default: 0.05, 0.15, 0.4 and 1.",
)
def learning_curve(shares: tuple[float, ...], out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Train on growing shares of the checks.

    MODEL is the folder of the initial model.
    """
    from crocscore.experiments.training_runs import learning_curve as conditions

    _experiment("learning-curve", conditions(shares) if shares else None, out, settings, options)


@experiment.command(
    "label-noise",
    epilog="Example: croc experiment label-noise stage1 --questions questions --checks syn --out noise",
)
@_training_options
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=Number(0, 1),
    help="Share of the answers to flip. Repeatable. Default: 0, 0.1, 0.3 and 0.5.",
)
def label_noise(levels: tuple[float, ...], out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Train with a share of the answers flipped.

    MODEL is the folder of the initial model. The experiment estimates how much accuracy is lost when images
    do not show their prompts.
    """
    from crocscore.experiments.training_runs import label_noise as conditions

    _experiment("label-noise", conditions(levels) if levels else None, out, settings, options)


@experiment.command(
    "zero-shot",
    epilog="Example: croc experiment zero-shot crocscore --checks runs/nlvr --tifa tifa160 --out zero-shot",
)
@click.argument("scorer")
@click.option(
    "--checks",
    metavar="FOLDER|HUB_ID",
    help="Checks with human labels, such as those that 'croc build nlvr' makes.",
)
@click.option("--split", metavar="NAME", help="Split of the checks. Default: test, or the only one.")
@click.option(
    "--tifa", type=PATH, metavar="FOLDER", help="Folder of TIFA160: generated images with human ratings."
)
@click.option("--max-checks", type=Integer(1), help="Maximum number of checks. Default: all.")
@click.option("--out", required=True, type=PATH, metavar="FOLDER", help="Output folder.")
def zero_shot(
    scorer: str,
    checks: str | None,
    split: str | None,
    tifa: Path | None,
    max_checks: int | None,
    out: Path,
) -> None:
    """Test a scorer on images unlike its training images.

    SCORER is a name from 'croc scorers list', or the folder of a yes/no model.
    """
    from crocscore.experiments.zero_shot import zero_shot as run

    echo(run(_scorer(scorer), out, checks=checks, split=split, ratings=tifa, max_checks=max_checks))


@experiment.command("probes", epilog="Example: croc experiment probes crocscore --out runs/probes")
@click.argument("scorer")
@click.option("--probes", type=PATH, metavar="FILE", help="List of probes. Default: the one of the package.")
@click.option(
    "--layouts",
    default=4,
    show_default=True,
    type=Integer(1),
    help="Drawings per probe, with consecutive seeds.",
)
@seed_option
@click.option(
    "--yes-above",
    type=float,
    metavar="SCORE",
    help="Score above which the scorer answers Yes. Default: where its probability is 0.5, if it has one.",
)
@click.option("--out", required=True, type=PATH, metavar="FOLDER", help="Output folder.")
def probes(
    scorer: str, probes: Path | None, layouts: int, seed: int, yes_above: float | None, out: Path
) -> None:
    """Test whether a scorer reads what people type.

    SCORER is a name from 'croc scorers list', or the folder of a yes/no model.

    A probe is a pair of texts about the same drawings, one true and one false. The probes of the package are
    in groups such as upper case, digits, synonyms and counts, and no model is trained on their texts. The
    table shows how often the true text scores higher, and how often the scorer answers Yes, with 95 %
    intervals over probes.
    """
    from rich.table import Table

    from croc.rendering.formats import count, interval, probability
    from crocscore.experiments.probes import PROBES, probe

    report = probe(_scorer(scorer), out, probes or PROBES, layouts=layouts, seed=seed, yes_above=yes_above)
    table = Table(box=None, header_style="bold")
    table.add_column("group")
    for column in ("probes", "text pass", "", "Yes to true", "", "Yes to false", ""):
        table.add_column(column, justify="right")
    for row in (*report.groups, report.overall):
        table.add_row(
            row.group.replace("_", " "),
            count(row.probes),
            probability(row.passed),
            interval(row.passed_low, row.passed_high),
            probability(row.yes_to_true),
            interval(row.yes_to_true_low, row.yes_to_true_high),
            probability(row.yes_to_false),
            interval(row.yes_to_false_low, row.yes_to_false_high),
        )
    show([table])
    answers = f"Yes: {report.yes}" if report.yes else "without answers: set --yes-above to count them"
    echo(f"{counted(report.layouts, 'drawing')} per probe; a tie counts one half; {answers}")
    for reason, number in report.unscored.items():
        log(f"{counted(number, 'text')} without a score: {reason}")
    echo(out / "probes.json")


def _scorer(name: str) -> Scorer:
    """The scorer of a name, or of the folder of a yes/no model."""
    from croc.scorers.registry import available, load

    # A name is a name, whatever folders are called here: in a checkout there is one called crocscore.
    if Path(name).is_dir() and name not in {info.name for info in available()}:
        return load("crocscore.scorers:crocscore", model=Path(name), name=Path(name).name)
    return load(name)
