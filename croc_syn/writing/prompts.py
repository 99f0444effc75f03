"""Specs → prompt pairs: the first staged table of a build, one row a check.

A stage of :mod:`croc.jobs.runner`: a part is a run of consecutive checks of the plan, its file a Parquet
table with the columns of :func:`prompt_schema`. A check for which no admissible pair was found stays in the
table, with its reason in ``error``; whoever reads on drops it and counts it. Pairs in controlled English are
made here, those of language models in :mod:`croc_syn.writing`; :func:`make_prompts` makes what a preset asks
for.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from croc.checks.schema import SPEC_COLUMNS, STYLE, check_id, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Executor, MakePart, Part
from croc.jobs.progress import Show, progress_bar
from croc.jobs.runner import Manifest, Status, run
from croc_syn import world

if TYPE_CHECKING:
    import pyarrow as pa

    from croc_syn.presets import Preset
    from croc_syn.taxonomy.plan import Spec
    from croc_syn.taxonomy.taxonomy import Taxonomy

EXACT = f"exact@{world.VERSION}"
TRIES = 20
"""Pairs tried for one check before it is given up."""

PART_SIZE = 64
"""Checks a part: a few seconds of drawing, a few megabytes."""

OTHER = "other"
"""What file names say where a check has no category."""

SAID = ("answer", "reasoning")
"""Columns that are for reading; no image needs them."""

ANSWERS = "answers"
"""Beside the parts: what models said for parts that are not done."""


def prompt_schema() -> pa.Schema:
    """Columns of a staged table of prompts.

    ``tries`` counts pairs drawn or answers asked for, ``error`` is null or a reason. ``image_model`` names
    the model that the prompts are for, null where they are for any. What follows ``error`` is of language
    models: ``contrasted`` is what the model says the prompts differ in, ``edits`` counts the words between
    them, ``tokens`` those of each encoder, ``style`` names the guide. ``refused`` has the reasons of the
    answers that could not be used, ``answer`` and ``reasoning`` are the last one as it came, ``served_as`` is
    what the service called its model.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    columns = [("check_id", text), *((name, text) for name in SPEC_COLUMNS), ("generation", number)]
    columns += [(name, text) for name in ("prompt", "contrast_prompt", "value", "contrast_value")]
    columns += [("text_model", text), ("image_model", text), ("language", text)]
    columns += [("tries", number), ("error", text), ("contrasted", text), ("edits", number)]
    counts = [("encoder", text), ("prompt", number), ("contrast_prompt", number), ("limit", number)]
    columns += [("tokens", pa.list_(pa.struct(counts))), (STYLE, text)]
    columns += [("refused", pa.list_(text)), ("refused_kinds", pa.list_(text))]
    columns += [(name, text) for name in (*SAID, "served_as")]
    return pa.schema([*columns, ("input_tokens", number), ("output_tokens", number)])


def make_prompts(
    preset: Preset,
    out: str | Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    elsewhere: bool = False,
    progress: bool = True,
    existing: Literal["resume", "overwrite"] = "resume",
) -> Manifest:
    """MakePart the prompts that a preset asks for; run again, it goes on where it was.

    Args:
        preset: what is contrasted, and who writes.
        out: the folder of the parts.
        workers: processes; they share what the endpoint allows.
        executor: what makes the parts; None takes processes of this machine.
        elsewhere: the executor's workers are on other machines, so that responses for an unfinished part
            cannot be kept in the folder.
        progress: show a bar, in pairs.
        existing: ``overwrite`` starts from nothing.

    Raises:
        InputError: the preset cannot be used, or the folder holds other work.
        PartsFailed: some parts could not be made; the others are kept.
    """
    from croc_syn.writing import stage

    folder = Path(out)
    taxonomy, chosen = choose(preset)
    make: MakePart
    kept = None
    if not preset.text.models:
        parts = plan_parts(chosen, taxonomy)
        make = partial(write_prompts, seed=preset.seed)
        fingerprint: dict[str, Any] = {"kind": "prompts", "text_model": EXACT, "seed": preset.seed}
    else:
        parts = stage.write_parts(chosen, taxonomy, preset)
        fingerprint = stage.fingerprint(preset)
        kept = None if elsewhere else folder / ANSWERS
        make = stage.Write(stage.shared_out(preset.text, workers), preset.seed, kept=kept)
        stage.ready(preset)
    total = sum(len(part.payload["checks"]) for part in parts)
    with (
        progress_bar("prompts", "pairs") if progress else nullcontext(lambda done, total, note: None) as show
    ):
        made = run(
            parts,
            make,
            folder,
            suffix=".parquet",
            fingerprint=fingerprint,
            executor=executor or local_executor(workers),
            progress=lambda now: _say(now, total, show),
            existing=existing,
            what="parts of prompts",
        )
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    return made


