"""Checks per second from spec to Parquet, beside bare rasterising and encoding of the same drawings.

Run by hand on a quiet machine::

    python benchmarks/bench_build.py --checks 400

Overhead compares CPU time, which other programs disturb less than the clock; the gain from a second process
can only be seen by the clock. The audit is left out of both and timed by itself.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Heavy imports wait for main(): a worker imports this file again when it starts.


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    """CPU seconds of this process, or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], Any]) -> tuple[Any, float, float, float]:
    """Result, seconds by the clock, CPU seconds of this process and of the workers."""
    clock, own, others = time.perf_counter(), cpu(), cpu(resource.RUSAGE_CHILDREN)
    result = work()
    return result, time.perf_counter() - clock, cpu() - own, cpu(resource.RUSAGE_CHILDREN) - others


def bare(folder: Path) -> tuple[float, int, int]:
    """CPU seconds to rasterise and encode all drawings of a folder, their number and their bytes."""
    import pyarrow.parquet as pq

    from croc_syn.stratified_rows import shard_files
    from croc_syn.world import rasterise, read_scene, to_svg
    from croc_syn.world.scenes.scene import embed

    total, count, size = 0.0, 0, 0
    for file in shard_files(folder):
        stored = pq.ParquetFile(file)
        for batch in stored.iter_batches(20, columns=["images", "contrast_images"]):
            scenes = [
                (read_scene(image["bytes"]), image["bytes"])
                for row in batch.to_pylist()
                for side in ("images", "contrast_images")
                for image in row[side]
            ]
            drawings = [to_svg(scene, SIZE) for scene, _ in scenes]
            before = cpu()
            pictures = [rasterise(svg) for svg in drawings]
            total += cpu() - before
            for picture, (scene, png) in zip(pictures, scenes, strict=True):
                assert embed(picture, scene) == png, "the same drawing gave other bytes"
            count += len(pictures)
            size += sum(map(len, pictures))
    return total, count, size


SIZE = 256


def main() -> None:
    """Measure and print."""
    from builders.syn import build_exact
    from croc.jobs.executors import local_executor
    from croc_syn.audit import audit
    from croc_syn.stratified_rows import shard_files

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=400)
    parser.add_argument("--images", type=int, default=5)
    options = parser.parse_args()
    settings = {
        "checks": options.checks,
        "images": options.images,
        "size": SIZE,
        "audit_checks": 0,
        "progress": False,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_exact(folder / "warm", **{**settings, "checks": 2})
        report, clock, used, _ = timed(lambda: build_exact(folder / "one", **settings))
        alone, count, size = bare(folder / "one")
        print(f"{report.checks} checks, {count} images of {SIZE} px, {size / count / 1000:.1f} kB each")
        print(f"1 process: {clock:.1f} s, {report.checks / clock:.1f} checks/s; CPU {used:.2f} s")
        print(
            f"bare rasterise-and-encode: CPU {alone:.2f} s; overhead {used / alone - 1:+.1%} (at most 15 %)"
        )
        _, clock2, own, others = timed(
            lambda: build_exact(folder / "two", **settings, executor=local_executor(2))
        )
        print(
            f"2 processes: {clock2:.1f} s, {report.checks / clock2:.1f} checks/s, gain {clock / clock2:.2f} "
            f"(at least 1.8); CPU {own:.2f} s here, {others:.2f} s in the workers: two free cores allow "
            f"{used / (own + others / 2):.2f}"
        )
        _, clock3, used3, _ = timed(
            lambda: audit(shard_files(folder / "one"), folder / "audit", progress=False)
        )
        print(f"audit of at most 2000 checks: {clock3:.1f} s, CPU {used3:.2f} s")
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    print(f"peak memory: {peaks[0]:.0f} MB in this process, {peaks[1]:.0f} MB in the largest worker")


if __name__ == "__main__":
    main()
