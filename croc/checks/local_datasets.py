"""Opening data with ``datasets`` whatever the folder is called, and without a cache that cannot be made."""

from __future__ import annotations

import atexit
import glob
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from croc.storage.hub_access import HubUnreachable, require_readable

_PATTERN = re.compile(r"[*?\[\]]")
_lock = threading.Lock()


def open_builder(name: str, folder: Path | None, config: str | None, revision: str | None) -> Any:
    """``datasets.load_dataset_builder`` of a folder or a Hub id.

    ``datasets`` reads ``[``, ``]``, ``*`` and ``?`` in the name of a folder as a pattern. Such a folder is
    opened through links in a temporary folder.

    Args:
        name: the folder or Hub id.
        folder: the folder; None for a Hub id.
        config: configuration.
        revision: of a Hub id.
    """
    import datasets

    if folder is None:
        return _of_hub(name, config, revision)
    where = _linked(folder.resolve()) if _PATTERN.search(str(folder.resolve())) else name
    return datasets.load_dataset_builder(str(where), config, cache_dir=local_cache())


def named_splits(builder: Any) -> list[str]:
    """The names of the splits of a dataset that :func:`open_builder` opened."""
    return [str(key) for key in builder.config.data_files or {}] or list(builder.info.splits or {})


def _of_hub(name: str, config: str | None, revision: str | None) -> Any:
    """The builder of a dataset of the Hub, or of one that was prepared earlier where the Hub does not answer.

    The Hub is asked once before, because ``datasets`` and its client would retry for half a minute.

    Raises:
        CrocError: the Hub has no such dataset, or does not answer and there is none in the cache.
    """
    import datasets

    if datasets.config.HF_HUB_OFFLINE:
        return datasets.load_dataset_builder(name, config, revision=revision)
    try:
        require_readable(name, revision, kind="dataset")
    except HubUnreachable as unreachable:
        with _offline():
            try:
                return datasets.load_dataset_builder(name, config, revision=revision)
            except (OSError, ValueError):
                raise unreachable from None
    return datasets.load_dataset_builder(name, config, revision=revision)


@contextmanager
def _offline() -> Iterator[None]:
    """Let ``datasets`` look into its cache at once, as ``HF_DATASETS_OFFLINE`` does."""
    import datasets

    with _lock:
        datasets.config.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            datasets.config.HF_HUB_OFFLINE = False


def original_file(file: str, folder: Path) -> Path:
    """A data file that :func:`open_builder` names, in the folder that was opened."""
    links = _linked(folder.resolve()) if _PATTERN.search(str(folder.resolve())) else None
    path = Path(file)
    return path if links is None else folder.resolve() / path.relative_to(links)


def as_patterns(files: Sequence[str | Path]) -> list[str]:
    """Names of files as patterns that match these files alone, for ``data_files`` of ``datasets``."""
    return [glob.escape(str(file)) for file in files]


@cache
def local_cache() -> str | None:
    """Where ``datasets`` keeps what it makes of local files: None is its own cache.

    If that cannot be written, as when ``HF_HOME`` is on a disk that is absent or read-only, it is a temporary
    folder, which is deleted at the end of the process.
    """
    import datasets

    own = Path(datasets.config.HF_DATASETS_CACHE)
    try:
        own.mkdir(parents=True, exist_ok=True)
        if os.access(own, os.W_OK):
            return None
    except OSError:
        pass
    return str(_temporary("croc-cache-"))


@cache
def _linked(folder: Path) -> Path:
    """A folder with the same files as links, under a name without special characters."""
    links = _temporary("croc-links-").resolve()
    for place, _, files in os.walk(folder):
        inside = links / Path(place).relative_to(folder)
        inside.mkdir(exist_ok=True)
        for file in files:
            (inside / file).symlink_to(Path(place) / file)
    return links


def _temporary(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
