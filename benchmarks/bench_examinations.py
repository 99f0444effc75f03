"""What ``croc probe``, ``croc invariance`` and other languages cost beside the work that cannot be avoided.

    OMP_NUM_THREADS=1 python benchmarks/bench_examinations.py

A probe draws two images per check, an invariance test makes variants of images, and a translated prompt is
written and read. Each round measures these and the bare work after each other (processor time, one process),
and the median of the ratios counts, so that other work on the machine weighs on both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from croc.checks.names import SYN_SAMPLE
from croc.checks.sources import open_checks
from croc.scoring.run import ScoringSettings
from croc_syn import world
from croc_syn.invariance import InvarianceSettings, make_variants, run_invariance
from croc_syn.probe import ProbeSettings, run_probe

CHECKS = 24
PROBED = 64
SIDE = 256
SCORER = "random"


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def prompts(limit: int) -> list[str]:
    """Prompts of the sample in the package."""
    checks = open_checks(str(SYN_SAMPLE), split="test")
    found = dict.fromkeys(text for one in checks.texts for text in (one.prompt, one.contrast_prompt))
    return list(found)[:limit]


def draw(texts: list[str]) -> None:
    """The bare work of a probe and of a variant: an image of a prompt."""
    for seed, text in enumerate(texts):
        world.draw(text, seed=seed, size=SIDE)


def probe(texts: list[str]) -> float:
    """Time of a probe over that of drawing as many images."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ProbeSettings(max_checks=PROBED, detail_checks=0, size=SIDE)
        whole = seconds(lambda: run_probe(SCORER, Path(folder), settings, progress=False))
    return whole / seconds(lambda: draw(texts[: 2 * PROBED]))


def invariance(texts: list[str]) -> tuple[float, float]:
    """Time of an invariance test over that of drawing as many images; the share of the variants in it."""
    settings = InvarianceSettings(CHECKS)
    with tempfile.TemporaryDirectory() as folder:
        variants = Path(folder) / "variants"
        making = seconds(lambda: make_variants(str(SYN_SAMPLE), variants, settings, progress=False))
        scoring = ScoringSettings(progress=False)
        rest = seconds(lambda: run_invariance([SCORER], Path(folder), settings, scoring=scoring))
        number = len(open_checks(str(variants)).texts)
    drawn = [texts[place % len(texts)] for place in range(2 * number)]
    return (making + rest) / seconds(lambda: draw(drawn)), making / (making + rest)


def language(code: str, texts: list[str]) -> float:
    """Time to write prompts in a language and to read them again, over that of drawing an image of each."""
    both = seconds(lambda: [world.parse_translation(world.translate(text, code), code) for text in texts])
    return both / seconds(lambda: draw(texts))


def main() -> None:
    """Print the medians and ranges of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    texts = prompts(2 * PROBED)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        found.setdefault("probe / drawing", []).append(probe(texts))
        whole, share = invariance(texts)
        found.setdefault("invariance / drawing", []).append(whole)
        found.setdefault("share of making the variants", []).append(share)
        for code in ("de", "es", "fr"):
            found.setdefault(f"prompts in {code} / drawing", []).append(language(code, texts))
    for name, ratios in found.items():
        print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


if __name__ == "__main__":
    main()
