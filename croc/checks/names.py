"""The names of the two benchmarks, and what stands in for them where the Hub has no such dataset.

``croc/syn`` is CROCsyn: in a checkout it is the folder of that path, with an embedded sample. ``croc/hum`` is
CROChum, of which nothing is embedded, because its labels come from people.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from croc.checks.local_datasets import open_builder
from croc.errors import CrocError, InputError

SYN, HUM = "croc/syn", "croc/hum"
SHORT = {"syn": SYN, "hum": HUM}
"""Names for :func:`croc.load_checks`."""

SYN_SAMPLE = Path(__file__).parents[1] / "syn"
"""The embedded sample of CROCsyn: a finished folder, which ``datasets.load_dataset`` reads."""

SAMPLE_HASH = "embedded"
"""How the hashes of the sample begin where ``croc install`` puts it into the cache of ``datasets``."""

NO_HUM = (
    "CROChum has human labels, so nothing of it comes with the package; build it from the authors' release "
    "('croc build hum --from-release nllg/croc_hum --out runs/hum'), collect votes ('croc hum'), or take the "
    "human labels of NLVR ('croc build nlvr nlvr/dev --out runs/nlvr'), and give that folder"
)


def name_of(folder: Path) -> str:
    """The name of a folder of checks: its own, with the organisation if it is one of the two benchmarks."""
    full = "/".join(folder.resolve().parts[-2:])
    return full if full in SHORT.values() else folder.resolve().name


def open_benchmark(
    name: str, folder: Path | None, config: str | None, revision: str | None
) -> tuple[Any, Path | None]:
    """The builder of a folder or Hub id; of ``croc/syn`` the embedded sample where the Hub has none.

    Args:
        name: the folder or Hub id.
        folder: the folder; None for a Hub id.
        config: configuration.
        revision: of a Hub id. The sample stands in for no revision.

    Returns:
        The builder, and the folder that it reads; None for a Hub id.

    Raises:
        CrocError: the Hub has no such dataset, or does not answer.
    """
    try:
        builder = open_builder(name, folder, config, revision)
    except (CrocError, OSError) as problem:
        if folder is None and name == HUM:
            raise InputError(f"{_reason(problem)}. {NO_HUM}") from None
        if folder is not None or name != SYN or revision is not None:
            raise
        warnings.warn(f"{_reason(problem)}; the embedded sample of CROCsyn is used", stacklevel=2)
    else:
        if folder is not None or not str(builder.hash).startswith(SAMPLE_HASH):
            return builder, folder
    return open_builder(str(SYN_SAMPLE), SYN_SAMPLE, config, None), SYN_SAMPLE


def _reason(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0].removesuffix(".")
