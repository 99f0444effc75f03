"""Printing tables and messages, and writing files. Control characters of data do not reach the terminal."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from croc.cli.verbosity import is_quiet, is_verbose
from croc.errors import InputError
from croc.wording import PLAIN_CHARACTERS, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment


def prepare_streams() -> None:
    """Let the standard streams, log messages and warnings take any text.

    A character that the encoding of a stream does not have is written in plainer ones.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN_CHARACTERS)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())
    if warnings.formatwarning is not _format_warning:
        warnings.formatwarning = _format_warning


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


_python_format_warning = warnings.formatwarning


def _format_warning(*args: Any, **options: Any) -> str:
    return printable(_python_format_warning(*args, **options))


@dataclass
class _Printable:
    """A renderable whose text has no characters that a terminal would obey."""

    renderable: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self.renderable, options):
            # Control segments are Rich's own.
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


STANDARD_OUTPUT = Path("-")
"""As the name of a file to write: its content goes to standard output, all else to standard error."""
_TAKEN = "croc.standard_output_taken"


def _stream() -> TextIO:
    """Where results are printed: standard output, unless the content of a file went there."""
    context = click.get_current_context(silent=True)
    return sys.stderr if context is not None and context.meta.get(_TAKEN) else sys.stdout


def show(renderables: Sequence[RenderableType], signatures: Sequence[object] = ()) -> None:
    """Print Rich renderables. Lines are cut to a width on a terminal only.

    With ``--verbose`` the signatures of their numbers follow.

    Text is printed as it is: ``[score]`` is no markup here, and ``:smile:`` no emoji. Styles come from
    ``rich.text.Text`` and from the arguments of tables.
    """
    from rich.console import Console

    console = Console(file=_stream(), markup=False, emoji=False)
    if not console.is_terminal:  # a pipe or a file has no width
        console = Console(file=_stream(), width=400, soft_wrap=True, markup=False, emoji=False)
    # Rich would end the program; the command line does it for every kind of output.
    console.on_broken_pipe = _raise_again  # type: ignore[method-assign]
    for renderable in renderables:
        console.print(_Printable(renderable))
    for signature in signatures if is_verbose() else ():
        console.print(_Printable(str(signature)), style="dim")


def _raise_again() -> None:
    raise


def echo(text: object, *, err: bool = False, bold: bool = False) -> None:
    """Print a line to standard output, or to standard error."""
    click.secho(printable(str(text)), sys.stderr if err else _stream(), bold=bold or None)


def log(line: str, *, bold: bool = False) -> None:
    """Print a line about the progress of a command to standard error, unless ``--quiet`` is given."""
    if not is_quiet():
        echo(line, err=True, bold=bold)


def write(path: Path | None, content: str | bytes) -> None:
    """Write a file and report it; without a path do nothing, with ``-`` write to standard output.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return
    if path == STANDARD_OUTPUT:
        sys.stdout.flush()
        data = content.rstrip("\n").encode() + b"\n" if isinstance(content, str) else content
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if (context := click.get_current_context(silent=True)) is not None:
            context.meta[_TAKEN] = True
        return
    from croc.storage.files import atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror})") from None
    log(f"wrote {path}")
