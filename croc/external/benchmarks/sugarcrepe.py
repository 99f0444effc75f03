"""SugarCrepe: the right caption of a photograph and one with an error, seven kinds of error.

Hsieh et al. 2023, "SugarCrepe: Fixing Hackable Benchmarks for Vision-Language Compositionality", NeurIPS,
arXiv 2306.14610. The files are read as RAIVNLab/sugar-crepe@0047054b:main_eval.py does. The answers of GPT-4V
are another benchmark, :mod:`croc.external.benchmarks.sugarcrepe_gpt4v`.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import TypedDict

from croc.checks.schema import ContrastCheck
from croc.errors import InputError
from croc.external.benchmark import Benchmark, Source
from croc.external.benchmarks.sugarcrepe_gpt4v import SPLITS
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs
from croc.storage.files import read_json

PLACES = ("val2017", "data/coco/images/val2017", "coco/images/val2017", "images", "data/val2017")
ARCHIVES = ("val2017.zip",)


class _Item(TypedDict):
    filename: str
    caption: str
    negative_caption: str


def pairs(folder: Path) -> Pairs:
    """Read ``data/SPLIT.json`` of all splits; photographs are those of COCO's validation set of 2017.

    The photograph is the unit of resampling: many have several captions.

    Raises:
        InputError: a file is missing or has no items, or an item cannot be used.
    """
    store = ImageStore(folder, PLACES, ARCHIVES)
    checks = []
    for split in SPLITS:
        file = first_existing(folder, f"data/{split}.json", f"{split}.json")
        items = read_json(file, "no items", dict[str, _Item])
        if not items:
            raise InputError(f"{file}: no items")
        checks += [
            ContrastCheck(
                check_id=f"{split}/{number}",
                concept_id=item["filename"],
                prompt=item["caption"],
                contrast_prompt=item["negative_caption"],
                images=[store.find(item["filename"])],
                contrast_images=[],
                category=split,
            )
            for number, item in items.items()
        ]
    return Pairs(tuple(checks))


BENCHMARK = Benchmark(
    name="sugarcrepe",
    title="SugarCrepe (Hsieh et al. 2023, NeurIPS, arXiv 2306.14610)",
    kind="contrastive",
    holds="the right caption of a photograph and one with an error",
    size="7,511 pairs of captions in seven splits",
    licence="MIT",
    source=Source(
        "RAIVNLab/sugar-crepe",
        "0047054b243992f0fad63d6f64f7544862daf846",
        ("data",),
        images="put COCO's validation images of 2017 into 'val2017/', or val2017.zip, beside 'data/'",
    ),
    scores=("forward text accuracy by split",),
    folders=("sugar-crepe",),
    files=("data/swap_att.json", "swap_att.json"),
    met="annotations",
    pairs=pairs,
)
