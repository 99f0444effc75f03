"""Error rates of the tests and coverage of the intervals of ``croc correlate``, by simulation.

    python benchmarks/simulate_correlation.py [--runs 1000]

Five systems on some prompts; people rate in five steps. A metric is the rating before rounding plus an error,
of which a share belongs to the prompt: images of one prompt get scores that are too high or too low together.
Two metrics with the same law are equally good, so that a test at level 0.05 should find a difference in 5 %
of the runs. Coverage is how often the interval of one metric contains its value on very many prompts; "plain"
is the interval of the bootstrap's percentiles without the correction for few prompts, "bias" the mean
deviation from that value.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np

from croc.ratings.groups import Grouped, mean_coefficient, stack_groups
from croc.ratings.layout import interval_level
from croc.ratings.permutation import draw_swaps, exchange, exchange_p
from croc.ratings.ties import calibrate_ties
from croc.verdict.statistics import percentile_interval, resample_counts

SYSTEMS = 5
KINDS = ("acc_eq", "kendall", "spearman", "pearson")
PROMPTS = (10, 40)
SHARES = (0.0, 0.7)
ERROR = 1.2
"""Standard deviation of a metric's error; that of images of one prompt is 1."""


def draw(prompts: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings and two equally good metrics: (prompts × systems,) each, prompt by prompt."""
    shape = prompts, SYSTEMS
    quality = rng.normal(0, 1, (prompts, 1)) + rng.normal(0, 1, shape)
    rating = np.clip(np.round(quality + 3), 1, 5)

    def metric() -> np.ndarray:
        of_prompt = rng.normal(0, ERROR * np.sqrt(share), (prompts, 1))
        return quality + of_prompt + rng.normal(0, ERROR * np.sqrt(1 - share), shape)

    return rating.ravel(), metric().ravel(), metric().ravel()


def grouped(scores: np.ndarray, rating: np.ndarray, group: str, kind: Any) -> Grouped:
    prompt = np.arange(len(rating)) // SYSTEMS
    stacks = stack_groups(prompt if group == "item" else np.zeros_like(prompt))
    threshold = calibrate_ties(scores, rating, stacks).threshold if kind == "acc_eq" else 0.0
    return Grouped.of(scores, rating, stacks, kind, threshold)


def simulate(
    prompts: int,
    share: float,
    group: str,
    kind: Any,
    runs: int,
    resamples: int,
    permutations: int,
    truth: float,
) -> dict[str, float]:
    """Shares of the runs: a test finds a difference; an interval contains the value. Also the bias."""
    rng = np.random.default_rng([prompts, int(100 * share), KINDS.index(kind), group == "item"])
    found = {"perm-inputs": 0.0, "perm-both": 0.0, "interval": 0.0, "plain": 0.0, "bias": 0.0}
    for _ in range(runs):
        rating, *metrics = draw(prompts, share, rng)
        first, second = (grouped(scores, rating, group, kind) for scores in metrics)
        values = [float(mean_coefficient(one.coefficients, "mean", kind)) for one in (first, second)]
        prompt, item = np.arange(len(rating)) // SYSTEMS, np.arange(len(rating))
        for test, unit in (("perm-inputs", prompt), ("perm-both", item)):
            keep = draw_swaps(int(unit.max()) + 1, permutations, rng)
            one, other = exchange(first, second, keep, unit, "mean")
            found[test] += exchange_p(values[0] - values[1], one - other) <= 0.05
        found["bias"] += values[0] - truth
        drawn = first.resampled(resample_counts(prompts, resamples, rng), prompt, "mean")
        for name, level in (("interval", interval_level(0.95, prompts)), ("plain", 0.95)):
            low, high = percentile_interval(drawn, level)
            found[name] += low <= truth <= high
    return {name: number / runs for name, number in found.items()}


def value_on_many_prompts(share: float, group: str, kind: Any) -> float:
    """The value that intervals should contain: on 20,000 prompts, or pooled on the mean of ten times 400."""
    rng = np.random.default_rng(1)
    sizes = [20_000] if group == "item" else [400] * 10
    values = []
    for prompts in sizes:
        rating, scores, _ = draw(prompts, share, rng)
        values.append(mean_coefficient(grouped(scores, rating, group, kind).coefficients, "mean", kind))
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--permutations", type=int, default=199)
    options = parser.parse_args()
    print(
        "| grouping | prompts | error of prompts | coefficient "
        "| perm-inputs | perm-both | coverage | plain | bias |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for group, share, kind in itertools.product(("item", "none"), SHARES, KINDS):
        truth = value_on_many_prompts(share, group, kind)
        for prompts in PROMPTS:
            sizes = options.runs, options.resamples, options.permutations
            found = simulate(prompts, share, group, kind, *sizes, truth)
            cells = (f"{found[name]:.3f}" for name in found)
            print(f"| {group} | {prompts} | {share:.0%} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
