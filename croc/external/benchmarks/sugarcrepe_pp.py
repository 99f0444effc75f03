"""SugarCrepe++: two right captions of a photograph and one with an error.

Dumpala et al. 2024, "SUGARCREPE++ Dataset: Vision-Language Model Sensitivity to Semantic and Lexical
Alterations", NeurIPS, arXiv 2406.11171. The files and the image-to-text score are those of
Sri-Harsha/scpp@c083bbf0:VLMs/test_BLIP.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from typing_extensions import TypedDict

from croc.checks.schema import ContrastCheck
from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source
from croc.external.benchmarks.sugarcrepe import ARCHIVES, PLACES
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs
from croc.storage.files import read_json
from croc.tables.score_tables import ScoreTable
from croc.wording import counted

SPLITS = ("swap_att", "swap_obj", "replace_att", "replace_obj", "replace_rel")
CAPTIONS = ("first caption", "second caption")


class _Item(TypedDict):
    id: int
    filename: str
    caption: str
    caption2: str
    negative_caption: str


def pairs(folder: Path) -> Pairs:
    """Read ``data/SPLIT.json`` of all splits: a check for each of the two right captions of an item.

    The photograph is the unit of resampling.

    Raises:
        InputError: a file is missing or has no items, or an item cannot be used.
    """
    store = ImageStore(folder, PLACES, ARCHIVES)
    checks = []
    equal = 0
    for split in SPLITS:
        file = first_existing(folder, f"data/{split}.json", f"{split}.json")
        items = read_json(file, "no items", list[_Item])
        if not items:
            raise InputError(f"{file}: no items")
        for item in items:
            own = (item["caption"], item["caption2"])
            equal += item["negative_caption"] in own
            checks += [
                ContrastCheck(
                    check_id=f"{split}/{item['id']}/{number}",
                    concept_id=item["filename"],
                    prompt=caption,
                    contrast_prompt=item["negative_caption"],
                    images=[store.find(item["filename"])],
                    contrast_images=[],
                    category=split,
                )
                for number, caption in enumerate(own, 1)
            ]
    notes = (f"{counted(equal, 'item')} in which a right caption is the wrong one: always a tie.",)
    return Pairs(tuple(checks), notes if equal else ())


def score(tables: Sequence[ScoreTable], mode: Mode) -> Mapping[str, float]:
    """The share of items whose right captions both score higher than the wrong one, and each of them.

    By ``METRIC both captions`` and ``METRIC both captions, SPLIT``. In parity mode items with a missing score
    fail, by default they are left out. A tie fails.
    """
    found: dict[str, float] = {}
    for table in tables:
        for metric, (own, wrong) in table.metrics.items():
            split, item, number = (pl.col("check_id").str.split("/").list.get(n) for n in range(3))
            rows = table.frame.select(
                split.alias("split"),
                item.alias("item"),
                number.alias("number"),
                (pl.col(own) > pl.col(wrong)).alias("passed"),
            )
            if mode == "parity":
                rows = rows.with_columns(pl.col("passed").fill_null(False))
            # An item of which one caption was not scored at all is not known to pass.
            both = (
                rows.group_by("split", "item", maintain_order=True)
                .agg(pl.col("passed").all(ignore_nulls=False), pl.len().alias("captions"))
                .filter(captions=len(CAPTIONS))
            )
            values = {"both captions": both} | {
                name: rows.filter(number=str(n)) for n, name in enumerate(CAPTIONS, 1)
            }
            for name, passed in values.items():
                found |= _shares(f"{metric} {name}", passed.drop_nulls("passed"))
    return found


def _shares(name: str, passed: pl.DataFrame) -> dict[str, float]:
    """The share of rows that passed, over all splits and by split."""
    found = {name: float(passed["passed"].to_numpy().mean())} if len(passed) else {}
    for (split,), rows in passed.group_by("split", maintain_order=True):
        found[f"{name}, {split}"] = float(rows["passed"].to_numpy().mean())
    return found


BENCHMARK = Benchmark(
    name="sugarcrepe_pp",
    title="SugarCrepe++ (Dumpala et al. 2024, NeurIPS, arXiv 2406.11171)",
    kind="contrastive",
    holds="two right captions of a photograph and one with an error",
    size="4,757 triples of captions in five splits",
    licence="CC-BY-4.0",
    source=Source(
        "Sri-Harsha/scpp",
        "c083bbf039a5ca215acaf25e7ee736d2ea6f3864",
        ("data",),
        hub="Aman-J/SugarCrepe_pp",
        images="put COCO's validation images of 2017 into 'val2017/', or val2017.zip, beside 'data/'",
    ),
    scores=("both captions (image-to-text task)", "first caption", "second caption", "all by split"),
    folders=("scpp",),
    files=("data/swap_att.json", "swap_att.json"),
    met="annotations",
    pairs=pairs,
    score=score,
    parity="Missing scores fail; by default their items are left out. A tie fails in both.",
)
