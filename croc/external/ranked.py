"""Which metrics of a rated benchmark are ranked, by which rating, and in which parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, find_benchmark, require_folder
from croc.external.evaluation import join_scores
from croc.external.items import Rated

GROUP, PART, IMAGE = "prompt", "ranked_part", "ranked_image"
"""Columns of :class:`RankedItems`: whose images are compared with each other, the part, and the image."""

_DSG_SYSTEMS = {
    "mini-dalle": "mini_dalle",
    "vq-diffusion": "vq_diffusion",
    "sd1dot1": "stable_diffusion_v1_1",
    "sd1dot5": "stable_diffusion_v1_5",
    "sd2dot1": "stable_diffusion_v2_1",
}


@dataclass(frozen=True)
class Ranked:
    """How the metrics of a benchmark are ranked. Without one, all are, by the first rating.

    Attributes:
        keep: whether a metric predicts the rating that ranks.
        group: the images that are compared with each other, and resampled together.
        part: name of the parts, such as ``task``; empty if there are none.
        parts: the part of an image.
        image: what names an image in all benchmarks that have it.
        same_images: another benchmark with ratings of the same images. The metrics of both are ranked by the
            ratings of each.
    """

    keep: Callable[[str], bool] = lambda metric: True
    group: pl.Expr = pl.col("prompt")  # noqa: RUF009  # expressions are immutable
    part: str = ""
    parts: pl.Expr = pl.lit(None, pl.String)  # noqa: RUF009
    image: pl.Expr = pl.col("item_id")  # noqa: RUF009
    same_images: str = ""


_NATURAL = pl.col("graph").filter(pl.col("system") == "Natural")

RANKED = {
    "tifa160": Ranked(
        group=pl.col("prompt_id"),
        part="source of the prompt",
        parts=pl.col("prompt_id").str.extract(r"^([^_]+)"),
        same_images="dsg_tifa160",
    ),
    "dsg_tifa160": Ranked(
        # With every dependency that can be read, where the answers are there.
        keep=lambda metric: not metric.endswith("_default"),
        part="source of the prompt",
        parts=pl.col("prompt").str.extract(r"^([^_]+)"),
        image=pl.concat_str("prompt", pl.lit("_"), pl.col("system").replace(_DSG_SYSTEMS)),
        same_images="tifa160",
    ),
    "ts2": Ranked(
        group=pl.col("graph").cast(pl.String).str.zfill(3),
        part="images",
        parts=pl.when(pl.col("graph") < _NATURAL.min())
        .then(pl.lit("synth"))
        .when(pl.col("graph") > _NATURAL.max())
        .then(pl.lit("real"))
        .otherwise(pl.lit("nat")),
    ),
    # Scores ``pq`` are of perceptual quality, and the rating is of semantic consistency. LPIPS is a distance,
    # for which lower is better.
    "imagenhub": Ranked(
        keep=lambda metric: not metric.endswith("_pq") and metric != "LPIPS",
        part="task",
        parts=pl.col("task"),
    ),
}


@dataclass(frozen=True)
class RankedItems:
    """Rated items with the metrics that are ranked.

    Attributes:
        benchmark: whose ratings.
        items: with the columns ``GROUP`` and ``PART``; one rating.
        part: name of the parts; empty if there are none.
        origin: by metric, the benchmark whose files have its scores; empty for scores of a user's table.
    """

    benchmark: Benchmark
    items: Rated
    part: str
    origin: dict[str, str]


def ranked_items(benchmark: Benchmark, data: Path, scores: Sequence[Path] = ()) -> RankedItems:
    """Read a rated benchmark, with the metrics of another one that has the same images, if it is there.

    Args:
        benchmark: a rated one.
        data: folder with its files, or a folder above it.
        scores: pair tables with ``item_id`` and further metrics.

    Raises:
        InputError: the files cannot be used, the benchmark is not rated, or it has no metric.
    """
    if benchmark.kind != "rated":
        raise InputError(f"{benchmark.name}: has answers and no ratings; only rated benchmarks rank metrics")
    how, items = _read(benchmark, data)
    origin = dict.fromkeys(items.metrics, benchmark.name)
    table, notes = items.table, list(items.left_out)
    if how.same_images and (other := find_benchmark(how.same_images)).find(data) is not None:
        _, more = _read(other, data)
        new = [name for name in more.metrics if name not in table.columns]
        table = table.join(more.table.select(IMAGE, *new), on=IMAGE, how="left")
        origin |= dict.fromkeys(new, other.name)
        notes += [f"{other.name}: {note}" for note in more.left_out]
    if scores:
        joined, found = join_scores(items, scores)
        own = joined.table.select("item_id", *joined.metrics)
        if repeated := [name for name in joined.metrics if name in table.columns]:
            raise InputError(f"{scores[0]}: {benchmark.name} has a column {repeated[0]!r}; rename the metric")
        table = table.join(own, on="item_id", how="left")
        origin |= dict.fromkeys(joined.metrics, "")
        notes += found
    if not origin:
        raise InputError(f"{benchmark.name}: has no scores of metrics; give some with --scores")
    kept = replace(items, table=table, humans=items.humans[:1], metrics=tuple(origin), left_out=tuple(notes))
    return RankedItems(benchmark, kept, how.part, origin)


def _read(benchmark: Benchmark, data: Path) -> tuple[Ranked, Rated]:
    how = RANKED.get(benchmark.name, Ranked())
    assert benchmark.read is not None  # of every rated benchmark
    items: Rated = benchmark.read(require_folder(benchmark, data))
    table = items.table
    if benchmark.name == "dsg_tifa160":
        better = [name for name in items.metrics if f"{name}_default" in table.columns]
        table = table.with_columns(pl.col(f"{name}_default").alias(name) for name in better)
    table = table.with_columns(how.group.alias(GROUP), how.parts.alias(PART), how.image.alias(IMAGE))
    return how, replace(items, table=table, metrics=tuple(filter(how.keep, items.metrics)))
