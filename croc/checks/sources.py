"""Where checks come from: a folder, a Hub id, a ``datasets`` object or rows; always with undecoded images.

Every source is read in two steps: first the texts of all checks, to count them and to refuse what is not a
dataset of checks; then slices of rows with their image files, so that the memory use stays constant.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from croc.checks.columns import pick, row_model
from croc.checks.decoding import to_bytes
from croc.checks.local_datasets import open_builder, original_file
from croc.checks.schema import (
    CHECK_COLUMNS,
    EXTRA_COLUMNS,
    GROUP_COLUMNS,
    IMAGE_COLUMNS,
    STYLE,
    ContrastCheck,
    stable_hash,
)
from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import read_json, sha256_of

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = ("check_id", "concept_id", "prompt", "contrast_prompt", "images", "contrast_images")
COLUMNS = (*REQUIRED, *GROUP_COLUMNS, STYLE)
_BATCH = 16
# Of Parquet files: few, because buffers of several megabytes are returned to the operating system each time.
_PARQUET_BATCH = 4
_CheckRow = row_model("CheckRow", pick((*CHECK_COLUMNS, *EXTRA_COLUMNS), COLUMNS), REQUIRED)

Row = dict[str, Any]
Reader = Callable[[int, int], list[Row]]


class CheckTexts(NamedTuple):
    """The texts of a check, which are read before its images."""

    check_id: str
    subset: str | None
    prompt: str | None
    contrast_prompt: str | None


@dataclass
class Checks:
    """A dataset of checks that can be planned and read in slices.

    Attributes:
        name: Hub id, folder name or kind of object.
        revision: what identifies the content: a commit, the folder's manifest, or a hash of the content.
        texts: of the checks, in order.
        read: ``read(start, stop)`` returns rows as dictionaries of ``COLUMNS``, images undecoded.
        seams: row numbers that a slice does not cross, such as the ends of files.
        pinned: False when the revision does not cover the image bytes.
        config: configuration of the dataset; None if it has none, or it is unknown.
        split: split of the dataset; None if it has none, or it is unknown.
    """

    name: str
    revision: str
    texts: list[CheckTexts]
    read: Reader
    seams: Sequence[int] = ()
    pinned: bool = True
    config: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        seen: dict[str, int] = {}
        for number, (check_id, *_) in enumerate(self.texts, 1):
            if not check_id:
                raise InputError(f"{self.name}: row {number} has no check_id")
            if check_id in seen:
                raise InputError(
                    f"{self.name}: check_id {check_id!r} is in row {seen[check_id]} and in row {number}"
                )
            seen[check_id] = number

    @property
    def protocol(self) -> str:
        """``syn`` when the checks have a subset, ``hum`` when none has.

        Raises:
            InputError: some have one and some have none.
        """
        with_subset = sum(texts.subset is not None for texts in self.texts)
        if 0 < with_subset < len(self.texts):
            raise InputError(
                f"{self.name}: {with_subset} of {len(self.texts)} checks have a subset, so the protocol is "
                "ambiguous; choose syn or hum"
            )
        return "syn" if with_subset else "hum"

    def spaced(self, number: int) -> Checks:
        """At most ``number`` checks, evenly spaced, because rows that follow each other are similar."""
        total = len(self.texts)
        if number >= total:
            return self
        return self.select([i * total // number for i in range(number)])

    def select(self, rows: Sequence[int]) -> Checks:
        """Only the checks with these row numbers."""
        if list(rows) == list(range(len(self.texts))):
            return self

        def read(start: int, stop: int) -> list[Row]:
            return [row for i in rows[start:stop] for row in self.read(i, i + 1)]

        return replace(
            self,
            revision=f"{self.revision}[{len(rows)} of {len(self.texts)}]",
            texts=[self.texts[i] for i in rows],
            read=read,
            seams=(),
        )

    def plan(self, checks_per_part: int) -> list[Part]:
        """Slices of rows as parts; the texts of a slice are part of its identity."""
        bounds = sorted({0, len(self.texts), *self.seams})
        planned = []
        for low, high in pairwise(bounds):
            for start in range(low, high, checks_per_part):
                stop = min(start + checks_per_part, high)
                texts = stable_hash(*self.texts[start:stop], length=32)
                planned.append(Part(f"{start:08d}", {"start": start, "stop": stop, "texts": texts}))
        return planned


def open_checks(
    dataset: Any,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    max_checks: int | None = None,
) -> Checks:
    """Open a dataset of checks.

    Args:
        dataset: a folder (built here, saved by ``datasets``, or with Parquet files), a Parquet file, a Hub
            id, a ``Dataset``, ``IterableDataset`` or dictionary of splits, a list of rows, or opened checks.
        config: configuration, of a folder or Hub id that has several.
        split: which split; optional where there is only one, or one called ``test``.
        revision: tag or commit of a Hub id; for objects, a name of their content.
        streaming: read a Hub dataset over the network instead of downloading it first.
        max_checks: maximum number of checks, evenly spaced; of an ``IterableDataset`` the first ones.

    Raises:
        InputError: it is not a dataset of checks.
    """
    if max_checks is None:
        return _open(dataset, config, split, revision, streaming)
    if max_checks < 1:
        raise InputError(f"max_checks must be at least 1, not {max_checks}")
    if type(dataset).__name__ == "IterableDataset":
        dataset = dataset.take(max_checks)  # the rest of a stream may have no end
    return _open(dataset, config, split, revision, streaming).spaced(max_checks)


def _open(
    dataset: Any, config: str | None, split: str | None, revision: str | None, streaming: bool
) -> Checks:
    if isinstance(dataset, Checks):
        return dataset
    if isinstance(dataset, (str, Path)):
        return _open_named(str(dataset), config, split, revision, streaming)
    kind = type(dataset).__module__.partition(".")[0]
    if kind == "datasets":
        return _of_datasets(dataset, type(dataset).__name__, split, revision)
    if isinstance(dataset, Iterable) and not isinstance(dataset, Mapping):
        rows = [row.row() if isinstance(row, ContrastCheck) else row for row in dataset]
        if rows and isinstance(rows[0], Mapping):
            return _of_rows(rows, revision)
    raise InputError(
        "expected checks as a folder, a Hub id, a datasets object or a list of rows, "
        f"not {type(dataset).__name__}"
    )


# ---- Folders, files and Hub ids ----


def _open_named(
    name: str, config: str | None, split: str | None, revision: str | None, stream: bool
) -> Checks:
    path = Path(name)
    if path.is_dir() and (path / "plan.json").exists():
        runner.read_manifest(path)
        files = sorted((path / "parts").glob("*.parquet"))
        return _of_parquet(files, path.resolve().name, f"manifest:{_manifest(path)}")
    if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()):
        import datasets

        return _of_datasets(datasets.load_from_disk(name), path.resolve().name, split, revision)
    if path.is_file() and path.suffix == ".parquet":
        return _of_parquet([path], path.name, f"sha256:{sha256_of(path)[:16]}")
    if path.is_file():
        raise InputError(f"{name}: expected a Parquet file")
    if not path.exists() and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise InputError(f"{name}: neither an existing folder nor a Hub id (ORGANISATION/NAME)")
    return _of_builder(name, path if path.is_dir() else None, config, split, revision, stream)


def _of_builder(
    name: str, folder: Path | None, config: str | None, split: str | None, revision: str | None, stream: bool
) -> Checks:
    """A folder or Hub id as ``datasets`` understands it, with its README and configurations."""
    try:
        builder = open_builder(name, folder, config, revision)
        data_files = builder.config.data_files or {}
        chosen = _one_split(name, [str(key) for key in data_files] or list(builder.info.splits or {}), split)
        checks = _of_split(builder, chosen, name, folder, stream)
    except CrocError:
        raise
    except Exception as error:  # of datasets, of the libraries behind it, of the network
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{name}: the dataset cannot be loaded: {reason}") from error
    named = str(builder.config.name)
    checks.config = None if named.startswith("default") else named
    checks.split = chosen
    return checks


def _of_split(builder: Any, chosen: str, name: str, folder: Path | None, stream: bool) -> Checks:
    data_files = builder.config.data_files or {}
    listed = [str(file) for file in data_files.get(chosen, [])]
    commit = re.match(r"hf://datasets/[^@]+@([0-9a-f]{40})/", listed[0]) if listed else None
    pin = commit[1] if commit else f"builder:{builder.hash}"
    parquet = bool(listed) and all(file.endswith(".parquet") for file in listed)
    if folder is not None and parquet:
        manifest = _manifest(folder)
        files = [original_file(file, folder) for file in listed]
        pin = f"manifest:{manifest}" if manifest else _files_hash(files)
        return _of_parquet(files, folder.resolve().name, pin)
    if stream and parquet:
        return _of_parquet(listed, name, pin)
    if stream:
        return _of_datasets(builder.as_streaming_dataset(split=chosen), name, None, pin)
    builder.download_and_prepare()
    return _of_datasets(builder.as_dataset(split=chosen), name, None, None if folder else pin)


def _one_split(name: str, splits: Sequence[str], split: str | None) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None and "test" in splits:
        return "test"
    if split is None:
        raise InputError(f"{name} has the splits {', '.join(splits) or 'none'}; choose one")
    if splits and split not in splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _manifest(folder: Path) -> str | None:
    stored = read_json(folder / "manifest.json")
    checksum = stored.get("sha256") if isinstance(stored, dict) else None
    return str(checksum)[:16] if checksum else None


def _files_hash(files: Sequence[Path]) -> str:
    return "sha256:" + stable_hash(*(sha256_of(file) for file in files))


# ---- Parquet, read row group by row group ----


def _of_parquet(files: Sequence[str | Path], name: str, revision: str) -> Checks:
    table = _ParquetRows(files)
    texts, seams = [], [0]
    for file in files:
        rows = table.texts(file)
        texts += [_texts_of(row) for row in rows]
        seams.append(seams[-1] + len(rows))
    return Checks(name, revision, texts, table.reader(seams), seams)


class _ParquetRows:
    """Rows of several Parquet files, local or remote; consecutive reads read nothing twice."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        self.files = files
        self._at = (-1, -1)
        self._rows: Iterator[Row] = iter(())

    def texts(self, file: str | Path) -> list[Row]:
        with self._open(file) as opened:
            names = _require_columns(opened.schema_arrow, str(file))
            table = opened.read(columns=[name for name in CheckTexts._fields if name in names])
        return table.to_pylist()  # type: ignore[no-any-return]

    def reader(self, seams: Sequence[int]) -> Reader:
        def read(start: int, stop: int) -> list[Row]:
            rows: list[Row] = []
            while start + len(rows) < stop:  # files may be shorter than a slice
                at = start + len(rows)
                number = bisect_right(seams, at) - 1
                first, count = at - seams[number], min(stop, seams[number + 1]) - at
                if self._at != (number, first):
                    self._rows = self._from(self.files[number], first)
                rows += [next(self._rows) for _ in range(count)]
                self._at = (number, first + count)
            return rows

        return read

    def _from(self, file: str | Path, first: int) -> Iterator[Row]:
        with self._open(file) as opened:
            names = opened.schema_arrow.names
            sizes = [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]
            group = 0
            while group < len(sizes) - 1 and first >= sizes[group]:
                first -= sizes[group]
                group += 1
            columns = [name for name in COLUMNS if name in names]
            groups = list(range(group, len(sizes)))
            for batch in opened.iter_batches(_PARQUET_BATCH, groups, columns, use_threads=False):
                if first >= len(batch):
                    first -= len(batch)
                    continue
                yield from batch.slice(first).to_pylist()
                first = 0

    def _open(self, file: str | Path) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if isinstance(file, str) and "://" in file:
                import fsspec

                return pq.ParquetFile(fsspec.open(file, "rb").open())
            # Read page by page: buffering a whole row group of images takes new memory for each group.
            return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{file}: cannot be read as a Parquet file ({str(error).splitlines()[0]})"
            ) from None


