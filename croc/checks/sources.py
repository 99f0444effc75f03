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

from croc.checks.decoding import to_bytes
from croc.checks.local_datasets import local_cache, named_splits, original_file
from croc.checks.manifest import MANIFEST, DatasetManifest, read_dataset_manifest, require_files
from croc.checks.names import name_of, open_benchmark
from croc.checks.rows import COLUMNS, IDS, Folders, Row, check_row, require_names, text_cell
from croc.checks.schema import ERROR_GRAPH, IMAGE_COLUMNS, SHARED_COLUMNS, ContrastCheck, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import read_json, sha256_of
from croc.storage.hub_access import can_be_repository
from croc.storage.text_files import require_kind, require_regular

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 16
# Of Parquet files: few, because buffers of several megabytes are returned to the operating system each time.
_PARQUET_BATCH = 4
_OUTLINE_BATCH = 10_000
# Formats of ``datasets`` that only change the class of the values; others are functions of the caller.
_FORMATS = ("numpy", "torch", "tensorflow", "jax", "pandas", "polars", "arrow")

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
        outline: the rows of :meth:`outlines`, where they can be read without the images.
    """

    name: str
    revision: str
    texts: list[CheckTexts]
    read: Reader
    seams: Sequence[int] = ()
    pinned: bool = True
    config: str | None = None
    split: str | None = None
    outline: Callable[[], Iterator[Row]] | None = None

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
        """``syn`` when the checks have a subset, ``hum`` when none has, ``graded`` for error graphs.

        Raises:
            InputError: some have one and some have none, or only some are of error graphs.
        """
        graded = sum(texts.subset == ERROR_GRAPH for texts in self.texts)
        if 0 < graded < len(self.texts):
            raise InputError(
                f"{self.name}: {graded} of {len(self.texts)} checks are graded (subset {ERROR_GRAPH}); score "
                "them separately"
            )
        if graded:
            return "graded"
        with_subset = sum(texts.subset is not None for texts in self.texts)
        if 0 < with_subset < len(self.texts):
            raise InputError(
                f"{self.name}: {with_subset} of {len(self.texts)} checks have a subset, so the protocol is "
                "ambiguous; choose syn or hum"
            )
        return "syn" if with_subset else "hum"

    def outlines(self) -> Iterator[Row]:
        """What score tables repeat of each check, in order.

        Yields:
            ``SHARED_COLUMNS``, and in ``images`` and ``contrast_images`` the number of images.
        """
        if self.outline is not None:
            yield from self.outline()
            return
        for start in range(0, len(self.texts), _BATCH):
            for row in self.read(start, min(start + _BATCH, len(self.texts))):
                numbers = {side: len(row[side] or ()) for side in IMAGE_COLUMNS}
                yield {name: row.get(name) for name in SHARED_COLUMNS} | numbers

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

        def outline() -> Iterator[Row]:
            every = list(self.outlines())
            yield from (every[i] for i in rows)

        return replace(
            self,
            revision=f"{self.revision}[{len(rows)} of {len(self.texts)}]",
            texts=[self.texts[i] for i in rows],
            read=read,
            seams=(),
            # Without one, only the rows that were selected are read.
            outline=outline if self.outline is not None else None,
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
    verify: bool = False,
) -> Checks:
    """Open a dataset of checks.

    The files of a folder with a manifest are compared with it: sizes and quick checksums.

    Args:
        dataset: a folder (built here, saved by ``datasets``, or with Parquet files), a Parquet file, a Hub
            id, a ``Dataset``, ``IterableDataset`` or dictionary of splits, a list of rows, or opened checks.
        config: configuration, of a folder or Hub id that has several.
        split: which split; optional where there is only one, or one called ``test``.
        revision: tag or commit of a Hub id; for objects, a name of their content.
        streaming: read a Hub dataset over the network instead of downloading it first.
        max_checks: maximum number of checks, evenly spaced; of an ``IterableDataset`` the first ones.
        verify: compare all bytes of a folder with its manifest.

    Raises:
        InputError: it is not a dataset of checks, or its files are not those of its manifest.
    """
    if verify:
        _verify(dataset)
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
        made = runner.read_manifest(path)
        runner.require_parts(made)
        return _of_parquet(made.files(), path.resolve().name, f"manifest:{made.sha256[:16]}", (path,))
    if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()):
        import datasets

        return _of_datasets(datasets.load_from_disk(name), path.resolve().name, split, revision, (path,))
    if path.is_file() and path.suffix == ".parquet":
        return _of_parquet([path], path.name, f"sha256:{sha256_of(path)[:16]}", (path.parent,))
    if path.is_file():
        raise InputError(f"{name}: expected a Parquet file")
    if path.exists() and not path.is_dir():
        raise InputError(f"{name}: not a regular file; expected a folder or a Parquet file")
    if not path.exists() and not can_be_repository(name):
        raise InputError(f"{name}: neither an existing folder nor a Hub id (ORGANISATION/NAME)")
    return _of_builder(name, path if path.is_dir() else None, config, split, revision, stream)


def _of_builder(
    name: str, folder: Path | None, config: str | None, split: str | None, revision: str | None, stream: bool
) -> Checks:
    """A folder or Hub id as ``datasets`` understands it, with its README and configurations."""
    try:
        builder, folder = open_benchmark(name, folder, config, revision)
        chosen = one_split(name, named_splits(builder), split)
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
        files = [original_file(file, folder) for file in listed]
        return _of_parquet(files, name_of(folder), _revision_of(folder, files), (folder,))
    if stream and parquet:
        return _of_parquet(listed, name, pin, ())
    if stream:
        return _of_datasets(builder.as_streaming_dataset(split=chosen), name, None, pin)
    builder.download_and_prepare()
    folders = (*((folder,) if folder else ()), *_caches())
    return _of_datasets(builder.as_dataset(split=chosen), name, None, None if folder else pin, folders)


def one_split(name: str, splits: Sequence[str], split: str | None) -> str:
    """The split that is wanted: the named one, the only one, or ``test``."""
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None and "test" in splits:
        return "test"
    if split is None:
        raise InputError(f"{name} has the splits {', '.join(splits) or 'none'}; choose one")
    if splits and split not in splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(splits)}")
    return split


def _caches() -> tuple[Path, ...]:
    """Where ``datasets`` puts files that it has downloaded or unpacked."""
    import datasets
    from huggingface_hub import constants

    temporary = local_cache()
    return (
        *((Path(temporary),) if temporary else ()),
        Path(datasets.config.HF_DATASETS_CACHE),
        Path(datasets.config.EXTRACTED_DATASETS_PATH),
        Path(constants.HF_HUB_CACHE),
    )


def _revision_of(folder: Path, files: Sequence[Path]) -> str:
    """The manifest of a folder whose files are those of the manifest; without a manifest a hash of the files.

    Raises:
        InputError: the files are not those of the manifest.
    """
    stored = read_json(folder / MANIFEST)
    if not isinstance(stored, dict) or "sha256" not in stored:  # not one of ours
        return _files_hash(files)
    manifest = require_kind(stored, DatasetManifest, str(folder / MANIFEST))
    require_files(folder, manifest, files)
    return f"manifest:{manifest['sha256'][:16]}"


def _verify(dataset: Any) -> None:
    """Compare all bytes of a folder with its manifest."""
    folder = Path(dataset) if isinstance(dataset, (str, Path)) else None
    if folder is not None and (folder / "plan.json").exists():
        runner.require_parts(runner.read_manifest(folder), whole=True)
    elif folder is not None and (folder / MANIFEST).is_file():
        manifest = read_dataset_manifest(folder)
        require_files(folder, manifest, sorted((folder / "data").glob("*.parquet")), whole=True)
    else:
        raise InputError(f"{dataset!r:.100} has no manifest to verify it with; give a folder that was built")


def _files_hash(files: Sequence[Path]) -> str:
    return "sha256:" + stable_hash(*(sha256_of(file) for file in files))


# ---- Parquet, read row group by row group ----


def _of_parquet(files: Sequence[str | Path], name: str, revision: str, folders: Folders) -> Checks:
    table = _ParquetRows(files, folders)
    texts, seams = [], [0]
    for file in files:
        found = table.texts(file)
        texts += found
        seams.append(seams[-1] + len(found))
    return Checks(name, revision, texts, table.reader(seams), seams, outline=table.outlines)


class _ParquetRows:
    """Rows of several Parquet files, local or remote; consecutive reads read nothing twice."""

    def __init__(self, files: Sequence[str | Path], folders: Folders) -> None:
        self.files = files
        self._folders = folders
        self._at = (-1, -1)
        self._rows: Iterator[Row] = iter(())

    def texts(self, file: str | Path) -> list[CheckTexts]:
        with self._open(file) as opened:
            names = _require_columns(opened.schema_arrow, str(file))
            table = opened.read(columns=[name for name in CheckTexts._fields if name in names])
        return [_texts_of(row, f"{file}, row {number}") for number, row in enumerate(table.to_pylist(), 1)]

    def outlines(self) -> Iterator[Row]:
        """The rows without images, whose numbers follow from the lists of their paths."""
        import pyarrow.compute as pc

        for file in self.files:
            with self._open(file) as opened:
                names = [name for name in SHARED_COLUMNS if name in opened.schema_arrow.names]
                leaves = [opened.schema.column(i).path for i in range(len(opened.schema))]
                paths = [
                    next(
                        (leaf for leaf in leaves if leaf.startswith(f"{side}.") and leaf.endswith(".path")),
                        side,
                    )
                    for side in IMAGE_COLUMNS
                ]
                for batch in opened.iter_batches(_OUTLINE_BATCH, columns=[*names, *paths]):
                    rows = batch.select(names).to_pylist()
                    lengths = [
                        pc.fill_null(pc.list_value_length(batch.column(side)), 0).to_pylist()
                        for side in IMAGE_COLUMNS
                    ]
                    for row, *numbers in zip(rows, *lengths, strict=True):
                        cells = {key: text_cell(value, str(file), key) for key, value in row.items()}
                        blank = dict.fromkeys(SHARED_COLUMNS)
                        yield blank | cells | dict(zip(IMAGE_COLUMNS, numbers, strict=True))

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
                for row in batch.slice(first).to_pylist():
                    yield check_row(row, str(file), self._folders)
                first = 0

    def _open(self, file: str | Path) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if isinstance(file, str) and "://" in file:
                import fsspec

                return pq.ParquetFile(fsspec.open(file, "rb").open())
            require_regular(Path(file))
            # Read page by page: buffering a whole row group of images takes new memory for each group.
            return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{file}: cannot be read as a Parquet file ({str(error).splitlines()[0]})"
            ) from None


# ---- Objects ----


def _of_datasets(
    dataset: Any, name: str, split: str | None, revision: str | None, folders: Folders = None
) -> Checks:
    import datasets
    import pyarrow as pa

    if isinstance(dataset, (datasets.DatasetDict, datasets.IterableDatasetDict)):
        dataset = dataset[one_split(name, [str(key) for key in dataset], split)]
    dataset = _unformatted(dataset)
    labels = {}
    if dataset.features is not None:
        require_names(dataset.features, name)
        for side in IMAGE_COLUMNS:
            kind = dataset.features[side]
            image = datasets.Image(decode=False)
            try:  # paths and bytes can be cast to images, too
                many = isinstance(kind, (datasets.List, datasets.LargeList, list))
                dataset = dataset.cast_column(side, datasets.List(image) if many else image)
            except (TypeError, ValueError, pa.ArrowException):
                raise InputError(f"{name}: column {side!r} must be a list of images, not {kind}") from None
        kinds = dataset.features.items()
        labels = {key: kind for key, kind in kinds if isinstance(kind, datasets.ClassLabel)}
        schema = dataset.features.arrow_schema
        _require_columns(
            pa.schema([field for field in schema if field.name not in labels]), name, list(kinds)
        )
    names = [column for column in COLUMNS if column in (dataset.column_names or COLUMNS)]
    dataset = dataset.select_columns(names) if dataset.column_names is not None else dataset

    def row_of(raw: Mapping[str, Any]) -> Row:
        if named := {key: kind.int2str(raw[key]) for key, kind in labels.items() if raw.get(key) is not None}:
            raw = {**raw, **named}
        return check_row(raw, name, folders)

    if isinstance(dataset, datasets.IterableDataset):
        return _of_stream(dataset, name, revision, row_of)

    def read(start: int, stop: int) -> list[Row]:
        columns = dataset[start:stop]
        return [row_of({key: columns[key][i] for key in names}) for i in range(stop - start)]

    texts = dataset.select_columns([key for key in CheckTexts._fields if key in names])
    check_texts = [_texts_of(row, f"{name}, row {number}") for number, row in enumerate(texts, 1)]
    return Checks(name, revision or _content_hash(len(check_texts), read), check_texts, read)


def _unformatted(dataset: Any) -> Any:
    """The dataset with values of Python; a function that the caller set as its format stays."""
    formatting = getattr(dataset, "_formatting", None)  # of a stream
    kind = dataset.format["type"] if hasattr(dataset, "format") else getattr(formatting, "format_type", None)
    return dataset.with_format(None) if kind in _FORMATS else dataset


def _of_stream(
    dataset: Any, name: str, revision: str | None, row_of: Callable[[Mapping[str, Any]], Row]
) -> Checks:
    """A stream is read twice: once for its texts, once for its images."""
    texts_only = dataset
    if dataset.column_names is not None:
        texts_only = dataset.select_columns(
            [key for key in CheckTexts._fields if key in dataset.column_names]
        )
    check_texts = []
    for number, row in enumerate(texts_only, 1):
        where = f"{name}, row {number}"
        if dataset.column_names is None:
            require_names(row, where)
            check_row(row, where)
        check_texts.append(_texts_of(row, where))
    at = 0
    rows: Iterator[Any] = iter(dataset)

    def read(start: int, stop: int) -> list[Row]:
        nonlocal at, rows
        if start != at:
            rows = iter(dataset.skip(start))
        at = stop
        return [row_of(next(rows)) for _ in range(stop - start)]

    pin = revision or f"texts:{stable_hash(*check_texts)}"
    return Checks(name, pin, check_texts, read, pinned=revision is not None)


def _of_rows(given: Sequence[Mapping[str, Any]], revision: str | None) -> Checks:
    rows = []
    for number, raw in enumerate(given, 1):
        require_names(raw, f"row {number}")
        rows.append(check_row(raw, f"row {number}"))

    def read(start: int, stop: int) -> list[Row]:
        return [dict(row) for row in rows[start:stop]]

    check_texts = [_texts_of(row, "rows") for row in rows]
    return Checks("rows", revision or _content_hash(len(rows), read), check_texts, read)


def _content_hash(total: int, read: Reader) -> str:
    """A hash of ids, texts and image files of all rows."""
    content = hashlib.sha256()
    for start in range(0, total, _BATCH):
        for row in read(start, min(start + _BATCH, total)):
            content.update(stable_hash(_texts_of(row, "rows"), length=64).encode())
            for side in IMAGE_COLUMNS:
                for image in row[side] or ():
                    try:
                        content.update(hashlib.sha256(to_bytes(image)).digest())
                    except InputError as error:
                        content.update(str(error).encode())
                content.update(b"\n")
    return f"sha256:{content.hexdigest()[:16]}"


def _texts_of(raw: Mapping[str, Any], where: str) -> CheckTexts:
    row = check_row({name: raw[name] for name in CheckTexts._fields if name in raw}, where)
    return CheckTexts(row["check_id"] or "", row.get("subset"), row["prompt"], row["contrast_prompt"])


def _require_columns(schema: pa.Schema, where: str, kinds: Any = ()) -> list[str]:
    """Check the names and types of a table's columns, and return the names."""
    import pyarrow as pa

    require_names([*schema.names, *dict(kinds)], where)
    for name in (name for name in COLUMNS if name in schema.names):
        kind = schema.field(name).type
        if name in IMAGE_COLUMNS:
            lists = (
                pa.types.is_list,
                pa.types.is_large_list,
                pa.types.is_list_view,
                pa.types.is_large_list_view,
            )
            inner = kind.value_type if any(is_kind(kind) for is_kind in lists) else kind
            if not pa.types.is_struct(inner) and not pa.types.is_null(inner):
                raise InputError(
                    f"{where}: column {name!r} must be a list of images (bytes, path), not {kind}"
                )
            continue
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
        if (name in IDS and pa.types.is_integer(kind)) or any(is_kind(kind) for is_kind in texts):
            continue
        words = "string or integer" if name in IDS else "string"
        raise InputError(f"{where}: column {name!r} must be {words}, not {kind}")
    return list(schema.names)
