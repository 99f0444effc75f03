"""Coefficients of correlation against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from croc.ratings import coefficients
from croc.ratings.coefficients import correlation, weighted_correlation
from croc.verdict.statistics import resample_counts


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", ["kendall", "spearman", "pearson"])
def test_weighted_correlation_is_scipys_on_the_repeated_sample(kind, ties):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=25), rng.normal(size=25)
    y += x
    if ties:
        x, y = np.round(x), np.round(y)
    counts = resample_counts(25, 20, rng)
    of = {"kendall": stats.kendalltau, "spearman": stats.spearmanr, "pearson": stats.pearsonr}[kind]
    for found, row in zip(weighted_correlation(x, y, counts, kind), counts.astype(int), strict=True):
        assert found == pytest.approx(of(np.repeat(x, row), np.repeat(y, row)).statistic, abs=1e-6)
    ones = np.ones((1, 25))
    assert weighted_correlation(x, y, ones, kind)[0] == pytest.approx(correlation(x, y, kind), abs=1e-6)


@pytest.mark.parametrize("kind", ["kendall", "spearman", "pearson"])
def test_a_constant_has_no_correlation(kind):
    x = np.arange(4.0)
    assert np.isnan(correlation(x, np.ones(4), kind))
    assert np.isnan(weighted_correlation(x, x, np.array([[4.0, 0, 0, 0]]), kind)[0])


def test_blocks_of_pairs_change_no_kendall(monkeypatch):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 23))
    counts = resample_counts(23, 5, rng)
    whole = weighted_correlation(x, y, counts, "kendall")
    monkeypatch.setattr(coefficients, "_BLOCK", 50)
    assert weighted_correlation(x, y, counts, "kendall") == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("kind", ["kendall", "spearman", "pearson"])
def test_no_items_have_no_correlation(kind):
    none = np.empty(0)
    assert np.isnan(correlation(none, none, kind))
    assert np.isnan(weighted_correlation(none, none, np.empty((3, 0)), kind)).tolist() == [True] * 3
