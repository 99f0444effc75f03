"""``--verbose`` and ``--quiet``, options of every command, before and after its name.

The level of the logger ``croc`` of the standard library holds the choice, so that parts of the program that
know no command line follow it: WARNING is the default, INFO verbose, ERROR quiet.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial

import click

_LOGGER = logging.getLogger("croc")
_SILENT = {
    "DATASETS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""What libraries read when they are imported, here and in worker processes."""


def is_quiet() -> bool:
    """Whether only errors and the result are printed."""
    return not _LOGGER.isEnabledFor(logging.WARNING)


def is_verbose() -> bool:
    """Whether signatures and messages about the work are printed, too."""
    return _LOGGER.isEnabledFor(logging.INFO)


def add_options(
    command: click.Command, packages: Callable[[], Iterable[str]], *, hidden: bool = True
) -> None:
    """Add ``--verbose`` and ``--quiet`` to a command, unless it has them or other options of these names.

    Args:
        command: a command or a group; it is changed.
        packages: gives the names of the packages that have commands; other libraries log every request.
        hidden: leave the options out of its help.
    """
    taken = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for names, level, text in (
        (
            ("-v", "--verbose"),
            logging.INFO,
            "Print more: signatures of numbers and messages about the work. May follow COMMAND.",
        ),
        (("-q", "--quiet"), logging.ERROR, "Print only errors and the result. May follow COMMAND."),
    ):
        if names[1] not in taken:
            free = [name for name in names if name not in taken]
            option = click.Option(
                free,
                is_flag=True,
                expose_value=False,
                hidden=hidden,
                help=text,
                callback=_setter(level, packages),
            )
            command.params.append(option)


def _setter(
    level: int, packages: Callable[[], Iterable[str]]
) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_level(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            _set(context.find_root(), level, packages())

    return set_level


def _set(root: click.Context, level: int, packages: Iterable[str]) -> None:
    """Set the level until the command line ends; an option that is read later wins."""
    owners: list[logging.Logger | logging.Handler] = [logging.getLogger(name) for name in sorted(packages)]
    owners += [] if logging.lastResort is None else [logging.lastResort]
    for owner in owners:
        root.call_on_close(partial(owner.setLevel, owner.level))
        owner.setLevel(level)
    if level == logging.ERROR:
        for name, value in _SILENT.items():
            root.call_on_close(partial(_restore, name, os.environ.get(name)))
            os.environ[name] = value
        root.with_resource(warnings.catch_warnings())
        warnings.simplefilter("ignore")


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
