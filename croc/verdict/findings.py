"""What a report says in words: sentences that rest on a test, never on a threshold by eye."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from croc.checks.schema import DIRECTIONS
from croc.verdict import statistics
from croc.verdict.aggregation import Evidence, nanmean
from croc.verdict.records import Finding

if TYPE_CHECKING:
    from croc.verdict.report import GroupTests, Report
    from croc.verdict.statistics import Array

ALPHA = 0.05
FAR = 0.1
"""A gap of scaled accuracy that a finding calls far: tested against, so that trifles are not reported."""

_FEWEST_CONCEPTS = 6
"""With five, no exact test of signs reaches 0.05; a bootstrap of so few would claim it all the same."""


def find(report: Report, tests: Sequence[GroupTests]) -> list[Finding]:
    """All findings of a report, the gravest kind first; none when the report was made without tests."""
    out: list[Finding] = []
    for kind in _KINDS:
        out += kind(report, tests)
    return out


def _below_chance(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A metric that is significantly below chance somewhere prefers the wrong image or prompt."""
    cells = []
    for column in dict.fromkeys(test.group.column for test in tests):
        family = [test for test in tests if test.group.column == column and test.below is not None]
        if not family:
            continue
        raw = np.stack([test.below for test in family if test.below is not None])
        adjusted = statistics.holm(raw.ravel()).reshape(raw.shape)
        for g, m, d in np.argwhere(adjusted < ALPHA):
            cells.append((family[g], int(m), int(d), float(adjusted[g, m, d])))
    for m, metric in enumerate(report.metrics):
        places = [(test, d, p) for test, found, d, p in cells if found == m]
        if not places:
            continue
        named = []
        for test, d, _ in places:
            where = f" on {test.group.value}" if test.group.value else ""
            named.append((float(test.group.evidence.scaled()[m, d]), f"{DIRECTIONS[d]}{where}"))
        named.sort()
        shown = ", ".join(f"{name} ({value:+.2f})" for value, name in named[:4])
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        text = f"{metric} is significantly below chance in {shown}{more}: it prefers the wrong match there."
        p = max(p for _, _, p in places)
        yield Finding("below_chance", text, (metric,), p, report.signatures[metric])


def _per_direction(report: Report, tests: Sequence[GroupTests]) -> tuple[Array, Array] | None:
    """Scaled accuracy per direction on all checks: observed (M, 4) and resampled (k, M, 4)."""
    overall = next(test for test in tests if test.group.column is None)
    if overall.directions is None or not report.settings.flips or _few(overall):
        return None
    return overall.group.evidence.scaled(), overall.directions


def _few(test: GroupTests) -> bool:
    return len(np.unique(test.group.evidence.concept)) < _FEWEST_CONCEPTS


