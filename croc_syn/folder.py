"""Rows of a finished folder of checks: choosing some of them evenly, and reading only those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from croc.checks.schema import stable_hash
from croc.errors import InputError

_KEYS = ("check_id", "subset", "category", "property")


class Chosen(NamedTuple):
    """Where a row lies."""

    file: Path
    row: int
    check_id: str


def shard_files(folder: str | Path) -> list[Path]:
    """The Parquet files of a finished folder.

    Raises:
        InputError: it is not one.
    """
    folder = Path(folder)
    files = sorted((folder / "data").glob("*.parquet"))
    if not files or not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: not a finished folder of checks (no data/*.parquet with a manifest.json)"
        )
    return files


def choose(
    files: Iterable[Path],
    count: int,
    *,
    seed: int = 0,
    where: Mapping[str, str | None] | None = None,
) -> list[Chosen]:
    """Choose rows so that every subset and property has about the same number of them.

    Each check's hash decides its rank among those of its subset and property; the lowest ranks come first.
    So the choice does not depend on the order or the number of the files.

    Args:
        files: Parquet files of checks.
        count: how many, at most.
        seed: another seed, another choice.
        where: wanted value by column: ``subset``, ``category``, ``property``; None stands for any.

    Returns:
        The chosen rows in the order of the files.

    Raises:
        InputError: no check has a wanted value, or a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {name: value for name, value in (where or {}).items() if value is not None}
    seen: dict[str, set[str]] = {name: set() for name in wanted}
    strata: dict[tuple[str, str], list[tuple[str, Chosen]]] = {}
    for file in files:
        try:
            rows = pq.read_table(file, columns=list(_KEYS)).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable file of checks ({error})") from None
        for index, row in enumerate(rows):
            for name, values in seen.items():
                values.add(row[name] or "none")
            if any(row[name] != value for name, value in wanted.items()):
                continue
            rank = stable_hash("choose", seed, row["check_id"], length=12)
            chosen = Chosen(file, index, row["check_id"])
            strata.setdefault((row["subset"] or "", row["property"] or ""), []).append((rank, chosen))
    for name, value in wanted.items():
        if value not in seen[name]:
            close = get_close_matches(value, seen[name], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(seen[name]))}"
            raise InputError(f"{name} {value!r} is not in these checks; {hint}")
    ranked = [
        (place, rank, chosen)
        for members in strata.values()
        for place, (rank, chosen) in enumerate(sorted(members))
    ]
    return sorted(chosen for _, _, chosen in sorted(ranked)[:count])


def read_chosen(chosen: Sequence[Chosen]) -> Iterator[dict[str, Any]]:
    """The chosen rows, one row group in memory at a time; images as ``{"bytes", "path"}``."""
    import pyarrow.parquet as pq

    by_file: dict[Path, set[int]] = {}
    for each in chosen:
        by_file.setdefault(each.file, set()).add(each.row)
    for file, wanted in by_file.items():
        with pq.ParquetFile(file) as parquet:
            first = 0
            for group in range(parquet.num_row_groups):
                length = parquet.metadata.row_group(group).num_rows
                here = sorted(row - first for row in wanted if first <= row < first + length)
                if here:
                    yield from parquet.read_row_group(group).take(here).to_pylist()
                first += length
