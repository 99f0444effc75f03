"""Checks as a ``datasets.Dataset``: ``croc.load_checks``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from croc.checks.local_datasets import named_splits
from croc.checks.names import SHORT, open_benchmark
from croc.checks.sources import one_split
from croc.errors import InputError
from croc.storage.hub_access import can_be_repository

if TYPE_CHECKING:
    import datasets


def load_checks(
    name: str = "syn", config: str | None = None, *, split: str | None = None, revision: str | None = None
) -> datasets.Dataset:
    """Load checks with decoded images, as ``datasets.load_dataset`` does.

    ``load_checks("syn")`` is ``load_dataset("croc/syn")``: a folder ``croc/syn`` here, else the dataset of
    that name on the Hub, else, with a warning, the sample in this package.

    Args:
        name: ``syn``, ``hum``, a folder or a Hub id.
        config: configuration, such as ``mini`` or ``counting``; None is the default one.
        split: which split; optional where there is only one, or one called ``test``.
        revision: tag or commit of a Hub id.

    Raises:
        InputError: there is no such dataset, configuration or split.

    Example:
        >>> checks = load_checks("syn", "negation")
        >>> checks[0]["category"]
        'negation'
    """
    full = SHORT.get(name, name)
    path = Path(full)
    if not path.is_dir() and not can_be_repository(full):
        raise InputError(f"{full}: neither an existing folder nor a Hub id (ORGANISATION/NAME)")
    try:
        builder, _ = open_benchmark(full, path if path.is_dir() else None, config, revision)
        chosen = one_split(full, named_splits(builder), split)
        builder.download_and_prepare()
    except (OSError, ValueError) as problem:
        reason = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
        raise InputError(f"{full}: the dataset cannot be loaded: {reason}") from problem
    checks: datasets.Dataset = builder.as_dataset(split=chosen)
    return checks
