"""Findings of a report in words: each sentence rests on a test, never on a threshold by eye."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from croc.checks.schema import DIRECTIONS
from croc.verdict import statistics
from croc.verdict.aggregation import CheckVerdicts, nanmean
from croc.verdict.groups import GroupTests
from croc.verdict.records import DIRECTION_NAMES, Finding
from croc.verdict.report import NO_VALUE, Report
from croc.verdict.statistics import ALPHA, Array
from croc.wording import counted, signed

FAR = 0.1
"""A gap of scaled accuracy that is tested against, so that small gaps are not reported, however certain."""

WEAK = 0.5
"""Half of the way from chance level to a perfect metric: a metric whose interval lies below it is weak."""

INCOMPLETE = "incomplete"
"""The kind of finding that only counts: scores are missing."""

_FEWEST_CONCEPTS = 6
"""With five, no exact test of signs reaches 0.05; a bootstrap of so few would claim it all the same."""


def find(report: Report, tests: Sequence[GroupTests], one_image: GroupTests | None = None) -> list[Finding]:
    """All findings of a report, the most serious kind first; without tests only counts.

    Args:
        report: what they are about.
        tests: of its groups.
        one_image: all checks, the verdicts with one image per side: what directions are compared by. Scaled
            accuracy grows with the number of images, in text directions more than in image directions. None
            compares no directions.
    """
    return [
        *_missing_scores(report, tests),
        *_single_images(report),
        *_too_few_permutations(report),
        *_inverse_below_forward(report, one_image),
        *_below_chance(report, tests),
        *_no_better_than_baseline(report),
        *_weak_where_another_is_not(report),
        *_weak_for_all(report, tests),
        *_depends_on_generator(report),
        *_text_image_gap(report, one_image),
    ]


def _missing_scores(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """Metrics with missing scores are evaluated on other checks than those with all scores."""
    overall = next(test for test in tests if test.group.column is None)
    coverage = _coverage(overall.group.verdicts)
    for m, metric in enumerate(report.metrics):
        if coverage[m] < 1:
            reasons = sorted(report.missing_scores.get(metric, {}).items(), key=lambda item: -item[1])
            shown = "; ".join(f"{reason}: {counted(number, 'row')}" for reason, number in reasons[:3])
            text = (
                f"{metric} has {coverage[m]:.1%} of the scores that its results are computed from "
                f"({shown or 'rows are absent'})."
            )
            yield Finding(INCOMPLETE, text, (metric,), None)


def _single_images(report: Report) -> Iterator[Finding]:
    """A pairwise judge has no best of several images, as the other metrics of syn have."""
    judges = tuple(dict.fromkeys(bias.metric for bias in report.position_biases))
    images = (report.signature.get("images") or "1").split("-")[-1]
    if judges and len(judges) < len(report.metrics) and int(images) > 1:
        who = (
            f"{judges[0]} is a pairwise judge: its"
            if len(judges) == 1
            else (f"{', '.join(judges)} are pairwise judges: their")
        )
        where = "in the default mode with" if report.settings.paper else "with"
        text = (
            f"{who} results are of single images, those of other metrics of the best of {images}. To compare "
            f"them, evaluate {where} one image per side (--images 1)."
        )
        yield Finding("single_images", text, judges, None)


def _too_few_permutations(report: Report) -> Iterator[Finding]:
    """So many comparisons that the smallest possible p value is not significant after adjustment."""
    flips = report.settings.flips
    counts = Counter(comparison.group for comparison in report.comparisons)
    for column, number in counts.items():
        factor = statistics.smallest_factor(number, report.settings.correction)
        needed = statistics.fewest_permutations(factor)
        if flips < needed:
            of_groups = "" if column is None else f" by {column}"
            text = (
                f"With {flips:,} permutations none of the {number:,} comparisons{of_groups} can be "
                f"significant: use {needed:,} or more."
            )
            yield Finding("too_few_permutations", text, report.metrics, None)


def _coverage(verdicts: CheckVerdicts) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Array = verdicts.present.sum(axis=(1, 2)) / verdicts.expected.sum(axis=(1, 2))
    return np.nan_to_num(share, nan=1.0)


def _below_chance(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A metric that is significantly below chance prefers the wrong image or prompt."""
    cells = []
    for column in dict.fromkeys(test.group.column for test in tests):
        family = [
            (test, test.below) for test in tests if test.group.column == column and test.below is not None
        ]
        if not family:
            continue
        raw = np.stack([below for _, below in family])
        adjusted = statistics.adjust(raw.ravel(), report.settings.correction).reshape(raw.shape)
        for g, m, d in np.argwhere(adjusted < ALPHA):
            cells.append((family[g][0], int(m), int(d), float(adjusted[g, m, d])))
    for m, metric in enumerate(report.metrics):
        significant = [(test, d, p) for test, number, d, p in cells if number == m]
        if not significant:
            continue
        places = sorted(
            (float(test.group.verdicts.scaled()[m, d]), _place(d, test.group.value))
            for test, d, _ in significant
        )
        shown = ", ".join(f"{place} ({signed(value)})" for value, place in places[:4])
        more = f" and {len(places) - 4} more" if len(places) > 4 else ""
        if report.settings.paper:  # the published level is 5/6 in text directions of syn: no preference shown
            text = f"{metric} is significantly below the published chance level in {shown}{more}."
        else:
            text = (
                f"{metric} is significantly below chance level in {shown}{more}: it prefers the wrong match."
            )
        yield Finding("below_chance", text, (metric,), max(p for _, _, p in significant))


