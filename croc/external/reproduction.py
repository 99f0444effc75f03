"""Computing the published figures of a benchmark again, and comparing them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, require_folder
from croc.verdict.records import Count, Stored, Text

Status = Literal["equal", "unequal", "explained", "unpublished", "not computed"]
STATUSES: dict[Status, str] = {
    "equal": "equal at the printed precision",
    "unequal": "not equal",
    "explained": "not equal, for a known reason",
    "unpublished": "not published",
    "not computed": "not computed",
}
"""What became of a figure, as people read it."""


@dataclass(frozen=True)
class Reproduced(Stored):
    """A figure, computed again.

    Attributes:
        figure: its name.
        published: as printed; None if nobody published it.
        recomputed: in parity mode, to nine decimals; None if the data do not allow it.
        default: as this program computes it by default; None where it has no such number.
        equal_digits: number of decimals to which the two agree.
        decimals: number of decimals that were printed.
        status: one of ``STATUSES``.
        source: where it was published.
        reason: why it is not equal or not computed.
    """

    figure: Text
    published: Text | None
    recomputed: float | None
    default: float | None
    equal_digits: Count | None
    decimals: Count
    status: Status
    source: Text
    reason: Text


@dataclass(frozen=True)
class Reproduction(Stored):
    """The figures of one benchmark.

    Attributes:
        benchmark: its name.
        source: repository, commit and files that are read.
        parity: what the authors' code does that the defaults do not do.
        left_out: sentences about what was not read.
        figures: in the order of the benchmark's module.
    """

    description: ClassVar[str] = "a reproduction of published figures"

    benchmark: Text
    source: Text
    parity: Text
    left_out: tuple[Text, ...]
    figures: tuple[Reproduced, ...]

    def count(self, status: Status) -> int:
        """Number of figures with a status."""
        return sum(figure.status == status for figure in self.figures)


def reproduce(benchmark: Benchmark, folder: Path) -> Reproduction:
    """Compute the figures of a benchmark again.

    Args:
        benchmark: whose figures.
        folder: with its files, or a folder above it, see :meth:`Benchmark.find`.

    Raises:
        InputError: the folder does not hold the benchmark, a file of it cannot be used, or there is no figure
            that its files allow.
    """
    if benchmark.read is None or benchmark.compute is None:
        raise InputError(f"{benchmark.name}: no figure can be computed from its files; it can be scored")
    items = benchmark.read(require_folder(benchmark, folder))
    found = benchmark.compute(items, "parity")
    defaults = benchmark.compute(items, "default")
    rows = [
        _compare(figure, found.get(figure.name), defaults.get(figure.name)) for figure in benchmark.figures
    ]
    return Reproduction(
        benchmark.name, benchmark.source.describe(), benchmark.parity, items.left_out, tuple(rows)
    )


def equal_decimals(value: float, published: str) -> int | None:
    """To how many decimals a value, rounded, agrees with a printed number; None if not even without decimals.

    >>> equal_decimals(0.33216, ".3322"), equal_decimals(0.3757, ".3322"), equal_decimals(71.6, "72")
    (4, 0, 0)
    >>> equal_decimals(606.0, "607") is None
    True
    """
    printed = float(published)
    for decimals in range(len(published.partition(".")[2]), -1, -1):
        # Half of the last digit, and what rounding of the printed number and of floats may add.
        if abs(round(value, decimals) - round(printed, decimals)) < 0.5 * 10**-decimals:
            return decimals
    return None


def _compare(figure: Figure, value: float | None, default: float | None) -> Reproduced:
    value, default = _finite(value), _finite(default)
    digits = None
    reason = figure.reason
    if value is None:
        status: Status = "not computed"
        reason = reason or "the data do not have what it needs"
    elif figure.published is None:
        status = "unpublished"
    else:
        digits = equal_decimals(value, figure.published)
        status = "equal" if digits == figure.decimals else "explained" if reason else "unequal"
    return Reproduced(
        figure.name, figure.published, value, default, digits, figure.decimals, status, figure.source,
        "" if status == "equal" else reason,
    )  # fmt: skip


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 9)


def totals(found: Sequence[Reproduction]) -> dict[Status, int]:
    """Number of figures by status over several benchmarks."""
    return {status: sum(one.count(status) for one in found) for status in STATUSES}