def _say(now: Status, total: int, show: Show) -> None:
    failed, tokens = (int(now.counts.get(name, 0)) for name in ("failed", "output_tokens"))
    notes = [f"{failed} failed"] if failed else []
    notes += [f"{tokens:,} tokens"] if tokens else []
    notes += [f"{len(now.failed)} parts failed"] if now.failed else []
    show(int(now.counts.get("checks", 0)) + failed, total, ", ".join(notes))


def choose(preset: Preset) -> tuple[Taxonomy, list[tuple[Spec, int]]]:
    """The checks that a preset asks for, as (spec, generation) pairs, and the taxonomy they come from.

    Raises:
        InputError: a property is not in the taxonomy, or nothing is left to contrast.
    """
    from croc_syn.taxonomy.plan import plan, select
    from croc_syn.taxonomy.taxonomy import load

    wanted, exact = preset.specs, not preset.text.models
    taxonomy = load(wanted.taxonomy)
    for name in wanted.properties or ():
        known = [item.id for item in taxonomy.properties.values() if item.exact or not exact]
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise InputError(
                f"{'the exact world cannot draw' if exact else 'there is no'} property {name!r}; {hint}"
            )
    specs = plan(
        taxonomy,
        subsets=wanted.subsets,
        exact_only=exact,
        topics_per_entity=wanted.topics_per_entity,
        placements_per_entity=wanted.placements_per_entity,
        seed=preset.seed,
    )
    if wanted.properties is not None:
        specs = [spec for spec in specs if spec.property in wanted.properties]
    if not specs:
        raise InputError("the preset asks for no spec at all: see its section specs")
    count = wanted.checks or len(specs) * preset.text.generations
    if not exact:
        return taxonomy, select(specs, count, preset.seed)
    return taxonomy, possible(specs, count, preset.seed, taxonomy)[0]


def possible(
    specs: Sequence[Spec], checks: int, seed: int, taxonomy: Taxonomy
) -> tuple[list[tuple[Spec, int]], int]:
    """The checks of the exact world, and how many specs were passed over as no pair can be made of them.

    A taxonomy knows what can be drawn property by property, topic by topic; some combinations make no sense
    (weather in a kitchen), and only the exact world knows.

    Raises:
        InputError: none of them can be drawn.
    """
    from croc_syn.taxonomy.plan import select

    left, tried, passed_over = list(specs), {}, 0
    while left:
        chosen = select(left, checks, seed)
        for spec in {spec for spec, _ in chosen} - tried.keys():
            tried[spec] = exact_row(columns_of(spec), exact_keys(spec, taxonomy), 0, seed)["error"] is None
        if all(tried[spec] for spec, _ in chosen):
            return chosen, passed_over
        passed_over += sum(not tried.get(spec, True) for spec in left)
        left = [spec for spec in left if tried.get(spec, True)]
    raise InputError("the exact world can draw nothing of this taxonomy in these subsets")


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
    """MakePart one part: a pair in controlled English for every check of the payload.

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
