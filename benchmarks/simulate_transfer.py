"""Coverage of the intervals of rank agreement: ``python benchmarks/simulate_transfer.py [RUNS]``.

Metrics with a known Kendall's tau between two benchmarks: true scores are normal with the correlation
sin(π/2 tau), and the items give each a standard error, in units of the spread of the metrics. The table has
how often the 95 % interval of ``croc.transfer.agreement`` holds the known tau, its mean width, and
in brackets how often the percentiles of such resamples do, with the quantiles of t.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from croc.ratings.layout import interval_level
from croc.transfer.agreement import agreement, weighted_rank_agreement
from croc.verdict.statistics import percentile_interval

TAUS = (0.0, 0.33, 0.6, 0.8, 0.95)
METRICS = (6, 8, 12, 20)
NOISE = (0.0, 0.1, 0.2)
RESAMPLES = 300


def cell(tau: float, metrics: int, noise: float, runs: int) -> tuple[float, float, float]:
    """Coverage and mean width of the interval, and coverage of the percentiles."""
    rng = np.random.default_rng([int(100 * tau), metrics, int(100 * noise)])
    rho = math.sin(math.pi / 2 * tau)
    held, width, by_percentiles = 0, 0.0, 0
    for run in range(runs):
        first = rng.normal(size=metrics)
        truths = (first, rho * first + math.sqrt(1 - rho**2) * rng.normal(size=metrics))
        values = [truth + noise * rng.normal(size=metrics) for truth in truths]
        samples = [own + noise * rng.normal(size=(RESAMPLES, metrics)) for own in values]
        found = agreement((values[0], values[1]), (samples[0], samples[1]), 0.95, run)
        held += found.low <= tau <= found.high
        width += found.high - found.low
        counts = rng.multinomial(metrics, np.full(metrics, 1 / metrics), RESAMPLES)
        drawn = weighted_rank_agreement(samples[0], samples[1], counts)
        low, high = percentile_interval(drawn, interval_level(0.95, metrics))
        by_percentiles += bool(low <= tau <= high)
    return held / runs, width / runs, by_percentiles / runs


def main(runs: int) -> None:
    """Print the table."""
    print("| tau | standard error | " + " | ".join(f"{m} metrics" for m in METRICS) + " |")
    print("|---|---|" + "---|" * len(METRICS))
    for tau in TAUS:
        for noise in NOISE:
            cells = [cell(tau, metrics, noise, runs) for metrics in METRICS]
            text = " | ".join(f"{held:.3f}, width {width:.2f} ({other:.3f})" for held, width, other in cells)
            print(f"| {tau:.2f} | {noise:g} | {text} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
