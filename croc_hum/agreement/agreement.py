"""Agreement of annotators: alpha, kappa, hours, discard rates, and each annotator compared with the others.

Intervals resample concepts, never single votes, because votes on images of one concept are correlated.
``unsure`` is an answer of its own. Attention checks and adjudicators are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from croc.errors import InputError
from croc.ratings.coefficients import CORRELATIONS, correlation, weighted_correlation
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.records import first_problem, optional
from croc.verdict.statistics import Array
from croc_hum.agreement.coefficients import (
    Counts,
    Level,
    alpha_of,
    cohen_kappa,
    coincidences,
    krippendorff_alpha,
)
from croc_hum.agreement.label_noise import LabelNoise
from croc_hum.agreement.rankings import Rankings
from croc_hum.schema import ANSWERS
from croc_hum.votes.votes import (
    NO,
    YES,
    ExcludedAnnotator,
    Rule,
    add_vote_verdicts,
    count_attention_checks,
    dawid_skene,
    decide,
    exclude_inattentive,
    select_annotator_votes,
)

SCALES: Mapping[str, tuple[Level, ...]] = {
    "shows": ("nominal",),
    "preference": ("nominal",),
    "rating": ("nominal", "ordinal", "interval"),
}
"""Levels of measurement for which alpha is computed, by task."""

MAX_VOTE_S = 300.0
"""Maximum number of seconds that one vote counts, as an item may stay open during a break."""

MIN_SHARED_ITEMS = 10
"""Minimum number of items that two annotators must share for a correlation."""


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
class Annotator:
    """One annotator on one task.

    Attributes:
        hours: working time; one vote counts at most ``MAX_VOTE_S``. None without durations.
        median_s: median seconds per vote.
        answers: share of each answer.
        others: share of votes that are equal to the majority of the others. In a tie of k answers each of
            them counts 1/k.
        others_items: number of votes in that share.
        by_category: the share and the number of votes by category.
        attention: numbers of attention checks passed and seen, over all tasks.
        errors: estimated probability of "no" for an image that shows its prompt, and of "yes" for one that
            does not (Dawid–Skene); None where there is no estimate.
    """

    task: str
    annotator: str
    votes: int
    hours: float | None
    median_s: float | None
    answers: dict[str, float]
    others: float | None
    others_items: int
    by_category: dict[str, tuple[float, int]]
    attention: tuple[int, int]
    errors: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Group:
    """Working time and results of one task in one category (None for all).

    Attributes:
        items: number of images with a vote.
        votes: number of votes on them, without those of adjudicators.
        hours: see ``Annotator``.
        seconds: mean seconds per vote.
        kept, discarded, undecided: numbers of images by the verdict of the rule.
        discard: share of the decided images that are discarded.
    """

    task: str
    category: str | None
    items: int
    votes: int
    hours: float | None
    seconds: float | None
    kept: int
    discarded: int
    undecided: int
    discard: Estimate


@dataclass(frozen=True)
class Ceiling:
    """Agreement of one annotator with all the others: the human ceiling for a metric.

    Attributes:
        measure: ``accuracy`` against the majority of the others (in a tie of k answers each counts 1/k), or a
            correlation with the mean of the others' ratings.
        annotators: number of annotators in the mean, which is weighted by their votes.
        votes: number of votes.
    """

    task: str
    category: str | None
    measure: str
    annotators: int
    votes: int
    ceiling: Estimate


@dataclass(frozen=True)
class AgreementReport:
    """The agreement of the annotators of a campaign; :mod:`croc_hum.agreement.views` renders it.

    ``left_out`` are excluded annotators, whose votes do not count. ``noise`` needs the candidates,
    ``rankings`` their score tables.
    """

    rule: Rule
    settings: Settings
    alphas: tuple[Alpha, ...]
    pairs: tuple[Pair, ...]
    annotators: tuple[Annotator, ...]
    groups: tuple[Group, ...]
    ceilings: tuple[Ceiling, ...]
    signature: Signature
    left_out: tuple[ExcludedAnnotator, ...] = ()
    noise: LabelNoise | None = None
    rankings: Rankings | None = None

    @classmethod
    def of(
        cls, votes: pl.DataFrame, rule: Rule | None = None, settings: Settings | None = None
    ) -> AgreementReport:
        """Measure agreement.

        Args:
            votes: as :func:`croc_hum.votes.votes.read_votes` returns them.
            rule: when votes decide about an image.
            settings: see ``Settings``.

        Raises:
            InputError: there is no vote on which agreement can be measured.
            MissingExtra: a library of the extra ``hum`` is not installed.
        """
        rule, settings = rule or Rule(), settings or Settings()
        votes, left_out = exclude_inattentive(votes, rule)
        annotator_votes = select_annotator_votes(votes)
        if annotator_votes.is_empty():
            more = ", nor do the votes of excluded annotators" if left_out else ""
            raise InputError(
                "there is no vote on which agreement can be measured (votes on attention checks do not "
                f"count{more})"
            )
        attention = count_attention_checks(votes)
        decided = decide(votes, rule)
        alphas: list[Alpha] = []
        pairs: list[Pair] = []
        annotators: list[Annotator] = []
        groups: list[Group] = []
        ceilings: list[Ceiling] = []
        for task in (name for name in ANSWERS if (annotator_votes["task"] == name).any()):
            task_votes = annotator_votes.filter(pl.col("task") == task)
            for category in _list_categories(task_votes):
                part = task_votes if category is None else task_votes.filter(pl.col("category") == category)
                matrix = VoteMatrix.of(part, task)
                alphas += [matrix.alpha(level, category, settings) for level in SCALES[task]]
                groups.append(_count_group(part, decided, task, category, settings))
                ceilings += matrix.ceilings(category, settings)
            matrix = VoteMatrix.of(task_votes, task)
            pairs += matrix.pairs()
            annotators += _describe_annotators(matrix, task_votes, attention)
        from croc import __version__

        attention_share = f",attention{rule.min_attention:.3g}" if rule.min_attention else ""
        signature = Signature.of(
            croc=__version__,
            task="agreement",
            votes=len(annotator_votes),
            items=annotator_votes["item_id"].n_unique(),
            concepts=annotator_votes["concept_id"].n_unique(),
            annotators=annotator_votes["annotator"].n_unique(),
            rule=f"{rule.method},{rule.min_votes},{rule.min_share:.3g}{attention_share}",
            ci=f"bootstrap{settings.resamples}@{settings.level:g}" if settings.resamples else "none",
            unit=settings.unit,
            seed=settings.seed,
        )
        return cls(
            rule,
            settings,
            tuple(alphas),
            tuple(pairs),
            tuple(annotators),
            tuple(groups),
            tuple(ceilings),
            signature,
            left_out,
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; what is unknown is null."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        values["noise"] = None if self.noise is None else self.noise.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: object) -> AgreementReport:
        """Read what :meth:`to_dict` returned.

        Raises:
            InputError: a key is absent, or a value has the wrong type; the first one is named.
        """
        try:
            return _adapter().validate_json(json.dumps(values))
        except (ValueError, TypeError) as problem:
            raise InputError(f"not a report of agreement: {first_problem(problem)}") from None

    def to_json(self) -> str:
        """:meth:`to_dict` as text; NaN never occurs in it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


