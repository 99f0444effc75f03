"""ImageReward's test set: images of a prompt in the order in which people prefer them.

Xu et al. 2023, "ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation",
NeurIPS, arXiv 2304.05977. The file and the accuracy are those of THUDM/ImageReward@c1392c6d:test.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated, table_of
from croc.external.standard import preference_accuracy
from croc.storage.files import read_json


class _Prompt(TypedDict):
    id: str
    prompt: str
    generations: list[str]
    ranking: list[int]


def read(folder: Path) -> Rated:
    """Read ``data/test.json``; ``human`` is the rank with the sign changed, so that the best image has -1.

    Raises:
        InputError: the file is missing, or a prompt does not have a rank for each of its images.
    """
    file = first_existing(folder, "data/test.json", "test.json")
    rows = []
    for item in read_json(file, "no prompts", list[_Prompt]):
        if len(item["ranking"]) != len(item["generations"]):
            raise InputError(
                f"{file}, prompt {item['id']!r}: {len(item['generations'])} images and "
                f"{len(item['ranking'])} ranks; expected a rank for each image"
            )
        rows += [
            {
                "item_id": f"{item['id']}/{number}",
                "system": None,
                "prompt": item["prompt"],
                "prompt_id": item["id"],
                "image": image,
                "human": -rank,
            }
            for number, (image, rank) in enumerate(zip(item["generations"], item["ranking"], strict=True))
        ]
    if not rows:
        raise InputError(f"{file}: no prompts")
    table = table_of(rows, str(file), {"system": pl.String})
    return Rated.of(table, str(file), humans=("human",))


def pairs(folder: Path) -> Pairs:
    """The images with their prompts: ``test_images/``, or ``test_images.zip``."""
    places = ("data/test_images", "test_images")
    return rated_pairs(read(folder), ImageStore(folder, places, ("*.zip", "data/*.zip")), "prompt_id")


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The size, and the share of pairs of a prompt's images that have the same rank."""
    table = items.table.select("prompt_id", "human").with_row_index("row")
    both = table.join(table, on="prompt_id").filter(pl.col("row") < pl.col("row_right"))
    return {
        "prompts": items.table["prompt_id"].n_unique(),
        "images": len(items.table),
        "pairs with the same rank": float((both["human"] == both["human_right"]).to_numpy().mean()),
    }


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The accuracy of ``test.py``: over all pairs of a prompt's images with different ranks."""
    return preference_accuracy(items, "human", "prompt_id", mode)


BENCHMARK = Benchmark(
    name="imagereward",
    title="ImageReward, test set (Xu et al. 2023, NeurIPS, arXiv 2304.05977)",
    kind="rated",
    holds="images of a prompt in the order in which people prefer them",
    size="2,720 images of 466 prompts",
    licence="Apache-2.0",
    source=Source(
        "THUDM/ImageReward",
        "c1392c6dd0fd6ecd6d416c96959ab744a6d0a8fb",
        ("data/test.json", "test.py"),
        images="put test_images.zip of the model repository THUDM/ImageReward on the Hub beside 'data/'",
    ),
    scores=("accuracy over pairs with different ranks",),
    folders=("ImageReward",),
    files=("data/test.json", "test.json"),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    score=score,
    figures=tuple(
        Figure(name, None, "computed here only") for name in ("prompts", "images", "pairs with the same rank")
    ),
    parity="A pair to which the metric gives the same score is wrong; by default it counts one half.",
)
