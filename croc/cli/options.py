"""Options that several commands have, and the values that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from croc.errors import InputError

PATH = click.Path(path_type=Path)


def key_values(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """``KEY=VALUE`` words as a dictionary; a value is read as YAML: numbers, true, lists, text.

    Raises:
        InputError: a word has no ``=``, or its value is no YAML.
    """
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"{option} {pair}: give KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"{option} {pair}: the value cannot be read") from None
    return values


def executor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that can run on one machine or on a Ray cluster."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Run on this machine or on a Ray cluster; the files are the same.",
        ),
        click.option(
            "--address",
            metavar="ADDRESS",
            help="Address of a running cluster (ray://HOST:10001). Default: a cluster started here.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Number of processes, or at most so many actors on a cluster. Default: one per GPU, or one.",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(0),
            help="GPUs per actor on the cluster. Default: 1 for models that run there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def make_executor(
    executor: str, address: str | None, workers: int | None, gpus_per_worker: float | None, *, gpu: bool
) -> Any:
    """The executor that :func:`executor_options` describe; ``gpu``: whether the work needs a GPU."""
    from croc.jobs.executors import engine_of, visible_gpus

    needed = (1.0 if gpu else 0.0) if gpus_per_worker is None else gpus_per_worker
    gpus = visible_gpus() if gpu and executor == "local" else []
    return engine_of(executor, workers=workers, address=address, gpus=gpus, gpus_per_worker=needed)
