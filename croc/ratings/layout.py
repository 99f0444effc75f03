"""Which items of a pair table are compared, and which are resampled and exchanged together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.ratings.groups import Average, Rows
from croc.ratings.permutation import Test
from croc.ratings.records import Grouping
from croc.tables.delimited import require_cells
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.statistics import Correction
from croc.wording import counted

Missing = Literal["drop", "zero", "worst"]

MIN_UNITS = 5
"""Units (prompts) below which no interval is given."""

SOURCE = "the pair table"
"""How messages call the table."""

_GROUP_COLUMNS = {"item": "prompt", "system": "system"}


@dataclass(frozen=True)
class Settings:
    """How correlations are computed.

    Attributes:
        group: ``item`` compares only images of one prompt, ``system`` only images of one system, ``none`` all
            images; coefficients of groups are averaged. None: ``item`` where prompts have several images.
        average: of the groups: ``mean``, or ``fisher`` for Pearson's and Spearman's coefficients.
        cluster: column whose values are resampled together; None: the prompt where there is one.
        missing: what a missing score counts: ``drop`` leaves the item out, ``zero`` is a score of 0,
            ``worst`` the lowest score of the metric.
        by: columns to break the results down by.
        test: ``perm-inputs`` exchanges the scores of whole clusters, ``perm-both`` of single items.
        resamples: of the bootstrap; 0 gives no intervals.
        permutations: of the tests; 0 makes none, and no soft pairwise accuracy.
        seed: of both.
        level: of the intervals.
        correction: how p values are adjusted, see :func:`croc.verdict.statistics.adjust`.
    """

    group: Grouping | None = None
    average: Average = "mean"
    cluster: str | None = None
    missing: Missing = "drop"
    by: tuple[str, ...] = ()
    test: Test = "perm-inputs"
    resamples: int = 2_000
    permutations: int = 1_000
    seed: int = 0
    level: float = 0.95
    correction: Correction = "holm"

    def __post_init__(self) -> None:
        statistics.check_numbers(self.resamples, self.permutations)


@dataclass(frozen=True)
class Layout:
    """Which items are compared, and which are resampled and exchanged together.

    Attributes:
        settings: as asked for.
        group: the grouping that is used.
        code: (n,) number of the group of each item.
        names: the groups.
        unit: (n,) number of the cluster of each item.
        system: (n,) number of its system; None without systems.
        prompt: (n,) number of its prompt; None without prompts.
        notes: sentences about what cannot be computed.
    """

    settings: Settings
    group: Grouping
    code: Rows
    names: Sequence[str]
    unit: Rows
    cluster: str
    system: Rows | None
    prompt: Rows | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, table: pl.DataFrame, settings: Settings) -> Layout:
        """Group the rows of a table.

        Raises:
            InputError: a column that is needed is not there or has empty cells, or every group has one row.
        """
        present = {name: name in table.columns and _filled(table[name]) for name in _GROUP_COLUMNS.values()}
        notes = []
        group = settings.group
        if group is None:
            group = "item" if present["prompt"] and table["prompt"].is_duplicated().any() else "none"
            if present["prompt"] and group == "none":
                notes.append("Images of all prompts are compared, as no prompt has two images.")
        cluster = settings.cluster or ("prompt" if present["prompt"] else "item_id")
        used = {cluster, *([_GROUP_COLUMNS[group]] if group in _GROUP_COLUMNS else [])}
        for name in used:
            if not present.get(name, True):
                raise InputError(f"{SOURCE} has no column {name!r}; a grouping by {group} needs it")
            require_cells(table, (name,), SOURCE)
        if group == "none":
            code, names = np.zeros(len(table), np.int64), [""]
        else:
            code, names = number_values(table[_GROUP_COLUMNS[group]])
            if len(names) == len(table):
                raise InputError(
                    f"{SOURCE}: each {_GROUP_COLUMNS[group]} has one row, so that nothing can be compared "
                    f"within a group; use the grouping 'none'"
                )
        unit, units = number_values(table[cluster])
        if len(units) < MIN_UNITS and settings.resamples:
            notes.append(
                f"There are no intervals: {cluster!r} has {counted(len(units), 'value')}, "
                f"and at least {MIN_UNITS} are needed."
            )
        complete = {
            name: number_values(table[name])[0] if present[name] and not _has_gaps(table[name]) else None
            for name in present
        }
        return cls(
            settings, group, code, names, unit, cluster, complete["system"], complete["prompt"], tuple(notes)
        )

    def signature(self, items: int) -> Signature:
        """The settings under which the numbers hold."""
        from croc import __version__

        settings = self.settings
        clusters = int(self.unit.max()) + 1
        has_intervals = settings.resamples and clusters >= MIN_UNITS
        return Signature.of(
            croc=__version__,
            task="correlate",
            items=items,
            group=self.group,
            group_mean=None if self.group == "none" else settings.average,
            missing=settings.missing,
            cluster="item" if self.cluster == "item_id" else self.cluster,
            clusters=clusters,
            ci=f"expanded-bootstrap{settings.resamples}@{settings.level:g}" if has_intervals else None,
            test=f"{settings.test}{settings.permutations}" if settings.permutations else None,
            correction=None if settings.correction == "holm" else settings.correction,
            seed=settings.seed,
        )


def interval_level(level: float, units: int) -> float:
    """The level for the percentiles of a bootstrap, wider with few units.

    The expanded percentile interval of Hesterberg (2015, "What Teachers Should Know About the Bootstrap"):
    the normal quantile z becomes t sqrt(n/(n-1)) with n-1 degrees of freedom.
    """
    from scipy.stats import norm, t

    wide = t.ppf((1 + level) / 2, units - 1) * np.sqrt(units / (units - 1))
    return float(1 - 2 * norm.sf(wide))


def number_values(values: pl.Series) -> tuple[Rows, list[str]]:
    """The number of each value, and the values as text in the order of their numbers."""
    code = values.rank("dense").to_numpy().astype(np.int64) - 1
    _, first = np.unique(code, return_index=True)
    return code, [str(values[int(row)]) for row in first]


def _has_gaps(values: pl.Series) -> bool:
    return bool(values.null_count()) or (values.dtype == pl.String and bool((values == "").any()))


def _filled(values: pl.Series) -> bool:
    """Whether some cell is not empty."""
    return bool((values.cast(pl.String).fill_null("") != "").any())
