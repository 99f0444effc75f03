"""NaturalBench-Retrieval: two natural photographs that models confuse, and a caption of each.

Li et al. 2024, "NaturalBench: Evaluating Vision-Language Models on Natural Adversarial Samples", NeurIPS,
arXiv 2410.14669. The files are read as Baiqi-Li/NaturalBench@99676059:naturalbench_retrieval.py does. The
questions of NaturalBench, which are answered with yes and no or by a letter, are not read: a metric of images
and prompts has no answer to them.
"""

from __future__ import annotations

from pathlib import Path

from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Source
from croc.external.images import ImageStore, Pairs, two_by_two
from croc.storage.text_files import parse_json, require_kind

_ARCHIVE = "NaturalBench-Retrieval.zip"


class _Item(TypedDict):
    index: int
    image_0: str
    image_1: str
    caption_0: str
    caption_1: str


def pairs(folder: Path) -> Pairs:
    """Read ``metadata.json`` and ``images/``, unpacked or in ``NaturalBench-Retrieval.zip``.

    Raises:
        InputError: there is no such file, or an item cannot be used.
    """
    places = (".", "NaturalBench-Retrieval")
    store = ImageStore(folder, [f"{place}/images" for place in places], (_ARCHIVE,))
    found = ImageStore(folder, places, (_ARCHIVE,)).find("metadata.json")
    where = str(found) if isinstance(found, Path) else found.name
    try:
        content = found.read_bytes() if isinstance(found, Path) else found.read()
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror})") from None
    items = require_kind(parse_json(content, where), list[_Item], where)
    if not items:
        raise InputError(f"{where}: no items")
    return Pairs(
        tuple(
            two_by_two(
                str(item["index"]),
                (item["caption_0"], item["caption_1"]),
                (store.find(item["image_0"]), store.find(item["image_1"])),
            )
            for item in items
        )
    )


BENCHMARK = Benchmark(
    name="naturalbench",
    title="NaturalBench-Retrieval (Li et al. 2024, NeurIPS, arXiv 2410.14669)",
    kind="contrastive",
    holds="two natural photographs that models confuse, and a caption of each",
    size="not stated in its repository",
    licence="not stated in its repository",
    source=Source(
        "Baiqi-Li/NaturalBench",
        "99676059da42c0094df345bb3333b1140a18483b",
        ("naturalbench_retrieval.py",),
        hub="BaiqiL/NaturalBench",
        hub_files=(_ARCHIVE,),
    ),
    scores=("text score", "image score", "group score"),
    folders=("NaturalBench-Retrieval", "NaturalBench"),
    files=("metadata.json", "NaturalBench-Retrieval/metadata.json", _ARCHIVE),
    met="none",
    pairs=pairs,
)
