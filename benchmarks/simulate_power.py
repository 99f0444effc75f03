r"""How often does the test between two metrics find a difference that a report calls detectable?

    OMP_NUM_THREADS=1 python benchmarks/simulate_power.py --out power.json   # all designs, an hour
    python benchmarks/simulate_power.py --quick                              # two designs, a minute
    python benchmarks/simulate_power.py --table power.json                   # the table of the documentation

Score tables of metrics with known true accuracies are drawn and evaluated by ``evaluate_tables``. A metric
passes a comparison where its skill exceeds noise; the skill varies between concepts and checks and is
correlated between metrics. In one category two metrics differ, all others are equally good. "Found" means
that the better metric is significantly better in this category after Holm's adjustment.

- ``report``: the true difference is the mean of the minimum detectable differences that reports state; it is
  found by iteration.
- ``plan``: ``croc plan`` gets a pilot and a difference; the benchmark has the number of concepts of the plan,
  and its true difference is that of the plan.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from croc.tables.metadata import ScoreMetadata
from croc.tables.score_tables import ScoreTable, score_table
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.planning import Design, plan_for_difference
from croc.verdict.report import Report, Settings
from croc.verdict.variation import pilot_basis

RUNS, QUICK_RUNS = 600, 150
PILOT_CONCEPTS = 400
"""Concepts of the pilot in all categories: so many that its own error hardly matters."""
CALIBRATION = (20, 60)
"""Numbers of reports in the rounds that find the stated difference."""
PERMUTATIONS = Settings.flips

Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Metrics and checks.

    Attributes:
        metrics: number of metrics.
        categories: number of categories.
        checks: number of checks of a concept.
        accuracy: of all metrics, in each direction.
        concept_spread: standard deviation of the skill between concepts; noise of a score has 1.
        check_spread: between checks of a concept.
        correlation: of the skills of two metrics.
    """

    metrics: int = 2
    categories: int = 1
    checks: int = 5
    accuracy: float = 0.8
    concept_spread: float = 0.9
    check_spread: float = 0.9
    correlation: float = 0.5

    def accuracies(self, difference: float) -> Array:
        """(categories, metrics), where the first two metrics differ by so much in the first category."""
        accuracies = np.full((self.categories, self.metrics), self.accuracy)
        accuracies[0, :2] += np.array([difference, -difference]) / 4  # scaled accuracy is 2 a − 1
        return accuracies

    def tables(self, rng: np.random.Generator, accuracies: Array, concepts: int) -> list[ScoreTable]:
        """Score tables of the metrics on so many concepts per category."""
        metrics = accuracies.shape[1]
        concept = np.repeat(np.arange(self.categories * concepts), self.checks)
        category = concept // concepts
        n = len(concept)
        spread = np.sqrt(self.concept_spread**2 + self.check_spread**2 + 2)
        skill = (norm.ppf(accuracies) * spread)[category]
        skill = skill + self.concept_spread * self._effects(rng, self.categories * concepts, metrics)[concept]
        skill = skill + self.check_spread * self._effects(rng, n, metrics)
        noise = rng.normal(size=(4, n, metrics))
        # Scores of both images with their own prompts exceed those with the other prompts by the skill.
        own = np.concatenate([skill + noise[0], noise[2]])
        other = np.concatenate([noise[1], skill + noise[3]])
        rows = pl.DataFrame(
            {
                "check_id": np.tile(np.arange(n).astype(str), 2),
                "concept_id": np.tile(concept.astype(str), 2),
                "category": np.tile(category.astype(str), 2),
                "image_side": ["original"] * n + ["contrast"] * n,
                "image_index": np.zeros(2 * n, np.int64),
            }
        )
        names = [f"metric {m + 1}" for m in range(metrics)]
        return [
            score_table(
                rows.with_columns(prompt_score=own[:, m], contrast_score=other[:, m]),
                ScoreMetadata(name),
                name,
                "hum",
            )
            for m, name in enumerate(names)
        ]

    def _effects(self, rng: np.random.Generator, count: int, metrics: int) -> Array:
        common, single = rng.normal(size=(count, 1)), rng.normal(size=(count, metrics))
        return np.asarray(np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * single)

    def report(self, rng: np.random.Generator, difference: float, concepts: int) -> Report:
        """The report on one sample."""
        tables = self.tables(rng, self.accuracies(difference), concepts)
        by = ("category",) if self.categories > 1 else ()
        seed = int(rng.integers(2**31))
        return evaluate_tables(tables, Settings(by=by, resamples=0, flips=PERMUTATIONS, seed=seed))


@dataclass(frozen=True)
class Outcome:
    """What was found in one design.

    Attributes:
        kind: ``report`` or ``plan``.
        world: metrics and checks.
        concepts: per category.
        comparisons: adjusted together.
        difference: true difference of scaled accuracy between the two metrics.
        stated: mean of the minimum detectable differences that the reports state.
        power: share of the runs in which the difference was found.
        half_width: mean half width of the intervals of the two metrics.
        planned_half_width: that of the plan; None without one.
        runs: number of runs.
    """

    kind: str
    world: World
    concepts: int
    comparisons: int
    difference: float
    stated: float
    power: float
    half_width: float
    planned_half_width: float | None
    runs: int

    @property
    def error(self) -> float:
        """Standard error of the power."""
        return float(np.sqrt(self.power * (1 - self.power) / self.runs))


