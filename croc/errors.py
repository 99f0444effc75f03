"""The errors that reach a person: one sentence that says what was wrong, where, and what would be right."""

from __future__ import annotations


class CrocError(Exception):
    """Base of every error that this program raises on purpose; the command line exits with 2."""


class InputError(CrocError):
    """A file, table, option or prompt that was given cannot be used as it is."""


class MissingExtra(CrocError):
    """An optional part is not installed; the message names the extra that brings it."""

    def __init__(self, needed_for: str, extra: str) -> None:
        super().__init__(f'{needed_for} needs an optional part: pip install "croc-t2i[{extra}]"')
        self.extra = extra
