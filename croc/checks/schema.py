"""The one definition of a row: a contrastive check, the dataset it stands in, and the table of its scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from croc.errors import InputError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

Protocol = Literal["syn", "hum"]
PROTOCOLS: tuple[str, ...] = ("syn", "hum")
SUBSETS: tuple[str, ...] = ("property_variation", "entity_variation", "entity_placement")
CATEGORIES: tuple[str, ...] = (
    "action",
    "body_parts",
    "counting",
    "negation",
    "shapes",
    "size_relation",
    "spatial_relation",
    "things_parts",
)
DIRECTIONS: tuple[str, ...] = ("forward_text", "inverse_text", "forward_image", "inverse_image")
SIDES: tuple[str, str] = ("original", "contrast")


@dataclass(frozen=True)
class ContrastCheck:
    """Two prompts that differ in one property, with the images that were made for each.

    ``images`` and ``contrast_images`` hold one entry an image, in the form that ``datasets.Image()`` takes
    (a PIL image, or ``{"bytes": …, "path": None}``). ``None`` stands for what does not apply: a hum check has
    no ``subset``, a check of somebody else's benchmark may have no ``contrast_prompt``.
    """

    check_id: str
    concept_id: str
    prompt: str
    contrast_prompt: str | None
    images: Sequence[Any]
    contrast_images: Sequence[Any]
    subset: str | None = None
    category: str | None = None
    property: str | None = None
    property_path: str | None = None
    topic: str | None = None
    entity: str | None = None
    contrast_topic: str | None = None
    seeds: Sequence[int] = ()
    contrast_seeds: Sequence[int] = ()
    generation: int | None = None
    text_model: str | None = None
    image_model: str | None = None
    language: str | None = "en"
    license: str | None = None
    votes: Sequence[Mapping[str, Any]] | None = None
    agreement: float | None = None

    def row(self) -> dict[str, Any]:
        """The check as a row of a dataset with the features of :func:`check_features`."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def check_features() -> datasets.Features:
    """The columns of a dataset of checks, as ``datasets.Features``; the order is that of the files."""
    from datasets import Features, Image, List, Value

    text, number = Value("string"), Value("int64")
    vote = {"annotator": text, "item": text, "value": text, "reason": text, "seconds": Value("float64")}
    return Features(
        {
            "check_id": text,
            "concept_id": text,
            "prompt": text,
            "contrast_prompt": text,
            "images": List(Image()),
            "contrast_images": List(Image()),
            "subset": text,
            "category": text,
            "property": text,
            "property_path": text,
            "topic": text,
            "entity": text,
            "contrast_topic": text,
            "seeds": List(number),
            "contrast_seeds": List(number),
            "generation": number,
            "text_model": text,
            "image_model": text,
            "language": text,
            "license": text,
            "votes": List(vote),
            "agreement": Value("float64"),
        }
    )


def stable_hash(*parts: Any, length: int = 16) -> str:
    """Hex digest of the parts' JSON, the same on every machine and in every run.

    Args:
        parts: JSON values; their order counts.
        length: number of hex digits, up to 64.
    """
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def check_id(
    concept_id: str,
    prompt: str,
    contrast_prompt: str | None,
    text_model: str | None,
    image_model: str | None,
    generation: int | None,
    style: str | None = None,
) -> str:
    """The id of a check: a hash of all that defines it, so that equal checks have equal ids everywhere.

    Two styles can come to the same words; they are two checks all the same. Without a style the id is that of
    what has none.
    """
    generated = (generation,) if style is None else (generation, style)
    return stable_hash(
        "check", concept_id, prompt, contrast_prompt, text_model, image_model, *generated, length=20
    )


# ---- The score table: the only contract between running a metric and judging it ----

SCORE_KEYS: tuple[str, ...] = ("check_id", "image_side", "image_index")
SCORE_VALUES: tuple[str, str] = ("prompt_score", "contrast_score")
GROUP_COLUMNS: tuple[str, ...] = (
    "subset",
    "category",
    "property",
    "property_path",
    "topic",
    "entity",
    "text_model",
    "image_model",
)
# Which guide the prompts were written by: a column of generated checks that others need not have.
STYLE = "style"
# The reason in `error` where a benchmark gives no contrast prompt: not a failure, and nothing to cover.
NO_CONTRAST_PROMPT = "no contrast prompt"
SCORE_COLUMNS: tuple[str, ...] = (
    "check_id",
    "concept_id",
    *GROUP_COLUMNS,
    "image_side",
    "image_index",
    *SCORE_VALUES,
    "error",
)


