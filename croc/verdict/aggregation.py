"""Verdicts of all metrics side by side, and the sums that accuracy, intervals and tests are made of.

The way from checks to a number is always the same: verdicts → sums per concept and text model → totals →
accuracy and chance, averaged over the text models → scaled accuracy. Resampling changes the totals only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from croc.checks.schema import SIDES
from croc.tables.score_tables import ScoreTable, merge_descriptions
from croc.verdict import statistics
from croc.verdict.comparisons import pairwise_verdicts
from croc.verdict.directions import (
    Layout,
    MetricVerdicts,
    metric_verdicts,
    scaled_accuracy,
    symmetric_chance,
)
from croc.verdict.statistics import Array, Seed

_ARRAYS = ("known", "value", "chance", "tie", "present", "expected")


@dataclass(frozen=True)
class CheckVerdicts:
    """Verdicts of M metrics on the same N checks: what every number of a report is aggregated from.

    Attributes:
        metrics: M names.
        checks: N rows; ``concept`` and ``text`` number their concept and text model.
        text_models: names behind ``text``; None where a table gives none.
        known: (M, 4, N), whether there is a verdict.
        value: (M, 4, N), 0 where there is no verdict; likewise chance and tie.
        chance: (M, 4, N).
        tie: (M, 4, N).
        present: (M, 4, N).
        expected: (M, 4, N), the same for all metrics: an image without a row lacks its scores.
        symmetric: (4,), directions whose chance is the swap null, see
            :func:`croc.verdict.directions.scaled_accuracy`.
        images: the lowest and the highest number of images per side that a verdict is of; (0, 0) if unknown.
        split: columns that vary inside a check; each of its values is a check of its own.
        cell: (N,), number of the cell of each check when the mean is one over cells; None pools the checks.
    """

    metrics: tuple[str, ...]
    checks: pl.DataFrame
    concept: Any
    text: Any
    text_models: tuple[str | None, ...]
    known: NDArray[np.bool_]
    value: Array
    chance: Array
    tie: Array
    present: Array
    expected: Array
    symmetric: NDArray[np.bool_]
    images: tuple[int, int] = (0, 0)
    split: tuple[str, ...] = ()
    cell: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        tables: Sequence[ScoreTable],
        groups: Sequence[str],
        *,
        paper: bool = False,
        images: int | None = None,
    ) -> CheckVerdicts:
        """Compute the verdicts of every metric of the tables and align their checks.

        Args:
            tables: score tables of one protocol.
            groups: columns to keep.
            paper: the published computation.
            images: see :func:`croc.verdict.directions.metric_verdicts`.
        """
        columns = list(dict.fromkeys((*groups, "text_model")))
        keys = [_keys(table, columns) for table in tables]
        alike = all(other.equals(keys[0]) for other in keys[1:])
        if not alike:
            tables = merge_descriptions(tables, columns)
            keys = [_keys(table, columns) for table in tables]
        verdicts: dict[str, MetricVerdicts] = {}
        rows: list[pl.DataFrame] = []
        split: dict[str, None] = {}
        layout: Layout | None = None
        counts: list[int] = []
        for table, table_rows in zip(tables, keys, strict=True):
            # Scorers that ran on the same checks share the rows, and then the layout.
            if layout is None or not (alike or table_rows.equals(rows[-1])):
                layout = Layout.of(table_rows, columns, table.source)
                split |= dict.fromkeys(layout.split)
                rows.append(table_rows)
                present = layout.count[layout.count > 0]
                counts += [int(present.min()), int(present.max())] if len(present) else []
            for metric, scores in table.metrics.items():
                verdicts[metric] = (
                    pairwise_verdicts(table, layout, paper=paper)
                    if table.pairwise
                    else metric_verdicts(
                        table.frame, table.protocol, layout=layout, scores=scores, paper=paper, images=images
                    )
                )
        most = max(counts, default=0) if images is None else images
        return replace(
            cls._aligned(verdicts, rows, symmetric_chance(tables[0].protocol, paper=paper)),
            images=(min(min(counts, default=0), most), min(max(counts, default=0), most)),
            split=tuple(split),
        )

    @classmethod
    def _aligned(
        cls,
        verdicts: Mapping[str, MetricVerdicts],
        rows: Sequence[pl.DataFrame],
        symmetric: NDArray[np.bool_],
    ) -> CheckVerdicts:
        """Verdicts on the union of the checks, ``rows`` being the different sets of rows of the tables."""
        frames = [of_metric.checks for of_metric in verdicts.values()]
        count = None
        if len(rows) == 1:
            checks = frames[0]
            places = [np.arange(len(checks))] * len(frames)
        else:
            checks = pl.concat(frames, how="diagonal_relaxed").unique(maintain_order=True)
            numbered = checks.with_row_index("place")
            names = checks.columns

            def place_of(frame: pl.DataFrame) -> Any:
                full = frame.with_columns(
                    frame[name].cast(kind) if name in frame.columns else pl.lit(None, kind).alias(name)
                    for name, kind in checks.schema.items()
                )
                joined = full.join(numbered, on=names, how="left", nulls_equal=True, maintain_order="left")
                return joined["place"].to_numpy().astype(np.int64)

            places = [place_of(frame) for frame in frames]
            count = _images(rows, names, place_of, len(checks))
        shape = (len(verdicts), 4, len(checks))
        value, chance, tie = (np.full(shape, np.nan) for _ in range(3))
        present, expected = np.zeros(shape), np.zeros(shape)
        for m, (metric, at) in enumerate(zip(verdicts.values(), places, strict=True)):
            value[m][:, at], chance[m][:, at], tie[m][:, at] = metric.value, metric.chance, metric.tie
            present[m][:, at], expected[m][:, at] = metric.present, metric.expected
        expected[:] = expected.max(axis=0) if count is None else _expected(count, expected)
        present[:, expected[0] == 0] = 0
        known = ~np.isnan(value)
        if not known.all():
            value, chance, tie = (np.where(known, array, 0.0) for array in (value, chance, tie))
        concept = checks["concept_id"].rank("dense").to_numpy().astype(np.int64) - 1
        if "text_model" not in checks.columns:
            checks = checks.with_columns(pl.lit(None, pl.String).alias("text_model"))
        authors = checks["text_model"].drop_nulls().unique().sort()
        text_models: tuple[str | None, ...] = tuple(authors)
        if checks["text_model"].null_count() or not len(authors):
            text_models = (*text_models, None)
        text = checks["text_model"].replace_strict(
            authors, np.arange(len(authors)), default=len(authors), return_dtype=pl.Int64
        )
        return cls(
            tuple(verdicts),
            checks,
            concept,
            text.to_numpy(),
            text_models,
            known,
            value,
            chance,
            tie,
            present,
            expected,
            symmetric,
        )

    def select(self, members: Any) -> CheckVerdicts:
        """Only some of the checks (index array)."""
        return replace(
            self,
            checks=self.checks[members],
            concept=self.concept[members],
            text=self.text[members],
            cell=None,
            **{name: getattr(self, name)[:, :, members] for name in _ARRAYS},
        )

    def averaged_over(self, column: str) -> CheckVerdicts:
        """The mean of a metric as one over the values of a column (macro average), not over checks."""
        values = self.checks[column].cast(pl.String).fill_null("")
        return replace(self, cell=values.rank("dense").to_numpy().astype(np.int64) - 1)

    def sorted_by_score(self) -> CheckVerdicts:
        """Reorder the metrics: the best first, equal ones by name, those without a verdict last."""
        return self.ordered([self.metrics[m] for m in statistics.best_first(self.metrics, self.observed())])

    def ordered(self, metrics: Sequence[str]) -> CheckVerdicts:
        """Reorder the metrics."""
        order = [self.metrics.index(name) for name in metrics]
        return replace(self, metrics=tuple(metrics), **{name: getattr(self, name)[order] for name in _ARRAYS})

    def group_score(self, directions: Sequence[int] = (0, 1, 2, 3)) -> Array:
        """(M,): share of checks passed in all of these directions, over the checks with a verdict in each."""
        known, value = (array[:, list(directions)] for array in (self.known, self.value))
        used = np.any(known, axis=2, keepdims=True)  # a benchmark may have no text directions at all
        complete = (known | ~used).all(axis=1) & np.any(used, axis=1)
        passed = ((value == 1) | ~used).all(axis=1)
        return nanmean(np.where(complete, passed, np.nan), -1)

    @cached_property
    def totals(self) -> Array:
        """(T, M, 4, 6): sums of value, chance, verdicts, tie, present and expected per text model."""
        every = (self.value, self.chance, self.known, self.tie, self.present, self.expected)
        return self._sums(self.text, len(self.text_models), every)

    def cluster_sums(self) -> Array:
        """(clusters, C, T, M, 4, 3): sums of value, chance and verdicts per concept, cell and text model."""
        t, cell = len(self.text_models), np.zeros_like(self.concept) if self.cell is None else self.cell
        _, local = np.unique(self.concept, return_inverse=True)
        clusters, cells = (int(code.max()) + 1 if len(code) else 0 for code in (local, cell))
        code = (cell * t + self.text) * clusters + local
        sums = self._sums(code, clusters * cells * t, (self.value, self.chance, self.known))
        return np.moveaxis(sums.reshape(cells, t, clusters, *sums.shape[1:]), 2, 0)

    def _sums(self, code: Any, size: int, arrays: Sequence[Any]) -> Array:
        """Sums over the checks of each code: (size, M, 4, len(arrays))."""
        # In memory the numbers of all codes lie together, for sums and intervals over them.
        out = np.empty((len(arrays), len(self.metrics), 4, size))
        everywhere = np.bincount(code, minlength=size).astype(float)
        for q, array in enumerate(arrays):
            for m, d in np.ndindex(out.shape[1:3]):
                row = array[m, d]
                counts = row.dtype == bool
                out[q, m, d] = everywhere if counts and row.all() else np.bincount(code, row, size)
        return np.moveaxis(out, (0, 3), (3, 0))

    def scaled(self) -> Array:
        """(M, 4): scaled accuracy per direction, averaged over the text models before scaling."""
        scaled: Array = scaled_accuracy(*average(self.totals[..., :3]), self.symmetric)
        return scaled

    def observed(self) -> Array:
        """(M,): mean scaled accuracy of each metric on these checks."""
        if self.cell is None:
            return mean_scaled(self.totals[None, ..., :3], self.symmetric)
        return mean_scaled(self.cluster_sums().sum(axis=0), self.symmetric)

    def bootstrap(self, resamples: int, seed: Seed) -> Array:
        """(resamples, C, T, M, 4, 3): the totals when the concepts are drawn again with replacement."""
        sums = self.cluster_sums()
        flat = statistics.bootstrap_sums(sums.reshape(len(sums), -1), resamples, seed)
        return flat.reshape(resamples, *sums.shape[1:])

    def below_chance_test(self, flips: int, seed: Seed) -> Array:
        """One-sided sign-flip test for accuracy below chance.

        Exchanging the two prompts (or the two sides) of a concept turns its excess over chance into its
        negative, so that under the null hypothesis all signs are equally likely.

        Returns:
            (M, 4) p values.
        """
        sums = self.cluster_sums().sum(axis=1)
        n = sums[..., 2].sum(axis=0)
        per_text = (sums[..., 0] - sums[..., 1]) / np.where(n == 0, np.nan, n)
        excess = nanmean(per_text, 1).reshape(len(sums), -1)
        null = statistics.sign_flip_sums(np.nan_to_num(excess), flips, seed)
        return statistics.permutation_p(excess.sum(axis=0), null, "below").reshape(sums.shape[2:4])

    def exchange_test(self, flips: int, seed: Seed) -> Array:
        """Paired test of the difference in mean scaled accuracy: the two are exchanged concept by concept.

        For plain means this is the sign-flip test of the paired differences; here the exchanged sums go
        through the same aggregation as the observed ones.

        Returns:
            (M, M) two-sided p values; NaN on the diagonal.
        """
        sums = self.cluster_sums()
        total = sums.sum(axis=0)
        flipped = statistics.sign_flip_sums(sums.reshape(len(sums), -1), flips, seed)
        flipped = flipped.reshape(flips, *sums.shape[1:])
        count = len(self.metrics)
        p = np.full((count, count), np.nan)
        observed = mean_scaled(total, self.symmetric)
        for a in range(count):
            for b in range(a + 1, count):
                middle = (total[:, :, a] + total[:, :, b]) / 2
                swing = (flipped[:, :, :, a] - flipped[:, :, :, b]) / 2
                pair = mean_scaled(np.stack([middle + swing, middle - swing], axis=3), self.symmetric)
                null = (pair[:, 0] - pair[:, 1])[:, None]
                p[a, b] = p[b, a] = statistics.permutation_p(observed[[a]] - observed[[b]], null)[0]
        return p


def _keys(table: ScoreTable, columns: Sequence[str]) -> pl.DataFrame:
    return table.frame.select(
        pl.col("check_id", "concept_id", "image_side", "image_index"),
        *(name for name in columns if name in table.frame.columns),
    )


def _images(rows: Sequence[pl.DataFrame], names: Sequence[str], place_of: Any, n: int) -> Any:
    """(n, 2): number of images of each check and side for which some table has a row."""
    every = (
        pl.concat(rows, how="diagonal_relaxed")
        .with_columns(pl.coalesce("concept_id", "check_id").alias("concept_id"))
        .unique([*names, "image_side", "image_index"])
    )
    sides = [every.filter(pl.col("image_side") == side).select(names) for side in SIDES]
    return np.stack([np.bincount(place_of(side), minlength=n) for side in sides], axis=1)


def _expected(count: Any, of_metrics: Array) -> Array:
    """(4, n) scores that each direction reads of these images.

    Args:
        count: (n, 2) number of images of each check and side.
        of_metrics: (M, 4, n) scores that each direction reads in the table of each metric: where no table has
            a contrast prompt, only ``forward_image`` reads scores.
    """
    original, contrast = count.T
    both = np.where((original > 0) & (contrast > 0), original + contrast, 0)
    needed = np.stack([2 * original, 2 * contrast, both, both]).astype(float)
    has_contrast_prompt = (of_metrics[:, :2] > 0).any(axis=(0, 1))
    needed[[0, 1, 3]] *= has_contrast_prompt
    return needed


def average(totals: Array) -> tuple[Array, Array]:
    """Accuracy and chance (…, M, 4), averaged over the text models, from (…, T, M, 4, 3) sums."""
    n = np.where(totals[..., 2] == 0, np.nan, totals[..., 2])
    return nanmean(totals[..., 0] / n, -3), nanmean(totals[..., 1] / n, -3)


def nanmean(values: Array, axis: int) -> Array:
    """Mean of the values that are not NaN along an axis; NaN, without a warning, where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total: Array = np.where(known, values, 0).sum(axis=axis)
    return total / np.where(count == 0, np.nan, count)


def mean_scaled(totals: Array, symmetric: NDArray[np.bool_]) -> Array:
    """Mean scaled accuracy over cells and directions, (…, M).

    Args:
        totals: (…, C, T, M, 4, 3) sums.
        symmetric: (4,), see :func:`croc.verdict.directions.scaled_accuracy`.
    """
    return nanmean(scaled_per_direction(totals, symmetric), -1)


def scaled_per_direction(totals: Array, symmetric: NDArray[np.bool_]) -> Array:
    """Scaled accuracy per direction, averaged over the cells: (…, M, 4) from (…, C, T, M, 4, 3)."""
    scaled: Array = scaled_accuracy(*average(totals), symmetric)
    return nanmean(scaled, -3)
