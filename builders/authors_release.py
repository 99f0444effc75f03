"""The authors' release of CROChum: a table of prompts with lists of image paths, and an archive of images.

The columns are ``id, prompt, contrast, prompt_paths, contrast_paths, alt_contrast_paths``. An id is
``category_number``, the lists are Python literals, and the paths begin with ``images/``, which the archive
lacks. Neither file is trusted: lists are parsed as literals, the archive is unpacked within bounds.
"""

from __future__ import annotations

import ast
import io
import os
import shutil
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from builders.screening import ABSENT
from croc.checks.schema import CATEGORIES, IMAGE_COLUMNS, ContrastCheck, check_id, stable_hash
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.storage.hub_access import download_snapshot
from croc.storage.parquet import write_parquet
from croc.tables.delimited import read_delimited, require_cells, require_columns

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("id", "prompt", "contrast", "prompt_paths", "contrast_paths", "alt_contrast_paths")
PREFIX = "images/"
SPELLED = {"spacial_relation": "spatial_relation"}
PART_SIZE = 10
"""Checks per part; some have a hundred images of a megabyte."""

LONGEST_CELL = 1_000_000
LONGEST_HEADER = 1_000_000
REPOSITORY = "nllg/croc_hum"


@dataclass(frozen=True)
class Entry:
    """One check of the release: its line of the table, and the files of its images."""

    id: str
    category: str
    prompt: str
    contrast: str
    images: list[str]
    contrast_images: list[str]


@dataclass(frozen=True)
class Bounds:
    """Limits for an archive; a real release stays far below."""

    members: int = 1_000_000
    file_bytes: int = 100_000_000
    total_bytes: int = 200_000_000_000
    ratio: int = 100
    """Images are already compressed, so an archive that expands a hundredfold is a decompression bomb."""

    free: int = 50_000_000
    """Bytes that an archive of any size may expand to."""


@dataclass
class Release:
    """A release on disk: its table and its archive.

    Attributes:
        table, archive: the two files.
        entries: the checks.
        notes: deviations from the table as written, for the card.
    """

    table: Path
    archive: Path
    entries: list[Entry]
    notes: list[str] = field(default_factory=list)


