"""Intervals: hand computations, the edges, few concepts, and how often they hold the true value."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reports import PERFECT, WRONG, noisy, report_of
from scipy.stats import t
from score_rows import check_rows

from croc.verdict.intervals import FEWEST_CONCEPTS, PSEUDO_CONCEPT, difference, intervals
from croc.verdict.report import Settings
from croc.verdict.statistics import wilson_interval

HALF = np.zeros(4, bool)


def of_hum(passed, checks=1):
    """Sums of one metric whose concepts passed these numbers of ``checks`` in every direction, chance 1/2."""
    passed = np.asarray(passed, float)
    sums = np.stack([passed, np.full_like(passed, checks / 2), np.full_like(passed, checks)], -1)
    return np.broadcast_to(sums[:, None, None, None, :], (len(passed), 1, 1, 4, 3)).copy()


def test_an_interval_is_wilsons_on_the_effective_sample_size():
    passed, checks = [4, 3, 4, 1, 2, 4], 4
    ends = intervals(of_hum(passed, checks), HALF, 0.95)
    # The same by hand: leave out one concept, then the pseudo-concept, from totals that hold the latter.
    concepts = [(p, checks) for p in passed] + [(PSEUDO_CONCEPT * checks / 2, PSEUDO_CONCEPT * checks)]
    all_passed, all_checks = map(sum, zip(*concepts, strict=True))
    left_out = [(all_passed - p) / (all_checks - n) for p, n in concepts]
    mean = sum(left_out) / 7
    variance = 6 / 7 * sum((share - mean) ** 2 for share in left_out)
    center = all_passed / all_checks
    size = center * (1 - center) / variance
    # With so many degrees of freedom, Wilson's interval of a level whose quantile is that of t.
    quantile = t.ppf(0.975, 5)
    share, z2 = sum(passed) / 24, quantile**2
    half = quantile * np.sqrt(share * (1 - share) / size + z2 / (4 * size**2)) / (1 + z2 / size)
    middle = (share + z2 / (2 * size)) / (1 + z2 / size)
    assert ends.accuracy[:, 0, 0] == pytest.approx([middle - half, middle + half], abs=1e-12)
    assert ends.freedom == pytest.approx([5])


def test_with_chance_one_half_the_scaled_interval_is_that_of_the_accuracy():
    ends = intervals(of_hum([4, 3, 4, 1, 2, 4], 4), HALF, 0.9)
    assert ends.scaled == pytest.approx(2 * ends.accuracy - 1, abs=1e-12)


def test_four_equal_directions_have_the_interval_of_one():
    ends = intervals(of_hum([4, 3, 4, 1, 2, 4], 4), HALF, 0.95)
    assert ends.mean[:, 0] == pytest.approx(ends.scaled[:, 0, 0], abs=1e-9)


@pytest.mark.parametrize("concepts", [5, 8, 12, 30, 100])
def test_where_every_concept_passed_the_interval_goes_on_from_where_all_but_one_check_did(concepts):
    perfect = intervals(of_hum([10] * concepts, 10), HALF, 0.95).accuracy[:, 0, 0]
    nearly = intervals(of_hum([10] * (concepts - 1) + [9], 10), HALF, 0.95).accuracy[:, 0, 0]
    assert perfect[1] == pytest.approx(1, abs=1e-12)
    assert nearly[1] > 0.99
    assert 1 - perfect[0] == pytest.approx(1 - nearly[0], rel=0.1)
    # Between the interval of as many checks and that of as many concepts.
    assert wilson_interval(1.0, concepts)[0] * 0.95 < perfect[0] < wilson_interval(1.0, 10 * concepts)[0]


def test_below_five_concepts_there_is_a_value_and_no_interval():
    for concepts, known in ((FEWEST_CONCEPTS - 1, False), (FEWEST_CONCEPTS, True)):
        rows = [row for n in range(concepts) for row in check_rows(f"c{n}", *PERFECT, category="action")]
        report = report_of({"m": rows})
        assert report.score("m").scaled == 1
        assert (report.score("m").ci_low is not None) is known
        assert all((result.ci_low is not None) is known for result in report.results)


def test_intervals_lie_inside_what_is_possible_and_hold_the_estimate():
    rows = [row for n in range(6) for row in check_rows(f"c{n}", *(PERFECT if n % 2 else WRONG), topic="sea")]
    for protocol, paper in itertools.product(("syn", "hum"), (False, True)):
        report = report_of({"m": rows}, protocol, settings=Settings(paper=paper, resamples=0, flips=0))
        for result in report.results:
            assert 0 <= result.ci_low <= result.accuracy <= result.ci_high <= 1
            assert -1 <= result.scaled_ci_low <= result.scaled <= result.scaled_ci_high <= 1


def test_two_metrics_that_go_together_differ_within_less_than_two_that_do_not():
    report = report_of({"a": noisy(0), "copy of a": noisy(0), "b": noisy(1)})
    widths = {frozenset(c.about): c.ci_high - c.ci_low for c in report.comparisons}
    assert widths[frozenset(("a", "copy of a"))] < 0.2 * widths[frozenset(("a", "b"))]
    for comparison in report.comparisons:
        assert comparison.ci_low <= comparison.difference <= comparison.ci_high


def test_independent_differences_add_their_arms_in_squares():
    low, high = difference(np.array([0.5, 0.2]), np.array([[0.2, 0.1], [0.6, 0.6]]), 0.0)
    assert low == pytest.approx(0.3 - np.hypot(0.3, 0.4))
    assert high == pytest.approx(0.3 + np.hypot(0.1, 0.1))


def test_a_metric_at_chance_level_has_zero_on_average_with_few_concepts():
    rng = np.random.default_rng(3)
    means = []
    for _ in range(150):
        rows = []
        for n in range(5):
            sides = rng.normal(size=(2, 5, 2))
            rows += check_rows(f"c{n}", *([tuple(image) for image in side] for side in sides), topic="sea")
        report = report_of({"m": rows}, "syn", settings=Settings(resamples=0, flips=0))
        means.append(np.mean([report.scaled("m", d) for d in ("forward_text", "inverse_text")]))
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(len(means))


@pytest.mark.slow
def test_simulated_intervals_hold_the_true_value(tmp_path):
    script = Path(__file__).parents[3] / "benchmarks" / "simulate_intervals.py"
    out = tmp_path / "cells.json"
    subprocess.run([sys.executable, script, "--quick", "--out", out], check=True)
    cells = json.loads(out.read_text())
    assert len(cells) == 16
    error = 3 * np.sqrt(0.93 * 0.07 / 1_000)
    for cell in cells:
        assert 1 - cell["below"] - cell["above"] > 0.93 - error, cell
        assert max(cell["below"], cell["above"]) < 0.045 + error, cell


@pytest.mark.parametrize("seed", range(20))
def test_rounding_never_takes_an_end_beyond_what_is_possible(seed):
    rng = np.random.default_rng(seed)
    concepts = int(rng.integers(5, 40))
    sizes = rng.integers(1, 7, concepts).astype(float)
    sums = np.stack([sizes, sizes * rng.uniform(0.3, 0.9), sizes], -1)
    perfect = np.broadcast_to(sums[:, None, None, None, :], (concepts, 1, 2, 4, 3)).copy()
    perfect[:, :, 1, :, 0] = 0  # the second metric fails every check
    ends = intervals(perfect, HALF, 0.95)
    assert ends.mean.max() <= 1 and ends.mean.min() >= -1
    assert ends.scaled.max() <= 1 and ends.scaled.min() >= -1
    assert ends.accuracy.max() <= 1 and ends.accuracy.min() >= 0
    assert -2 <= ends.of_difference(0, 1)[0] <= ends.of_difference(0, 1)[1] <= 2
