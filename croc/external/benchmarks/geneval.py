"""GenEval's labels by people: how well images of three models fit their captions, by five annotators each.

Ghosh et al. 2023, "GenEval: An Object-Focused Framework for Evaluating Text-to-Image Alignment", NeurIPS,
arXiv 2310.11513. The rating is the answer to question 5 of annotations/mturk_hit_template.html of
djghosh13/geneval@af4902f2, from 1 (unrelated to the caption) to 4 (all of its meaning).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing, whole_numbers
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated
from croc.external.standard import pooled_scores
from croc.ratings.agreement import Level, alpha_of, coincidences
from croc.tables.delimited import read_delimited, require_cells, require_columns

MODELS = ("clip", "if-xl", "sdv2")
SCALE = (1, 2, 3, 4)
_KEYS = ("Input.index", "Input.prompt_id", "Input.image_url", "Input.caption")
_RATING = "Answer.task-quality"
_URL = re.compile(r"/resolve/main/(images/.+)$")


def read(folder: Path) -> Rated:
    """Read ``annotations/annotations_MODEL.csv`` of each model: a line per annotator and image.

    Raises:
        InputError: a file or a column is missing, or a rating is not from 1 to 4.
    """
    tables = []
    for model in MODELS:
        name = f"annotations_{model}.csv"
        file = first_existing(folder, f"annotations/{name}", name)
        table = read_delimited(file, carriage_returns=True)  # one stands in an answer, without quotes
        require_columns(table, (*_KEYS, _RATING), str(file))
        require_cells(table, (*_KEYS, _RATING), str(file))
        table = table.with_columns(whole_numbers(table[_RATING], str(file)))
        if not table[_RATING].is_in(SCALE).all():
            row = int((~table[_RATING].is_in(SCALE)).arg_max() or 0)
            raise InputError(
                f"{file}, column {_RATING!r}, row {row + 1}: {table[_RATING][row]} is not from 1 to 4"
            )
        tables.append(table.select(*_KEYS, _RATING).with_columns(pl.lit(model).alias("system")))
    answers = pl.concat(tables)
    images = [_URL.search(url) for url in answers["Input.image_url"]]
    if None in images:
        url = answers["Input.image_url"][images.index(None)]
        raise InputError(f"{folder}: the image address {url!r} has no path after /resolve/main/")
    answers = answers.with_columns(pl.Series("image", [found[1] for found in images if found]))
    rating = pl.col(_RATING)
    table = answers.group_by("system", "Input.index", "Input.prompt_id", maintain_order=True).agg(
        pl.col("Input.caption").first().alias("prompt"),
        pl.col("image").first(),
        rating.mean().alias("human"),
        *((rating == value).sum().alias(f"votes_{value}") for value in SCALE),
    )
    table = table.with_columns(
        (pl.col("system") + "/" + pl.col("Input.index")).alias("item_id"),
        pl.col("Input.prompt_id").alias("prompt_id"),
    ).drop("Input.index", "Input.prompt_id")
    return Rated.of(table, str(folder), humans=("human",))


def pairs(folder: Path) -> Pairs:
    """The images with their captions: ``images/MODEL/PROMPT/samples/NUMBER.png``."""
    return rated_pairs(read(folder), ImageStore(folder), "prompt_id")


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Size, Krippendorff's alpha of the ratings, and the mean rating of each model."""
    counts = items.table.select(f"votes_{value}" for value in SCALE).to_numpy()
    sums = coincidences(counts).sum(axis=0)[None]
    levels: tuple[Level, ...] = ("ordinal", "interval")
    found = {"images": float(len(items.table)), "ratings": float(np.sum(counts))}
    found |= {f"alpha ({level})": float(alpha_of(sums, level)[0]) for level in levels}
    for (system,), group in items.table.group_by("system", maintain_order=True):
        found[f"{system} mean rating"] = float(group["human"].to_numpy().mean())
    return found


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman, Kendall tau-b and pairwise accuracy with the mean rating over all images."""
    return pooled_scores(items, "human", ("Spearman", "Kendall", "pairwise accuracy"))


BENCHMARK = Benchmark(
    name="geneval",
    title="GenEval, labels by people (Ghosh et al. 2023, NeurIPS, arXiv 2310.11513)",
    kind="rated",
    holds="images of three models with five ratings each of how well they fit the caption",
    size="1,200 images, 6,000 ratings",
    licence="MIT",
    source=Source(
        "djghosh13/geneval",
        "af4902f24d3ca90ebbb446dd9891a59e0f82725f",
        ("annotations",),
        hub="djghosh/aigen-images",
        images="put 'images/' of djghosh/aigen-images on the Hub beside 'annotations/'",
    ),
    scores=("Spearman", "Kendall tau-b", "pairwise accuracy with calibrated ties", "Krippendorff's alpha"),
    folders=(),
    files=("annotations/annotations_clip.csv", "annotations_clip.csv"),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    score=score,
    figures=tuple(
        Figure(name, None, "computed here only")
        for name in (
            *("images", "ratings", "alpha (ordinal)", "alpha (interval)"),
            *(f"{model} mean rating" for model in MODELS),
        )
    ),
)
