"""A first look at all staged rows: where each belongs, and which rows and images are left out, and why.

One pass over the staged files, which hashes every image; what is kept of it is a few numbers a row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from croc.checks.schema import IMAGE_COLUMNS, stable_hash
from croc.errors import InputError
from croc.jobs.runner import Manifest
from croc.storage.parquet import batches
from croc_hum.votes.votes import DISCARDED
from croc_syn.writing.prompts import OTHER

SPLITS = ("test", "validation", "train")
"""In this order a split keeps what it shares with a later one."""

WORLDS = ("exact", "generated")
UNNAMED = "_"
"""Stands in a file's name for rows without a property."""

ELSEWHERE = "caption or image also in another split"
NEARLY_ELSEWHERE = "image nearly the same as one in another split"
TWIN = "check with the captions and images of another"
ABSENT = "image that the table names and the archive lacks"
EMPTY, REPEATED, CONTRADICTING = "empty image", "image that its side has already", "image on both sides"
NEARLY_REPEATED = "image nearly the same as another of its side"
IMAGE_REASONS = (ABSENT, EMPTY, REPEATED, CONTRADICTING, NEARLY_REPEATED, *DISCARDED)
"""Reasons of images that are left out while their check stays."""

UNPROMPTED, UNDRAWN = "no prompt, or no contrast prompt", "no image left on a side"

_KEYS = ["check_id", "concept_id", "category", "subset", "property_path", "property", "image_model"]
_TEXTS = ["prompt", "contrast_prompt"]


@dataclass
class Row:
    """What is remembered of a staged row.

    Attributes:
        check_id, split, category, property, property_path: where it belongs.
        place: the words of its file's name; see :func:`place_of`.
        captions: content hashes of the two prompts.
        images: content hashes of the images, by side.
        near: perceptual hashes of the images, by side, when they were asked for.
        cut: by side, the positions of the images that are left out.
        lost: why the whole row is left out; None when it stays.
    """

    check_id: str
    split: str
    category: str
    property: str
    property_path: str
    place: tuple[str, str, str, str]
    captions: list[int]
    images: dict[str, list[int]]
    near: dict[str, list[int]] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    lost: str | None = None

    def order(self) -> tuple[str, ...]:
        """What it is sorted by: category and property, those without one first."""
        return (self.split, self.category, self.property, self.property_path, *self.place)


@dataclass
class Looked:
    """A staged file and its rows."""

    entry: dict[str, Any]
    rows: list[Row]


def split_of(concept_id: str, ratios: Mapping[str, float]) -> str:
    """The split of a concept: decided by its hash alone, so that more data never moves it.

    Args:
        concept_id: the concept.
        ratios: share by split name; they add up to 1.
    """
    place = int(stable_hash("split", concept_id, length=13), 16) / 16**13
    for name in SPLITS:
        share = ratios.get(name, 0.0)
        if place < share:
            return name
        place -= share
    return next(name for name in reversed(SPLITS) if ratios.get(name))


def look(
    staged: Manifest, ratios: Mapping[str, float], *, both_sides: bool = True, near: int | None = None
) -> tuple[list[Looked], Counter[str]]:
    """Look at every staged row.

    Args:
        staged: the manifest of the staged images.
        ratios: share by split name.
        both_sides: a check without images or prompt of a side is left out; else only one without any image.
        near: images whose perceptual hashes differ in at most so many of 64 bits count as the same.

    Returns:
        The rows by file, and how many checks and images were left out, by reason.

    Raises:
        InputError: two rows claim the same check, something that is no image stands where one should, or a
            staged file cannot be read.
    """
    looked = [Looked(entry, _rows(staged.folder / entry["file"], ratios, near)) for entry in staged.parts]
    _no_twins(looked, staged)
    rows = [row for part in looked for row in part.rows]
    for row in rows:
        _cut(row, near)
        if row.captions[0] == 0 or (both_sides and row.captions[1] == 0):
            row.lost = UNPROMPTED
        left = [len(row.images[side]) - len(row.cut.get(side, ())) for side in IMAGE_COLUMNS]
        if row.lost is None and not (all(left) if both_sides else any(left)):
            row.lost = UNDRAWN
    _drop_copies([row for row in rows if row.lost is None])
    _drop_shared([row for row in rows if row.lost is None])
    if near is not None:
        _drop_nearly_shared([row for row in rows if row.lost is None], near)
    left_out = Counter(row.lost for row in rows if row.lost is not None)
    for row in rows:
        if row.lost is None:
            left_out.update(reason for _, reason in _causes(row, near))
    return looked, +left_out