def _place(direction: int, value: str | None) -> str:
    name = DIRECTION_NAMES[DIRECTIONS[direction]]
    return f"{name} on {value}" if value else name


def _text_image_gap(report: Report, one_image: GroupTests | None) -> Iterator[Finding]:
    """Text directions far from image directions: a metric distinguishes one kind and hardly the other."""
    per_direction = _per_direction(report, one_image)
    if per_direction is None:
        return
    observed, drawn = per_direction
    gap = nanmean(observed[:, :2], -1) - nanmean(observed[:, 2:], -1)
    resampled = nanmean(drawn[..., :2], -1) - nanmean(drawn[..., 2:], -1)
    tested = [m for m in _not_baselines(report) if not np.isnan(gap[m])]
    adjusted = statistics.adjust(
        [
            statistics.bootstrap_p(resampled[:, m] - FAR * np.sign(gap[m])) if abs(gap[m]) > FAR else 1.0
            for m in tested
        ],
        report.settings.correction,
    )
    low, high = statistics.percentile_interval(resampled, report.settings.level)
    for m, p in zip(tested, adjusted, strict=True):
        if p >= ALPHA:
            continue
        metric = report.metrics[m]
        better, worse = ("prompts", "images") if gap[m] > 0 else ("images", "prompts")
        text = (
            f"{metric} distinguishes {better} far better than {worse}: the difference between its text and "
            f"image directions is {signed(gap[m])} [{signed(low[m])}, {signed(high[m])}] with one image "
            "per side."
        )
        yield Finding("text_image_gap", text, (metric,), float(p))


def _inverse_below_forward(report: Report, one_image: GroupTests | None) -> Iterator[Finding]:
    """Inverse directions that are far lower for every metric: the contrast images may be wrong."""
    per_direction = _per_direction(report, one_image)
    tested = _not_baselines(report)
    if per_direction is None or len(tested) < 2:
        return
    observed, drawn = per_direction
    drop = nanmean(observed[:, [1, 3]], -1) - nanmean(observed[:, [0, 2]], -1)
    resampled = nanmean(drawn[..., [1, 3]], -1) - nanmean(drawn[..., [0, 2]], -1)
    if np.isnan(drop[tested]).any() or (drop[tested] >= -FAR).any():
        return
    adjusted = statistics.adjust(
        [statistics.bootstrap_p(resampled[:, m] + FAR) for m in tested], report.settings.correction
    )
    if (adjusted < ALPHA).all():
        text = (
            "The inverse directions are lower than the forward directions for every metric, by at least "
            f"{-drop[tested].max():.2f} with one image per side: the likely cause are the contrast images, "
            "not the metrics."
        )
        names = tuple(report.metrics[m] for m in tested)
        yield Finding("inverse_below_forward", text, names, float(adjusted.max()))


def _per_direction(report: Report, one_image: GroupTests | None) -> tuple[Array, Array] | None:
    """Scaled accuracy per direction on all checks: observed (M, 4) and resampled (k, M, 4)."""
    if one_image is None or one_image.directions is None or not report.settings.flips or _few(one_image):
        return None
    return one_image.group.verdicts.scaled(), one_image.directions


def _few(test: GroupTests) -> bool:
    return test.group.concepts < _FEWEST_CONCEPTS


def _not_baselines(report: Report) -> list[int]:
    """The numbers of the metrics that are no baselines."""
    return [m for m, score in enumerate(report.ranking) if not score.baseline]


def _weak_for_all(report: Report, tests: Sequence[GroupTests]) -> Iterator[Finding]:
    """A group in which every metric is weaker than on the other checks."""
    metrics = _not_baselines(report)
    for column in dict.fromkeys(test.group.column for test in tests if test.group.column):
        family = [t for t in tests if t.group.column == column and t.directions is not None and not _few(t)]
        if len(family) < 2 or not metrics or not report.settings.flips:
            continue
        drawn = np.stack([test.samples for test in family if test.samples is not None])
        p = np.full((len(family), len(metrics)), np.nan)
        gaps = np.full_like(p, np.nan)
        for g, test in enumerate(family):
            rest = np.array([other.scores for other in family if other is not test])
            for k, m in enumerate(metrics):
                here, elsewhere = drawn[g][:, m], nanmean(np.delete(drawn, g, axis=0)[..., m], 0)
                gaps[g, k] = test.scores[m] - float(nanmean(rest[:, m], 0))
                p[g, k] = statistics.bootstrap_p(here - elsewhere) if not np.isnan(gaps[g, k]) else np.nan
        adjusted = statistics.adjust(p.ravel(), report.settings.correction).reshape(p.shape)
        weak = [g for g in range(len(family)) if (gaps[g] < 0).all() and (adjusted[g] < ALPHA).all()]
        if weak:
            places = ", ".join(_weakness(report, family[g], metrics) for g in weak)
            who = "Every metric scores" if len(metrics) > 1 else f"{report.metrics[metrics[0]]} scores"
            text = f"{who} lower on these values of {column} than on the others: {places}."
            names = tuple(report.metrics[m] for m in metrics)
            yield Finding("weak_for_all", text, names, float(adjusted[weak].max()))


