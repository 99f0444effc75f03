"""What a user reads when a command fails: one sentence, and the exit code that goes with it."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass

from croc.cli.command_group import DISTRIBUTION
from croc.errors import CrocError

EXPECTED, UNEXPECTED, INTERRUPTED = 2, 1, 130
"""Exit codes: what was asked for cannot be done; a fault of the program; stopped by the user."""

_HINTS = {
    errno.ENOSPC: "free some space and run the command again",
    errno.EDQUOT: "free some space and run the command again",
    errno.EFBIG: "raise the limit on the size of files, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may use",
    errno.EPERM: "choose a place that you may use",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
_NETWORK = ("httpx", "httpcore", "requests", "urllib3", "aiohttp")


@dataclass(frozen=True)
class Failure:
    """What is shown of an error.

    Attributes:
        sentence: what was wrong, where, and what would be right; without a full stop.
        code: the exit code.
    """

    sentence: str
    code: int = EXPECTED


def describe(error: BaseException, distribution: str = DISTRIBUTION) -> Failure:
    """The sentence and the exit code of an error that ended a command.

    Args:
        error: what was raised.
        distribution: the installed distribution that has the command.
    """
    if isinstance(error, CrocError):
        return Failure(str(error))
    if isinstance(error, KeyboardInterrupt):
        return Failure(f"interrupted: {_what_is_kept(error)}", INTERRUPTED)
    if isinstance(error, SystemExit):
        return Failure(f"code that the command ran ended the program (sys.exit({error.code!r:.80}))")
    if isinstance(error, MemoryError):
        return Failure("there is not enough memory; use smaller batches, fewer workers or a larger machine")
    if (system := _system_error(error)) is not None:
        return Failure(_describe_system_error(system))
    if type(error).__module__.partition(".")[0] in _NETWORK:
        return Failure(f"the network cannot be reached: {_first_line(error)}")
    return Failure(
        f"unexpected {type(error).__name__}: {_first_line(error)}; this is a fault of the program: please "
        f"report it as a bug in the repository of {distribution}, with the output of the same command after "
        "'croc --debug'",
        UNEXPECTED,
    )


def _what_is_kept(error: KeyboardInterrupt) -> str:
    """What an interrupt leaves, and how to resume; work that knows it says it, as text or as notes."""
    if text := str(error):
        return text
    if notes := getattr(error, "__notes__", ()):
        return f"{'; '.join(notes)}; run the same command again to resume"
    return "finished files are kept; run the same command again"


def _system_error(error: BaseException) -> OSError | None:
    """The error of the operating system that an error is or comes from."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        if isinstance(current, OSError):
            return current
        seen.append(current)
        current = current.__cause__
    return None


def _describe_system_error(error: OSError) -> str:
    code = error.errno
    reason = os.strerror(code) if code else _first_line(error)
    place = error.filename2 or error.filename
    named = f"{os.fsdecode(place)}: {reason}" if isinstance(place, (str, bytes)) else reason
    hint = _HINTS.get(code or 0)
    return f"{named}; {hint}" if hint else named


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


def close_output() -> None:
    """Let nothing more be written to an output that its reader has closed, also not at the program's end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # the output is no file of the operating system
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
