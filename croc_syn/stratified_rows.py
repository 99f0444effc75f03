"""A stratified sample of a finished folder of checks: which rows it holds, and reading only those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.storage.parquet import require_texts

_KEYS = ("check_id", "subset", "category", "property")


class RowPlace(NamedTuple):
    """Where a row is stored, and some of its values."""

    file: Path
    row: int
    values: tuple[Any, ...] = ()


class Sample(NamedTuple):
    """A stratified sample.

    Attributes:
        places: where its rows are stored, in the order of the files.
        population: number of rows that it stands for, by subset and property.
    """

    places: list[RowPlace]
    population: dict[tuple[str, str], int]


def shard_files(folder: str | Path) -> list[Path]:
    """The Parquet files of a finished folder.

    Raises:
        InputError: it is not one.
    """
    folder = Path(folder)
    files = sorted(file for file in (folder / "data").glob("*.parquet") if file.name[0] != ".")
    if not files or not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder}: not a finished folder of checks (no data/*.parquet with a manifest.json)"
        )
    return files


def sample_rows(
    files: Iterable[Path],
    count: int,
    *,
    seed: int = 0,
    where: Mapping[str, str | None] | None = None,
    columns: Sequence[str] = (),
) -> Sample:
    """Sample rows so that every subset and property has about the same number of them.

    The hash of a check decides its rank among those of its subset and property; the lowest ranks are taken
    first. So the sample does not depend on the order or the number of the files.

    Args:
        files: Parquet files of checks.
        count: how many, at most.
        seed: another seed, another sample.
        where: wanted value by column: ``subset``, ``category``, ``property``; None means any.
        columns: whose values to keep beside the place of a row.

    Raises:
        InputError: no check has a wanted value, or a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {name: value for name, value in (where or {}).items() if value is not None}
    values: dict[str, set[str]] = {name: set() for name in wanted}
    strata: dict[tuple[str, str], list[tuple[str, RowPlace]]] = {}
    population: Counter[tuple[str, str]] = Counter()
    for file in files:
        try:
            table = pq.read_table(file, columns=[*dict.fromkeys((*_KEYS, *columns))])
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable file of checks ({error})") from None
        require_texts(table.schema, [name for name in _KEYS if name in table.column_names], file)
        for index, row in enumerate(table.to_pylist()):
            for name, known in values.items():
                known.add(row[name] or "none")
            if any(row[name] != value for name, value in wanted.items()):
                continue
            stratum = (row["subset"] or "", row["property"] or "")
            population[stratum] += 1
            rank = stable_hash("choose", seed, row["check_id"], length=12)
            place = RowPlace(file, index, tuple(row[name] for name in columns))
            strata.setdefault(stratum, []).append((rank, place))
        for members in strata.values():
            members.sort(key=_rank)
            del members[count:]
    for name, value in wanted.items():
        if value not in values[name]:
            close = get_close_matches(value, values[name], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(values[name]))}"
            raise InputError(f"{name} {value!r} is not in these checks; {hint}")
    ranked = [(position, *member) for members in strata.values() for position, member in enumerate(members)]
    ranked.sort(key=lambda item: item[:2])
    places = sorted((place for *_, place in ranked[:count]), key=lambda place: place[:2])
    return Sample(places, dict(population))


def _rank(member: tuple[str, RowPlace]) -> str:
    return member[0]


def read_rows(places: Sequence[RowPlace]) -> Iterator[dict[str, Any]]:
    """The rows at these places, one row group in memory at a time; images as ``{"bytes", "path"}``."""
    import pyarrow.parquet as pq

    by_file: dict[Path, set[int]] = {}
    for place in places:
        by_file.setdefault(place.file, set()).add(place.row)
    for file, wanted in by_file.items():
        with pq.ParquetFile(file) as parquet:
            first = 0
            for group in range(parquet.num_row_groups):
                length = parquet.metadata.row_group(group).num_rows
                here = sorted(row - first for row in wanted if first <= row < first + length)
                if here:
                    yield from parquet.read_row_group(group).take(here).to_pylist()
                first += length