def _weakness(report: Report, test: GroupTests, metrics: Sequence[int]) -> str:
    best = metrics[int(np.argmax(test.scores[metrics]))]
    who = f"best: {report.metrics[best]} with " if len(metrics) > 1 else ""
    return f"{test.group.value} ({who}{signed(test.scores[best])})"


def _depends_on_generator(report: Report) -> Iterator[Finding]:
    """A metric whose results change with the model that wrote the prompts or generated the images."""
    for pair in report.dependences:
        for difference in pair.differences:
            if (
                difference.p_adjusted is None
                or difference.p_adjusted >= ALPHA
                or difference.difference is None
            ):
                continue
            where = f"the same {counted(pair.concepts, 'concept')}" if pair.paired else "different concepts"
            low, high = difference.ci_low, difference.ci_high
            ends = "" if low is None or high is None else f" [{signed(low)}, {signed(high)}]"
            text = (
                f"The results of {difference.metric} depend on the {pair.column.replace('_', ' ')}: "
                f"{signed(difference.first)} with {pair.first}, {signed(difference.second)} with "
                f"{pair.second}, on {where} (difference {signed(difference.difference)}{ends})."
            )
            yield Finding("depends_on_generator", text, (difference.metric,), difference.p_adjusted)


def _best_baseline(report: Report) -> str | None:
    known = {
        score.metric: score.scaled for score in report.ranking if score.baseline and score.scaled is not None
    }
    return max(known, key=lambda name: known[name]) if known else None


def _weak_where_another_is_not(report: Report) -> Iterator[Finding]:
    """Groups on which a metric, better than the baselines on all checks, is weak and another one is not."""
    best = _best_baseline(report)
    p_of = {
        (pair.group, pair.group_value, pair.better, pair.worse): pair.p_adjusted
        for pair in report.comparisons
        if pair.p_adjusted < ALPHA
    }
    metrics = [score.metric for score in report.ranking if not score.baseline]
    good = {
        (score.group, score.group_value, score.metric)
        for score in report.scores
        if score.ci_low is not None and score.ci_low > WEAK
    }
    found: dict[tuple[str, str], list[tuple[float, str, float]]] = {}
    for score in report.scores:
        column, value, metric = score.group, score.group_value, score.metric
        if column is None or value in (None, NO_VALUE) or score.of_few_checks or metric not in metrics:
            continue
        if score.scaled is None or score.ci_high is None or score.ci_high >= WEAK:
            continue
        if best is not None and (None, None, metric, best) not in p_of:
            continue
        better = [
            p_of[column, value, name, metric]
            for name in metrics
            if (column, value, name) in good and (column, value, name, metric) in p_of
        ]
        if better:
            found.setdefault((metric, column), []).append((score.scaled, str(value), min(better)))
    for (metric, column), cells in found.items():
        shown = ", ".join(f"{value} ({signed(scaled)})" for scaled, value, _ in sorted(cells)[:6])
        more = f" and {len(cells) - 6} more" if len(cells) > 6 else ""
        text = (
            f"{metric} is weak on values of {column} on which another metric is not: {shown}{more}. Its "
            f"interval is below {signed(WEAK)} there, and that of the other metric is above."
        )
        yield Finding("weak_where_another_is_not", text, (metric,), max(p for *_, p in cells))


def _no_better_than_baseline(report: Report) -> Iterator[Finding]:
    """A metric that is not significantly better than the best baseline."""
    scores = {score.metric: score for score in report.ranking}
    best = _best_baseline(report)
    if best is None:
        return
    for comparison in report.comparisons:
        if comparison.group is not None or best not in comparison.about:
            continue
        other = comparison.worse if comparison.better == best else comparison.better
        if scores[other].baseline or (comparison.better == other and comparison.p_adjusted < ALPHA):
            continue
        smallest = comparison.minimum_detectable_difference
        power = f" (minimum detectable difference: {smallest:.2f})" if smallest else ""
        text = f"{other} is not significantly better than the baseline {best}{power}."
        yield Finding("no_better_than_baseline", text, (other, best), comparison.p_adjusted)
