"""Screening of staged rows: where each row belongs, and which rows and images are left out, and why.

One pass over the staged files hashes every image; a few numbers per row are kept.
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

from croc.checks.decoding import count_pixels
from croc.checks.schema import IMAGE_COLUMNS, stable_hash
from croc.errors import InputError
from croc.jobs.runner import Manifest
from croc.storage.limits import IMAGE_PIXELS
from croc.storage.parquet import batches, require_texts
from croc_hum.votes.votes import DISCARDED
from croc_syn.writing.exact import NO_CATEGORY

SPLITS = ("test", "validation", "train")
"""What two splits share stays in the earlier one of this list."""

WORLDS = ("exact", "generated")
UNNAMED = "_"
"""In file names, for rows without a property."""

ELSEWHERE = "caption or image also in another split"
NEARLY_ELSEWHERE = "image nearly the same as one in another split"
TWIN = "check with the captions and images of another"
ABSENT = "image that the table names and the archive lacks"
EMPTY, REPEATED, CONTRADICTING = "empty image", "image that its side has already", "image on both sides"
NEARLY_REPEATED = "image nearly the same as another of its side"
IMAGE_REASONS = (ABSENT, EMPTY, REPEATED, CONTRADICTING, NEARLY_REPEATED, *DISCARDED)
"""Reasons for dropping images while their check stays."""

UNPROMPTED, UNDRAWN = "no prompt, or no contrast prompt", "no image left on a side"

_KEYS = ["check_id", "concept_id", "category", "subset", "property_path", "property", "image_model"]
_TEXTS = ["prompt", "contrast_prompt"]


@dataclass
class ScreenedRow:
    """What is kept of a staged row.

    Attributes:
        check_id, split, category, property, property_path: where it belongs.
        place: the words of its file's name; see :func:`place_of`.
        captions: content hashes of the two prompts; 0 for none.
        images: content hashes of the images, by side; 0 for an empty one.
        near: perceptual hashes of the images, by side, if requested.
        cut: by side, the positions of the images that are dropped.
        cut_reasons: why, one per dropped image.
        reason: why the whole row is dropped; None if it stays.
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
    cut_reasons: list[str] = field(default_factory=list)
    reason: str | None = None

    def order(self) -> tuple[str, ...]:
        """The sort key: category and property, rows without one first."""
        return (self.split, self.category, self.property, self.property_path, *self.place)


@dataclass
class ScreenedFile:
    """A staged file and its rows."""

    entry: dict[str, Any]
    rows: list[ScreenedRow]