def find_release(source: str | Path) -> Release:
    """Find and read a release.

    Args:
        source: a folder with one TSV and one ``.tar.gz``, or the Hub id of a dataset repository.

    Raises:
        InputError: it is missing, or the table cannot be used; the sentence names line and column.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _download(str(source))
    table = _single(
        folder, [path for path in folder.rglob("*.tsv*") if path.suffix in (".tsv", ".gz")], "TSV"
    )
    archives = [path for path in folder.rglob("*") if path.name.endswith((".tar.gz", ".tgz"))]
    archive = _single(folder, archives, "tar.gz")
    entries, notes = read_table(table)
    return Release(table, archive, entries, notes)


def _single(folder: Path, files: Sequence[Path], kind: str) -> Path:
    if len(files) != 1:
        names = ", ".join(sorted(str(path.relative_to(folder)) for path in files)) or "none"
        raise InputError(f"{folder}: expected one {kind} file of a release, found {len(files)} ({names})")
    return files[0]


def _download(repo: str) -> Path:
    if repo.count("/") != 1 or repo.startswith((".", "/")):
        raise InputError(f"{repo}: neither an existing folder nor a Hub id such as {REPOSITORY}")
    return download_snapshot(repo, patterns=["*.tsv", "*.tsv.gz", "*.tar.gz", "*.tgz"])


# ---- The table ----


def read_table(file: Path) -> tuple[list[Entry], list[str]]:
    """Read the table of a release.

    Returns:
        The checks in its order, and notes about deviations from the table as written.

    Raises:
        InputError: a column, a cell, an id or a list cannot be used.
    """
    frame = read_delimited(file)
    require_columns(frame, COLUMNS, str(file))
    require_cells(frame, ("id", "prompt", "contrast"), str(file))
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    notes: Counter[str] = Counter()
    for number, row in enumerate(frame.select(COLUMNS).iter_rows(named=True), 1):
        where = f"{file}, row {number}"
        if row["id"] in lines:
            raise InputError(f"{where}: id {row['id']!r} occurs in row {lines[row['id']]}, too")
        lines[row["id"]] = number
        category = category_of(row["id"], where)
        paths = {
            name: parse_list(row[name], f"{where}, column {name!r}")
            for name in COLUMNS
            if name.endswith("_paths")
        }
        contrast = paths["contrast_paths"]
        if category == "negation":
            # The images of "no dog" for "a dog": the release lists them in a column of their own.
            contrast = paths["alt_contrast_paths"]
            if paths["contrast_paths"] and paths["contrast_paths"] != contrast:
                notes["negation checks have the images of alt_contrast_paths as their contrast images"] += 1
        if not row["id"].startswith(category):
            notes["ids spell the category spatial_relation differently"] += 1
        entries.append(
            Entry(
                row["id"],
                category,
                row["prompt"].strip(),
                row["contrast"].strip(),
                paths["prompt_paths"],
                contrast,
            )
        )
    return entries, [f"{count} {note}" for note, count in notes.items()]


def category_of(name: str, where: str) -> str:
    """The category of an id such as ``body_parts_12``.

    Raises:
        InputError: it is not ``category_number`` with a known category.
    """
    word, _, number = name.rpartition("_")
    word = SPELLED.get(word, word)
    if not number.isdecimal() or word not in CATEGORIES:
        close = get_close_matches(word, CATEGORIES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known categories are {', '.join(CATEGORIES)}"
        raise InputError(f"{where}: the id {name!r} is not category_number; {hint}")
    return word


def parse_list(cell: str | None, where: str) -> list[str]:
    """Parse a cell with a Python list of paths, as a literal that is never executed; an empty cell is ``[]``.

    Raises:
        InputError: it is not such a list, or a path leads out of the archive.
    """
    text = (cell or "").strip()
    if text in ("", "nan", "None"):
        return []
    try:
        if len(text) > LONGEST_CELL:
            raise ValueError(f"{len(text)} characters")
        paths = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise InputError(f"{where}: not a list of paths ({reason}): {text[:60]!r}") from None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise InputError(f"{where}: not a list of paths: {text[:60]!r}")
    for path in paths:
        if not _inside(path.removeprefix(PREFIX)):
            raise InputError(f"{where}: the path {path!r} leads out of the archive")
    return [path.removeprefix(PREFIX) for path in paths]


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and "\\" not in name
    )


# ---- The archive ----


class _Bounded(io.RawIOBase):
    """The decompressed stream, counted, so that an error is raised before the disk is full."""

    def __init__(self, inner: io.BufferedIOBase, most: int, archive: Path) -> None:
        self.inner, self.left, self.archive = inner, most, archive

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.inner.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise InputError(f"{self.archive}: it expands to far more than images do; not unpacked")
        return data


class _Header(tarfile.TarInfo):
    """A member's header; long names have headers of their own, which tarfile reads completely into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) and header.size > LONGEST_HEADER:
            raise tarfile.HeaderError(f"a header claims {header.size:,} bytes")
        return header


def extract(archive: Path, out: Path, bounds: Bounds | None = None) -> int:
    """Unpack an archive of images, completely or not at all, and never outside ``out``.

    Only regular files and folders are accepted: links, devices, pipes and sparse files are refused, as are
    absolute paths, paths with ``..``, repeated names, and anything beyond the bounds.

    Args:
        archive: a ``.tar.gz``.
        out: the folder to make; if it exists it is complete.
        bounds: limits for the archive.

    Returns:
        Number of files that were unpacked, 0 if the folder exists.

    Raises:
        InputError: the archive is damaged, or has a member that is refused; the sentence names it.
    """
    import gzip

    if out.is_dir():
        return 0
    bounds = bounds or Bounds()
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    most = min(bounds.total_bytes, max(bounds.free, archive.stat().st_size * bounds.ratio))
    count = 0
    try:
        with gzip.open(archive) as unzipped:
            stream = _Bounded(unzipped, most, archive)
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20, tarinfo=_Header) as opened:
                for number, member in enumerate(opened):
                    if number >= bounds.members:
                        raise InputError(f"{archive}: more than {bounds.members:,} members; not unpacked")
                    count += _extract_member(opened, member, partial, archive, bounds)
        if not count:
            raise InputError(f"{archive}: it contains no file")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{archive}: damaged or truncated ({error})") from None
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(
            f"{archive}: cannot be unpacked into {out.parent} ({error.strerror or error})"
        ) from error
    except BaseException:  # a refused archive or an interruption leaves nothing half-unpacked
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(out)
    return count


