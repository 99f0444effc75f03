"""Intervals and tests against exhaustive computations, published values and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from croc.verdict import statistics
from croc.verdict.statistics import (
    adjust,
    best_first,
    bootstrap_p,
    bootstrap_sums,
    cluster_sums,
    first_step,
    holm,
    minimum_detectable_difference,
    percentile_interval,
    permutation_p,
    rank_agreement,
    resample_counts,
    sign_flip_sums,
    significance_ranks,
    smallest_factor,
    wilson_interval,
)


def test_cluster_sums_add_the_rows_of_a_cluster_and_take_nan_for_nothing():
    values = np.array([[1.0, 10], [2, np.nan], [4, 40]])
    assert cluster_sums(values, np.array([1, 0, 1]), 3).tolist() == [[2, 0], [5, 50], [0, 0]]


def test_resample_counts_draw_every_cluster_with_the_binomial_chance():
    counts = resample_counts(4, 20_000, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 4).all()
    # Each count is binomial(4, 1/4).
    share = [(counts[:, 2] == k).mean() for k in range(5)]
    assert share == pytest.approx(stats.binom.pmf(range(5), 4, 0.25), abs=0.012)


def test_bootstrap_has_the_distribution_of_a_literal_resampling_loop():
    rng = np.random.default_rng(3)
    sums = np.column_stack([rng.random(12) * 5, rng.integers(1, 6, 12)])
    fast = bootstrap_sums(sums, 20_000, 1)
    ratio = fast[:, 0] / fast[:, 1]
    loop = []
    for _ in range(20_000):
        total = np.zeros(2)
        for _ in range(12):
            total += sums[rng.integers(12)]
        loop.append(total[0] / total[1])
    spread = np.std(loop)
    assert np.quantile(ratio, [0.025, 0.25, 0.5, 0.75, 0.975]) == pytest.approx(
        np.quantile(loop, [0.025, 0.25, 0.5, 0.75, 0.975]), abs=0.06 * spread + 1e-3
    )


def test_the_same_seed_gives_the_same_resamples_in_any_block_size(monkeypatch):
    sums = np.random.default_rng(0).random((40, 3))
    whole = bootstrap_sums(sums, 50, 7), sign_flip_sums(sums, 50, 7)
    assert np.array_equal(bootstrap_sums(sums, 50, 7), whole[0])
    assert not np.array_equal(bootstrap_sums(sums, 50, 8), whole[0])
    monkeypatch.setattr(statistics, "_BLOCK", 200)
    assert bootstrap_sums(sums, 50, 7) == pytest.approx(whole[0])


def test_sign_flips_are_those_of_exhaustive_enumeration():
    values = np.array([[0.5, 3.0], [1.25, -1.0], [-2.0, 0.5], [4.0, 0.0]])
    every = {tuple(np.array(signs) @ values) for signs in itertools.product((-1, 1), repeat=4)}
    drawn = sign_flip_sums(values, 4_000, 0)
    assert {tuple(row) for row in drawn} == every
    first = [tuple(row) for row in drawn].count(tuple(values.sum(axis=0))) / 4_000
    assert first == pytest.approx(1 / 16, abs=0.015)


@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1e4 / 7])
def test_sign_flip_p_value_is_that_of_exhaustive_enumeration(scale):
    rng = np.random.default_rng(5)
    values = (rng.integers(-5, 9, (7, 1)) + 0.1) * scale
    observed = values.sum(axis=0)
    every = np.array([np.array(s) @ values[:, 0] for s in itertools.product((-1, 1), repeat=7)])
    exact = (np.abs(every) >= abs(observed[0]) * (1 - 1e-9)).mean()
    k = 40_000
    p = permutation_p(observed, sign_flip_sums(values, k, 2))[0]
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / k) + 2 / k)


def test_a_small_total_of_large_sums_is_equal_to_itself_in_single_precision():
    # Of the eight sign vectors, two give ±0.0001 and the others more: all are at least as extreme.
    values = np.array([[100.1], [-200.3], [100.2001]])
    null = sign_flip_sums(values, 2_000, 0)
    assert permutation_p(values.sum(axis=0), null)[0] == 1
    # The largest of eight: only the observed vector and its negative reach it.
    values = np.array([[10 / 3], [1e5 / 3], [2e5 / 7]])
    null = sign_flip_sums(values, 2_000, 0)
    assert permutation_p(values.sum(axis=0), null)[0] == pytest.approx(0.25, abs=0.04)


def test_permutation_p_counts_the_observed_one():
    null = np.array([[1.0], [-3.0], [2.0], [0.0], [3.0]])
    # |null| >= 2: three of five; (3+1)/(5+1).
    assert permutation_p(np.array([2.0]), null)[0] == pytest.approx(4 / 6)
    assert permutation_p(np.array([2.0]), null, "above")[0] == pytest.approx(3 / 6)
    assert permutation_p(np.array([2.0]), null, "below")[0] == pytest.approx(5 / 6)
    assert permutation_p(np.array([9.0]), null)[0] == pytest.approx(1 / 6)
    assert np.isnan(permutation_p(np.array([np.nan]), null)[0])


def test_false_discovery_rates_reject_as_many_as_published():
    # Benjamini and Hochberg (1995), section 4.1: 15 comparisons, of which Bonferroni's method rejects three
    # at 0.05 and theirs four.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    assert (adjust(p, "holm") < 0.05).sum() == 3
    assert (adjust(p, "bh") < 0.05).sum() == 4
    assert adjust(p, "bh")[:5] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625, 0.0603])


def test_adjusted_p_values_by_hand():
    p = [0.03, 0.01, np.nan, 0.5, 0.02]  # in order: 0.01 · 4/1, 0.02 · 4/2, 0.03 · 4/3, 0.5 · 4/4
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert adjust(p, "bh") == pytest.approx([0.04, 0.04, np.nan, 0.5, 0.04], nan_ok=True)
    expected = [0.04 * harmonic, 0.04 * harmonic, np.nan, 1, 0.04 * harmonic]
    assert adjust(p, "by") == pytest.approx(expected, nan_ok=True)
    assert adjust(p) == pytest.approx(holm(p), nan_ok=True)
    for correction in ("holm", "bh", "by"):
        assert adjust([], correction).tolist() == []
        assert np.isnan(adjust([np.nan], correction)).all()


@pytest.mark.parametrize("correction", ["holm", "bh", "by"])
def test_the_first_step_is_what_the_smallest_p_value_is_multiplied_by(correction):
    smallest = adjust([1e-6, 0.9, 0.9, 0.9, 0.9], correction)[0]
    assert smallest == pytest.approx(1e-6 * first_step(5, correction))
    equal = adjust([1e-6] * 5, correction)
    assert equal == pytest.approx([1e-6 * smallest_factor(5, correction)] * 5)


def test_holm_by_hand():
    # 0.01·4, 0.02·3, 0.03·2 raised to 0.06 by the one before, 0.5·1; the NaN is no test.
    assert holm([0.03, 0.01, np.nan, 0.5, 0.02]) == pytest.approx(
        [0.06, 0.04, np.nan, 0.5, 0.06], nan_ok=True
    )
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([]).tolist() == []


def test_wilson_interval_has_the_published_value():
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20 and 1/29.
    for passed, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = wilson_interval(passed / n, n)
        assert [float(end) for end in found] == pytest.approx([low, high], abs=5e-5)
    low, high = wilson_interval(1.0, 20)
    assert (float(low), float(high)) == (pytest.approx(1 - 0.1611, abs=5e-5), 1.0)


def test_percentile_interval_leaves_undefined_resamples_out():
    samples = np.column_stack([np.arange(101.0), np.arange(101.0), np.full(101, np.nan)])
    samples[:50, 1] = np.nan
    low, high = percentile_interval(samples, 0.9)
    assert low == pytest.approx([5, 52.5, np.nan], nan_ok=True)
    assert high == pytest.approx([95, 97.5, np.nan], nan_ok=True)


def test_a_detectable_difference_is_found_with_the_power_it_names():
    error = 0.02
    difference = float(minimum_detectable_difference(error, concepts=1_000_000))
    assert difference == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)
    found = np.random.default_rng(0).normal(difference, error, 100_000)
    assert (np.abs(found) > 1.959964 * error).mean() == pytest.approx(0.8, abs=0.005)


def test_bootstrap_intervals_of_clustered_data_cover_the_truth():
    """95% intervals cover about 95%; resampling rows instead of clusters would cover far less."""
    rng = np.random.default_rng(11)
    clusters, size, covered, naive = 60, 6, 0, 0
    trials = 300
    for trial in range(trials):
        level = rng.normal(0, 1, clusters)[:, None] + rng.normal(0, 0.5, (clusters, size))
        passed = (level > 0).astype(float)  # true share 1/2
        cluster = np.repeat(np.arange(clusters), size)
        columns = np.column_stack([passed.ravel(), np.ones(passed.size)])
        for code, count in ((cluster, clusters), (np.arange(passed.size), passed.size)):
            drawn = bootstrap_sums(cluster_sums(columns, code, count), 400, trial)
            low, high = percentile_interval(drawn[:, 0] / drawn[:, 1])
            inside = low <= 0.5 <= high
            if count == clusters:
                covered += inside
            else:
                naive += inside
    assert 0.91 <= covered / trials <= 0.985
    assert naive / trials < 0.8


# ---- Rankings ----


def significant(pairs, size=4):
    p = np.ones((size, size))
    for a, b in pairs:
        p[a, b] = p[b, a] = 0.01
    return p


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], [1, 1, 1, 1]),
        ([(0, 3)], [1, 1, 1, 4]),
        ([(0, 2), (0, 3)], [1, 1, 3, 3]),
        ([(0, 1), (1, 2), (2, 3)], [1, 2, 3, 4]),
        ([(1, 2), (2, 3)], [1, 1, 3, 4]),
        # Not transitive: 3 differs from 1 alone, which stands in the first cluster.
        ([(0, 2), (1, 3)], [1, 1, 3, 3]),
    ],
)
def test_significance_ranks(pairs, expected):
    assert significance_ranks(np.array([0.8, 0.6, 0.4, 0.2]), significant(pairs)) == expected


@pytest.mark.parametrize("pairs", [[(0, 1)], [(0, 2)], [(0, 1), (0, 2)]])
def test_equal_values_have_one_rank_whichever_of_them_is_beaten(pairs):
    values = np.array([0.8, 0.1 + 0.2, 0.3, 0.1])  # 0.1 + 0.2 is 0.30000000000000004
    assert significance_ranks(values, significant(pairs)) == [1, 2, 2, 2]
    assert significance_ranks(values, significant([*pairs, (1, 3)])) == [1, 2, 2, 4]


def test_the_best_are_first_equal_ones_by_name_and_missing_ones_last():
    names = ["d", "c", "b", "a"]
    assert best_first(names, np.array([np.nan, 0.3, 0.1 + 0.2, 0.5])) == [3, 2, 1, 0]
    assert best_first(names, np.array([np.nan, -0.5, np.nan, 0.0])) == [3, 1, 2, 0]


def test_rank_agreement_is_kendalls_tau_b():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 4, (30, 6)).astype(float), rng.integers(0, 4, (30, 6)).astype(float)
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert rank_agreement(first, second) == pytest.approx(expected, nan_ok=True)


def test_bootstrap_p_is_twice_the_smaller_tail():
    assert bootstrap_p(np.arange(1.0, 100)) == pytest.approx(2 * 1 / 100)
    assert bootstrap_p(np.arange(-9.0, 90)) == pytest.approx(2 * 11 / 100)
    assert bootstrap_p(np.array([-1.0, 1, np.nan])) == 1
    assert bootstrap_p(np.full(3, np.nan)) == 1
