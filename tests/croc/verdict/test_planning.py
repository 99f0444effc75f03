"""Plans: what the test can detect, the size it follows from, and estimates from a pilot."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from reports import report_of
from scipy.stats import nct, norm, t
from score_rows import check_rows, table, write

from croc.cli import main
from croc.errors import InputError
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.planning import Design, Plan, plan_for_checks, plan_for_difference
from croc.verdict.report import Settings
from croc.verdict.statistics import fewest_permutations, minimum_detectable_difference
from croc.verdict.variation import assumed_basis, pilot_basis

PASSED, FAILED = [(1.0, 0.0)], [(0.0, 1.0)]


# ---- What the test can detect ----


@pytest.mark.parametrize(("concepts", "tests"), [(20, 1), (40, 8), (200, 100)])
def test_the_detectable_difference_is_that_of_the_t_test(concepts, tests):
    found = float(minimum_detectable_difference(1.0, concepts=concepts, tests=tests))
    critical = t.ppf(1 - 0.025 / tests, concepts - 1)
    assert nct.sf(critical, concepts - 1, found) == pytest.approx(0.8, abs=2e-3)


def test_where_one_pattern_of_signs_is_significant_all_concepts_have_to_agree():
    # Six concepts have 32 patterns up to sign; 1/32 is below 0.05 and 2/32 is not.
    found = float(minimum_detectable_difference(1.0, concepts=6))
    assert norm.cdf(found / math.sqrt(6)) ** 6 == pytest.approx(0.8)
    signs = np.random.default_rng(0).normal(found / math.sqrt(6), 1, (100_000, 6)) > 0
    assert signs.all(axis=1).mean() == pytest.approx(0.8, abs=0.005)


def test_no_difference_is_detectable_with_too_few_concepts_or_permutations():
    assert math.isinf(minimum_detectable_difference(0.1, concepts=5))
    assert math.isinf(minimum_detectable_difference(0.0, concepts=5))
    assert math.isinf(minimum_detectable_difference(0.1, concepts=10, tests=28))  # 2^-9 is above 0.05/28
    assert math.isfinite(minimum_detectable_difference(0.1, concepts=11, tests=28))
    for tests in (1, 3, 120, 624):
        fewest = fewest_permutations(tests)
        assert tests / (fewest + 1) < 0.05 <= tests / fewest
        assert math.isfinite(minimum_detectable_difference(0.1, concepts=60, tests=tests, flips=fewest))
        assert math.isinf(minimum_detectable_difference(0.1, concepts=60, tests=tests, flips=fewest - 1))


def test_a_report_says_when_its_permutations_are_too_few():
    tables = {name: result_rows(number, 0.6 + number / 10) for number, name in enumerate("abc")}
    few = report_of(tables, settings=Settings(resamples=0, flips=59))
    assert [finding.text for finding in few.findings if finding.kind == "too_few_permutations"] == [
        "With 59 permutations none of the 3 comparisons can be significant: use 60 or more.",
        "With 59 permutations none of the 3 comparisons by category can be significant: use 60 or more.",
    ]
    assert all(comparison.minimum_detectable_difference is None for comparison in few.comparisons)
    enough = report_of(tables, settings=Settings(resamples=0, flips=60))
    assert not [finding for finding in enough.findings if finding.kind == "too_few_permutations"]
    assert all(comparison.minimum_detectable_difference for comparison in enough.comparisons)


def test_the_false_discovery_rate_needs_fewer_permutations_and_by_a_larger_difference():
    tables = {name: result_rows(number, 0.6 + number / 10) for number, name in enumerate("abc")}
    reports = {
        (correction, flips): report_of(
            tables, settings=Settings(resamples=0, flips=flips, correction=correction)
        )
        for correction in ("holm", "bh", "by")
        for flips in (20, 999)
    }
    few = {
        correction: [f.text for f in reports[correction, 20].findings if f.kind == "too_few_permutations"]
        for correction in ("holm", "bh", "by")
    }
    # All three p values are at least 1/21: times 3 with Holm, times 1 and 1 + 1/2 + 1/3 where all are equal.
    assert [len(texts) for texts in few.values()] == [2, 0, 2]
    assert few["by"][0].endswith("use 36 or more.")
    for holm, bh, by in zip(*(reports[c, 999].comparisons for c in ("holm", "bh", "by")), strict=True):
        assert holm.minimum_detectable_difference == bh.minimum_detectable_difference
        assert by.minimum_detectable_difference > bh.minimum_detectable_difference


# ---- Plans ----


def test_a_plan_is_the_smallest_that_detects_the_difference():
    basis, design = assumed_basis(0.8, 8), Design(metrics=6)
    plan = plan_for_difference(0.1, basis, design)
    group = plan.groups[0]
    assert (len(plan.groups), group.tests, plan.total.tests) == (8, 15 * 8, 15)
    assert (group.checks, plan.total.checks) == (group.concepts * 5, 8 * group.checks)
    # By hand: variance of four directions with correlation 0.5, two metrics with correlation 0.3, five checks
    # of a concept with correlation 0.2.
    error = math.sqrt(4 * 0.8 * 0.2 * 2.5 / 4 * 2 * 0.7 * (1 + 4 * 0.2) / group.checks)
    assert group.detectable == pytest.approx((norm.ppf(1 - 0.025 / 120) + norm.ppf(0.8)) * error, rel=0.03)
    assert group.detectable <= 0.1
    smaller = plan_for_checks(group.checks - 5, basis, design).groups[0]
    assert (smaller.concepts, smaller.detectable > 0.1) == (group.concepts - 1, True)
    same = plan_for_checks(group.checks, basis, design).groups[0]
    assert (same.concepts, same.detectable) == (group.concepts, group.detectable)


def test_more_is_needed_for_smaller_differences_more_comparisons_and_more_power():
    def checks(difference=0.2, categories=4, metrics=3, accuracy=0.8, power=0.8, alpha=0.05, **changes):
        basis = assumed_basis(accuracy, categories).changed(**changes)
        design = Design(metrics=metrics, power=power, alpha=alpha)
        return plan_for_difference(difference, basis, design).groups[0].checks

    usual = checks()
    assert usual < min(
        checks(difference=0.1),
        checks(categories=8),
        checks(metrics=6),
        checks(accuracy=0.7),
        checks(power=0.9),
        checks(alpha=0.01),
        checks(metric_correlation=0.1),
        checks(concept_correlation=0.5),
        checks(checks_per_concept=10),
    )


def test_a_plan_with_too_many_comparisons_or_too_small_a_difference_is_refused():
    with pytest.raises(
        InputError, match=r"10,000 permutations none of 1,520 .* --permutations 30400 or more"
    ):
        plan_for_difference(0.1, assumed_basis(categories=8), Design(metrics=20))
    with pytest.raises(InputError, match=r"a difference of 0\.0001 needs more than 1,000,000 concepts"):
        plan_for_difference(0.0001, assumed_basis(), Design())


def test_few_checks_detect_nothing():
    plan = plan_for_checks(10, assumed_basis(categories=8), Design(metrics=6))
    assert (plan.groups[0].concepts, plan.groups[0].detectable, plan.groups[0].half_width) == (2, None, None)
    assert plan.total.detectable is not None
    assert Plan.from_dict(plan.to_dict()) == plan


# ---- A pilot ----


def result_rows(seed, share, concepts=40, checks=3, category="action", alike=False):
    """Rows of a metric that passes all directions of a share of the checks, or of the concepts if alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for concept in range(concepts):
        passed = rng.random(checks) < share
        passed[:] = passed[0] if alike else passed
        for check, right in enumerate(passed):
            sides = (PASSED, [(0.0, 1.0)]) if right else (FAILED, [(1.0, 0.0)])
            name = f"{category} {concept}"
            rows += check_rows(f"{name} {check}", *sides, concept_id=name, category=category)
    return rows