def _extract_member(
    opened: tarfile.TarFile, member: tarfile.TarInfo, out: Path, archive: Path, bounds: Bounds
) -> int:
    name = member.name
    if member.isdir():
        if PurePosixPath(name) == PurePosixPath(".") or _inside(name):
            return 0
        raise InputError(f"{archive}: {name!r} leads out of the archive; not unpacked")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise InputError(
            f"{archive}: {name!r} is not a regular file (but a link, a device or the like); not unpacked"
        )
    try:
        tarfile.data_filter(member, str(out))
    except tarfile.FilterError as error:
        raise InputError(f"{archive}: {error}; not unpacked") from None
    # The filter would strip the leading slash of an absolute path; here it is refused.
    if not _inside(name):
        raise InputError(f"{archive}: {name!r} leads out of the archive; not unpacked")
    if member.size > bounds.file_bytes:
        raise InputError(
            f"{archive}: {name!r} has {member.size:,} bytes, too many for an image; not unpacked"
        )
    path = out / PurePosixPath(name)
    source = opened.extractfile(member)
    assert source is not None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{archive}: {name!r} occurs twice, or is both file and folder; not unpacked"
        ) from None
    if path.stat().st_size != member.size:
        raise InputError(f"{archive}: {name!r} is truncated")
    return 1


def find_root(folder: Path, entries: Sequence[Entry]) -> Path:
    """The folder to which the paths of the table are relative: the unpacked folder, or a folder in it."""
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    wanted = [path for entry in entries[:50] for path in (*entry.images, *entry.contrast_images)]
    return max([folder, *below], key=lambda root: sum((root / path).is_file() for path in wanted))


# ---- Checks ----


def plan_parts(release: Release, root: Path) -> tuple[list[Part], Counter[str]]:
    """Parts of checks, sorted by category; missing images are left out and counted.

    Raises:
        InputError: most images are missing, so table and archive do not belong together.
    """
    missing: Counter[str] = Counter()
    total = 0
    rows: list[dict[str, Any]] = []
    example = ""
    for entry in sorted(
        release.entries, key=lambda entry: (entry.category, int(entry.id.rpartition("_")[2]))
    ):
        row: dict[str, Any] = {"id": entry.id, "category": entry.category}
        row |= {"prompt": entry.prompt, "contrast": entry.contrast}
        for side in IMAGE_COLUMNS:
            paths = getattr(entry, side)
            present = [path for path in paths if (root / path).is_file()]
            total += len(paths)
            if len(present) < len(paths):
                missing[ABSENT] += len(paths) - len(present)
                example = example or next(path for path in paths if path not in present)
            row[side] = present
        rows.append(row)
    if missing[ABSENT] * 2 > total:
        raise InputError(
            f"{release.archive}: {missing[ABSENT]} of {total} images that {release.table.name} names are not "
            f"in it (such as {example!r}); table and archive do not belong together"
        )
    slices = [rows[start : start + PART_SIZE] for start in range(0, len(rows), PART_SIZE)]
    return [Part(f"{number:05d}", rows) for number, rows in enumerate(slices)], +missing


def write_checks(
    payload: Sequence[Mapping[str, Any]], path: Path, *, root: Path, license: str | None, schema: pa.Schema
) -> dict[str, Any]:
    """Make one staged part: the checks with their images, a few in memory at a time.

    Args:
        payload: from :func:`plan_parts`.
        path: the Parquet file.
        root: folder of the images.
        license: licence of the images, None if it is not known.
        schema: Arrow schema of a check.

    Returns:
        Counts: ``checks``, ``images``.
    """
    import pyarrow as pa

    tables = (pa.Table.from_pylist([check_of(row, root, license).row()], schema=schema) for row in payload)
    rows = write_parquet(tables, path, schema)
    return {
        "checks": rows,
        "images": sum(len(row[s]) for row in payload for s in IMAGE_COLUMNS),
    }


def check_of(row: Mapping[str, Any], root: Path, license: str | None) -> ContrastCheck:
    """A check from its line and its image files."""
    concept = stable_hash("croc_hum", row["id"])

    def read(paths: Sequence[str]) -> list[dict[str, Any]]:
        return [{"bytes": (root / path).read_bytes(), "path": os.path.basename(path)} for path in paths]  # noqa: PTH119

    return ContrastCheck(
        check_id=check_id(concept, row["prompt"], row["contrast"], None, None, None),
        concept_id=concept,
        prompt=row["prompt"],
        contrast_prompt=row["contrast"],
        images=read(row["images"]),
        contrast_images=read(row["contrast_images"]),
        category=row["category"],
        property=row["category"],
        license=license,
    )
