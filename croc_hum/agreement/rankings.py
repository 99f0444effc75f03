"""Does the ranking of metrics move with the annotator? One verdict for each of them, and one for all."""

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
from croc.verdict.report import Settings as Judging
from croc_hum.agreement.coefficients import flip_rate, true_accuracy
from croc_hum.votes.votes import NO, YES, Rule, attentive, decide, of_people, saying

_IMAGE = pl.Schema({"check_id": pl.String, "image_side": pl.String, "image_index": pl.Int64})
_TEXT = ("forward_text", "inverse_text")


@dataclass(frozen=True)
class Place:
    """One metric in one ranking: mean scaled accuracy and its interval."""

    metric: str
    scaled: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ranking:
    """The verdict on the images that somebody says show their prompt.

    Attributes:
        annotator: who; None are all of them by the rule.
        checks, images: what the verdict is on.
        places: the metrics, best first.
        tau: Kendall's tau-b to the ranking by the rule; None where it is that one, or undefined.
        low, high: its interval, concepts resampled.
    """

    annotator: str | None
    checks: int
    images: int
    places: tuple[Place, ...]
    tau: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Corrected:
    """Accuracy of a metric in the text directions, with labels by the maker of the images and by people.

    Attributes:
        metric: as its table names it.
        claimed: on all judged images, each taken to show its prompt.
        low, high: what that is worth by :func:`croc_hum.agreement.coefficients.true_accuracy`; one end is for
            wrong images that show neither prompt, the other for wrong images that show the other prompt.
        verified: on the images that people say show their prompt.
    """

    metric: str
    claimed: float | None
    low: float | None
    high: float | None
    verified: float | None


@dataclass(frozen=True)
class Rankings:
    """Verdicts by annotator.

    Attributes:
        by_rule: on what is released by the rule.
        by_annotator: on what each of them alone would release.
        corrected: what wrong labels do to each metric.
        wrong: share of the decided images that do not show their prompt.
        signature: of the verdict by the rule.
    """

    by_rule: Ranking
    by_annotator: tuple[Ranking, ...]
    corrected: tuple[Corrected, ...]
    wrong: float
    signature: Signature

    def lines(self) -> list[str]:
        """What it comes to, in words."""
        taus = [each.tau for each in self.by_annotator if each.tau is not None]
        first = self.by_rule.places[0].metric
        same = sum(each.places[0].metric == first for each in self.by_annotator)
        text = [f"{first} is first by the rule, and for {same} of {len(self.by_annotator)} annotators alone"]
        if taus:
            text.append(f"Kendall's tau-b to the ranking by the rule is {min(taus):.2f} at least")
        return text


def rankings(
    scores: Sequence[str | Path],
    votes: pl.DataFrame,
    rule: Rule | None = None,
    *,
    task: str = "shows",
    resamples: int = 1_000,
    seed: int = 20250511,
) -> Rankings:
    """Judge metrics by each annotator's images, and by those of the rule.

    Args:
        scores: score tables of the candidate images (``croc score CANDIDATES/images …``).
        votes: as :func:`croc_hum.votes.votes.read_votes` gives them.
        rule: when votes decide about an image.
        task: which task's votes.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: the tables cannot be used, or none of the judged images is in them.
    """
    rule = rule or Rule()
    tables = read_score_tables(scores, protocol="hum")
    settings = Judging(resamples=resamples, flips=0, seed=seed)
    votes, _ = attentive(votes, rule)
    mine = saying(votes.filter((pl.col("task") == task) & ~pl.col("attention")))
    decided = decide(mine.drop("says"), rule)
    pooled = _judged(tables, decided.filter(pl.col("verdict") == YES), settings)
    if pooled is None:
        raise InputError(
            "none of the images that people say show their prompt is in the score tables; score the "
            "candidates themselves: croc score CANDIDATES/images --scorer NAME --out scores"
        )
    people = of_people(mine)
    found = []
    for name in people["annotator"].unique().sort():
        own = people.filter((pl.col("annotator") == name) & (pl.col("says") == YES))
        report = _judged(tables, own, settings)
        if report is None:
            continue
        tau = pooled.agreement(report)[0] if resamples and len(pooled.metrics) > 1 else None
        ends = (None, None, None) if tau is None else (tau.tau, tau.ci_low, tau.ci_high)
        found.append(_ranking(report, name, _count(tables, own), *ends))
    kept, wrong = (decided.filter(pl.col("verdict") == word) for word in (YES, NO))
    share = len(wrong) / (len(kept) + len(wrong))
    claimed = _judged(tables, pl.concat([kept, wrong]), settings)
    assert claimed is not None
    return Rankings(
        _ranking(pooled, None, _count(tables, kept)),
        tuple(found),
        tuple(_corrected(name, claimed, pooled, share) for name in pooled.metrics),
        share,
        pooled.signature,
    )


def _judged(tables: Sequence[ScoreTable], images: pl.DataFrame, settings: Judging) -> Report | None:
    """The verdict on some images; None when the tables hold none of them."""
    chosen = [replace(table, frame=_rows(table, images)) for table in tables]
    return None if any(table.frame.is_empty() for table in chosen) else evaluate_tables(chosen, settings)


def _rows(table: ScoreTable, images: pl.DataFrame) -> pl.DataFrame:
    wanted = (
        images.select("check_id", pl.col("side").alias("image_side"), "image_index").cast(_IMAGE).unique()
    )
    keys = [pl.col(name).cast(kind) for name, kind in _IMAGE.items()]
    here = table.frame.with_columns(keys).join(wanted, on=list(_IMAGE), how="semi", maintain_order="left")
    return here.cast({name: table.frame.schema[name] for name in _IMAGE})


def _count(tables: Sequence[ScoreTable], images: pl.DataFrame) -> int:
    return max(len(_rows(table, images).select(list(_IMAGE)).unique()) for table in tables)


def _ranking(report: Report, who: str | None, images: int, *tau: float | None) -> Ranking:
    scores = [score for score in report.scores if score.group is None]
    places = tuple(Place(each.metric, each.scaled, each.ci_low, each.ci_high) for each in scores)
    return Ranking(who, report.checks, images, places, *tau)


def _corrected(metric: str, claimed: Report, verified: Report, wrong: float) -> Corrected:
    observed = _text_accuracy(claimed, metric)
    low = high = None
    if observed is not None:
        ends = true_accuracy(observed, flip_rate(wrong, np.array([0.0, 1.0])))
        low, high = (None if np.isnan(end) else float(end) for end in np.sort(ends))
    return Corrected(metric, observed, low, high, _text_accuracy(verified, metric))


def _text_accuracy(report: Report, metric: str) -> float | None:
    """Mean of the two text directions."""
    of = [
        each.accuracy
        for each in report.results
        if (each.metric, each.group, each.text_model) == (metric, None, None) and each.direction in _TEXT
    ]
    known = [each for each in of if each is not None]
    return sum(known) / len(known) if known else None
