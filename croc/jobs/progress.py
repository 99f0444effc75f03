"""Progress reports: a bar on a terminal, otherwise a line on standard error every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY_S = 30.0

Show = Callable[[int, int | None, str], None]
"""``show(done, total, note)``; ``total`` is None if it is unknown."""


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Show]:
    """Yield a function that shows the progress, with speed and time left.

    Args:
        what: name of the work, in one or two words.
        unit: plural of what is counted, such as ``pairs``.
    """
    if not sys.stderr.isatty():
        yield _lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, note="")
        start, first = time.monotonic(), -1

        def move(done: int, total: int | None, note: str) -> None:
            nonlocal first
            first = done if first < 0 else first
            spent = time.monotonic() - start
            speed = f"{(done - first) / spent:.3g}/s" if done > first else ""
            bar.update(task, total=total, completed=done, note=", ".join(x for x in (speed, note) if x))

        yield move


def _lines(what: str, unit: str) -> Show:
    start = last = time.monotonic()
    first = -1

    def line(done: int, total: int | None, note: str) -> None:
        nonlocal last, first
        first = done if first < 0 else first
        now = time.monotonic()
        if now - last < LINE_EVERY_S:
            return
        last = now
        speed = (done - first) / (now - start)
        left = (
            f", about {format_duration((total - done) / speed)} left"
            if total is not None and speed > 0
            else ""
        )
        of = "" if total is None else f" of {total}"
        # Flushed at once: the log of a cluster job is read while it runs, and the job may be killed.
        sys.stderr.write(f"{what}: {done}{of} {unit}, {speed:.3g}/s{left}{note and f', {note}'}\n")
        sys.stderr.flush()

    return line


def format_duration(seconds: float) -> str:
    """A duration in a readable unit: seconds, minutes, hours or days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