def split_of(concept_id: str, ratios: Mapping[str, float]) -> str:
    """The split of a concept: only its hash decides, so more data never moves it.

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


def screen(
    staged: Manifest, ratios: Mapping[str, float], *, both_sides: bool = True, near: int | None = None
) -> tuple[list[ScreenedFile], Counter[str]]:
    """Screen every staged row.

    Args:
        staged: the manifest of the staged images.
        ratios: share by split name.
        both_sides: drop checks without images or prompt on one side; else only those without any image.
        near: number of bits; images whose 64-bit perceptual hashes differ in at most so many count as equal.

    Returns:
        The rows by file, and how many checks and images are dropped, by reason.

    Raises:
        InputError: two rows have the same check id, an image is not an image file, or a staged file cannot be
            read.
    """
    files = [
        ScreenedFile(entry, _read_rows(staged.folder / entry["file"], ratios, near)) for entry in staged.parts
    ]
    _refuse_repeated_ids(files, staged)
    rows = [row for file in files for row in file.rows]
    for row in rows:
        _cut_images(row, near)
        if row.captions[0] == 0 or (both_sides and row.captions[1] == 0):
            row.reason = UNPROMPTED
        left = [len(row.images[side]) - len(row.cut.get(side, ())) for side in IMAGE_COLUMNS]
        if row.reason is None and not (all(left) if both_sides else any(left)):
            row.reason = UNDRAWN
    _drop_copies([row for row in rows if row.reason is None])
    _drop_shared([row for row in rows if row.reason is None])
    if near is not None:
        _drop_nearly_shared([row for row in rows if row.reason is None], near)
    dropped = Counter(row.reason for row in rows if row.reason is not None)
    for row in rows:
        if row.reason is None:
            dropped.update(row.cut_reasons)
    return files, +dropped


def _read_rows(file: Path, ratios: Mapping[str, float], near: int | None) -> list[ScreenedRow]:
    rows: list[ScreenedRow] = []
    try:
        for table in batches(file, [*_KEYS, *_TEXTS, *IMAGE_COLUMNS]):
            _require_types(table.schema, file)
            keys = table.select([*_KEYS, *_TEXTS]).to_pylist()
            sides = {side: _blobs(table[side]) for side in IMAGE_COLUMNS}
            for index, row in enumerate(keys):
                blobs = {side: sides[side][index] for side in IMAGE_COLUMNS}
                rows.append(_screen_row(row, blobs, file, ratios, near))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError(f"{file}: not a readable staged file ({error})") from None
    return rows


def _require_types(schema: pa.Schema, file: Path) -> None:
    """Require texts and lists of images, whose files are taken from the memory of the column."""
    require_texts(schema, (*_KEYS, *_TEXTS), file)
    for name in IMAGE_COLUMNS:
        if not _is_images(kind := schema.field(name).type):
            raise InputError(f"{file}: the column {name!r} holds {kind}, not lists of images")


def _is_images(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)):
        return False
    return any(field.name == "bytes" and pa.types.is_binary(field.type) for field in kind.value_type)


def _screen_row(
    keys: Mapping[str, Any],
    blobs: Mapping[str, Sequence[Any]],
    file: Path,
    ratios: Mapping[str, float],
    near: int | None,
) -> ScreenedRow:
    for side, images in blobs.items():
        for index, blob in enumerate(images):
            if len(blob) and not looks_like_image(blob):
                start = bytes(memoryview(blob)[:12])
                raise InputError(
                    f"{file}: check {keys['check_id']}, {side}[{index}] is not a whole image (it begins with "
                    f"{start!r}); make this part again"
                )
            if len(blob) and (count_pixels(blob) or 0) > IMAGE_PIXELS:
                raise InputError(
                    f"{file}: check {keys['check_id']}, {side}[{index}] has more than {IMAGE_PIXELS:,} "
                    "pixels, which no scorer decodes; make it smaller"
                )
    row = ScreenedRow(
        check_id=keys["check_id"] or "",
        split=split_of(keys["concept_id"], ratios),
        category=keys["category"] or "",
        property=keys["property"] or "",
        property_path=keys["property_path"] or "",
        place=place_of(keys),
        captions=[
            content_hash(fold_caption(keys[name])) if (keys[name] or "").strip() else 0 for name in _TEXTS
        ],
        images={
            side: [content_hash(blob) if len(blob) else 0 for blob in blobs[side]] for side in IMAGE_COLUMNS
        },
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

    The world is ``exact`` for images of the exact world without noise, whose labels are certain.
    """
    model = row["image_model"] or ""
    world = WORLDS[0] if model.startswith("exact@") and "+noise" not in model else WORLDS[1]
    return (
        _word(row["category"]) or NO_CATEGORY,
        _word(row["property"]) or UNNAMED,
        _word(row["subset"]) or NO_CATEGORY,
        world,
    )


def _word(value: str | None) -> str:
    """A value without characters that have a meaning in file names or patterns."""
    return re.sub(r"[^a-z0-9]+", "_", (value or "").lower()).strip("_")


def _blobs(column: pa.ChunkedArray) -> list[list[Any]]:
    """The image files of each row, as buffers that share the memory of the table."""
    rows: list[list[Any]] = []
    for chunk in column.chunks:
        offsets = chunk.offsets.to_pylist()
        valid = chunk.is_valid().to_pylist()
        content = chunk.values.field("bytes")
        _, bounds, data = content.buffers()
        # From the buffers, because taking single values out of an array copies them.
        edges = np.frombuffer(bounds, np.int32)[content.offset : content.offset + len(content) + 1].tolist()
        memory = memoryview(data or b"")
        blobs = [memory[low:high] for low, high in pairwise(edges)]
        for index, is_valid in enumerate(valid):
            rows.append(blobs[offsets[index] : offsets[index + 1]] if is_valid else [])
    return rows


