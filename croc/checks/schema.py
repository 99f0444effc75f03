"""What a check is: its record, its columns, its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from croc.checks.columns import Column, columns_of, features, pick

if TYPE_CHECKING:
    import datasets

Protocol = Literal["syn", "hum"]
Direction = Literal["forward_text", "inverse_text", "forward_image", "inverse_image"]
PROTOCOLS: tuple[str, ...] = ("syn", "hum", "graded")
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
DIRECTIONS: tuple[Direction, ...] = ("forward_text", "inverse_text", "forward_image", "inverse_image")
SIDES: tuple[str, str] = ("original", "contrast")
IMAGE_COLUMNS: tuple[str, str] = ("images", "contrast_images")
"""The column of each side's images."""


@dataclass(frozen=True)
class Vote:
    """One person's answer about one image of a check."""

    annotator: Annotated[str, "pseudonym"]
    item: Annotated[str, "what was shown"]
    value: Annotated[str, "the answer"]
    reason: Annotated[str | None, "free text of the annotator, or null"] = None
    seconds: Annotated[float | None, "time from showing to answering, or null"] = None


@dataclass(frozen=True)
class ContrastCheck:
    """Two prompts that differ in one property, with the images that were made for each.

    The annotations declare the columns of a dataset of checks, in the order of its files. ``images`` and
    ``contrast_images`` hold one entry per image, in a form that ``datasets.Image()`` takes (a PIL image, or
    ``{"bytes": …, "path": None}``). None stands for what does not apply or is unknown.
    """

    check_id: Annotated[str, "id of the check: a hash of all that defines it"]
    concept_id: Annotated[str | None, "the concept it belongs to: the unit of resampling and of splitting"]
    prompt: Annotated[str | None, "the original prompt"]
    contrast_prompt: Annotated[str | None, "the prompt that differs in one property, or null"]
    images: Annotated[Sequence[Any], "images made for the original prompt"]
    contrast_images: Annotated[Sequence[Any], "images made for the contrast prompt"]
    subset: Annotated[
        str | None, "syn: `property_variation`, `entity_variation`, `entity_placement`; graded: `error_graph`"
    ] = None
    category: Annotated[str | None, "category of the human benchmark, or null"] = None
    property: Annotated[str | None, "the contrasted property"] = None
    property_path: Annotated[str | None, "place of the property in the taxonomy"] = None
    topic: Annotated[str | None, "topic of the scene"] = None
    entity: Annotated[str | None, "entity that the check is about"] = None
    contrast_topic: Annotated[str | None, "`entity_placement`: topic of the contrast prompt"] = None
    seeds: Annotated[Sequence[int], "seed of each original image"] = ()
    contrast_seeds: Annotated[Sequence[int], "seed of each contrast image"] = ()
    generation: Annotated[int | None, "number of the check among those of its concept"] = None
    text_model: Annotated[str | None, "author of the prompts, as `repo@revision` or `exact@VERSION`"] = None
    image_model: Annotated[str | None, "image model, as `repo@revision` or `exact@VERSION`"] = None
    language: Annotated[str | None, "of the prompts, as an ISO 639 code"] = "en"
    license: Annotated[str | None, "licence of the images"] = None
    votes: Annotated[Sequence[Vote] | None, "hum: each vote of the annotators"] = None
    agreement: Annotated[float | None, "hum: share of the votes that agree with the decision"] = None

    def row(self) -> dict[str, Any]:
        """The check as a row of a dataset with the features of :func:`check_features`."""
        cells = {item.name: getattr(self, item.name) for item in fields(self)}
        return cells | {"votes": None if self.votes is None else [asdict(vote) for vote in self.votes]}


ERROR_GRAPH = "error_graph"
"""The subset of graded checks: a row is a node of an error graph (``concept_id``), whose images of one prompt
have the same errors (``property_path``). They have no contrast prompt."""


def join_errors(errors: Sequence[str]) -> str:
    """The errors of a node as one text, for ``property_path``: ``none``, or ``colour + count``."""
    return " + ".join(errors) or "none"


def split_errors(text: str) -> tuple[str, ...]:
    """The errors that :func:`join_errors` joined."""
    return () if text == "none" else tuple(text.split(" + "))


SPEC_COLUMNS: tuple[str, ...] = (
    "concept_id",
    "subset",
    "category",
    "property",
    "property_path",
    "topic",
    "entity",
    "contrast_topic",
)
"""The columns that describe what a check contrasts; they come from its spec."""

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
"""The columns that results can be broken down by; a score table has them, too."""

SHARED_COLUMNS: tuple[str, ...] = ("check_id", "concept_id", *GROUP_COLUMNS)
"""The columns of a check that a score table repeats."""

CHECK_COLUMNS: tuple[Column, ...] = columns_of(ContrastCheck, {name: "image" for name in IMAGE_COLUMNS})

LANGUAGE = "language"
ENGLISH = "en"
"""The language of checks that name none."""

STYLE = "style"
EXTRA_COLUMNS: tuple[Column, ...] = (
    Column(STYLE, "string", "guide that the prompts were written by"),
    Column("images_valid", "bool", "whether each original image shows its prompt", many=True),
    Column("contrast_images_valid", "bool", "whether each contrast image shows its prompt", many=True),
    Column("images_flags", "string", "flags of each original image, separated by commas", many=True),
    Column("images_match", "float64", "score of each original image with its prompt", many=True),
    Column("contrast_images_flags", "string", "flags of each contrast image, separated by commas", many=True),
    Column("contrast_images_match", "float64", "score of each contrast image with its prompt", many=True),
    Column("image_settings", "string", "settings of the image model, as JSON"),
)
"""Columns that some datasets of generated checks have besides."""

PAIR_COLUMNS: tuple[Column, ...] = (
    Column("pair_id", "string", "hash of check, prompt and image"),
    Column("image", "image", "the image"),
    Column("prompt", "string", "the prompt"),
    Column("answer", "string", "`Yes` or `No`"),
    Column("label", "bool", "whether the image shows the prompt"),
    Column("image_side", "string", "`original` or `contrast`: the prompt that the image was made for"),
    Column("image_index", "int64", "number of the image on its side, from 0"),
    Column("valid", "bool", "whether the image shows the prompt that it was made for, where that is known"),
    *pick(CHECK_COLUMNS, (*SHARED_COLUMNS, "language", "license")),
)
"""The columns of a dataset of yes/no questions for training."""


def check_features() -> datasets.Features:
    """The columns of a dataset of checks, as ``datasets.Features``."""
    return features(CHECK_COLUMNS)


def stable_hash(*parts: Any, length: int = 16) -> str:
    """Hex digest of the JSON of the parts, the same on every machine and in every run.

    Args:
        parts: JSON values; their order matters.
        length: number of hex digits, up to 64.
    """
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Text from JSON that was cut can contain half of a surrogate pair.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


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

    Two styles can give the same prompts; these are still two checks.
    """
    generated = (generation,) if style is None else (generation, style)
    return stable_hash(
        "check", concept_id, prompt, contrast_prompt, text_model, image_model, *generated, length=20
    )


def translated_id(id_of_check: str, language: str | None) -> str:
    """The id of a check's translation: that of the English check, which it is paired with, and a suffix."""
    return id_of_check if language in (None, ENGLISH) else f"{id_of_check}-{language}"


def untranslated_id(id_of_check: str, language: str | None) -> str:
    """The id of the English check that a check is a translation of; its own id where it is none."""
    return id_of_check if language in (None, ENGLISH) else id_of_check.removesuffix(f"-{language}")