@cache
def _adapter() -> TypeAdapter[AgreementReport]:
    return TypeAdapter(AgreementReport)


def _list_categories(votes: pl.DataFrame) -> list[str | None]:
    return [None, *votes["category"].drop_nulls().unique().sort().to_list()]


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

    def ceilings(self, category: str | None, settings: Settings) -> list[Ceiling]:
        """The agreement of one annotator with the others."""
        agreement = self.agreement_with_majority()
        known = ~np.isnan(agreement)
        concept = self.concept[self.item]
        clusters = int(self.concept.max()) + 1
        ceilings = []
        if known.any():
            sums = np.stack(
                [np.bincount(concept[known], weights, clusters) for weights in (agreement[known], None)],
                axis=1,
            ).astype(float)
            samples = None
            if settings.resamples:
                total = statistics.bootstrap_sums(sums, settings.resamples, settings.seed)
                with np.errstate(invalid="ignore", divide="ignore"):
                    samples = total[:, 0] / total[:, 1]
            value = Estimate.of(float(agreement[known].mean()), samples, settings.level)
            annotators = len(np.unique(self.annotator[known]))
            ceilings.append(Ceiling(self.task, category, "accuracy", annotators, int(known.sum()), value))
        if self.task == "rating":
            ceilings += self._rating_ceilings(category, settings)
        return ceilings

    def _rating_ceilings(self, category: str | None, settings: Settings) -> list[Ceiling]:
        compared, weights = [], []
        for a in range(len(self.names)):
            items, ratings, others = self.compare_with_others(a)
            if len(items) >= MIN_SHARED_ITEMS:
                compared.append((items, ratings, others))
                weights.append(len(items))
        ceilings = []
        clusters = int(self.concept.max()) + 1
        counts = None
        if settings.resamples and compared:
            rng = np.random.default_rng(settings.seed)
            counts = statistics.resample_counts(clusters, settings.resamples, rng)
        for kind in CORRELATIONS if compared else ():
            point = [correlation(ratings, others, kind) for _, ratings, others in compared]
            samples = None
            if counts is not None:
                correlations = [
                    weighted_correlation(ratings, others, counts[:, self.concept[items]], kind)
                    for items, ratings, others in compared
                ]
                samples = _mean(np.stack(correlations, axis=1), np.array(weights, float))
            value = _mean(np.array([point]), np.array(weights, float))[0]
            estimate = Estimate.of(float(value), samples, settings.level)
            ceilings.append(Ceiling(self.task, category, kind, len(compared), sum(weights), estimate))
        return ceilings

    def compare_with_others(self, annotator: int) -> tuple[Counts, Array, Array]:
        """One annotator's ratings, and the mean of the others' ratings of the same items.

        Returns:
            Numbers of the items that others rated, too; the ratings 1…5; the means.
        """
        votes = np.flatnonzero(self.annotator == annotator)
        scale = np.arange(1, self.counts.shape[1] + 1)
        others = self.counts[self.item[votes]].sum(axis=1) - 1
        use = votes[others > 0]
        own = self.answer[use] + 1.0
        total = self.counts[self.item[use]] @ scale
        return self.item[use], own, (total - own) / (self.counts[self.item[use]].sum(axis=1) - 1)