def looks_like_image(blob: Any) -> bool:
    """Whether bytes begin, and for PNG and JPEG end, like an image file; false for a truncated file."""
    view = memoryview(blob)
    head = bytes(view[:16])
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" in bytes(view[-64:])
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in bytes(view[-64:])
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP" and len(view) >= int.from_bytes(head[4:8], "little") + 8
    return head.startswith((b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")) or head[4:8] == b"ftyp"


def _cut_images(row: ScreenedRow, near: int | None) -> None:
    """Decide which images are dropped."""
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
                value = row.near[side][index]
                if any((value ^ other).bit_count() <= near for other in hashes):
                    reason = NEARLY_REPEATED
                else:
                    hashes.append(value)
            seen.add(content)
            if reason is not None:
                row.cut.setdefault(side, []).append(index)
                row.cut_reasons.append(reason)


def _kept(row: ScreenedRow, hashes: Mapping[str, Sequence[int]]) -> list[int]:
    return [
        value
        for side in IMAGE_COLUMNS
        for index, value in enumerate(hashes[side])
        if index not in row.cut.get(side, ())
    ]


def _drop_copies(rows: Sequence[ScreenedRow]) -> None:
    """Of checks with equal captions and images only the first of the first split stays."""
    seen: set[int] = set()
    for row in sorted(rows, key=lambda row: SPLITS.index(row.split)):
        content = [sorted(row.captions), *(sorted(row.images[side]) for side in IMAGE_COLUMNS)]
        if row.captions != sorted(row.captions):
            content[1:] = content[:0:-1]
        key = content_hash(repr(content).encode())
        if key in seen:
            row.reason = TWIN
        seen.add(key)


def _drop_shared(rows: Sequence[ScreenedRow]) -> None:
    """Drop rows of which an earlier split has a caption or an image."""
    if len({row.split for row in rows}) < 2:
        return
    hashes = [[*(c for c in row.captions if c), *_kept(row, row.images)] for row in rows]
    for row in _in_earlier_split(rows, hashes):
        row.reason = ELSEWHERE


def _drop_nearly_shared(rows: Sequence[ScreenedRow], near: int) -> None:
    from builders.near_duplicates import near_pairs

    if len({row.split for row in rows}) < 2:
        return
    hashes, owners = [], []
    for index, row in enumerate(rows):
        kept = _kept(row, row.near)
        hashes += kept
        owners += [index] * len(kept)
    for one, other in near_pairs(np.array(hashes, dtype=np.uint64), near):
        first, second = rows[owners[one]], rows[owners[other]]
        later = max(first, second, key=lambda row: SPLITS.index(row.split))
        if first.split != second.split:
            later.reason = NEARLY_ELSEWHERE


def _in_earlier_split(rows: Sequence[ScreenedRow], hashes: Sequence[Sequence[int]]) -> list[ScreenedRow]:
    """Rows of which a hash also occurs in an earlier split."""
    flat = np.array([value for of_row in hashes for value in of_row], dtype=np.uint64)
    place = np.array([SPLITS.index(row.split) for row in rows], dtype=np.int8)
    owner = np.repeat(np.arange(len(rows)), [len(of_row) for of_row in hashes])
    _, inverse = np.unique(flat, return_inverse=True)
    first = np.full(inverse.max(initial=-1) + 1, len(SPLITS), dtype=np.int8)
    np.minimum.at(first, inverse, place[owner])
    return [rows[index] for index in np.unique(owner[first[inverse] < place[owner]])]


def count_repeated_captions(files: Sequence[ScreenedFile]) -> int:
    """Number of checks with the two captions of an earlier check, in either order."""
    pairs = [tuple(sorted(row.captions)) for file in files for row in file.rows if row.reason is None]
    return len(pairs) - len(set(pairs))


def _refuse_repeated_ids(files: Sequence[ScreenedFile], staged: Manifest) -> None:
    """Refuse rows with the same check id, naming the files."""
    first: dict[str, str] = {}
    for file in files:
        name = file.entry["file"]
        for row in file.rows:
            if row.check_id in first:
                places = f"in {first[row.check_id]} and {name}"
                raise InputError(f"{staged.folder}: duplicate check {row.check_id}, {places}")
            first[row.check_id] = name


def fold_caption(caption: str | None) -> bytes:
    """A caption in a form in which captions are compared: without case and extra spaces."""
    return " ".join((caption or "").lower().split()).encode()


def content_hash(content: Any) -> int:
    """A 64-bit hash by which contents are compared."""
    return xxhash.xxh3_64_intdigest(content)
