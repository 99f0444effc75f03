"""What the machinery costs beside an image model, and what a second worker gains.

Run by hand on a quiet machine::

    python benchmarks/bench_generation.py

The image model is a null model that sleeps 50 ms an image and gives the file of a picture of 512 × 512,
as a service does (``--encode``: its pixels, so that making WebP of them counts too). What is measured is
scheduling, checking and writing. One worker is compared with the sum of the sleeps, from the beginning of the
first part to the last file, without imports, which do not grow with the number of images; and its CPU time,
which other programs disturb less. Two workers are compared with one by the clock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 0.05


class Null:
    """Sleeps as long as a model would work; the picture is made before."""

    def __init__(self, size: int, file: bool) -> None:
        import numpy as np

        from croc_syn.painting.encode import encode

        # A smooth picture with a little noise: encoders take as long for it as for what a model paints.
        ramp = np.linspace(0, 255, size)
        noise = np.random.default_rng(0).normal(0, 6, (size, size, 3))
        picture = ramp[:, None, None] * 0.6 + ramp[None, :, None] * 0.4 + noise
        self.pixels = np.clip(picture, 0, 255).astype(np.uint8)
        self.data = encode(self.pixels, "webp", 90) if file else None

    def paint(self, jobs: Sequence[Any]) -> Iterator[Any]:
        from croc_syn.painting import PaintedImage

        for _ in jobs:
            time.sleep(SECONDS)
            yield PaintedImage(pixels=self.pixels.copy(), data=self.data)


def with_file(model: Any, settings: Any) -> Null:
    return Null(settings.size, file=True)


def with_pixels(model: Any, settings: Any) -> Null:
    return Null(settings.size, file=False)


def run(prompts: Path, out: Path, settings: Any, workers: int, null: Any) -> float:
    """Seconds from the first part's beginning to the last file, as the records have them."""
    import json

    from croc.jobs.executors import local_executor
    from croc_syn.painting.images import make_images

    make_images(prompts, out, settings, executor=local_executor(workers), painter=null, progress=False)
    records = [json.loads(file.read_text()) for file in (out / "records").glob("*.json")]
    first = min(record["finished"] - record["seconds"] for record in records)
    return max(record["finished"] for record in records) - first


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checks", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--encode", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from staged_prompts import row, stage

    from croc_syn.painting.settings import Images

    settings = Images.model_validate(
        {"models": [{"name": "flux.1-schnell"}], "count": 2, "size": options.size, "checks_per_part": 4}
    )
    null = with_pixels if options.encode else with_file
    with tempfile.TemporaryDirectory() as folder:
        prompts = stage(Path(folder) / "p", [row(n) for n in range(options.checks)]).folder
        few = stage(Path(folder) / "few", [row(n) for n in range(4)]).folder
        run(few, Path(folder) / "warm", settings, 1, null)
        before = time.process_time()
        one = run(prompts, Path(folder) / "one", settings, 1, null)
        spent = time.process_time() - before
        two = run(prompts, Path(folder) / "two", settings, 2, null)
    images = 4 * options.checks
    print(f"{images} images of {options.size}², {SECONDS * 1000:.0f} ms each: {images * SECONDS:.1f} s")
    print(f"one worker: {one:.1f} s, overhead {one / (images * SECONDS) - 1:.1%} by the clock")
    print(f"CPU time: {spent / (images * SECONDS):.1%} of the sleeps")
    print(f"two workers: {two:.1f} s, {one / two:.2f} times one")


if __name__ == "__main__":
    main()