def pilot(rows, column="category"):
    return pilot_basis([table(name, own, "hum") for name, own in rows.items()], column)


def test_the_variation_of_a_pilot_is_that_of_its_results():
    basis = pilot({"a": result_rows(0, 0.8, 200), "b": result_rows(1, 0.8, 200)})
    one = basis.categories["action"]
    assert (list(basis.categories), basis.metrics) == (["action"], ("a", "b"))
    assert one.scaled == pytest.approx(0.6, abs=0.06)
    # All four directions pass or fail together, with scaled results 1 and −1.
    assert one.mean_variance == pytest.approx(1 - one.scaled**2, rel=0.02)
    assert one.direction_variance == pytest.approx(one.mean_variance)
    assert one.metric_correlation == pytest.approx(0, abs=0.1)
    assert one.concept_correlation == pytest.approx(0, abs=0.1)
    assert one.checks_per_concept == 3


def test_checks_that_pass_together_are_correlated():
    rows = {"a": result_rows(0, 0.7, alike=True), "b": result_rows(1, 0.7, alike=True)}
    one = pilot(rows).categories["action"]
    assert one.concept_correlation == pytest.approx(1, abs=1e-9)
    assert one.difference_concept_correlation == pytest.approx(1, abs=1e-9)
    equal = pilot({"a": result_rows(0, 0.7), "b": result_rows(0, 0.7)}).categories["action"]
    assert equal.metric_correlation == 0.99


