"""Rank agreement: planted rankings, other programs' coefficients, and the coverage of the interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

from croc.ratings.coefficients import weighted_correlation
from croc.transfer.agreement import (
    FEWEST_METRICS,
    Agreement,
    agreement,
    independent_pairs,
    leave_one_out,
    smallest_significant,
    weighted_rank_agreement,
)

Array = NDArray[np.float64]
RESAMPLES = 400


def measured(
    truth: Array, noise: float, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[Array, Array]:
    """Scores of metrics whose items give them a standard error ``noise``, and their resamples."""
    values = truth + noise * rng.normal(size=len(truth))
    return values, values + noise * rng.normal(size=(resamples, len(truth)))


def compared(first: Array, second: Array, noise: float = 0.05, seed: int = 0) -> Agreement:
    rng = np.random.default_rng(seed)
    one, other = (measured(truth, noise, rng) for truth in (first, second))
    return agreement((one[0], other[0]), (one[1], other[1]), 0.95, seed)


@pytest.mark.parametrize("metrics", [6, 8, 20])
@pytest.mark.parametrize(("sign", "tau"), [(1, 1.0), (-1, -1.0)])
def test_identical_rankings_agree_and_reversed_ones_are_opposite(metrics: int, sign: int, tau: float) -> None:
    truth = np.arange(metrics, dtype=float)
    found = compared(truth, sign * truth**3)
    assert found.tau == tau and set(found.without) == {tau}
    assert found.p < 0.05
    near, far = (found.high, found.low) if tau > 0 else (found.low, found.high)
    assert near == pytest.approx(tau)
    # Few metrics in the same order do not prove that all metrics would be.
    assert abs(far) < {6: 0.3, 8: 0.45, 20: 0.8}[metrics]
    assert found.low <= found.tau <= found.high


def test_independent_rankings_are_near_zero() -> None:
    rng = np.random.default_rng(4)
    taus, significant = [], 0
    for seed in range(60):
        found = compared(rng.normal(size=12), rng.normal(size=12), seed=seed)
        taus.append(found.tau)
        significant += found.p < 0.05
        assert found.low < 0 < found.high or abs(found.tau) > 0.4
    assert abs(np.mean(taus)) < 0.08
    assert significant <= 8


def test_fewer_than_six_metrics_have_no_interval_no_p_value_and_nothing_left_out() -> None:
    found = compared(np.arange(5.0), np.arange(5.0))
    assert found.tau == 1.0
    assert np.isnan([found.low, found.high, found.p, found.error]).all() and np.isnan(found.without).all()
    assert FEWEST_METRICS == 6


def test_equal_scores_have_no_agreement() -> None:
    values, samples = np.arange(6.0), np.tile(np.arange(6.0), (10, 1))
    found = agreement((values, np.ones(6)), (samples, np.ones((10, 6))), 0.95, 0)
    assert math.isnan(found.tau) and math.isnan(found.low)


def test_noise_of_the_items_widens_the_interval_and_is_told_from_that_of_the_metrics() -> None:
    truth = np.random.default_rng(1).normal(size=15)
    quiet, noisy = (compared(truth, truth + 0.5 * truth[::-1], noise) for noise in (0.001, 0.3))
    assert quiet.item_error < 0.02 < noisy.item_error
    assert quiet.error > 5 * quiet.item_error and noisy.error > noisy.item_error
    assert noisy.high - noisy.low > quiet.high - quiet.low


# ---- Against other programs ----


@pytest.mark.parametrize("metrics", range(5, 12))
def test_the_smallest_significant_tau_is_that_of_scipys_exact_test(metrics: int) -> None:
    order, p = np.arange(metrics), {}
    for exchanged in range(metrics * (metrics - 1) // 2 + 1):
        p[tau_with(metrics, exchanged)] = kendalltau(
            order, order_with(metrics, exchanged), method="exact"
        ).pvalue
    expected = min(tau for tau, value in p.items() if tau > 0 and value < 0.05)
    assert smallest_significant(metrics) == pytest.approx(expected)


def tau_with(metrics: int, exchanged: int) -> float:
    return 1 - 2 * exchanged / (metrics * (metrics - 1) / 2)


def order_with(metrics: int, exchanged: int) -> list[int]:
    """An order of so many metrics with so many pairs exchanged."""
    rest, order = list(range(metrics)), []
    while rest:
        place = min(exchanged, len(rest) - 1)
        exchanged -= place
        order.append(rest.pop(place))
    return order


def test_nothing_can_be_significant_with_four_metrics() -> None:
    assert math.isnan(smallest_significant(4)) and smallest_significant(5) == 1.0


@pytest.mark.parametrize("rounded", [False, True])
def test_resampled_metrics_count_as_often_as_they_are_drawn(rounded: bool) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 8))
    if rounded:
        first, second = first.round(), second.round()
    counts = rng.multinomial(8, np.full(8, 1 / 8), 30)
    rows = [np.tile(values, (30, 1)) for values in (first, second)]
    found = weighted_rank_agreement(rows[0], rows[1], counts)
    np.testing.assert_allclose(found, weighted_correlation(first, second, counts, "kendall"))
    for value, drawn in zip(found, counts, strict=True):
        one, other = np.repeat(first, drawn), np.repeat(second, drawn)
        assert value == pytest.approx(kendalltau(one, other).statistic, nan_ok=True)


def test_leaving_a_metric_out_is_scipys_tau_of_the_others() -> None:
    first, second = np.random.default_rng(3).normal(size=(2, 9))
    expected = [kendalltau(np.delete(first, m), np.delete(second, m)).statistic for m in range(9)]
    np.testing.assert_allclose(leave_one_out(first, second), expected)


def test_independent_rankings_have_the_variance_of_so_many_independent_pairs() -> None:
    rng = np.random.default_rng(5)
    taus = [kendalltau(*rng.normal(size=(2, 7))).statistic for _ in range(3_000)]
    assert np.var(taus) == pytest.approx(1 / independent_pairs(7), rel=0.08)


# ---- Coverage ----


def coverage(tau: float, metrics: int, noise: float, runs: int, resamples: int) -> tuple[float, float]:
    """How often the interval holds the tau of the population of metrics, and its mean width."""
    rng = np.random.default_rng([int(100 * tau), metrics, int(100 * noise)])
    rho = math.sin(math.pi / 2 * tau)
    held, width = 0, 0.0
    for run in range(runs):
        first = rng.normal(size=metrics)
        second = rho * first + math.sqrt(1 - rho**2) * rng.normal(size=metrics)
        one, other = (measured(truth, noise, rng, resamples) for truth in (first, second))
        found = agreement((one[0], other[0]), (one[1], other[1]), 0.95, run)
        held += found.low <= tau <= found.high
        width += found.high - found.low
    return held / runs, width / runs


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [6, 20])
@pytest.mark.parametrize(("tau", "noise"), [(0, 0.2), (0.6, 0.2), (0.95, 0)])
def test_the_interval_holds_a_known_tau(tau: float, noise: float, metrics: int) -> None:
    """Some cells of ``benchmarks/simulate_transfer.py``."""
    held, width = coverage(tau, metrics, noise, runs=250, resamples=250)
    # 0.92 is two and a half standard errors of 250 runs below 0.95.
    assert held >= 0.92
    assert width < 1.7 if metrics == 6 else width < 1.3
