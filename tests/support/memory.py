"""The memory that this process takes, from the kernel.

``resource.getrusage`` is of no use here: a child process starts with the peak of the process that started it,
and the peak of a long test run never falls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_bytes() -> int:
    """The largest resident memory since this program was loaded or the peak was reset."""
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found, "the kernel does not say VmHWM"
    return int(found[1]) * 1024


@contextmanager
def at_most(growth: int) -> Iterator[None]:
    """Fail if the block takes more than ``growth`` bytes of memory above what is in use at its start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak of the memory cannot be reset here: {error}")
    before = peak_bytes()
    yield
    taken = peak_bytes() - before
    assert taken <= growth, f"took {taken:,} bytes"
