r"""How often does a report of metrics that know nothing have a finding?

    python benchmarks/simulate_null_findings.py --reports 2000

The scores of every metric are independent noise, so that every finding but a count is a false one. Reports
differ in protocol, number of concepts and images per side, also unequal ones. Per family of tests (kind of
finding) at most 5 % of the reports should have one, within the error of the simulation.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np
import polars as pl

from croc.tables.metadata import ScoreMetadata
from croc.tables.score_tables import ScoreTable, score_table
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings

METRICS = 3
DESIGNS = [
    (protocol, concepts, images)
    for protocol in ("syn", "hum")
    for concepts in (12, 40)
    for images in ((1, 1), (5, 5), (5, 2))
]


def noise(
    rng: np.random.Generator, name: str, concepts: int, images: tuple[int, int], protocol: str
) -> ScoreTable:
    """A score table of noise: two checks per concept, four categories."""
    rows = [
        (f"{concept}.{check}", str(concept), f"category {concept % 4}", side, image)
        for concept in range(concepts)
        for check in range(2)
        for side, count in zip(("original", "contrast"), images, strict=True)
        for image in range(count)
    ]
    names = ("check_id", "concept_id", "category", "image_side", "image_index")
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        prompt_score=rng.normal(size=len(rows)), contrast_score=rng.normal(size=len(rows))
    )
    return score_table(frame, ScoreMetadata(name), name, protocol)


def main() -> None:
    """Simulate and print the share of reports with a finding, by kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found: Counter[str] = Counter()
    significant = 0
    for number in range(options.reports):
        protocol, concepts, images = DESIGNS[number % len(DESIGNS)]
        rng = np.random.default_rng([options.seed, number])
        tables = [noise(rng, f"metric {m}", concepts, images, protocol) for m in range(METRICS)]
        settings = Settings(by=("category",), resamples=500, flips=999, seed=number)
        report = evaluate_tables(tables, settings)
        found.update({finding.kind for finding in report.findings})
        significant += any(c.p_adjusted < 0.05 for c in report.comparisons if c.group is None)
        if number % 100 == 99:
            print(f"{number + 1} reports", file=sys.stderr)
    for kind, count in [*found.most_common(), ("two metrics differ", significant)]:
        print(f"{kind}: {count / options.reports:.3f} of {options.reports} reports")


if __name__ == "__main__":
    main()
