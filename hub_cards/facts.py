"""What a finished folder of data holds, read from its files: the one source of cards and metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

from typing_extensions import TypedDict

from croc.checks.columns import Column, columns_of_features
from croc.checks.manifest import read_dataset_manifest
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, PAIR_COLUMNS
from croc.errors import InputError
from croc.storage.files import read_json
from croc.storage.parquet import require_texts

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "validation", "test")
DEFAULT_VIEW = "all"
SAMPLE = "mini"
PROPERTY_VIEW = "property-"
LABEL_NOISE = "label_noise.json"
"""Results of annotators on a sample of the images, in a separate file because they come after the build."""

_PLACES = ("run", "category", "property", "subset", "world")
_COUNTED = (
    "category",
    "subset",
    "property",
    "topic",
    "entity",
    "text_model",
    "image_model",
    "language",
    "license",
)


class _StoredReport(TypedDict):
    """What a card shows of ``build.json``."""

    lines: NotRequired[list[str]]
    noisy: NotRequired[int]
    splits: NotRequired[dict[str, int]]


class _StoredAudit(TypedDict):
    """What a card shows of ``audit.json``."""

    lines: NotRequired[list[str]]


class _StoredPropertyNoise(TypedDict):
    property: str | None
    checks: int
    images: int
    wrong: int
    share: float | None
    low: float | None
    high: float | None


class _StoredLabelNoise(TypedDict):
    """What a card shows of ``label_noise.json``."""

    lines: list[str]
    rule: str
    level: float
    properties: list[_StoredPropertyNoise]


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a folder, and what its name says that it holds."""

    path: str
    split: str
    run: str | None
    category: str | None
    property: str | None
    subset: str | None
    world: str | None
    rows: int
    bytes: int
    images: int
    sha256: str


@dataclass(frozen=True)
class View:
    """A configuration: a name for some of the files.

    Attributes:
        name: what ``load_dataset`` is given.
        files: glob pattern by split.
        rows, bytes: of those files, by split.
    """

    name: str
    files: dict[str, str]
    rows: dict[str, int]
    bytes: dict[str, int]


@dataclass(frozen=True)
class Facts:
    """What is in a folder.

    Attributes:
        folder: where it lies.
        kind: ``syn``, ``hum``, ``graded`` or ``train``.
        features: columns.
        files: the Parquet files of ``data/``.
        sample: those of ``mini/``, which are copies of some rows.
        views: the configurations, ``all`` first.
        splits: rows by split.
        counts: by column, how many rows have each value; the key ``""`` stands for rows without one.
        concepts: number of concepts.
        agreement: mean agreement of the annotators, None where there were none.
        recipe: what defines the build.
        report: what the build came to, as in ``build.json``.
        audit: the audit's verdict, None where there was none.
        label_noise: how many images do not show their prompt, None where people looked at none.
        canary: the line that marks the data.
    """

    folder: Path
    kind: str
    features: datasets.Features
    files: list[DataFile]
    sample: list[DataFile]
    views: list[View]
    splits: dict[str, int]
    counts: dict[str, Counter[str]]
    concepts: int
    agreement: float | None
    recipe: Mapping[str, Any]
    report: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    label_noise: Mapping[str, Any] | None
    canary: str

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as they are declared; one that is declared nowhere has an empty meaning."""
        known = PAIR_COLUMNS if self.kind == "train" else (*CHECK_COLUMNS, *EXTRA_COLUMNS)
        declared = {column.name: column for column in known}
        return tuple(
            replace(column, meaning=declared[column.name].meaning) if column.name in declared else column
            for column in columns_of_features(self.features)
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.splits.values())

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(file.images for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of the Parquet files."""
        return sum(file.bytes for file in self.files)

    @property
    def any_exact(self) -> bool:
        """Whether the exact world drew some of the images."""
        return any(name.startswith("exact@") for name in self.values("image_model"))

    @property
    def all_exact(self) -> bool:
        """Whether the exact world drew all of them, without noise: their labels are certain."""
        models = self.counts.get("image_model", Counter())
        return bool(models) and all(name.startswith("exact@") and "+noise" not in name for name in models)

    def values(self, column: str) -> dict[str, int]:
        """Number of rows by value of a column, the commonest first; rows without one are not in it."""
        found = self.counts.get(column, Counter())
        return {name: count for name, count in sorted(found.items(), key=lambda i: (-i[1], i[0])) if name}


