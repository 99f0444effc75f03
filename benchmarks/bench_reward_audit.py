"""How long ``croc audit-reward`` takes for a scorer of 5 ms a pair, with the default settings.

The scorer burns the time of a processor, so that the figure is that of a real one. Time of the processor is
measured beside the clock: on a machine with other work only the first says what the audit costs.

    OMP_NUM_THREADS=1 python benchmarks/bench_reward_audit.py --workers 2
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from croc.jobs.executors import local_executor
from croc.reward_audit.folder import POOLS
from croc_syn.reward_audit.audit import AuditSettings, run_audit
from croc_syn.reward_audit.pixels import PixelSettings
from croc_syn.reward_audit.pools import make_pools
from croc_syn.reward_audit.search import SearchSettings


class Burning:
    """Takes a fixed time per pair.

    Args:
        seconds: of the processor, per pair.
    """

    name = "burning"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pairs = 0

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray:
        """The mean brightness, after a while."""
        found = []
        for image in images:
            end = time.thread_time() + self.seconds
            found.append(float(np.asarray(image, dtype=float)[::8, ::8].mean()))
            while time.thread_time() < end:
                pass
        self.pairs += len(images)
        return np.array(found)

    def fields(self) -> dict[str, str]:
        """Nothing that matters."""
        return {"revision": "1"}


def used() -> float:
    """Seconds of the processor, of this process and of those that it started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Measure the three steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--milliseconds", type=float, default=5.0, help="per pair")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    words = parser.parse_args()
    settings = AuditSettings()
    scorer = Burning(words.milliseconds / 1000)
    whole = used(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        executor = local_executor(words.workers)

        def only_scores() -> None:
            run_audit([scorer], folder, AuditSettings(settings.pools, SearchSettings(0), PixelSettings(0)))

        steps = {
            "pools": lambda: make_pools(folder / POOLS, settings.pools, executor=executor),
            "scores": only_scores,
            "search and files": lambda: run_audit([scorer], folder, settings),
        }
        for step, run in steps.items():
            before, start = used(), time.perf_counter()
            run()
            print(f"{step}: {used() - before:.0f} s of the processor, {time.perf_counter() - start:.0f} s")
    print(
        f"all: {used() - whole[0]:.0f} s of the processor, {time.perf_counter() - whole[1]:.0f} s, "
        f"{scorer.pairs:,} pairs"
    )


if __name__ == "__main__":
    main()
