"""The embedded sample of CROCsyn in the cache of ``datasets``, where ``load_dataset("croc/syn")`` finds it.

``datasets`` falls back to what it has prepared earlier under a name when the Hub does not answer, or has no
such dataset. A folder of its cache is ``croc___syn/CONFIGURATION/0.0.0/HASH``. Without a configuration it
takes the newest folder, and only if no other configuration has the same hash: so each has a hash of its own,
and the default one is the newest. What it has prepared of a real dataset of that name stays newer.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from croc.checks.local_datasets import open_builder
from croc.checks.manifest import read_dataset_manifest
from croc.checks.names import SAMPLE_HASH, SYN, SYN_SAMPLE

_VERSION = "0.0.0"


def install_sample() -> list[str]:
    """Prepare every configuration of the sample; what is there already stays.

    Returns:
        The names of the configurations, the default one last.

    Raises:
        OSError: the cache cannot be written.
    """
    import datasets

    digest = read_dataset_manifest(SYN_SAMPLE)["sha256"][:16]
    default = datasets.get_dataset_default_config_name(str(SYN_SAMPLE))
    names = sorted(datasets.get_dataset_config_names(str(SYN_SAMPLE)), key=lambda name: name == default)
    wanted = {name: _root() / name / _VERSION / f"{SAMPLE_HASH}-{digest}-{name}" for name in names}
    for place in _installed():
        if digest not in place.name:  # of an earlier version of this package
            _remove(place)
    with _without_bars():
        for name, place in wanted.items():
            # Does nothing if the folder is complete.
            open_builder(str(SYN_SAMPLE), SYN_SAMPLE, name, None).download_and_prepare(str(place))
    others = [place for place in _root().glob("*/*/*") if place.is_dir() and place not in wanted.values()]
    real = [place.stat().st_mtime for place in others]
    newest = min([time.time(), *(moment - 1 for moment in real)])
    for name, place in wanted.items():
        moment = newest - (name != default)
        os.utime(place, (moment, moment))
    return names


def remove_sample() -> None:
    """Remove what :func:`install_sample` made, if it is there."""
    for place in _installed():
        _remove(place)


def _root() -> Path:
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / SYN.replace("/", "___")


def _installed() -> list[Path]:
    """Folders, and what locks them."""
    return sorted(_root().glob(f"*/{_VERSION}/{SAMPLE_HASH}-*"))


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    for folder in list(place.parents)[:3]:
        if any(folder.iterdir()):
            return
        folder.rmdir()


@contextmanager
def _without_bars() -> Iterator[None]:
    """Dozens of configurations would show a bar each."""
    import datasets

    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()
