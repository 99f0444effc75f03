"""The exact world as a writer: pairs in controlled English; no image can satisfy both prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import check_id, stable_hash, translated_id
from croc.errors import CrocError, InputError
from croc.jobs.parts import Part
from croc_syn import world
from croc_syn.world.declarations.languages import ENGLISH
from croc_syn.writing.table import EXACT, columns_of, prompt_schema

if TYPE_CHECKING:
    from croc_syn.taxonomy.plan import Spec
    from croc_syn.taxonomy.taxonomy import Taxonomy

TRIES = 20
"""Maximum number of pairs tried for one check; then the check fails."""

PART_SIZE = 64
"""Checks per part: a few seconds of drawing, a few megabytes."""

NO_CATEGORY = "other"
"""The category in file names of checks without one."""

Rows = Mapping[tuple[str, int], Mapping[str, Any]]
"""Finished rows by concept id and generation."""


def plan_parts(
    selected: Iterable[tuple[Spec, int]],
    taxonomy: Taxonomy,
    *,
    rows: Rows | None = None,
    part_size: int = PART_SIZE,
) -> list[Part]:
    """Cut the selected checks into parts, in the order of the finished files: category, subset, property.

    A part holds checks of one category and subset. The payload holds each spec once, with the names under
    which the exact world knows what it is about.

    Args:
        selected: (spec, generation) pairs; equal pairs are the same check.
        taxonomy: where the specs come from.
        rows: finished rows, which go into the payload so that they are not made again.
        part_size: checks per part, at most.

    Returns:
        The parts, named after their number, category and subset.
    """
    ordered = sorted(selected, key=lambda item: _order(*item))
    parts: list[Part] = []
    for (category, subset), group in groupby(ordered, key=lambda item: (item[0].category, item[0].subset)):
        checks = list(group)
        for start in range(0, len(checks), part_size):
            name = f"{len(parts):06d}-{category or NO_CATEGORY}-{subset}"
            parts.append(Part(name, _payload(checks[start : start + part_size], taxonomy, rows or {})))
    return parts


def _order(spec: Spec, generation: int) -> tuple[Any, ...]:
    place = (spec.property_path or "", spec.property or "", spec.concept_id, generation)
    return (spec.category or NO_CATEGORY, spec.subset, *place)


def _payload(checks: Sequence[tuple[Spec, int]], taxonomy: Taxonomy, rows: Rows) -> dict[str, Any]:
    positions: dict[str, int] = {}
    specs: list[dict[str, Any]] = []
    for spec, _ in checks:
        if spec.concept_id not in positions:
            positions[spec.concept_id] = len(specs)
            specs.append({"columns": columns_of(spec), "keys": exact_keys(spec, taxonomy)})
    return {
        "specs": specs,
        "checks": [[positions[spec.concept_id], generation] for spec, generation in checks],
        "rows": [rows.get((spec.concept_id, generation)) for spec, generation in checks],
    }


@dataclass
class FeasibleSpecs:
    """Which specs the exact world can make a check from, found out by making the first check of each.

    A taxonomy knows what can be drawn property by property and topic by topic; some combinations make no
    sense (weather in a kitchen), and only the exact world knows.

    Attributes:
        taxonomy: where the specs come from.
        seed: of the prompts.
        scope: what the prompts may be about.
        language: of the prompts.
        rows: the checks made so far, for :func:`plan_parts`.
        rejected: number of specs from which no check can be made.
    """

    taxonomy: Taxonomy
    seed: int
    scope: world.Scope = field(default_factory=lambda: world.Scope())
    language: str = ENGLISH
    rows: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    rejected: int = 0

    def __call__(self, spec: Spec) -> bool:
        """Whether the first check of a spec could be made."""
        keys = exact_keys(spec, self.taxonomy)
        row = exact_row(columns_of(spec), keys, 0, self.seed, self.scope, self.language)
        if row["error"] is None:
            self.rows[spec.concept_id, 0] = row
            return True
        self.rejected += 1
        return False


def make_part(
    payload: Mapping[str, Any],
    path: Path,
    *,
    seed: int,
    scope: world.Scope | None = None,
    language: str = ENGLISH,
) -> dict[str, Any]:
    """Make one part: a pair in a controlled language for every check of the payload.

    Args:
        payload: from :func:`plan_parts`.
        path: the Parquet file.
        seed: of the prompts.
        scope: what the prompts may be about; None is anything.
        language: of the prompts.

    Returns:
        Counts: ``checks``, ``failed``, and ``tries`` beyond the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for (index, generation), row in zip(payload["checks"], payload["rows"], strict=True):
        spec = payload["specs"][index]
        rows.append(row or exact_row(spec["columns"], spec["keys"], generation, seed, scope, language))
    schema = prompt_schema(translated=language != ENGLISH)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    failed = sum(row["error"] is not None for row in rows)
    return {"checks": len(rows) - failed, "failed": failed, "tries": sum(row["tries"] - 1 for row in rows)}


