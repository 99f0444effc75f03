"""How far do annotators agree? Alpha, kappa, hours, discard rates, and what one reaches against the rest.

Intervals resample concepts, never single votes: images of one concept are judged alike. ``unsure`` is an
answer of its own. Attention checks and adjudicators take no part.
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
from croc.verdict.records import first_problem
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
    LeftOut,
    Rule,
    attention_of,
    attentive,
    dawid_skene,
    decide,
    of_people,
    saying,
)

SCALES: Mapping[str, tuple[Level, ...]] = {
    "shows": ("nominal",),
    "preference": ("nominal",),
    "rating": ("nominal", "ordinal", "interval"),
}
"""Levels of measurement at which alpha is given, by task."""

LONGEST_S = 300.0
"""Seconds that one vote counts at most: who left an item open did not think all the time."""

FEWEST_ITEMS = 10
"""Items that two columns of ratings must share for a correlation to be given."""


@dataclass(frozen=True)
class Settings:
    """How a report is computed.

    Attributes:
        resamples: of the bootstrap; 0 gives no intervals.
        seed: of the bootstrap.
        level: of the intervals.
        unit: what is drawn for alpha: ``concept``, as images of one concept are judged alike, or ``item``.
    """

    unit: str = "concept"
    resamples: int = 1_000
    seed: int = 20250511
    level: float = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; all are None where it is not defined."""

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
    """Krippendorff's alpha of one task on one group (category; None is all).

    Attributes:
        items: items with at least two votes, which are all that alpha looks at.
        votes: votes on them.
    """

    task: str
    category: str | None
    level: str
    items: int
    votes: int
    alpha: Estimate


@dataclass(frozen=True)
class Pair:
    """Two annotators on the items that both judged.

    Attributes:
        agreement: share of equal answers.
        kappa: Cohen's; None where one of them, or both, gave one answer throughout.
        weighted: with quadratic weights, for ratings.
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
        hours: time at the items; one vote counts ``LONGEST_S`` at most. None without durations.
        median_s: median seconds a vote.
        answers: share of each answer.
        others: share of votes that are those of the majority of the others; ties count their part.
        others_items: votes that this was taken over.
        by_category: the same by category, with the number of votes.
        attention: attention checks answered right, of how many, whatever the task.
        errors: estimated probability of "no" where an image shows its prompt, and of "yes" where it does
            not (Dawid–Skene); None where nothing can be said.
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
    """What the labelling of one task cost and gave, in one category (None is all).

    Attributes:
        items: images with a vote.
        votes: votes on them, those of adjudicators left out.
        hours: see ``Annotator``.
        seconds: mean seconds a vote.
        kept, discarded, undecided: images by the verdict of the rule.
        discard: share discarded of those decided.
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
    """What a person reaches against all the others: how high a metric can be asked to come.

    Attributes:
        measure: ``accuracy`` against the majority of the others (ties count their part), or a correlation
            with the mean of the others' ratings.
        annotators: how many it is averaged over, weighted by their votes.
        votes: how many votes.
    """

    task: str
    category: str | None
    measure: str
    annotators: int
    votes: int
    ceiling: Estimate


