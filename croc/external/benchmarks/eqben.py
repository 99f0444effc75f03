"""EqBen: two images that differ little, of videos and of rendered or generated scenes, and a caption of each.

Wang et al. 2023, "Equivariant Similarity for Vision-Language Foundation Models", ICCV, arXiv 2303.14465. The
annotation "formalized similar to Winoground" (README.md of Wangt-CN/EqBen@ab6c79a3) is read as
linzhiqiu/t2v_metrics@6ecb74f9:dataset.py (``EqBen_Mini``) and
rabiulcste/vismin@29ce2c01:evals/dataset_zoo (``EqBenALL``) do; frames of videos that are stored as arrays as
Wangt-CN/EqBen@ab6c79a3:example/eqben_eval_CLIP.py does.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external import images
from croc.external.benchmark import Benchmark, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, StoredImage, two_by_two
from croc.storage.files import read_json

_FILES = ("all_select.json", "eqben_subset_10percent_final.json")


class _Item(TypedDict):
    image0: str
    image1: str
    caption0: str
    caption1: str


def pairs(folder: Path) -> Pairs:
    """Read ``all_select.json`` with ``images/``, or the subset of 10 % with ``image_subset/``.

    The category is the first part of an image's path, such as ``eqbensd``.

    Raises:
        InputError: no file is there, or an item cannot be used.
    """
    file = first_existing(folder, *_FILES)
    store = ImageStore(folder, ("images", "image_subset", "."))
    items = read_json(file, "no items", list[_Item])
    if not items:
        raise InputError(f"{file}: no items")
    return Pairs(
        tuple(
            two_by_two(
                str(number),
                (item["caption0"], item["caption1"]),
                (_image(store, item["image0"]), _image(store, item["image1"])),
                category=PurePosixPath(item["image0"]).parts[0],
            )
            for number, item in enumerate(items)
        )
    )


def _image(store: ImageStore, name: str) -> images.Image:
    found = store.find(name)
    if isinstance(found, Path) and found.suffix == ".npy" and found.is_file():
        return StoredImage(str(found), partial(_frame, found))
    return found


def _frame(file: Path) -> bytes:
    """A frame that is stored as an array of blue, green and red, as PNG."""
    try:
        array: Any = np.load(file, allow_pickle=False)
    except Exception as error:  # of the parser of its header, too
        raise InputError(f"{file}: cannot be read as an array ({error})") from None
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise InputError(
            f"{file}: expected uint8 numbers of the shape (height, width, 3), not {array.dtype} of "
            f"{array.shape}"
        )
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array[:, :, ::-1])).save(buffer, "PNG")
    return buffer.getvalue()


BENCHMARK = Benchmark(
    name="eqben",
    title="EqBen (Wang et al. 2023, ICCV, arXiv 2303.14465)",
    kind="contrastive",
    holds="two images that differ little, and a caption of each",
    size="251,048 items; 10 % of them as a subset, and a small subset for large models",
    licence="Apache-2.0",
    source=Source(
        "Wangt-CN/EqBen",
        "ab6c79a3c34656f6a882b4e49439febd6fe313f8",
        ("README.md", "example/eqben_eval_CLIP.py"),
        images="README.md links them: put those of the small subset into 'images/' beside all_select.json, "
        "those of the subset of 10 % into 'image_subset/' beside eqben_subset_10percent_final.json",
    ),
    scores=("text score", "image score", "group score", "all by source"),
    folders=("EqBen", "eqben_vllm"),
    files=_FILES,
    met="none",
    pairs=pairs,
)
