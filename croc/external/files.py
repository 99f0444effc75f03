"""Files of a benchmark: found in the folders in which they were published, or side by side."""

from __future__ import annotations

from pathlib import Path

from croc.errors import InputError


def first_existing(folder: Path, *names: str) -> Path:
    """The first of several places of a file that exists.

    Args:
        folder: of the benchmark.
        names: places relative to it.

    Raises:
        InputError: none of them exists.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: no file {' or '.join(names)}")
