"""GenAI-Bench, the 527 prompts of the VQAScore paper: images of six models with three ratings each.

Lin et al. 2024, "Evaluating Text-to-Visual Generation with Image-to-Text Generation", ECCV, arXiv 2404.01291;
Li et al. 2024, "GenAI-Bench", arXiv 2406.13743.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated, table_of
from croc.external.standard import pooled_scores
from croc.ratings.agreement import Level, alpha_of, coincidences
from croc.ratings.raters import find_dependent_raters
from croc.storage.files import read_json

RATERS = ("rater_1", "rater_2", "rater_3")
SCALE = (1, 2, 3, 4, 5)
_PUBLISHED = tuple(f"published_{rater}" for rater in RATERS)


class _Prompt(TypedDict):
    prompt: str
    models: dict[str, list[int]]


def read(folder: Path) -> Rated:
    """Read ``genai_image.json``.

    Raises:
        InputError: the file is missing, or an image does not have three ratings.
    """
    file = first_existing(folder, "genai_image.json", "genai_bench/genai_image.json")
    rows = []
    wrong: list[str] = []
    for prompt_id, item in read_json(file, "no ratings", dict[str, _Prompt]).items():
        for system, ratings in item["models"].items():
            if len(ratings) != 3:
                raise InputError(
                    f"{file}, prompt {prompt_id!r}, {system}: expected three ratings, not {ratings!r}"
                )
            known = [rating if rating in SCALE else None for rating in ratings]
            wrong += [f"{rating} of {prompt_id}_{system}" for rating in ratings if rating not in SCALE]
            valid = [rating for rating in known if rating is not None]
            rows.append(
                {
                    "item_id": f"{prompt_id}_{system}",
                    "system": system,
                    "prompt": item["prompt"],
                    "image": f"{system}/{prompt_id}.jpeg",
                    "prompt_id": prompt_id,
                    "human": sum(valid) / len(valid) if valid else None,
                    **dict(zip(RATERS, known, strict=True)),
                    **dict(zip(_PUBLISHED, ratings, strict=True)),
                }
            )
    if not rows:
        raise InputError(f"{file}: no images")
    table = table_of(rows, str(file))
    found = find_dependent_raters(table.select(RATERS).to_numpy().T.astype(float), RATERS)
    notes = [f"Ratings that are not from 1 to 5 left out: {', '.join(wrong)}."] if wrong else []
    notes += [f"{group.describe()}." for group in found]
    return Rated.of(table, str(file), humans=("human",), raters=RATERS, left_out=tuple(notes))


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Krippendorff's alpha of the raters, and the mean rating of each model."""
    ratings = items.table.select(_PUBLISHED if mode == "parity" else items.raters).to_numpy()
    values = range(1, int(np.nanmax(ratings)) + 1)
    counts = np.stack([(ratings == value).sum(axis=1) for value in values], axis=1)
    sums = coincidences(counts).sum(axis=0)[None]
    levels: tuple[Level, ...] = ("ordinal", "interval")
    found = {f"alpha ({level})": float(alpha_of(sums, level)[0]) for level in levels}
    found["alpha"] = found["alpha (ordinal)"]
    for (system,), group in items.table.group_by("system", maintain_order=True):
        mean = group.select(pl.mean_horizontal(_PUBLISHED)) if mode == "parity" else group.select("human")
        found[f"{system} mean rating"] = float(mean.to_series().drop_nulls().to_numpy().mean())
    return found


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Pearson, Kendall tau-b and pairwise accuracy over all images, as ``dataset.py`` of t2v_metrics does."""
    if mode == "parity":
        published = pl.mean_horizontal(_PUBLISHED).alias("human")
        items = replace(items, table=items.table.with_columns(published))
    return pooled_scores(items, "human", ("Pearson", "Kendall", "pairwise accuracy"))


def pairs(folder: Path) -> Pairs:
    """The images with their prompts: ``MODEL/PROMPT.jpeg``, or ``MODEL.zip``, as in ``dataset.py``."""
    return rated_pairs(read(folder), ImageStore(folder, (".",), ("*.zip",)), "prompt_id")


BENCHMARK = Benchmark(
    name="genai_bench_527",
    title="GenAI-Bench, 527 prompts (Lin et al. 2024, ECCV, arXiv 2404.01291)",
    kind="rated",
    holds="images of six models with three ratings each, and the prompts in English and Chinese",
    size="3,162 images of 527 prompts",
    licence="Apache-2.0",
    source=Source(
        "linzhiqiu/t2v_metrics",
        "60ce07b144b9bff24b8dac5317cb28586b1b2509",
        ("genai_image.json",),
        hub="zhiqiulin/GenAI-Bench-527",
        hub_files=("genai_image.json",),
        hub_images=("*.zip",),
    ),
    scores=("Pearson", "Kendall tau-b", "pairwise accuracy with calibrated ties", "Krippendorff's alpha"),
    folders=("t2v_metrics", "GenAI-Bench-527"),
    files=("genai_image.json",),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    score=score,
    figures=(
        Figure(
            "alpha",
            "0.72",
            "GenAI-Bench, arXiv 2406.13743",
            reason="published for 1,600 prompts, of which these are 527; recomputed for ordinal ratings",
        ),
        Figure("alpha (ordinal)", None, "computed here only"),
        Figure("alpha (interval)", None, "computed here only"),
        *(
            Figure(f"{system} mean rating", None, "computed here only")
            for system in (
                "DALLE_3",
                "Midjourney_6",
                "DeepFloyd_I_XL_v1",
                "SDXL_Base",
                "SDXL_Turbo",
                "SDXL_2_1",
            )
        ),
    ),
    parity="The two ratings 41 and 33 of the file count as they stand; by default they are left out.",
)
