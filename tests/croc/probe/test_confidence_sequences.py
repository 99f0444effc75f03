"""Confidence sequences: known formulas, coverage at all times, evidence that is not found by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln

from croc.probe.confidence_sequences import (
    STEPS,
    VALUES,
    interval,
    log_capital,
    log_evidence_below,
    means,
)


def histogram(**counts: int) -> np.ndarray:
    """``histogram(v0=3, v8=7)``: the value 0 three times, 8/8 seven times."""
    found = np.zeros(STEPS + 1)
    for name, count in counts.items():
        found[int(name[1:])] = count
    return found


def running(values: np.ndarray) -> np.ndarray:
    """(runs, steps, STEPS + 1): histograms after each value of (runs, steps) values in eighths."""
    return np.eye(STEPS + 1)[values].cumsum(axis=1)


@pytest.mark.parametrize(
    ("passed", "failed", "mean"), [(7, 3, 0.4), (0, 5, 0.5), (90, 10, 0.85), (1, 0, 0.3)]
)
def test_for_values_0_and_1_it_is_the_beta_binomial_mixture(passed, failed, mean) -> None:
    # Robbins 1970: B(s + ½, f + ½) / B(½, ½) over the likelihood of the mean
    expected = betaln(passed + 0.5, failed + 0.5) - betaln(0.5, 0.5)
    expected -= passed * np.log(mean) + failed * np.log(1 - mean)
    assert log_capital(histogram(v8=passed, v0=failed), mean) == pytest.approx(expected, abs=1e-6)


def test_the_capital_is_1_on_average_after_one_value() -> None:
    probabilities = np.array([0.1, 0, 0.3, 0, 0.2, 0, 0, 0.1, 0.3])
    after = [np.exp(log_capital(row, probabilities @ VALUES)) for row in np.eye(STEPS + 1)]
    assert probabilities @ after == pytest.approx(1.0, abs=1e-9)


def test_intervals_contain_the_mean_and_shrink() -> None:
    few, many = histogram(v0=2, v8=8), histogram(v0=200, v8=800)
    low, high = interval(np.stack([few, many, few * 0]))
    assert means(few) == pytest.approx(0.8)
    assert low[0] < low[1] < 0.8 < high[1] < high[0]
    assert (low[2], high[2]) == (0, 1)
    # with the same mean, values in the middle vary less: the interval is narrower
    low_middle, high_middle = interval(histogram(v6=6, v7=4))
    assert high_middle - low_middle < high[0] - low[0]


@pytest.mark.parametrize("probabilities", [(0.5, 0, 0.5), (0.1, 0, 0.9), (0.2, 0.3, 0.5)])
def test_the_interval_is_left_at_any_time_in_5_of_100_runs_at_most(probabilities) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([0, 4, 8], size=(400, 250), p=probabilities)
    mean = float(np.dot(probabilities, [0, 0.5, 1]))
    left = (log_capital(running(values), mean) > np.log(20)).any(axis=1).mean()
    assert 0.002 < left <= 0.05


def test_evidence_between_equal_means_is_found_in_5_of_100_runs_at_most() -> None:
    rng = np.random.default_rng(1)
    first, second = (running(rng.choice([0, 8], size=(300, 120), p=(0.3, 0.7))) for _ in range(2))
    found = (log_evidence_below(first[:, 9::10], second[:, 9::10]) > np.log(20)).any(axis=1).mean()
    assert found <= 0.05


def test_the_evidence_is_the_smallest_product_of_two_capitals() -> None:
    low, high = histogram(v0=12, v4=3, v8=5), histogram(v0=3, v6=4, v8=30)
    grid = np.linspace(0.001, 0.899, 4000)
    for margin in (0.0, 0.1):
        expected = (log_capital(low, grid) + log_capital(high, grid + margin)).min()
        assert log_evidence_below(low, high, margin) == pytest.approx(expected, abs=1e-4)
    assert log_evidence_below(high, low) == -np.inf
    assert log_evidence_below(low, high, 0.6) == -np.inf  # they differ by less
    assert log_evidence_below(low * 0, high) == -np.inf
