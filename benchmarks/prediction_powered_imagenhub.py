"""How many human labels a metric saves on ImagenHub, and how often the corrected intervals hold the truth.

    python benchmarks/prediction_powered_imagenhub.py FOLDER [--labels 40] [--runs 2000]

FOLDER holds ImagenHub's ratings with the judges of VIEScore (``croc external list imagenhub``). Units are the
197 prompts of the text-to-image task. In each run prompts are drawn with replacement and so many of them are
labelled; the truth is the mean of all 197. Printed are, per metric, the mean share of labels saved and the
coverage of the intervals: for the mean of one system and for the difference of two.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import polars as pl

from croc.external.benchmark import find_benchmark, require_folder
from croc.images.prediction_powered import powered_mean


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--human", default="human_sc", help="human_sc, human_pq or human_o")
    options = parser.parse_args()
    benchmark = find_benchmark("imagenhub")
    assert benchmark.read is not None
    items = benchmark.read(require_folder(benchmark, options.folder))
    table = items.table.filter(pl.col("task") == "Text-Guided_IG")
    systems = table["system"].unique().sort().to_list()
    print(f"{'metric':28s} one system: saved coverage   difference: saved coverage   prompts")
    for metric in items.metrics:
        known = table.drop_nulls((metric, options.human))
        columns = [
            known.pivot("system", index="prompt", values=name)
            .drop_nulls()
            .sort("prompt")
            .select(systems)
            .to_numpy()
            for name in (metric, options.human)
            if known["system"].n_unique() == len(systems)
        ]
        if len(columns) < 2 or len(columns[0]) < 2 * options.labels:
            continue
        scores, labels = columns
        single = [(scores[:, s], labels[:, s]) for s in range(len(systems))]
        paired = [
            (scores[:, a] - scores[:, b], labels[:, a] - labels[:, b])
            for a, b in itertools.combinations(range(len(systems)), 2)
        ]
        cells = [
            simulate(single, options.labels, options.runs),
            simulate(paired, options.labels, options.runs),
        ]
        shown = "   ".join(f"{saved:10.3f} {coverage:10.3f}" for saved, coverage in cells)
        print(f"{metric:28s}  {shown}   {len(scores)}", flush=True)


def simulate(units: list[tuple[np.ndarray, np.ndarray]], number: int, runs: int) -> tuple[float, float]:
    """Mean share of labels saved, and coverage."""
    rng = np.random.default_rng(0)
    saved, inside = [], []
    for run in range(runs):
        scores, labels = units[run % len(units)]
        drawn = rng.integers(0, len(scores), len(scores))
        known = labels[drawn].copy()
        known[number:] = np.nan
        found = powered_mean(known, scores[drawn])
        saved.append(found.saved)
        inside.append(found.low <= labels.mean() <= found.high)
    return float(np.mean(saved)), float(np.mean(inside))


if __name__ == "__main__":
    main()
