"""The two tables of human labelling, which are exchanged as Parquet files.

* **Items** (:func:`items_schema`) are shown to annotators. ``croc hum candidates`` writes the file, the page
  loads it.
* **Votes** (:func:`votes_schema`) are the answers: one row per vote, with the columns of the item except the
  image. ``Store.export`` writes the file.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.columns import Column, arrow_schema, pick
from croc.checks.schema import CATEGORIES, stable_hash
from croc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

TASKS: tuple[str, ...] = ("shows", "rating", "preference")
"""The questions: does the image show the prompt, how well does it, which of two prompts fits."""

ANSWERS: dict[str, tuple[str, ...]] = {
    "shows": ("yes", "no", "unsure"),
    "rating": ("1", "2", "3", "4", "5"),
    "preference": ("prompt", "contrast", "unsure"),
}
"""The answers of each task. ``preference``: the item's ``prompt`` or its ``contrast_prompt``, whichever was
shown first."""

ROLES: tuple[str, ...] = ("annotator", "adjudicator", "imported")

ITEM_COLUMNS: tuple[Column, ...] = (
    Column("item_id", "string", "hash of everything that is shown"),
    Column("task", "string", "`shows`, `rating` or `preference`"),
    Column("check_id", "string", "the check that the item belongs to"),
    Column("concept_id", "string", "the concept of that check"),
    Column("category", "string", "category of CROChum, or null"),
    Column("property", "string", "property in which the two prompts differ, or null"),
    Column("prompt", "string", "the prompt that the image is compared with"),
    Column("contrast_prompt", "string", "the other prompt of the check; required for `preference`"),
    Column("side", "string", "`original` or `contrast`: the side of the check that the image was made for"),
    Column("image_index", "int64", "number of the image on its side, from 0"),
    Column("image", "image", "the image"),
    Column("expected", "string", "the answer that the image model claims to be correct, or null"),
    Column("attention", "bool", "whether the item is an attention check: its answer is obvious"),
    Column("text_model", "string", "the model that wrote the prompts; never shown"),
    Column("image_model", "string", "the model that made the image; never shown"),
    Column("seed", "int64", "seed of the image; never shown"),
)
"""The columns of a file of items."""

VOTE_COLUMNS: tuple[Column, ...] = (
    Column("vote_id", "string", "random, unique"),
    Column("item_id", "string", "the item that the vote is about"),
    Column("annotator", "string", "random pseudonym"),
    Column("role", "string", "`annotator`, `adjudicator` or `imported`"),
    *pick(ITEM_COLUMNS, ("task",)),
    Column(
        "answer",
        "string",
        "`yes`, `no` or `unsure`; `1` to `5`; `prompt`, `contrast` or `unsure`, depending on the task",
    ),
    Column("reason", "string", "free text of the annotator, or null"),
    Column("shown_first", "string", "`preference`: which prompt was first, `prompt` or `contrast`; or null"),
    Column("shown_at", "timestamp", "when the item was shown (UTC)"),
    Column("voted_at", "timestamp", "when the vote was stored (UTC)"),
    Column("duration_s", "float64", "seconds between the two, by the clock of the server; or null"),
    Column("version", "string", "version of the program and of the instructions that the annotator saw"),
    *pick(ITEM_COLUMNS, ("attention", "expected")),
    Column(
        "undone", "bool", "whether the annotator has undone the vote; true only in an export of the history"
    ),
    *pick(
        ITEM_COLUMNS,
        (
            "check_id",
            "concept_id",
            "category",
            "property",
            "prompt",
            "contrast_prompt",
            "side",
            "image_index",
            "text_model",
            "image_model",
        ),
    ),
)
"""The columns of a file of votes, including those of the item, so that a reader needs no join."""

ITEM_NAMES: tuple[str, ...] = tuple(column.name for column in ITEM_COLUMNS)
VOTE_NAMES: tuple[str, ...] = tuple(column.name for column in VOTE_COLUMNS)


def items_schema() -> pa.Schema:
    """The Arrow schema of a file of items."""
    return arrow_schema(ITEM_COLUMNS)


def votes_schema() -> pa.Schema:
    """The Arrow schema of a file of votes."""
    return arrow_schema(VOTE_COLUMNS)


def item_id(
    task: str,
    prompt: str,
    contrast_prompt: str | None,
    image: bytes,
    *,
    check_id: str | None = None,
    side: str | None = None,
    image_index: int | None = None,
) -> str:
    """The id of an item: a hash of its task, prompts, image and place in the check."""
    digest = hashlib.sha256(image).hexdigest()
    return stable_hash("item", task, prompt, contrast_prompt, check_id, side, image_index, digest, length=20)


ITEMS = "items.parquet"
"""Name of the file of items in a folder of candidates."""

MAX_CHARACTERS = 2000
"""Maximum length of a prompt or an id."""


def read_items(path: Path | str) -> Iterator[dict[str, Any]]:
    """Read and check the rows of a file of items; ``image`` is the content of the image file.

    Args:
        path: a Parquet file, a folder of candidates, or a folder of Parquet files, with the columns of
            ``ITEM_COLUMNS``; only ``item_id``, ``task``, ``prompt`` and ``image`` are required.

    Raises:
        InputError: the file cannot be read, a column is missing, or a row is not an item.
    """
    import pyarrow as pa

    from croc.storage.parquet import batches

    files = find_item_files(path)
    for file in files:
        number = 0
        try:
            for table in batches(file):
                require_item_columns(table.schema.names, file)
                for row in table.to_pylist():
                    yield _check_item(row, f"{file}, row {number}")
                    number += 1
        except (OSError, pa.ArrowException) as problem:
            raise InputError(f"{file}: cannot be read as a file of items ({problem})") from None


def require_item_columns(names: Sequence[str], file: Path) -> None:
    """Check that a file of items has the columns that it cannot be read without.

    Raises:
        InputError: a column is missing.
    """
    missing = [name for name in ("item_id", "task", "prompt", "image") if name not in names]
    if missing:
        raise InputError(f"{file}: columns missing from the file of items: {', '.join(missing)}")


def find_item_files(path: Path | str) -> list[Path]:
    """The files of items at a path; see :func:`read_items`.

    Raises:
        InputError: there is no file.
    """
    folder = Path(path)
    if (folder / ITEMS).is_file():
        return [folder / ITEMS]
    inside = sorted(file for file in folder.rglob("*.parquet") if not file.name.startswith("."))
    files = inside if folder.is_dir() else [folder]
    if not files or not files[0].is_file():
        raise InputError(f"{path}: no Parquet file of items ('croc hum candidates' makes one)")
    return files


def _check_item(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    item = {name: row.get(name) for name in ITEM_NAMES}
    task = item["task"]
    if task not in TASKS:
        raise InputError(f"{where}: task must be one of {', '.join(TASKS)}, not {task!r}")
    for name in ("item_id", "prompt", "contrast_prompt"):
        value = item[name]
        if name != "contrast_prompt" and not value:
            raise InputError(f"{where}: {name} must not be empty")
        if value and len(value) > MAX_CHARACTERS:
            raise InputError(
                f"{where}: {name} has {len(value)} characters; at most {MAX_CHARACTERS} are allowed"
            )
    if task == "preference" and not item["contrast_prompt"]:
        raise InputError(f"{where}: the task preference needs a contrast_prompt")
    if item["expected"] is not None and item["expected"] not in ANSWERS[task]:
        raise InputError(
            f"{where}: expected must be one of {', '.join(ANSWERS[task])}, not {item['expected']!r}"
        )
    item["attention"] = bool(item["attention"])
    if item["attention"] and item["expected"] is None:
        raise InputError(f"{where}: an attention check needs an expected answer")
    if item["category"] is not None and item["category"] not in CATEGORIES:
        raise InputError(
            f"{where}: category must be one of {', '.join(CATEGORIES)}, not {item['category']!r}"
        )
    image = item["image"]
    item["image"] = image["bytes"] if isinstance(image, Mapping) else image
    if not item["image"]:
        raise InputError(f"{where}: the image is empty")
    plain_image(item["image"], where)
    return item


_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"sRGB", b"cHRM")
_PNG = b"\x89PNG\r\n\x1a\n"


def plain_image(data: bytes, where: str = "image") -> tuple[bytes, tuple[int, int]]:
    """Convert an image to a PNG with the same pixels and without metadata.

    An image model may store its prompt, its settings or its name in the file, and the exact world stores the
    scene. Annotators must not see any of it.

    Returns:
        The PNG, and (width, height).

    Raises:
        InputError: the data cannot be decoded as an image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            size = opened.size
            if opened.format == "PNG" and not getattr(opened, "is_animated", False):
                opened.load()  # fails for a truncated file
                return _drop_metadata(data), size
            still = ImageOps.exif_transpose(opened).convert("RGB")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as problem:
        raise InputError(f"{where}: cannot be decoded as an image ({problem})") from None
    out = io.BytesIO()
    still.save(out, "PNG")
    return out.getvalue(), still.size


def _drop_metadata(data: bytes) -> bytes:
    parts, start = [_PNG], len(_PNG)
    while start + 12 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        if data[start + 4 : start + 8] in _KEPT_CHUNKS:
            parts.append(data[start : start + 12 + length])
        start += 12 + length
    return b"".join(parts)
