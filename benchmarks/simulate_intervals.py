r"""How often do the confidence intervals of a report hold the true value?

    python benchmarks/simulate_intervals.py --out intervals.json          # the full table, about an hour
    python benchmarks/simulate_intervals.py --quick                       # a few cells, seconds
    python benchmarks/simulate_intervals.py --table intervals.json        # the tables of the documentation

A metric with a known true mean scaled accuracy is simulated. The skill of each concept is normal around a
mean; the score of an image with its own prompt exceeds its score with the other prompt by the skill on
average;
images differ in quality. Mean and spread of the skill are fitted so that the true mean and the correlation
between two checks of one concept are those of the cell. Concepts are drawn from a population of 5,000 with 60
checks each, whose own mean is the true value.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from croc.verdict.directions import (
    hum_image,
    hum_text,
    scaled_accuracy,
    symmetric_chance,
    syn_image,
    syn_text,
)
from croc.verdict.intervals import intervals

POPULATION, LARGEST = 5_000, 60
PROTOCOLS = ("syn", "hum")
MEANS = (0.0, 0.3, 0.57, 0.87, 0.97)
CORRELATIONS = (0.1, 0.3)
IMAGES = (1, 2, 5)
CONCEPTS = (5, 8, 12, 30, 100)
SIZES = ("equal", "pareto")
RUNS = 4_000
NOISE = 0.7
LEVEL = 0.95


@dataclass(frozen=True)
class Truth:
    """A kind of metric: what is simulated."""

    protocol: str
    mean: float
    correlation: float
    images: int
    unequal: bool

    @property
    def sides(self) -> tuple[int, int]:
        """Number of original and of contrast images."""
        if not self.unequal:
            return self.images, self.images
        return (1, 2) if self.images == 1 else (self.images, self.images // 2)


@dataclass(frozen=True)
class Cell:
    """What came out for one truth, number of concepts and kind of sizes."""

    truth: Truth
    sizes: str
    concepts: int
    true_mean: float
    bias: float
    below: float  # share of runs whose interval of the mean lies below the true value
    above: float
    width: float  # of the interval of the mean, relative to that of a normal interval with the true error
    worst_direction: float  # the lowest coverage among the four directions
    worst_side: float  # the highest share of one side among the four directions

    @property
    def coverage(self) -> float:
        """Share of runs whose interval of the mean holds the true value."""
        return 1 - self.below - self.above


def verdicts(
    rng: np.random.Generator, truth: Truth, center: float, spread: float, concepts: int, checks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts and chances (concepts, checks, 4) of a simulated metric."""
    count = concepts * checks
    skill = np.repeat(center + spread * rng.standard_normal(concepts), checks)[:, None]

    def side(images: int) -> tuple[np.ndarray, np.ndarray]:
        quality = NOISE * rng.standard_normal((count, images))
        own, other = (
            sign * skill / 2 + quality + NOISE * rng.standard_normal((count, images)) for sign in (1, -1)
        )
        return own, other

    (p_o, c_o), (c_c, p_c) = (side(images) for images in truth.sides)
    if truth.protocol == "syn":
        four = (syn_text(p_o, c_o), syn_text(c_c, p_c), syn_image(p_o, p_c), syn_image(c_c, c_o))
    else:
        original, contrast = (np.full(count, images) for images in truth.sides)
        four = (
            hum_text(p_o, c_o, original),
            hum_text(c_c, p_c, contrast),
            hum_image(p_o, p_c, original, contrast),
            hum_image(c_c, c_o, contrast, original),
        )
    value, chance = (
        np.stack([getattr(one, name) for one in four], -1).reshape(concepts, checks, 4)
        for name in ("value", "chance")
    )
    return value, chance


