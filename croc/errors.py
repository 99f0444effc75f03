"""The errors that a user sees: one sentence with what was wrong, where, and what would be right."""

from __future__ import annotations


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