def _rows(file: Path, ratios: Mapping[str, float], near: int | None) -> list[Row]:
    rows: list[Row] = []
    try:
        for table in batches(file, [*_KEYS, *_TEXTS, *IMAGE_COLUMNS]):
            keys = table.select([*_KEYS, *_TEXTS]).to_pylist()
            sides = {side: _blobs(table[side]) for side in IMAGE_COLUMNS}
            for index, each in enumerate(keys):
                blobs = {side: sides[side][index] for side in IMAGE_COLUMNS}
                rows.append(_row(each, blobs, file, ratios, near))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{file}: not a readable staged file ({error})") from None
    return rows


def _row(
    keys: Mapping[str, Any],
    blobs: Mapping[str, Sequence[Any]],
    file: Path,
    ratios: Mapping[str, float],
    near: int | None,
) -> Row:
    for side, images in blobs.items():
        for index, blob in enumerate(images):
            if len(blob) and not looks_like_image(blob):
                start = bytes(memoryview(blob)[:12])
                raise InputError(
                    f"{file}: check {keys['check_id']}, {side}[{index}] is not a whole image (it begins with "
                    f"{start!r}); make this part again"
                )
    row = Row(
        check_id=keys["check_id"] or "",
        split=split_of(keys["concept_id"], ratios),
        category=keys["category"] or "",
        property=keys["property"] or "",
        property_path=keys["property_path"] or "",
        place=place_of(keys),
        captions=[mark(folded(keys[name])) if (keys[name] or "").strip() else 0 for name in _TEXTS],
        images={side: [mark(blob) if len(blob) else 0 for blob in blobs[side]] for side in IMAGE_COLUMNS},
    )
    if near is not None:
        from builders.near_duplicates import perceptual_hash

        row.near = {
            side: [perceptual_hash(blob) if len(blob) else 0 for blob in blobs[side]]
            for side in IMAGE_COLUMNS
        }
    return row


