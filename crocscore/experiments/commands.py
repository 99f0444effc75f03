"""The commands of the experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc.cli.command_group import CommandGroup, section
from croc.cli.options import PATH, Integer, Number, key_values, out_folder, seed_option, together
from croc.cli.output import echo, log, show
from croc.wording import counted

if TYPE_CHECKING:
    from croc.scorers import Scorer
    from crocscore.experiments.one_run import Setup

questions_option = click.option(
    "--questions",
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Folder of questions that 'croc build train' made.",
)


@section("train")
@click.group(cls=CommandGroup)
def experiment() -> None:
    """Measure what a yes/no model learns from checks.

    Each experiment shows its results as a table, and writes them as NAME.json with a plot, NAME.png.
    """


def _folder(model: Path) -> str:
    """The folder of a model; the name crocscore stands for the small one that comes with the package."""
    from crocscore.model import WEIGHTS

    return str(WEIGHTS if str(model) == "crocscore" else model)


_training_options = together(
    click.argument("model", type=PATH),
    questions_option,
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

_seeds_option = click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=Integer(1),
    help="Runs of each condition, with consecutive seeds. Intervals are over seeds and concepts.",
)
_runs_options = together(
    _training_options,
    _seeds_option,
    click.option(
        "--minutes",
        type=Number(0, min_open=True),
        help="Choose the number of steps so that each training takes about so long; the speed is measured "
        "first. All runs have the same number of steps.",
    ),
)


def _experiment(
    name: str, conditions: Any, out: Path, settings: tuple[str, ...], options: dict[str, Any]
) -> None:
    from crocscore.experiments.training_runs import run

    _report(run(name, _setup(settings, options), out, conditions))


def _report(results: Path) -> None:
    """Show the results of an experiment as a table, and say where they are."""
    from rich.table import Table

    from croc.storage.files import read_json
    from crocscore.experiments.summary import summarised

    found = summarised(read_json(results, "no results"))
    table = Table(box=None, header_style="bold")
    for number, head in enumerate(found.heads):
        table.add_column(head, justify="right" if number else "left")
    for row in found.rows:
        table.add_row(*row)
    show([table])
    echo(results)


def _setup(settings: tuple[str, ...], options: dict[str, Any]) -> Setup:
    from crocscore.experiments.one_run import Setup

    model, questions = _folder(options.pop("model")), str(options.pop("questions"))
    return Setup(model=model, questions=questions, **options, settings=key_values(settings, "--set"))


@experiment.command(
    "held-out",
    epilog="Example: croc experiment held-out stage1 --questions questions --checks syn --out held-out",
)
@_runs_options
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
    "leave out, once for all runs; each run then adds all of them except its own.",
)
@click.option(
    "--scene-steps",
    default=1200,
    show_default=True,
    type=Integer(1),
    help="Training steps of the new language model.",
)
@click.option(
    "--run-scenes",
    multiple=True,
    metavar="FOLDER",
    help="Scenes that each run adds, such as scenes about the properties to leave out. Repeatable. Default: "
    "those of --scenes.",
)
@click.option(
    "--run-scene-steps",
    type=Integer(1),
    help="Training steps on scenes per run. Default: a third of --scene-steps.",
)
def held_out(leave_out: tuple[str, ...], out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Leave a property out of training and test on it.

    MODEL is the folder of the initial model, or crocscore.
    """
    from crocscore.experiments.conditions import held_out as conditions

    _experiment("held-out", conditions(leave_out) if leave_out else None, out, settings, options)


