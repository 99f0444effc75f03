"""Progress reports: a bar on a terminal, otherwise a line on standard error every half minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

LINE_EVERY_S = 30.0

Show = Callable[[int, int | None, str], None]
"""``show(done, total, note)``; ``total`` is None if it is unknown."""


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Show]:
    """Yield a function that shows the progress, with speed and time left.

    What an earlier run made counts as done, but not for the speed. Nothing is shown if warnings of this
    program's logger are disabled, as ``croc --quiet`` does.

    Args:
        what: name of the work, in one or two words.
        unit: plural of what is counted, such as ``pairs``.
    """
    if not logger.isEnabledFor(logging.WARNING):
        yield lambda done, total, note: None
        return
    if not sys.stderr.isatty():
        yield _lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[note]}", markup=False),
    )
    speed = _Speed()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, note="")

        def move(done: int, total: int | None, note: str) -> None:
            speed.update(done)
            notes = (f"{speed.value:.3g}/s" if speed.value else "", speed.left(done, total), note)
            bar.update(task, total=total, completed=done, note=", ".join(filter(None, notes)))

        yield move


class _Speed:
    """Units per second since the first report, which says what was done before."""

    def __init__(self) -> None:
        self.value = 0.0
        self.first: tuple[int, float] | None = None

    def update(self, done: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done, now
        before, start = self.first
        self.value = (done - before) / (now - start) if now > start else 0.0

    def left(self, done: int, total: int | None) -> str:
        """The time left in words; empty if it is unknown."""
        if total is None or self.value <= 0:
            return ""
        return f"about {format_duration((total - done) / self.value)} left"


def _lines(what: str, unit: str) -> Show:
    last = time.monotonic()
    speed = _Speed()

    def line(done: int, total: int | None, note: str) -> None:
        nonlocal last
        speed.update(done)
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        of = "" if total is None else f" of {total}"
        notes = (f"{what}: {done}{of} {unit}", f"{speed.value:.3g}/s", speed.left(done, total), note)
        # Flushed at once: the log of a cluster job is read while it runs, and the job may be killed.
        sys.stderr.write(", ".join(filter(None, notes)) + "\n")
        sys.stderr.flush()

    return line


def format_duration(seconds: float) -> str:
    """A duration in a readable unit: seconds, minutes, hours or days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