def exact_row(
    columns: Mapping[str, str | None],
    keys: Mapping[str, str | None],
    generation: int,
    seed: int,
    scope: world.Scope | None = None,
    language: str = ENGLISH,
) -> dict[str, Any]:
    """One check: the first pair for which no image can satisfy both prompts, in a controlled language.

    Args:
        columns: the spec's columns, ``SPEC_COLUMNS``.
        keys: ``contrast``, ``topic``, ``entity``, ``contrast_topic`` as the exact world calls them.
        generation: which of the spec's checks this is.
        seed: of the prompts.
        scope: what the prompts may be about; None is anything.
        language: of the prompts; the English ones, which decide the images, are in ``SOURCE_COLUMNS``.

    Returns:
        A row of :func:`croc_syn.writing.table.prompt_schema`.
    """
    row: dict[str, Any] = dict.fromkeys(prompt_schema().names)
    row |= {
        **columns,
        "generation": generation,
        "text_model": EXACT,
        "image_model": EXACT,
        "language": language,
    }
    reason = "no pair was tried"
    for attempt in range(TRIES):
        pair_seed = int(stable_hash("pair", seed, columns["concept_id"], generation, attempt, length=15), 16)
        row["tries"] = attempt + 1
        try:
            pair = world.make_pair(
                keys["contrast"],
                topic=keys["topic"],
                entity=keys["entity"],
                contrast_topic=keys["contrast_topic"],
                seed=pair_seed,
                scope=scope,
            )
            if not world.exclusive(world.parse(pair.prompt), world.parse(pair.contrast_prompt)):
                reason = "one image could satisfy both prompts"
                continue
        except world.OutOfScope as error:
            reason = str(error)
            break
        except CrocError as error:
            reason = str(error)
            continue
        row |= {"prompt": pair.prompt, "contrast_prompt": pair.contrast_prompt}
        row |= {"value": str(pair.value), "contrast_value": str(pair.contrast_value)}
        row["check_id"] = check_id(
            columns["concept_id"] or "", pair.prompt, pair.contrast_prompt, EXACT, EXACT, generation
        )
        return row if language == ENGLISH else row | _translated(row, language)
    row["error"] = reason
    return row


def require_language(language: str) -> None:
    """Require a language that the exact world's prompts can be in.

    Raises:
        InputError: it has no grammar for this language.
    """
    if language not in world.LANGUAGES:
        known = ", ".join(world.LANGUAGES)
        raise InputError(f"text.language: the exact world has no language {language!r}; expected {known}")


def _translated(row: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The cells of a row that differ in another language."""
    return {
        "source_id": row["check_id"],
        "source_prompt": row["prompt"],
        "source_contrast_prompt": row["contrast_prompt"],
        "check_id": translated_id(row["check_id"], language),
        "prompt": world.translate(row["prompt"], language),
        "contrast_prompt": world.translate(row["contrast_prompt"], language),
    }


def exact_keys(spec: Spec, taxonomy: Taxonomy) -> dict[str, str | None]:
    """The names in the exact world of what a spec contrasts.

    None where the spec names nothing: in entity variation the exact world chooses what to contrast, in entity
    placement it is where the entity is.
    """

    def name(table: Mapping[str, Any], row: str | None) -> str | None:
        return None if row is None or row not in table else table[row].exact

    return {
        "contrast": name(taxonomy.properties, spec.property),
        "topic": name(taxonomy.topics, spec.topic),
        "entity": name(taxonomy.entities, spec.entity),
        "contrast_topic": name(taxonomy.topics, spec.contrast_topic),
    }
