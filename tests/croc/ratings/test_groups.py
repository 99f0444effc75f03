"""Coefficients within groups, calibrated ties, exchanged scores: against scipy and plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from croc.ratings import permutation, ties
from croc.ratings.groups import Grouped, constant_groups, correlate_rows, mean_coefficient, stack_groups
from croc.ratings.permutation import draw_swaps, exchange, exchange_p
from croc.ratings.soft_pairwise_accuracy import (
    exchange_soft_pairwise_accuracy,
    exchange_test,
    soft_pairwise_accuracy,
    system_matrix,
)
from croc.ratings.ties import calibrate_ties, weighted_accuracy

SCIPY = {"kendall": stats.kendalltau, "spearman": stats.spearmanr, "pearson": stats.pearsonr}


def items(groups=9, size=5, seed=0, decimals=0):
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), size)
    rating = np.round(rng.normal(size=len(code)), decimals)
    first, second = (np.round(rating + rng.normal(0, s, len(code)), decimals) for s in (0.6, 1.5))
    return code, rating, first, second


def plain_accuracy(x, y, threshold):
    """Share of pairs with the same order, or a tie in both."""
    agree = []
    for i, j in itertools.combinations(range(len(x)), 2):
        order = 0 if abs(x[i] - x[j]) <= threshold else np.sign(x[i] - x[j])
        agree.append(order == np.sign(y[i] - y[j]))
    return np.mean(agree)


def test_groups_of_equal_size_stand_together_and_single_rows_are_left_out():
    stacks = stack_groups(np.array([3, 0, 3, 1, 0, 2, 2, 3]))
    assert [rows.tolist() for rows in stacks] == [[[1, 4], [5, 6]], [[0, 2, 7]]]
    assert stack_groups(np.arange(4)) == []


@pytest.mark.parametrize("kind", SCIPY)
@pytest.mark.parametrize("decimals", [0, 6])
def test_coefficients_of_rows_are_scipys(kind, decimals):
    code, rating, first, _ = items(decimals=decimals)
    found = correlate_rows(first.reshape(-1, 5), rating.reshape(-1, 5), kind)
    with np.errstate(all="ignore"):
        for group, value in enumerate(found):
            x, y = first[code == group], rating[code == group]
            constant = len(set(x)) == 1 or len(set(y)) == 1
            expected = np.nan if constant else SCIPY[kind](x, y).statistic
            assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_large_group_has_the_coefficient_of_a_small_one():
    code, rating, first, _ = items(2, 90, decimals=1)
    for kind, of in SCIPY.items():
        grouped = Grouped.of(first, rating, stack_groups(code), kind).coefficients
        expected = [of(first[code == g], rating[code == g]).statistic for g in (0, 1)]
        assert grouped == pytest.approx(expected, abs=1e-12)


def test_tiny_numbers_have_a_pearson_coefficient():
    x = np.array([[1e-200, 2e-200, 3.5e-200]])
    expected = stats.pearsonr([1, 2, 3.5], [1, 3, 2]).statistic
    assert correlate_rows(x, np.array([[1.0, 3, 2]]), "pearson") == pytest.approx(expected, abs=1e-12)


# ---- Averages ----


def test_fishers_average_is_the_mean_of_z_transformed_back_once():
    values = np.array([0.2, 0.9, np.nan])
    expected = np.tanh((np.arctanh(0.2) + np.arctanh(0.9)) / 2)
    assert mean_coefficient(values, "fisher", "pearson") == pytest.approx(expected)
    assert mean_coefficient(values, "fisher", "spearman") == pytest.approx(expected)
    # Tau-b and accuracies have no Fisher z.
    assert mean_coefficient(values, "fisher", "kendall") == pytest.approx(0.55)
    assert mean_coefficient(values, "mean", "pearson") == pytest.approx(0.55)


def test_a_coefficient_of_one_has_no_fisher_average():
    assert np.isnan(mean_coefficient(np.array([0.5, 1.0]), "fisher", "spearman"))
    assert np.isnan(mean_coefficient(np.array([0.5, -1.0 + 1e-16]), "fisher", "spearman"))
    # A group that a resample leaves out does not count.
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    for values in (np.array([0.5, 1.0]), np.array([[0.5, 1.0]] * 2)):
        found = mean_coefficient(values, "fisher", "pearson", weights)
        assert found == pytest.approx([0.5, np.nan], nan_ok=True)


def test_groups_whose_values_are_equal_are_found():
    code = np.array([0, 0, 1, 1, 2])
    values = np.array([1.0, 1, 1, 2, 3])
    assert code[constant_groups(values, stack_groups(code))].tolist() == [0]


def test_resamples_of_groups_are_those_of_repeated_groups():
    code, rating, first, _ = items(6, 4, decimals=1)
    stacks = stack_groups(code)
    counts = np.array([[2.0, 0, 1, 0, 1, 2], [1, 1, 1, 1, 1, 1]], np.float32)
    for kind in ("kendall", "pearson", "acc_eq"):
        grouped = Grouped.of(first, rating, stacks, kind, 0.3)
        own = grouped.coefficients
        expected = [np.average(own[~np.isnan(own)], weights=w[~np.isnan(own)]) for w in counts]
        assert grouped.resampled(counts, code, "mean") == pytest.approx(expected)


def test_resamples_inside_of_groups_are_those_of_repeated_items():
    code, rating, first, _ = items(3, 6, seed=4, decimals=1)
    counts = np.random.default_rng(2).integers(0, 3, (4, len(code))).astype(np.float32)
    grouped = Grouped.of(first, rating, stack_groups(code), "kendall")
    found = grouped.resampled(counts, np.arange(len(code)), "mean")
    for row, value in zip(counts.astype(int), found, strict=True):
        taus = []
        for g in range(3):
            x, y = (np.repeat(v[code == g], row[code == g]) for v in (first, rating))
            taus.append(stats.kendalltau(x, y).statistic)
        assert value == pytest.approx(np.nanmean(taus), abs=1e-6)


# ---- Calibrated ties ----


def test_the_threshold_is_the_best_of_all_differences():
    code, rating, first, _ = items(7, 5, seed=3, decimals=1)
    found = calibrate_ties(first, rating, stack_groups(code))
    tried = {0.0, *(abs(a - b) for g in range(7) for a in first[code == g] for b in first[code == g])}
    accuracy = {
        epsilon: np.mean([plain_accuracy(first[code == g], rating[code == g], epsilon) for g in range(7)])
        for epsilon in tried
    }
    best = max(accuracy.values())
    assert found.accuracy == pytest.approx(best, abs=1e-12)
    assert found.threshold == min(e for e, value in accuracy.items() if value > best - 1e-12)
    assert found.pairs == 70


def test_without_ties_of_people_no_difference_is_taken_for_a_tie_of_a_good_metric():
    rating = np.array([1.0, 2, 3, 4])
    found = calibrate_ties(rating * 10, rating, stack_groups(np.zeros(4, int)))
    assert (found.threshold, found.accuracy) == (0, 1)


def test_a_constant_metric_agrees_with_all_ties_of_people():
    rating = np.array([1.0, 1, 2])
    found = calibrate_ties(np.full(3, 0.5), rating, stack_groups(np.zeros(3, int)))
    assert (found.threshold, found.accuracy) == (0, pytest.approx(1 / 3))


def test_copies_of_an_item_in_a_resample_are_no_pair():
    x, y = np.array([1.0, 2, 4]), np.array([1.0, 3, 2])
    # Item 0 twice, items 1 and 2 once: pairs (0,1) and (0,2) twice, (1,2) once. Wrong is (1,2) only.
    found = weighted_accuracy(x, y, np.array([[2.0, 1, 1], [3, 0, 0]]), 0.0)
    assert found == pytest.approx([4 / 5, np.nan], nan_ok=True)


def test_blocks_of_pairs_change_no_accuracy(monkeypatch):
    _, rating, first, _ = items(1, 23, decimals=1)
    counts = np.random.default_rng(0).integers(0, 3, (5, 23))
    whole = weighted_accuracy(first, rating, counts, 0.2)
    monkeypatch.setattr(ties, "_BLOCK", 50)
    assert weighted_accuracy(first, rating, counts, 0.2) == pytest.approx(whole)


# ---- Exchanged scores ----


def standard(values):
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize("test", ["perm-both", "perm-inputs"])
@pytest.mark.parametrize("grouping", ["item", "system", "none"])
@pytest.mark.parametrize("kind", ["kendall", "spearman", "pearson"])
def test_exchanged_coefficients_are_those_of_the_mixed_scores(kind, grouping, test):
    prompt, rating, first, second = items(8, 5, seed=5, decimals=1)
    system = np.tile(np.arange(5), 8)
    code = {"item": prompt, "system": system, "none": np.zeros(40, int)}[grouping]
    unit = prompt if test == "perm-inputs" else np.arange(40)
    keep = draw_swaps(int(unit.max()) + 1, 15, np.random.default_rng(1))
    stacks = stack_groups(code)
    compared = [Grouped.of(own, rating, stacks, kind) for own in (first, second)]
    found = exchange(*compared, keep, unit, "mean")
    for draw, sides in enumerate(keep[:, unit]):
        for own, side in zip(found, (sides, ~sides), strict=True):
            mixed = np.where(side, standard(first), standard(second))
            values = []
            for group in np.unique(code):
                x, y = mixed[code == group], rating[code == group]
                if len(set(x)) > 1 and len(set(y)) > 1:
                    values.append(SCIPY[kind](x, y).statistic)
            assert own[draw] == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.parametrize("grouping", ["item", "none"])
def test_exchanged_scores_keep_the_threshold_of_their_metric(grouping, monkeypatch):
    prompt, rating, first, second = items(6, 5, seed=6, decimals=1)
    code = prompt if grouping == "item" else np.zeros(30, int)
    stacks = stack_groups(code)
    thresholds = [calibrate_ties(own, rating, stacks).threshold for own in (first, second)]
    compared = [
        Grouped.of(own, rating, stacks, "acc_eq", epsilon)
        for own, epsilon in zip((first, second), thresholds, strict=True)
    ]
    keep = draw_swaps(30, 10, np.random.default_rng(1))
    found = exchange(*compared, keep, np.arange(30), "mean")
    scaled = [epsilon / own.std() for own, epsilon in zip((first, second), thresholds, strict=True)]
    for draw, side in enumerate(keep):
        mixed = np.where(side, standard(first), standard(second))
        epsilon = np.where(side, *scaled)
        expected = []
        for group in np.unique(code):
            rows = np.flatnonzero(code == group)
            agree = []
            for i, j in itertools.combinations(rows, 2):
                tied = abs(mixed[i] - mixed[j]) <= (epsilon[i] + epsilon[j]) / 2
                order = 0 if tied else np.sign(mixed[i] - mixed[j])
                agree.append(order == np.sign(rating[i] - rating[j]))
            expected.append(np.mean(agree))
        assert found[0][draw] == pytest.approx(np.mean(expected), abs=1e-9)
    monkeypatch.setattr(permutation, "_BLOCK", 60)
    again = exchange(*compared, keep, np.arange(30), "mean")
    assert again[0] == pytest.approx(found[0]) and again[1] == pytest.approx(found[1])


def test_whole_prompts_exchanged_within_prompts_are_random_signs_of_their_differences():
    prompt, rating, first, second = items(7, 5, seed=8, decimals=6)
    stacks = stack_groups(prompt)
    compared = [Grouped.of(own, rating, stacks, "pearson") for own in (first, second)]
    keep = draw_swaps(7, 2_000, np.random.default_rng(0))
    one, other = exchange(*compared, keep, prompt, "mean")
    difference = compared[0].coefficients - compared[1].coefficients
    exact = [np.mean(np.array(signs) * difference) for signs in itertools.product((1, -1), repeat=7)]
    observed = difference.mean()
    p = np.mean(np.abs(exact) >= abs(observed) - 1e-12)
    assert exchange_p(observed, one - other) == pytest.approx(p, abs=0.03)


def test_a_p_value_counts_the_observed_difference_itself():
    assert exchange_p(1.0, np.array([0.5, -1.0, 2.0, np.nan])) == pytest.approx(3 / 4)
    assert exchange_p(1.0, np.empty(0)) == 1


# ---- Systems ----


def test_soft_pairwise_accuracy_by_hand():
    """Two systems, two prompts: all four sign vectors by hand."""
    signs = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    rating, scores = np.array([[3.0, 1], [1, 0]]), np.array([[0.0, 5], [1, 1]])
    # Differences (2, 1): only ++ reaches 3, p = 1/4. Differences (-1, 4): ++ gives 3, -+ gives 5, p = 1/2.
    assert soft_pairwise_accuracy(scores, rating, signs) == pytest.approx(1 - 1 / 4)
    assert np.isnan(soft_pairwise_accuracy(np.full((2, 2), np.nan), rating, signs))


def test_two_systems_are_compared_on_the_prompts_that_both_have():
    rng = np.random.default_rng(0)
    rating, scores = rng.normal(size=(2, 3, 6))
    signs = np.where(rng.random((50, 6)) < 0.5, 1.0, -1.0)
    holes = np.where(np.arange(6) < 4, scores, np.nan)
    found = soft_pairwise_accuracy(holes, rating, signs)
    assert found == pytest.approx(soft_pairwise_accuracy(scores[:, :4], rating[:, :4], signs[:, :4]))


def test_several_images_of_a_system_and_prompt_are_averaged():
    system, prompt = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = system_matrix(np.array([1.0, 3, np.nan]), system, prompt, (2, 2))
    assert found.tolist()[0][0] == 2 and np.isnan(found).sum() == 3


def test_exchanging_whole_prompts_is_exchanging_all_their_cells():
    rng = np.random.default_rng(3)
    rating, first, second = rng.normal(size=(3, 4, 15))
    first[1, 2] = np.nan
    keep = draw_swaps(15, 30, rng)
    cells = np.broadcast_to(keep[:, None], (30, 4, 15))
    whole, single = (
        exchange_soft_pairwise_accuracy((first, second), rating, sides) for sides in (keep, cells)
    )
    for one, other in zip(whole, single, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_equal_metrics_have_equal_soft_pairwise_accuracy():
    rng = np.random.default_rng(3)
    rating, scores = rng.normal(size=(2, 4, 15))
    for keep in (draw_swaps(15, 30, rng), draw_swaps(60, 30, rng).reshape(30, 4, 15)):
        assert exchange_test((scores, scores * 2 + 1), rating, keep) == 1