def true_values(truth: Truth, value: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """(4,): scaled accuracy of a whole population."""
    symmetric = symmetric_chance(truth.protocol, paper=False)
    return np.asarray(scaled_accuracy(value.mean((0, 1)), chance.mean((0, 1)), symmetric))


def correlation_within(value: np.ndarray, chance: np.ndarray) -> float:
    """Intra-concept correlation of verdict less chance, mean over the directions."""
    excess = value - chance
    checks = excess.shape[1]
    between = checks * excess.mean(1).var(axis=0, ddof=1)
    within = excess.var(axis=1, ddof=1).mean(axis=0)
    return float(np.mean((between - within) / (between + (checks - 1) * within)))


def fitted(truth: Truth) -> tuple[float, float]:
    """Mean and spread of the skill that give the mean and the correlation of the truth, by bisection."""
    low_spread, high_spread = 0.0, 6.0
    center = 0.0
    for _ in range(9):
        spread = (low_spread + high_spread) / 2
        low, high = -3.0, 14.0
        for _ in range(12):
            center = (low + high) / 2
            value, chance = verdicts(np.random.default_rng(1), truth, center, spread, 1_500, 8)
            if true_values(truth, value, chance).mean() < truth.mean:
                low = center
            else:
                high = center
        if correlation_within(value, chance) < truth.correlation:
            low_spread = spread
        else:
            high_spread = spread
    return center, spread


def population(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the first n checks of each concept, (concepts, n + 1, 4, 2), and the true values (4,)."""
    value, chance = verdicts(np.random.default_rng(5), truth, *fitted(truth), POPULATION, LARGEST)
    sums = np.zeros((POPULATION, LARGEST + 1, 4, 2))
    sums[:, 1:, :, 0], sums[:, 1:, :, 1] = np.cumsum(value, 1), np.cumsum(chance, 1)
    return sums, true_values(truth, value, chance)


def sizes_of(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Number of checks per concept: 10 each, or Pareto (alpha 2) from 3 to 60."""
    if kind == "equal":
        return np.full(shape, 10)
    return np.minimum(np.floor(3 * (1 + rng.pareto(2, shape))), LARGEST).astype(int)


def simulate(truth: Truth, concepts: Iterable[int], sizes: Iterable[str], runs: int) -> Iterator[Cell]:
    """The cells of one truth."""
    sums, true = population(truth)
    symmetric = symmetric_chance(truth.protocol, paper=False)
    for kind, count in itertools.product(sizes, concepts):
        rng = np.random.default_rng([7, count, SIZES.index(kind)])
        estimates, directions, means = [], [], []
        step = max(1, 200_000 // count)
        for begin in range(0, runs, step):
            some = min(step, runs - begin)
            drawn = sizes_of(rng, kind, (some, count))
            picked = sums[rng.integers(0, POPULATION, (some, count)), drawn]
            number = np.broadcast_to(drawn[..., None, None], (*picked.shape[:3], 1))
            # Every run is a metric of one report on the same concepts: (clusters, T, M, 4, 3).
            of_runs = np.moveaxis(np.concatenate([picked, number], -1), 1, 0)[:, None]
            ends = intervals(of_runs, symmetric, LEVEL)
            estimates.append(ends.estimate)
            directions.append(ends.scaled)
            means.append(ends.mean)
        estimate = np.concatenate(estimates)
        low, high = np.concatenate(means, axis=1)
        low_each, high_each = np.concatenate(directions, axis=1)
        goal = float(true.mean())
        below_each, above_each = (high_each < true).mean(0), (low_each > true).mean(0)
        yield Cell(
            truth=truth,
            sizes=kind,
            concepts=count,
            true_mean=goal,
            bias=float(estimate.mean() - goal),
            below=float((high < goal).mean()),
            above=float((low > goal).mean()),
            width=float((high - low).mean() / (2 * 1.96 * estimate.std())),
            worst_direction=float((1 - below_each - above_each).min()),
            worst_side=float(max(below_each.max(), above_each.max())),
        )


def truths(quick: bool) -> Iterator[Truth]:
    """All kinds of metrics, or a few."""
    means, correlations, images = ((0.0, 0.87), (0.3,), (5,)) if quick else (MEANS, CORRELATIONS, IMAGES)
    for values in itertools.product(PROTOCOLS, means, correlations, images, (False, True)):
        if not (quick and values[-1]):
            yield Truth(*values)


def markdown(cells: list[Cell]) -> str:
    """The tables of the documentation: coverage by protocol, mean and number of concepts."""
    lines = [
        "| protocol | true mean | "
        + " | ".join(f"{count} concepts" for count in CONCEPTS)
        + " | widest at 30 and more |",
        "|---" * (len(CONCEPTS) + 3) + "|",
    ]
    for protocol, mean in itertools.product(PROTOCOLS, MEANS):
        own = [c for c in cells if (c.truth.protocol, c.truth.mean) == (protocol, mean)]
        row = [protocol, f"{mean:.2f}"]
        for count in CONCEPTS:
            some = [c for c in own if c.concepts == count]
            worst = max(max(c.below, c.above) for c in some)
            row.append(
                f"{min(c.coverage for c in some):.3f}…{max(c.coverage for c in some):.3f}, side {worst:.3f}"
            )
        row.append(f"{max(c.width for c in own if c.concepts >= 30):.2f}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def summary(cells: list[Cell]) -> str:
    """Which cells fall short of what is wanted."""
    error = 2 * np.sqrt(0.93 * 0.07 / RUNS)
    lines = [
        f"{len(cells)} cells",
        f"coverage of the mean: {min(c.coverage for c in cells):.3f}…{max(c.coverage for c in cells):.3f}",
        f"coverage of a direction: at least {min(c.worst_direction for c in cells):.3f}",
        f"mean below {0.93 - error:.3f}: {sum(c.coverage < 0.93 - error for c in cells)}",
        f"direction below {0.93 - error:.3f}: {sum(c.worst_direction < 0.93 - error for c in cells)}",
        f"a side of the mean above .045: {sum(max(c.below, c.above) > 0.045 for c in cells)}",
        f"a side of a direction above .045: {sum(c.worst_side > 0.045 for c in cells)}",
    ]
    wide = [c for c in cells if c.concepts >= 30 and c.truth.mean <= 0.87]
    lines.append(
        f"wider than 1.3 (30 concepts and more, mean <= .87): {sum(c.width > 1.3 for c in wide)} "
        f"of {len(wide)}"
    )
    lines.append(f"largest bias of the mean: {max((c.bias for c in cells), key=abs):+.3f}")
    return "\n".join(lines)


def read(path: Path) -> list[Cell]:
    """The cells of a JSON file."""
    return [Cell(**{**row, "truth": Truth(**row["truth"])}) for row in json.loads(path.read_text())]


def main() -> None:
    """Simulate, or print the tables of a simulation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file; cells that it holds are not simulated again")
    parser.add_argument("--quick", action="store_true", help="a few cells with fewer runs")
    parser.add_argument("--table", type=Path, help="print the tables of this JSON file")
    options = parser.parse_args()
    if options.table:
        cells = read(options.table)
        print(markdown(cells), summary(cells), sep="\n\n")
        return
    cells = read(options.out) if options.out and options.out.is_file() else []
    done = {cell.truth for cell in cells}
    wanted = [truth for truth in truths(options.quick) if truth not in done]
    for number, truth in enumerate(wanted, 1):
        concepts = (5, 30) if options.quick else CONCEPTS
        cells += simulate(truth, concepts, SIZES, 1_000 if options.quick else RUNS)
        print(f"{number}/{len(wanted)} {truth}", file=sys.stderr)
        if options.out:
            options.out.write_text(json.dumps([asdict(cell) for cell in cells]))
    print(summary(cells))


if __name__ == "__main__":
    main()
