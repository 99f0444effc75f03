"""Images and prompts of others' benchmarks as checks: texts are read at once, images when they are scored."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from croc.checks.schema import ContrastCheck
from croc.errors import InputError
from croc.external.items import Rated

MEMBER_BYTES = 500_000_000
"""An image in an archive that says it is larger is not unpacked."""


@dataclass(frozen=True)
class StoredImage:
    """An image inside another file.

    Attributes:
        name: where it is, for messages.
        read: returns the content of its file.
    """

    name: str
    read: Callable[[], bytes]


Image = Path | StoredImage


@dataclass(frozen=True)
class Pairs:
    """What ``croc external score`` scores.

    Attributes:
        checks: a check per item, with the item's id; ``images`` and ``contrast_images`` hold :data:`Image`. A
            rated item has one image and no contrast prompt.
        left_out: sentences about what was not read, with counts.
    """

    checks: tuple[ContrastCheck, ...]
    left_out: tuple[str, ...] = ()

    def images(self) -> Iterator[Image]:
        """All images, in order."""
        for check in self.checks:
            yield from check.images
            yield from check.contrast_images


class ImageStore:
    """Images of a benchmark by the names that its files give them: in folders, or in ZIP archives.

    Args:
        folder: of the benchmark.
        places: folders in it that may hold the images; ``.`` is the folder itself.
        archives: patterns of ZIP archives in it.
    """

    def __init__(self, folder: Path, places: Sequence[str] = (".",), archives: Sequence[str] = ()) -> None:
        self.folder = folder
        self.places = places
        self.archives = archives

    def find(self, name: str) -> Image:
        """The image of a name; where there is none, the path at which it is missing.

        Raises:
            InputError: the name leads out of the folder, or an archive is damaged.
        """
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"{self.folder}: the image name {name!r} leads out of the folder of its benchmark"
            )
        for place in self.places:
            if (file := self.folder / place / path).is_file():
                return file
        return self._stored(path) or self.folder / self.places[0] / path

    def _stored(self, path: PurePosixPath) -> StoredImage | None:
        for archive, member in self._members.get(path.name, ()):
            inside = PurePosixPath(member.filename).parts
            if inside[-len(path.parts) :] == path.parts:
                return StoredImage(f"{archive.filename}/{member.filename}", _Member(archive, member))
        return None

    @cached_property
    def _members(self) -> dict[str, list[tuple[zipfile.ZipFile, zipfile.ZipInfo]]]:
        """The files of all archives by the last part of their name."""
        found: dict[str, list[tuple[zipfile.ZipFile, zipfile.ZipInfo]]] = defaultdict(list)
        for pattern in self.archives:
            for file in sorted(self.folder.glob(pattern)):
                try:
                    archive = zipfile.ZipFile(file)
                except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                    raise InputError(f"{file}: cannot be read as a ZIP archive ({error})") from None
                for member in archive.infolist():
                    if not member.is_dir():
                        found[PurePosixPath(member.filename).name].append((archive, member))
        return found


@dataclass(frozen=True)
class _Member:
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __call__(self) -> bytes:
        name = f"{self.archive.filename}, {self.member.filename}"
        if self.member.file_size > MEMBER_BYTES:
            raise InputError(
                f"{name}: {self.member.file_size:,} bytes; an image has at most {MEMBER_BYTES:,}"
            )
        try:
            return self.archive.read(self.member)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise InputError(f"{name}: cannot be unpacked ({error})") from None


def two_by_two(
    item_id: str,
    captions: tuple[str, str],
    images: tuple[Image, Image],
    *,
    category: str | None = None,
    concept: str | None = None,
) -> ContrastCheck:
    """An item of two captions and an image of each, as in Winoground.

    Args:
        item_id: id of the item.
        captions: the second one is the contrast prompt.
        images: of the captions.
        category: its scores are also shown by themselves.
        concept: items with the same one are resampled together; None takes the item.
    """
    return ContrastCheck(
        check_id=item_id,
        concept_id=item_id if concept is None else concept,
        prompt=captions[0],
        contrast_prompt=captions[1],
        images=[images[0]],
        contrast_images=[images[1]],
        category=category,
    )


def rated_pairs(items: Rated, store: ImageStore, group: str = "prompt") -> Pairs:
    """The images of rated items with their prompts.

    Args:
        items: with file names in the column ``image``; items without one are left out.
        store: finds the images.
        group: the column of the unit of resampling.
    """
    rows = items.table.drop_nulls(("image", "prompt"))
    checks = tuple(
        ContrastCheck(
            check_id=row["item_id"],
            concept_id=row[group],
            prompt=row["prompt"],
            contrast_prompt=None,
            images=[store.find(row["image"])],
            contrast_images=[],
            image_model=row["system"],
        )
        for row in rows.iter_rows(named=True)
    )
    lost = len(items.table) - len(rows)
    notes = (f"{lost:,} of {len(items.table):,} items have no image or no prompt.",) if lost else ()
    return Pairs(checks, (*items.left_out, *notes))


def parquet_rows(folder: Path, patterns: Sequence[str], columns: Sequence[str], images: Sequence[str]) -> Any:
    """The rows of Parquet files with embedded images, as a ``datasets.Dataset`` with undecoded images.

    Args:
        folder: of the benchmark.
        patterns: of the files in it.
        columns: that the files must have.
        images: those of the columns that hold an image, or a list of images.

    Returns:
        None if there is no such file.

    Raises:
        InputError: a file cannot be read, or a column is missing.
    """
    import datasets
    import pyarrow as pa

    from croc.checks.local_datasets import as_patterns, local_cache

    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    if not files:
        return None
    try:
        rows = datasets.load_dataset(
            "parquet", data_files=as_patterns(files), split="train", cache_dir=local_cache()
        )
    except (OSError, ValueError, TypeError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{files[0]}: cannot be read as a Parquet file ({reason})") from None
    if missing := [name for name in columns if name not in rows.column_names]:
        raise InputError(f"{files[0]}: missing column {missing[0]!r}; it has {', '.join(rows.column_names)}")
    texts = [name for name in columns if name not in images]
    try:
        rows.data.table.select(texts).validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(f"{files[0]}: cannot be read as a Parquet file ({error})") from None
    for name in images:
        undecoded = datasets.Image(decode=False)
        many = isinstance(rows.features[name], (datasets.List, datasets.LargeList, list))
        try:
            rows = rows.cast_column(name, datasets.List(undecoded) if many else undecoded)
        except (TypeError, ValueError, pa.ArrowException):
            raise InputError(
                f"{files[0]}, column {name!r}: must be an image, not {rows.features[name]}"
            ) from None
    return rows


def cell_image(rows: Any, row: int, column: str, number: int | None = None) -> StoredImage:
    """The image of a cell of :func:`parquet_rows`, or the one of that number in a list of images."""

    def read() -> bytes:
        cell = rows[row][column]
        cell = cell if number is None else cell[number]
        if not cell or cell.get("bytes") is None:
            raise InputError("the image is missing")
        return bytes(cell["bytes"])

    return StoredImage(f"row {row + 1}, column {column!r}", read)
