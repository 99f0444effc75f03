"""What the commands share: paths, printing, writing files."""

from __future__ import annotations

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
    from croc.files import atomic

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