# ---- Objects ----


def _of_datasets(dataset: Any, name: str, split: str | None, revision: str | None) -> Checks:
    import datasets
    import pyarrow as pa

    if isinstance(dataset, (datasets.DatasetDict, datasets.IterableDatasetDict)):
        dataset = dataset[_one_split(name, [str(key) for key in dataset], split)]
    if dataset.features is not None:
        _require_names(dataset.features, name)
        for side in IMAGE_COLUMNS:
            kind = dataset.features[side]
            try:  # paths and bytes can be cast to images, too
                dataset = dataset.cast_column(side, datasets.List(datasets.Image(decode=False)))
            except (TypeError, ValueError, pa.ArrowException):
                raise InputError(f"{name}: column {side!r} must be a list of images, not {kind}") from None
        _require_columns(dataset.features.arrow_schema, name)
    names = [column for column in COLUMNS if column in (dataset.column_names or COLUMNS)]
    dataset = dataset.select_columns(names) if dataset.column_names is not None else dataset
    if isinstance(dataset, datasets.IterableDataset):
        return _of_stream(dataset, name, revision)

    def read(start: int, stop: int) -> list[Row]:
        columns = dataset[start:stop]
        return [{key: columns[key][i] for key in names} for i in range(stop - start)]

    texts = dataset.select_columns([key for key in CheckTexts._fields if key in names])
    check_texts = [_texts_of(row) for row in texts]
    return Checks(name, revision or _content_hash(len(check_texts), read), check_texts, read)


