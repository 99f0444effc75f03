"""SugarCrepe: the right caption of an image and one with an error, with the choices of GPT-4V in both orders.

Hsieh et al. 2023, "SugarCrepe: Fixing Hackable Benchmarks for Vision-Language Compositionality", NeurIPS,
arXiv 2306.14610.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source, figures
from croc.external.files import first_existing
from croc.external.items import Contrastive, table_of
from croc.storage.files import read_json
from croc.storage.text_files import require_kind
from croc.tables.delimited import read_delimited, require_columns

SPLITS = ("swap_att", "swap_obj", "add_att", "add_obj", "replace_att", "replace_obj", "replace_rel")
ORDERS = ("positive first", "negative first")
_METRIC = "gpt4v"


class _Item(TypedDict):
    caption: str
    negative_caption: str
    correct: bool


def read(folder: Path) -> Contrastive:
    """Read ``gpt-4v-results/ORDER/gpt4v-SPLIT.json``, or a table of them.

    The table is ``sugarcrepe_gpt4v.csv`` with ``split``, ``id``, ``caption``, ``negative_caption``,
    ``correct_positive_first`` and ``correct_negative_first``.

    Raises:
        InputError: a file is missing or cannot be used.
    """
    rows: list[dict[str, Any]] = []
    if not (folder / "gpt-4v-results").is_dir():
        file = first_existing(folder, "sugarcrepe_gpt4v.csv")
        table = read_delimited(file)
        names = {order: f"correct_{order.replace(' ', '_')}" for order in ORDERS}
        require_columns(table, ("split", "id", "caption", "negative_caption", *names.values()), str(file))
        for row in table.iter_rows(named=True):
            rows += [_row(row["split"], row["id"], row, order, row[names[order]]) for order in ORDERS]
        return Contrastive.of(pl.DataFrame(rows), str(file))
    for split in SPLITS:
        for order in ORDERS:
            file = folder / "gpt-4v-results" / order.replace(" ", "-") / f"gpt4v-{split}.json"
            for number, item in read_json(file, f"no {file.name}", dict[str, Any]).items():
                if number == "accuracy":  # of the split, at the end of the file
                    continue
                require_kind(item, _Item, f"{file}, item {number!r}")
                rows.append(_row(split, number, item, order, float(item["correct"])))
    if not rows:
        raise InputError(f"{folder}/gpt-4v-results: no answers")
    return Contrastive.of(table_of(rows, str(folder)), str(folder))


def _row(split: str, number: str, item: Mapping[str, Any], order: str, correct: Any) -> dict[str, Any]:
    return {
        "item_id": f"{split}/{number}",
        "metric": _METRIC,
        "category": split,
        "prompt": item["caption"],
        "contrast_prompt": item["negative_caption"],
        "order": order,
        "forward_text": correct,
    }


def compute(items: Contrastive, mode: Mode) -> Mapping[str, float]:
    """The number of right answers in each order, their average share, and the share right in both orders."""
    found = {}
    for split in items.table["category"].unique(maintain_order=True):
        rows = items.table.filter(pl.col("category") == split)
        answers = {}
        for order in ORDERS:
            answers[order] = rows.filter(pl.col("order") == order)["forward_text"].drop_nulls().to_numpy()
            found[f"{split} {order}"] = float(answers[order].sum())
        if not all(map(len, answers.values())):
            continue
        found[f"{split} average"] = float(np.mean([own.mean() for own in answers.values()]))
        wide = rows.pivot("order", index="item_id", values="forward_text").drop_nulls()
        if len(wide):
            found[f"{split} both orders"] = float((wide[ORDERS[0]] * wide[ORDERS[1]]).to_numpy().mean())
    return found


_README = """
swap_att 607 593
swap_obj 211 198
add_att 604 666
add_obj 1859 1918
replace_att 734 740
replace_obj 1578 1604
replace_rel 1240 1298
"""
_AVERAGES = """
swap_att .9009
swap_obj .8313
add_att .9176
add_obj .9159
replace_att .9353
replace_obj .9631
replace_rel .9026
"""
_SOURCE = "gpt-4v-results/readme.md"

BENCHMARK = Benchmark(
    name="sugarcrepe_gpt4v",
    title="SugarCrepe, answers of GPT-4V (Hsieh et al. 2023, NeurIPS, arXiv 2306.14610)",
    kind="contrastive",
    holds="right and wrong captions of photographs, and GPT-4V's choices with the right one first and second",
    size="7,512 pairs of captions in seven splits",
    licence="MIT",
    source=Source("RAIVNLab/sugar-crepe", "0047054b243992f0fad63d6f64f7544862daf846", ("gpt-4v-results",)),
    scores=("right answers by order", "average of both orders", "right in both orders"),
    folders=("sugar-crepe",),
    files=("gpt-4v-results", "sugarcrepe_gpt4v.csv"),
    met="annotations",
    read=read,
    compute=compute,
    figures=(
        *figures(_README, ORDERS, _SOURCE, decimals=0),
        *figures(_AVERAGES, ("average",), _SOURCE, decimals=4),
        *(Figure(f"{split} both orders", None, "computed here only") for split in SPLITS),
    ),
)
