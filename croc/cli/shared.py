"""What the commands share: paths, printing, writing files, the choice of an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from croc.errors import InputError

PATH = click.Path(path_type=Path)


def show(parts: list[Any]) -> None:
    """Print rich renderables; nothing is cut to a width when the output is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe or a file: no line may be cut to a width nobody has
        console = Console(width=400, soft_wrap=True)
    for part in parts:
        console.print(part)


def write(path: Path | None, content: str | bytes) -> None:
    """Write a file and say so; no path, no file."""
    if path is None:
        return
    from croc.storage.files import atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror})") from None
    click.echo(f"wrote {path}", err=True)


def key_values(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """``KEY=VALUE`` words as a dictionary; a value is read as YAML: numbers, true, lists, text.

    Raises:
        InputError: a word has no ``=``, or its value is no YAML.
    """
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"{option} {pair}: give KEY=VALUE")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"{option} {pair}: the value cannot be read") from None
    return found


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command whose parts any engine may make."""
    options = (
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Processes of this machine, or a Ray cluster; the files are the same.",
        ),
        click.option("--address", help="Of a running cluster (ray://HOST:10001); default: one started here."),
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Processes, or actors at most. Default: one a GPU, or one; on a cluster what has room.",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(0),
            help="GPUs an actor of the cluster needs. Default: 1 for models that run there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def engine_from(
    engine: str, address: str | None, workers: int | None, gpus_per_worker: float | None, *, gpu: bool
) -> Any:
    """The engine that the options of :func:`engine_options` ask for; ``gpu``: whether the work wants one."""
    from croc.jobs.executors import engine_of, visible_gpus

    needed = (1.0 if gpu else 0.0) if gpus_per_worker is None else gpus_per_worker
    gpus = visible_gpus() if gpu and engine == "local" else []
    return engine_of(engine, workers=workers, address=address, gpus=gpus, gpus_per_worker=needed)