def read_facts(folder: str | Path) -> Facts:
    """Read what a finished folder of data holds.

    Raises:
        InputError: it is not one, or one of its files cannot be read.
    """
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    manifest = read_dataset_manifest(folder)
    listed = {name: entry for name, entry in manifest["files"].items() if name.startswith("data/")}
    sample = [
        _file(name, entry, entry.get("rows", 0))
        for name, entry in sorted(manifest["files"].items())
        if name.startswith("mini/")
    ]
    if not listed:
        raise InputError(f"{folder}: its manifest lists no Parquet file")
    counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
    concepts: set[str] = set()
    agreed: list[float] = []
    files = []
    features = None
    for name, entry in sorted(listed.items()):
        try:
            with pq.ParquetFile(folder / name) as stored:
                schema = stored.schema_arrow
                features = features or datasets.Features.from_arrow_schema(schema)
                wanted = [each for each in (*_COUNTED, "concept_id", "agreement") if each in schema.names]
                require_texts(schema, [each for each in wanted if each != "agreement"], folder / name)
                kind = schema.field("agreement").type if "agreement" in wanted else pa.null()
                if not (pa.types.is_floating(kind) or pa.types.is_null(kind)):
                    raise InputError(f"{folder / name}: the column 'agreement' holds {kind}, not numbers")
                light = stored.read(columns=wanted, use_threads=False)
                files.append(_file(name, entry, stored.metadata.num_rows))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{folder / name}: cannot be read ({error})") from None
        for column in wanted:
            values = light[column].to_pylist()
            if column in counts:
                counts[column].update(value or "" for value in values)
            elif column == "concept_id":
                concepts.update(values)
            else:
                agreed += [value for value in values if value is not None]
    assert features is not None
    splits = {
        split: sum(file.rows for file in files if file.split == split)
        for split in SPLITS
        if any(file.split == split for file in files)
    }
    return Facts(
        folder=folder,
        kind=str(manifest["recipe"].get("kind", "syn")),
        features=features,
        files=files,
        sample=sample,
        views=views(files, sample),
        splits=splits,
        counts=counts,
        concepts=len(concepts),
        agreement=sum(agreed) / len(agreed) if agreed else None,
        recipe=manifest["recipe"],
        report=read_json(folder / "build.json", None, _StoredReport) or {},
        audit=read_json(folder / "audit.json", None, _StoredAudit),
        label_noise=read_json(folder / LABEL_NOISE, None, _StoredLabelNoise),
        canary=str(manifest.get("canary", "")),
    )


def _file(name: str, entry: Mapping[str, Any], rows: int) -> DataFile:
    words = Path(name).stem.rsplit("-", 3)[0].split("-")
    if len(words) not in (1, 1 + len(_PLACES)):
        raise InputError(
            f"{name}: the name does not say which split, category, property, subset and world it holds"
        )
    values: list[str | None] = [*words[1:]] or [None] * len(_PLACES)
    places = dict(zip(_PLACES, values, strict=True))
    return DataFile(
        path=name,
        split=words[0],
        rows=rows,
        bytes=entry["bytes"],
        images=entry.get("images", 0),
        sha256=entry["sha256"],
        **places,
    )


def views(files: list[DataFile], sample: list[DataFile]) -> list[View]:
    """The configurations: all, ``mini``, ``exact``, and one for each subset, category and property."""
    # Runs have four digits, so that a word is known by its place, whatever the others are called.
    wanted = {DEFAULT_VIEW: "data/{}-*", SAMPLE: "mini/{}-*", "exact": "data/{}-*-exact-?????-of-?????"}
    wanted |= {name: f"data/{{}}-????-*-*-{name}-*" for name in _named(files, "subset") if name != "other"}
    wanted |= {name: f"data/{{}}-????-{name}-*" for name in _named(files, "category")}
    if any(file.property != file.category for file in files):
        wanted |= {
            f"{PROPERTY_VIEW}{name}": f"data/{{}}-????-*-{name}-*-*-?????-of-?????"
            for name in _named(files, "property")
            if name != "_"
        }
    found = []
    for name, pattern in wanted.items():
        patterns = {split: f"{pattern.format(split)}.parquet" for split in SPLITS}
        mine = {
            split: [file for file in (*files, *sample) if fnmatch(file.path, patterns[split])]
            for split in SPLITS
        }
        mine = {split: some for split, some in mine.items() if some}
        if mine:
            found.append(
                View(
                    name,
                    {split: patterns[split] for split in mine},
                    {split: sum(file.rows for file in some) for split, some in mine.items()},
                    {split: sum(file.bytes for file in some) for split, some in mine.items()},
                )
            )
    return found


def _named(files: list[DataFile], column: str) -> list[str]:
    return sorted({getattr(file, column) for file in files} - {None})
