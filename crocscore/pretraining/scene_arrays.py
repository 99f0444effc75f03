"""Annotated scenes as arrays: images, labels and boxes of the things in them, and pairs of prompts.

The files are those of ``croc build scenes``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from croc.errors import InputError
from croc.storage.files import read_json, write_json

IGNORE = -100
"""Label of a property that is not known; the losses ignore it."""

Boxes = NDArray[np.float32]


@dataclass
class LabelVocabulary:
    """The names behind the labels, in the order of the labels.

    Attributes:
        kinds: names of the kinds.
        about: what pairs of prompts differ in.
        thing: by property of a thing, its values.
        whole: by property of the whole image, its values.
        names: by kind, and by part under ``part:…``, its spellings in singular and plural.
    """

    kinds: list[str]
    about: list[str]
    thing: dict[str, list[str]]
    whole: dict[str, list[str]]
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class SceneArrays:
    """Many scenes.

    Attributes:
        pixels: uint8 (n, side, side, 3).
        kind: int16 (t,): kinds of all things, image after image.
        box: float32 (t, 4): left, top, right, bottom in image sides.
        labels: int16 (t, p): label of each property in ``vocabulary.thing``, or ``IGNORE``.
        whole: int16 (n, w): labels of the whole image.
        first: int64 (n + 1,): the things of image i are ``first[i]:first[i + 1]``.
        ids: int16: token ids of all prompts, each with a leading space, one prompt after the other; a true
            prompt and its false one alternate.
        ends: int64 (prompts + 1,): prompt k is ``ids[ends[k]:ends[k + 1]]``.
        pairs: int64 (n + 1,): the pairs of image i are ``pairs[i]:pairs[i + 1]``.
        about: int16: what each pair differs in, a label of ``vocabulary.about``.
        vocabulary: the names behind the labels.
    """

    pixels: NDArray[np.uint8]
    kind: NDArray[np.int16]
    box: Boxes
    labels: NDArray[np.int16]
    whole: NDArray[np.int16]
    first: NDArray[np.int64]
    ids: NDArray[np.int16]
    ends: NDArray[np.int64]
    pairs: NDArray[np.int64]
    about: NDArray[np.int16]
    vocabulary: LabelVocabulary

    def __len__(self) -> int:
        return len(self.pixels)

    def pair(self, number: int) -> tuple[list[int], list[int]]:
        """Token ids of a true prompt and of its false one."""
        a, b, c = self.ends[2 * number : 2 * number + 3]
        return self.ids[a:b].tolist(), self.ids[b:c].tolist()

    def save(self, folder: Path) -> None:
        """Write the arrays, so that the next run need not decode and tokenise again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "vocabulary.json", asdict(self.vocabulary))

    @classmethod
    def load(cls, folder: Path) -> SceneArrays:
        """Read what :meth:`save` wrote; the arrays are memory-mapped."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return cls(**arrays, vocabulary=LabelVocabulary(**read_json(folder / "vocabulary.json")))


_ARRAYS = ("pixels", "kind", "box", "labels", "whole", "first", "ids", "ends", "pairs", "about")


def read_prompts(files: Sequence[Path]) -> list[str]:
    """Every prompt in the files, for the tokenizer."""
    prompts: list[str] = []
    for file in files:
        table = pq.read_table(file, columns=["true", "false"])
        for column in table.columns:
            prompts += column.combine_chunks().flatten().to_pylist()
    return prompts


def read_scenes(
    files: Sequence[Path],
    encode: Callable[[list[str]], list[list[int]]],
    *,
    side: int,
    resample: int = Image.Resampling.BICUBIC,
    excluded: Callable[[str], bool] = lambda prompt: False,
) -> SceneArrays:
    """Read files of annotated scenes into memory.

    Args:
        files: Parquet files of ``croc build scenes``.
        encode: prompts → token ids of each, as they stand in the question.
        side: pixels of an image.
        resample: filter of the image processor.
        excluded: whether a prompt must not be trained on; its pair is left out.

    Raises:
        InputError: there are no rows.
    """
    rows: list[dict[str, Any]] = []
    total = sum(pq.read_metadata(file).num_rows for file in files)
    pixels = np.empty((total, side, side, 3), dtype=np.uint8)
    number = 0
    for file in files:
        table = pq.read_table(file)
        for data in table["image"].combine_chunks().field("bytes"):
            with Image.open(io.BytesIO(data.as_py())) as image:
                rgb = image.convert("RGB")
                pixels[number] = rgb if rgb.size == (side, side) else rgb.resize((side, side), resample)
                number += 1
        rows += [_without(row, excluded) for row in table.drop_columns(["image"]).to_pylist()]
    if not rows:
        raise InputError("the files contain no scenes")
    vocabulary = _label_vocabulary(rows, _spellings(files))
    things = [thing for row in rows for thing in row["things"]]
    kinds = {name: i for i, name in enumerate(vocabulary.kinds)}
    texts = [text for row in rows for pair in zip(row["true"], row["false"], strict=True) for text in pair]
    ids = encode(texts)
    about = {name: i for i, name in enumerate(vocabulary.about)}
    return SceneArrays(
        pixels=pixels,
        kind=np.array([kinds[thing["kind"]] for thing in things], dtype=np.int16),
        box=np.array([thing["box"] for thing in things], dtype=np.float32).reshape(-1, 4),
        labels=_labels([thing["words"] for thing in things], vocabulary.thing),
        whole=_labels([row["whole"] for row in rows], vocabulary.whole),
        first=np.cumsum([0, *(len(row["things"]) for row in rows)]),
        ids=np.array([token for text in ids for token in text], dtype=np.int16),
        ends=np.cumsum([0, *map(len, ids)]),
        pairs=np.cumsum([0, *(len(row["true"]) for row in rows)]),
        about=np.array([about[name] for row in rows for name in row["about"]], dtype=np.int16),
        vocabulary=vocabulary,
    )


def _without(row: dict[str, Any], excluded: Callable[[str], bool]) -> dict[str, Any]:
    """A row without the pairs that have an excluded prompt."""
    pairs = zip(row["true"], row["false"], row["about"], strict=True)
    kept = [pair for pair in pairs if not (excluded(pair[0]) or excluded(pair[1]))]
    return row | {name: [pair[i] for pair in kept] for i, name in enumerate(("true", "false", "about"))}


def _spellings(files: Sequence[Path]) -> dict[str, list[str]]:
    """How kinds and parts are spelled; older files of scenes do not have this."""
    spellings: dict[str, list[str]] = {}
    for file in files:
        spellings |= json.loads((pq.read_schema(file).metadata or {}).get(b"names", b"{}"))
    return spellings


def _label_vocabulary(rows: Sequence[dict[str, Any]], names: dict[str, list[str]]) -> LabelVocabulary:
    def values(lists: Any) -> dict[str, list[str]]:
        pairs = {tuple(word.split("=", 1)) for words in lists for word in words}
        properties = sorted({name for name, _ in pairs})
        return {name: sorted(value for other, value in pairs if other == name) for name in properties}

    return LabelVocabulary(
        kinds=sorted({thing["kind"] for row in rows for thing in row["things"]}),
        about=sorted({name for row in rows for name in row["about"]}),
        thing=values(thing["words"] for row in rows for thing in row["things"]),
        whole=values(row["whole"] for row in rows),
        names=names,
    )


def _labels(lists: Sequence[Sequence[str]], values: Mapping[str, Sequence[str]]) -> NDArray[np.int16]:
    """Labels of lists of "property=value": int16 (lists, properties)."""
    columns = {name: i for i, name in enumerate(values)}
    codes = {f"{name}={value}": k for name, known in values.items() for k, value in enumerate(known)}
    labels = np.full((len(lists), len(values)), IGNORE, dtype=np.int16)
    for row, words in enumerate(lists):
        for word in words:
            labels[row, columns[word.split("=", 1)[0]]] = codes[word]
    return labels


def patch_owners(boxes: Boxes, grid: int) -> NDArray[np.int64]:
    """Which box is visible at the centre of each of ``grid`` × ``grid`` patches, row by row.

    Args:
        boxes: (t, 4), the foremost last; left, top, right, bottom in image sides.
        grid: patches in a row.

    Returns:
        int64 (grid²,): the last box that contains the centre, −1 where there is none.
    """
    at = (np.arange(grid) + 0.5) / grid
    owners = np.full((grid, grid), -1, dtype=np.int64)
    for number, (left, top, right, bottom) in enumerate(boxes):
        inside = ((at >= top) & (at <= bottom))[:, None] & ((at >= left) & (at <= right))[None, :]
        owners[inside] = number
    return owners.ravel()


def count_centres(boxes: Boxes, grid: int) -> NDArray[np.int64]:
    """How many boxes have their centre in each of ``grid`` × ``grid`` patches, row by row.

    Args:
        boxes: (t, 4); left, top, right, bottom in image sides.
        grid: patches in a row.

    Returns:
        int64 (grid²,).
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = np.clip((centre * grid).astype(np.int64), 0, grid - 1).T
    counts: NDArray[np.int64] = np.bincount(row * grid + column, minlength=grid**2)
    return counts


def patch_shares(boxes: Boxes, grid: int) -> NDArray[np.float32]:
    """Which share of a box lies in each of ``grid`` × ``grid`` patches.

    Args:
        boxes: (t, 4); left, top, right, bottom in image sides.
        grid: patches in a row.

    Returns:
        float32 (t, grid²), each row with a sum of 1.
    """
    low = np.arange(grid) / grid

    def overlap(start: Boxes, end: Boxes) -> Any:
        ends = np.minimum(low + 1 / grid, end[:, None])
        return np.maximum(ends - np.maximum(low, start[:, None]), 0.0)

    shares = overlap(boxes[:, 1], boxes[:, 3])[:, :, None] * overlap(boxes[:, 0], boxes[:, 2])[:, None, :]
    flat = shares.reshape(len(boxes), -1)
    normalised: NDArray[np.float32] = (flat / np.maximum(flat.sum(axis=1, keepdims=True), 1e-9)).astype(
        np.float32
    )
    return normalised
