"""How far the results depend on the generator: pairs of text models, image models or prompt styles compared.

Where two generators made checks of the same concepts the comparison is paired: only those concepts count, and
a resample draws the same concepts for both, so that what is hard in a concept cancels out. Otherwise all
checks of one are compared with all checks of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import STYLE, stable_hash
from croc.verdict import statistics
from croc.verdict.aggregation import CheckVerdicts, mean_scaled
from croc.verdict.groups import Group
from croc.verdict.intervals import FEWEST_CONCEPTS
from croc.verdict.records import Dependence, Difference, optional
from croc.verdict.report import NO_VALUE, Settings
from croc.verdict.statistics import Array

GENERATORS = ("text_model", "image_model", STYLE)
"""Columns that name a generator."""

_FEWEST_SHARED = 3
"""With fewer shared concepts all checks of two generators are compared, not paired."""

_USE = 5  # a stream of random numbers apart from those of intervals and tests


def dependences(groups: Sequence[Group], settings: Settings) -> list[Dependence]:
    """Compare every pair of generators in every column of ``GENERATORS`` among the groups.

    Args:
        groups: those of a report.
        settings: of the report; without resamples there are no intervals, without permutations no tests.

    Returns:
        One record per pair, with a difference per metric; p values are adjusted over all pairs and
        metrics of a column.
    """
    compared: list[Dependence] = []
    for column in GENERATORS:
        family = [group for group in groups if group.column == column and group.value != NO_VALUE]
        pairs = [_compare(a, b, column, settings) for a, b in itertools.combinations(family, 2)]
        raw = [np.nan if d.p is None else d.p for pair in pairs for d in pair.differences]
        adjusted = iter(statistics.adjust(raw, settings.correction))
        compared += [
            replace(
                pair,
                differences=tuple(replace(d, p_adjusted=optional(next(adjusted))) for d in pair.differences),
            )
            for pair in pairs
        ]
    return compared


def _compare(a: Group, b: Group, column: str, settings: Settings) -> Dependence:
    first, second, paired = _on_shared_concepts(a.verdicts, b.verdicts, column)
    sums = [_sums(verdicts, column) for verdicts in (first, second)]
    symmetric = a.verdicts.symmetric
    scores = [mean_scaled(of_one.sum(axis=0), symmetric) for of_one in sums]
    gap = scores[0] - scores[1]
    seed = [settings.seed, _USE, int(stable_hash(column, a.value, b.value, length=12), 16)]
    concepts = min(len(of_one) for of_one in sums)
    enough = concepts >= FEWEST_CONCEPTS
    low = high = np.full(len(gap), np.nan)
    drawn: list[Array] | None = None
    if settings.resamples and enough:
        drawn = _resample(sums, symmetric, settings.resamples, seed, paired=paired)
        low, high = statistics.percentile_interval(drawn[0] - drawn[1], settings.level)
    p = None
    if settings.flips and enough:
        p = _test(sums, symmetric, gap, drawn, settings.flips, seed, paired=paired)
    tau, tau_low, tau_high = _rank_agreement(scores, drawn, settings.level)
    return Dependence(
        column=column,
        first=str(a.value),
        second=str(b.value),
        paired=paired,
        concepts=concepts,
        tau=tau,
        tau_low=tau_low,
        tau_high=tau_high,
        differences=tuple(
            Difference(
                metric=metric,
                first=optional(scores[0][m]),
                second=optional(scores[1][m]),
                difference=optional(gap[m]),
                ci_low=optional(low[m]),
                ci_high=optional(high[m]),
                p=None if p is None else optional(p[m]),
                p_adjusted=None,
            )
            for m, metric in enumerate(first.metrics)
        ),
    )


def _on_shared_concepts(
    a: CheckVerdicts, b: CheckVerdicts, column: str
) -> tuple[CheckVerdicts, CheckVerdicts, bool]:
    """The checks of the concepts that both have, by the same text model where that is not what differs."""
    keys = [
        np.stack([verdicts.concept, verdicts.text if column != "text_model" else 0 * verdicts.text])
        for verdicts in (a, b)
    ]
    shared = {tuple(key) for key in keys[0].T.tolist()} & {tuple(key) for key in keys[1].T.tolist()}
    if len({concept for concept, _ in shared}) < _FEWEST_SHARED:
        return a, b, False
    first, second = (
        verdicts.select(np.flatnonzero([tuple(key) in shared for key in of_check.T.tolist()]))
        for verdicts, of_check in zip((a, b), keys, strict=True)
    )
    return first, second, True


def _sums(verdicts: CheckVerdicts, column: str) -> Array:
    """(clusters, 1, T, M, 4, 3); between text models each has one of its own, so T is summed there."""
    sums = verdicts.cluster_sums()
    return sums.sum(axis=2, keepdims=True) if column == "text_model" else sums


def _resample(
    sums: Sequence[Array], symmetric: NDArray[np.bool_], resamples: int, seed: Sequence[int], *, paired: bool
) -> list[Array]:
    """The mean scaled accuracies of both in each resample, (resamples, M) each."""
    out = []
    for number, of_one in enumerate(sums):
        # Equal seeds draw equal concepts: that is what pairs them.
        stream = list(seed) if paired else [*seed, number]
        flat = statistics.bootstrap_sums(of_one.reshape(len(of_one), -1), resamples, stream)
        out.append(mean_scaled(flat.reshape(resamples, *of_one.shape[1:]), symmetric))
    return out


def _test(
    sums: Sequence[Array],
    symmetric: NDArray[np.bool_],
    gap: Array,
    drawn: Sequence[Array] | None,
    flips: int,
    seed: Sequence[int],
    *,
    paired: bool,
) -> Array | None:
    """(M,) p values: exchanging the two concept by concept where they are paired, else by the bootstrap."""
    if not paired:
        if drawn is None:
            return None
        differences = drawn[0] - drawn[1]
        return np.array([statistics.bootstrap_p(differences[:, m]) for m in range(len(gap))])
    middle = (sums[0].sum(axis=0) + sums[1].sum(axis=0)) / 2
    half = (sums[0] - sums[1]) / 2
    flat = statistics.sign_flip_sums(half.reshape(len(half), -1), flips, [*seed, 1])
    swing = flat.reshape(flips, *half.shape[1:])
    null = mean_scaled(middle + swing, symmetric) - mean_scaled(middle - swing, symmetric)
    return statistics.permutation_p(gap, null)


def _rank_agreement(
    scores: Sequence[Array], drawn: Sequence[Array] | None, level: float
) -> tuple[float | None, float | None, float | None]:
    """Kendall's tau-b between the two rankings of the metrics, with its interval."""
    if len(scores[0]) < 2:
        return None, None, None
    tau = statistics.rank_agreement(scores[0][None], scores[1][None])[0]
    if drawn is None:
        return optional(tau), None, None
    low, high = statistics.percentile_interval(statistics.rank_agreement(drawn[0], drawn[1]), level)
    return optional(tau), optional(low), optional(high)
