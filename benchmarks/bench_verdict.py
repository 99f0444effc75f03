"""Speed and memory of the verdict, beside a straightforward pandas groupby in the same run.

    python benchmarks/bench_verdict.py [--rows 1000000] [--metrics 6]

Writes score tables to a temporary folder, then times (1) from Parquet on disk to the paper-mode table, ours
and two of pandas, checking that all give the same accuracies, and (2) the cluster bootstrap alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from croc.checks.schema import DIRECTIONS, SUBSETS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores

K = 5


def make(folder: Path, rows: int, metrics: int) -> list[Path]:
    folder.mkdir()
    checks = rows // (2 * K)
    rng = np.random.default_rng(0)
    check = np.repeat(np.arange(checks), 2 * K)
    side = np.tile(np.repeat([0, 1], K), checks)
    columns = {
        "check_id": pa.array([f"{i:020x}" for i in range(checks)]).take(pa.array(check)),
        "concept_id": pa.array([f"{i // 8:016x}" for i in range(checks)]).take(pa.array(check)),
        "subset": pa.array(SUBSETS).take(pa.array(check % 3)),
        "category": pa.nulls(len(check), pa.string()),
        "property": pa.array([f"property {i}" for i in range(64)]).take(pa.array(check % 64)),
        "property_path": pa.nulls(len(check), pa.string()),
        "topic": pa.array([f"topic {i}" for i in range(51)]).take(pa.array(check % 51)),
        "entity": pa.nulls(len(check), pa.string()),
        "text_model": pa.array(["QwQ-32B", "R1-14B"]).take(pa.array(check % 2)),
        "image_model": pa.array(["flux", "sd"]).take(pa.array(check // 2 % 2)),
        "image_side": pa.array(["original", "contrast"]).take(pa.array(side)),
        "image_index": pa.array(np.tile(np.arange(K), 2 * checks)),
        "error": pa.nulls(len(check), pa.string()),
    }
    files = []
    for m in range(metrics):
        signal = 0.3 * m
        columns["prompt_score"] = pa.array(rng.normal(size=len(check)) + signal * (side == 0))
        columns["contrast_score"] = pa.array(rng.normal(size=len(check)) + signal * (side == 1))
        files.append(folder / f"metric_{m}.parquet")
        write_scores(pa.table(columns), ScoreMetadata(f"metric_{m}", "syn"), files[-1])
    return files


def ours(folder: Path) -> dict[str, float]:
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Settings

    report = evaluate([folder], settings=Settings(paper=True, resamples=0, flips=0))
    return {
        f"{r.metric} {r.direction} {r.group_value} {r.text_model}": r.accuracy
        for r in report.results
        if r.group
    }


def plain_pandas(folder: Path) -> dict[str, float]:
    """What one writes first: group the images by check, decide each check in a function."""
    import pandas as pd

    def directions(check: object) -> object:
        original = check[check.image_side == "original"]
        contrast = check[check.image_side == "contrast"]
        best, worst = (
            original.loc[original.prompt_score.idxmax()],
            contrast.loc[contrast.contrast_score.idxmax()],
        )
        return pd.Series(
            {
                "forward_text": best.prompt_score > best.contrast_score,
                "inverse_text": worst.contrast_score > worst.prompt_score,
                "forward_image": original.prompt_score.max() > contrast.prompt_score.max(),
                "inverse_image": contrast.contrast_score.max() > original.contrast_score.max(),
            }
        )

    found = {}
    for file in sorted(folder.glob("*.parquet")):
        table = pd.read_parquet(file)
        passed = table.groupby(["check_id", "subset", "text_model"]).apply(directions)
        means = passed.astype(float).groupby(["subset", "text_model"]).mean()
        for (subset, model), row in means.iterrows():
            for direction in DIRECTIONS:
                found[f"{file.stem} {direction} {subset} {model}"] = float(row[direction])
    return found


def vectorised_pandas(folder: Path) -> dict[str, float]:
    """The same with whole-column groupby operations, as one writes it the second time."""
    import pandas as pd

    keys = ["check_id", "subset", "text_model"]
    found = {}
    for file in sorted(folder.glob("*.parquet")):
        table = pd.read_parquet(file)
        sides = {name: part for name, part in table.groupby("image_side")}

        def verdicts(side: str, own: str, other: str, sides: dict = sides) -> dict[str, object]:
            part = sides[side].reset_index(drop=True)
            best = part.loc[part.groupby(keys)[own].idxmax()].set_index(keys)
            opposing = sides["contrast" if side == "original" else "original"]
            top = part.groupby(keys)[own].max()
            return {
                "text": best[own] > best[other],
                "image": top > opposing.groupby(keys)[own].max(),
            }

        forward = verdicts("original", "prompt_score", "contrast_score")
        inverse = verdicts("contrast", "contrast_score", "prompt_score")
        each = (forward["text"], inverse["text"], forward["image"], inverse["image"])
        for direction, passed in zip(DIRECTIONS, each, strict=True):
            means = passed.groupby(["subset", "text_model"]).mean()
            for (subset, model), value in means.items():
                found[f"{file.stem} {direction} {subset} {model}"] = float(value)
    return found


def timed(what: str, folder: Path) -> dict:
    """One run in a fresh process: seconds after the imports, and its peak memory."""
    code = (
        "import json, resource, sys, time; sys.path.insert(0, sys.argv[1]); import bench_verdict as b\n"
        "import polars, pandas, croc.verdict.report\nfrom pathlib import Path\n"
        f"t = time.perf_counter(); found = b.{what}(Path(sys.argv[2])); s = time.perf_counter() - t\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20\n"
        "print(json.dumps({'seconds': s, 'gib': peak, 'found': found}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(folder)], capture_output=True, check=True
    )
    return json.loads(run.stdout)


def bootstrap(checks: int = 20_000, metrics: int = 6, resamples: int = 10_000) -> None:
    from croc.verdict import statistics
    from croc.verdict.aggregation import average
    from croc.verdict.directions import scaled_accuracy

    rng = np.random.default_rng(0)
    sums = rng.random((checks, 1, metrics, 4, 3))
    sums[..., 2] = 1
    start = time.perf_counter()
    drawn = statistics.bootstrap_sums(sums.reshape(checks, -1), resamples, 0).reshape(
        resamples, 1, metrics, 4, 3
    )
    ends = statistics.percentile_interval(scaled_accuracy(*average(drawn)))
    spent = time.perf_counter() - start
    print(
        f"bootstrap: {resamples} resamples, {checks} checks x {metrics} metrics x 4 directions: {spent:.2f} s"
    )
    assert np.isfinite(ends).all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--metrics", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--plain-share", type=float, default=0.05, help="rows that the plain pandas code gets"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, small = Path(name) / "all", Path(name) / "some"
        make(folder, options.rows, options.metrics)
        make(small, int(options.rows * options.plain_share), options.metrics)
        fast = min((timed("ours", folder) for _ in range(options.repeats)), key=lambda run: run["seconds"])
        columns = timed("vectorised_pandas", folder)
        plain, check = timed("plain_pandas", small), timed("ours", small)
    for slow, quick in ((columns, fast), (plain, check)):
        shared = [key for key in slow["found"] if key in quick["found"]]
        assert len(shared) == options.metrics * 4 * 3 * 2
        assert max(abs(slow["found"][key] - quick["found"][key]) for key in shared) < 1e-12
    print(
        f"{options.rows} image rows x {options.metrics} metrics x 4 directions, Parquet to paper-mode table"
    )
    print(f"croc:                  {fast['seconds']:7.2f} s, peak {fast['gib']:.2f} GiB")
    scaled = plain["seconds"] / options.plain_share
    share = f"{options.plain_share:.0%} of the rows took {plain['seconds']:.1f} s"
    print(f"pandas groupby.apply:  {scaled:7.2f} s ({share}), ratio {scaled / fast['seconds']:.0f}")
    ratio = columns["seconds"] / fast["seconds"]
    spent = f"{columns['seconds']:7.2f} s, peak {columns['gib']:.2f} GiB"
    print(f"pandas, whole columns: {spent}, ratio {ratio:.1f}")
    bootstrap()


if __name__ == "__main__":
    main()
