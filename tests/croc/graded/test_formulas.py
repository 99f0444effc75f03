"""Ordering, separation and steps against scipy and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import ks_2samp, mannwhitneyu, spearmanr

from croc.graded.formulas import (
    best_of,
    different_errors,
    ks_statistic,
    ordering,
    probability_higher,
    separation,
    separation_by_chance,
)

RNG = np.random.default_rng(0)


def test_ordering_is_the_correlation_of_scipy_weighted_by_images() -> None:
    values = {name: RNG.normal(size=(2, n)) for name, n in (("0", 2), ("1a", 3), ("1b", 1), ("2", 2))}
    errors = {"0": 0, "1a": 1, "1b": 1, "2": 2}
    walks = [("0", "1a", "2"), ("0", "1b", "2")]
    expected = []
    for metric in (0, 1):
        rho, images = [], []
        for walk in walks:
            scores = np.concatenate([values[node][metric] for node in walk])
            wrong = np.concatenate([np.full(values[node].shape[1], errors[node]) for node in walk])
            rho.append(-spearmanr(wrong, scores)[0])
            images.append(len(scores))
        expected.append(np.average(rho, weights=images))
    assert ordering(values, errors, walks) == pytest.approx(expected)


def test_constant_scores_have_the_value_that_is_asked_for() -> None:
    values = {"0": np.ones((1, 2)), "1": np.ones((1, 2))}
    errors = {"0": 0, "1": 1}
    assert np.isnan(ordering(values, errors, [("0", "1")])[0])
    assert ordering(values, errors, [("0", "1")], constant=0.0)[0] == 0


def test_missing_scores_leave_their_walk_and_their_pairs() -> None:
    values = {"0": np.array([[0.9]]), "1": np.array([[0.5, np.nan]]), "2": np.array([[0.7]])}
    errors = {"0": 0, "1": 1, "2": 2}
    walk = ("0", "1", "2")
    assert ordering(values, errors, [walk])[0] == pytest.approx(-spearmanr([0, 1, 2], [0.9, 0.5, 0.7])[0])
    ks, delta = separation(values, different_errors(errors))
    assert (ks[0], delta[0]) == (1.0, pytest.approx(0.2))  # of nodes 0 and 2 alone


def test_the_statistic_of_kolmogorov_and_smirnov_is_that_of_scipy() -> None:
    for _ in range(20):
        first, second = RNG.integers(0, 5, (2, 3, 7)).astype(float)
        second = second[:, :4]
        expected = [ks_2samp(a, b)[0] for a, b in zip(first, second, strict=True)]
        assert ks_statistic(first, second) == pytest.approx(expected)


def test_separation_by_chance_is_the_mean_over_all_orders() -> None:
    assert separation_by_chance(1, 1) == 1.0
    # Of the six orders of two and two, two separate completely, and four have a largest difference of a half.
    assert separation_by_chance(2, 2) == pytest.approx((2 * 1.0 + 4 * 0.5) / 6)
    simulated = np.mean([ks_2samp(*RNG.normal(size=(2, 12)))[0] for _ in range(2000)])
    assert separation_by_chance(12, 12) == pytest.approx(simulated, abs=0.01)


def test_the_probability_of_a_higher_score_is_that_of_mann_and_whitney() -> None:
    first, second = RNG.integers(0, 4, (3, 5)).astype(float), RNG.integers(0, 4, (3, 6)).astype(float)
    expected = [mannwhitneyu(a, b)[0] / 30 for a, b in zip(first, second, strict=True)]
    assert probability_higher(first, second) == pytest.approx(expected)
    first[0, 0] = np.nan
    assert probability_higher(first, second)[0] == pytest.approx(
        mannwhitneyu(first[0, 1:], second[0])[0] / 24
    )
    assert np.isnan(probability_higher(np.full((1, 2), np.nan), second[:1])[0])


@pytest.mark.parametrize("number", range(1, 8))
def test_the_best_of_n_is_the_mean_over_all_choices(number: int) -> None:
    right = np.array([True, False, False, True, False, False, True])
    scores = np.array([RNG.normal(size=7), RNG.integers(0, 3, 7), np.zeros(7)], dtype=float)
    scores[0, 2] = np.nan  # never chosen while another one has a score
    expected = np.zeros(3)
    choices = list(itertools.combinations(range(7), number))
    for metric, row in enumerate(np.where(np.isnan(scores), -np.inf, scores)):
        for chosen in choices:
            at = np.array(chosen)
            best = at[row[at] == row[at].max()]
            expected[metric] += right[best].mean() / len(choices)
    assert best_of(scores, right, number) == pytest.approx(expected)
    with pytest.raises(ValueError, match="the best of 8 of 7 images"):
        best_of(scores, right, 8)