def _of_stream(dataset: Any, name: str, revision: str | None) -> Checks:
    """A stream is read twice: once for its texts, once for its images."""
    texts_only = dataset
    if dataset.column_names is not None:
        texts_only = dataset.select_columns(
            [key for key in CheckTexts._fields if key in dataset.column_names]
        )
    check_texts = []
    for number, row in enumerate(texts_only, 1):
        if dataset.column_names is None:
            _validate(row, f"{name}, row {number}")
        check_texts.append(_texts_of(row))
    at = 0
    rows: Iterator[Row] = iter(dataset)

    def read(start: int, stop: int) -> list[Row]:
        nonlocal at, rows
        if start != at:
            rows = iter(dataset.skip(start))
        at = stop
        return [dict(next(rows)) for _ in range(stop - start)]

    pin = revision or f"texts:{stable_hash(*check_texts)}"
    return Checks(name, pin, check_texts, read, pinned=revision is not None)


def _of_rows(rows: Sequence[Mapping[str, Any]], revision: str | None) -> Checks:
    for number, row in enumerate(rows, 1):
        _validate(row, f"row {number}")

    def read(start: int, stop: int) -> list[Row]:
        return [dict(row) for row in rows[start:stop]]

    check_texts = [_texts_of(row) for row in rows]
    return Checks("rows", revision or _content_hash(len(rows), read), check_texts, read)


