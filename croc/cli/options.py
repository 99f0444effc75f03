"""Options that several commands have, and the values that they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from croc.cli.output import log
from croc.errors import InputError

if TYPE_CHECKING:
    from croc.jobs.parts import Executor
    from croc.scoring.run import ScoringSettings

PATH = click.Path(path_type=Path)


class Integer(click.IntRange):
    """A whole number from a minimum on; ``click`` calls it INTEGER RANGE, which reads like 1-5."""

    name = "integer"


class Number(click.FloatRange):
    """A finite number between a minimum and a maximum; of NaN every comparison of ``FloatRange`` is false."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert a word, and refuse NaN and infinity."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class ManyScorers(click.Command):
    """``DATASET --scorer A B`` means ``DATASET --scorer A --scorer B``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``--scorer`` before each of the names that follow one."""
        spread: list[str] = []
        inside = False
        for number, word in enumerate(args):
            if word.startswith("-"):
                inside = word == "--scorer" and number > 0 and not args[0].startswith("-")
            elif inside and spread[-1] != "--scorer":
                spread.append("--scorer")
            spread.append(word)
        return super().parse_args(ctx, spread)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Combine several options into one decorator; the help lists them in this order."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


out_folder = click.option(
    "--out",
    required=True,
    type=PATH,
    metavar="FOLDER",
    help="Output folder. Run the same command again to resume an interrupted run.",
)
seed_option = click.option("--seed", default=0, show_default=True, type=int, help="Random seed.")
workers_option = click.option(
    "--workers", default=1, show_default=True, type=Integer(1), help="Number of processes."
)
preset_changes = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the preset, such as images.count=3. Repeatable.",
)
correction_option = click.option(
    "--correction",
    type=click.Choice(["holm", "bh", "by"]),
    default="holm",
    show_default=True,
    help="Adjustment of p values for many tests: Holm, or the false discovery rate by Benjamini-Hochberg or "
    "Benjamini-Yekutieli.",
)
dataset_options = together(
    click.option("--config", metavar="NAME", help="Configuration of the dataset. Default: its default one."),
    click.option("--split", metavar="NAME", help="Split of the dataset. Default: test, or the only one."),
    click.option("--revision", metavar="REVISION", help="Tag or commit of a dataset on the Hub."),
    click.option("--streaming", is_flag=True, help="Read a dataset on the Hub without downloading it first."),
)
scorers_option = click.option(
    "--scorer",
    "scorers",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Name from 'croc scorers list', module:Class, or file.py:Class. Repeatable.",
)
price_option = click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="KIND=DOLLARS",
    help="Price of a paid service: input or output (per million tokens), or image. Repeatable.",
)
_paid_options = together(
    click.option(
        "--budget",
        type=Number(0, min_open=True),
        metavar="DOLLARS",
        help="Stop before paid services have cost more than this in one run. Needs the prices.",
    ),
    price_option,
    click.option(
        "--no-cache",
        is_flag=True,
        help="Neither take answers of paid services from earlier runs nor keep them.",
    ),
)


def paid_options(function: _Function) -> _Function:
    """Options of commands that call paid services; the command gets them as one argument, ``paid``.

    It is what :meth:`croc.jobs.paid_calls.PaidTerms.changed` takes.
    """

    @wraps(function)
    def command(
        *arguments: Any, budget: float | None, prices: tuple[str, ...], no_cache: bool, **options: Any
    ) -> Any:
        paid: dict[str, Any] = {}
        if budget is not None:
            paid["budget"] = budget
        if prices:
            paid["prices"] = key_values(prices, "--price")
        if no_cache:
            paid["cache"] = False
        return function(*arguments, paid=paid, **options)

    return _paid_options(command)  # type: ignore[return-value]


