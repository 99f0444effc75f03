"""Printing tables and writing files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from croc.errors import InputError


def show(renderables: list[Any]) -> None:
    """Print Rich renderables; lines are cut to the width of a terminal only.

    A string is printed with its markup: text that comes from data belongs into ``rich.markup.escape`` or
    ``rich.text.Text``.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe or a file has no width
        console = Console(width=400, soft_wrap=True)
    for renderable in renderables:
        console.print(renderable)


def write(path: Path | None, content: str | bytes) -> None:
    """Write a file and report it; without a path do nothing.

    Raises:
        InputError: the file cannot be written.
    """
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
