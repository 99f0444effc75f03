"""Annotated scenes as arrays: what stage one of the small models' training reads.

The files are those of ``builders/scenes.py``: images, the things in them with boxes and words, and pairs of a
true and a false prompt.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from croc.errors import InputError
from croc.storage.files import read_json, write_json

NONE = -100
"""A label that is not known; the losses pass over it."""


@dataclass
class Vocabulary:
    """Names of kinds and of the values of each property, in the order of their labels.

    ``names`` says how each kind is spelled, and each part under ``part:…``, singular and plural.
    """

    kinds: list[str]
    about: list[str]
    thing: dict[str, list[str]]
    whole: dict[str, list[str]]
    names: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Scenes:
    """Many scenes.

    Attributes:
        pixels: uint8 (n, side, side, 3).
        kind: int16 (t,): kinds of all things, image after image.
        box: float32 (t, 4): left, top, right, bottom in image sides.
        words: int16 (t, p): label of each property in ``vocabulary.thing``, or ``NONE``.
        whole: int16 (n, w): labels of the whole image.
        first: int64 (n + 1,): things of image i are ``first[i]:first[i + 1]``.
        ids: int16, token ids of all prompts with a space before each, one after the other; a true one and its
            false one in turn.
        ends: int64 (prompts + 1,): prompt k is ``ids[ends[k]:ends[k + 1]]``.
        pairs: int64 (n + 1,): pairs of image i are ``pairs[i]:pairs[i + 1]``.
        about: int16, what each pair differs in, a label of ``vocabulary.about``.
        vocabulary: what the labels mean.
    """

    pixels: np.ndarray
    kind: np.ndarray
    box: np.ndarray
    words: np.ndarray
    whole: np.ndarray
    first: np.ndarray
    ids: np.ndarray
    ends: np.ndarray
    pairs: np.ndarray
    about: np.ndarray
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.pixels)

    def pair(self, number: int) -> tuple[list[int], list[int]]:
        """Token ids of a true prompt and of its false one."""
        a, b, c = self.ends[2 * number : 2 * number + 3]
        return self.ids[a:b].tolist(), self.ids[b:c].tolist()

    def save(self, folder: Path) -> None:
        """Keep the arrays, so that the next run need not decode and tokenise again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        write_json(folder / "vocabulary.json", asdict(self.vocabulary))

    @classmethod
    def load(cls, folder: Path) -> Scenes:
        """What :meth:`save` kept; the arrays stay on disk until they are read."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return cls(**arrays, vocabulary=Vocabulary(**read_json(folder / "vocabulary.json")))


_ARRAYS = ("pixels", "kind", "box", "words", "whole", "first", "ids", "ends", "pairs", "about")


def texts_of(files: Sequence[Path]) -> list[str]:
    """Every prompt said in the files, for the tokenizer."""
    found: list[str] = []
    for file in files:
        table = pq.read_table(file, columns=["true", "false"])
        for column in table.columns:
            found += column.combine_chunks().flatten().to_pylist()
    return found


def read_scenes(
    files: Sequence[Path], encode: Any, *, side: int, resample: int = Image.Resampling.BICUBIC
) -> Scenes:
    """Read files of annotated scenes into memory.

    Args:
        files: Parquet files of ``builders/scenes.py``.
        encode: a list of texts → a list of lists of token ids.
        side: pixels of an image.
        resample: filter of the image processor.

    Raises:
        InputError: there are no rows.
    """
    rows: list[dict[str, Any]] = []
    pixels = []
    for file in files:
        table = pq.read_table(file)
        for data in table["image"].combine_chunks().field("bytes"):
            with Image.open(io.BytesIO(data.as_py())) as image:
                one = image.convert("RGB")
                pixels.append(
                    np.asarray(one if one.size == (side, side) else one.resize((side, side), resample))
                )
        rows += table.drop_columns(["image"]).to_pylist()
    if not rows:
        raise InputError("there are no scenes in these files")
    vocabulary = _vocabulary(rows, _names(files))
    things = [thing for row in rows for thing in row["things"]]
    kinds = {name: i for i, name in enumerate(vocabulary.kinds)}
    first = np.cumsum([0, *(len(row["things"]) for row in rows)])
    texts = [
        f" {text}" for row in rows for pair in zip(row["true"], row["false"], strict=True) for text in pair
    ]
    ids = encode(texts)
    topics = {name: i for i, name in enumerate(vocabulary.about)}
    box = np.array([thing["box"] for thing in things], dtype=np.float32).reshape(-1, 4)
    return Scenes(
        pixels=np.stack(pixels),
        kind=np.array([kinds[thing["kind"]] for thing in things], dtype=np.int16),
        box=box,
        words=_labels([thing["words"] for thing in things], vocabulary.thing),
        whole=_labels([row["whole"] for row in rows], vocabulary.whole),
        first=first,
        ids=np.array([token for text in ids for token in text], dtype=np.int16),
        ends=np.cumsum([0, *map(len, ids)]),
        pairs=np.cumsum([0, *(len(row["true"]) for row in rows)]),
        about=np.array([topics[name] for row in rows for name in row["about"]], dtype=np.int16),
        vocabulary=vocabulary,
    )


def _names(files: Sequence[Path]) -> dict[str, list[str]]:
    """How kinds and parts are spelled, as the files say; scenes of before have nothing of it."""
    found: dict[str, list[str]] = {}
    for file in files:
        found |= json.loads((pq.read_schema(file).metadata or {}).get(b"names", b"{}"))
    return found


def _vocabulary(rows: Sequence[dict[str, Any]], names: dict[str, list[str]]) -> Vocabulary:
    def values(lists: Any) -> dict[str, list[str]]:
        pairs = {tuple(word.split("=", 1)) for words in lists for word in words}
        names = sorted({name for name, _ in pairs})
        return {name: sorted(value for other, value in pairs if other == name) for name in names}

    return Vocabulary(
        kinds=sorted({thing["kind"] for row in rows for thing in row["things"]}),
        about=sorted({name for row in rows for name in row["about"]}),
        thing=values(thing["words"] for row in rows for thing in row["things"]),
        whole=values(row["whole"] for row in rows),
        names=names,
    )


def _labels(lists: Sequence[Sequence[str]], tables: dict[str, list[str]]) -> np.ndarray:
    columns = {name: i for i, name in enumerate(tables)}
    codes = {f"{name}={value}": k for name, values in tables.items() for k, value in enumerate(values)}
    found = np.full((len(lists), len(tables)), NONE, dtype=np.int16)
    for row, words in enumerate(lists):
        for word in words:
            found[row, columns[word.split("=", 1)[0]]] = codes[word]
    return found


def owners(boxes: np.ndarray, steps: int) -> np.ndarray:
    """Which box is seen at the middle of each of ``steps`` × ``steps`` patches, row by row.

    Args:
        boxes: (t, 4), the foremost last; left, top, right, bottom in image sides.
        steps: patches in a row.

    Returns:
        int64 (steps²,): the last box that holds the middle, −1 where there is none.
    """
    at = (np.arange(steps) + 0.5) / steps
    found = np.full((steps, steps), -1, dtype=np.int64)
    for number, (left, top, right, bottom) in enumerate(boxes):
        inside = ((at >= top) & (at <= bottom))[:, None] & ((at >= left) & (at <= right))[None, :]
        found[inside] = number
    return found.ravel()


def centres(boxes: np.ndarray, steps: int) -> np.ndarray:
    """How many boxes have their middle in each of ``steps`` × ``steps`` patches, row by row.

    Args:
        boxes: (t, 4); left, top, right, bottom in image sides.
        steps: patches in a row.

    Returns:
        int64 (steps²,).
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    column, row = np.clip((middle * steps).astype(np.int64), 0, steps - 1).T
    return np.bincount(row * steps + column, minlength=steps**2)


def covers(boxes: np.ndarray, steps: int) -> np.ndarray:
    """Which share of a box lies in each of ``steps`` × ``steps`` patches.

    Args:
        boxes: (t, 4); left, top, right, bottom in image sides.
        steps: patches in a row.

    Returns:
        float32 (t, steps²), each row with a sum of 1.
    """
    low = np.arange(steps) / steps

    def along(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        ends = np.minimum(low + 1 / steps, end[:, None])
        return np.maximum(ends - np.maximum(low, start[:, None]), 0.0)

    shares = along(boxes[:, 1], boxes[:, 3])[:, :, None] * along(boxes[:, 0], boxes[:, 2])[:, None, :]
    flat = shares.reshape(len(boxes), -1)
    return (flat / np.maximum(flat.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
