"""Where the files of a benchmark are: in a folder here, or on the Hub at a commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from croc.errors import InputError
from croc.external.benchmark import Benchmark, require_folder
from croc.storage.hub_access import download_snapshot


@dataclass(frozen=True)
class Located:
    """The files of a benchmark.

    Attributes:
        folder: with the files.
        name: Hub id, or name of the benchmark for a local copy.
        commit: on the Hub; None for a local copy.
    """

    folder: Path
    name: str
    commit: str | None = None


def locate(
    benchmark: Benchmark,
    data: Path | None,
    revision: str | None,
    *,
    images: bool,
    log: Callable[[str], None],
) -> Located:
    """Find a benchmark in a folder or in the current one, or download it from the Hub.

    Args:
        benchmark: which one.
        data: folder with its files, or a folder above it; None looks in the current folder, then on the Hub.
        revision: tag or commit on the Hub; None takes the one that the reader was written for, or the newest.
        images: download what only scoring needs, too.
        log: called with the place, unless it was given.

    Raises:
        InputError: the files are in none of these places.
        CrocError: they cannot be downloaded; the message says why.
    """
    if data is not None:
        if revision is not None:
            raise InputError("--revision names a commit on the Hub; leave it out for files in a folder")
        if not data.is_dir():
            raise InputError(f"{data}: no such folder")
        return Located(require_folder(benchmark, data), benchmark.name)
    here = benchmark.find(Path())
    if here is not None and revision is None:
        log(f"{benchmark.name}: files of {here.absolute()}")
        return Located(here, benchmark.name)
    source = benchmark.source
    if not source.hub or not source.hub_files:
        if revision is not None:
            raise InputError(f"{benchmark.name}: not read from the Hub; leave --revision out")
        return Located(require_folder(benchmark, Path()), benchmark.name)
    return _download(benchmark, revision or source.hub_revision, images, log)


def _download(
    benchmark: Benchmark, revision: str | None, images: bool, log: Callable[[str], None]
) -> Located:
    source = benchmark.source
    assert source.hub is not None
    patterns = [*source.hub_files, *(source.hub_images if images else ())]
    folder = download_snapshot(source.hub, revision, patterns)
    commit = folder.name
    log(f"{benchmark.name}: {source.hub} @ {commit}")
    if revision is None:
        log(f"warning: no revision is pinned; '--revision {commit}' repeats this run")
    return Located(folder, source.hub, commit)