@experiment.command(
    "learning-curve",
    epilog="Example: croc experiment learning-curve stage1 --questions questions --checks syn --out curve",
)
@_runs_options
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=Number(0, 1, min_open=True),
    help="Share of the checks. Repeatable. Default: 0.05, 0.15, 0.4 and 1.",
)
def learning_curve(shares: tuple[float, ...], out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Train on growing shares of the checks.

    MODEL is the folder of the initial model, or crocscore.
    """
    from crocscore.experiments.conditions import learning_curve as conditions

    _experiment("learning-curve", conditions(shares) if shares else None, out, settings, options)


@experiment.command(
    "label-noise",
    epilog="Example: croc experiment label-noise stage1 --questions questions --checks syn --out noise",
)
@_runs_options
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=Number(0, 1),
    help="Share of the answers or images. Repeatable. Default: 0, 0.1, 0.3 and 0.5.",
)
@click.option(
    "--noise",
    "kinds",
    multiple=True,
    default=["flips"],
    show_default=True,
    type=click.Choice(["flips", "count", "binding", "missing", "attribute"]),
    help="Kind of noise: flipped answers, or images with a wrong number of things, two kinds of things "
    "exchanged, a thing missing, or a wrong property. Images must be of the exact world. Repeatable.",
)
def label_noise(
    levels: tuple[float, ...], kinds: tuple[str, ...], out: Path, settings: tuple[str, ...], **options: Any
) -> None:
    """Train with a share of the answers flipped or of the images wrong.

    MODEL is the folder of the initial model, or crocscore. The experiment estimates how much accuracy is
    lost when images do not show their prompts.
    """
    from crocscore.experiments.conditions import NOISE
    from crocscore.experiments.conditions import label_noise as conditions

    _experiment("label-noise", conditions(levels or NOISE, kinds), out, settings, options)


@experiment.command(
    "objective",
    epilog="Example: croc experiment objective stage1 --questions questions --checks syn --out objective",
)
@_runs_options
def objective(out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Train with the likelihood of answers, a loss on pairs, and both.

    MODEL is the folder of the initial model, or crocscore. All runs have the same batches, which contain both
    prompts of a check about an image. The loss on pairs is a logistic loss on the difference of the margins
    of the two prompts, which is what a check tests.
    """
    _experiment("objective", None, out, settings, options)


@experiment.command(
    "samples",
    epilog="Example: croc experiment samples stage1 --questions questions --checks syn --out samples",
)
@_runs_options
@click.option(
    "--choice",
    "strategies",
    multiple=True,
    default=["random", "balanced", "hard", "agreement"],
    show_default=True,
    type=click.Choice(["random", "balanced", "hard", "agreement"]),
    help="How samples are chosen: at random; the same number of each property; the lowest margins of MODEL; "
    "at random among those on whose answers the scorers agree. Repeatable.",
)
@click.option(
    "--share",
    default=0.25,
    show_default=True,
    type=Number(0, 1, min_open=True),
    help="Share of the images to train on, with all questions about them.",
)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    default=["crocscore", "crocscore-dual"],
    show_default=True,
    metavar="NAME",
    help="Scorer that has to agree with the answers. Repeatable, at least two.",
)
@click.option(
    "--label-noise",
    "noise",
    default=0.0,
    show_default=True,
    type=Number(0, 1),
    help="Share of label noise in what is chosen from.",
)
@click.option(
    "--noise",
    "noise_kind",
    default="flips",
    show_default=True,
    type=click.Choice(["flips", "count", "binding", "missing", "attribute"]),
    help="Kind of the label noise, as for 'croc experiment label-noise'.",
)
def samples(
    strategies: tuple[str, ...],
    share: float,
    scorers: tuple[str, ...],
    noise: float,
    noise_kind: str,
    out: Path,
    settings: tuple[str, ...],
    **options: Any,
) -> None:
    """Train on samples that were chosen in different ways.

    MODEL is the folder of the initial model, or crocscore. All runs have the same number of steps.
    """
    from crocscore.experiments.samples import run_samples

    path = run_samples(
        _setup(settings, options),
        out,
        strategies=strategies,
        share=share,
        scorers=scorers,
        noise=noise,
        noise_kind=noise_kind,
    )
    _report(path)


@experiment.command(
    "sweep",
    epilog="Example: croc experiment sweep stage1 --questions questions --checks syn --split validation "
    "--out sweep",
)
@_training_options
@click.option(
    "--trials",
    default=30,
    show_default=True,
    type=Integer(1),
    help="Number of trainings, with those of an interrupted search.",
)
def sweep(trials: int, out: Path, settings: tuple[str, ...], **options: Any) -> None:
    """Search for a learning rate, number of samples, epochs and share of negatives.

    MODEL is the folder of the initial model, or crocscore. --steps is the most that a trial may have,
    --learning-rate that of the first trial. Use other checks than those of the final test. Each trial has one
    seed. It needs Optuna, the extra sweep.
    """
    from crocscore.experiments.sweep import run_sweep

    _report(run_sweep(_setup(settings, {**options, "seeds": 1}), out, trials=trials))


@experiment.command(
    "held-out-world",
    epilog="Example: croc experiment held-out-world crocscore --with all --without seen --test nouns=nouns "
    "--out world",
)
@click.argument("model", type=PATH)
@click.option(
    "--with",
    "scenes_with",
    multiple=True,
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Scenes of everything, from 'croc build scenes'. Repeatable.",
)
@click.option(
    "--without",
    "scenes_without",
    multiple=True,
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Scenes that were built with --hold-out. Repeatable.",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    required=True,
    metavar="NAME=FOLDER",
    help="Checks that contain what is held out (--held-out-only), or others for comparison. Repeatable.",
)
@click.option("--split", default="test", show_default=True, metavar="NAME", help="Split of the checks.")
@click.option(
    "--max-checks", default=400, show_default=True, type=Integer(1), help="Maximum number of checks per test."
)
@click.option(
    "--scene-steps", default=1200, show_default=True, type=Integer(1), help="Steps of each pretraining."
)
@click.option(
    "--architecture",
    default="vlm",
    show_default=True,
    type=click.Choice(["vlm", "dual-encoder"]),
    help="What is pretrained: a language model that reads the image, or a text encoder beside the tower.",
)
@seed_option
@_seeds_option
@out_folder
def held_out_world(
    model: Path,
    scenes_with: tuple[Path, ...],
    scenes_without: tuple[Path, ...],
    tests: tuple[str, ...],
    scene_steps: int,
    out: Path,
    **options: Any,
) -> None:
    """Measure the price of not having seen something in training.

    MODEL is the folder of a small vision-language model, or crocscore; its tower and tokenizer are used. New
    language models, or dual encoders, are pretrained on scenes with and without what is held out, for the
    same number of steps, and evaluated on the same checks.
    """
    from crocscore.experiments.held_out_world import WorldSetup, run_held_out_world

    setup = WorldSetup(
        model=_folder(model),
        scenes_with=tuple(map(str, scenes_with)),
        scenes_without=tuple(map(str, scenes_without)),
        tests={name: str(folder) for name, folder in key_values(tests, "--test").items()},
        steps=scene_steps,
        **options,
    )
    _report(run_held_out_world(setup, out))


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