run_options = together(
    click.option(
        "--batch-size",
        type=Integer(1),
        help="Pairs per batch; halved if memory runs out. Default: set by each scorer.",
    ),
    click.option(
        "--max-failures",
        type=Integer(0),
        help="Stop if more than this number of pairs fail. Default: no limit.",
    ),
    click.option("--device", help="Device: cpu, cuda or mps. Default: the best one available."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Argument for scorers that accept it, such as model=my/checkpoint. Repeatable.",
    ),
    paid_options,
)
json_option = click.option(
    "--json",
    "json_file",
    type=PATH,
    metavar="FILE",
    help="Write all numbers as JSON; '-' is standard output.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Delete earlier scores instead of resuming."
)
executor_options = together(
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Run on this machine or on a Ray cluster. Both write the same files.",
    ),
    click.option(
        "--address",
        metavar="ADDRESS",
        help="Address of a running Ray cluster, such as ray://HOST:10001. "
        "Default: start a cluster on this machine.",
    ),
    click.option(
        "--workers",
        type=Integer(1),
        help="Number of processes, or maximum number of workers on a Ray cluster. "
        "Default: one per GPU, or one.",
    ),
    click.option(
        "--gpus-per-worker",
        type=Number(0),
        help="GPUs per worker on a Ray cluster. Default: 1 if the workers run a model, otherwise 0.",
    ),
)


def key_values(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """``KEY=VALUE`` arguments as a dictionary; a value is read as YAML: numbers, true, lists, text.

    Raises:
        InputError: an argument has no ``=``, or its value is not valid YAML.
    """
    from croc.storage.text_files import parse_yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"{option} {pair}: give KEY=VALUE")
        values[key] = parse_yaml(value, f"{option} {pair}")
    return values


def scorer_arguments(
    scorers: tuple[str, ...], options: tuple[str, ...], device: str | None, *, judges: bool = False
) -> dict[str, Any]:
    """The arguments for scorers that ``--option`` and ``--device`` give.

    Args:
        scorers: names of scorers.
        options: ``KEY=VALUE`` arguments.
        device: of the models.
        judges: whether pairwise judges can be among the scorers.

    Raises:
        InputError: no scorer has an option, or one is a pairwise judge where it cannot be.
    """
    from croc.scorers.registry import require_no_judge, takes

    if not judges:
        require_no_judge(scorers)
    given = key_values(options, "--option")
    for key in given:
        if not any(takes(name, key) for name in scorers):
            raise InputError(f"--option {key}: not an argument of {' or '.join(scorers)}")
    return given | ({"device": device} if device else {})


def scoring_settings(
    batch_size: int | None,
    max_failures: int | None,
    overwrite: bool,
    protocol: str | None = None,
    *,
    paid: Mapping[str, Any],
    workers: int = 1,
) -> ScoringSettings:
    """The settings that :func:`run_options` and :func:`overwrite_option` give."""
    from croc.jobs.paid_calls import PaidTerms
    from croc.scoring.run import ScoringSettings

    return ScoringSettings(
        protocol=protocol,
        batch_size=batch_size,
        max_failures=max_failures,
        existing="overwrite" if overwrite else "resume",
        paid=PaidTerms().changed(paid).in_one_run().divided_by(workers),
    )


def budget_shares(paid: Mapping[str, Any], executor: str, workers: int | None) -> int:
    """Among how many processes a budget is divided, because they cannot look into each other's accounts.

    Raises:
        InputError: on a cluster the number is not known.
    """
    if "budget" in paid and executor == "ray" and workers is None:
        raise InputError("--budget on a cluster needs --workers: each worker gets its share of the budget")
    return workers or 1


def log_usage(run: str) -> None:
    """Log what the calls of a run in this process have used, if there were any."""
    from croc.jobs.paid_calls import usage_of

    if (usage := usage_of(run)) is not None:
        log(str(usage))


def make_executor(
    executor: str, address: str | None, workers: int | None, gpus_per_worker: float | None, *, gpu: bool
) -> Executor:
    """The executor that :func:`executor_options` describe; ``gpu``: whether the work needs a GPU."""
    from croc.jobs.executors import executor_for, visible_gpus

    needed = (1.0 if gpu else 0.0) if gpus_per_worker is None else gpus_per_worker
    gpus = visible_gpus() if gpu and executor == "local" else []
    return executor_for(executor, workers=workers, address=address, gpus=gpus, gpus_per_worker=needed)
