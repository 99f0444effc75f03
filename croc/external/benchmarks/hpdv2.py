"""HPDv2's test set: images of a prompt with the average rank that ten people gave them.

Wu et al. 2023, "Human Preference Score v2", arXiv 2306.09341. The layout is that of README.md of
tgxs002/HPSv2@866735ec, the accuracy that of its hpsv2/evaluation.py (``evaluate_rank``) and
hpsv2/src/training/train.py (``inversion_score``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated, table_of
from croc.storage.files import read_json


class _Prompt(TypedDict):
    prompt: str
    image_path: list[str]
    rank: list[int | float]


def read(folder: Path) -> Rated:
    """Read ``test.json``; ``human`` is the rank with the sign changed, so that the best image is the highest.

    Raises:
        InputError: the file is missing, or a prompt does not have a rank for each of its images.
    """
    file = first_existing(folder, "test.json")
    rows = []
    for number, item in enumerate(read_json(file, "no prompts", list[_Prompt])):
        images, ranks = item["image_path"], item["rank"]
        if len(images) != len(ranks):
            raise InputError(
                f"{file}, prompt {number}: {len(images)} images and {len(ranks)} ranks; expected a rank for "
                "each image"
            )
        rows += [
            {
                "item_id": f"{number}/{place}",
                "system": None,
                "prompt": item["prompt"],
                "prompt_id": str(number),
                "image": image,
                "human": -float(rank),
            }
            for place, (image, rank) in enumerate(zip(images, ranks, strict=True))
        ]
    if not rows:
        raise InputError(f"{file}: no prompts")
    table = table_of(rows, str(file), {"system": pl.String})
    return Rated.of(table, str(file), humans=("human",))


def pairs(folder: Path) -> Pairs:
    """The images of ``test/`` with their prompts."""
    return rated_pairs(read(folder), ImageStore(folder, ("test",)), "prompt_id")


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The share of pairs of a prompt's images that a metric orders as people do, averaged over the prompts.

    In parity mode images with equal scores are ordered as in the file, and pairs to which people gave the
    same rank are right. By default equal scores count one half, and these pairs are left out.
    """
    found = {}
    for metric in items.metrics:
        table = items.table.select("prompt_id", "human", pl.col(metric).alias("score"))
        table = table.drop_nulls().with_row_index("row")
        both = table.join(table, on="prompt_id").filter(pl.col("row") < pl.col("row_right"))
        people = (pl.col("human") - pl.col("human_right")).sign()
        order = (pl.col("score") - pl.col("score_right")).sign()
        if mode == "parity":
            order = pl.when(order == 0).then(1).otherwise(order)
            value = (people * order >= 0).cast(float)
        else:
            both = both.filter(people != 0)
            value = (people * order + 1) / 2
        means = both.group_by("prompt_id").agg(value.mean().alias("value"))
        if len(means):
            found[f"{metric} accuracy"] = float(means["value"].to_numpy().mean())
    return found


BENCHMARK = Benchmark(
    name="hpdv2",
    title="HPDv2, test set (Wu et al. 2023, arXiv 2306.09341)",
    kind="rated",
    holds="images of a prompt with the average of the ranks that people gave them",
    size="153,000 pairs of images",
    licence="Apache-2.0",
    source=Source(
        "tgxs002/HPSv2",
        "866735ecaae999fa714bd9edfa05aa2672669ee3",
        ("README.md", "hpsv2/evaluation.py", "hpsv2/src/training/train.py"),
        hub="ymhao/HPDv2",
        images="unpack the archive of the test images on the Hub into 'test/' beside test.json",
    ),
    scores=("accuracy over pairs, averaged over prompts",),
    folders=("HPD", "HPDv2"),
    files=("test.json",),
    met="none",
    read=read,
    pairs=pairs,
    score=score,
    parity="Pairs to which people gave the same rank are right, and equal scores are ordered as in the file; "
    "by default the former are left out and the latter count one half.",
)
