"""Does the verdict depend on who generated? Two text models, image models or prompt styles, side by side.

Where two of them made checks of the same specs the comparison is paired: only those specs count, and a
resample draws the same specs for both, so that what is hard in a spec cancels. Otherwise it compares all
checks of one with all checks of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from croc.checks.schema import STYLE, stable_hash
from croc.verdict import statistics
from croc.verdict.aggregation import Evidence, mean_scaled
from croc.verdict.records import Dependence, Difference

if TYPE_CHECKING:
    from croc.verdict.report import Group, Settings
    from croc.verdict.statistics import Array

GENERATORS = ("text_model", "image_model", STYLE)
"""Columns that say who generated."""

_FEWEST_CLUSTERS = 3
_USE = 5  # a stream of random numbers apart from those of intervals and tests


def dependences(
    groups: Sequence[Group], settings: Settings, signatures: Mapping[str, str]
) -> list[Dependence]:
    """Every pair of generators in every column of ``GENERATORS`` among the groups.

    Args:
        groups: those of a report.
        settings: of the report; without resamples there are no intervals, without flips no tests.
        signatures: by metric.

    Returns:
        A pair each, with a difference a metric; p values are adjusted (Holm) over all pairs and metrics of a
        column.
    """
    from croc.verdict.report import NO_VALUE

    found: list[Dependence] = []
    for column in GENERATORS:
        family = [group for group in groups if group.column == column and group.value != NO_VALUE]
        pairs = [_pair(a, b, column, settings, signatures) for a, b in itertools.combinations(family, 2)]
        adjusted = iter(statistics.holm([_p(each) for pair in pairs for each in pair.differences]))
        for pair in pairs:
            differences = tuple(each.adjusted(next(adjusted)) for each in pair.differences)
            found.append(pair.with_differences(differences))
    return found


def _p(difference: Difference) -> float:
    return float("nan") if difference.p is None else difference.p


def _pair(a: Group, b: Group, column: str, settings: Settings, signatures: Mapping[str, str]) -> Dependence:
    first, second, paired = _on_the_same_specs(a.evidence, b.evidence, column)
    sums = [_sums(each, column) for each in (first, second)]
    totals = [each.sum(axis=0) for each in sums]
    scores = [mean_scaled(total) for total in totals]
    gap = scores[0] - scores[1]
    seed = [settings.seed, _USE, int(stable_hash(column, a.value, b.value, length=12), 16)]
    enough = min(len(each) for each in sums) >= _FEWEST_CLUSTERS
    low = high = np.full(len(gap), np.nan)
    drawn: list[Array] | None = None
    if settings.resamples and enough:
        drawn = _resampled(sums, settings.resamples, seed, paired=paired)
        low, high = statistics.percentile_interval(drawn[0] - drawn[1], settings.level)
    p = _tested(sums, gap, drawn, settings, seed, paired=paired) if settings.flips and enough else None
    tau, tau_low, tau_high = _rank_agreement(scores, drawn, settings.level)
    return Dependence(
        column=column,
        first=str(a.value),
        second=str(b.value),
        paired=paired,
        concepts=len(sums[0]) if paired else min(len(each) for each in sums),
        tau=tau,
        tau_low=tau_low,
        tau_high=tau_high,
        differences=tuple(
            Difference(
                metric=metric,
                first=_plain(scores[0][m]),
                second=_plain(scores[1][m]),
                difference=_plain(gap[m]),
                ci_low=_plain(low[m]),
                ci_high=_plain(high[m]),
                p=None if p is None else _plain(p[m]),
                p_holm=None,
                signature=signatures[metric],
            )
            for m, metric in enumerate(first.metrics)
        ),
    )


def _on_the_same_specs(a: Evidence, b: Evidence, column: str) -> tuple[Evidence, Evidence, bool]:
    """The checks of the concepts that both have, by the same text model where that is not the question."""
    keys = [
        np.stack([each.concept, each.text if column != "text_model" else 0 * each.text]) for each in (a, b)
    ]
    shared = {tuple(key) for key in keys[0].T.tolist()} & {tuple(key) for key in keys[1].T.tolist()}
    if len({concept for concept, _ in shared}) < _FEWEST_CLUSTERS:
        return a, b, False
    parts = [
        each.part(np.flatnonzero([tuple(key) in shared for key in mine.T.tolist()]))
        for each, mine in zip((a, b), keys, strict=True)
    ]
    return parts[0], parts[1], True


def _sums(evidence: Evidence, column: str) -> Array:
    """(clusters, T, M, 4, 3); between text models each has one of its own, so T is folded there."""
    sums = evidence.cluster_sums()
    return sums.sum(axis=1, keepdims=True) if column == "text_model" else sums


def _resampled(sums: Sequence[Array], resamples: int, seed: Sequence[int], *, paired: bool) -> list[Array]:
    """The mean scaled accuracies of both in each resample, (resamples, M) each."""
    out = []
    for number, each in enumerate(sums):
        # Equal seeds draw equal concepts: that is what pairs them.
        stream = list(seed) if paired else [*seed, number]
        flat = statistics.bootstrap_sums(each.reshape(len(each), -1), resamples, stream)
        out.append(mean_scaled(flat.reshape(resamples, *each.shape[1:])))
    return out


def _tested(
    sums: Sequence[Array],
    gap: Array,
    drawn: Sequence[Array] | None,
    settings: Settings,
    seed: Sequence[int],
    *,
    paired: bool,
) -> Array | None:
    """(M,) p values: exchanging the two concept by concept where they are paired, else by the bootstrap."""
    if not paired:
        if drawn is None:
            return None
        apart = drawn[0] - drawn[1]
        return np.array([statistics.bootstrap_p(apart[:, m]) for m in range(len(gap))])
    middle = (sums[0].sum(axis=0) + sums[1].sum(axis=0)) / 2
    apart = (sums[0] - sums[1]) / 2
    swings = statistics.sign_flip_sums(apart.reshape(len(apart), -1), settings.flips, [*seed, 1])
    swing = swings.reshape(settings.flips, *apart.shape[1:])
    null = mean_scaled(middle + swing) - mean_scaled(middle - swing)
    return statistics.permutation_p(gap, null)


def _rank_agreement(
    scores: Sequence[Array], drawn: Sequence[Array] | None, level: float
) -> tuple[float | None, float | None, float | None]:
    """Kendall's tau-b between the two rankings of the metrics, with its interval."""
    if len(scores[0]) < 2:
        return None, None, None
    tau = statistics.rank_agreement(scores[0][None], scores[1][None])[0]
    if drawn is None:
        return _plain(tau), None, None
    low, high = statistics.percentile_interval(statistics.rank_agreement(drawn[0], drawn[1]), level)
    return _plain(tau), _plain(low), _plain(high)


def _plain(value: object) -> float | None:
    number = float(value)  # type: ignore[arg-type]
    return None if np.isnan(number) else number
