"""Speed of the model that comes with the package, on one machine, without a GPU.

Run by hand on a quiet machine::

    python benchmarks/bench_crocscore.py                       # the weights of the package
    python benchmarks/bench_crocscore.py --model runs/stage1   # another checkpoint with graphs
    python benchmarks/bench_crocscore.py --threads 1           # on one core

The graphs (onnxruntime) and torch take turns in one process, and the median of the ratios of each round
counts, so that other work on the machine weighs on both. A cold start is a new process, from the start of
Python to the first score. CPU times are less disturbed by other work than wall times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crocscore.model import WEIGHTS, CROCScore

PROMPTS = (
    "a red circle to the left of a blue square",
    "two dogs and no cat on a table",
    "a large green star above a small yellow triangle",
    "a photo of three apples in a kitchen at night",
)

START = """
import json, resource, sys, time
from PIL import Image
from crocscore.model import CROCScore
scorer = CROCScore.from_pretrained(sys.argv[1], runtime=sys.argv[2])
scorer.score([Image.new("RGB", (256, 256), "red")], ["a red dog"])
ended = time.time()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"ended": ended, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024}))
"""


def picture(seed: int, side: int = 256) -> Image.Image:
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return blocks.resize((side, side), Image.Resampling.BICUBIC)


def cold_start(model: Path, runtime: str) -> dict[str, float]:
    """Seconds, CPU seconds and memory of a process that scores one pair."""
    begin = time.time()
    command = [sys.executable, "-c", START, str(model), runtime]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(printed.splitlines()[-1])
    return {"wall": found.pop("ended") - begin, **found}


def rounds(repeats: int, *ways: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each way, by round; they take turns."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats + 1):
        for spent, way in zip(found, ways, strict=True):
            start = time.perf_counter()
            way()
            spent.append(time.perf_counter() - start)
    return [spent[1:] for spent in found]  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=8, help="prompts on one image")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, help="threads of both runtimes")
    options = parser.parse_args()
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.threads]))
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores")
    for runtime in ("onnx", "torch"):
        starts = [cold_start(options.model, runtime) for _ in range(3)]
        best = {key: min(start[key] for start in starts) for key in starts[0]}
        print(
            f"cold start, {runtime}: {best['wall']:.2f} s to the first score, {best['cpu']:.2f} s of CPU, "
            f"{best['memory']:.0f} MiB"
        )
    graph = CROCScore.from_pretrained(options.model, runtime="onnx", batch_size=options.batch)
    torch = CROCScore.from_pretrained(options.model, runtime="torch", device="cpu", batch_size=options.batch)
    images = [picture(seed) for seed in range(options.batch)]
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(options.batch)]
    two = [(PROMPTS[i % len(PROMPTS)], PROMPTS[(i + 1) % len(PROMPTS)]) for i in range(options.batch)]
    many = [f"{PROMPTS[i % len(PROMPTS)]} number {i}" for i in range(options.prompts)]
    cases: dict[str, tuple[int, Callable[[Any], Any], Callable[[Any], Any] | None]] = {
        f"pairs, batch {options.batch}": (options.batch, lambda scorer: scorer.score(images, prompts), None),
        "two prompts an image": (
            2 * options.batch,
            lambda scorer: scorer.score_images_prompts(images, two),
            lambda scorer: scorer.score([i for i in images for _ in "12"], [p for pair in two for p in pair]),
        ),
        f"{options.prompts} prompts on one image": (
            options.prompts,
            lambda scorer: scorer.score_prompts(images[0], many),
            lambda scorer: scorer.score([images[0]] * len(many), many),
        ),
    }
    for name, (count, way, apart) in cases.items():
        ways = [lambda way=way: way(graph), lambda way=way: way(torch)]
        ways += [lambda apart=apart: apart(torch)] if apart else []
        spent = rounds(options.repeats, *ways)
        ms = [1000 * statistics.median(times) / count for times in spent]
        ratios = [
            statistics.median(a / b for a, b in zip(spent[0], other, strict=True)) for other in spent[1:]
        ]
        line = f"{name}: {ms[0]:.1f} ms a pair, torch {ms[1]:.1f} ms: {ratios[0]:.2f} of torch's time"
        if apart:
            line += f"; torch pair by pair {ms[2]:.1f} ms: {ratios[1]:.2f}"
        print(line)
        print(f"  largest difference of the scores: {_difference(way(graph), way(torch)):.1e}")


def _difference(first: Any, second: Any) -> float:
    return float(
        np.abs(
            np.concatenate([*map(np.atleast_1d, first)]) - np.concatenate([*map(np.atleast_1d, second)])
        ).max()
    )


if __name__ == "__main__":
    main()
