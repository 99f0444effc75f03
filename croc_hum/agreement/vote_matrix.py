"""The votes of one task as arrays; alpha, and pairs of annotators.

Intervals resample concepts, never single votes, because votes on images of one concept are correlated.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from croc.ratings.agreement import Counts, Level, alpha_of, coincidences
from croc.ratings.coefficients import correlation
from croc.verdict import statistics
from croc.verdict.records import optional
from croc.verdict.statistics import Array
from croc_hum.agreement.coefficients import cohen_kappa, krippendorff_alpha
from croc_hum.schema import ANSWERS

UNSURE = "unsure"

SCALES: Mapping[str, tuple[Level, ...]] = {
    "shows": ("nominal",),
    "preference": ("nominal",),
    "rating": ("nominal", "ordinal", "interval"),
}
"""Levels of measurement for which alpha is computed, by task."""


@dataclass(frozen=True)
class Settings:
    """How a report is computed.

    Attributes:
        unit: what is resampled for alpha: ``concept``, because votes on images of one concept are correlated,
            or ``item``.
        resamples: number of bootstrap resamples; 0 computes no intervals.
        seed: of the bootstrap.
        level: confidence level of the intervals.
    """

    unit: str = "concept"
    resamples: int = 1_000
    seed: int = 20250511
    level: float = 0.95

    def __post_init__(self) -> None:
        statistics.check_numbers(self.resamples, 0)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None where it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, samples: Array | None = None, level: float = 0.95) -> Estimate:
        """A value with the percentile interval of its resamples."""
        if not np.isfinite(value):
            return cls(None)
        if samples is None or not np.isfinite(samples).any():
            return cls(float(value))
        low, high = statistics.percentile_interval(samples, level)
        return cls(float(value), float(low), float(high))


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha of one task in one category (None for all).

    Attributes:
        items: number of items with at least two votes; alpha is computed on these.
        votes: number of votes on them.
    """

    task: str
    category: str | None
    level: str
    items: int
    votes: int
    alpha: Estimate


@dataclass(frozen=True)
class Pair:
    """Two annotators on the items that both labelled.

    Attributes:
        agreement: share of equal answers.
        kappa: Cohen's kappa; None where it is undefined, as when both gave one answer throughout.
        weighted: kappa with quadratic weights, for ratings.
        tau: Kendall's tau-b, for ratings.
    """

    task: str
    first: str
    second: str
    items: int
    agreement: float
    kappa: float | None
    weighted: float | None = None
    tau: float | None = None


@dataclass(frozen=True)
class VoteMatrix:
    """The votes of one task as arrays: annotator ``annotator[v]`` gave ``answer[v]`` on item ``item[v]``.

    Attributes:
        task: one of ``TASKS``.
        names: annotators.
        item, annotator, answer: (votes,) numbers.
        category: (votes,) category or None.
        concept: (items,) number of the item's concept.
        counts: (items, answers) number of votes for each answer.
    """

    task: str
    names: tuple[str, ...]
    item: Counts
    annotator: Counts
    answer: Counts
    category: tuple[str | None, ...]
    concept: Counts
    counts: Counts

    @classmethod
    def of(cls, votes: pl.DataFrame, task: str) -> VoteMatrix:
        """Convert a table with the votes of one task."""
        names = tuple(votes["annotator"].unique().sort())
        item = _number(votes["item_id"])
        answers = ANSWERS[task]
        answer = np.array([answers.index(value) for value in votes["answer"]], dtype=np.int64)
        counts = np.zeros((int(item.max()) + 1, len(answers)), dtype=np.int64)
        np.add.at(counts, (item, answer), 1)
        concept = np.zeros(len(counts), dtype=np.int64)
        concept[item] = _number(votes["concept_id"])
        return cls(
            task,
            names,
            item,
            np.array([names.index(name) for name in votes["annotator"]], dtype=np.int64),
            answer,
            tuple(votes["category"]),
            concept,
            counts,
        )

    def alpha(self, level: Level, category: str | None, settings: Settings) -> Alpha:
        """Krippendorff's alpha with its interval, from resampled sums of coincidences."""
        counts = self.counts
        several = counts.sum(axis=1) > 1
        samples = None
        if settings.resamples:
            values = counts.shape[1]
            unit = self.concept if settings.unit == "concept" else np.arange(len(counts))
            terms = coincidences(counts).reshape(len(counts), -1)
            sums = statistics.cluster_sums(terms[several], unit[several], int(unit.max()) + 1)
            # A cluster without an item that has two votes adds nothing to alpha.
            sums = sums[sums.sum(axis=1) > 0]
            if len(sums):
                samples = statistics.bootstrap_sums(sums, settings.resamples, settings.seed)
                samples = alpha_of(samples.reshape(-1, values, values), level)
        value = Estimate.of(krippendorff_alpha(counts, level), samples, settings.level)
        return Alpha(self.task, category, level, int(several.sum()), int(counts[several].sum()), value)

    def pairs(self) -> list[Pair]:
        """Every pair of annotators that shares items."""
        matrix = self.matrix()
        pairs = []
        for a, b in itertools.combinations(range(len(self.names)), 2):
            both = ~np.isnan(matrix[a]) & ~np.isnan(matrix[b])
            if not both.any():
                continue
            x, y = matrix[a, both], matrix[b, both]
            rating = self.task == "rating"
            tau = correlation(x, y, "kendall") if rating and both.sum() > 1 else np.nan
            pairs.append(
                Pair(
                    self.task,
                    self.names[a],
                    self.names[b],
                    int(both.sum()),
                    float((x == y).mean()),
                    optional(cohen_kappa(x, y)),
                    optional(cohen_kappa(x, y, weights="quadratic")) if rating else None,
                    optional(tau),
                )
            )
        return pairs

    def matrix(self) -> Array:
        """(annotators, items) number of the answer, NaN where there is none."""
        matrix = np.full((len(self.names), len(self.counts)), np.nan)
        matrix[self.annotator, self.item] = self.answer
        return matrix

    def agreement_with_majority(self) -> Array:
        """(votes,) 1 if a vote is the majority of the others, 1/k in a tie, else 0; NaN without others."""
        others = self.counts[self.item].astype(float)
        others[np.arange(len(others)), self.answer] -= 1
        top = others.max(axis=1, keepdims=True)
        tied = others == top
        share = tied[np.arange(len(others)), self.answer] / tied.sum(axis=1)
        return np.where(others.sum(axis=1) > 0, share, np.nan)

    def without_unsure(self) -> VoteMatrix:
        """The votes that answer the question; the items stay."""
        if UNSURE not in ANSWERS[self.task]:
            return self
        unsure = ANSWERS[self.task].index(UNSURE)
        keep = self.answer != unsure
        counts = self.counts.copy()
        counts[:, unsure] = 0
        return replace(
            self,
            item=self.item[keep],
            annotator=self.annotator[keep],
            answer=self.answer[keep],
            category=tuple(name for name, kept in zip(self.category, keep, strict=True) if kept),
            counts=counts,
        )


def _number(values: pl.Series) -> Counts:
    codes: Counts = values.rank("dense").to_numpy().astype(np.int64) - 1
    return codes
