"""Rankings of metrics by the votes of each annotator, compared with the ranking by the votes of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Report
from croc.verdict.report import Settings as EvaluationSettings
from croc.wording import counted
from croc_hum.agreement.coefficients import flip_rate, true_accuracy
from croc_hum.votes.votes import (
    NO,
    YES,
    Rule,
    add_vote_verdicts,
    dawid_skene,
    decide,
    exclude_inattentive,
    select_annotator_votes,
)

_IMAGE = pl.Schema({"check_id": pl.String, "image_side": pl.String, "image_index": pl.Int64})
_TEXT = ("forward_text", "inverse_text")


@dataclass(frozen=True)
class RankedMetric:
    """A metric in a ranking: mean scaled accuracy with its interval."""

    metric: str
    scaled: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ranking:
    """A ranking of metrics on the images that show their prompt, by the votes of one annotator or of all.

    Attributes:
        annotator: the annotator; None for the votes of all by the rule.
        checks, images: numbers of checks and images.
        places: the metrics, best first.
        tau: Kendall's tau-b with the ranking by the rule; None for that ranking itself, or where undefined.
        low, high: its interval, with concepts resampled.
    """

    annotator: str | None
    checks: int
    images: int
    places: tuple[RankedMetric, ...]
    tau: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Corrected:
    """Accuracy of a metric in the text directions, with unverified labels and with those of annotators.

    Attributes:
        metric: name of the metric.
        claimed: on all decided images, assuming that each shows its prompt.
        low, high: ``claimed`` corrected by :func:`croc_hum.agreement.coefficients.true_accuracy`, assuming
            that the wrong images show neither prompt, or that they show the other prompt.
        verified: on the images that show their prompt by the votes.
        verified_low, verified_high: ``verified`` corrected in the same way for ``Rankings.remaining``.
    """

    metric: str
    claimed: float | None
    low: float | None
    high: float | None
    verified: float | None
    verified_low: float | None = None
    verified_high: float | None = None


@dataclass(frozen=True)
class Rankings:
    """Rankings by the rule and by annotator.

    Attributes:
        by_rule: on the images that the rule releases.
        by_annotator: on the images that each annotator alone would release.
        corrected: the effect of wrong labels on each metric.
        wrong: share of the decided images that do not show their prompt.
        signature: of the ranking by the rule.
        remaining: estimated share of the kept images that do not show their prompt (Dawid–Skene), without
            those that an adjudicator decided; None where there are no others.
    """

    by_rule: Ranking
    by_annotator: tuple[Ranking, ...]
    corrected: tuple[Corrected, ...]
    wrong: float
    signature: Signature
    remaining: float | None = None

    def lines(self) -> list[str]:
        """The result in sentences."""
        taus = [ranking.tau for ranking in self.by_annotator if ranking.tau is not None]
        first = self.by_rule.places[0].metric
        same = sum(ranking.places[0].metric == first for ranking in self.by_annotator)
        total = len(self.by_annotator)
        lines = [
            f"{first} is first by the votes of all annotators, and by the votes of {same:,} of "
            f"{counted(total, 'annotator')} alone"
        ]
        if taus:
            lines.append(
                f"Kendall's tau-b between the ranking by all votes and that of an annotator is at least "
                f"{min(taus):.2f}"
            )
        return lines


def rank_by_annotator(
    scores: Sequence[str | Path],
    votes: pl.DataFrame,
    rule: Rule | None = None,
    *,
    task: str = "shows",
    resamples: int = 1_000,
    seed: int = 20250511,
) -> Rankings:
    """Rank metrics on the images that each annotator alone would release, and on those of the rule.

    Args:
        scores: score tables of the candidate images (``croc score CANDIDATES/images …``).
        votes: as :func:`croc_hum.votes.votes.read_votes` returns them.
        rule: when votes decide about an image.
        task: the task whose votes count.
        resamples: number of bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        InputError: the tables cannot be used, or none of the decided images is in them.
    """
    rule = rule or Rule()
    tables = read_score_tables(scores, protocol="hum")
    settings = EvaluationSettings(resamples=resamples, flips=0, seed=seed)
    votes, _ = exclude_inattentive(votes, rule)
    task_votes = add_vote_verdicts(votes.filter((pl.col("task") == task) & ~pl.col("attention")))
    decided = decide(task_votes.drop("vote_verdict"), rule)
    pooled = _evaluate(tables, decided.filter(pl.col("verdict") == YES), settings)
    if pooled is None:
        raise InputError(
            "none of the images that show their prompt, by the votes, is in the score tables; score the "
            "candidates: croc score CANDIDATES/images --scorer NAME --out scores"
        )
    annotator_votes = select_annotator_votes(task_votes)
    by_annotator = []
    for name in annotator_votes["annotator"].unique().sort():
        released = annotator_votes.filter((pl.col("annotator") == name) & (pl.col("vote_verdict") == YES))
        report = _evaluate(tables, released, settings)
        if report is None:
            continue
        tau = pooled.agreement(report)[0] if resamples and len(pooled.metrics) > 1 else None
        ends = (None, None, None) if tau is None else (tau.tau, tau.ci_low, tau.ci_high)
        by_annotator.append(_make_ranking(report, name, _count_images(tables, released), *ends))
    kept, wrong = (decided.filter(pl.col("verdict") == verdict) for verdict in (YES, NO))
    share = len(wrong) / (len(kept) + len(wrong))
    claimed = _evaluate(tables, pl.concat([kept, wrong]), settings)
    assert claimed is not None
    remaining = _estimate_wrong(kept, annotator_votes)
    return Rankings(
        _make_ranking(pooled, None, _count_images(tables, kept)),
        tuple(by_annotator),
        tuple(_correct(name, claimed, pooled, share, remaining) for name in pooled.metrics),
        share,
        pooled.signature,
        remaining,
    )


def _estimate_wrong(kept: pl.DataFrame, votes: pl.DataFrame) -> float | None:
    """Mean probability that an image that the votes keep does not show its prompt."""
    posterior = dawid_skene(votes).posterior.filter(pl.col("p_yes") + pl.col("p_no") > 0)
    images = kept.filter(~pl.col("adjudicated")).join(posterior, on="item_id", suffix="_estimated")
    if images.is_empty():
        return None
    return float(images.select((pl.col("p_no") / (pl.col("p_yes") + pl.col("p_no"))).mean()).item())


def _evaluate(
    tables: Sequence[ScoreTable], images: pl.DataFrame, settings: EvaluationSettings
) -> Report | None:
    """The report on some images; None when the tables contain none of them."""
    chosen = [replace(table, frame=_select_rows(table, images)) for table in tables]
    return None if any(table.frame.is_empty() for table in chosen) else evaluate_tables(chosen, settings)


def _select_rows(table: ScoreTable, images: pl.DataFrame) -> pl.DataFrame:
    wanted = (
        images.select("check_id", pl.col("side").alias("image_side"), "image_index").cast(_IMAGE).unique()
    )
    keys = [pl.col(name).cast(kind) for name, kind in _IMAGE.items()]
    selected = table.frame.with_columns(keys).join(wanted, on=list(_IMAGE), how="semi", maintain_order="left")
    return selected.cast({name: table.frame.schema[name] for name in _IMAGE})


def _count_images(tables: Sequence[ScoreTable], images: pl.DataFrame) -> int:
    return max(len(_select_rows(table, images).select(list(_IMAGE)).unique()) for table in tables)


def _make_ranking(report: Report, annotator: str | None, images: int, *tau: float | None) -> Ranking:
    scores = [score for score in report.scores if score.group is None]
    places = tuple(RankedMetric(score.metric, score.scaled, score.ci_low, score.ci_high) for score in scores)
    return Ranking(annotator, report.checks, images, places, *tau)


def _correct(
    metric: str, claimed: Report, verified: Report, wrong: float, remaining: float | None
) -> Corrected:
    observed, on_kept = _text_accuracy(claimed, metric), _text_accuracy(verified, metric)
    return Corrected(
        metric, observed, *_true_range(observed, wrong), on_kept, *_true_range(on_kept, remaining)
    )


def _true_range(accuracy: float | None, wrong: float | None) -> tuple[float | None, float | None]:
    """An accuracy corrected for wrong images, which show neither prompt or the other prompt."""
    if accuracy is None or wrong is None:
        return None, None
    ends = true_accuracy(accuracy, flip_rate(wrong, np.array([0.0, 1.0])))
    low, high = (None if np.isnan(end) else float(end) for end in np.sort(ends))
    return low, high


def _text_accuracy(report: Report, metric: str) -> float | None:
    """Mean accuracy of the two text directions."""
    accuracies = [
        result.accuracy
        for result in report.results
        if (result.metric, result.group, result.text_model) == (metric, None, None)
        and result.direction in _TEXT
    ]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return sum(known) / len(known) if known else None
