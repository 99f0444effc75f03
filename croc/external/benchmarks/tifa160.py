"""TIFA160: 800 images with ratings by two people, and the scores of ten metrics.

Hu et al. 2023, "TIFA: Accurate and Interpretable Text-to-Image Faithfulness Evaluation with Question
Answering", ICCV, arXiv 2303.11897.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source, figures
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated, table_of
from croc.external.standard import pooled_scores
from croc.storage.files import read_json
from croc.storage.text_files import require_kind

METRICS = (
    *("meteor", "bleu", "rouge", "spice", "clipscore_vitb32"),
    *("tifa_vilt", "tifa_git-large", "tifa_ofa-large", "tifa_blip2-flant5xl", "tifa_mplug-large"),
)


class _Item(TypedDict):
    text_id: str
    image_path: str
    text: str
    human_scores: list[float]
    human_avg: float


def read(folder: Path) -> Rated:
    """Read ``human_annotations_with_scores.json``.

    Raises:
        InputError: the file is missing, or an item of it lacks a key or does not have two ratings.
    """
    name = "human_annotations_with_scores.json"
    file = first_existing(folder, f"human_annotations/{name}", name)
    rows = []
    for item_id, item in read_json(file, "no ratings", dict[str, _Item]).items():
        where = f"{file}, item {item_id!r}"
        scores = {name: score for name, score in item.items() if name in METRICS}
        if missing := [name for name in METRICS if name not in scores]:
            raise InputError(f"{where}: missing key {missing[0]!r}")
        require_kind(scores, dict[str, float], where)
        ratings = item["human_scores"]
        if len(ratings) != 2:
            raise InputError(f"{where}: 'human_scores' must be two ratings, not {ratings!r}")
        rows.append(
            {
                "item_id": item_id,
                "system": item_id.removeprefix(f"{item['text_id']}_"),
                "prompt": item["text"],
                "prompt_id": item["text_id"],
                "image": item["image_path"],
                "rater_1": ratings[0],
                "rater_2": ratings[1],
                "human_avg": item["human_avg"],
                **scores,
            }
        )
    if not rows:
        raise InputError(f"{file}: no items")
    return Rated.of(
        table_of(rows, str(file)),
        str(file),
        humans=("human_avg",),
        raters=("rater_1", "rater_2"),
        metrics=METRICS,
    )


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman and Kendall tau-b of each metric over all images."""
    found = pooled_scores(items, "human_avg", ("Spearman", "Kendall", "Pearson"))
    for metric in items.metrics:
        pearson = found.pop(f"{metric} Pearson")
        if mode == "parity":
            found[f"{metric} Spearman"] = pearson
    return found


_CELL_3 = """
meteor .339659 .274076
bleu .183340 .187910
rouge .328889 .244858
spice .328053 .231758
clipscore_vitb32 .331818 .231446
tifa_vilt .493225 .382409
tifa_git-large .544501 .425508
tifa_ofa-large .496147 .372478
tifa_blip2-flant5xl .558983 .435997
tifa_mplug-large .596720 .471716
"""


def pairs(folder: Path) -> Pairs:
    """The images with their prompts."""
    return rated_pairs(
        read(folder), ImageStore(folder, ("images", "human_annotations/images", ".")), "prompt_id"
    )


BENCHMARK = Benchmark(
    name="tifa160",
    title="TIFA160 (Hu et al. 2023, ICCV, arXiv 2303.11897)",
    kind="rated",
    holds="images of five models with ratings of two people and scores of ten metrics",
    size="800 images of 160 prompts",
    licence="Apache-2.0",
    source=Source(
        "Yushi-Hu/tifa",
        "8e37050f44ab4ee681e4251f3c8a9d4cc86e901e",
        ("human_annotations/human_annotations_with_scores.json",),
        images="put the images, which human_annotations/README.md links, into 'images/' beside the file",
    ),
    scores=("Spearman", "Kendall tau-b"),
    folders=("tifa",),
    files=(
        "human_annotations/human_annotations_with_scores.json",
        "human_annotations_with_scores.json",
    ),
    met="all",
    read=read,
    pairs=pairs,
    compute=compute,
    score=compute,
    figures=figures(
        _CELL_3,
        ("Spearman", "Kendall"),
        "human_annotations/compute_correlation.ipynb, output of cell 3, to 6 decimals",
        decimals=6,
    ),
    parity="What the notebook and the paper call Spearman's correlation is Pearson's.",
)
