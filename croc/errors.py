"""The errors that a user sees: one sentence with what was wrong, where, and what would be right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


class CrocError(Exception):
    """Base class of the errors that this program raises on purpose; the command line exits with status 2."""


class InputError(CrocError):
    """A file, table, option or prompt of the user cannot be used."""


class MissingExtra(CrocError):
    """An optional dependency is not installed; the message names the extra of this package that installs it.

    Args:
        needed_for: what the user wanted to do, as the subject of a sentence: ``"running a model"``.
        extra: name of the extra, as in ``pip install "croc-t2i[score]"``; also an attribute.
    """

    def __init__(self, needed_for: str, extra: str) -> None:
        super().__init__(f'{needed_for} needs an optional dependency: pip install "croc-t2i[{extra}]"')
        self.extra = extra


def exit_status(main: Callable[P, None]) -> Callable[P, int]:
    """Decorate the main function of a module: it returns 0, or 2 after printing a :class:`CrocError`."""

    @wraps(main)
    def run(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            main(*arguments, **options)
        except CrocError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        return 0

    return run
