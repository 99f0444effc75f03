"""The prompt pairs of CROChum: one YAML file per category, with its definition and criteria for annotators.

The two prompts of a pair differ in one property, and no image shows both. Pairs marked ``exact`` are in the
controlled English of the exact world, so that candidates of each category can be drawn offline. A hash of the
pair decides which prompt is the original, so that a text-only scorer is correct half of the time in each
direction.

In: YAML files.
Out: prompt sets; rows of staged prompts, from which image models make candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from croc.checks.schema import CATEGORIES, SPEC_COLUMNS, check_id, stable_hash
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc.storage.text_files import read_yaml

FOLDER = Path(__file__).parent
AUTHOR = "human"
"""The text model of a check with prompts by people."""

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class PromptPair(BaseModel):
    """Two prompts that differ in one property.

    Attributes:
        id: lower-case letters, digits and ``_``; unique in its file. Category and id define the concept.
        property: the property of the taxonomy in which the prompts differ.
        prompt, contrast_prompt: the two prompts.
        exact: whether both are in the controlled English of the exact world, which proves that no image shows
            both.
    """

    model_config = _STRICT
    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    property: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")
    prompt: str = Field(min_length=3, max_length=500)
    contrast_prompt: str = Field(min_length=3, max_length=500)
    exact: bool = False

    @model_validator(mode="after")
    def _check_prompts(self) -> PromptPair:
        if self.prompt.lower() == self.contrast_prompt.lower():
            raise ValueError("the two prompts are equal")
        return self


class PromptSet(BaseModel):
    """The pairs of one category.

    Attributes:
        version: version of the format, 1.
        category: one of ``CATEGORIES``.
        definition: the category in one sentence.
        look_for: what an annotator should look at.
        shows, fails: criteria for an image that shows its prompt, and for one that does not.
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
    def _check_pairs(self) -> PromptSet:
        if self.category not in CATEGORIES:
            raise ValueError(f"category must be one of {', '.join(CATEGORIES)}, not {self.category!r}")
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
        source: a YAML file, or a folder of YAML files; None takes those of this package.

    Returns:
        The sets by category, in the order of ``CATEGORIES``.

    Raises:
        InputError: a file cannot be read or is not valid, or two files have the same category.
    """
    where = Path(source) if source is not None else FOLDER
    files = sorted(where.glob("*.yaml")) if where.is_dir() else [where]
    if not files:
        raise InputError(f"{where}: there is no YAML file of prompt pairs")
    sets: dict[str, PromptSet] = {}
    for file in files:
        prompt_set = _read(file)
        if prompt_set.category in sets:
            raise InputError(f"{file}: another file already has the category {prompt_set.category!r}")
        sets[prompt_set.category] = prompt_set
    return {category: sets[category] for category in CATEGORIES if category in sets}


def _read(file: Path) -> PromptSet:
    content = read_yaml(file)
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: expected a mapping with the keys category, pairs, …")
    try:
        return PromptSet.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{file}: {'; '.join(_describe_problems(error, content))}") from None


def _describe_problems(error: ValidationError, content: Mapping[str, Any]) -> list[str]:
    messages = []
    for problem in error.errors()[:5]:
        place = [str(step) for step in problem["loc"]]
        if place[:1] == ["pairs"] and len(place) > 1:  # named by its id, or else by its number
            try:
                place[1] = str(content["pairs"][problem["loc"][1]]["id"])
            except (KeyError, IndexError, TypeError):
                place[1] = f"number {int(problem['loc'][1]) + 1}"
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            reason = "unknown key"
        messages.append(f"{'.'.join(place)}: {reason}" if place else reason)
    return messages


def concept_id(category: str, pair: PromptPair) -> str:
    """The concept of a pair. It depends on category and id only, so that a change of the wording keeps it."""
    return stable_hash("hum", category, pair.id)


def make_rows(
    sets: Mapping[str, PromptSet], image_model: str | None = None, *, exact_only: bool = False
) -> list[dict[str, Any]]:
    """The pairs as rows of staged prompts, the input of image models.

    Args:
        sets: as :func:`load` returns them.
        image_model: the model that will make the images, if it is known.
        exact_only: only pairs in controlled English.

    Raises:
        InputError: there is no such pair.
    """
    rows = [
        _make_row(category, pair, image_model)
        for category, prompt_set in sets.items()
        for pair in prompt_set.pairs
        if pair.exact or not exact_only
    ]
    if not rows:
        raise InputError("there is no prompt pair in the controlled English of the exact world (exact: true)")
    return rows


def _make_row(category: str, pair: PromptPair, image_model: str | None) -> dict[str, Any]:
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


def stage(rows: Sequence[Mapping[str, Any]], out: str | Path, *, progress: bool = False) -> Manifest:
    """Write rows of pairs to a folder of staged prompts, one part per category.

    Args:
        rows: as :func:`make_rows` returns them.
        out: the folder to make.
        progress: show a progress bar.

    Raises:
        InputError: the folder contains other work.
    """
    by_category: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row)
    parts = [
        Part(f"{number:02d}-{name}", [dict(row) for row in category_rows])
        for number, (name, category_rows) in enumerate(by_category.items())
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