def _describe_annotators(
    matrix: VoteMatrix, votes: pl.DataFrame, attention: Mapping[str, tuple[int, int]]
) -> list[Annotator]:
    agreement = matrix.agreement_with_majority()
    category = np.array([name or "" for name in matrix.category])
    durations = votes["duration_s"].to_numpy()
    errors = dawid_skene(add_vote_verdicts(votes)).errors
    annotators = []
    for number, name in enumerate(matrix.names):
        own = matrix.annotator == number
        known = own & ~np.isnan(agreement)
        seconds = durations[own]
        seconds = seconds[~np.isnan(seconds.astype(float))].astype(float)
        shares = np.bincount(matrix.answer[own], minlength=len(ANSWERS[matrix.task])) / own.sum()
        by_category = {
            str(value): (
                float(agreement[known & (category == value)].mean()),
                int((known & (category == value)).sum()),
            )
            for value in np.unique(category[known])
            if value
        }
        annotators.append(
            Annotator(
                matrix.task,
                name,
                int(own.sum()),
                _sum_hours(seconds),
                float(np.median(seconds)) if len(seconds) else None,
                dict(zip(ANSWERS[matrix.task], map(float, shares), strict=True)),
                float(agreement[known].mean()) if known.any() else None,
                int(known.sum()),
                by_category,
                attention.get(name, (0, 0)),
                errors.get(name, (None, None)),
            )
        )
    return annotators


def _count_group(
    votes: pl.DataFrame, decided: pl.DataFrame, task: str, category: str | None, settings: Settings
) -> Group:
    images = decided.filter((pl.col("task") == task) & (pl.col("votes") > 0))
    if category is not None:
        images = images.filter(pl.col("category") == category)
    seconds = votes["duration_s"].drop_nulls().to_numpy()
    kept, discarded = (int((images["verdict"] == verdict).sum()) for verdict in (YES, NO))
    discard = Estimate(None)
    if kept + discarded:
        low, high = statistics.wilson_interval(
            discarded / (kept + discarded), kept + discarded, settings.level
        )
        discard = Estimate(discarded / (kept + discarded), float(low), float(high))
    return Group(
        task,
        category,
        len(images),
        len(votes),
        _sum_hours(seconds),
        float(np.minimum(seconds, MAX_VOTE_S).mean()) if len(seconds) else None,
        kept,
        discarded,
        len(images) - kept - discarded,
        discard,
    )


def _sum_hours(seconds: Array) -> float | None:
    return float(np.minimum(seconds, MAX_VOTE_S).sum() / 3600) if len(seconds) else None


def _number(values: pl.Series) -> Counts:
    codes: Counts = values.rank("dense").to_numpy().astype(np.int64) - 1
    return codes


def _mean(values: Array, weights: Array) -> Array:
    """Weighted mean over the last axis without NaN; NaN where all values are."""
    known = ~np.isnan(values)
    total = (known * weights).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (np.nan_to_num(values) * weights).sum(axis=-1) / total, np.nan)
