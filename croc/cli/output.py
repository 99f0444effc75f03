"""Printing tables and messages, and writing files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from croc.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(renderables: Sequence[RenderableType]) -> None:
    """Print Rich renderables. Lines are cut to a width on a terminal only.

    Text is printed as it is: ``[score]`` is no markup here, and ``:smile:`` no emoji. Styles come from
    ``rich.text.Text`` and from the arguments of tables.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False)
    if not console.is_terminal:  # a pipe or a file has no width
        console = Console(width=400, soft_wrap=True, markup=False, emoji=False)
    for renderable in renderables:
        console.print(renderable)


def log(line: str) -> None:
    """Print a line about the progress of a command to standard error."""
    click.echo(line, err=True)


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
    log(f"wrote {path}")
