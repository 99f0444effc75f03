"""Reports made for tests from score tables without files."""

from __future__ import annotations

import numpy as np
from score_rows import check_rows, table

from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings

FAST = Settings(resamples=400, flips=999)
PERFECT = [(2.0, 1.0)], [(1.0, 2.0)]
WRONG = [(1.0, 2.0)], [(2.0, 1.0)]


def report_of(tables, protocol="hum", settings=FAST, baselines=(), **metadata):
    """The report of ``{metric: rows}``; ``metadata`` is what all tables say."""
    made = [
        table(metric, rows, protocol, baseline=metric in baselines, **metadata)
        for metric, rows in tables.items()
    ]
    return evaluate_tables(made, settings)


def noisy(
    seed, concepts=60, match=1.0, contrast_match=None, per_image=0.0, category="action", k=2, weak=None
):
    """Rows of a metric: unit noise, plus ``match`` where prompt and image belong together.

    ``contrast_match`` is the same for the contrast prompt with its images; ``per_image`` is the spread of an
    offset that both prompts of an image share, which drowns the image directions; ``weak`` names a category
    without any signal.
    """
    rng = np.random.default_rng(seed)
    contrast_match = match if contrast_match is None else contrast_match
    rows = []
    categories = [category] if isinstance(category, str) else category
    for number in range(concepts):
        here = categories[number % len(categories)]
        signal = (0.0, 0.0) if here == weak else (match, contrast_match)
        offset = rng.normal(0, per_image, (2, k)) if per_image else np.zeros((2, k))
        noise = rng.normal(0, 1, (2, k, 2)) + offset[..., None]
        noise[0, :, 0] += signal[0]
        noise[1, :, 1] += signal[1]
        rows += check_rows(
            f"{here} {number}",
            noise[0].tolist(),
            noise[1].tolist(),
            category=here,
            concept_id=f"{here} {number}",
        )
    return rows
