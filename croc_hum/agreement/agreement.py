"""Agreement of annotators: alpha, kappa, hours, discard rates, and each annotator compared with the others.

Intervals resample concepts, never single votes, because votes on images of one concept are correlated.
``unsure`` is an answer of its own, except in noise ceilings. Attention checks and adjudicators are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from croc.errors import InputError
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.records import Stored
from croc.verdict.statistics import Array
from croc_hum.agreement.ceilings import (
    Ceiling,
    DependentAnnotators,
    LabelError,
    find_dependent_annotators,
    measure_ceilings,
    measure_label_error,
)
from croc_hum.agreement.label_noise import LabelNoise
from croc_hum.agreement.rankings import Rankings
from croc_hum.agreement.vote_matrix import SCALES, Alpha, Estimate, Pair, Settings, VoteMatrix
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

MAX_VOTE_S = 300.0
"""Maximum number of seconds that one vote counts, as an item may stay open during a break."""


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
class AgreementReport(Stored):
    """The agreement of the annotators of a campaign; :mod:`croc_hum.agreement.views` renders it.

    ``label_errors`` are those of majority labels; ``dependent`` are annotators who agree with each other much
    more than with the others. ``left_out`` are excluded annotators, whose votes do not count. ``noise`` needs
    the candidates, ``rankings`` their score tables.
    """

    description: ClassVar[str] = "a report of agreement"

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
    label_errors: tuple[LabelError, ...] = ()
    dependent: tuple[DependentAnnotators, ...] = ()

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
        label_errors: list[LabelError] = []
        dependent: list[DependentAnnotators] = []
        for task in (name for name in ANSWERS if (annotator_votes["task"] == name).any()):
            task_votes = annotator_votes.filter(pl.col("task") == task)
            for category in _list_categories(task_votes):
                part = task_votes if category is None else task_votes.filter(pl.col("category") == category)
                matrix = VoteMatrix.of(part, task)
                alphas += [matrix.alpha(level, category, settings) for level in SCALES[task]]
                groups.append(_count_group(part, decided, task, category, settings))
                ceilings += measure_ceilings(matrix, category, settings)
                label_errors += measure_label_error(matrix, category, settings)
            matrix = VoteMatrix.of(task_votes, task)
            pairs += matrix.pairs()
            dependent += find_dependent_annotators(matrix)
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
            label_errors=tuple(label_errors),
            dependent=tuple(dependent),
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; what is unknown is null."""
        values: dict[str, Any] = TypeAdapter(AgreementReport).dump_python(self, mode="json")
        values["noise"] = None if self.noise is None else self.noise.to_dict()
        return values


def _list_categories(votes: pl.DataFrame) -> list[str | None]:
    return [None, *votes["category"].drop_nulls().unique().sort().to_list()]


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
