"""GenAI-Bench, all 1,600 prompts: images of six models with three ratings each.

Li et al. 2024, "GenAI-Bench: Evaluating and Improving Compositional Text-to-Visual Generation",
arXiv 2406.13743. The files are those of the 527 prompts, see :mod:`croc.external.benchmarks.genai_bench_527`,
which linzhiqiu/t2v_metrics@6ecb74f9:dataset.py reads for both sizes by the same code.
"""

from __future__ import annotations

from croc.external.benchmark import Benchmark, Source
from croc.external.benchmarks.genai_bench_527 import pairs, read, score

BENCHMARK = Benchmark(
    name="genai_bench_1600",
    title="GenAI-Bench, 1,600 prompts (Li et al. 2024, arXiv 2406.13743)",
    kind="rated",
    holds="images of six models with three ratings each",
    size="9,600 images of 1,600 prompts",
    licence="Apache-2.0",
    source=Source(
        "linzhiqiu/t2v_metrics",
        "6ecb74f92028f42c7e64546d3a71e98c8c73068f",
        ("dataset.py",),
        hub="BaiqiL/GenAI-Bench-1600",
        hub_files=("genai_image.json",),
        hub_images=("*.zip",),
    ),
    scores=("Pearson", "Kendall tau-b", "pairwise accuracy with calibrated ties"),
    folders=("GenAI-Bench-1600", "GenAI-Image-1600"),
    files=("genai_image.json",),
    met="none",
    read=read,
    pairs=pairs,
    score=score,
    parity="Ratings that are not from 1 to 5 count as they stand; by default they are left out.",
)
