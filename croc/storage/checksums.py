"""Whether files are those of which a size and checksums are recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from croc.storage.files import is_whole
from croc.wording import counted

_BLOCK, _BLOCKS = 1 << 16, 16
_SMALL = 64_000_000  # bytes of a file that is compared whole where no quick checksum is recorded


def quick_checksum(file: Path) -> str:
    """A checksum of a file's size and of 16 blocks of 64 KiB, the first and the last one among them.

    The last block of a Parquet file holds the sizes and bounds of all its columns, so a file that was written
    again differs there. A single changed byte in a large file can go unnoticed.
    """
    size = file.stat().st_size
    digest = xxhash.xxh3_128(str(size).encode())
    with file.open("rb") as opened:
        if size <= _BLOCK * _BLOCKS:
            digest.update(opened.read())
        else:
            for number in range(_BLOCKS):
                opened.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(opened.read(_BLOCK))
    return digest.hexdigest()


def changed_files(
    folder: Path, entries: Mapping[str, Mapping[str, Any]], *, whole: bool = False
) -> Iterator[str]:
    """Which files are not those of a manifest or of records, a sentence each.

    Args:
        folder: the folder.
        entries: by name: ``bytes``, ``sha256``, and perhaps ``quick`` or ``xxh128``.
        whole: compare all bytes by sha256. Otherwise sizes and quick checksums; without one, files up to
            64 MB whole and the sizes of larger ones.
    """
    for name, entry in entries.items():
        file = folder / name
        try:
            size = file.stat().st_size
            if size != entry["bytes"]:
                yield f"{name}: {counted(size, 'byte')}, expected {entry['bytes']:,} as in the manifest"
            elif not _is_same(file, entry, whole):
                yield f"{name}: its content differs from the checksum in the manifest"
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            yield f"{name}: cannot be read ({error.strerror})"


def _is_same(file: Path, entry: Mapping[str, Any], whole: bool) -> bool:
    if whole:
        return is_whole(file, entry["sha256"])
    if entry.get("quick"):
        return bool(quick_checksum(file) == entry["quick"])
    return entry["bytes"] > _SMALL or is_whole(file, entry.get("xxh128") or entry["sha256"])
