"""AGIQA-3K: mean opinion scores of quality and of alignment with the prompt.

Li et al. 2023, "AGIQA-3K: An Open Database for AI-Generated Image Quality Assessment", IEEE TCSVT,
arXiv 2306.04717.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated
from croc.external.standard import pooled_scores
from croc.ratings.coefficients import correlation
from croc.tables.delimited import read_delimited, require_cells, require_columns

HUMANS = ("mos_align", "mos_quality")


def read(folder: Path) -> Rated:
    """Read ``data.csv``.

    Raises:
        InputError: the file or a column is missing, or a cell cannot be used.
    """
    file = first_existing(folder, "data.csv")
    table = read_delimited(file)
    columns = ("name", "prompt", *HUMANS)
    require_columns(table, (*columns, "std_align", "std_quality"), str(file))
    require_cells(table, columns, str(file))
    table = table.with_columns(
        pl.col("name").alias("item_id"),
        pl.col("name").str.extract(r"^([^_]+)").alias("system"),
        pl.col("name").alias("image"),
    )
    return Rated.of(table, str(file), humans=HUMANS)


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Size, and Spearman's correlation of quality and alignment."""
    align, quality = (items.table[name].to_numpy() for name in HUMANS)
    return {
        "images": len(items.table),
        "image models": items.table["system"].n_unique(),
        "Spearman of quality and alignment": correlation(align, quality, "spearman"),
    }


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman, Kendall tau-b and Pearson with alignment over all images."""
    return pooled_scores(items, "mos_align", ("Spearman", "Kendall", "Pearson"))


def pairs(folder: Path) -> Pairs:
    """The images with their prompts."""
    return rated_pairs(read(folder), ImageStore(folder, ("images", "."), ("AGIQA-3K.zip",)))


BENCHMARK = Benchmark(
    name="agiqa3k",
    title="AGIQA-3K (Li et al. 2023, IEEE TCSVT, arXiv 2306.04717)",
    kind="rated",
    holds="images of six models with mean opinion scores of quality and alignment; no scores of metrics",
    size="2,982 images of 300 prompts",
    licence="MIT",
    source=Source(
        "lcysyzxdxc/AGIQA-3k-Database",
        "30ded2bed96fc78070636548e811ece37e5d8f66",
        ("data.csv",),
        images="put AGIQA-3K.zip, which the repository's README links, beside data.csv",
    ),
    scores=("Spearman", "Kendall tau-b", "Pearson"),
    folders=("AGIQA-3k-Database", "AGIQA-3K"),
    files=("data.csv",),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    score=score,
    figures=(
        Figure("images", "2982", "arXiv 2306.04717"),
        Figure("image models", "6", "arXiv 2306.04717"),
        Figure("Spearman of quality and alignment", None, "computed here only"),
    ),
)
