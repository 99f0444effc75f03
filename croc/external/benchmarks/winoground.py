"""Winoground: two captions with the same words in another order, and an image of each.

Thrush et al. 2022, "Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality",
CVPR, arXiv 2204.03162. The layout with ``examples.jsonl`` is read as
Wangt-CN/EqBen@ab6c79a3:src/eqben/eqben_utils.py and linzhiqiu/t2v_metrics@6ecb74f9:dataset.py do, that with
Parquet as rabiulcste/vismin@29ce2c01:evals/dataset_zoo/dataset.py does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NotRequired

from typing_extensions import TypedDict

from croc.checks.schema import ContrastCheck
from croc.external.benchmark import Benchmark, Source
from croc.external.files import read_json_lines
from croc.external.images import ImageStore, Pairs, cell_image, parquet_rows, two_by_two

# Not every Parquet file: score tables of the benchmark may lie in a folder of its name.
_PARQUET = ("data/test-*.parquet", "test-*.parquet")
_COLUMNS = ("id", "image_0", "image_1", "caption_0", "caption_1", "collapsed_tag")


class _Example(TypedDict):
    id: int
    image_0: str
    image_1: str
    caption_0: str
    caption_1: str
    collapsed_tag: NotRequired[str]


def pairs(folder: Path) -> Pairs:
    """Read ``examples.jsonl`` with ``images/`` or ``images.zip``, or Parquet files with embedded images.

    The category is the tag of the example: ``Object``, ``Relation`` or ``Both``.

    Raises:
        InputError: no file is there, or an example cannot be used.
    """
    rows = parquet_rows(folder, _PARQUET, _COLUMNS, ("image_0", "image_1"))
    if rows is not None:
        texts = rows.select_columns(["id", "caption_0", "caption_1", "collapsed_tag"])
        checks = (
            _check(example, cell_image(rows, number, "image_0"), cell_image(rows, number, "image_1"))
            for number, example in enumerate(texts)
        )
        return Pairs(tuple(checks))
    return Pairs(tuple(_of_lines(folder)))


def _of_lines(folder: Path) -> Iterator[ContrastCheck]:
    store = ImageStore(folder, ("images", "data/images"), ("images.zip", "data/images.zip"))
    for _, example in read_json_lines(folder, ("examples.jsonl", "data/examples.jsonl"), _Example):
        images = (store.find(_with_suffix(example[name])) for name in ("image_0", "image_1"))
        yield _check(example, *images)


def _with_suffix(name: str) -> str:
    return name if PurePosixPath(name).suffix else f"{name}.png"


def _check(example: Any, first: Any, second: Any) -> ContrastCheck:
    return two_by_two(
        str(example["id"]),
        (example["caption_0"], example["caption_1"]),
        (first, second),
        category=example.get("collapsed_tag"),
    )


BENCHMARK = Benchmark(
    name="winoground",
    title="Winoground (Thrush et al. 2022, CVPR, arXiv 2204.03162)",
    kind="contrastive",
    holds="two captions with the same words in another order, and an image of each",
    size="400 examples",
    licence="LicenseRef-Meta-Images-Research",
    source=Source(
        "Wangt-CN/EqBen",
        "ab6c79a3c34656f6a882b4e49439febd6fe313f8",
        ("src/eqben/eqben_utils.py",),
        hub="facebook/winoground",
        gated=True,
        hub_files=("*.jsonl", "*.parquet"),
        hub_images=("*.zip",),
    ),
    scores=("text score", "image score", "group score"),
    folders=(),
    files=("examples.jsonl", "data/examples.jsonl", *_PARQUET),
    met="none",
    pairs=pairs,
)