def _text_against_image(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """Text directions far from image directions: a metric tells prompts apart, not images, or the reverse."""
    known = _per_direction(report, tests)
    if known is None:
        return
    observed, drawn = known
    gap = nanmean(observed[:, :2], -1) - nanmean(observed[:, 2:], -1)
    resampled = nanmean(drawn[..., :2], -1) - nanmean(drawn[..., 2:], -1)
    real = [m for m, name in enumerate(report.metrics) if not (np.isnan(gap[m]) or report.score(name).blind)]
    # The null hypothesis is a gap of at most FAR: small gaps are nothing to report, however certain.
    beyond = [FAR * np.sign(gap[m]) for m in real]
    adjusted = statistics.holm(
        [
            statistics.bootstrap_p(resampled[:, m] - edge) if abs(gap[m]) > FAR else 1.0
            for m, edge in zip(real, beyond, strict=True)
        ]
    )
    low, high = statistics.percentile_interval(resampled, report.settings.level)
    for m, p in zip(real, adjusted, strict=True):
        if p >= ALPHA:
            continue
        metric = report.metrics[m]
        better, worse = ("prompts", "images") if gap[m] > 0 else ("images", "prompts")
        text = (
            f"{metric} tells {better} apart far better than {worse}: text minus image directions "
            f"{gap[m]:+.2f} [{low[m]:+.2f}, {high[m]:+.2f}]."
        )
        yield Finding("text_image_gap", text, (metric,), float(p), report.signatures[metric])


def _inverse_below_forward(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """If the inverse directions are far lower for every scorer, the contrast images are suspect."""
    known = _per_direction(report, tests)
    seeing = [m for m, metric in enumerate(report.metrics) if not report.score(metric).blind]
    if known is None or len(seeing) < 2:
        return
    observed, drawn = known
    drop = nanmean(observed[:, [1, 3]], -1) - nanmean(observed[:, [0, 2]], -1)
    resampled = nanmean(drawn[..., [1, 3]], -1) - nanmean(drawn[..., [0, 2]], -1)
    if np.isnan(drop[seeing]).any() or (drop[seeing] >= -FAR).any():
        return
    adjusted = statistics.holm([statistics.bootstrap_p(resampled[:, m] + FAR) for m in seeing])
    if (adjusted < ALPHA).all():
        text = (
            "The inverse directions are far lower than the forward ones for every scorer (by "
            f"{-drop[seeing].max():.2f} at least): suspect the contrast images rather than the metrics."
        )
        names = tuple(report.metrics[m] for m in seeing)
        yield Finding("inverse_below_forward", text, names, float(adjusted.max()), report.signature)


def _weak_for_all(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A group in which every scorer is weaker than on the other checks."""
    seeing = [m for m, metric in enumerate(report.metrics) if not report.score(metric).blind]
    for column in dict.fromkeys(test.group.column for test in tests if test.group.column):
        family = [t for t in tests if t.group.column == column and t.directions is not None and not _few(t)]
        if len(family) < 2 or not seeing or not report.settings.flips:
            continue
        drawn = np.stack([test.samples for test in family if test.samples is not None])
        p = np.full((len(family), len(seeing)), np.nan)
        gaps = np.full_like(p, np.nan)
        for g, test in enumerate(family):
            rest = [other for other in family if other is not test]
            for k, m in enumerate(seeing):
                here, there = drawn[g][:, m], nanmean(np.delete(drawn, g, axis=0)[..., m], 0)
                gaps[g, k] = test.scores[m] - float(nanmean(np.array([o.scores[m] for o in rest]), 0))
                p[g, k] = statistics.bootstrap_p(here - there) if not np.isnan(gaps[g, k]) else np.nan
        adjusted = statistics.holm(p.ravel()).reshape(p.shape)
        weak = [g for g in range(len(family)) if (gaps[g] < 0).all() and (adjusted[g] < ALPHA).all()]
        if weak:
            places = []
            for g in weak:
                best = seeing[int(np.argmax(family[g].scores[seeing]))]
                who = f"best: {report.metrics[best]} at " if len(seeing) > 1 else ""
                places.append(f"{family[g].group.value} ({who}{round(family[g].scores[best], 2) + 0.0:+.2f})")
            who = "Every scorer is" if len(seeing) > 1 else f"{report.metrics[seeing[0]]} is"
            text = f"{who} weaker than elsewhere on these values of {column}: {', '.join(places)}."
            names = tuple(report.metrics[m] for m in seeing)
            yield Finding("weak_for_all", text, names, float(adjusted[weak].max()), report.signature)


def _depends_on_generator(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A metric whose verdict changes with who wrote the prompts or painted the images."""
    for pair in report.dependences:
        for each in pair.differences:
            if each.p_holm is None or each.p_holm >= ALPHA or each.difference is None:
                continue
            where = f"the same {pair.concepts} specs" if pair.paired else "different specs"
            ends = "" if each.ci_low is None else f" [{each.ci_low:+.2f}, {each.ci_high:+.2f}]"
            who = pair.column.replace("_", " ")
            text = (
                f"The verdict on {each.metric} depends on the {who}: {each.first:+.2f} with {pair.first}, "
                f"{each.second:+.2f} with {pair.second}, on {where} "
                f"(difference {each.difference:+.2f}{ends})."
            )
            yield Finding("depends_on_generator", text, (each.metric,), each.p_holm, each.signature)


def _no_better_than_blind(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A scorer that these data do not show to be better than the best baseline that cannot see."""
    scores = {metric: report.score(metric) for metric in report.metrics}
    blind = [name for name, score in scores.items() if score.blind and score.scaled is not None]
    if not blind:
        return
    best = max(blind, key=lambda name: scores[name].scaled or 0.0)
    for comparison in report.comparisons:
        if comparison.group is not None or best not in (comparison.better, comparison.worse):
            continue
        other = comparison.worse if comparison.better == best else comparison.better
        if scores[other].blind or (comparison.better == other and comparison.p_holm < ALPHA):
            continue
        would = (
            f" (a difference of {comparison.detectable:.2f} would have shown)"
            if comparison.detectable
            else ""
        )
        text = f"{other} is not shown to be better than the blind baseline {best}{would}."
        yield Finding("no_better_than_blind", text, (other, best), comparison.p_holm, comparison.signature)


def _unequal_checks(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """Metrics with fewer scores than others are judged on other checks than they: said, not mended."""
    overall = next(test for test in tests if test.group.column is None)
    there = _coverage(overall.group.evidence)
    for m, metric in enumerate(report.metrics):
        if there[m] < 1:
            reasons = sorted(report.gaps.get(metric, {}).items(), key=lambda item: -item[1])
            why = "; ".join(f"{reason}: {number} rows" for reason, number in reasons[:3])
            share = f"{there[m]:.1%} of the scores that its verdicts read"
            text = f"{metric} has {share} ({why or 'rows are absent'})."
            yield Finding("incomplete", text, (metric,), None, report.signatures[metric])


def _coverage(evidence: Evidence) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Array = evidence.present.sum(axis=(1, 2)) / evidence.expected.sum(axis=(1, 2))
    return np.nan_to_num(share, nan=1.0)


_KINDS: tuple[Callable[[Report, Sequence[GroupTests]], Iterator[Finding]], ...] = (
    _unequal_checks,
    _inverse_below_forward,
    _below_chance,
    _no_better_than_blind,
    _weak_for_all,
    _depends_on_generator,
    _text_against_image,
)
