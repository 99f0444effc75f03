"""Speed of the model that comes with the package, on one machine, without a GPU.

Run by hand on a quiet machine::

    python benchmarks/bench_crocscore.py                       # the weights of the package
    python benchmarks/bench_crocscore.py --model runs/stage1   # another checkpoint
    python benchmarks/bench_crocscore.py --random runs/stage1  # its shape with random weights

Two things: milliseconds a pair at batch 16 (the aim is 30 on 2 cores), and several prompts on one image with
its prefix computed once, beside separate passes, which take turns; the best round of each counts.
"""

from __future__ import annotations

import argparse
import os
import platform
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


def picture(seed: int, side: int = 256) -> Image.Image:
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return blocks.resize((side, side), Image.Resampling.BICUBIC)


def scorer_of(model: Path, random: bool, batch: int) -> CROCScore:
    if not random:
        return CROCScore.from_pretrained(model, device="cpu", batch_size=batch)
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    made = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(model)).eval()
    processor = AutoProcessor.from_pretrained(model)
    return CROCScore(made, processor=processor, device="cpu", batch_size=batch)


def best(repeats: int, *ways: Callable[[], Any]) -> list[float]:
    """Best seconds of each way; they take turns."""
    rounds = []
    for _ in range(repeats):
        spent = []
        for way in ways:
            start = time.perf_counter()
            way()
            spent.append(time.perf_counter() - start)
        rounds.append(spent)
    return [min(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--random", type=Path, help="a checkpoint whose shape is taken, with random weights")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=8, help="prompts on one image")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    scorer = scorer_of(options.random or options.model, options.random is not None, options.batch)
    parameters = sum(each.numel() for each in scorer.checkpoint.model.parameters())
    print(f"{platform.machine()}, {os.cpu_count()} cores; {parameters / 1e6:.2f} M parameters")
    images = [picture(seed) for seed in range(options.batch)]
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(options.batch)]
    (whole,) = best(options.repeats, lambda: scorer.score(images, prompts))
    print(f"{1000 * whole / options.batch:.1f} ms a pair at batch {options.batch}, decoding left out")
    asked = [f"{PROMPTS[i % len(PROMPTS)]} number {i}" for i in range(options.prompts)]
    once, apart = best(
        options.repeats,
        lambda: scorer.score_prompts(images[0], asked),
        lambda: scorer.score([images[0]] * len(asked), asked),
    )
    print(f"{options.prompts} prompts on one image: {1000 * once:.1f} ms with its prefix computed once,")
    print(f"{1000 * apart:.1f} ms in one batch of separate pairs: {apart / once:.2f} times")
    difference = np.abs(
        scorer.score_prompts(images[0], asked) - scorer.score([images[0]] * len(asked), asked)
    )
    print(f"largest difference of the margins {difference.max():.1e}")


if __name__ == "__main__":
    main()
