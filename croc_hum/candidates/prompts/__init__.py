"""Prompt pairs of CROChum: one YAML file a category, with the category's definition and how to judge by it.

A pair is two prompts that differ in one property and that no image shows both of. Those marked ``exact`` are
in the controlled English of the exact world, so that candidates of every category can be drawn offline. Which
prompt of a pair is the original is decided by the pair's hash: a scorer that sees only the text is right half
of the time in each direction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from croc.checks.schema import CATEGORIES, SPEC_COLUMNS, check_id, stable_hash
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run

OURS = Path(__file__).parent
AUTHOR = "human"
"""The text model of a check whose prompts people wrote."""

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class PromptPair(BaseModel):
    """Two prompts that differ in one property.

    Attributes:
        id: small letters, digits and ``_``; unique in its file. Category and id make the concept id.
        property: the property of the taxonomy in which the prompts differ.
        prompt, contrast_prompt: the two prompts.
        exact: both are in the exact world's controlled English, which proves that they exclude each other.
    """

    model_config = _STRICT
    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    property: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")
    prompt: str = Field(min_length=3, max_length=500)
    contrast_prompt: str = Field(min_length=3, max_length=500)
    exact: bool = False

    @model_validator(mode="after")
    def _they_differ(self) -> PromptPair:
        if self.prompt.lower() == self.contrast_prompt.lower():
            raise ValueError("the two prompts are the same")
        return self


class PromptSet(BaseModel):
    """The pairs of one category.

    Attributes:
        version: of this form, 1.
        category: one of the eight.
        definition: what the category is about, in one sentence.
        look_for: what an annotator looks at.
        shows, fails: when an image shows its prompt, and when it does not.
        pairs: the pairs.
    """

    model_config = _STRICT
    version: Literal[1]
    category: str
    definition: str = Field(min_length=10, max_length=300)
    look_for: str = Field(min_length=10, max_length=500)
    shows: tuple[str, ...] = Field(min_length=1)
    fails: tuple[str, ...] = Field(min_length=1)
    pairs: tuple[PromptPair, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _nothing_is_there_twice(self) -> PromptSet:
        if self.category not in CATEGORIES:
            raise ValueError(f"category {self.category!r} is none of {', '.join(CATEGORIES)}")
        seen: dict[Any, str] = {}
        for pair in self.pairs:
            texts = frozenset({pair.prompt.lower(), pair.contrast_prompt.lower()})
            for key in (pair.id, texts):
                if key in seen:
                    raise ValueError(f"pair {pair.id!r} repeats the id or the prompts of {seen[key]!r}")
                seen[key] = pair.id
        return self


def load(source: str | Path | None = None) -> dict[str, PromptSet]:
    """Read prompt pairs.

    Args:
        source: a YAML file, or a folder of them; None takes ours.

    Returns:
        The sets by category, in the order of ``CATEGORIES``.

    Raises:
        InputError: a file cannot be read or used, or two files are of one category.
    """
    where = Path(source) if source is not None else OURS
    files = sorted(where.glob("*.yaml")) if where.is_dir() else [where]
    if not files:
        raise InputError(f"{where}: no YAML file of prompt pairs is there")
    found: dict[str, PromptSet] = {}
    for file in files:
        read = _read(file)
        if read.category in found:
            raise InputError(f"{file}: category {read.category!r} has a file already")
        found[read.category] = read
    return {category: found[category] for category in CATEGORIES if category in found}


def _read(file: Path) -> PromptSet:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: cannot be read as YAML ({error})") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: not a file of prompt pairs (a mapping with the keys category, pairs, …)")
    try:
        return PromptSet.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{file}: {'; '.join(_problems(error, content))}") from None


def _problems(error: ValidationError, content: Mapping[str, Any]) -> list[str]:
    said = []
    for each in error.errors()[:5]:
        place = [str(step) for step in each["loc"]]
        if place[:1] == ["pairs"] and len(place) > 1:  # a number says less than the pair's own id
            try:
                place[1] = str(content["pairs"][each["loc"][1]]["id"])
            except (KeyError, IndexError, TypeError):
                place[1] = f"number {int(each['loc'][1]) + 1}"
        reason = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            reason = "there is no such key"
        said.append(f"{'.'.join(place)}: {reason}" if place else reason)
    return said


def concept_id(category: str, pair: PromptPair) -> str:
    """The concept of a pair: its category and id alone, so that a better wording keeps it."""
    return stable_hash("hum", category, pair.id)


def rows(
    sets: Mapping[str, PromptSet], image_model: str | None = None, *, exact_only: bool = False
) -> list[dict[str, Any]]:
    """The pairs as rows of staged prompts, the form in which images are made of them.

    Args:
        sets: as :func:`load` gives them.
        image_model: the model that will make the images, where it is known already.
        exact_only: only pairs in controlled English.

    Raises:
        InputError: no pair is left.
    """
    found = [
        _row(category, pair, image_model)
        for category, one in sets.items()
        for pair in one.pairs
        if pair.exact or not exact_only
    ]
    if not found:
        raise InputError("no prompt pair is left: none of them is in the exact world's controlled English")
    return found


def _row(category: str, pair: PromptPair, image_model: str | None) -> dict[str, Any]:
    concept = concept_id(category, pair)
    prompt, contrast_prompt = pair.prompt, pair.contrast_prompt
    if int(stable_hash("original", concept, length=1), 16) % 2:
        prompt, contrast_prompt = contrast_prompt, prompt
    return {
        "check_id": check_id(concept, prompt, contrast_prompt, AUTHOR, image_model, None),
        **dict.fromkeys(SPEC_COLUMNS),
        "concept_id": concept,
        "category": category,
        "property": pair.property,
        "generation": None,
        "prompt": prompt,
        "contrast_prompt": contrast_prompt,
        "value": None,
        "contrast_value": None,
        "text_model": AUTHOR,
        "image_model": image_model,
        "language": "en",
        "tries": 1,
        "error": None,
    }


def stage(found: Sequence[Mapping[str, Any]], out: str | Path, *, progress: bool = False) -> Manifest:
    """Put rows of pairs into a folder of staged prompts, a part a category.

    Args:
        found: what :func:`rows` gave.
        out: the folder to make.
        progress: show a bar.

    Raises:
        InputError: the folder holds other work.
    """
    by_category: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        by_category.setdefault(row["category"], []).append(row)
    parts = [
        Part(f"{number:02d}-{name}", [dict(row) for row in mine])
        for number, (name, mine) in enumerate(by_category.items())
    ]
    return run(
        parts,
        _write_rows,
        out,
        suffix=".parquet",
        fingerprint={"kind": "hum prompts"},
        progress=progress,
        what="categories",
    )


_NUMBERS: Collection[str] = ("generation", "tries")


def _write_rows(payload: Sequence[Mapping[str, Any]], path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.string()) for name in payload[0]])
    pq.write_table(pa.Table.from_pylist(list(payload), schema=schema), path)
    return {"checks": len(payload), "failed": 0}
