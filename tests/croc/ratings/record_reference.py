"""Record what google-research's mt-metrics-eval computes, as the expected values of ``test_reference.py``.

    git clone https://github.com/google-research/mt-metrics-eval mtme
    python tests/croc/ratings/record_reference.py mtme/.git ../shared/data/ratings

Runs the modules ``stats``, ``tau_optimization`` and ``pce`` (Apache-2.0) of a commit of that repository on
random tables and on the ratings of ImagenHub, and writes ``reference.json`` with the commit's hash. The
package of the same name on PyPI is something else.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).with_name("reference.json")
COMMIT = "68a481aea1a787392d55af8f76ac8ef40c5f4664"
METRICS = ("gemini_0shot_sc", "gpt4o_0shot_sc", "gpt4v_0shot_sc", "llava_0shot_sc", "CLIP_Score")
AVERAGES = {"item": "item", "system": "sys", "none": "none"}
DRAWS = 12
SWAP_SEED = 7


def random_tables() -> list[dict[str, Any]]:
    """Ratings and two metrics of several systems on several items; None where a rating is missing."""
    tables = []
    for seed, (systems, items) in enumerate([(5, 12), (4, 30), (12, 7), (2, 25)]):
        for ties in (False, True):
            rng = np.random.default_rng([seed, ties])
            quality = rng.normal(size=(systems, 1)) + rng.normal(size=(1, items))
            rating, first, second = (quality + rng.normal(0, s, (systems, items)) for s in (0.7, 0.8, 2))
            if ties:
                rating, first = np.round(rating), np.round(2 * first) / 2
            # Multiples of 2^-10 have exact sums in the reference's single precision.
            rating, first, second = (np.round(values * 1024) / 1024 for values in (rating, first, second))
            gold: list[list[float | None]] = rating.tolist()
            if seed == 1:
                for row, column in zip(rng.integers(0, systems, 9), rng.integers(0, items, 9), strict=True):
                    gold[row][column] = None
            tables.append({"rating": gold, "first": first.tolist(), "second": second.tolist()})
    return tables


def imagenhub(folder: Path, rating: str = "human_sc") -> dict[str, list[list[float | None]]]:
    """Ratings and metrics of ImagenHub's text-to-image task, systems × prompts."""
    import pandas as pd

    table = pd.read_csv(folder / "viescore_imagenhub" / "text_to_image.csv")
    found = {}
    for name in (rating, *METRICS):
        matrix = table.pivot(index="system", columns="prompt", values=name)
        found[name] = matrix.astype(object).where(matrix.notna(), None).to_numpy().tolist()
    return found


def flat(matrix: list[list[Any]]) -> list[Any]:
    return [value for row in matrix for value in row]


def coefficients(
    stats: Any, gold: list[list[Any]], metric: list[list[Any]], pooled_ties: bool
) -> dict[str, Any]:
    """All averages of all coefficients; ratings without a score are left out."""
    import scipy.stats

    rated = [None if score is None else value for value, score in zip(flat(gold), flat(metric), strict=True)]
    scores = [0.0 if score is None else score for score in flat(metric)]
    found: dict[str, Any] = {}
    functions = {
        "kendall": scipy.stats.kendalltau,
        "spearman": scipy.stats.spearmanr,
        "pearson": scipy.stats.pearsonr,
    }
    for group, average_by in AVERAGES.items():
        of_group: dict[str, Any] = {}
        for kind, function in functions.items():
            average = stats.AverageCorrelation(function, len(gold), average_by)
            value, _, groups = average(rated, scores)
            of_group[kind] = {"value": float(value), "groups": int(groups)}
        if group == "item" or pooled_ties:
            value, threshold, _ = stats.KendallWithTiesOpt(
                rated, scores, "acc23", len(gold), average_by, sample_rate=1.0
            )
            of_group["acc_eq"] = {"value": float(value), "threshold": float(threshold)}
        found[group] = of_group
    return found


def permutations(stats: Any, table: dict[str, Any]) -> dict[str, Any]:
    """PERM-BOTH: both coefficients in each draw; the exchanged scores follow from ``SWAP_SEED``."""
    import scipy.stats

    gold = flat(table["rating"])
    of = {
        "kendall": lambda *vectors: stats.KendallVariants(*vectors, variant="b"),
        "spearman": scipy.stats.spearmanr,
        "pearson": scipy.stats.pearsonr,
    }
    found: dict[str, Any] = {}
    for group, average_by in AVERAGES.items():
        for kind, function in of.items():
            correlations = [
                stats.Correlation(len(table["rating"]), gold, flat(table[name]))
                for name in ("first", "second")
            ]
            np.random.seed(SWAP_SEED)  # the reference draws from the global generator
            _, delta, _, draws = stats.PermutationSigDiff(*correlations, function, average_by, k=DRAWS)
            found.setdefault(group, {})[kind] = {
                "delta": float(delta),
                "second": [float(draw[0]) for draw in draws],
                "first": [float(draw[1]) for draw in draws],
            }
    return found


def soft_accuracy(stats: Any, pce: Any, gold: list[list[float]], metric: list[list[float]]) -> dict[str, Any]:
    (value,) = stats.PairwiseConfidenceError(flat(gold), flat(metric), len(gold))
    upper = np.triu_indices(len(gold), 1)
    p = [pce.compute_pairwise_p_values(np.array(matrix))[upper].tolist() for matrix in (gold, metric)]
    return {"value": float(value), "p_rating": p[0], "p_metric": p[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", type=Path, help="git directory of mt-metrics-eval")
    parser.add_argument("ratings", type=Path, help="folder with viescore_imagenhub")
    parser.add_argument("--commit", default=COMMIT)
    options = parser.parse_args()
    git = ["git", "--git-dir", str(options.repository)]
    archive = subprocess.run(
        [*git, "archive", options.commit, "mt_metrics_eval"], capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        sys.path.insert(0, folder)
        from mt_metrics_eval import pce, stats

        tables = random_tables()
        for table in tables:
            for name in ("first", "second"):
                table[f"{name}_expected"] = coefficients(stats, table["rating"], table[name], True)
            table["exchanged"] = permutations(stats, table)
            if None not in flat(table["rating"]):
                table["spa"] = soft_accuracy(stats, pce, table["rating"], table["second"])
        matrices = imagenhub(options.ratings)
        one_rater = imagenhub(options.ratings, "human_sc_1")
        complete = [name for name in METRICS if None not in flat(matrices[name])]
        content = {
            "repository": "https://github.com/google-research/mt-metrics-eval",
            "commit": options.commit,
            "tables": tables,
            "imagenhub": {
                name: coefficients(stats, matrices["human_sc"], matrices[name], name == METRICS[0])
                for name in METRICS
            },
            # One rater's 0, 0.5 and 1 have exact sums in the reference's single precision.
            "imagenhub_spa": {
                name: soft_accuracy(stats, pce, one_rater["human_sc_1"], one_rater[name])
                for name in complete
                if name != "CLIP_Score"
            },
        }
    TARGET.write_text(json.dumps(content, indent=None, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