def place_of(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Category, property, subset and world of a row, as the words of its file's name.

    The world is ``exact`` for images that the exact world drew without noise, whose labels are certain.
    """
    model = row["image_model"] or ""
    world = WORLDS[0] if model.startswith("exact@") and "+" not in model else WORLDS[1]
    return (
        _word(row["category"]) or OTHER,
        _word(row["property"]) or UNNAMED,
        _word(row["subset"]) or OTHER,
        world,
    )


def _word(value: str | None) -> str:
    """A value with nothing in it that has a meaning in a file's name or in a pattern of names."""
    return re.sub(r"[^a-z0-9]+", "_", (value or "").lower()).strip("_")


def _blobs(column: pa.ChunkedArray) -> list[list[Any]]:
    """Per row the image files as buffers that share the memory of the table."""
    rows: list[list[Any]] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_pylist()
        valid = chunk.is_valid().to_pylist()
        content = chunk.values.field("bytes")
        _, bounds, data = content.buffers()
        # By hand: taking a single value out of an array copies it.
        edges = np.frombuffer(bounds, np.int32)[content.offset : content.offset + len(content) + 1].tolist()
        memory = memoryview(data or b"")
        blobs = [memory[low:high] for low, high in pairwise(edges)]
        for index, there in enumerate(valid):
            rows.append(blobs[offsets[index] : offsets[index + 1]] if there else [])
    return rows


def looks_like_image(blob: Any) -> bool:
    """Whether bytes begin, and for PNG and JPEG end, like an image file; a cut-off file does not."""
    view = memoryview(blob)
    head = bytes(view[:16])
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" in bytes(view[-64:])
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in bytes(view[-64:])
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP" and len(view) >= int.from_bytes(head[4:8], "little") + 8
    return head.startswith((b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")) or head[4:8] == b"ftyp"


def _causes(row: Row, near: int | None) -> list[tuple[tuple[str, int], str]]:
    """The images that are left out, as (side, position), each with its reason."""
    found: list[tuple[tuple[str, int], str]] = []
    both = set(row.images[IMAGE_COLUMNS[0]]) & set(row.images[IMAGE_COLUMNS[1]]) - {0}
    for side in IMAGE_COLUMNS:
        seen: set[int] = set()
        hashes: list[int] = []
        for index, content in enumerate(row.images[side]):
            reason = None
            if content == 0:
                reason = EMPTY
            elif content in both:
                reason = CONTRADICTING
            elif content in seen:
                reason = REPEATED
            elif near is not None:
                mine = row.near[side][index]
                if any((mine ^ other).bit_count() <= near for other in hashes):
                    reason = NEARLY_REPEATED
                else:
                    hashes.append(mine)
            seen.add(content)
            if reason is not None:
                found.append(((side, index), reason))
    return found


def _cut(row: Row, near: int | None) -> None:
    for (side, index), _ in _causes(row, near):
        row.cut.setdefault(side, []).append(index)


def _kept(row: Row, hashes: Mapping[str, Sequence[int]]) -> list[int]:
    return [
        value
        for side in IMAGE_COLUMNS
        for index, value in enumerate(hashes[side])
        if index not in row.cut.get(side, ())
    ]


def _drop_copies(rows: Sequence[Row]) -> None:
    """Of checks with equal captions and images the first of the first split stays."""
    seen: set[int] = set()
    for row in sorted(rows, key=lambda each: SPLITS.index(each.split)):
        content = [sorted(row.captions), *(sorted(row.images[side]) for side in IMAGE_COLUMNS)]
        if row.captions != sorted(row.captions):
            content[1:] = content[:0:-1]
        key = mark(repr(content).encode())
        if key in seen:
            row.lost = TWIN
        seen.add(key)


def _drop_shared(rows: Sequence[Row]) -> None:
    """A row goes when an earlier split has one of its captions or images."""
    if len({row.split for row in rows}) < 2:
        return
    for row in _behind(rows, [[*(c for c in row.captions if c), *_kept(row, row.images)] for row in rows]):
        row.lost = ELSEWHERE


def _drop_nearly_shared(rows: Sequence[Row], near: int) -> None:
    from builders.near_duplicates import near_pairs

    if len({row.split for row in rows}) < 2:
        return
    hashes, owners = [], []
    for index, row in enumerate(rows):
        mine = _kept(row, row.near)
        hashes += mine
        owners += [index] * len(mine)
    for one, other in near_pairs(np.array(hashes, dtype=np.uint64), near):
        first, second = rows[owners[one]], rows[owners[other]]
        behind = max(first, second, key=lambda row: SPLITS.index(row.split))
        if first.split != second.split:
            behind.lost = NEARLY_ELSEWHERE


def _behind(rows: Sequence[Row], marks: Sequence[Sequence[int]]) -> list[Row]:
    """Rows of which a mark also stands in an earlier split."""
    flat = np.array([value for each in marks for value in each], dtype=np.uint64)
    place = np.array([SPLITS.index(row.split) for row in rows], dtype=np.int8)
    owner = np.repeat(np.arange(len(rows)), [len(each) for each in marks])
    _, inverse = np.unique(flat, return_inverse=True)
    first = np.full(inverse.max(initial=-1) + 1, len(SPLITS), dtype=np.int8)
    np.minimum.at(first, inverse, place[owner])
    lost = np.unique(owner[first[inverse] < place[owner]])
    return [rows[index] for index in lost]


def count_twins(looked: Sequence[Looked]) -> int:
    """Number of checks whose pair of captions an earlier check has too, whichever is the original."""
    pairs = [tuple(sorted(row.captions)) for part in looked for row in part.rows if row.lost is None]
    return len(pairs) - len(set(pairs))


def _no_twins(looked: Sequence[Looked], staged: Manifest) -> None:
    """Refuse rows that claim the same check, naming the parts."""
    first: dict[str, str] = {}
    for part in looked:
        for row in part.rows:
            file = part.entry["file"]
            if row.check_id in first:
                places = f"in {first[row.check_id]} and {file}"
                raise InputError(f"{staged.folder}: check {row.check_id} is there twice, {places}")
            first[row.check_id] = file


def folded(caption: str | None) -> bytes:
    """A caption without what makes no difference to a reader: case and spacing."""
    return " ".join((caption or "").lower().split()).encode()


def mark(content: Any) -> int:
    """A number that stands for a content; equal contents have equal numbers."""
    return xxhash.xxh3_64_intdigest(content)
