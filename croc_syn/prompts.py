"""Specs → prompt pairs: the first staged table of a build, one row a check.

A stage of :mod:`croc.parts`: a part is a run of consecutive checks of the plan, its file a Parquet table
with the columns of :func:`prompt_schema`. A check for which no admissible pair was found stays in the table,
with its reason in ``error``; whoever reads on drops it and counts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError
from croc.parts import Part
from croc.schema import check_id, stable_hash
from croc_syn import world

if TYPE_CHECKING:
    import pyarrow as pa

    from croc_syn.plan import Spec
    from croc_syn.taxonomy import Taxonomy

EXACT = f"exact@{world.VERSION}"
TRIES = 20
"""Pairs tried for one check before it is given up."""

PART_SIZE = 64
"""Checks a part: a few seconds of drawing, a few megabytes."""

OTHER = "other"
"""What file names say where a check has no category."""

SPEC_COLUMNS = (
    "concept_id",
    "subset",
    "category",
    "property",
    "property_path",
    "topic",
    "entity",
    "contrast_topic",
)


def prompt_schema() -> pa.Schema:
    """Columns of a staged table of prompts; ``tries`` counts pairs drawn, ``error`` is null or a reason."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = [("check_id", text), *((name, text) for name in SPEC_COLUMNS), ("generation", number)]
    columns += [(name, text) for name in ("prompt", "contrast_prompt", "value", "contrast_value")]
    columns += [("text_model", text), ("image_model", text), ("language", text)]
    return pa.schema([*columns, ("tries", number), ("error", text)])


def plan_parts(
    chosen: Iterable[tuple[Spec, int]], taxonomy: Taxonomy, *, part_size: int = PART_SIZE
) -> list[Part]:
    """Cut the chosen checks into parts, in the order of the finished files: category, subset, property.

    A part holds checks of one category and subset. The payload holds each spec once, with the names under
    which the exact world knows what it is about.

    Args:
        chosen: (spec, generation) pairs; equal pairs are the same check.
        taxonomy: where the specs come from.
        part_size: checks a part, at most.

    Returns:
        The parts, named after their place, category and subset.
    """
    ordered = sorted(chosen, key=lambda item: _order(item[0], item[1]))
    parts: list[Part] = []
    for (category, subset), group in groupby(ordered, key=lambda item: (item[0].category, item[0].subset)):
        rows = list(group)
        for start in range(0, len(rows), part_size):
            name = f"{len(parts):06d}-{category or OTHER}-{subset}"
            parts.append(Part(name, _payload(rows[start : start + part_size], taxonomy)))
    return parts


def write_prompts(payload: Mapping[str, Any], path: Path, *, seed: int) -> dict[str, Any]:
    """Make one part: a pair in controlled English for every check of the payload.

    Args:
        payload: what :func:`plan_parts` wrote.
        path: the Parquet file.
        seed: seed of the build.

    Returns:
        Counts: ``checks``, ``failed``, and ``tries`` beyond the first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for index, generation in payload["checks"]:
        spec = payload["specs"][index]
        rows.append(exact_row(spec["columns"], spec["keys"], generation, seed))
    pq.write_table(pa.Table.from_pylist(rows, schema=prompt_schema()), path)
    failed = sum(row["error"] is not None for row in rows)
    return {"checks": len(rows) - failed, "failed": failed, "tries": sum(row["tries"] - 1 for row in rows)}


def exact_row(
    columns: Mapping[str, str | None], keys: Mapping[str, str | None], generation: int, seed: int
) -> dict[str, Any]:
    """One check in controlled English: the first pair that no image can satisfy on both sides.

    Args:
        columns: the spec's columns, ``SPEC_COLUMNS``.
        keys: ``contrast``, ``topic``, ``entity``, ``contrast_topic`` as the exact world calls them.
        generation: which of the spec's checks this is.
        seed: seed of the build.

    Returns:
        A row of :func:`prompt_schema`.
    """
    row: dict[str, Any] = dict.fromkeys(prompt_schema().names)
    row |= {**columns, "generation": generation, "text_model": EXACT, "image_model": EXACT, "language": "en"}
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
            )
            if not world.exclusive(world.parse(pair.prompt), world.parse(pair.contrast_prompt)):
                reason = "one image could satisfy both prompts"
                continue
        except CrocError as error:
            reason = str(error)
            continue
        row |= {"prompt": pair.prompt, "contrast_prompt": pair.contrast_prompt}
        row |= {"value": str(pair.value), "contrast_value": str(pair.contrast_value)}
        row["check_id"] = check_id(
            columns["concept_id"] or "", pair.prompt, pair.contrast_prompt, EXACT, EXACT, generation
        )
        return row
    row["error"] = reason
    return row


def columns_of(spec: Spec) -> dict[str, str | None]:
    """What a spec contributes to the rows made of it."""
    return {name: getattr(spec, name) for name in SPEC_COLUMNS}


def exact_keys(spec: Spec, taxonomy: Taxonomy) -> dict[str, str | None]:
    """Under which names the exact world knows what a spec is about.

    None where the spec names nothing: in entity variation the exact world chooses what to contrast, in entity
    placement it is where the entity is.
    """

    def name(table: Mapping[str, Any], row: str | None) -> str | None:
        return table[row].exact if row in table else None

    return {
        "contrast": name(taxonomy.properties, spec.property),
        "topic": name(taxonomy.topics, spec.topic),
        "entity": name(taxonomy.entities, spec.entity),
        "contrast_topic": name(taxonomy.topics, spec.contrast_topic),
    }


def _order(spec: Spec, generation: int) -> tuple[Any, ...]:
    place = (spec.property_path or "", spec.property or "", spec.concept_id, generation)
    return (spec.category or OTHER, spec.subset, *place)


def _payload(rows: Sequence[tuple[Spec, int]], taxonomy: Taxonomy) -> dict[str, Any]:
    specs: dict[str, dict[str, Any]] = {}
    checks = []
    for spec, generation in rows:
        if spec.concept_id not in specs:
            specs[spec.concept_id] = {"columns": columns_of(spec), "keys": exact_keys(spec, taxonomy)}
        checks.append([list(specs).index(spec.concept_id), generation])
    return {"specs": list(specs.values()), "checks": checks}