def measure(
    kind: str,
    world: World,
    concepts: int,
    difference: float,
    runs: int,
    seed: int,
    planned_half_width: float | None = None,
) -> Outcome:
    """Evaluate samples with this true difference."""
    rng = np.random.default_rng([seed, 1])
    value = "0" if world.categories > 1 else None
    stated, widths, found, comparisons = [], [], 0, 0
    for _ in range(runs):
        report = world.report(rng, difference, concepts)
        family = [c for c in report.comparisons if (c.group is None) == (value is None)]
        pair = next(c for c in family if c.group_value == value and set(c.about) == {"metric 1", "metric 2"})
        found += pair.better == "metric 1" and pair.p_adjusted < 0.05
        stated.append(pair.minimum_detectable_difference)
        own = [s for s in report.scores if s.metric in pair.about and s.group_value == value]
        widths += [(score.ci_high - score.ci_low) / 2 for score in own]
        comparisons = len(family)
    return Outcome(
        kind=kind,
        world=world,
        concepts=concepts,
        comparisons=comparisons,
        difference=difference,
        stated=float(np.mean(stated)),
        power=found / runs,
        half_width=float(np.mean(widths)),
        planned_half_width=planned_half_width,
        runs=runs,
    )


def of_report(world: World, concepts: int, runs: int, seed: int) -> Outcome:
    """The power at the minimum detectable difference that reports state."""
    difference = 0.0
    for number, reports in enumerate(CALIBRATION):
        difference = measure("report", world, concepts, difference, reports, seed + number).stated
    return measure("report", world, concepts, difference, runs, seed + len(CALIBRATION))


def of_plan(world: World, difference: float, runs: int, seed: int) -> Outcome:
    """The power at the size that a plan from a pilot gives."""
    rng = np.random.default_rng([seed, 2])
    concepts = max(5, PILOT_CONCEPTS // world.categories)
    pilot = world.tables(rng, world.accuracies(0.0), concepts)
    basis = pilot_basis(pilot, "category")
    design = Design(metrics=world.metrics, flips=PERMUTATIONS)
    group = plan_for_difference(difference, basis, design).groups[0]
    return measure("plan", world, group.concepts, difference, runs, seed, group.half_width)


def designs(quick: bool) -> Iterator[tuple[str, World, float]]:
    """Kind, world, and concepts per category or the difference to plan for."""
    if quick:
        yield "plan", World(), 0.3
        yield "report", World(categories=8), 12
        return
    for concepts in (8, 12, 30, 100):
        yield "report", World(), concepts
    yield "plan", World(), 0.3
    yield "plan", World(), 0.15
    yield "plan", World(accuracy=0.9, correlation=0.8), 0.12
    yield "report", World(categories=8), 12
    yield "plan", World(categories=8), 0.3
    yield "report", World(metrics=4, categories=4), 20
    yield "report", World(categories=8), 30
    yield "report", World(accuracy=0.93), 40
    yield "report", World(checks=1), 60
    yield "plan", World(metrics=4, categories=4), 0.25


def simulate(kind: str, world: World, size: float, runs: int, seed: int) -> Outcome:
    """The outcome of one design, which is also printed to standard error."""
    one = of_report(world, int(size), runs, seed) if kind == "report" else of_plan(world, size, runs, seed)
    planned = f" (planned {one.planned_half_width:.3f})" if one.planned_half_width else ""
    print(
        f"{kind} {world}: {one.concepts} concepts, difference {one.difference:.3f} (stated "
        f"{one.stated:.3f}), power {one.power:.3f} ± {one.error:.3f}, half width {one.half_width:.3f}"
        f"{planned}",
        file=sys.stderr,
    )
    return one


def markdown(outcomes: list[Outcome]) -> str:
    """The table of the documentation."""
    lines = [
        "| difference of | metrics | categories | comparisons | concepts per category | checks per concept | "
        "accuracy | true difference | power |",
        "|---" * 9 + "|",
    ]
    for one in outcomes:
        world = one.world
        cells = (
            one.kind,
            world.metrics,
            world.categories,
            one.comparisons,
            one.concepts,
            world.checks,
            f"{world.accuracy:.2f}",
            f"{one.difference:.3f}",
            f"{one.power:.2f} ± {one.error:.2f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def read(path: Path) -> list[Outcome]:
    """The outcomes of a JSON file."""
    return [Outcome(**{**row, "world": World(**row["world"])}) for row in json.loads(path.read_text())]


def main() -> None:
    """Simulate, or print the table of a simulation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file; designs that it holds are not simulated again")
    parser.add_argument("--quick", action="store_true", help="two designs with fewer runs")
    parser.add_argument("--runs", type=int, help="runs per design")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="print the table of this JSON file")
    options = parser.parse_args()
    if options.table:
        print(markdown(read(options.table)))
        return
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    outcomes = read(options.out) if options.out and options.out.is_file() else []
    for number, (kind, world, size) in enumerate(designs(options.quick)):
        if number < len(outcomes):
            continue
        outcomes.append(simulate(kind, world, size, runs, options.seed + 100 * number))
        if options.out:
            options.out.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    print(markdown(outcomes))


if __name__ == "__main__":
    main()
