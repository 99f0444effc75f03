"""Parts, the units of work: their definition, how one is made, and the interface of executors.

The runner (:mod:`croc.jobs.runner`) and the executors (:mod:`croc.jobs.executors`) both build on this.
"""

from __future__ import annotations

import errno
import json
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croc.errors import CrocError, MissingExtra
from croc.storage.files import canonical, checksums_of, fsync

_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Part:
    """One unit of work.

    Attributes:
        name: stem of its file: letters, digits, ``.``, ``_`` and ``-``; unique within the plan.
        payload: JSON-serialisable description of what to make; a changed payload changes the plan.
    """

    name: str
    payload: Any = None


MakePart = Callable[[Any, Path], Mapping[str, Any]]
"""``make(payload, path)`` writes one file at ``path`` and returns counts, such as ``{"rows": 1000}``; equal
payloads give equal bytes. For several workers it must be picklable: a module's function or a ``partial``."""

Outcomes = Generator[tuple["Part", dict[str, Any]]]
Executor = Callable[[MakePart, Sequence[Part], Path], Outcomes]
"""``executor(make, todo, tmp)`` makes every part and yields it with the outcome of :func:`make_part`, in any
order; the file of the part is ``outcome["path"]`` in the folder ``tmp``."""


class Abort(CrocError):
    """Raised by a function that makes parts to stop the run, because every other part would fail, too."""


class WorkerDied(CrocError):
    """A worker process was killed, for example because memory ran out."""


def make_part(make: MakePart, payload: Any, path: Path) -> dict[str, Any]:
    """Make one file at a temporary path and sync it to disk; an exception is returned as a reason.

    Returns:
        ``path``, ``bytes``, checksums, ``counts`` and ``seconds``; or ``reason`` and ``traceback``; or
        ``fatal`` when no other part could be made either.
    """
    return finish_part(write_part(make, payload, path))


def write_part(make: MakePart, payload: Any, path: Path) -> dict[str, Any]:
    """The first half of :func:`make_part`: write the file, without checksums and sync."""
    start = time.monotonic()
    try:
        counts = make(payload, path)
        if not path.is_file():
            raise FileNotFoundError("the function that makes parts wrote no file")
        counts = json.loads(canonical(dict(counts or {})))
        return {"path": str(path), "counts": counts, "seconds": time.monotonic() - start}
    except (Exception, SystemExit) as error:
        return _failure(path, error)


def finish_part(draft: Mapping[str, Any]) -> dict[str, Any]:
    """The second half of :func:`make_part`, which may run during the first half of the next part."""
    if "path" not in draft:
        return dict(draft)
    start, path = time.monotonic(), Path(draft["path"])
    try:
        checksums = checksums_of(path)
        fsync(path)
        seconds = round(draft["seconds"] + time.monotonic() - start, 6)
        return {**draft, "bytes": path.stat().st_size, **checksums, "seconds": seconds}
    except Exception as error:
        return _failure(path, error)


def _failure(path: Path, error: BaseException) -> dict[str, Any]:
    path.unlink(missing_ok=True)
    text = str(error).strip() or "no message"
    reason = text if isinstance(error, CrocError) else f"{type(error).__name__}: {text}"
    if isinstance(error, (MissingExtra, Abort)) or (isinstance(error, OSError) and error.errno in _FATAL):
        return {"fatal": reason}
    return {"reason": reason[:2000], "traceback": traceback.format_exc()[-8000:]}