def _content_hash(total: int, read: Reader) -> str:
    """A hash of ids, texts and image files of all rows."""
    content = hashlib.sha256()
    for start in range(0, total, _BATCH):
        for row in read(start, min(start + _BATCH, total)):
            content.update(stable_hash(_texts_of(row), length=64).encode())
            for side in IMAGE_COLUMNS:
                for image in row[side] or ():
                    try:
                        content.update(hashlib.sha256(to_bytes(image)).digest())
                    except InputError as error:
                        content.update(str(error).encode())
                content.update(b"\n")
    return f"sha256:{content.hexdigest()[:16]}"


def _texts_of(row: Mapping[str, Any]) -> CheckTexts:
    return CheckTexts(row["check_id"], row.get("subset"), row["prompt"], row["contrast_prompt"])


# ---- Validation ----


def _require_columns(schema: pa.Schema, where: str) -> list[str]:
    """Check the names and types of a table's columns, and return the names."""
    import pyarrow as pa

    _require_names(schema.names, where)
    for name in (name for name in COLUMNS if name in schema.names):
        kind = schema.field(name).type
        if name in IMAGE_COLUMNS:
            inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
            if inner is None or not pa.types.is_struct(inner):
                raise InputError(
                    f"{where}: column {name!r} must be a list of images (bytes, path), not {kind}"
                )
            continue
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise InputError(f"{where}: column {name!r} must be string, not {kind}")
    return list(schema.names)


def _require_names(names: Iterable[str], where: str) -> None:
    present = set(names)
    if missing := [name for name in REQUIRED if name not in present]:
        raise InputError(f"{where}: missing column {', '.join(missing)}; checks need {', '.join(REQUIRED)}")


def _validate(row: Mapping[str, Any], where: str) -> None:
    """Check the types of a row that no schema describes."""
    _require_names(row, where)
    try:
        _CheckRow.model_validate(dict(row))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise InputError(f"{where}, column {name!r}: {first['msg']}, not {row[name]!r:.80}") from None
