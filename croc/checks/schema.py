"""What a check is: its columns, its record, its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import datasets

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