@dataclass(frozen=True)
class AgreementReport:
    """All of it; terminal, JSON and HTML only render it (:mod:`croc_hum.agreement.views`).

    ``left_out`` are annotators whose votes count nowhere in it. ``noise`` and ``rankings`` are measured where
    the candidates or their score tables are given, too.
    """

    rule: Rule
    settings: Settings
    alphas: tuple[Alpha, ...]
    pairs: tuple[Pair, ...]
    annotators: tuple[Annotator, ...]
    groups: tuple[Group, ...]
    ceilings: tuple[Ceiling, ...]
    signature: Signature
    left_out: tuple[LeftOut, ...] = ()
    noise: LabelNoise | None = None
    rankings: Rankings | None = None

    @classmethod
    def of(
        cls, votes: pl.DataFrame, rule: Rule | None = None, settings: Settings | None = None
    ) -> AgreementReport:
        """Measure agreement.

        Args:
            votes: as :func:`croc_hum.votes.votes.read_votes` gives them.
            rule: when votes decide about an image.
            settings: see ``Settings``.

        Raises:
            InputError: there is no vote of an annotator.
            MissingExtra: a library of the extra ``hum`` is not installed.
        """
        rule, settings = rule or Rule(), settings or Settings()
        votes, left_out = attentive(votes, rule)
        people = of_people(votes)
        if people.is_empty():
            more = ", nor do those who missed them" if left_out else ""
            raise InputError(
                f"there is no vote to measure agreement on (attention checks do not count{more})"
            )
        attention = attention_of(votes)
        decided = decide(votes, rule)
        alphas: list[Alpha] = []
        pairs: list[Pair] = []
        annotators: list[Annotator] = []
        groups: list[Group] = []
        ceilings: list[Ceiling] = []
        for task in (name for name in ANSWERS if (people["task"] == name).any()):
            mine = people.filter(pl.col("task") == task)
            for category in _categories(mine):
                part = mine if category is None else mine.filter(pl.col("category") == category)
                matrix = Votes.of(part, task)
                alphas += [matrix.alpha(level, category, settings) for level in SCALES[task]]
                groups.append(_group(part, decided, task, category, settings))
                ceilings += matrix.ceilings(category, settings)
            whole = Votes.of(mine, task)
            pairs += whole.pairs()
            annotators += _annotators(whole, mine, attention)
        from croc import __version__

        attention_share = f",attention{rule.min_attention:.3g}" if rule.min_attention else ""
        signature = Signature.of(
            croc=__version__,
            task="agreement",
            votes=len(people),
            items=people["item_id"].n_unique(),
            concepts=people["concept_id"].n_unique(),
            annotators=people["annotator"].n_unique(),
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


def _categories(votes: pl.DataFrame) -> list[str | None]:
    return [None, *votes["category"].drop_nulls().unique().sort().to_list()]


@dataclass(frozen=True)
class Votes:
    """The votes of one task as arrays; vote v is ``who[v]``'s answer ``what[v]`` on item ``item[v]``.

    Attributes:
        task: one of ``TASKS``.
        names: annotators.
        item, who, what: (votes,) numbers.
        category: (votes,) category or None.
        concept: (items,) number of the item's concept.
        counts: (items, answers) votes for each answer.
    """

    task: str
    names: tuple[str, ...]
    item: Counts
    who: Counts
    what: Counts
    category: tuple[str | None, ...]
    concept: Counts
    counts: Counts

    @classmethod
    def of(cls, votes: pl.DataFrame, task: str) -> Votes:
        """Take them from a table of one task's votes."""
        names = tuple(votes["annotator"].unique().sort())
        item = _codes(votes["item_id"])
        answers = ANSWERS[task]
        what = np.array([answers.index(each) for each in votes["answer"]], dtype=np.int64)
        counts = np.zeros((int(item.max()) + 1, len(answers)), dtype=np.int64)
        np.add.at(counts, (item, what), 1)
        concept = np.zeros(len(counts), dtype=np.int64)
        concept[item] = _codes(votes["concept_id"])
        return cls(
            task,
            names,
            item,
            np.array([names.index(each) for each in votes["annotator"]], dtype=np.int64),
            what,
            tuple(votes["category"]),
            concept,
            counts,
        )

    def alpha(self, level: Level, category: str | None, settings: Settings) -> Alpha:
        """Krippendorff's alpha with its interval: what an item adds is summed once and drawn again."""
        counts = self.counts
        several = counts.sum(axis=1) > 1
        drawn = None
        if settings.resamples:
            values = counts.shape[1]
            unit = self.concept if settings.unit == "concept" else np.arange(len(counts))
            each = coincidences(counts).reshape(len(counts), -1)
            sums = statistics.cluster_sums(each[several], unit[several], int(unit.max()) + 1)
            # A cluster without two votes on anything is none that could be drawn.
            sums = sums[sums.sum(axis=1) > 0]
            if len(sums):
                drawn = statistics.bootstrap_sums(sums, settings.resamples, settings.seed)
                drawn = alpha_of(drawn.reshape(-1, values, values), level)
        value = Estimate.of(krippendorff_alpha(counts, level), drawn, settings.level)
        return Alpha(self.task, category, level, int(several.sum()), int(counts[several].sum()), value)

    def pairs(self) -> list[Pair]:
        """Every two annotators with items in common."""
        matrix = self.matrix()
        found = []
        for a, b in itertools.combinations(range(len(self.names)), 2):
            both = ~np.isnan(matrix[a]) & ~np.isnan(matrix[b])
            if not both.any():
                continue
            x, y = matrix[a, both], matrix[b, both]
            rating = self.task == "rating"
            tau = correlation(x, y, "kendall") if rating and both.sum() > 1 else np.nan
            found.append(
                Pair(
                    self.task,
                    self.names[a],
                    self.names[b],
                    int(both.sum()),
                    float((x == y).mean()),
                    _plain(cohen_kappa(x, y)),
                    _plain(cohen_kappa(x, y, weights="quadratic")) if rating else None,
                    _plain(tau),
                )
            )
        return found

    def matrix(self) -> Array:
        """(annotators, items) number of the answer, NaN where there is none."""
        matrix = np.full((len(self.names), len(self.counts)), np.nan)
        matrix[self.who, self.item] = self.what
        return matrix

    def agrees(self) -> Array:
        """(votes,) 1 where a vote is the majority of the others, 0, its part of a tie, or NaN alone."""
        others = self.counts[self.item].astype(float)
        others[np.arange(len(others)), self.what] -= 1
        top = others.max(axis=1, keepdims=True)
        tied = others == top
        part = tied[np.arange(len(others)), self.what] / tied.sum(axis=1)
        return np.where(others.sum(axis=1) > 0, part, np.nan)

    def ceilings(self, category: str | None, settings: Settings) -> list[Ceiling]:
        """What one person reaches against the rest."""
        agrees = self.agrees()
        known = ~np.isnan(agrees)
        concept = self.concept[self.item]
        clusters = int(self.concept.max()) + 1
        found = []
        if known.any():
            sums = np.stack(
                [np.bincount(concept[known], weights, clusters) for weights in (agrees[known], None)], axis=1
            ).astype(float)
            drawn = None
            if settings.resamples:
                total = statistics.bootstrap_sums(sums, settings.resamples, settings.seed)
                with np.errstate(invalid="ignore", divide="ignore"):
                    drawn = total[:, 0] / total[:, 1]
            value = Estimate.of(float(agrees[known].mean()), drawn, settings.level)
            people = len(np.unique(self.who[known]))
            found.append(Ceiling(self.task, category, "accuracy", people, int(known.sum()), value))
        if self.task == "rating":
            found += self._rating_ceilings(category, settings)
        return found

    def _rating_ceilings(self, category: str | None, settings: Settings) -> list[Ceiling]:
        own, rest, weights = [], [], []
        for a in range(len(self.names)):
            items, mine, others = self.against_others(a)
            if len(items) >= FEWEST_ITEMS:
                own.append((items, mine))
                rest.append(others)
                weights.append(len(items))
        found = []
        clusters = int(self.concept.max()) + 1
        counts = None
        if settings.resamples and own:
            rng = np.random.default_rng(settings.seed)
            counts = statistics.resample_counts(clusters, settings.resamples, rng)
        for kind in CORRELATIONS if own else ():
            point = [correlation(mine, others, kind) for (_, mine), others in zip(own, rest, strict=True)]
            drawn = None
            if counts is not None:
                each = [
                    weighted_correlation(mine, others, counts[:, self.concept[items]], kind)
                    for (items, mine), others in zip(own, rest, strict=True)
                ]
                drawn = _mean(np.stack(each, axis=1), np.array(weights, float))
            value = _mean(np.array([point]), np.array(weights, float))[0]
            estimate = Estimate.of(float(value), drawn, settings.level)
            found.append(Ceiling(self.task, category, kind, len(own), sum(weights), estimate))
        return found

    def against_others(self, annotator: int) -> tuple[Counts, Array, Array]:
        """One annotator's ratings and the mean of the others' on the same items.

        Returns:
            Numbers of the items that others rated too, the ratings 1…5, the means.
        """
        mine = np.flatnonzero(self.who == annotator)
        scale = np.arange(1, self.counts.shape[1] + 1)
        others = self.counts[self.item[mine]].sum(axis=1) - 1
        use = mine[others > 0]
        own = self.what[use] + 1.0
        total = self.counts[self.item[use]] @ scale
        return self.item[use], own, (total - own) / (self.counts[self.item[use]].sum(axis=1) - 1)


def _annotators(
    whole: Votes, votes: pl.DataFrame, attention: Mapping[str, tuple[int, int]]
) -> list[Annotator]:
    agrees = whole.agrees()
    category = np.array([name or "" for name in whole.category])
    durations = votes["duration_s"].to_numpy()
    errors = dawid_skene(saying(votes)).errors
    found = []
    for number, name in enumerate(whole.names):
        mine = whole.who == number
        known = mine & ~np.isnan(agrees)
        seconds = durations[mine]
        seconds = seconds[~np.isnan(seconds.astype(float))].astype(float)
        shares = np.bincount(whole.what[mine], minlength=len(ANSWERS[whole.task])) / mine.sum()
        by = {
            str(value): (
                float(agrees[known & (category == value)].mean()),
                int((known & (category == value)).sum()),
            )
            for value in np.unique(category[known])
            if value
        }
        found.append(
            Annotator(
                whole.task,
                name,
                int(mine.sum()),
                _hours(seconds),
                float(np.median(seconds)) if len(seconds) else None,
                dict(zip(ANSWERS[whole.task], map(float, shares), strict=True)),
                float(agrees[known].mean()) if known.any() else None,
                int(known.sum()),
                by,
                attention.get(name, (0, 0)),
                errors.get(name, (None, None)),
            )
        )
    return found


def _group(
    votes: pl.DataFrame, decided: pl.DataFrame, task: str, category: str | None, settings: Settings
) -> Group:
    images = decided.filter((pl.col("task") == task) & (pl.col("votes") > 0))
    if category is not None:
        images = images.filter(pl.col("category") == category)
    seconds = votes["duration_s"].drop_nulls().to_numpy()
    kept, thrown = (int((images["verdict"] == word).sum()) for word in (YES, NO))
    discard = Estimate(None)
    if kept + thrown:
        low, high = statistics.wilson_interval(thrown / (kept + thrown), kept + thrown, settings.level)
        discard = Estimate(thrown / (kept + thrown), float(low), float(high))
    return Group(
        task,
        category,
        len(images),
        len(votes),
        _hours(seconds),
        float(np.minimum(seconds, LONGEST_S).mean()) if len(seconds) else None,
        kept,
        thrown,
        len(images) - kept - thrown,
        discard,
    )


def _hours(seconds: Array) -> float | None:
    return float(np.minimum(seconds, LONGEST_S).sum() / 3600) if len(seconds) else None


def _codes(values: pl.Series) -> Counts:
    codes: Counts = values.rank("dense").to_numpy().astype(np.int64) - 1
    return codes


def _mean(values: Array, weights: Array) -> Array:
    """Weighted mean over the last axis, NaN left out; NaN where all are."""
    known = ~np.isnan(values)
    total = (known * weights).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (np.nan_to_num(values) * weights).sum(axis=-1) / total, np.nan)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