def test_what_a_pilot_does_not_show_is_assumed_and_named():
    basis = pilot({"a": result_rows(0, 0.7, checks=1)})
    one = basis.categories["action"]
    assert (one.metric_correlation, one.concept_correlation) == (0.3, 0.2)
    assert basis.not_estimated == (
        "the correlation of two metrics",
        "the correlation of two checks of a concept",
    )
    assert basis.changed(metric_correlation=0.6).not_estimated == basis.not_estimated[1:]
    lines = " ".join(plan_for_checks(100, basis, Design()).basis_lines())
    assert "Estimated from the scores of a," in lines
    assert "Assumed, because the pilot does not show it: the correlation of two metrics, " in lines


def test_a_category_with_few_concepts_has_the_variance_of_all_checks():
    rows = {
        name: result_rows(n, 0.7) + result_rows(n + 5, 0.7, 4, category="shapes")
        for n, name in enumerate("ab")
    }
    basis = pilot(rows)
    assert (list(basis.categories), basis.sparse) == (["action", "shapes"], ("shapes",))
    assert basis.categories["shapes"].mean_variance == pytest.approx(basis.overall.mean_variance)


def test_baselines_and_metrics_without_scores_are_left_out():
    rows = result_rows(0, 0.7)
    none = [{**one, "prompt_score": None, "contrast_score": None, "error": "crashed"} for one in rows]
    tables = [table("a", rows, "hum"), table("none", none, "hum")]
    assert pilot_basis(tables).categories == pilot({"a": rows}).categories
    with pytest.raises(InputError, match="not a baseline"):
        pilot_basis([table("a", rows, "hum", baseline=True)])
    with pytest.raises(InputError, match="4 concepts; an estimate needs at least 5"):
        pilot({"a": result_rows(0, 0.7, 4)})
    with pytest.raises(InputError, match="no column 'colour'"):
        pilot({"a": rows}, "colour")


@pytest.mark.parametrize("alike", [False, True])
def test_a_plan_of_the_size_of_its_pilot_says_what_the_report_says(alike):
    tables = [table(name, result_rows(n, 0.75, 60, alike=alike), "hum") for n, name in enumerate("ab")]
    report = evaluate_tables(tables, Settings(by=("category",), resamples=0))
    group = plan_for_checks(180, pilot_basis(tables), Design(metrics=2)).groups[0]
    pair = next(c for c in report.comparisons if c.group == "category")
    assert group.concepts == 60
    assert group.detectable == pytest.approx(pair.minimum_detectable_difference, rel=0.05)
    widths = [(score.ci_high - score.ci_low) / 2 for score in report.scores if score.group == "category"]
    assert group.half_width == pytest.approx(np.mean(widths), rel=0.05)


# ---- The command ----


def run(*arguments):
    result = CliRunner().invoke(main, ["plan", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_command_writes_the_plan(tmp_path):
    for number, name in enumerate("ab"):
        write(tmp_path, name, result_rows(number, 0.8), "hum")
    result = run("--difference", 0.2, "--pilot", tmp_path, "--metrics", 2, "--json", tmp_path / "plan.json")
    assert result.exit_code == 0, result.output
    plan = Plan.from_dict(json.loads((tmp_path / "plan.json").read_text()))
    assert plan.pilot == ("a", "b")
    assert (plan.groups[0].name, plan.groups[0].detectable <= 0.2) == ("action", True)
    row = next(line for line in result.stdout.splitlines() if "action" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == [
        "action",
        f"{plan.groups[0].checks:,}",
        str(plan.groups[0].concepts),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --difference or --checks"),
        (("--difference", 0.1, "--checks", 5), "give either --difference or --checks"),
        (("--checks", 5, "--by", "category"), "give its score tables with --pilot"),
        (
            ("--checks", 5, "--pilot", "x", "--accuracy", 0.9),
            "--accuracy and --categories come from the pilot",
        ),
        (("--checks", 5, "--pilot", "missing.parquet"), "missing.parquet"),
        (("--checks", 5, "--power", 0.01), "the power is 0.01; expected more than the level"),
        (("--checks", 5, "--metrics", 40, "--permutations", 100), "--permutations"),
    ],
)
def test_wrong_options_are_an_error_of_one_sentence(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
def test_the_test_finds_what_reports_and_plans_call_detectable():
    script = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "simulate_power.py"))
    runs = script["QUICK_RUNS"]
    error = math.sqrt(0.8 * 0.2 / runs)
    for kind, world, size in script["designs"](quick=True):
        one = script["simulate"](kind, world, size, runs, seed=1)
        assert 0.8 - 3.5 * error < one.power < 0.8 + 3.5 * error, one
        assert one.stated == pytest.approx(one.difference, rel=0.1), one
        if one.planned_half_width:
            assert one.half_width == pytest.approx(one.planned_half_width, rel=0.15), one
