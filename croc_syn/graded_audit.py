"""Audit of graded checks: the oracle finds the errors of every image, baselines are at chance level."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from croc.checks.schema import split_errors
from croc.graded.evaluation import GradedReport, evaluate
from croc.tables.columns import NO_CONTRAST_PROMPT
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc.wording import counted
from croc_syn.audit import IMAGE_BASELINES, LEVEL, ORACLE, hashed
from croc_syn.world import read_scene
from croc_syn.world.contrasts.error_graphs import count_errors
from croc_syn.writing.table import EXACT

_BASELINES = (*IMAGE_BASELINES, "pair-hash", "prompt-length")
_KEYS = ("check_id", "concept_id", "subset", "property_path", "text_model", "image_model")
FEWEST_GRAPHS = 20
"""With fewer, intervals are too wide to find a leak."""


def audit(files: Sequence[Path], work: Path) -> dict[str, Any]:
    """Audit the graded checks in some Parquet files.

    Args:
        files: with the columns of a check, their images drawn by the exact world.
        work: folder for the score tables.

    Returns:
        ``passed``, ``graphs``, ``images``, ``wrong_images`` (with another number of errors than their node
        has), ``leaks``, ``orderings`` by baseline, and ``lines``: the results as sentences.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    scores: dict[str, list[float]] = {name: [] for name in (ORACLE, *_BASELINES)}
    wrong = 0
    for file in files:
        for check in pq.read_table(file, columns=[*_KEYS, "prompt", "images"]).to_pylist():
            for index, image in enumerate(check["images"]):
                found = _score(check["prompt"], image["bytes"])
                wrong += found[ORACLE] != -len(split_errors(check["property_path"]))
                rows.append({name: check[name] for name in _KEYS} | {"image_index": index})
                for name, value in found.items():
                    scores[name].append(value)
    keys = pa.Table.from_pylist([{**row, "image_side": "original"} for row in rows])
    for name in ("category", "property", "topic", "entity"):
        keys = keys.append_column(name, pa.nulls(len(rows), pa.string()))
    keys = keys.append_column("error", pa.array([NO_CONTRAST_PROMPT] * len(rows)))
    tables = {}
    for name, values in scores.items():
        table = keys.append_column("prompt_score", pa.array(values, pa.float64()))
        table = table.append_column("contrast_score", pa.nulls(len(rows), pa.float64()))
        metadata = ScoreMetadata(name, "graded", scorer_revision=EXACT, baseline=name != ORACLE)
        tables[name] = work / f"{name}.parquet"
        write_scores(table, metadata, tables[name])
    truth = evaluate([tables[ORACLE]], permutations=0)
    tests = 2 * len(_BASELINES)
    baselines = evaluate([tables[name] for name in _BASELINES], level=1 - (1 - LEVEL) / tests, permutations=0)
    leaks = _leaks(baselines) if truth.graphs >= FEWEST_GRAPHS else []
    passed = not wrong and truth.scores[0].ordering.value == 1.0 and not leaks
    return {
        "passed": passed,
        "graphs": truth.graphs,
        "images": len(rows),
        "wrong_images": wrong,
        "leaks": leaks,
        "orderings": {score.metric: score.ordering.value for score in baselines.scores},
        "lines": _lines(truth, baselines, len(rows), wrong, leaks),
    }


def _score(prompt: str, png: bytes) -> dict[str, float]:
    with Image.open(io.BytesIO(png)) as opened:
        pixels = np.asarray(opened.convert("RGB").reduce(max(1, min(opened.size) // 64)))
    found = {ORACLE: -float(count_errors(read_scene(png), prompt))}
    found |= {name: score(pixels, png) for name, score in IMAGE_BASELINES.items()}
    content = hashlib.sha256(png).hexdigest()
    return found | {"pair-hash": hashed(content, prompt), "prompt-length": float(len(prompt))}


def _leaks(report: GradedReport) -> list[str]:
    leaks = []
    for score in report.scores:
        for name, estimate, chance in (("ordering", score.ordering, 0.0), ("step", score.step, 0.5)):
            low, high = estimate.low, estimate.high
            if low is not None and high is not None and not low <= chance <= high:
                leaks.append(f"{score.metric} {name}: {estimate.value:+.3f}")
    return leaks


def _lines(
    truth: GradedReport, baselines: GradedReport, images: int, wrong: int, leaks: Sequence[str]
) -> list[str]:
    """The results as sentences."""
    oracle = truth.scores[0]
    extent = f"{counted(truth.graphs, 'error graph')}, {counted(images, 'image')}"
    if wrong:
        text = [f"The oracle finds another number of errors in {counted(wrong, 'image')} ({extent})."]
    else:
        text = [
            f"The oracle finds the errors of every image ({extent}): ordering {oracle.ordering.value:.3f}, "
            f"separation {oracle.separation.value:.3f}."
        ]
    if leaks:
        text.append(f"Baselines are not at chance level: {'; '.join(leaks)}. The data reveals the answer.")
    elif truth.graphs < FEWEST_GRAPHS:
        text.append(f"Baselines were not evaluated: there are fewer than {FEWEST_GRAPHS} graphs.")
    else:
        largest = max(abs(score.ordering.value or 0.0) for score in baselines.scores)
        text.append(
            f"{len(baselines.scores)} baselines are at chance level in ordering and steps ({LEVEL:.0%} for "
            f"all together); the largest absolute ordering is {largest:.3f}."
        )
    return text