def score_schema() -> pa.Schema:
    """The Arrow schema of a score table: a row per (check, image), in the order of ``SCORE_COLUMNS``."""
    import pyarrow as pa

    types = {"image_index": pa.int32(), "prompt_score": pa.float64(), "contrast_score": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in SCORE_COLUMNS])


@dataclass(frozen=True)
class ScoreMetadata:
    """What a score table says about how it came to be; stored as text in the Parquet file's own metadata.

    Attributes:
        scorer: name of the metric, shown in every report.
        protocol: ``syn`` or ``hum``: how the checks were labelled, so how they are judged.
        scorer_revision: commit of the model repository, or None when it was not pinned.
        template: the question or instruction put around a prompt, if there is one.
        dtype: number format inside the model.
        image_processor: ``pil`` or ``torchvision``; it changes pixels.
        dataset: Hub id or folder name of the checks.
        dataset_revision: commit, or a hash of the content.
        blind: True when the scorer cannot see the image, the text or either: a baseline.
        library_versions: version by distribution name.
        extra: whatever else the scorer's ``fields()`` say.
    """

    scorer: str
    protocol: str | None = None
    scorer_revision: str | None = None
    template: str | None = None
    dtype: str | None = None
    image_processor: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    blind: bool = False
    library_versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    def to_parquet(self) -> dict[str, str]:
        """Flat text pairs for ``pyarrow.Schema.with_metadata``; what is unknown is left out."""
        flat: dict[str, str] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or value == {} or value is False:
                continue
            flat[item.name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return flat

    @classmethod
    def from_parquet(cls, flat: Mapping[str, str], *, default_name: str, source: str) -> ScoreMetadata:
        """Read the pairs back; a table that another tool wrote may have none of them.

        Raises:
            InputError: a pair that should be JSON is not, or the protocol is not a known one.
        """
        known: dict[str, Any] = {}
        for item in fields(cls):
            if item.name not in flat:
                continue
            value: Any = flat[item.name]
            if item.name in ("blind", "library_versions", "extra"):
                try:
                    value = json.loads(value)
                except ValueError:
                    raise InputError(
                        f"{source}: file metadata {item.name!r} is not JSON: {value[:80]!r}"
                    ) from None
                if not isinstance(value, bool if item.name == "blind" else dict):
                    needed = "true or false" if item.name == "blind" else "an object"
                    raise InputError(
                        f"{source}: file metadata {item.name!r} is not {needed}: {flat[item.name]!r}"
                    )
            known[item.name] = value
        if known.get("protocol") not in (None, *PROTOCOLS):
            said = known["protocol"]
            raise InputError(
                f"{source}: file metadata says protocol {said!r}; known are {', '.join(PROTOCOLS)}"
            )
        known.setdefault("scorer", default_name)
        return cls(**known)


def library_versions(*names: str) -> dict[str, str]:
    """Installed version of each distribution that is there."""
    versions = {}
    for name in names:
        try:
            versions[name] = installed.version(name)
        except installed.PackageNotFoundError:
            continue
    return versions


def write_scores(rows: pa.Table, metadata: ScoreMetadata, path: Path) -> None:
    """Write one scorer's table, atomically.

    Args:
        rows: table with at least the columns of ``SCORE_COLUMNS``; others are kept (``--by`` reads them).
        metadata: what the file says about itself.
        path: the Parquet file.

    Raises:
        InputError: a column is missing.
    """
    import pyarrow.parquet as pq

    from croc.storage.files import atomic

    missing = [name for name in SCORE_COLUMNS if name not in rows.column_names]
    if missing:
        raise InputError(f"{path}: a score table needs the columns {', '.join(missing)}")
    schema = score_schema()
    ordered = [*SCORE_COLUMNS, *(name for name in rows.column_names if name not in SCORE_COLUMNS)]
    rows = rows.select(ordered)
    columns = [
        rows.column(name).cast(schema.field(name).type) if name in schema.names else rows.column(name)
        for name in ordered
    ]
    table = rows.from_arrays(columns, names=ordered).replace_schema_metadata(metadata.to_parquet())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        pq.write_table(table, temporary)
